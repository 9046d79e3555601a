#include "db/lane.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/log.h"

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
    if (!store_->is_open()) {
      co_await connect();
      continue;
    }
    ledger_.take(batch_);
    if (batch_.empty()) {
      co_await Idle{*this};
      continue;
    }
    ++ledger_.counters_.batches;
    ledger_.counters_.operations += batch_.size();
    ledger_.counters_.batch_size.observe(batch_.size());
    const int64_t begun_ns = loop_.clock().now_ns();
    enter_accounts();
    co_await process(batch_);
    ledger_.in_flight_.leave(slots_);
    ledger_.counters_.batch_ns.observe(static_cast<uint64_t>(loop_.clock().now_ns() - begun_ns));
  }
  co_await store_->close();
}

Task<void> Lane::connect() {
  int64_t pause_ns = kReconnectFirstNs;
  while (!ledger_.stopping_) {
    const bool connected = co_await try_connect();
    if (connected) co_return;
    // Jitter by lane, so that the lanes of a process do not all knock at once.
    co_await reconnect_pause_.wait(pause_ns + index_ * 7 * kNanosPerMilli);
    pause_ns = std::min(pause_ns * 2, kReconnectMostNs);
  }
}

Task<bool> Lane::try_connect() {
  const Result<void> opened = co_await store_->open();
  if (opened) {
    next_id_ = ids_end_ = 0;
    if (away_) LOG(kInfo, "db.lane", "Connected to the database again").field("lane", index_);
    away_ = false;
    ++ledger_.counters_.connects;
    co_return true;
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

Task<void> Lane::process(Batch batch) {
  const Attempt result = co_await attempt(batch);
  switch (result) {
    case Attempt::kDone:
      answer_all(batch);
      break;
    case Attempt::kFailed:
      co_await handle_failure(batch);
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

Task<void> Lane::handle_failure(Batch batch) {
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
    co_await process(batch.subspan(0, batch.size() / 2));
    co_await process(batch.subspan(batch.size() / 2));
  } else {
    refuse_all(batch);
  }
}

bool Lane::needs_claim(Batch batch) const {
  return std::any_of(batch.begin(), batch.end(), [](const auto* pending) { return pending->idempotent != nullptr; });
}

Task<Lane::Attempt> Lane::attempt(Batch batch) {
  if (!store_->is_open()) co_return Attempt::kLost;
  undecided_.assign(batch.begin(), batch.end());
  answers_.clear();
  log_.clear();
  for (PendingOperation* pending : batch) {
    // What an earlier attempt was about to answer is no longer true.
    if (pending->idempotent != nullptr) pending->idempotent->answer = {};
  }

  StoreStatus status = StoreStatus::kOk;
  if (needs_claim(batch)) {
    status = co_await claim(batch);
    if (status == StoreStatus::kLost) co_return Attempt::kLost;
    if (status == StoreStatus::kFailed) co_return Attempt::kFailed;
  }
  if (!undecided_.empty()) {
    const LockRequest request = plan_lock();
    status = co_await store_->lock(request, locked_);
    if (status == StoreStatus::kLost) co_return Attempt::kLost;
    if (status == StoreStatus::kFailed) co_return Attempt::kFailed;
    if (request.wants_ids) {
      next_id_ = locked_.id_block * kIdsPerBlock;
      ids_end_ = next_id_ + kIdsPerBlock;
    }
    decide();
  }
  const bool has_pins = !undecided_.empty() && std::ranges::any_of(locked_.accounts, &AccountState::pin_changed);
  if (log_.empty() && answers_.empty() && !has_pins) {
    // Nothing but refusals and repeats, which hold whatever becomes of this transaction.
    co_await store_->rollback();
    co_return Attempt::kDone;
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
      co_return Attempt::kDone;
    case StoreStatus::kFailed:
      co_return Attempt::kFailed;
    case StoreStatus::kLost:
      co_return Attempt::kInDoubt;
    case StoreStatus::kUnconfirmed:
      co_return Attempt::kUnconfirmed;
  }
  co_return Attempt::kInDoubt;
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
  if (claim.fingerprint == pending.idempotent->fingerprint) {
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
          .wants_ids = ids_end_ - next_id_ < static_cast<int64_t>(undecided_.size()),
          .wants_limits = has_transfers_};
}

void Lane::decide() {
  for (PendingOperation* pending : undecided_) {
    pending->outcome =
        ledger_.rules_.decide(pending->operation, locked_.accounts, locked_.limits, locked_.now_us, next_id_, log_);
    if (pending->outcome.code == OutcomeCode::kSuccess) {
      ++next_id_;
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
  const Marker marker{.log_row_id = log_.empty() ? 0 : log_row_id(log_.front()),
                      .idempotent = answers_.empty() ? nullptr : answers_.front()};
  LOG(kWarning, "db.lane", "Connection lost during COMMIT; asking the database what became of the batch")
      .field("lane", index_)
      .field("operations", batch.size())
      .field("exception", store_->error_text());

  int64_t pause_ns = kReconnectFirstNs;
  while (loop_.clock().now_ns() < deadline_ns) {
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
      if (status != StoreStatus::kOk) continue;
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
    // What the keys alone settled stands. Of what was decided, a success and what was to be kept under a key may be
    // there or not; a refusal wrote nothing, but it may have been decided on a neighbour's success that never was.
    const bool decided = std::find(undecided_.begin(), undecided_.end(), pending) != undecided_.end();
    if (!decided) continue;
    const bool wrote = pending->outcome.code == OutcomeCode::kSuccess || pending->idempotent != nullptr;
    pending->outcome.code = wrote ? OutcomeCode::kOutcomeUnknown : OutcomeCode::kUnavailable;
  }
  answer_all(batch);
}

}  // namespace txn
