#include "tests/simulation/schedule.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <deque>
#include <utility>
#include <vector>

#include "app/money_answer.h"
#include "app/rules.h"
#include "db/lane.h"
#include "db/ledger.h"
#include "tests/simulation/lane_store.h"

namespace txn::simulation {
namespace {

// Far beyond the sum of all time-outs that an operation may run into.
constexpr int64_t kAnswerMostNs = 120 * kSecond;
constexpr int64_t kScheduleMostNs = 900 * kSecond;
constexpr int64_t kMicrosPerDay = int64_t{24} * 3600 * 1'000'000;

std::string_view name_of(OutcomeCode code) {
  constexpr std::array<std::string_view, kOutcomeCodes> kNames{
      "success",        "account not found",  "forbidden",          "account not active", "same account",
      "invalid pin",    "pin locked",         "insufficient funds", "balance overflow",   "transfer limit",
      "transfer count", "account unreadable", "replayed",           "conflict",           "key reused",
      "key unreadable", "unavailable",        "outcome unknown"};
  return kNames[static_cast<size_t>(code)];
}

constexpr uint8_t kSecret[32] = {1, 2, 3};

const PinHasher& pin_hasher() {
  static const PinHasher pins(kSecret);
  return pins;
}

// The service's own rules and answers, with an eye on what becomes of PINs.
class Books final : public BatchRules {
 public:
  explicit Books(World& world) : world_(world) {}

  Outcome decide(const Operation& operation, std::span<AccountState> accounts, const TransferLimits& limits,
                 int64_t now_us, int64_t transaction_id, std::vector<LogRow>& log) const override {
    const AccountState* account = find_account(accounts, operation.account_number);
    const bool has_pin = operation.type != OperationType::kDeposit && account != nullptr && account->pin_hash;
    const Outcome outcome = txn::decide(operation, accounts, transaction_id,
                                        {.limits = limits, .now_us = now_us, .pins = pin_hasher()}, log);
    if (has_pin) note_pin(operation, outcome.code);
    return outcome;
  }
  StoredAnswer render(const Operation& operation, const Outcome& outcome, std::string_view request_id) const override {
    StoredAnswer answer;
    answer.status = static_cast<int16_t>(append_money_answer(answer.body, operation, outcome, request_id));
    return answer;
  }

 private:
  void note_pin(const Operation& operation, OutcomeCode code) const {
    PinEvent::Kind kind = PinEvent::Kind::kRight;
    switch (code) {
      case OutcomeCode::kAccountNotFound:
      case OutcomeCode::kAccountUnreadable:
      case OutcomeCode::kForbidden:
      case OutcomeCode::kAccountNotActive:
      case OutcomeCode::kSameAccountTransfer:
        return;  // before the PIN
      case OutcomeCode::kInvalidPin:
        if (!operation.pin) return;
        kind = PinEvent::Kind::kWrong;
        break;
      case OutcomeCode::kPinLocked:
        kind = PinEvent::Kind::kLocked;
        break;
      default:
        break;
    }
    world_.pin_events.push_back(
        {.kind = kind, .attempt = std::stoi(operation.description), .account_number = operation.account_number});
  }

  World& world_;
};

// What a client wants, however often it has to ask.
struct Wish {
  int number = 0;
  int key = -1;
  bool is_poison = false;  // the database refuses its row for a reason of its own
  Operation operation;     // but for the description, which tells attempts apart
};

struct Attempt {
  int number = 0;
  Wish wish;
  IdempotentRequest idempotent;
  bool is_answered = false;
  bool has_left = false;  // its client does not hear the answer
  Outcome outcome;
  int64_t submitted_ns = 0;
  int64_t answered_ns = 0;
};

bool is_decided(OutcomeCode code) {
  return code < OutcomeCode::kReplayed && code != OutcomeCode::kAccountUnreadable;  // which is a fault, and not kept
}
// To be asked again, under the same key.
bool is_open(OutcomeCode code) {
  return code == OutcomeCode::kUnavailable || code == OutcomeCode::kIdempotencyConflict ||
         code == OutcomeCode::kOutcomeUnknown;
}

class Schedule {
 public:
  Schedule(World& world, Database& database, Break broken);
  // The verdict is in the world. False: it was violated, and this object must not be destroyed.
  bool run();

 private:
  class Client final : public OperationClient {
   public:
    Client(Schedule& schedule, int replica, int wishes) : schedule_(schedule), replica_(replica), wishes_(wishes) {}
    Task<void> run();
    bool is_waiting() const override { return is_waiting_; }
    void leave(uint64_t attempt);

