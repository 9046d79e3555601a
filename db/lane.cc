#include "db/lane.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>

#include "core/log.h"
#include "core/partition.h"
#include "db/request_digest.h"

namespace txn {
namespace {

constexpr int64_t kReconnectFirstNs = 50 * kNanosPerMilli;
constexpr int64_t kReconnectMostNs = 1 * kNanosPerSecond;
constexpr int64_t kOldBackendPauseNs = 20 * kNanosPerMilli;

// Somebody else's locks or the clock were in the way; the same batch may well succeed next time.
bool is_transient(std::string_view sqlstate) {
  return sqlstate.starts_with("40") || sqlstate == "55P03" || sqlstate == "57014" || sqlstate == "25P03";
}

// A value or a constraint: one operation's doing, so its neighbours deserve a try without it.
bool is_about_data(std::string_view sqlstate) {
  return sqlstate.starts_with("22") || sqlstate.starts_with("23") || sqlstate.starts_with("21");
}

// Disk, memory or connections have run out: another session would fare no better.
bool is_about_resources(std::string_view sqlstate) { return sqlstate.starts_with("53"); }

}  // namespace

Lane::Lane(Ledger& ledger, int index) : ledger_(ledger), loop_(ledger.loop_), index_(index), reconnect_pause_(loop_) {}

void Lane::wake() {
  if (idle_handle_) std::exchange(idle_handle_, nullptr).resume();
}

void Lane::stop() {
  reconnect_pause_.end();
  wake();
}

Task<void> Lane::run() {
  struct Idle {
    Lane& lane;
    bool await_ready() const { return lane.ledger_.stopping_ || !lane.store_->is_open(); }
    void await_suspend(std::coroutine_handle<> handle) const { lane.idle_handle_ = handle; }
    void await_resume() const {}
  };
  while (!ledger_.stopping_) {
    if (store_->is_open() && store_->is_superseded()) {
      co_await leave_superseded();
    }
    if (!store_->is_open()) {
      co_await connect();
      continue;
    }
    const bool looks = ledger_.take(batch_);
    if (batch_.empty()) {
      if (std::exchange(ledger_.wants_proof_, false)) {
        co_await probe();
      } else {
        co_await Idle{*this};
      }
      continue;
    }
    ++ledger_.counters_.batches;
    ledger_.counters_.operations += batch_.size();
    ledger_.counters_.batch_size.observe(batch_.size());
    const int64_t begun_ns = loop_.clock().now_ns();
    enter_accounts();
    co_await process(batch_, looks ? LockWait::kNone : LockWait::kShort);
    while (!contended_.empty()) {
      batch_.swap(contended_);
      contended_.clear();
      co_await process(batch_, LockWait::kLong);
    }
    ledger_.in_flight_.leave(slots_);
    ledger_.counters_.batch_ns.observe(static_cast<uint64_t>(loop_.clock().now_ns() - begun_ns));
  }
  co_await store_->close();
}

Task<void> Lane::connect() {
  int64_t pause_ns = kReconnectFirstNs;
  // A new session mends an old one's state once; when it does not, the database is as good as away.
  if (spoilt_ > 1) {
    away_ = true;
    ledger_.on_lane_changed();
    co_await reconnect_pause_.wait(std::min(pause_ns << std::min(spoilt_, 6), kReconnectMostNs));
  }
  while (!ledger_.stopping_) {
    const bool connected = co_await try_connect();
    if (connected) co_return;
    // Jitter by lane, so that the lanes of a process do not all knock at once.
    co_await reconnect_pause_.wait(pause_ns + index_ * 7 * kNanosPerMilli);
    pause_ns = std::min(pause_ns * 2, kReconnectMostNs);
  }
}

Task<bool> Lane::try_connect() {
  int64_t id_block = 0;
  const Result<void> opened = co_await store_->open(id_block);
  if (opened) {
    ids_.start(id_block);
    if (away_) LOG(kInfo, "db.lane", "Connected to the database again").field("lane", index_);
    away_ = false;
    ++ledger_.counters_.connects;
    co_return true;
  }
  if (std::exchange(ledger_.wants_proof_, false)) {
    ++ledger_.counters_.probes;
    ++ledger_.counters_.probes_failed;
  }
  if (!away_ && !ledger_.stopping_)
    LOG(kWarning, "db.lane", "Cannot connect to the database; trying on")
        .field("lane", index_)
        .field("exception", opened.error().message);
  away_ = true;
  ledger_.on_lane_changed();
  co_return false;
}

void Lane::enter_accounts() {
  slots_.clear();
  for (const PendingOperation* pending : batch_)
    for_each_account(pending->operation, [&](int64_t number) { slots_.push_back(AccountsInFlight::slot_of(number)); });
  ledger_.in_flight_.enter(slots_);
}

Task<void> Lane::process(Batch batch, LockWait wait) {
  Attempt result = co_await attempt(batch, wait);
  // Whoever it is that does not let go, the others in the batch have nothing to do with it.
  if (result == Attempt::kLocked && wait == LockWait::kShort) {
    result = co_await attempt(batch, LockWait::kNone);
  }
  if (batch.empty()) co_return;
  switch (result) {
    case Attempt::kDone:
      answer_all(batch);
      break;
    case Attempt::kFailed:
      co_await handle_failure(batch, wait);
      break;
    case Attempt::kLocked:
      ledger_.give_back(batch);
      break;
    case Attempt::kLost:
      LOG(kWarning, "db.lane", "Connection lost before COMMIT; the batch is tried again")
          .field("lane", index_)
          .field("operations", batch.size())
          .field("exception", store_->error_text());
      ledger_.give_back(batch);
      break;
    case Attempt::kInDoubt:
      co_await resolve(batch);
      break;
    case Attempt::kUnconfirmed:
      LOG(kError, "db.lane",
          "Committed, but not confirmed by the standbys; clients are told that the outcome is unknown")
          .field("lane", index_)
          .field("operations", batch.size())
          .field("exception", store_->error_text());
      answer_unknown(batch);
      break;
  }
}

Task<void> Lane::handle_failure(Batch batch, LockWait wait) {
  ++ledger_.counters_.batches_failed;
  const std::string sqlstate = store_->error_sqlstate();
  LOG(kWarning, "db.lane", "The database refused a batch")
      .field("lane", index_)
      .field("operations", batch.size())
      .field("sqlstate", sqlstate)
      .field("exception", store_->error_text());
  // The transaction is still open and failed; end it before anything else. If that fails the connection is gone, and so
  // is the transaction.
  co_await store_->rollback();
  if (is_transient(sqlstate)) {
    ledger_.give_back(batch);
  } else if (is_about_data(sqlstate) && batch.size() > 1) {
    co_await process(batch.subspan(0, batch.size() / 2), wait);
    co_await process(batch.subspan(batch.size() / 2), wait);
  } else if (is_about_data(sqlstate)) {
    refuse_all(batch);
  } else if (is_about_resources(sqlstate)) {
    ledger_.disprove();
    refuse_all(batch);
  } else {
    // Read-only, a statement gone, a plan that fits the table no more, rights taken away: it may be this session's
    // state, and a new one is free of that.
    ledger_.disprove();
#ifndef TXN_PLANTED_KEEP_SPOILT_SESSION  // a bug for the tests to find
    ++ledger_.counters_.sessions_refused;
    ++spoilt_;
    co_await store_->close();
#endif
    ledger_.give_back(batch);
  }
}

// Nobody's batch: finds out whether there could be one.
Task<void> Lane::probe() {
  ++ledger_.counters_.probes;
  const StoreStatus status = co_await store_->probe();
  if (status == StoreStatus::kOk) {
    spoilt_ = 0;
    is_unwell_ = false;
    ledger_.prove();
    co_return;
  }
  ++ledger_.counters_.probes_failed;
  ledger_.disprove();
  if (status == StoreStatus::kForeign) {
    co_await leave_foreign_session();
    co_return;
  }
  const std::string sqlstate = store_->error_sqlstate();
  // Asked several times a second, told once.
  if (!std::exchange(is_unwell_, true))
    LOG(kWarning, "db.lane", "The database would take no batch")
        .field("lane", index_)
        .field("sqlstate", sqlstate)
        .field("exception", store_->error_text());
  if (status == StoreStatus::kFailed) {
    co_await store_->rollback();
#ifndef TXN_PLANTED_KEEP_SPOILT_SESSION
    if (is_transient(sqlstate) || is_about_data(sqlstate) || is_about_resources(sqlstate)) co_return;
    ++ledger_.counters_.sessions_refused;
    ++spoilt_;
    co_await store_->close();
#endif
  }
}

// What we know of the session (who serves it, what is set in it) is about another one.
Task<void> Lane::leave_foreign_session() {
  LOG(kError, "db.lane",
      "This transaction came to a session that is not ours: a transaction pooler stands before the database. Set its "
      "pool_mode to session, or connect to PostgreSQL directly")
      .field("lane", index_);
  ++ledger_.counters_.sessions_refused;
  ledger_.disprove();
  co_await store_->rollback();
  store_->report_foreign_session();
  co_await store_->close();
}

Task<void> Lane::leave_superseded() {
  LOG(kError, "db.lane", "A newer primary has been seen; nothing more is committed on this one").field("lane", index_);
  ++ledger_.counters_.superseded;
  ledger_.disprove();
  co_await store_->close();
}

bool Lane::needs_claim(Batch batch) {
  return std::any_of(batch.begin(), batch.end(), [](const auto* pending) { return pending->idempotent != nullptr; });
}

Task<Lane::Attempt> Lane::attempt(Batch& batch, LockWait wait) {
  if (!store_->is_open()) co_return Attempt::kLost;
  undecided_.assign(batch.begin(), batch.end());
  answers_.clear();
  log_.clear();
  for (PendingOperation* pending : batch) {
    // What an earlier attempt was about to answer is no longer true.
    pending->outcome = {.code = OutcomeCode::kUnavailable};
    if (pending->idempotent != nullptr) pending->idempotent->answer = {};
  }
  const IdBlocks ids_before = ids_;

  StoreStatus status = StoreStatus::kOk;
  if (needs_claim(batch)) {
    status = co_await claim(batch);
  }
  if (status == StoreStatus::kOk && !undecided_.empty()) {
    LockRequest request = plan_lock();
    request.wait = wait;
    status = co_await store_->lock(request, locked_);
    if (status == StoreStatus::kFailed && wait != LockWait::kNone && store_->error_sqlstate() == "55P03") {
      co_await store_->rollback();
      co_return Attempt::kLocked;
    }
    if (status == StoreStatus::kOk) {
      if (wait == LockWait::kNone) set_locked_aside(batch);
      if (request.wants_ids) ids_.reserve(locked_.id_block);
      decide();
    }
  }
  if (status == StoreStatus::kForeign) {
    co_await leave_foreign_session();
  }
  if (status == StoreStatus::kFailed) co_return Attempt::kFailed;
  if (status != StoreStatus::kOk) co_return Attempt::kLost;

  // What has been read there may be no more: neither a commit nor a refusal nor a repeat may rest on it.
  if (store_->is_superseded()) {
    co_await leave_superseded();
    co_return Attempt::kLost;
  }

  const bool has_pins = !undecided_.empty() && std::ranges::any_of(locked_.accounts, &AccountState::pin_changed);
  if (log_.empty() && answers_.empty() && !has_pins) {
    ids_ = ids_before;
    const Attempt ended = co_await end_reading(batch);
    co_return ended;
  }
#ifdef TXN_PLANTED_DROP_LEG  // a bug for the chaos tests to find
  std::erase_if(log_, [](const LogRow& row) { return log_row_id(row) % 2 == 1; });
#endif
#ifdef TXN_PLANTED_ANSWER_BEFORE_COMMIT  // a bug for the chaos tests to find
  answer_all(batch);
#endif
  status = co_await store_->write({.accounts = locked_.accounts,
                                   .has_usage = has_transfers_,
                                   .log = log_,
                                   .answers = answers_,
                                   .now_us = locked_.now_us});
#ifdef TXN_PLANTED_ANSWER_BEFORE_COMMIT
  if (status == StoreStatus::kFailed) {
    co_await store_->rollback();
  }
  co_return static_cast<Attempt>(-1);  // nobody is left to be answered
#endif
  switch (status) {
    case StoreStatus::kOk:
      ids_.commit();
      spoilt_ = 0;
      ledger_.prove();
      co_return Attempt::kDone;
    case StoreStatus::kUnconfirmed:
      ids_.commit();
      co_return Attempt::kUnconfirmed;
    case StoreStatus::kFailed:
      ids_ = ids_before;
      co_return Attempt::kFailed;
    case StoreStatus::kLost:
    case StoreStatus::kForeign:
      break;
  }
  co_return Attempt::kInDoubt;
}

// Nothing is to be written: refusals hold whatever becomes of this transaction, repeats as far as what they repeat
// does.
Task<Lane::Attempt> Lane::end_reading(Batch batch) {
#ifndef TXN_PLANTED_REPLAY_UNCONFIRMED  // a bug for the tests to find
  const bool has_repeats = std::ranges::any_of(batch, &PendingOperation::is_repeat);
#else
  const bool has_repeats = batch.data() == nullptr;
#endif
  StoreStatus status = StoreStatus::kOk;
  if (has_repeats) {
    status = co_await store_->confirm();
  } else {
    co_await store_->rollback();
  }
  switch (status) {
    case StoreStatus::kOk:
      spoilt_ = 0;
      ledger_.prove();
      co_return Attempt::kDone;
    case StoreStatus::kFailed:
      co_return Attempt::kFailed;
    case StoreStatus::kUnconfirmed:
      co_return Attempt::kUnconfirmed;
    case StoreStatus::kLost:
    case StoreStatus::kForeign:
      break;
  }
  co_return Attempt::kLost;
}

void Lane::set_locked_aside(Batch& batch) {
  const auto locked = [&](int64_t number) {
    const auto found = std::ranges::lower_bound(locked_.held_up, number, {}, &LockedAccount::account_number);
    return found != locked_.held_up.end() && found->account_number == number ? &*found : nullptr;
  };
  for (const int64_t number : account_numbers_) {
    const LockedAccount* account = locked(number);
    if (account == nullptr || !account->by_outsider) ledger_.release(number);
  }
  if (locked_.held_up.empty()) return;
  // One that an outsider has locked counts before one that only needs patience.
  const auto obstacle_of = [&](const PendingOperation& pending) {
    const LockedAccount* obstacle = nullptr;
    for_each_account(pending.operation, [&](int64_t number) {
      const LockedAccount* account = locked(number);
      if (account != nullptr && (obstacle == nullptr || !obstacle->by_outsider)) obstacle = account;
    });
    return obstacle;
  };
  // What the keys have settled needs no account, and is not among the undecided.
  const auto is_obstructed = [&](PendingOperation* pending) {
    return obstacle_of(*pending) != nullptr && std::ranges::find(undecided_, pending) != undecided_.end();
  };
  const auto obstructed = partition_in_order(batch, std::not_fn(is_obstructed));
  for (PendingOperation* pending : obstructed) {
    const LockedAccount* obstacle = obstacle_of(*pending);
    if (obstacle->by_outsider) {
      ledger_.hold_up(*pending, obstacle->account_number);
    } else {
      contended_.push_back(pending);
    }
  }
  batch = batch.first(batch.size() - obstructed.size());
  std::erase_if(undecided_, [&](const PendingOperation* pending) { return obstacle_of(*pending) != nullptr; });
}

// Settles what the keys alone can settle; the rest stays in undecided_.
Task<StoreStatus> Lane::claim(Batch batch) {
  undecided_.clear();
  keys_.clear();
  for (PendingOperation* pending : batch) {
    if (pending->idempotent != nullptr) keys_.push_back(pending->idempotent);
  }
  const StoreStatus status = co_await store_->claim(keys_, claims_);
  if (status != StoreStatus::kOk) co_return status;
#ifdef TXN_PLANTED_REPLAY_WITHOUT_KEY  // a bug for the chaos tests to find
  for (Claim& claim : claims_) claim = {};
#endif
  size_t next_claim = 0;
  for (PendingOperation* pending : batch) {
    if (pending->idempotent == nullptr || !is_settled(*pending, claims_[next_claim++])) undecided_.push_back(pending);
  }
  co_return StoreStatus::kOk;
}

// Whether the claim of its key is all that can be said about an operation.
bool Lane::is_settled(PendingOperation& pending, Claim& claim) {
  pending.is_repeat = claim.kind == Claim::Kind::kUsed;
  switch (claim.kind) {
    case Claim::Kind::kNew:
      return false;
    case Claim::Kind::kInFlight:
      pending.outcome = {.code = OutcomeCode::kIdempotencyConflict};
      return true;
    case Claim::Kind::kUnreadable:
      pending.outcome = {.code = OutcomeCode::kKeyUnreadable};
      return true;
    case Claim::Kind::kUsed:
      break;
  }
  const IdempotentRequest& asked = *pending.idempotent;
  if (is_same_request(claim.fingerprint, claim.request_digest, asked.fingerprint, asked.request_digest)) {
    pending.outcome = {.code = OutcomeCode::kReplayed};
    pending.idempotent->answer = std::move(claim.answer);
  } else {
    pending.outcome = {.code = OutcomeCode::kIdempotencyKeyReused};
  }
  return true;
}

LockRequest Lane::plan_lock() {
  account_numbers_.clear();
  has_transfers_ = false;
  for (const PendingOperation* pending : undecided_) {
    for_each_account(pending->operation, [&](int64_t number) { account_numbers_.push_back(number); });
    has_transfers_ = has_transfers_ || pending->operation.type == OperationType::kTransfer;
  }
  std::sort(account_numbers_.begin(), account_numbers_.end());
  account_numbers_.erase(std::unique(account_numbers_.begin(), account_numbers_.end()), account_numbers_.end());
  return {.account_numbers = account_numbers_,
          .wants_ids = ids_.wants_block(static_cast<int64_t>(undecided_.size())),
          .wants_limits = has_transfers_};
}

void Lane::decide() {
  for (PendingOperation* pending : undecided_) {
    pending->outcome =
        ledger_.rules_.decide(pending->operation, locked_.accounts, locked_.limits, locked_.now_us, ids_.next(), log_);
    if (pending->outcome.code == OutcomeCode::kSuccess) {
      ids_.take();
      pending->outcome.transacted_at_us = locked_.now_us;
    }
    // A fault is not kept: the next try under the key may find it mended.
    if (pending->idempotent != nullptr && pending->outcome.code != OutcomeCode::kAccountUnreadable) {
      pending->idempotent->answer =
          ledger_.rules_.render(pending->operation, pending->outcome, pending->idempotent->request_id);
#ifndef TXN_PLANTED_REPLAY_WITHOUT_KEY
      answers_.push_back(pending->idempotent);
#endif
    }
  }
}

void Lane::answer_all(Batch batch) {
  for (PendingOperation* pending : batch) ledger_.answer(*pending);
  ledger_.on_lane_changed();
}

void Lane::refuse_all(Batch batch) {
  for (PendingOperation* pending : batch) ledger_.refuse(*pending);
  ledger_.on_lane_changed();
}

// The connection died with COMMIT under way. The batch left a mark or it did not, once the backend that may still be
// committing is gone.
Task<void> Lane::resolve(Batch batch) {
  ++ledger_.counters_.commits_in_doubt;
  const int64_t deadline_ns = loop_.clock().now_ns() + ledger_.options_.in_doubt_ns;
  const BackendId old_backend = store_->backend();
  const Marker marker{.log_row = log_.empty() ? nullptr : &log_.front(),
                      .idempotent = answers_.empty() ? nullptr : answers_.front(),
                      .now_us = locked_.now_us};
  LOG(kWarning, "db.lane", "Connection lost during COMMIT; asking the database what became of the batch")
      .field("lane", index_)
      .field("operations", batch.size())
      .field("exception", store_->error_text());

  int64_t pause_ns = kReconnectFirstNs;
  while (loop_.clock().now_ns() < deadline_ns) {
    if (store_->is_open() && store_->is_superseded()) {
      co_await leave_superseded();
    }
    if (!store_->is_open()) {
      const bool connected = co_await try_connect();
      if (!connected) {
        co_await loop_.sleep_for(pause_ns);
        pause_ns = std::min(pause_ns * 2, kReconnectMostNs);
        continue;
      }
    }
    bool gone = false;
    StoreStatus status = co_await store_->end_backend(old_backend, gone);
    if (status != StoreStatus::kOk || !gone) {
      co_await loop_.sleep_for(kOldBackendPauseNs);
      continue;
    }
    bool committed = false;
    if (!marker.is_none()) {
      status = co_await store_->find(marker, committed);
      if (status == StoreStatus::kUnconfirmed) break;
      if (status != StoreStatus::kOk) {
        co_await loop_.sleep_for(kOldBackendPauseNs);
        continue;
      }
    }
    // Without a marker no money has moved: tried again, a wrong PIN may count twice, but never not at all.
    LOG(kInfo, "db.lane", "Commit in doubt resolved").field("lane", index_).field("committed", committed);
    if (committed) {
      answer_all(batch);
    } else {
      ledger_.give_back(batch);
    }
    co_return;
  }
  LOG(kError, "db.lane", "Commit in doubt not resolved in time; clients are told that the outcome is unknown")
      .field("lane", index_)
      .field("operations", batch.size());
  answer_unknown(batch);
}

void Lane::answer_unknown(Batch batch) {
  ledger_.counters_.outcomes_unknown += batch.size();
  for (PendingOperation* pending : batch) {
    // A repeat is no surer than what it repeats. What else the keys alone settled stands. Of what was decided, a
    // success and what was to be kept under a key may be there or not; a refusal wrote nothing, but it may have been
    // decided on a neighbour's success that never was.
    if (pending->is_repeat) pending->outcome.code = OutcomeCode::kOutcomeUnknown;
    const bool decided = std::find(undecided_.begin(), undecided_.end(), pending) != undecided_.end();
    if (!decided) continue;
    const bool wrote = pending->outcome.code == OutcomeCode::kSuccess || pending->idempotent != nullptr;
    pending->outcome.code = wrote ? OutcomeCode::kOutcomeUnknown : OutcomeCode::kUnavailable;
  }
  answer_all(batch);
}

}  // namespace txn
