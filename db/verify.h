// The audit of the books: does every balance follow from the log, and does the log hold together?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/money.h"
#include "db/session.h"

namespace txn {

struct VerifyReport {
  int64_t accounts = 0;
  int64_t log_rows = 0;
  int64_t transactions = 0;
  std::string total_balance;  // of all accounts, decimal; may exceed what Money holds
  int64_t difference_count = 0;
  std::vector<std::string> differences;  // the first ones, a line each
};

// Looks at one snapshot (REPEATABLE READ, READ ONLY), so the service may run meanwhile; takes no locks on rows.
// Checked:
//
//   account      balance = opening_balance + credits - debits; log_seq = number of rows; seq = 1 ... n without holes;
//                balance_after follows from the row before; nothing negative; usage_amount and usage_count are those of
//                the log's outgoing transfers of usage_day (UTC), and none is of a later day
//   transaction  a transfer has two legs that cancel: same amount and mode, opposite directions, counterparties
//   crossed;
//                a deposit or withdrawal has one row; ids follow from the transaction's id; its block was handed out
//   log          no row of an unknown account, no counterparty that is unknown
//
// The server does the work, in a few passes over the log that sort or hash on disk when it is large; only differences
// come here. Returns the first `differences_max` of them and counts them all. Errors are those of the
// session; differences are not errors.
inline constexpr int kVerifyDifferencesMax = 20;
Result<VerifyReport> verify_ledger(Session& session, int differences_max = kVerifyDifferencesMax);

}  // namespace txn
