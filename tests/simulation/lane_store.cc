#include "tests/simulation/lane_store.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "db/commit_verdict.h"

namespace txn::simulation {
namespace {

// The number that a text begins with: attempts are told apart by it in descriptions and request ids.
int leading_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  CHECK(error == std::errc() && end != text.data(), "the simulation numbers what it sends");
  return number;
}

}  // namespace

SimulatedLaneStore::SimulatedLaneStore(World& world, Database& database, int replica, std::function<void()> on_lost)
    : world_(world), database_(database), replica_(replica), on_lost_(std::move(on_lost)) {
  database_.add_store(*this);
}

bool SimulatedLaneStore::is_replica_frozen(int64_t& for_ns) const {
  for_ns = database_.link(replica_).frozen_until_ns - world_.clock.now_ns();
  return for_ns > 0;
}

Task<Result<void>> SimulatedLaneStore::open(int64_t& id_block) {
  co_await close();
  Random& random = world_.random;
  const bool fails = random.chance(database_.plan().connect_fails);
  // A host that is away is refused at once or runs into the connector's time-out.
  const bool slow = random.chance(100);
  co_await world_.pause(random.between(1, 40) * 100 * kMicro);
  if (fails || !database_.is_reachable(replica_)) {
    if (slow) {
      co_await world_.pause(2 * kSecond);
    }
    if (fails) world_.inject(Injected::kConnectFailed);
    co_return fail(ErrorKind::kUnavailable, "no");
  }
  // What the connector does: who has met somebody else's session is given none until a question shows that they hold
  // again, and who has seen a newer primary is not given an older one.
  ReplicaLink& link = database_.link(replica_);
  if (link.has_met_foreigners && database_.is_pooled()) co_return fail(ErrorKind::kUnavailable, "transaction pooling");
  link.has_met_foreigners = false;
  ++connection_;
  backend_ = database_.connect(*this);
  backend_id_ = database_.backend(backend_).id;
  timeline_ = database_.timeline_of(backend_);
  is_open_ = true;
  if (timeline_ < link.newest_timeline && database_.broken() != Break::kAcceptsOlderTimeline) {
    world_.inject(Injected::kOlderRefused);
    co_await close();
    if (!database_.is_primary_up()) co_return fail(ErrorKind::kUnavailable, "an older primary");
    // The next of its hosts.
    ++connection_;
    backend_ = database_.connect(*this, true);
    backend_id_ = database_.backend(backend_).id;
    timeline_ = database_.timeline_of(backend_);
    is_open_ = true;
  }
  link.newest_timeline = std::max(link.newest_timeline, timeline_);

  begin(Step::kReserve);
  const StoreStatus status = co_await Answer{*this};
  if (status != StoreStatus::kOk) {
    co_await close();
    co_return fail(ErrorKind::kUnavailable, "no ids");
  }
  id_block = database_.backend(backend_).reply.locked.id_block;
  co_return Result<void>();
}

bool SimulatedLaneStore::is_superseded() const {
  return timeline_ < database_.link(replica_).newest_timeline && database_.broken() != Break::kAcceptsOlderTimeline;
}

void SimulatedLaneStore::report_foreign_session() {
  world_.inject(Injected::kForeignNoticed);
  database_.link(replica_).has_met_foreigners = true;
}

Task<void> SimulatedLaneStore::close() {
  world_.pin_events.clear();  // of a batch that a lane has decided and then given up with its connection
  is_open_ = false;
  if (backend_ >= 0) database_.disconnect(std::exchange(backend_, -1), world_.random.between(1, 20) * 100 * kMicro);
  co_return;
}

void SimulatedLaneStore::Answer::await_suspend(std::coroutine_handle<> handle) const {
  store.waiting_ = handle;
  store.is_in_exchange_ = true;
  store.database_.send(store.database_.backend(store.backend_));
}

StoreStatus SimulatedLaneStore::Answer::await_resume() {
  store.is_in_exchange_ = false;
  // An answer that came together with the connection's end is not heard, but for COMMIT's own.
  const Backend& backend = store.database_.backend(store.backend_);
  const bool is_commit = backend.request.step == Step::kWrite && backend.reply.exchange == ExchangeStatus::kLost &&
                         backend.exchange == store.exchange_ && backend.reply.has_commit_tag;
  if (!store.is_open_ && !is_commit) return StoreStatus::kLost;
  if (store.status_ == StoreStatus::kUnconfirmed)
    store.database_.hear_unconfirmed(store.database_.backend(store.backend_).request);
  return store.status_;
}

