#include "app/health.h"

#include "db/statements.h"

namespace txn {
namespace {

constexpr int64_t kPingEveryNs = 1 * kNanosPerSecond;
constexpr int64_t kPingAgainAfterFailureNs = 250 * kNanosPerMilli;
// An answer older than this counts for nothing: the question after it has been waiting since.
constexpr int64_t kAnswerGoodForNs = 3 * kNanosPerSecond;

}  // namespace

bool Health::is_database_up() const {
  return last_ping_ok_ && ledger_.is_connected() && loop_.clock().now_ns() - last_answer_ns_ < kAnswerGoodForNs;
}

Task<void> Health::run() {
  PgParameters none;
  while (!pause_.ended()) {
    const auto answer = co_await reader_.query(sql::kPing, none);
    last_ping_ok_ = answer.has_value();
    last_answer_ns_ = loop_.clock().now_ns();
    if (!started_ && is_database_up()) {
      started_ = true;
      starting_.fetch_sub(1);
    }
    co_await pause_.wait(last_ping_ok_ && ledger_.is_connected() ? kPingEveryNs : kPingAgainAfterFailureNs);
  }
}

}  // namespace txn
