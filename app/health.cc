#include "app/health.h"

#include <utility>

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

void Health::stop() {
  stopping_ = true;
  wake();
}

void Health::wake() {
  loop_.timers().disarm(*this);
  if (pausing_) std::exchange(pausing_, nullptr).resume();
}

Task<void> Health::run() {
  struct Pause {
    Health& health;
    int64_t duration_ns;
    bool await_ready() const { return health.stopping_; }
    void await_suspend(std::coroutine_handle<> handle) const {
      health.pausing_ = handle;
      health.loop_.timers().arm(health, health.loop_.clock().now_ns() + duration_ns);
    }
    void await_resume() const {}
  };
  PgParameters none;
  while (!stopping_) {
    const auto answer = co_await reader_.query(sql::kPing, none);
    last_ping_ok_ = answer.has_value();
    last_answer_ns_ = loop_.clock().now_ns();
    co_await Pause{*this, last_ping_ok_ && ledger_.is_connected() ? kPingEveryNs : kPingAgainAfterFailureNs};
  }
}

}  // namespace txn
