#include "app/health.h"

namespace txn {
namespace {

// Proofs are looked for so often, asked for when the last one is that old, and count for nothing when they are older
// than what probes are promised: two seconds.
constexpr int64_t kLookEveryNs = 200 * kNanosPerMilli;
constexpr int64_t kAskAfterNs = 600 * kNanosPerMilli;
constexpr int64_t kProofGoodForNs = 1800 * kNanosPerMilli;

// How often a request that came before the first answer of the accounts service looks for it.
constexpr int64_t kLookAgainNs = 16 * kNanosPerMilli;

}  // namespace

bool HealthCounters::is_database_up(int64_t now_ns) const {
  const auto moved_ns = static_cast<int64_t>(money_moved_ns.value());
  return moved_ns != 0 && now_ns - moved_ns < kProofGoodForNs;
}

bool Health::is_database_up() const {
  const int64_t proved_ns = ledger_.proved_ns();
  return ledger_.is_connected() && proved_ns != 0 && loop_.clock().now_ns() - proved_ns < kProofGoodForNs;
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
  while (!pause_.ended()) {
    if (loop_.clock().now_ns() - ledger_.proved_ns() >= kAskAfterNs) ledger_.ask_for_proof();
    co_await pause_.wait(kLookEveryNs);
    counters_.money_moved_ns = ledger_.is_connected() ? static_cast<uint64_t>(ledger_.proved_ns()) : 0;
    const bool is_up = is_database_up();
    if (!started_ && is_up) {
      started_ = true;
      starting_.fetch_sub(1);
    }
    if (started_ && is_up == is_away_) {
      is_away_ = !is_up;
      away_.fetch_add(is_away_ ? 1 : -1);
    }
  }
}

}  // namespace txn
