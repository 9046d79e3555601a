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
    if (step.has_value()) {
      take_step(*step);
      const int64_t took_ns = loop_.clock().now_ns() - asked_ns;
      co_await pause_.wait(std::clamp(took_ns * kAuditPauseFactor, kPauseLeastNs, kPauseMostNs));
    } else {
      ++counters_.failures;
      co_await pause_.wait(kAfterFailureNs);
    }
  }
}

void LedgerAudit::take_step(const PgResult& step) {
  if (account_number_ == 0) began_us_ = step.timestamptz(0, kBegan);
  counters_.accounts += static_cast<uint64_t>(step.int8(0, kAccounts));
  counters_.rows += static_cast<uint64_t>(step.int8(0, kRows));
  differences_ += static_cast<uint64_t>(step.int8(0, kDifferences));
  if (differences_ > counters_.imbalance) counters_.imbalance = differences_;
  for (int row = 0; row < step.rows() && !step.is_null(row, kAccount); ++row)
    report(step.int8(row, kAccount), step.bytes(row, kText));
  if (step.is_null(0, kLastAccount)) {
    end_round();
  } else {
    account_number_ = step.int8(0, kLastAccount);
  }
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
