// The books: whether an operation may happen, and what it does to the accounts it touches.
//
// Pure functions over the rows that a lane has locked: no I/O, no clock, nothing kept between calls. The lane calls
// decide() for the operations of a batch in their order of arrival, so each sees what the ones before it have done.
//
// The first row that applies answers the operation; tests/app/rules_table_test.cc has it as a table:
//
//   1. kSameAccountTransfer            payer and payee are one account
//   2. kAccountNotFound                the account or the payer does not exist, then the payee
//   3. kAccountUnreadable              the row of the account or the payer, then of the payee, is not one that we could
//                                      have written, or its seq is at its end; a transfer: before 8, the payer's limit
//   4. kForbidden                      a CUSTOMER who does not own the account (deposit, withdrawal) or the payer
//                                      (transfer; the payee may be anybody's), or a role that moves no money at all
//   5. kAccountNotActive               the account or the payer, then the payee
//   6. kPinLocked                      a debit on an account whose PIN is locked, whatever PIN is given
//   7. kInvalidPin                     a debit on an account with a PIN, given none or another one
//   8. kDailyTransactionCountExceeded  a transfer: the payer has made as many today as its privilege allows; before the
//                                      amount, because asking for less would not help
//   9. kTransferLimitExceeded          a transfer: with this one, today's amount would be above what is allowed
//  10. kInsufficientFunds              a debit of more than the balance
//  11. kBalanceOverflow                a credit beyond kMaxBalance
//
// A missing account comes before ownership, so a CUSTOMER may learn which numbers are in use. Of an account that is not
// its own it learns no more than whether it can be paid: a transfer tells that the payee is not active, or full. A PIN
// is looked at only for who may debit the account, so a stranger cannot lock it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "app/pin.h"
#include "db/ledger_rows.h"

namespace txn {

// kPinFailuresMax wrong PINs in a row lock the PIN for so long. A right one in between, whatever else refuses its
// operation, starts the count anew, and so does the end of a lock. No PIN at all is no wrong one.
inline constexpr int64_t kPinLockUs = int64_t{15} * 60 * 1'000'000;

// What decide() needs besides the operation and the accounts. Borrows; lives for one batch.
struct DecisionContext {
  const TransferLimits& limits;
  int64_t now_us;  // the database's clock when the accounts had been locked, microseconds since 1970-01-01 UTC
  const PinHasher& pins;
};

// Today's successful outgoing transfers.
struct DailyUsage {
  int32_t day = 0;  // days since 1970-01-01 UTC
  Money amount;
  int32_t count = 0;
};

// The day of UTC that `now_us` (microseconds since 1970-01-01 UTC, negative before it) lies in.
int32_t utc_day(int64_t now_us);

// What of `account`'s usage counts at `now_us`: a new day starts from nothing. When the clock has stepped back, so that
// the usage is of a day still to come, that usage keeps counting: no day's limit is handed out again.
DailyUsage daily_usage(const AccountState& account, int64_t now_us);

// The account with that number, or nullptr. `accounts` must be sorted by account_number, without duplicates.
AccountState* find_account(std::span<AccountState> accounts, int64_t account_number);

// Decides `operation` and, when it succeeds, carries it out: changes balance, seq and usage in `accounts` (sorted by
// account_number), marks them `changed`, and appends one row to `log` for every account touched (payer, then payee),
// under `transaction_id`. A refusal alters nothing but what is known of the account's PIN (marked `pin_changed`, as by
// a success), and its transaction_id may be used for the next operation. The rows appended borrow
// `operation.description`.
//
// `operation` must be valid in itself (app/validate.h), its amount above zero.
Outcome decide(const Operation& operation, std::span<AccountState> accounts, int64_t transaction_id,
               const DecisionContext& context, std::vector<LogRow>& log);

}  // namespace txn
