// The books as tables: one event a line, the expected outcome in its last column.
//
//   limit PRIVILEGE AMOUNT COUNT
//   account NUMBER OWNER PRIVILEGE BALANCE [pin=PIN] [inactive]
//   clock DAY [HH:MM[:SS]]                           days since 1970-01-01 UTC
//   deposit CALLER ACCOUNT AMOUNT [pin=PIN]          -> OUTCOME
//   withdraw CALLER ACCOUNT AMOUNT [pin=PIN]         -> OUTCOME
//   transfer CALLER FROM TO AMOUNT [pin=PIN]         -> OUTCOME
//   state ACCOUNT                                    -> BALANCE seq SEQ used AMOUNT/COUNT@DAY
//   pin ACCOUNT                                      -> WRONG_ONES [lock begun MINUTE:SECOND ago]
//
// CALLER is c7, t7 or a7: CUSTOMER, TELLER or ADMIN number 7. OUTCOME is `ok BALANCE` (transfer: `ok BALANCE BALANCE`,
// the payee's in brackets when the caller may not see it) or the refusal's name and the account it is about, for
// PIN_LOCKED also the seconds. After every refusal the whole books are compared with what they were.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "app/rules.h"

namespace txn {
namespace {

constexpr int64_t kSecondUs = 1'000'000;
constexpr int64_t kMinuteUs = 60 * kSecondUs;
constexpr int64_t kDayUs = 24 * 60 * kMinuteUs;

std::string_view name_of(OutcomeCode code) {
  switch (code) {
    case OutcomeCode::kSuccess:
      return "ok";
    case OutcomeCode::kAccountNotFound:
      return "ACCOUNT_NOT_FOUND";
    case OutcomeCode::kForbidden:
      return "FORBIDDEN";
    case OutcomeCode::kAccountNotActive:
      return "ACCOUNT_NOT_ACTIVE";
    case OutcomeCode::kSameAccountTransfer:
      return "SAME_ACCOUNT_TRANSFER";
    case OutcomeCode::kInvalidPin:
      return "INVALID_PIN";
    case OutcomeCode::kPinLocked:
      return "PIN_LOCKED";
    case OutcomeCode::kInsufficientFunds:
      return "INSUFFICIENT_FUNDS";
    case OutcomeCode::kBalanceOverflow:
      return "BALANCE_OVERFLOW";
    case OutcomeCode::kTransferLimitExceeded:
      return "TRANSFER_LIMIT_EXCEEDED";
    case OutcomeCode::kDailyTransactionCountExceeded:
      return "DAILY_TRANSACTION_COUNT_EXCEEDED";
    case OutcomeCode::kAccountUnreadable:
      return "ACCOUNT_UNREADABLE";
    case OutcomeCode::kReplayed:
    case OutcomeCode::kIdempotencyConflict:
    case OutcomeCode::kIdempotencyKeyReused:
    case OutcomeCode::kKeyUnreadable:
    case OutcomeCode::kUnavailable:
    case OutcomeCode::kOutcomeUnknown:
      break;  // not for the rules to say
  }
  return "?";
}

auto fields_of(const AccountState& a) {
  return std::tie(a.account_number, a.owner_id, a.privilege, a.is_active, a.balance, a.log_seq, a.pin_hash, a.usage_day,
                  a.usage_amount, a.usage_count, a.changed);
}

auto pin_fields_of(const AccountState& a) { return std::tie(a.pin_failures, a.pin_locked_until_us, a.pin_changed); }

Money money(const std::string& text) {
  const auto parsed = parse_money(text);
  EXPECT_TRUE(parsed.has_value()) << text;
  return parsed.value_or(Money());
}

class Books {
 public:
  // Runs one line, returns what its last column should have said.
  std::string run(const std::string& event) {
    std::istringstream in(event);
    std::string verb;
    in >> verb;
    if (verb == "limit") return set_limit(in), "";
    if (verb == "account") return open(in), "";
    if (verb == "clock") return set_clock(in), "";
    if (verb == "state") return describe(in);
    if (verb == "pin") return describe_pin(in);
    return move(verb, in);
  }

  const std::vector<LogRow>& log() const { return log_; }
  std::vector<AccountState>& accounts() { return accounts_; }

