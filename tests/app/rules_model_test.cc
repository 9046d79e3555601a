// The rules against a model that is slow and obvious.
//
// The model remembers nothing but the history: how each account was opened, and every operation that succeeded. A
// balance, a seq or a day's usage is worked out anew from that whenever it is asked for (with a memo of sums per
// account, or a million operations would take a million squared). It works in 128-bit integers, in maps, and writes the
// order of the rules as one list of questions. So a mistake would have to be made twice, in two different shapes, to
// stay hidden.
//
// TXN_SEED picks another run, TXN_MODEL_OPERATIONS its length.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "app/rules.h"

namespace txn {
namespace {

using Int = __int128;

constexpr int64_t kDayUs = int64_t{86'400} * 1'000'000;
constexpr Int kModelMaxBalance = 999'999'999'999'999;

uint64_t from_environment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : fallback;
}

constexpr uint8_t kSecret[] = "a secret of the model test only";

class Model {
 public:
  struct Account {
    int64_t owner = 0;
    Privilege privilege = Privilege::kBasic;
    Int opening = 0;
    bool active = false;
    std::string pin;     // empty: none
    int wrong_pins = 0;  // since the last right one, or the last lock
    int64_t locked_until_us = 0;
    // Memo of the history below.
    Int credits = 0, debits = 0;
    int64_t rows = 0;
    std::map<int64_t, std::pair<Int, int>> sent_by_day;
  };

  std::map<int64_t, Account> accounts;
  std::map<Privilege, std::pair<Int, int>> limits;

  Int balance(int64_t number) const {
    const Account& a = accounts.at(number);
    return a.opening + a.credits - a.debits;
  }

  // The day that a transfer at `day` is booked on: never before the last one that has something booked.
  int64_t booking_day(int64_t number, int64_t day) const {
    const auto& days = accounts.at(number).sent_by_day;
    return days.empty() ? day : std::max(day, days.rbegin()->first);
  }

  std::pair<Int, int> sent(int64_t number, int64_t day) const {
    const auto& days = accounts.at(number).sent_by_day;
    const auto found = days.find(booking_day(number, day));
    return found == days.end() ? std::pair<Int, int>{0, 0} : found->second;
  }

  // What must come out, without carrying it out.
  OutcomeCode verdict(const Operation& o, int64_t day, int64_t now_us) const {
    const bool transfer = o.type == OperationType::kTransfer;
    const bool takes = o.type != OperationType::kDeposit;
    const int64_t from = o.account_number;
    const Int amount = o.amount.minor();
    const auto exists = [&](int64_t number) { return accounts.count(number) == 1; };
    const int64_t gains = transfer ? o.to_account : from;

    const std::pair<OutcomeCode, std::function<bool()>> questions[] = {
        {OutcomeCode::kSameAccountTransfer, [&] { return transfer && from == o.to_account; }},
        {OutcomeCode::kAccountNotFound, [&] { return !exists(from) || (transfer && !exists(o.to_account)); }},
        {OutcomeCode::kForbidden,
         [&] {
           const bool owns = o.caller_role == Role::kCustomer && accounts.at(from).owner == o.caller_id;
           return o.caller_role != Role::kTeller && !owns;
         }},
        {OutcomeCode::kAccountNotActive,
         [&] { return !accounts.at(from).active || (transfer && !accounts.at(o.to_account).active); }},
        {OutcomeCode::kPinLocked,
         [&] { return takes && !accounts.at(from).pin.empty() && accounts.at(from).locked_until_us > now_us; }},
        {OutcomeCode::kInvalidPin,
         [&] {
           const std::string& pin = accounts.at(from).pin;
           return takes && !pin.empty() && o.pin.value_or("") != pin;
         }},
        {OutcomeCode::kDailyTransactionCountExceeded,
         [&] { return transfer && sent(from, day).second + 1 > limits.at(accounts.at(from).privilege).second; }},
        {OutcomeCode::kTransferLimitExceeded,
         [&] { return transfer && sent(from, day).first + amount > limits.at(accounts.at(from).privilege).first; }},
        {OutcomeCode::kInsufficientFunds, [&] { return takes && balance(from) - amount < 0; }},
        {OutcomeCode::kBalanceOverflow,
         [&] { return o.type != OperationType::kWithdrawal && balance(gains) + amount > kModelMaxBalance; }},
    };
    for (const auto& [code, applies] : questions) {
      if (applies()) return code;
    }
    return OutcomeCode::kSuccess;
  }