Request& SimulatedLaneStore::begin(Step step) {
  CHECK(waiting_ == nullptr, "one request at a time");
  if (!database_.backend(backend_).in_transaction) database_.swap_session(*this);
  Backend& backend = database_.backend(backend_);
  backend.exchange = ++exchange_;
  Request& request = backend.request;
  request.step = step;
  request.account_numbers.clear();
  request.keys.clear();
  request.accounts.clear();
  request.pins.clear();
  request.pin_events.clear();
  request.log.clear();
  request.answers.clear();
  return request;
}

void SimulatedLaneStore::receive(uint64_t exchange) {
  if (exchange != exchange_ || waiting_ == nullptr || !is_open_) return;
  int64_t frozen_ns = 0;
  if (is_replica_frozen(frozen_ns)) {
    world_.events.after<&SimulatedLaneStore::receive>(frozen_ns, *this, exchange);
    return;
  }
  const Backend& backend = database_.backend(backend_);
  const Reply& reply = backend.reply;
  status_ = reply.status;
  sqlstate_ = reply.sqlstate;
  if (backend.request.step == Step::kWrite) {
    const bool is_unconfirmed = reply.status == StoreStatus::kUnconfirmed;
    const bool hears_tag = reply.has_commit_tag && database_.broken() != Break::kCommitErrorRefuses;
    if (reply.exchange != ExchangeStatus::kOk || hears_tag)
      status_ = commit_verdict(reply.exchange, hears_tag ? "COMMIT" : "", is_unconfirmed);
    if (reply.exchange == ExchangeStatus::kFailed && hears_tag) sqlstate_ = "57014";
    // The connection has gone together with the answer, and its lane finds that out with the next request.
    if (reply.exchange == ExchangeStatus::kLost) is_open_ = false;
  }
  world_.loop.resume_soon(std::exchange(waiting_, nullptr));
}

void SimulatedLaneStore::lose(uint64_t connection) {
  if (connection != connection_ || !is_open_) return;
  int64_t frozen_ns = 0;
  if (is_replica_frozen(frozen_ns)) {
    world_.events.after<&SimulatedLaneStore::lose>(frozen_ns, *this, connection);
    return;
  }
  world_.trace("connection to backend ", backend_, " is lost", waiting_ ? " during an exchange" : " while idle");
  is_open_ = false;
  sqlstate_.clear();
  if (waiting_) {
    world_.loop.resume_soon(std::exchange(waiting_, nullptr));
  } else {
    world_.inject(Injected::kIdleLost);
    on_lost_();
  }
}

Task<StoreStatus> SimulatedLaneStore::claim(std::span<IdempotentRequest* const> keys, std::vector<Claim>& out) {
  if (!is_open_) co_return StoreStatus::kLost;
  Request& request = begin(Step::kClaim);
  for (const IdempotentRequest* key : keys) request.keys.push_back(key_index(*key));
  const StoreStatus status = co_await Answer{*this};
  if (status == StoreStatus::kOk) out = database_.backend(backend_).reply.claims;
  co_return in_own_session(status);
}

Task<StoreStatus> SimulatedLaneStore::lock(const LockRequest& wanted, Locked& out) {
  if (!is_open_) co_return StoreStatus::kLost;
  Request& request = begin(Step::kLock);
  request.account_numbers.assign(wanted.account_numbers.begin(), wanted.account_numbers.end());
  request.wants_ids = wanted.wants_ids;
  request.wants_limits = wanted.wants_limits;
  request.wait = wanted.wait;
  if (!std::ranges::is_sorted(request.account_numbers, std::less_equal<>()))
    world_.violate("a lane asks for locks out of order");
  const StoreStatus status = co_await Answer{*this};
  if (status == StoreStatus::kOk) {
    Locked& locked = database_.backend(backend_).reply.locked;
    out.accounts.swap(locked.accounts);
    out.held_up = locked.held_up;
    out.now_us = locked.now_us;
    if (wanted.wants_ids) out.id_block = locked.id_block;
    if (wanted.wants_limits) out.limits = locked.limits;
  }
  co_return in_own_session(status);
}