 private:
  void set_limit(std::istringstream& in) {
    std::string privilege, amount;
    int32_t count = 0;
    in >> privilege >> amount >> count;
    if (amount == "unreadable") {
      limits_.at(static_cast<size_t>(parse_privilege(privilege).value())) = {.is_readable = false};
      return;
    }
    limits_.at(static_cast<size_t>(parse_privilege(privilege).value())) = {money(amount), count};
  }

  void open(std::istringstream& in) {
    AccountState account;
    std::string privilege, balance, option;
    in >> account.account_number >> account.owner_id >> privilege >> balance;
    account.privilege = parse_privilege(privilege).value();
    account.balance = money(balance);
    account.is_active = true;
    while (in >> option) {
      if (option == "inactive") account.is_active = false;
      if (option == "unreadable") account.is_unreadable = true;
      if (option == "last-seq") account.log_seq = INT64_MAX - 1;
      if (option.starts_with("pin=")) account.pin_hash = pins_.hash(account.account_number, option.substr(4));
    }
    accounts_.push_back(account);
    std::ranges::sort(accounts_, {}, &AccountState::account_number);
  }

  void set_clock(std::istringstream& in) {
    int64_t day = 0, hour = 0, minute = 0, second = 0;
    char colon = ':';
    in >> day >> hour >> colon >> minute >> colon >> second;
    now_us_ = day * kDayUs + (hour * 60 + minute) * kMinuteUs + second * kSecondUs;
  }

  std::string describe_pin(std::istringstream& in) {
    int64_t number = 0;
    in >> number;
    const AccountState* account = find_account(accounts_, number);
    if (account == nullptr) return "?";
    std::string text = std::to_string(account->pin_failures);
    if (account->pin_locked_until_us == 0) return text;
    const int64_t ago_s = (now_us_ - (account->pin_locked_until_us - 15 * kMinuteUs)) / kSecondUs;
    return text + " lock begun " + std::to_string(ago_s / 60) + ":" + std::to_string(ago_s % 60) + " ago";
  }

  std::string describe(std::istringstream& in) {
    int64_t number = 0;
    in >> number;
    const AccountState* account = find_account(accounts_, number);
    if (account == nullptr) return "?";
    return to_string(account->balance) + " seq " + std::to_string(account->log_seq) + " used " +
           to_string(account->usage_amount) + "/" + std::to_string(account->usage_count) + "@" +
           std::to_string(account->usage_day);
  }

  std::string move(const std::string& verb, std::istringstream& in) {
    Operation& operation = operations_.emplace_back();
    std::string caller, amount, option;
    in >> caller >> operation.account_number;
    operation.type = verb == "deposit"    ? OperationType::kDeposit
                     : verb == "withdraw" ? OperationType::kWithdrawal
                                          : OperationType::kTransfer;
    if (operation.type == OperationType::kTransfer) {
      in >> operation.to_account;
      operation.transfer_mode = TransferMode::kUpi;
    }
    in >> amount;
    operation.amount = money(amount);
    while (in >> option) {
      if (option.starts_with("pin=")) operation.pin = option.substr(4);
    }
    operation.caller_role = caller[0] == 'c' ? Role::kCustomer : caller[0] == 't' ? Role::kTeller : Role::kAdmin;
    operation.caller_id = std::stoll(caller.substr(1));
    operation.description = "event " + std::to_string(operations_.size());
    return apply(operation);
  }

  std::string apply(const Operation& operation) {
    const auto before = accounts_;
    const size_t rows_before = log_.size();
    const Outcome outcome =
        decide(operation, accounts_, next_transaction_id_, {.limits = limits_, .now_us = now_us_, .pins = pins_}, log_);
    if (outcome.code != OutcomeCode::kSuccess) {
      EXPECT_EQ(log_.size(), rows_before);
      for (size_t i = 0; i < accounts_.size(); ++i) {
        EXPECT_EQ(fields_of(accounts_[i]), fields_of(before[i]));
        const bool may_count = operation.pin && accounts_[i].account_number == operation.account_number;
        if (!may_count) {
          EXPECT_EQ(pin_fields_of(accounts_[i]), pin_fields_of(before[i]));
        }
      }
      const bool is_locked = outcome.code == OutcomeCode::kPinLocked;
      if (!is_locked && outcome.code != OutcomeCode::kInvalidPin) {
        EXPECT_EQ(outcome.pin_locked_s, 0);
      }
      return std::string(name_of(outcome.code)) + " " + std::to_string(outcome.account_number) +
             (outcome.pin_locked_s > 0 ? " for " + std::to_string(outcome.pin_locked_s) : "");
    }

    const bool is_transfer = operation.type == OperationType::kTransfer;
    EXPECT_EQ(outcome.transaction_id, next_transaction_id_++);
    EXPECT_EQ(outcome.transacted_at_us, now_us_);
    EXPECT_EQ(outcome.account_number, operation.account_number);
    EXPECT_EQ(log_.size(), rows_before + (is_transfer ? 2 : 1));
    expect_row(log_[rows_before], operation, operation.account_number, operation.to_account,
               operation.type == OperationType::kDeposit ? Direction::kCredit : Direction::kDebit, outcome.new_balance);
    if (!is_transfer) return "ok " + to_string(outcome.new_balance);
    expect_row(log_[rows_before + 1], operation, operation.to_account, operation.account_number, Direction::kCredit,
               outcome.to_new_balance);
    const std::string payee = to_string(outcome.to_new_balance);
    return "ok " + to_string(outcome.new_balance) + (outcome.to_balance_visible ? " " + payee : " (" + payee + ")");
  }