   private:
    Schedule& schedule_;
    const int replica_;
    const int wishes_;
    bool is_waiting_ = true;
    int attempt_ = -1;
  };
  friend class Client;

  void choose_faults();
  void make_accounts();
  Wish make_wish();
  Task<void> ask_again();
  Attempt& begin_attempt(const Wish& wish);
  void end_attempt(Attempt& attempt, const Outcome& outcome);
  void check_success(const Attempt& attempt);
  bool is_kept(const Attempt& attempt) const;
  void check_kept(const Attempt& attempt);
  void check_unanswered(const Attempt& attempt);
  void check_replay(const Attempt& attempt);
  void check_refusal(const Attempt& attempt);
  void check_unavailable(const Attempt& attempt);
  bool is_founded(const Attempt& attempt);
  void audit();
  void audit_account(const Row& row);
  void audit_pin(const Attempt& attempt);
  bool is_in_doubt() const;
  void count();
  bool turn_until(const auto& done);
  bool is_violated() const { return !world_.violation.empty(); }
  Ledger& ledger(int replica) { return *ledgers_[static_cast<size_t>(replica)]; }

  World& world_;
  Database& database_;
  Random& random_;
  const Books books_;
  Scope scope_;         // the lanes
  Scope client_scope_;  // the clients
  std::vector<std::unique_ptr<Ledger>> ledgers_;
  std::deque<Client> clients_;
  std::deque<Attempt> attempts_;
  std::vector<Wish> keyed_;
  std::vector<Attempt*> unresolved_;
  int64_t pause_most_ns_ = 0;
  int key_share_ = 0;
  int poison_share_ = 0;
  int leave_share_ = 0;
  int wrong_pin_share_ = 100;
  int64_t hot_account_ = 1;
  bool has_tight_bounds_ = false;  // small batches, queues that refuse, deadlines that pass
  bool has_faults_ = false;        // but for locked rows and steps of the clock
  int next_wish_ = 0;
};

Schedule::Schedule(World& world, Database& database, Break broken)
    : world_(world), database_(database), random_(world.random), books_(world) {
  const auto replicas = static_cast<int>(random_.between(1, 3));
  database_.reset(broken, replicas, random_.chance(150));
  choose_faults();
  make_accounts();
  key_share_ = static_cast<int>(random_.below(3)) * 300;
  poison_share_ = random_.chance(300) ? 40 : 0;
  leave_share_ = random_.chance(300) ? 100 : 0;
  constexpr std::array<int64_t, 4> kPauses{0, 1 * kMilli, 20 * kMilli, 300 * kMilli};
  pause_most_ns_ = kPauses[random_.index(kPauses.size())];

  int lanes = 0;
  for (int replica = 0; replica < replicas; ++replica) {
    LedgerOptions options;
    options.lanes = static_cast<int>(random_.between(1, 3));
    lanes += options.lanes;
    const bool is_tight = random_.chance(400);
    has_tight_bounds_ = has_tight_bounds_ || is_tight;
    options.queue_max = is_tight && random_.chance(500) ? static_cast<size_t>(random_.between(1, 4)) : 4096;
    options.batch_max = is_tight && random_.chance(800) ? static_cast<size_t>(random_.between(1, 4)) : 256;
    if (random_.chance(850)) options.in_doubt_ns = random_.between(50, 1000) * kMilli;
    if (is_tight && random_.chance(500)) options.queue_delay_max_ns = random_.between(10, 500) * kMilli;
    if (is_tight && random_.chance(700)) options.turn_wait_ns = random_.between(0, 100) * kMilli;
    if (is_tight && random_.chance(500)) options.queue_wait_ns = random_.between(100, 1000) * kMilli;
    ledgers_.push_back(std::make_unique<Ledger>(world_.loop, books_, world_.in_flight[static_cast<size_t>(replica)],
                                                options, [this, replica](std::function<void()> on_lost) {
                                                  return std::make_unique<SimulatedLaneStore>(
                                                      world_, database_, replica, std::move(on_lost));
                                                }));
  }
  // Lanes that wait for each other in a chain may come to the same.
  has_tight_bounds_ = has_tight_bounds_ || lanes > 2;
  const auto clients = static_cast<int>(random_.between(2, 8));
  for (int i = 0; i < clients; ++i) clients_.emplace_back(*this, i % replicas, static_cast<int>(random_.between(2, 8)));
}

void Schedule::choose_faults() {
  FaultPlan plan;
  const auto choose = [&](int& rate, int most) {
    if (random_.chance(400)) rate = static_cast<int>(random_.between(1, most));
  };
  // One schedule in ten has nothing but contention.
  if (!random_.chance(100)) {
    choose(plan.refused, 80);
    choose(plan.lost_before, 60);
    choose(plan.lost_after, 80);
    choose(plan.frozen, 80);
    choose(plan.connect_fails, 300);
    if (random_.chance(150)) plan.unconfirmed = static_cast<int>(random_.between(1, 60));
    choose(plan.crashes, 500);
    choose(plan.cuts, 500);
    choose(plan.replica_freezes, 300);
    choose(plan.kills, 900);
    choose(plan.idle_losses, 900);
    if (random_.chance(200)) plan.commit_errors = static_cast<int>(random_.between(1, 60));
    if (random_.chance(200)) plan.spoilt = static_cast<int>(random_.between(1, 900));
    if (random_.chance(150)) plan.row_changes = static_cast<int>(random_.between(1, 900));
    choose(plan.standby_stalls, 900);
    choose(plan.promotions, 1000);
    if (random_.chance(100)) plan.poolers = 1000;
    has_faults_ = true;
  }
  if (random_.chance(200)) plan.row_locks = static_cast<int>(random_.between(1, 1000));
  choose(plan.clock_steps, 500);
  database_.set_faults(plan);
}

void Schedule::make_accounts() {
  constexpr int64_t kDay = 20'000;  // of 2024
  // Some seconds before midnight UTC, or somewhere in a day.
  database_.set_wall_us(kDay * kMicrosPerDay - (random_.chance(500) ? random_.below(5'000'000) : kMicrosPerDay / 2));
  const int64_t count = random_.between(2, 6);
  static const PinHash kPin = pin_hasher().hash(2, "1234");
  if (random_.chance(300)) {
    wrong_pin_share_ = 600;
    hot_account_ = 2;
  }
  for (int64_t number = 1; number <= count; ++number) {
    AccountState account;
    account.account_number = number;
    account.owner_id = number;
    account.privilege = number == 1 ? Privilege::kGold : Privilege::kBasic;
    account.is_active = number < 3 || !random_.chance(50);
    account.balance = Money::from_minor(random_.below(20'000));
    if (number == 3 && random_.chance(100)) account.balance = kMaxBalance - Money::from_minor(5'000);
    if (number == 2 && random_.chance(hot_account_ == 2 ? 900 : 100)) account.pin_hash = kPin;
    database_.add_account(account);
  }
}

Wish Schedule::make_wish() {
  const bool again = !keyed_.empty() && random_.chance(200);
  if (again && random_.chance(750)) {
    world_.inject(Injected::kSameKeyAgain);
    return keyed_[random_.index(keyed_.size())];
  }
  const auto accounts = static_cast<int64_t>(database_.rows().size());
  Wish wish;
  wish.number = ++next_wish_;
  wish.is_poison = random_.chance(poison_share_);
  Operation& operation = wish.operation;
  const int64_t kind = random_.below(10);
  operation.type = kind < 3   ? OperationType::kDeposit
                   : kind < 6 ? OperationType::kWithdrawal
                              : OperationType::kTransfer;
  operation.caller_role = random_.chance(900) ? Role::kTeller : Role::kCustomer;
  operation.caller_id = random_.between(1, accounts);
  // Some accounts are hotter than others.
  operation.account_number =
      random_.chance(500) ? hot_account_ : random_.between(1, accounts + (random_.chance(30) ? 1 : 0));
  if (operation.type == OperationType::kTransfer) {
    operation.to_account = random_.between(1, accounts);
    operation.transfer_mode = TransferMode::kUpi;
  }
  operation.amount = Money::from_minor(random_.between(1, random_.chance(300) ? 12'000 : 2'500));
  if (operation.account_number == 2 && !random_.chance(100))
    operation.pin = random_.chance(wrong_pin_share_) ? "4321" : "1234";
  if (again) {
    world_.inject(Injected::kSameKeyAgain);
    wish.key = keyed_[random_.index(keyed_.size())].key;
  } else if (random_.chance(key_share_) && keyed_.size() < kKeys) {
    wish.key = static_cast<int>(keyed_.size());
    keyed_.push_back(wish);
  }
  return wish;
}

Attempt& Schedule::begin_attempt(const Wish& wish) {
  Attempt& attempt = attempts_.emplace_back();
  attempt.number = static_cast<int>(attempts_.size());
  attempt.wish = wish;
  attempt.wish.operation.description = std::to_string(attempt.number);
  if (wish.is_poison) attempt.wish.operation.description += '!';
  attempt.submitted_ns = world_.clock.now_ns();
  if (wish.key >= 0) {
    attempt.idempotent.key = {'k', static_cast<char>('0' + wish.key)};
    attempt.idempotent.fingerprint[0] = static_cast<uint8_t>(wish.number);
    attempt.idempotent.request_id = std::to_string(attempt.number);
  }
  const Operation& operation = wish.operation;
  world_.trace("attempt ", attempt.number, " of wish ", wish.number, ": ", to_string(operation.type), " ",
               operation.account_number, " -> ", operation.to_account, " amount ", operation.amount.minor(), " key ",
               wish.key);
  return attempt;
}

Task<void> Schedule::Client::run() {
  World& world = schedule_.world_;
  Random& random = world.random;
  for (int i = 0; i < wishes_; ++i) {
    const int64_t pause_ns = schedule_.pause_most_ns_ == 0 ? 0 : random.below(schedule_.pause_most_ns_);
    if (pause_ns > 0) {
      co_await world.pause(pause_ns);
    }
    const Wish wish = schedule_.make_wish();
    for (int tries = 0; tries < 5; ++tries) {
      Attempt& attempt = schedule_.begin_attempt(wish);
      attempt_ = attempt.number;
      is_waiting_ = true;
      if (random.chance(schedule_.leave_share_))
        world.events.after<&Client::leave>(random.below(20) * 100 * kMicro, *this,
                                           static_cast<uint64_t>(attempt.number));
      // A retry may come to another replica.
      const int replica =
          tries == 0 || random.chance(500) ? replica_ : static_cast<int>(random.index(schedule_.ledgers_.size()));
      const Outcome outcome = co_await schedule_.ledger(replica).submit(
          attempt.wish.operation, wish.key >= 0 ? &attempt.idempotent : nullptr, this);
      schedule_.end_attempt(attempt, outcome);
      const bool is_unresolved = is_open(outcome.code);
      if (wish.key < 0 || !is_unresolved) break;
      if (tries == 4 || random.chance(200)) {
        schedule_.unresolved_.push_back(&attempt);
        break;
      }
      co_await world.pause(random.chance(300) ? random.below(3000) * kMilli : random.below(50) * kMilli);
    }
  }
}

void Schedule::Client::leave(uint64_t attempt) {
  if (attempt_ != static_cast<int>(attempt)) return;
  Attempt& left = schedule_.attempts_[static_cast<size_t>(attempt_ - 1)];
  if (left.is_answered) return;
  schedule_.world_.inject(Injected::kClientGone);
  left.has_left = true;
  is_waiting_ = false;
}

// After the last fault: whatever came to nothing, or to nobody knows what, comes to something under its key; and every
// replica moves money again.
Task<void> Schedule::ask_again() {
  co_await world_.pause(25 * kSecond);
  for (size_t replica = 0; replica < ledgers_.size(); ++replica) {
    Wish wish{.number = ++next_wish_, .operation = {.caller_role = Role::kTeller, .account_number = 1}};
    wish.operation.amount = Money::from_minor(1);
    for (int tries = 0;; ++tries) {
      Attempt& attempt = begin_attempt(wish);
      const Outcome outcome = co_await ledgers_[replica]->submit(attempt.wish.operation);
      end_attempt(attempt, outcome);
      if (!is_open(outcome.code)) break;
      if (tries == 10) {
        world_.violate(concat("replica ", replica, " moves no money though nothing is wrong any more"));
        break;
      }
      co_await world_.pause(300 * kMilli);
    }
  }
  for (const Attempt* open : unresolved_) {
    const Wish wish = open->wish;
    // Connections that died in silence are found out one by one.
    for (int tries = 0;; ++tries) {
      Attempt& attempt = begin_attempt(wish);
      Ledger& asked = ledger(static_cast<int>(random_.index(ledgers_.size())));
      const Outcome outcome = co_await asked.submit(attempt.wish.operation, &attempt.idempotent);
      end_attempt(attempt, outcome);
      if (wish.is_poison || !is_open(outcome.code)) break;
      if (tries == 10) {
        world_.violate(concat("attempt ", attempt.number, " is answered \"", name_of(outcome.code),
                              "\" though nothing is wrong any more"));
        break;
      }
      co_await world_.pause(100 * kMilli);
    }
  }
}

// ---- What each answer promises, checked when it is given

void Schedule::end_attempt(Attempt& attempt, const Outcome& outcome) {
  world_.trace("answer to attempt ", attempt.number, ": ", name_of(outcome.code));
  if (attempt.is_answered) return world_.violate(concat("attempt ", attempt.number, " is answered twice"));
  attempt.is_answered = true;
  attempt.outcome = outcome;
  attempt.answered_ns = world_.clock.now_ns();
  ++world_.counts.answers[static_cast<size_t>(outcome.code)];
  if (attempt.answered_ns - attempt.submitted_ns > kAnswerMostNs)
    world_.violate(concat("attempt ", attempt.number, " was answered too late"));
  if (attempt.has_left && database_.committed(attempt.number) == 0 && !is_kept(attempt) &&
      outcome.code != OutcomeCode::kOutcomeUnknown) {
    // Given back and not begun again, an operation keeps the outcome of its first attempt. Nobody hears it; what
    // matters is that it is never applied.
    if (outcome.code == OutcomeCode::kSuccess) ++world_.counts.stale_to_nobody;
    attempt.outcome.code = OutcomeCode::kUnavailable;
    return;
  }
  switch (outcome.code) {
    case OutcomeCode::kSuccess:
      check_success(attempt);
      check_kept(attempt);
      break;
    case OutcomeCode::kReplayed:
      check_replay(attempt);
      break;
    case OutcomeCode::kIdempotencyKeyReused: {
      const KeyRow& key = database_.key(attempt.wish.key);
      if (!key.is_stored || key.fingerprint == attempt.idempotent.fingerprint)
        world_.violate(concat("attempt ", attempt.number, ": its key was not used for another request"));
      check_unanswered(attempt);
      break;
    }
    case OutcomeCode::kIdempotencyConflict:
      check_unanswered(attempt);
      break;
    case OutcomeCode::kUnavailable:
      check_unavailable(attempt);
      break;
    case OutcomeCode::kOutcomeUnknown:
      break;
    case OutcomeCode::kAccountUnreadable:
      check_refusal(attempt);
      check_unanswered(attempt);
      break;
    default:
      check_refusal(attempt);
      check_kept(attempt);
      break;
  }
}

void Schedule::check_success(const Attempt& attempt) {
  const Outcome& outcome = attempt.outcome;
  const Operation& operation = attempt.wish.operation;
  if (database_.committed(attempt.number) != 1)
    return world_.violate(concat("attempt ", attempt.number, " was told success and is not committed"));
  const auto find = [&](int64_t account_number) -> const LogEntry* {
    const std::vector<LogEntry>& log = database_.rows()[static_cast<size_t>(account_number - 1)].log;
    for (auto entry = log.rbegin(); entry != log.rend(); ++entry) {
      if (entry->attempt == attempt.number) return &*entry;
    }
    return nullptr;
  };
  const LogEntry* entry = find(operation.account_number);
  if (entry == nullptr || entry->transaction_id != outcome.transaction_id || entry->amount != operation.amount ||
      entry->balance_after != outcome.new_balance || entry->created_us != outcome.transacted_at_us ||
      entry->type != operation.type)
    return world_.violate(concat("attempt ", attempt.number, " was told something else than what is committed"));
  if (!database_.is_confirmed(attempt.number))
    return world_.violate(concat("attempt ", attempt.number, " was told success, and a failover would lose it"));
  if (database_.is_heard_unconfirmed(attempt.number))
    return world_.violate(concat("attempt ", attempt.number, " was told success though the standbys may not have it"));
  if (entry->is_unconfirmed) ++world_.counts.unconfirmed_found;
  if (operation.type != OperationType::kTransfer) return;
  const LogEntry* payee = find(operation.to_account);
  if (payee == nullptr || payee->transaction_id != outcome.transaction_id || payee->amount != operation.amount ||
      payee->balance_after != outcome.to_new_balance)
    world_.violate(concat("attempt ", attempt.number, ": the payee's leg is not what was told"));
}

bool Schedule::is_kept(const Attempt& attempt) const {
  if (attempt.wish.key < 0) return false;
  const KeyRow& key = database_.key(attempt.wish.key);
  return key.is_stored && key.attempt == attempt.number;
}

// What the rules decided for a request with a key is kept, as it is told.
void Schedule::check_kept(const Attempt& attempt) {
  if (attempt.wish.key < 0) return;
  const KeyRow& key = database_.key(attempt.wish.key);
  if (!key.is_stored || key.attempt != attempt.number || key.answer.body != attempt.idempotent.answer.body ||
      key.answer.status != attempt.idempotent.answer.status)
    world_.violate(concat("attempt ", attempt.number, " was told what is not kept under its key"));
}

// An answer that stands beside such an outcome would be what the client is sent.
void Schedule::check_unanswered(const Attempt& attempt) {
  if (attempt.idempotent.answer.status != 0)
    world_.violate(concat("attempt ", attempt.number, " carries the answer of an attempt that came to nothing"));
}

void Schedule::check_replay(const Attempt& attempt) {
  const KeyRow& key = database_.key(attempt.wish.key);
  if (!key.is_stored || key.fingerprint != attempt.idempotent.fingerprint ||
      key.answer.body != attempt.idempotent.answer.body || key.answer.status != attempt.idempotent.answer.status)
    return world_.violate(concat("attempt ", attempt.number, ": a repeat that is not what was kept"));
  if (!database_.is_key_confirmed(attempt.wish.key))
    return world_.violate(concat("attempt ", attempt.number, ": a repeat of what a failover would lose"));
  if (key.attempt == attempt.number)
    world_.violate(concat("attempt ", attempt.number, " is told that it repeats itself"));
}

void Schedule::check_refusal(const Attempt& attempt) {
  if (is_founded(attempt)) return;
  // Decided behind an operation of the same batch whose commit nobody could be asked about: known.
  const bool may_be_known = std::ranges::any_of(
      attempts_, [](const Attempt& other) { return other.outcome.code == OutcomeCode::kOutcomeUnknown; });
  ++world_.counts.unfounded_refusals;
  // Or on what a failover has lost since.
  if (!may_be_known && !database_.has_promoted())
    world_.violate(
        concat("attempt ", attempt.number, " was told \"", name_of(attempt.outcome.code), "\" and there is no reason"));
}

// Where nothing else goes wrong, a row that an operator has locked costs nobody but who needs it.
void Schedule::check_unavailable(const Attempt& attempt) {
  if (has_faults_ || attempt.wish.is_poison || attempt.has_left || has_tight_bounds_) return;
  bool was_locked = false;
  for_each_account(attempt.wish.operation, [&](int64_t number) {
    was_locked = was_locked || (number <= static_cast<int64_t>(database_.rows().size()) &&
                                database_.rows()[static_cast<size_t>(number - 1)].was_locked);
  });
  if (!was_locked)
    world_.violate(concat("attempt ", attempt.number, " was turned away though nobody had locked its accounts"));
}

// Whether the books gave that reason at some moment while the client waited. Balances are followed exactly; limits are
// only known not to have been reached by fewer transfers, or less, than they allow.
bool Schedule::is_founded(const Attempt& attempt) {
  const Operation& operation = attempt.wish.operation;
  const int64_t number = attempt.outcome.account_number;
  const std::vector<Row>& rows = database_.rows();
  const auto exists = [&](int64_t account) { return account >= 1 && account <= static_cast<int64_t>(rows.size()); };
  const OutcomeCode code = attempt.outcome.code;
  if (code == OutcomeCode::kSameAccountTransfer)
    return operation.type == OperationType::kTransfer && operation.account_number == operation.to_account;
  if (code == OutcomeCode::kAccountNotFound) return !exists(number);
  if (!exists(number)) return false;
  const Row& row = rows[static_cast<size_t>(number - 1)];
  const TransferLimit& limit = database_.limits()[static_cast<size_t>(row.state.privilege)];
  DailyUsage sent;
  for (const LogEntry& entry : row.log) {
    if (entry.type != OperationType::kTransfer || entry.direction != Direction::kDebit) continue;
    sent.amount += entry.amount;
    sent.count += 1;
  }
  const auto balance_was = [&](const auto& condition) {
    for (auto entry = row.log.rbegin(); entry != row.log.rend(); ++entry) {
      if (condition(entry->balance_after)) return true;
      if (entry->committed_ns < attempt.submitted_ns) return false;
    }
    return condition(row.opening);
  };
  switch (code) {
    case OutcomeCode::kForbidden:
      return operation.caller_role != Role::kTeller && row.state.owner_id != operation.caller_id;
    case OutcomeCode::kAccountNotActive:
      return !row.state.is_active || row.was_toggled;
    case OutcomeCode::kAccountUnreadable:
      return row.was_unreadable;
    case OutcomeCode::kInvalidPin:
      // One that was guessed has been counted.
      return row.state.pin_hash.has_value() && operation.pin != "1234" &&
             (!operation.pin || database_.wrong_pins(attempt.number) > 0);
    case OutcomeCode::kPinLocked:
      return row.state.pin_hash.has_value() &&
             operation.type != OperationType::kDeposit;  // when: Database::commit_pins
    case OutcomeCode::kDailyTransactionCountExceeded:
      return sent.count >= limit.daily_count;
    case OutcomeCode::kTransferLimitExceeded:
      return sent.amount + operation.amount > limit.daily_amount;
    case OutcomeCode::kInsufficientFunds:
      return balance_was([&](Money balance) { return balance < operation.amount; });
    case OutcomeCode::kBalanceOverflow:
      return balance_was([&](Money balance) { return operation.amount > kMaxBalance - balance; });
    default:
      return false;
  }
}

// ---- What must hold in the end

void Schedule::audit_account(const Row& row) {
  const TransferLimit& limit = database_.limits()[static_cast<size_t>(row.state.privilege)];
  const auto is_exceeded = [&](const DailyUsage& usage) {
    return usage.amount > limit.daily_amount || usage.count > limit.daily_count;
  };
  Money balance = row.opening;
  int64_t seq = 0;
  DailyUsage charged;            // to the latest day that the account has seen: a day that has begun stays begun
  std::vector<DailyUsage> days;  // by the time in the log
  for (const LogEntry& entry : row.log) {
    balance += entry.direction == Direction::kCredit ? entry.amount : Money() - entry.amount;
    if (entry.seq != ++seq || entry.balance_after != balance || balance < Money())
      world_.violate(concat("account ", row.state.account_number, ": log row ", seq, " does not follow"));
    if (entry.type != OperationType::kTransfer || entry.direction != Direction::kDebit) continue;
    const int32_t day = utc_day(entry.created_us);
    if (day > charged.day) charged = {.day = day, .amount = Money(), .count = 0};
    auto dated = std::ranges::find(days, day, &DailyUsage::day);
    if (dated == days.end()) dated = days.insert(days.end(), {.day = day, .amount = Money(), .count = 0});
    for (DailyUsage* usage : {&charged, &*dated}) {
      usage->amount += entry.amount;
      usage->count += 1;
    }
    if (is_exceeded(charged))
      world_.violate(concat("account ", row.state.account_number, " has sent more than it may on a day"));
  }
  if (balance != row.state.balance || seq != row.state.log_seq)
    world_.violate(concat("account ", row.state.account_number, " is not opening balance plus log"));
  // Only a clock that has stepped ahead and back can do that.
  if (std::ranges::any_of(days, is_exceeded)) {
    ++world_.counts.days_used_twice;
    if (!database_.has_stepped()) world_.violate("a day was used twice though no clock has stepped");
  }
}

// A wrong PIN counts once; twice when the first time has been lost from sight with its connection.
void Schedule::audit_pin(const Attempt& attempt) {
  const int counted = database_.wrong_pins(attempt.number);
  const OutcomeCode code = attempt.outcome.code;
  const bool may_be = code == OutcomeCode::kInvalidPin || code == OutcomeCode::kUnavailable ||
                      code == OutcomeCode::kOutcomeUnknown || is_in_doubt();
  if (counted > 0 && !may_be)
    world_.violate(concat("attempt ", attempt.number, " was answered \"", name_of(code), "\", and its PIN counted"));
  if (counted <= 1) return;
  ++world_.counts.pins_counted_twice;
  if (!is_in_doubt()) world_.violate(concat("attempt ", attempt.number, ": its wrong PIN counted ", counted, " times"));
}

bool Schedule::is_in_doubt() const {
  return std::ranges::any_of(ledgers_,
                             [](const auto& ledger) { return ledger->counters().commits_in_doubt.value() > 0; });
}

void Schedule::audit() {
  for (const Row& row : database_.rows()) audit_account(row);
  std::array<int, kKeys> commits_by_key{};
  for (const Attempt& attempt : attempts_) {
    const int committed = database_.committed(attempt.number);
    if (!attempt.is_answered) world_.violate(concat("attempt ", attempt.number, " was never answered"));
    const OutcomeCode code = attempt.outcome.code;
    const bool may_be = code == OutcomeCode::kSuccess || code == OutcomeCode::kOutcomeUnknown;
    if (committed > 1 || (committed == 1 && !may_be) || (committed == 0 && code == OutcomeCode::kSuccess))
      world_.violate(concat("attempt ", attempt.number, " was answered \"", name_of(code), "\" and committed ",
                            committed, " times"));
    audit_pin(attempt);
    if (attempt.wish.key < 0) continue;
    commits_by_key[static_cast<size_t>(attempt.wish.key)] += committed;
    if (committed == 1 && !is_kept(attempt))
      world_.violate(concat("attempt ", attempt.number, " is committed without its key"));
    const bool may_be_kept = code == OutcomeCode::kOutcomeUnknown || is_decided(code);
    if (is_kept(attempt) && !may_be_kept)
      world_.violate(concat("attempt ", attempt.number, " was answered \"", name_of(code), "\" and is kept"));
  }
  for (const int commits : commits_by_key) {
    if (commits > 1) world_.violate("a key has committed more than once");
  }
}

void Schedule::count() {
  for (const auto& ledger : ledgers_) {
    const LedgerCounters& counters = ledger->counters();
    world_.counts.batches += counters.batches;
    world_.counts.in_doubt += counters.commits_in_doubt;
    world_.counts.refused_full += counters.refused_full;
    world_.counts.abandoned += counters.abandoned;
    world_.counts.turns_awaited += counters.turns_awaited;
  }
  ++world_.counts.schedules;
}

// False when it will never come to that.
bool Schedule::turn_until(const auto& done) {
  while (!done()) {
    if (is_violated()) return false;
    world_.loop.turn();
    if (world_.is_at_rest() && !done()) return false;
    if (world_.clock.now_ns() - world_.start_ns > kScheduleMostNs) return false;
  }
  return !is_violated();
}

bool Schedule::run() {
  for (const auto& ledger : ledgers_) ledger->start(scope_);
  // Clients that come while nobody has connected yet are part of it.
  if (random_.chance(900)) {
    const auto connected = [&] {
      return std::ranges::all_of(ledgers_, [](const auto& ledger) { return ledger->is_connected(); });
    };
    if (!turn_until(connected)) world_.violate("a ledger does not connect");
  }
  database_.plan_events(std::max<int64_t>(pause_most_ns_ * 5, 30 * kMilli));
  const bool asks_again = random_.chance(300);
  for (Client& client : clients_) client_scope_.spawn(client.run());
  const auto answered = [&] { return client_scope_.running() == 0; };
  bool ok = turn_until(answered);
  if (!ok) world_.violate("an operation hangs");
  if (ok && (!unresolved_.empty() || asks_again)) {
    database_.set_faults({});
    client_scope_.spawn(ask_again());
    ok = turn_until(answered);
    if (!ok) world_.violate("an operation hangs after the last fault");
  }
  if (ok) {
    for (const auto& ledger : ledgers_) ledger->stop();
    ok = turn_until([&] { return scope_.running() == 0; });
    if (!ok) world_.violate("a lane does not stop");
  }
  if (ok) {
    // Backends that were left behind come to their end.
    ok = turn_until([&] { return world_.is_at_rest(); });
    if (!ok) world_.violate("the loop does not come to rest");
  }
  if (ok && database_.has_live_transaction()) world_.violate("a transaction is left open");
  if (!is_violated()) audit();
  count();
  return !is_violated();
}

thread_local uint64_t running_seed = 0;

}  // namespace

uint64_t current_seed() { return running_seed; }

void name_seed_in_crashes() {
  const auto handler = [](int signal) {
    char text[64];
    const int length = std::snprintf(text, sizeof text, "crashed in the schedule of seed %llu\n",
                                     static_cast<unsigned long long>(running_seed));
    std::fwrite(text, 1, static_cast<size_t>(length), stderr);
    std::fflush(stderr);
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  };
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, handler);
}

Simulation::Simulation() = default;
Simulation::~Simulation() = default;

void Simulation::set_tracing(bool tracing) {
  tracing_ = tracing;
  if (world_) world_->tracing = tracing;
}

std::string Simulation::run(uint64_t seed, Break broken) {
  if (!world_) {
    world_ = std::make_unique<World>();
    world_->tracing = tracing_;
    world_->counts = counts_;
    database_ = std::make_unique<Database>(*world_);
  }
  running_seed = seed;
  world_->reset(seed);
  auto schedule = std::make_unique<Schedule>(*world_, *database_, broken);
  const bool ok = schedule->run();
  counts_ = world_->counts;
  if (ok) return {};
  std::string violation = world_->violation;
  // Whatever is suspended in it stays so; kept where the leak checker sees it.
  static auto& abandoned = *new std::vector<const void*>();
  abandoned.insert(abandoned.end(), {schedule.release(), database_.release(), world_.release()});
  return violation;
}

}  // namespace txn::simulation
