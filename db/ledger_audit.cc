#include "db/ledger_audit.h"

#include <algorithm>

#include "core/concat.h"
#include "core/log.h"
#include "db/statements.h"

namespace txn {
namespace {

constexpr int64_t kPauseLeastNs = 100 * kNanosPerMilli;
constexpr int64_t kPauseMostNs = 10 * kNanosPerSecond;
constexpr int64_t kAfterFailureNs = 5 * kNanosPerSecond;

// Columns of kAuditAccounts.
enum Column { kAccounts, kRows, kLastAccount, kBegan, kDifferences, kAccount, kText };

}  // namespace

Task<void> LedgerAudit::run() {
  // Not from the first piece on after each restart.
  round_ = loop_.clock().wall_us() / 1'000'000;
  PgParameters parameters;
  while (!pause_.ended()) {
    parameters.clear();
    parameters.add_int8(account_number_);
    parameters.add_int8(round_);
    parameters.add_int8(kAuditAccountsMax);
    parameters.add_int8(kAuditRowsMax);
    parameters.add_int8(kAuditStepRowsMax);
    const int64_t asked_ns = loop_.clock().now_ns();
    const auto step = co_await reader_.query(sql::kAuditAccounts, parameters);
    if (step.has_value() && take_step(*step)) {
      const int64_t took_ns = loop_.clock().now_ns() - asked_ns;
      co_await pause_.wait(std::clamp(took_ns * kAuditPauseFactor, kPauseLeastNs, kPauseMostNs));
    } else {
      ++counters_.failures;
      co_await pause_.wait(kAfterFailureNs);
    }
  }
}

bool LedgerAudit::take_step(const PgResult& step) {
  PgRow first(step, 0);
  const int64_t accounts = first.int8(kAccounts);
  const int64_t rows = first.int8(kRows);
  const int64_t began_us = first.timestamptz(kBegan);
  const int64_t differences = first.int8(kDifferences);
  const bool is_last = first.is_null(kLastAccount);
  const int64_t last_account = is_last ? 0 : first.int8(kLastAccount);
  first.expect(is_last || last_account > account_number_, kLastAccount);  // or the round would have no end
  if (!first.ok()) {
    unreadable_.note("the continuous audit", first.unreadable_column(), 0);
    return false;
  }
  if (account_number_ == 0) began_us_ = began_us;
  counters_.accounts += static_cast<uint64_t>(accounts);
  counters_.rows += static_cast<uint64_t>(rows);
  differences_ += static_cast<uint64_t>(differences);
  if (differences_ > counters_.imbalance) counters_.imbalance = differences_;
  for (int row = 0; row < step.rows(); ++row) {
    if (const auto account_number = step.int8(row, kAccount)) report(*account_number, step.bytes(row, kText));
  }
  if (is_last) {
    end_round();
  } else {
    account_number_ = last_account;
  }
  return true;
}

void LedgerAudit::end_round() {
  ++counters_.rounds;
  counters_.imbalance = differences_;
  counters_.verified_through_us = static_cast<uint64_t>(began_us_);
  counters_.round_completed_us = static_cast<uint64_t>(loop_.clock().wall_us());
  known_before_ = std::move(known_);
  known_.clear();
  differences_ = 0;
  account_number_ = 0;
  ++round_;
}

void LedgerAudit::report(int64_t account_number, std::string_view text) {
  if (known_.size() >= kAuditKnownMax) return;
  const std::string difference = concat("account ", account_number, ": ", text);
  known_.insert(difference);
  if (known_before_.contains(difference)) return;
  LOG(kError, "db.ledger_audit", "The books do not agree; run verify-ledger")
      .field("account_number", account_number)
      .field("difference", text);
}

}  // namespace txn
