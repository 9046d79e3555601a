#include "app/health.h"

#include "db/statements.h"

namespace txn {
namespace {

constexpr int64_t kPingEveryNs = 1 * kNanosPerSecond;
constexpr int64_t kPingAgainAfterFailureNs = 250 * kNanosPerMilli;
// An answer older than this counts for nothing: the question after it has been waiting since.
constexpr int64_t kAnswerGoodForNs = 3 * kNanosPerSecond;

// How often a request that came before the first answer of the accounts service looks for it.
constexpr int64_t kLookAgainNs = 16 * kNanosPerMilli;

}  // namespace

bool HealthCounters::is_database_up(int64_t now_ns) const {
  return database_ok.value() == 1 && now_ns - static_cast<int64_t>(database_answered_ns.value()) < kAnswerGoodForNs;
}

bool Health::is_database_up() const {
  return ledger_.is_connected() && counters_.is_database_up(loop_.clock().now_ns());
}

Task<AccountsState::Reading> Health::accounts_service() const {
  const int64_t give_up_ns = loop_.clock().now_ns() + kAccountsTimeoutNs;
  AccountsState::Reading reading = accounts_.read(loop_.clock().now_ns());
  while (reading.verdict == AccountsState::Verdict::kNotYetAsked && !draining_ && loop_.clock().now_ns() < give_up_ns) {
    co_await loop_.sleep_for(kLookAgainNs);
    reading = accounts_.read(loop_.clock().now_ns());
  }
  co_return reading;
}

Task<void> Health::run() {
  PgParameters none;
  while (!pause_.ended()) {
    const auto answer = co_await reader_.query(sql::kPing, none);
    const bool is_well = answer.has_value() && ledger_.is_connected();
    ++counters_.database_questions;
    if (!answer) ++counters_.database_failures;
    counters_.database_ok = is_well ? 1 : 0;
    counters_.database_answered_ns = static_cast<uint64_t>(loop_.clock().now_ns());
    if (!started_ && is_database_up()) {
      started_ = true;
      starting_.fetch_sub(1);
    }
    co_await pause_.wait(is_well ? kPingEveryNs : kPingAgainAfterFailureNs);
  }
}

}  // namespace txn
