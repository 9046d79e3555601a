#include "db/ledger.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "db/id_blocks.h"
#include "db/lane.h"

namespace txn {
namespace {

// How often operations that have waited too long are looked for while any wait.
constexpr int64_t kQueueCheckNs = 250 * kNanosPerMilli;
// An operation whose batch was lost before its COMMIT is tried once more.
constexpr int kAttemptsMax = 2;
// How many of those that wait are looked at before it is decided to wait for accounts.
constexpr int kCrossingSample = 16;

}  // namespace

Ledger::Ledger(Loop& loop, const BatchRules& rules, AccountsInFlight& in_flight, LedgerOptions options,
               const MakeStore& make_store)
    : loop_(loop), rules_(rules), in_flight_(in_flight), options_(options) {
  CHECK(options_.batch_max <= static_cast<size_t>(kIdsPerBlock), "a batch uses no more than a block of ids");
  for (int i = 0; i < options_.lanes; ++i) {
    lanes_.push_back(std::make_unique<Lane>(*this, i));
    Lane* lane = lanes_.back().get();
    lane->attach(make_store([lane] { lane->wake(); }));
  }
}

Ledger::~Ledger() {
  CHECK(queue_.empty() && held_up_.waiting() == 0, "operations are answered before the ledger goes away");
  turn_->end();
  turn_->forget_ledger();
}

void Ledger::start(Scope& scope) {
  for (auto& lane : lanes_) scope.spawn(lane->run());
}

void Ledger::stop() {
  stopping_ = true;
  turn_->end();
  for (auto& lane : lanes_) lane->stop();
}

bool Ledger::is_connected() const {
  return std::any_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->is_open(); });
}

bool Ledger::is_overloaded() const {
  const PendingOperation* oldest = queue_.front();
  if (oldest == nullptr) return false;
  return counters_.queued >= options_.queue_max ||
         loop_.clock().now_ns() - oldest->queued_ns > options_.queue_delay_max_ns;
}

bool Ledger::sheds() {
  if (!is_overloaded()) return false;
  ++counters_.refused_full;
  return true;
}

// Refuses at once what could only wait: the queue is full or slow, or the database was away when last tried; and what
// must not wait: the same key is under way.
bool Ledger::admits(PendingOperation& pending) {
  if (pending.idempotent != nullptr && keys_in_flight_.contains(key_of(*pending.idempotent))) {
    pending.outcome.code = OutcomeCode::kIdempotencyConflict;
    return false;
  }
  pending.outcome.code = OutcomeCode::kUnavailable;
  if (sheds()) return false;
  const bool may_connect = std::any_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return !lane->is_away(); });
  if (!may_connect) ++counters_.refused_away;
  return may_connect;
}

void Ledger::enqueue(PendingOperation& pending) {
  pending.queued_ns = loop_.clock().now_ns();
  queue_.push_back(pending);
  ++counters_.queued;
  if (pending.idempotent != nullptr) keys_in_flight_.insert(key_of(*pending.idempotent));
  watch_queue();
}

// Somebody may take what waits; until then it is looked after.
void Ledger::watch_queue() {
  loop_.flush_soon(*this, FlushStage::kDatabase);
  if (!is_armed()) loop_.timers().arm(*this, loop_.clock().now_ns() + kQueueCheckNs);
}

void Ledger::ask_for_proof() {
  wants_proof_ = true;
  loop_.flush_soon(*this, FlushStage::kDatabase);
}

void Ledger::hold_up(PendingOperation& pending, int64_t account_number) {
  pending.outcome = {.code = OutcomeCode::kUnavailable};
  if (!held_up_.contains(account_number)) {
    ++counters_.held_up_found;
    LOG(kWarning, "db.ledger", "An account is locked by somebody else; its operations wait, the others go on")
        .field("account_number", account_number);
  }
  if (held_up_.hold_up(pending, account_number, loop_.clock().now_ns()) == HeldUpAccounts::Answer::kFull)
    return refuse(pending);
  counters_.held_up = held_up_.waiting();
  watch_queue();
}

void Ledger::release(int64_t account_number) {
  PendingList freed;
  held_up_.release(account_number, freed);
  counters_.held_up = held_up_.waiting();
  if (freed.empty()) return;
  while (PendingOperation* pending = freed.pop_front()) {
    // From here on they wait for a lane like everybody else; how long they have waited for the account says nothing
    // about how busy the lanes are.
    pending->queued_ns = loop_.clock().now_ns();
    queue_.push_back(*pending);
    ++counters_.queued;
  }
  watch_queue();
}

bool Ledger::is_crossing() {
  int crossing = 0;
  int seen = 0;
  for (PendingOperation* pending = queue_.front(); pending != nullptr && seen < kCrossingSample;
       pending = queue_.next(*pending), ++seen) {
    bool is_in_flight = false;
    for_each_account(pending->operation, [&](int64_t number) {
      is_in_flight = is_in_flight || in_flight_.contains(AccountsInFlight::slot_of(number));
    });
    crossing += is_in_flight ? 1 : 0;
  }
  return crossing * 2 > seen;
}

bool Ledger::awaits_turn() {
  if (turn_->is_awaited()) return true;
  if (std::exchange(has_awaited_turn_, false) || !is_crossing()) return false;
  turn_->begin();
  // The batch may have ended before anybody could know that we wait.
  if (is_crossing()) {
    ++counters_.turns_awaited;
    return true;
  }
  turn_->end();
  return false;
}