  // What the account's PIN has seen of an operation that the rules answer with `code`.
  void remember_pin(const Operation& o, OutcomeCode code, int64_t now_us) {
    constexpr std::array kBeforeAnyPin{OutcomeCode::kSameAccountTransfer, OutcomeCode::kAccountNotFound,
                                       OutcomeCode::kForbidden, OutcomeCode::kAccountNotActive,
                                       OutcomeCode::kPinLocked};
    const bool looked_at = std::ranges::find(kBeforeAnyPin, code) == kBeforeAnyPin.end();
    if (!looked_at || o.type == OperationType::kDeposit || !o.pin) return;
    Account& account = accounts.at(o.account_number);
    if (account.pin.empty()) return;
    account.locked_until_us = 0;  // or it would not have been looked at
    account.wrong_pins = code == OutcomeCode::kInvalidPin ? account.wrong_pins + 1 : 0;
    if (account.wrong_pins < 3) return;
    account.wrong_pins = 0;
    account.locked_until_us = now_us + 900'000'000;
  }

  void book(const Operation& o, int64_t day) {
    const Int amount = o.amount.minor();
    Account& account = accounts.at(o.account_number);
    ++account.rows;
    (o.type == OperationType::kDeposit ? account.credits : account.debits) += amount;
    if (o.type == OperationType::kTransfer) {
      auto& [sum, count] = account.sent_by_day[booking_day(o.account_number, day)];
      sum += amount;
      ++count;
      Account& payee = accounts.at(o.to_account);
      ++payee.rows;
      payee.credits += amount;
    }
  }
};

class Bank {
 public:
  explicit Bank(uint64_t seed) : random_(seed), pins_(kSecret) {
    for (size_t i = 0; i < kPrivilegeCount; ++i) {
      const auto privilege = static_cast<Privilege>(i);
      limits_[i] = {Money::from_minor(below(2'000'000) + 1), static_cast<int32_t>(below(30))};
      model_.limits[privilege] = {limits_[i].daily_amount.minor(), limits_[i].daily_count};
    }
    const int64_t count = 2 + below(40);
    for (int64_t i = 0; i < count; ++i) open(100 + 3 * i);
  }

  void step() {
    advance_clock();
    const Operation& operation = draw();
    const int64_t day = floor_day();
    const OutcomeCode expected = model_.verdict(operation, day, now_us_);
    model_.remember_pin(operation, expected, now_us_);
    const size_t rows_before = log_.size();

    const Outcome outcome =
        decide(operation, accounts_, next_id_, {.limits = limits_, .now_us = now_us_, .pins = pins_}, log_);
    ASSERT_EQ(outcome.code, expected) << describe(operation);
    ++seen_[outcome.code];
    if (expected != OutcomeCode::kSuccess) {
      ASSERT_EQ(log_.size(), rows_before);
      expect_same(operation.account_number);
      return;
    }

    model_.book(operation, day);
    ASSERT_EQ(outcome.transaction_id, next_id_++);
    ASSERT_EQ(outcome.transacted_at_us, now_us_);
    ASSERT_EQ(Int{outcome.new_balance.minor()}, model_.balance(operation.account_number)) << describe(operation);
    if (operation.type == OperationType::kTransfer) {
      ASSERT_EQ(Int{outcome.to_new_balance.minor()}, model_.balance(operation.to_account)) << describe(operation);
      ASSERT_EQ(outcome.to_balance_visible, operation.caller_role == Role::kTeller ||
                                                model_.accounts.at(operation.to_account).owner == operation.caller_id);
      expect_same(operation.to_account);
    }
    expect_same(operation.account_number);
    audit_rows(rows_before);
  }

  // The whole books: every account, and that money neither appeared nor vanished but by deposits and withdrawals.
  void audit() {
    Int total = 0, opened = 0;
    for (const AccountState& account : accounts_) {
      ASSERT_NO_FATAL_FAILURE(expect_same(account.account_number));
      total += account.balance.minor();
      opened += model_.accounts.at(account.account_number).opening;
      const auto chain = chains_.find(account.account_number);
      ASSERT_EQ(account.changed, chain != chains_.end());
      if (chain != chains_.end()) {
        ASSERT_EQ(chain->second.first, account.log_seq);
        ASSERT_EQ(chain->second.second, account.balance);
      }
      for (const auto& [day, sent] : model_.accounts.at(account.account_number).sent_by_day) {
        ASSERT_LE(sent.first, model_.limits.at(account.privilege).first);
        ASSERT_LE(sent.second, model_.limits.at(account.privilege).second);
      }
    }
    ASSERT_EQ(total, opened + deposited_ - withdrawn_);
    log_.clear();
    operations_.clear();
  }