  void expect_row(const LogRow& row, const Operation& operation, int64_t account_number, int64_t counterparty,
                  Direction direction, Money balance_after) {
    const AccountState* account = find_account(accounts_, account_number);
    EXPECT_EQ(row.transaction_id, next_transaction_id_ - 1);
    EXPECT_EQ(row.account_number, account_number);
    EXPECT_EQ(row.counterparty, counterparty);
    EXPECT_EQ(row.seq, account->log_seq);
    EXPECT_EQ(row.type, operation.type);
    EXPECT_EQ(row.direction, direction);
    EXPECT_EQ(row.transfer_mode, operation.transfer_mode);
    EXPECT_EQ(row.amount, operation.amount);
    EXPECT_EQ(row.balance_after, balance_after);
    EXPECT_EQ(row.balance_after, account->balance);
    EXPECT_EQ(row.description, operation.description);
    EXPECT_TRUE(account->changed);
  }

  static constexpr uint8_t kSecret[] = {1, 2, 3, 4};
  PinHasher pins_{kSecret};
  TransferLimits limits_ = {{{Money::from_minor(100'000'00), 50},
                             {Money::from_minor(50'000'00), 25},
                             {Money::from_minor(25'000'00), 10},
                             {Money::from_minor(10'000'00), 5}}};
  std::vector<AccountState> accounts_;
  std::deque<Operation> operations_;  // the log's rows borrow their descriptions
  std::vector<LogRow> log_;
  int64_t now_us_ = 20'000 * kDayUs;
  int64_t next_transaction_id_ = 1;
};

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

void run_table(const std::string& table) {
  Books books;
  std::istringstream lines(table);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    SCOPED_TRACE("line " + std::to_string(number) + ": " + line);
    const size_t arrow = line.find("->");
    const std::string expected = arrow == std::string::npos ? "" : trimmed(line.substr(arrow + 2));
    EXPECT_EQ(books.run(line.substr(0, arrow)), expected);
  }
}

TEST(RulesTable, MoneyMoves) {
  run_table(R"(
    account 1 7 GOLD 100.00
    account 2 8 GOLD 0.00
    account 3 7 GOLD 0.00

    deposit  c7 1   50.00    -> ok 150.00
    deposit  t1 1   0.01     -> ok 150.01
    withdraw c7 1   50.01    -> ok 100.00
    withdraw t1 1   1.00     -> ok 99.00
    transfer c7 1 2 40.00    -> ok 59.00 (40.00)     # the payee is somebody else's
    transfer c7 1 3 9.00     -> ok 50.00 9.00
    transfer t1 2 1 40.00    -> ok 0.00 90.00
    withdraw c7 1   90.00    -> ok 0.00              # down to nothing is fine
    state 1                  -> 0.00 seq 8 used 49.00/2@20000
    state 2                  -> 0.00 seq 2 used 40.00/1@20000
    state 3                  -> 9.00 seq 1 used 0.00/0@0
  )");
}

TEST(RulesTable, ABatchIsDecidedInItsOrder) {
  run_table(R"(
    account 1 1 PREMIUM 10.00
    account 2 2 PREMIUM 0.00
    account 3 3 PREMIUM 0.00

    transfer c2 2 3 10.00    -> INSUFFICIENT_FUNDS 2   # nothing there yet
    transfer c1 1 2 10.00    -> ok 0.00 (10.00)
    transfer c2 2 3 10.00    -> ok 0.00 (10.00)        # passed on at once
    transfer c3 3 1 10.00    -> ok 0.00 (10.00)        # and back to where it came from
    transfer c1 1 2 4.00     -> ok 6.00 (4.00)
    transfer c2 2 1 4.00     -> ok 0.00 (10.00)        # there and back
    withdraw c1 1   10.01    -> INSUFFICIENT_FUNDS 1   # one refusal costs its neighbours nothing
    withdraw c1 1   10.00    -> ok 0.00
    state 1                  -> 0.00 seq 5 used 14.00/2@20000
  )");
}

// Every line breaks all rules from its own on: the earliest one answers.
TEST(RulesTable, Precedence) {
  run_table(R"(
    limit BASIC 10.00 1
    limit SILVER 10.00 5
    account 1 7 BASIC  5.00 pin=1234 inactive
    account 2 7 BASIC  5.00 pin=1234
    account 3 7 SILVER 5.00 pin=1234
    account 4 7 GOLD   5.00 pin=1234
    account 5 7 GOLD   9999999999999.99 pin=1234
    account 8 8 GOLD   9999999999999.99 inactive
    account 9 8 GOLD   9999999999999.99
    account 6 7 BASIC  5.00 pin=1234
    withdraw c7 6 1.00 pin=1                       -> INVALID_PIN 6
    withdraw c7 6 1.00 pin=2                       -> INVALID_PIN 6
    withdraw c7 6 1.00 pin=3                       -> INVALID_PIN 6 for 900
    transfer t1 2 4 1.00 pin=1234                  -> ok 4.00 6.00    # uses up account 2's count

    transfer c6 77 77 1000000.00                   -> SAME_ACCOUNT_TRANSFER 77
    transfer a6 1 1   1000000.00                   -> SAME_ACCOUNT_TRANSFER 1
    transfer c6 77 78 1000000.00                   -> ACCOUNT_NOT_FOUND 77
    transfer c6 1 78  1000000.00                   -> ACCOUNT_NOT_FOUND 78
    transfer c6 78 1  1000000.00                   -> ACCOUNT_NOT_FOUND 78
    transfer c6 1 8   1000000.00                   -> FORBIDDEN 1
    transfer a7 1 8   1000000.00                   -> FORBIDDEN 1
    transfer c7 1 8   1000000.00                   -> ACCOUNT_NOT_ACTIVE 1
    transfer c7 2 8   1000000.00                   -> ACCOUNT_NOT_ACTIVE 8
    transfer c6 6 8   1000000.00                   -> FORBIDDEN 6
    transfer c7 6 8   1000000.00                   -> ACCOUNT_NOT_ACTIVE 8
    transfer c7 6 9   1000000.00                   -> PIN_LOCKED 6 for 900
    transfer c7 2 9   1000000.00                   -> INVALID_PIN 2
    transfer c7 2 9   1000000.00 pin=4321          -> INVALID_PIN 2
    transfer c7 2 9   1000000.00 pin=1234          -> DAILY_TRANSACTION_COUNT_EXCEEDED 2
    transfer c7 3 9   1000000.00 pin=1234          -> TRANSFER_LIMIT_EXCEEDED 3
    transfer c7 4 9   1000.00    pin=1234          -> INSUFFICIENT_FUNDS 4
    transfer c7 4 9   5.00       pin=1234          -> BALANCE_OVERFLOW 9

    withdraw c6 77 1000000.00                      -> ACCOUNT_NOT_FOUND 77
    withdraw c6 1  1000000.00                      -> FORBIDDEN 1
    withdraw a7 1  1000000.00                      -> FORBIDDEN 1
    withdraw c7 1  1000000.00                      -> ACCOUNT_NOT_ACTIVE 1
    withdraw c7 2  1000000.00                      -> INVALID_PIN 2
    withdraw c7 2  1000000.00    pin=1234          -> INSUFFICIENT_FUNDS 2     # limits are for transfers

    deposit c6 77 999999999.99                     -> ACCOUNT_NOT_FOUND 77
    deposit c6 8  999999999.99                     -> FORBIDDEN 8
    deposit a8 8  999999999.99                     -> FORBIDDEN 8
    deposit c8 8  999999999.99                     -> ACCOUNT_NOT_ACTIVE 8
    deposit c7 5  0.01                             -> BALANCE_OVERFLOW 5       # a PIN is for debits
    deposit c7 4  0.01                             -> ok 6.01
  )");
}

// Of a row that is not ours nothing is believed but its number; a limit that is not there is none, and not zero.
TEST(RulesTable, WhatCannotBeReadIsAFaultOfItsOwn) {
  run_table(R"(
    limit GOLD unreadable
    account 1 7 SILVER 100.00 unreadable pin=1234 inactive
    account 2 7 SILVER 100.00
    account 3 7 GOLD 100.00 pin=1234
    account 4 7 SILVER 100.00 last-seq

    deposit  c7 1     1.00           -> ACCOUNT_UNREADABLE 1
    deposit  c6 1     1.00           -> ACCOUNT_UNREADABLE 1    # whose it is cannot be told
    withdraw c7 1     1.00 pin=4321  -> ACCOUNT_UNREADABLE 1
    transfer c7 1 2   1.00           -> ACCOUNT_UNREADABLE 1
    transfer c7 2 1   1.00           -> ACCOUNT_UNREADABLE 1
    transfer c7 1 9   1.00           -> ACCOUNT_NOT_FOUND 9
    transfer c7 1 1   1.00           -> SAME_ACCOUNT_TRANSFER 1
    deposit  c7 2     1.00           -> ok 101.00
    transfer c6 3 2   1.00           -> FORBIDDEN 3
    transfer c7 3 2   1.00 pin=4321  -> INVALID_PIN 3
    transfer c7 3 2   1000.00 pin=1234 -> ACCOUNT_UNREADABLE 3
    withdraw c7 3     1.00 pin=1234  -> ok 99.00
    transfer c7 2 3   1.00           -> ok 100.00 100.00
    deposit  c7 4     1.00           -> ok 101.00               # the last seq there is
    deposit  c7 4     1.00           -> ACCOUNT_UNREADABLE 4
    transfer c7 2 4   1.00           -> ACCOUNT_UNREADABLE 4
  )");
}

TEST(RulesTable, Ownership) {
  run_table(R"(
    account 1 7 GOLD 100.00
    account 2 8 GOLD 100.00

    deposit  c7 1   1.00  -> ok 101.00
    deposit  c7 2   1.00  -> FORBIDDEN 2
    withdraw c7 2   1.00  -> FORBIDDEN 2
    transfer c7 2 1 1.00  -> FORBIDDEN 2
    transfer c7 1 2 1.00  -> ok 100.00 (101.00)
    deposit  t7 2   1.00  -> ok 102.00
    withdraw t9 2   1.00  -> ok 101.00
    transfer t9 2 1 1.00  -> ok 100.00 101.00
    deposit  a7 1   1.00  -> FORBIDDEN 1
    withdraw a7 1   1.00  -> FORBIDDEN 1
    transfer a7 1 2 1.00  -> FORBIDDEN 1
  )");
}

TEST(RulesTable, Pins) {
  run_table(R"(
    account 1 7 GOLD 100.00 pin=1234
    account 2 7 GOLD 100.00

    withdraw c7 1   1.00             -> INVALID_PIN 1
    withdraw c7 1   1.00 pin=1235    -> INVALID_PIN 1
    withdraw c7 1   1.00 pin=12345   -> INVALID_PIN 1
    withdraw c7 1   1.00 pin=1234    -> ok 99.00
    withdraw t1 1   1.00             -> INVALID_PIN 1             # the teller needs it as well
    transfer c7 1 2 1.00             -> INVALID_PIN 1
    transfer c7 1 2 1.00 pin=1234    -> ok 98.00 101.00
    transfer c7 2 1 1.00             -> ok 100.00 99.00           # the payee's PIN guards nothing here
    withdraw c7 2   1.00 pin=9999    -> ok 99.00                  # no PIN on the account: whatever is typed is ignored
    deposit  c7 1   1.00             -> ok 100.00
  )");
}

TEST(RulesTable, ThreeWrongPinsInARowLockFor15Minutes) {
  run_table(R"(
    account 1 7 GOLD 100.00 pin=1234
    account 2 7 GOLD 100.00 pin=1234
    clock 20000 12:00

    withdraw c7 1   1.00 pin=0000    -> INVALID_PIN 1
    transfer c7 1 2 1.00 pin=0001    -> INVALID_PIN 1
    pin 1                            -> 2
    withdraw c7 1   1.00 pin=0002    -> INVALID_PIN 1 for 900     # the third
    pin 1                            -> 3 lock begun 0:0 ago
    withdraw c7 1   1.00 pin=0003    -> PIN_LOCKED 1 for 900
    withdraw c7 1   1.00 pin=1234    -> PIN_LOCKED 1 for 900      # the right one does not help
    withdraw c7 1   1.00             -> PIN_LOCKED 1 for 900
    transfer t9 1 2 1.00 pin=1234    -> PIN_LOCKED 1 for 900      # nor does a teller
    withdraw c7 2   1.00 pin=1234    -> ok 99.00                  # another account's PIN is another PIN
    deposit  c7 1   1.00             -> ok 101.00                 # money may come in
    transfer c7 2 1 1.00 pin=1234    -> ok 98.00 102.00

    clock 20000 12:14:59
    withdraw c7 1   1.00 pin=1234    -> PIN_LOCKED 1 for 1
    pin 1                            -> 3 lock begun 14:59 ago     # attempts while it is locked do not lengthen it
    clock 20000 12:15
    withdraw c7 1   1.00             -> INVALID_PIN 1              # the lock is over, and nothing was guessed
    pin 1                            -> 3 lock begun 15:0 ago
    withdraw c7 1   1.00 pin=0004    -> INVALID_PIN 1
    pin 1                            -> 1                          # counted anew
    withdraw c7 1   1.00 pin=0005    -> INVALID_PIN 1
    withdraw c7 1   1.00 pin=1234    -> ok 101.00
    pin 1                            -> 0
    withdraw c7 1   1.00 pin=0006    -> INVALID_PIN 1
    withdraw c7 1   1.00 pin=0007    -> INVALID_PIN 1
    withdraw c7 1   1.00 pin=0008    -> INVALID_PIN 1 for 900
    clock 20001 00:00
    withdraw c7 1   1.00 pin=1234    -> ok 100.00                  # the right one right after a lock
    pin 1                            -> 0
    state 1                          -> 100.00 seq 4 used 0.00/0@0
  )");
}

TEST(RulesTable, WhatCountsAsAWrongPin) {
  run_table(R"(
    limit BASIC 10.00 5
    account 1 7 BASIC 100.00 pin=1234
    account 2 7 GOLD  100.00
    account 3 7 GOLD  100.00 pin=1234 inactive
    account 4 8 GOLD  100.00 pin=1234

    # No PIN, a stranger's, one for an account that may not be debited, one that no account asks for: none of these.
    withdraw c7 1   1.00              -> INVALID_PIN 1
    withdraw c8 1   1.00 pin=0000     -> FORBIDDEN 1
    transfer a7 1 2 1.00 pin=0000     -> FORBIDDEN 1
    transfer c7 1 9 1.00 pin=0000     -> ACCOUNT_NOT_FOUND 9
    transfer c7 1 1 1.00 pin=0000     -> SAME_ACCOUNT_TRANSFER 1
    transfer c7 1 3 1.00 pin=0000     -> ACCOUNT_NOT_ACTIVE 3
    withdraw c7 3   1.00 pin=0000     -> ACCOUNT_NOT_ACTIVE 3
    withdraw c7 2   1.00 pin=0000     -> ok 99.00
    transfer c7 2 4 1.00 pin=0000     -> ok 98.00 (101.00)
    deposit  c7 1   1.00 pin=0000     -> ok 101.00
    pin 1                             -> 0
    pin 2                             -> 0
    pin 3                             -> 0
    pin 4                             -> 0

    # A wrong PIN counts whatever else is wrong, and a right one is a right one whatever refuses the rest.
    withdraw c7 1   500.00 pin=12345  -> INVALID_PIN 1
    transfer c7 1 2 50.00  pin=4321   -> INVALID_PIN 1
    pin 1                             -> 2
    withdraw c7 1   500.00 pin=1234   -> INSUFFICIENT_FUNDS 1
    pin 1                             -> 0
    withdraw t9 1   1.00   pin=9999   -> INVALID_PIN 1
    withdraw t9 1   1.00   pin=9999   -> INVALID_PIN 1
    transfer c7 1 2 50.00  pin=1234   -> TRANSFER_LIMIT_EXCEEDED 1
    pin 1                             -> 0
    withdraw c7 1   1.00   pin=9999   -> INVALID_PIN 1
    withdraw c7 1   1.00              -> INVALID_PIN 1
    withdraw c7 1   1.00   pin=9999   -> INVALID_PIN 1
    withdraw c7 1   1.00              -> INVALID_PIN 1
    pin 1                             -> 2
    withdraw c7 1   1.00   pin=9999   -> INVALID_PIN 1 for 900
  )");
}

// A clock that steps ends a lock early or makes it longer; it never opens an account to more than three guesses a lock.
TEST(RulesTable, PinLocksAndClocksThatStep) {
  run_table(R"(
    account 1 7 GOLD 100.00 pin=1234
    clock 20000 12:00
    withdraw c7 1 1.00 pin=0000   -> INVALID_PIN 1
    withdraw c7 1 1.00 pin=0000   -> INVALID_PIN 1
    withdraw c7 1 1.00 pin=0000   -> INVALID_PIN 1 for 900
    clock 20000 11:00
    withdraw c7 1 1.00 pin=1234   -> PIN_LOCKED 1 for 4500
    clock 20000 12:20
    withdraw c7 1 1.00 pin=0000   -> INVALID_PIN 1
    clock 20000 12:10
    withdraw c7 1 1.00 pin=0000   -> INVALID_PIN 1            # the lock has been seen to be over
    withdraw c7 1 1.00 pin=0000   -> INVALID_PIN 1 for 900
  )");
}

TEST(RulesTable, DailyLimits) {
  run_table(R"(
    limit BASIC 100.00 3
    limit GOLD  100.00 2
    account 1 7 BASIC 1000.00
    account 2 7 GOLD 1000.00
    account 3 9 PREMIUM 0.00

    clock 20000 00:00
    transfer c7 1 3 100.01  -> TRANSFER_LIMIT_EXCEEDED 1
    transfer c7 1 3 99.99   -> ok 900.01 (99.99)
    transfer c7 1 3 0.02    -> TRANSFER_LIMIT_EXCEEDED 1
    transfer c7 1 3 0.01    -> ok 900.00 (100.00)          # exactly the limit
    transfer c7 1 3 0.01    -> TRANSFER_LIMIT_EXCEEDED 1
    withdraw c7 1   500.00  -> ok 400.00                   # not a transfer: neither counted nor limited
    deposit  c7 1   500.00  -> ok 900.00
    state 1                 -> 900.00 seq 4 used 100.00/2@20000

    transfer c7 2 3 1.00    -> ok 999.00 (101.00)
    transfer c7 2 3 1.00    -> ok 998.00 (102.00)
    transfer c7 2 3 1.00    -> DAILY_TRANSACTION_COUNT_EXCEEDED 2
    transfer c7 2 3 500.00  -> DAILY_TRANSACTION_COUNT_EXCEEDED 2
    transfer c7 1 2 0.01    -> TRANSFER_LIMIT_EXCEEDED 1
    transfer t1 2 1 1.00    -> DAILY_TRANSACTION_COUNT_EXCEEDED 2   # the account's limit, whoever asks

    clock 20000 23:59
    transfer c7 2 3 1.00    -> DAILY_TRANSACTION_COUNT_EXCEEDED 2
    clock 20001 00:00
    transfer c7 2 3 1.00    -> ok 997.00 (103.00)
    transfer c7 1 3 100.00  -> ok 800.00 (203.00)
    state 1                 -> 800.00 seq 5 used 100.00/1@20001

    # Receiving uses nothing up.
    state 3                 -> 203.00 seq 6 used 0.00/0@0

    # A refusal on a new day leaves yesterday's usage standing.
    clock 20002 12:00
    transfer c7 1 3 100.01  -> TRANSFER_LIMIT_EXCEEDED 1
    state 1                 -> 800.00 seq 5 used 100.00/1@20001

    # A clock that steps back hands nothing out twice, and the later day keeps what it had.
    clock 20000 12:00
    transfer c7 1 3 0.01    -> TRANSFER_LIMIT_EXCEEDED 1
    transfer c7 2 3 1.00    -> ok 996.00 (204.00)
    transfer c7 2 3 1.00    -> DAILY_TRANSACTION_COUNT_EXCEEDED 2
    state 2                 -> 996.00 seq 4 used 2.00/2@20001
    clock 20001 12:00
    transfer c7 2 3 1.00    -> DAILY_TRANSACTION_COUNT_EXCEEDED 2
    clock 20002 00:00
    transfer c7 2 3 1.00    -> ok 995.00 (205.00)
    state 2                 -> 995.00 seq 5 used 1.00/1@20002

    # A limit lowered below what has been used refuses; one of zero refuses all.
    limit GOLD 0.50 10
    transfer c7 2 3 0.01    -> TRANSFER_LIMIT_EXCEEDED 2
    limit GOLD 0.00 10
    clock 20003
    transfer c7 2 3 0.01    -> TRANSFER_LIMIT_EXCEEDED 2
    limit GOLD 100.00 0
    transfer c7 2 3 0.01    -> DAILY_TRANSACTION_COUNT_EXCEEDED 2
  )");
}

TEST(RulesTable, TheContractsLimits) {
  run_table(R"(
    account 1 1 PREMIUM 1000000.00
    account 2 1 GOLD    1000000.00
    account 3 1 SILVER  1000000.00
    account 4 1 BASIC   1000000.00
    account 5 1 BASIC   0.00
    transfer c1 1 5 100000.01 -> TRANSFER_LIMIT_EXCEEDED 1
    transfer c1 1 5 100000.00 -> ok 900000.00 100000.00
    transfer c1 2 5 50000.01  -> TRANSFER_LIMIT_EXCEEDED 2
    transfer c1 2 5 50000.00  -> ok 950000.00 150000.00
    transfer c1 3 5 25000.01  -> TRANSFER_LIMIT_EXCEEDED 3
    transfer c1 3 5 25000.00  -> ok 975000.00 175000.00
    transfer c1 4 5 10000.01  -> TRANSFER_LIMIT_EXCEEDED 4
    transfer c1 4 5 10000.00  -> ok 990000.00 185000.00
  )");
}

TEST(RulesTable, EdgesOfTheBalance) {
  run_table(R"(
    limit PREMIUM 9999999999999.99 50
    account 1 1 PREMIUM 9999999999999.98
    account 2 1 PREMIUM 0.01
    deposit  c1 1   0.02              -> BALANCE_OVERFLOW 1
    deposit  c1 1   9999999999999.99  -> BALANCE_OVERFLOW 1
    transfer c1 2 1 0.01              -> ok 0.00 9999999999999.99
    deposit  c1 1   0.01              -> BALANCE_OVERFLOW 1
    transfer c1 1 2 9999999999999.99  -> ok 0.00 9999999999999.99
    withdraw c1 2   9999999999999.99  -> ok 0.00
    withdraw c1 2   0.01              -> INSUFFICIENT_FUNDS 2
  )");
}

TEST(Rules, UtcDayRoundsDown) {
  EXPECT_EQ(utc_day(0), 0);
  EXPECT_EQ(utc_day(kDayUs - 1), 0);
  EXPECT_EQ(utc_day(kDayUs), 1);
  EXPECT_EQ(utc_day(-1), -1);
  EXPECT_EQ(utc_day(-kDayUs), -1);
  EXPECT_EQ(utc_day(-kDayUs - 1), -2);
}

TEST(Rules, DailyUsageStartsAnewOnlyForwards) {
  AccountState account;
  account.usage_day = 100;
  account.usage_amount = Money::from_minor(5);
  account.usage_count = 3;
  EXPECT_EQ(daily_usage(account, 100 * kDayUs).count, 3);
  EXPECT_EQ(daily_usage(account, 101 * kDayUs).count, 0);
  EXPECT_EQ(daily_usage(account, 101 * kDayUs).day, 101);
  EXPECT_EQ(daily_usage(account, 101 * kDayUs).amount, Money());
  EXPECT_EQ(daily_usage(account, 99 * kDayUs).count, 3);
  EXPECT_EQ(daily_usage(account, 99 * kDayUs).day, 100);
}

TEST(Rules, FindAccount) {
  std::vector<AccountState> accounts(5);
  for (size_t i = 0; i < accounts.size(); ++i) accounts[i].account_number = static_cast<int64_t>(10 * (i + 1));
  for (auto& account : accounts) EXPECT_EQ(find_account(accounts, account.account_number), &account);
  for (const int64_t missing : {INT64_MIN, int64_t{0}, int64_t{9}, int64_t{11}, int64_t{49}, int64_t{51}, INT64_MAX}) {
    EXPECT_EQ(find_account(accounts, missing), nullptr) << missing;
  }
  EXPECT_EQ(find_account({}, 1), nullptr);
}

}  // namespace
}  // namespace txn
