#include "app/rules.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace txn {
namespace {

constexpr int64_t kMicrosecondsPerDay = int64_t{24} * 60 * 60 * 1'000'000;

Outcome refuse(OutcomeCode code, int64_t account_number) {
  Outcome outcome;
  outcome.code = code;
  outcome.account_number = account_number;
  return outcome;
}

bool sees_account(const Operation& operation, const AccountState& account) {
  switch (operation.caller_role) {
    case Role::kTeller:
      return true;
    case Role::kCustomer:
      return account.owner_id == operation.caller_id;
    case Role::kAdmin:  // turned away before it comes here; were it not, it still moves no money
      return false;
  }
  return false;
}

// The row is ours, and its log can be written on.
bool can_be_posted(const AccountState& account) { return !account.is_unreadable && account.log_seq < INT64_MAX; }

int64_t seconds_rounded_up(int64_t us) { return (us + 999'999) / 1'000'000; }

void set_pin_state(AccountState& account, int32_t failures, int64_t locked_until_us) {
  account.pin_changed |= account.pin_failures != failures || account.pin_locked_until_us != locked_until_us;
  account.pin_failures = failures;
  account.pin_locked_until_us = locked_until_us;
}

// Looks at the PIN of a debit and keeps count of wrong ones. kSuccess: it holds, or the account has none.
Outcome check_pin(const Operation& operation, AccountState& account, const DecisionContext& context) {
  Outcome outcome = refuse(OutcomeCode::kSuccess, account.account_number);
  if (!account.pin_hash) return outcome;
  if (context.now_us < account.pin_locked_until_us) {
    outcome.code = OutcomeCode::kPinLocked;
    outcome.pin_locked_s = seconds_rounded_up(account.pin_locked_until_us - context.now_us);
    return outcome;
  }
  if (!operation.pin) {
    outcome.code = OutcomeCode::kInvalidPin;  // nothing was guessed
    return outcome;
  }
  if (context.pins.matches(account.account_number, *operation.pin, *account.pin_hash)) {
    set_pin_state(account, 0, 0);
    return outcome;
  }
  outcome.code = OutcomeCode::kInvalidPin;
  const int32_t before = account.pin_locked_until_us != 0 ? 0 : account.pin_failures;  // a lock that is over
  if (before + 1 < kPinFailuresMax) {
    set_pin_state(account, before + 1, 0);
  } else {
    set_pin_state(account, kPinFailuresMax, context.now_us + kPinLockUs);
    outcome.pin_locked_s = seconds_rounded_up(kPinLockUs);
  }
  return outcome;
}

// Adds `amount` (negative: takes it away) to the account and writes its leg of the transaction.
void post(AccountState& account, Money amount, int64_t counterparty, const Operation& operation, int64_t transaction_id,
          std::vector<LogRow>& log) {
  account.balance += amount;
  account.log_seq += 1;
  account.changed = true;
  log.push_back({.transaction_id = transaction_id,
                 .account_number = account.account_number,
                 .counterparty = counterparty,
                 .seq = account.log_seq,
                 .type = operation.type,
                 .direction = amount < Money() ? Direction::kDebit : Direction::kCredit,
                 .transfer_mode = operation.transfer_mode,
                 .amount = operation.amount,
                 .balance_after = account.balance,
                 .description = operation.description});
}

}  // namespace

int32_t utc_day(int64_t now_us) {
  // Rounded down, also before 1970.
  return static_cast<int32_t>(now_us / kMicrosecondsPerDay - (now_us % kMicrosecondsPerDay < 0));
}

DailyUsage daily_usage(const AccountState& account, int64_t now_us) {
  const int32_t today = utc_day(now_us);
  if (account.usage_day < today) return {.day = today, .amount = Money(), .count = 0};
  return {.day = account.usage_day, .amount = account.usage_amount, .count = account.usage_count};
}

AccountState* find_account(std::span<AccountState> accounts, int64_t account_number) {
  const auto found = std::ranges::lower_bound(accounts, account_number, {}, &AccountState::account_number);
  return found != accounts.end() && found->account_number == account_number ? &*found : nullptr;
}

Outcome decide(const Operation& operation, std::span<AccountState> accounts, int64_t transaction_id,
               const DecisionContext& context, std::vector<LogRow>& log) {
  CHECK(operation.amount > Money(), "validation lets only amounts above zero through");
  CHECK(operation.amount <= kMaxBalance, "validation bounds every amount");
  const bool is_transfer = operation.type == OperationType::kTransfer;
  const bool is_debit = operation.type != OperationType::kDeposit;

  if (is_transfer && operation.account_number == operation.to_account) {
    return refuse(OutcomeCode::kSameAccountTransfer, operation.account_number);
  }

  AccountState* const account = find_account(accounts, operation.account_number);
  if (account == nullptr) return refuse(OutcomeCode::kAccountNotFound, operation.account_number);
  AccountState* const payee = is_transfer ? find_account(accounts, operation.to_account) : nullptr;
  if (is_transfer && payee == nullptr) return refuse(OutcomeCode::kAccountNotFound, operation.to_account);

  if (!can_be_posted(*account)) return refuse(OutcomeCode::kAccountUnreadable, operation.account_number);
  if (is_transfer && !can_be_posted(*payee)) return refuse(OutcomeCode::kAccountUnreadable, operation.to_account);

  if (!sees_account(operation, *account)) return refuse(OutcomeCode::kForbidden, operation.account_number);

  if (!account->is_active) return refuse(OutcomeCode::kAccountNotActive, operation.account_number);
  if (is_transfer && !payee->is_active) return refuse(OutcomeCode::kAccountNotActive, operation.to_account);

  if (is_debit) {
    const Outcome pin = check_pin(operation, *account, context);
    if (pin.code != OutcomeCode::kSuccess) return pin;
  }

  DailyUsage usage;
  if (is_transfer) {
    const TransferLimit& limit = context.limits[std::to_underlying(account->privilege)];
    if (!limit.is_readable) return refuse(OutcomeCode::kAccountUnreadable, operation.account_number);
    usage = daily_usage(*account, context.now_us);
    if (usage.count >= limit.daily_count) {  // so below INT32_MAX, however high the limit
      return refuse(OutcomeCode::kDailyTransactionCountExceeded, operation.account_number);
    }
    if (operation.amount > limit.daily_amount - usage.amount) {
      return refuse(OutcomeCode::kTransferLimitExceeded, operation.account_number);
    }
  }

  if (is_debit && operation.amount > account->balance) {
    return refuse(OutcomeCode::kInsufficientFunds, operation.account_number);
  }

  const AccountState* const credited = is_transfer ? payee : is_debit ? nullptr : account;
  if (credited != nullptr && operation.amount > kMaxBalance - credited->balance) {
    return refuse(OutcomeCode::kBalanceOverflow, credited->account_number);
  }

  // Nothing can refuse any more.
  Outcome outcome;
  outcome.code = OutcomeCode::kSuccess;
  outcome.account_number = operation.account_number;
  outcome.transaction_id = transaction_id;
  outcome.transacted_at_us = context.now_us;

  post(*account, is_debit ? Money() - operation.amount : operation.amount, is_transfer ? operation.to_account : 0,
       operation, transaction_id, log);
  outcome.new_balance = account->balance;
  if (is_transfer) {
    account->usage_day = usage.day;
    account->usage_amount = usage.amount + operation.amount;
    account->usage_count = usage.count + 1;
    post(*payee, operation.amount, operation.account_number, operation, transaction_id, log);
    outcome.to_new_balance = payee->balance;
    outcome.to_balance_visible = sees_account(operation, *payee);
  }
  return outcome;
}

}  // namespace txn