  const std::map<OutcomeCode, int64_t>& seen() const { return seen_; }

 private:
  int64_t below(int64_t bound) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound)); }
  bool one_in(int64_t n) { return below(n) == 0; }

  void open(int64_t number) {
    AccountState account;
    account.account_number = number;
    account.owner_id = 1 + below(6);
    account.privilege = static_cast<Privilege>(below(kPrivilegeCount));
    account.is_active = !one_in(12);
    account.balance = one_in(10) ? kMaxBalance - Money::from_minor(below(100'000)) : Money::from_minor(below(500'000));
    const std::string pin = one_in(5) ? std::to_string(1000 + below(3)) : "";
    if (!pin.empty()) account.pin_hash = pins_.hash(number, pin);
    accounts_.push_back(account);
    Model::Account& mirror = model_.accounts[number];
    mirror.owner = account.owner_id;
    mirror.privilege = account.privilege;
    mirror.opening = account.balance.minor();
    mirror.active = account.is_active;
    mirror.pin = pin;
  }

  // Mostly forwards by seconds, often to the edge of a day, sometimes back.
  void advance_clock() {
    if (one_in(200)) {
      now_us_ = (floor_day() + 1) * kDayUs - below(2);
    } else if (one_in(300)) {
      now_us_ -= below(2 * kDayUs);
    } else {
      now_us_ += below(600'000'000);
    }
  }

  int64_t floor_day() const {
    int64_t day = now_us_ / kDayUs;
    while (day * kDayUs > now_us_) --day;
    return day;
  }

  int64_t draw_account() {
    if (one_in(25)) return below(300);
    return accounts_[static_cast<size_t>(below(static_cast<int64_t>(accounts_.size())))].account_number;
  }

  const Operation& draw() {
    Operation& o = operations_.emplace_back();
    o.type = static_cast<OperationType>(below(3));
    o.caller_role = one_in(40) ? Role::kAdmin : one_in(3) ? Role::kTeller : Role::kCustomer;
    o.caller_id = 1 + below(6);
    o.account_number = draw_account();
    if (o.caller_role == Role::kCustomer && !one_in(6)) {
      if (const auto it = model_.accounts.find(o.account_number); it != model_.accounts.end()) {
        o.caller_id = it->second.owner;
      }
    }
    if (o.type == OperationType::kTransfer) {
      o.to_account = draw_account();
      o.transfer_mode = static_cast<TransferMode>(1 + below(5));
    }
    o.amount = Money::from_minor(1 + draw_amount(o));
    if (!one_in(4)) o.pin = std::to_string(1000 + below(3));
    if (const auto it = model_.accounts.find(o.account_number); it != model_.accounts.end() && !one_in(3)) {
      if (!it->second.pin.empty()) o.pin = it->second.pin;
    }
    return o;
  }

  int64_t draw_amount(const Operation& o) {
    const auto it = model_.accounts.find(o.account_number);
    if (one_in(4) && it != model_.accounts.end()) {
      // Near one of the edges: all of the balance, all that is left of the day, all that the payee can still take.
      const int64_t gains = o.type == OperationType::kTransfer ? o.to_account : o.account_number;
      Int edge = model_.balance(o.account_number);
      if (one_in(3)) {
        edge = model_.limits.at(it->second.privilege).first - model_.sent(o.account_number, floor_day()).first;
      } else if (one_in(2) && model_.accounts.contains(gains)) {
        edge = kModelMaxBalance - model_.balance(gains);
      }
      const int64_t near = static_cast<int64_t>(edge) - 2 + below(3);
      return near < 0 ? 0 : near >= kMaxBalance.minor() ? kMaxBalance.minor() - 1 : near;
    }
    if (one_in(50)) return below(kMaxBalance.minor());
    return below(one_in(3) ? 1'000'000 : 20'000);
  }

  void expect_same(int64_t number) {
    const AccountState* account = find_account(accounts_, number);
    const auto it = model_.accounts.find(number);
    ASSERT_EQ(account != nullptr, it != model_.accounts.end());
    if (account == nullptr) return;
    ASSERT_EQ(Int{account->balance.minor()}, model_.balance(number)) << number;
    ASSERT_GE(account->balance, Money());
    ASSERT_LE(account->balance, kMaxBalance);
    ASSERT_EQ(account->log_seq, it->second.rows) << number;
    const bool is_locked = account->pin_locked_until_us > now_us_;
    ASSERT_EQ(is_locked, it->second.locked_until_us > now_us_) << number;
    if (is_locked) {
      ASSERT_EQ(account->pin_locked_until_us, it->second.locked_until_us) << number;
    }
    if (account->pin_locked_until_us == 0) {
      ASSERT_EQ(account->pin_failures, it->second.wrong_pins) << number;
    }
    const DailyUsage usage = daily_usage(*account, now_us_);
    const auto [sum, count] = model_.sent(number, floor_day());
    ASSERT_EQ(Int{usage.amount.minor()}, sum) << number;
    ASSERT_EQ(usage.count, count) << number;
  }

  // The rows one success has added: seq without holes, each balance the one before plus its own amount, legs that
  // cancel.
  void audit_rows(size_t first) {
    Int legs = 0;
    for (size_t i = first; i < log_.size(); ++i) {
      const LogRow& row = log_[i];
      const Money opening = Money::from_minor(static_cast<int64_t>(model_.accounts.at(row.account_number).opening));
      auto& [seq, balance] = chains_.try_emplace(row.account_number, 0, opening).first->second;
      const Int signed_amount =
          row.direction == Direction::kCredit ? Int{row.amount.minor()} : -Int{row.amount.minor()};
      ASSERT_EQ(row.seq, ++seq);
      ASSERT_EQ(Int{row.balance_after.minor()}, Int{balance.minor()} + signed_amount);
      ASSERT_EQ(row.transaction_id, next_id_ - 1);
      balance = row.balance_after;
      legs += signed_amount;
    }
    const size_t rows = log_.size() - first;
    if (log_[first].type == OperationType::kTransfer) {
      ASSERT_EQ(rows, 2u);
      ASSERT_EQ(legs, 0);
      ASSERT_EQ(log_[first].counterparty, log_[first + 1].account_number);
      ASSERT_EQ(log_[first + 1].counterparty, log_[first].account_number);
    } else {
      ASSERT_EQ(rows, 1u);
      (legs > 0 ? deposited_ : withdrawn_) += legs > 0 ? legs : -legs;
    }
  }

  std::string describe(const Operation& o) const {
    return std::string(to_string(o.type)) + " by " + std::string(to_string(o.caller_role)) + " " +
           std::to_string(o.caller_id) + ": " + std::to_string(o.account_number) + " -> " +
           std::to_string(o.to_account) + " " + to_string(o.amount) + " at " + std::to_string(now_us_);
  }

  std::mt19937_64 random_;
  PinHasher pins_;
  TransferLimits limits_;
  std::vector<AccountState> accounts_;
  std::deque<Operation> operations_;  // since the last audit: the log's rows borrow from them
  std::vector<LogRow> log_;
  Model model_;
  std::map<int64_t, std::pair<int64_t, Money>> chains_;  // newest seq and balance seen in the log
  std::map<OutcomeCode, int64_t> seen_;
  Int deposited_ = 0, withdrawn_ = 0;
  int64_t now_us_ = 20'000 * kDayUs;
  int64_t next_id_ = 1;
};