Task<StoreStatus> SimulatedLaneStore::write(const WriteRequest& written) {
  if (!is_open_) {
    world_.pin_events.clear();
    co_return StoreStatus::kLost;
  }
  Request& request = begin(Step::kWrite);
  if (!written.log.empty()) {
    for (const AccountState& account : written.accounts) {
      if (account.changed) request.accounts.push_back(account);
    }
  }
  for (const AccountState& account : written.accounts) {
    if (account.pin_changed) request.pins.push_back(account);
  }
  request.pin_events.swap(world_.pin_events);
  for (const LogRow& row : written.log) {
    request.log.push_back({.entry = {.transaction_id = row.transaction_id,
                                     .attempt = leading_number(row.description),
                                     .type = row.type,
                                     .direction = row.direction,
                                     .counterparty = row.counterparty,
                                     .amount = row.amount,
                                     .balance_after = row.balance_after,
                                     .seq = row.seq,
                                     .created_us = written.now_us},
                           .account_number = row.account_number,
                           .id = log_row_id(row),
                           .is_poison = row.description.ends_with('!')});
  }
  for (const IdempotentRequest* answer : written.answers) {
    request.answers.push_back({.key = key_index(*answer),
                               .attempt = leading_number(answer->request_id),
                               .fingerprint = answer->fingerprint,
                               .answer = answer->answer});
  }
  request.has_usage = written.has_usage;
  request.now_us = written.now_us;
  const StoreStatus status = co_await Answer{*this};
  co_return status;
}

Task<StoreStatus> SimulatedLaneStore::rollback() {
  // Of a batch that was decided and is not written.
  for (const PinEvent& event : std::exchange(world_.pin_events, {})) {
    if (event.kind == PinEvent::Kind::kWrong) world_.violate("a wrong PIN is rolled back");
  }
  if (!is_open_) co_return StoreStatus::kLost;
  begin(Step::kRollback);
  const StoreStatus status = co_await Answer{*this};
  co_return status;
}

Task<StoreStatus> SimulatedLaneStore::confirm() {
  world_.pin_events.clear();
  if (!is_open_) co_return StoreStatus::kLost;
  begin(Step::kConfirm);
  const StoreStatus status = co_await Answer{*this};
  co_return status;
}

Task<StoreStatus> SimulatedLaneStore::probe() {
  if (!is_open_) co_return StoreStatus::kLost;
  begin(Step::kProbe);
  const StoreStatus status = co_await Answer{*this};
  co_return in_own_session(status);
}

StoreStatus SimulatedLaneStore::in_own_session(StoreStatus status) {
  if (status != StoreStatus::kOk || database_.broken() == Break::kAcceptsForeigners) return status;
  const BackendId now = database_.backend(backend_).id;
  return now.pid == backend_id_.pid && now.start_us == backend_id_.start_us ? status : StoreStatus::kForeign;
}

Task<StoreStatus> SimulatedLaneStore::end_backend(BackendId backend, bool& gone) {
  gone = false;
  if (!is_open_) co_return StoreStatus::kLost;
  begin(Step::kEndBackend).target = backend;
  const StoreStatus status = co_await Answer{*this};
  gone = status == StoreStatus::kOk && database_.backend(backend_).reply.flag;
  co_return status;
}

Task<StoreStatus> SimulatedLaneStore::find(const Marker& marker, bool& found) {
  found = false;
  if (!is_open_) co_return StoreStatus::kLost;
  Request& request = begin(Step::kFind);
  request.marker_row = {};
  request.marker_key = -1;
  request.marker_us = marker.now_us;
  if (marker.log_row != nullptr) {
    request.marker_row.id = log_row_id(*marker.log_row);
    request.marker_row.account_number = marker.log_row->account_number;
    request.marker_row.entry.seq = marker.log_row->seq;
    request.marker_row.entry.created_us = marker.now_us;
    request.marker_row.entry.amount = marker.log_row->amount;
    request.marker_row.entry.balance_after = marker.log_row->balance_after;
  } else {
    CHECK(marker.idempotent != nullptr, "a batch that was written has a marker");
    request.marker_key = key_index(*marker.idempotent);
    request.marker_body = marker.idempotent->answer.body;
  }
  const StoreStatus status = co_await Answer{*this};
  found = status == StoreStatus::kOk && database_.backend(backend_).reply.flag;
  co_return status;
}

}  // namespace txn::simulation