void Ledger::on_turn() {
  has_awaited_turn_ = true;
  loop_.flush_soon(*this, FlushStage::kDatabase);
}

void Ledger::Turn::begin() {
  ledger_->in_flight_.wait(*this);
  ledger_->loop_.timers().arm(*this, ledger_->loop_.clock().now_ns() + ledger_->options_.turn_wait_ns);
}

void Ledger::Turn::end() {
  ledger_->in_flight_.stop_waiting(*this);
  ledger_->loop_.timers().disarm(*this);
}

void Ledger::Turn::on_batch_ended() {
  if (posted_.exchange(true)) return;
  keep_ = shared_from_this();
  ledger_->loop_.post(*this);
}

void Ledger::Turn::run() {
  const std::shared_ptr<Turn> keep = std::move(keep_);
  posted_ = false;
  if (ledger_ == nullptr || !is_awaited()) return;  // not any more
  end();
  ledger_->on_turn();
}

void Ledger::Turn::on_timer() {
  end();
  ledger_->on_turn();
}

bool Ledger::is_worth_beginning(PendingOperation& pending, int64_t oldest_allowed_ns) {
  if (pending.client != nullptr && !pending.client->is_waiting()) {
    ++counters_.abandoned;
    answer(pending);  // to nobody; not applied
    return false;
  }
  if (pending.queued_ns < oldest_allowed_ns) {
    refuse(pending);
    return false;
  }
  return true;
}

bool Ledger::take(std::vector<PendingOperation*>& batch) {
  batch.clear();
  const int64_t oldest_allowed_ns = loop_.clock().now_ns() - options_.queue_wait_ns;
  while (PendingOperation* look = held_up_.next_look(loop_.clock().now_ns())) {
    counters_.held_up = held_up_.waiting();
    if (!is_worth_beginning(*look, oldest_allowed_ns)) continue;
    batch.push_back(look);
    return true;
  }
  if (queue_.empty() || awaits_turn()) return false;
  while (batch.size() < options_.batch_max) {
    PendingOperation* pending = queue_.pop_front();
    if (pending == nullptr) break;
    --counters_.queued;
    if (!is_worth_beginning(*pending, oldest_allowed_ns)) continue;
    switch (held_up_.offer(*pending)) {
      case HeldUpAccounts::Answer::kFree:
        batch.push_back(pending);
        break;
      case HeldUpAccounts::Answer::kWaits:
        counters_.held_up = held_up_.waiting();
        watch_queue();
        break;
      case HeldUpAccounts::Answer::kFull:
        refuse(*pending);
        break;
    }
  }
  return false;
}

void Ledger::give_back(std::span<PendingOperation* const> batch) {
  PendingList again;
  for (PendingOperation* pending : batch) {
    // What the attempt decided has not happened.
    pending->outcome = {.code = OutcomeCode::kUnavailable};
    if (++pending->attempts >= kAttemptsMax) {
      refuse(*pending);
    } else {
      again.push_back(*pending);
      ++counters_.retried;
      ++counters_.queued;
    }
  }
  again.splice_back(queue_);
  queue_.splice_back(again);
  on_lane_changed();
}

void Ledger::answer(PendingOperation& pending) {
  if (pending.outcome.code == OutcomeCode::kInvalidPin && pending.outcome.pin_locked_s > 0) ++counters_.pins_locked;
  if (pending.idempotent != nullptr) keys_in_flight_.erase(key_of(*pending.idempotent));
  loop_.resume_soon(pending.waiting);
}

void Ledger::refuse(PendingOperation& pending) {
  ++counters_.refused_away;
  pending.outcome = Outcome{};
  // "Certainly not applied" cannot be said of what an earlier request has brought about.
  pending.outcome.code = pending.is_repeat ? OutcomeCode::kOutcomeUnknown : OutcomeCode::kUnavailable;
  pending.outcome.account_number = pending.operation.account_number;
  answer(pending);
}

// A lane has become idle, has connected, or has given up: somebody may take the queue, or nobody ever will.
void Ledger::on_lane_changed() {
  if (!queue_.empty() || held_up_.waiting() > 0) watch_queue();
}

void Ledger::flush() {
  const int64_t now_ns = loop_.clock().now_ns();
  for (auto& lane : lanes_) {
    if (queue_.empty() && !wants_proof_ && !held_up_.has_look(now_ns)) return;
    if (lane->is_idle()) lane->wake();
  }
  const bool all_away = std::all_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->is_away(); });
  if (!all_away) return;
  refuse_held_up(INT64_MAX);
  while (PendingOperation* pending = queue_.pop_front()) {
    --counters_.queued;
    refuse(*pending);
  }
}

void Ledger::refuse_held_up(int64_t queued_before_ns) {
  PendingList expired;
  held_up_.expire(queued_before_ns, expired);
  counters_.held_up = held_up_.waiting();
  while (PendingOperation* pending = expired.pop_front()) refuse(*pending);
}

void Ledger::on_timer() {
  const int64_t oldest_allowed_ns = loop_.clock().now_ns() - options_.queue_wait_ns;
  while (PendingOperation* pending = queue_.front()) {
    if (pending->queued_ns > oldest_allowed_ns) break;
    pending->unlink();
    --counters_.queued;
    refuse(*pending);
  }
  refuse_held_up(oldest_allowed_ns);
  if (!queue_.empty() || held_up_.waiting() > 0) watch_queue();
}

}  // namespace txn