TEST(RulesModel, RulesAndModelAgree) {
  const uint64_t seed = from_environment("TXN_SEED", std::random_device()());
  const uint64_t operations = from_environment("TXN_MODEL_OPERATIONS", 2'000'000);
  std::printf("TXN_SEED=%llu TXN_MODEL_OPERATIONS=%llu\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(operations));
  RecordProperty("seed", std::to_string(seed));

  constexpr uint64_t kBank = 20'000;  // operations on one set of accounts, before starting with another one
  std::map<OutcomeCode, int64_t> seen;
  uint64_t done = 0;
  for (uint64_t bank = 0; done < operations; ++bank) {
    Bank books(seed * 1'000'003 + bank);
    for (uint64_t i = 0; i < kBank && done < operations; ++i, ++done) {
      ASSERT_NO_FATAL_FAILURE(books.step()) << "bank " << bank << ", operation " << i;
      if (i % 500 == 499) {
        ASSERT_NO_FATAL_FAILURE(books.audit()) << "bank " << bank << ", operation " << i;
      }
    }
    ASSERT_NO_FATAL_FAILURE(books.audit());
    for (const auto& [code, count] : books.seen()) seen[code] += count;
  }

  // A generator that never reaches a rule tests nothing.
  if (operations < 100'000) return;
  for (int code = 0; code <= static_cast<int>(OutcomeCode::kDailyTransactionCountExceeded); ++code) {
    const int64_t count = seen[static_cast<OutcomeCode>(code)];
    EXPECT_GT(count, 100) << "outcome " << code;
    std::printf("outcome %d: %lld times\n", code, static_cast<long long>(count));
  }
}

}  // namespace
}  // namespace txn
