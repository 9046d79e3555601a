#include "tests/simulation/database.h"

#include <algorithm>
#include <utility>

#include "app/rules.h"
#include "tests/simulation/lane_store.h"

namespace txn::simulation {
namespace {

constexpr int64_t kShortWaitNs = 40 * kMilli;
constexpr int64_t kLongWaitNs = 5 * kSecond;
constexpr int64_t kIdleInTransactionNs = 5 * kSecond;
constexpr int64_t kCommandTimeoutNs = 7 * kSecond;  // the client's, as the next
constexpr int64_t kQuestionTimeoutNs = 5 * kSecond;
constexpr std::array<const char*, 4> kTransient{"40P01", "40001", "55P03", "57014"};
constexpr std::array<const char*, 3> kSpoilt{"25006", "26000", "0A000"};
constexpr std::array<std::string_view, 9> kStepNames{"claim", "lock",        "write", "rollback", "confirm",
                                                     "probe", "end_backend", "find",  "reserve"};

uint64_t pack(int index, uint64_t number) { return number << 16 | static_cast<uint64_t>(index); }

}  // namespace

int key_index(const IdempotentRequest& request) {
  CHECK(request.key.size() == 2, "the simulation's keys are k0 to k7");
  return request.key[1] - '0';
}

Row* Books::find_row(int64_t account_number) {
  const bool exists = account_number >= 1 && account_number <= static_cast<int64_t>(rows.size());
  return exists ? &rows[static_cast<size_t>(account_number - 1)] : nullptr;
}

int Books::committed_by(int attempt) const {
  const auto index = static_cast<size_t>(attempt);
  return index < committed.size() ? committed[index] : 0;
}

Books Books::copy() const {
  Books other = *this;
  for (Row& row : other.rows) {
    row.holder = kNobody;
    row.waiting.clear();
  }
  for (KeyRow& key : other.keys) key.holder = kNobody;
  return other;
}

void Database::reset(Break broken, int replicas, bool is_synchronous) {
  plan_ = {};
  broken_ = broken;
  has_stepped_ = has_promoted_ = is_old_back_ = false;
  pooled_until_ns_ = 0;
  links_.assign(static_cast<size_t>(replicas), {});
  servers_ = {};
  primary_ = 0;
  primary().is_synchronous = is_synchronous;
  primary().books.keys.assign(kKeys, {});
  heard_unconfirmed_.clear();
  limits_.fill({.daily_amount = Money::from_minor(30'000), .daily_count = 6});
  limits_[static_cast<size_t>(Privilege::kBasic)] = {.daily_amount = Money::from_minor(9'000), .daily_count = 3};
  backend_count_ = 0;
  stores_.clear();
}

void Database::add_account(const AccountState& state) {
  Books& books = primary().books;
  CHECK(state.account_number == static_cast<int64_t>(books.rows.size()) + 1, "accounts come in order");
  Row& row = books.rows.emplace_back();
  row.state = state;
  row.opening = state.balance;
  primary().standby = books.copy();
}

bool Database::is_confirmed(int attempt) const {
  return !primary().is_synchronous || primary().standby.committed_by(attempt) == 1;
}

bool Database::is_key_confirmed(int key) const {
  const auto index = static_cast<size_t>(key);
  const KeyRow& here = primary().books.keys[index];
  const KeyRow& there = primary().standby.keys[index];
  return !primary().is_synchronous || (there.is_stored && there.attempt == here.attempt);
}

int Database::wrong_pins(int attempt) const {
  const auto index = static_cast<size_t>(attempt);
  const std::vector<int>& counts = primary().books.wrong_pins;
  return index < counts.size() ? counts[index] : 0;
}

void Database::hear_unconfirmed(const Request& request) {
  for (const Request::NewRow& row : request.log) heard_unconfirmed_.push_back(row.entry.attempt);
}

bool Database::is_heard_unconfirmed(int attempt) const {
  return std::ranges::find(heard_unconfirmed_, attempt) != heard_unconfirmed_.end();
}

bool Database::has_live_transaction() const {
  return std::any_of(backends_.begin(), backends_.begin() + static_cast<std::ptrdiff_t>(backend_count_),
                     [](const auto& backend) { return backend->is_alive && backend->in_transaction; });
}

bool Database::is_reachable(int replica) const {
  return (primary().is_up || is_old_back_) &&
         links_[static_cast<size_t>(replica)].cut_until_ns <= world_.clock.now_ns();
}

// ---- What happens to the whole

void Database::plan_events(int64_t span_ns) {
  Random& random = world_.random;
  const auto plan = [&](int per_mille, auto add) {
    for (; random.chance(per_mille); per_mille /= 2) add(random.below(span_ns));
  };
  Events& events = world_.events;
  const auto replicas = static_cast<int64_t>(links_.size());
  plan(plan_.crashes, [&](int64_t at) { events.after<&Database::crash>(at, *this, 0); });
  plan(plan_.cuts,
       [&](int64_t at) { events.after<&Database::cut>(at, *this, static_cast<uint64_t>(random.below(replicas))); });
  plan(plan_.replica_freezes, [&](int64_t at) {
    events.after<&Database::freeze_replica>(at, *this, static_cast<uint64_t>(random.below(replicas)));
  });
  plan(plan_.kills, [&](int64_t at) { events.after<&Database::kill>(at, *this, 0); });
  plan(plan_.idle_losses, [&](int64_t at) { events.after<&Database::lose_idle>(at, *this, 0); });
  plan(plan_.clock_steps, [&](int64_t at) { events.after<&Database::step_clock>(at, *this, 0); });
  plan(plan_.spoilt, [&](int64_t at) { events.after<&Database::spoil>(at, *this, 0); });
  const auto some_row = [&] { return static_cast<uint64_t>(random.index(primary().books.rows.size())); };
  plan(plan_.row_locks, [&](int64_t at) { events.after<&Database::lock_row>(at, *this, some_row()); });
  plan(plan_.row_changes, [&](int64_t at) { events.after<&Database::change_row>(at, *this, some_row()); });
  if (primary().is_synchronous) {
    plan(plan_.standby_stalls, [&](int64_t at) { events.after<&Database::stall_standby>(at, *this, 0); });
    if (random.chance(plan_.promotions)) {
      // Most often it has not heard from the primary for a while.
      const int64_t at_ns = random.below(2 * span_ns) + (random.chance(500) ? random.below(2 * kSecond) : 0);
      if (random.chance(700)) events.after<&Database::stall_standby>(at_ns - random.below(300) * kMilli, *this, 0);
      events.after<&Database::promote>(at_ns, *this, 0);
    }
  }
  if (random.chance(plan_.poolers)) events.after<&Database::begin_pooling>(random.below(span_ns), *this, 0);
}

void Database::crash(uint64_t) {
  Server& server = primary();
  if (!server.is_up) return;
  world_.inject(Injected::kDatabaseCrash);
  server.is_up = false;
  // A stopped process dies of SIGKILL like any other.
  for (size_t i = 0; i < backend_count_; ++i) {
    if (backends_[i]->server == primary_) die(*backends_[i], "crash");
  }
  if (server.books.next_block != server.books.durable_block) world_.inject(Injected::kSequenceFellBack);
  server.books.next_block = server.books.durable_block;
  Random& random = world_.random;
  const int64_t away_ns = random.chance(300) ? random.between(1, 15) * kSecond : random.between(1, 400) * kMilli;
  world_.events.after<&Database::restart>(away_ns, *this, static_cast<uint64_t>(primary_));
}

void Database::restart(uint64_t server) {
  world_.trace("the database is back");
  // One that lost its place meanwhile comes back otherwise (return_old_primary), or not at all.
  if (static_cast<int>(server) == primary_) primary().is_up = true;
}

// The session turns against whatever it is asked, until its end.
void Database::spoil(uint64_t) {
  const char* const sqlstate = kSpoilt[world_.random.index(kSpoilt.size())];
  for (size_t i = 0; i < backend_count_; ++i) {
    Backend& backend = *backends_[i];
    if (!backend.is_alive || world_.random.chance(500)) continue;
    world_.inject(Injected::kSpoiltSession);
    backend.spoilt_with = sqlstate;
  }
}

void Database::lock_row(uint64_t index) {
  Row& row = primary().books.rows[index];
  if (row.holder != kNobody || !primary().is_up) return;
  world_.inject(Injected::kRowLocked);
  row.holder = kOperator;
  row.was_locked = true;
  Random& random = world_.random;
  const int64_t for_ns = random.chance(400) ? random.between(600, 8000) * kMilli : random.between(1, 500) * kMilli;
  world_.events.after<&Database::unlock_row>(for_ns, *this, index << 1 | static_cast<uint64_t>(primary_));
}

void Database::unlock_row(uint64_t packed) {
  Row& row = servers_[packed & 1].books.rows[packed >> 1];
  if (row.holder != kOperator) return;  // the server has crashed meanwhile, or is another one
  world_.trace("the operator lets account ", row.state.account_number, " go");
  row.holder = kNobody;
  give_row(row);
}

// An operator freezes an account, or lets it move again; or does what leaves a NaN in it, and mends that some time
// later.
void Database::change_row(uint64_t index) {
  Row& row = primary().books.rows[index];
  if (row.holder != kNobody || !primary().is_up) return;
  world_.inject(Injected::kRowChanged);
  if (row.state.is_unreadable || world_.random.chance(300)) {
    world_.inject(Injected::kRowSpoilt);
    row.state.is_unreadable = !row.state.is_unreadable;
    row.was_unreadable = true;
    world_.events.after<&Database::change_row>(world_.random.between(1, 3000) * kMilli, *this, index);
  } else {
    row.state.is_active = !row.state.is_active;
    row.was_toggled = true;
  }
  if (primary().stalled_until_ns <= world_.clock.now_ns()) primary().standby = primary().books.copy();
}

void Database::stall_standby(uint64_t) {
  Server& server = primary();
  if (!server.is_synchronous || server.stalled_until_ns > world_.clock.now_ns()) return;
  world_.inject(Injected::kStandbyStalled);
  Random& random = world_.random;
  const int64_t for_ns = random.chance(400) ? random.between(1, 20) * kSecond : random.between(1, 400) * kMilli;
  server.stalled_until_ns = world_.clock.now_ns() + for_ns;
  world_.events.after<&Database::end_stall>(for_ns, *this, static_cast<uint64_t>(primary_));
}

// The standby confirms what has been waiting, in order.
void Database::end_stall(uint64_t index) {
  Server& server = servers_[index];
  if (server.stalled_until_ns > world_.clock.now_ns() || !server.is_synchronous) return;
  world_.trace("the standby goes on");
  for (const int waiting : std::exchange(server.waiting, {})) {
    Backend& backend = *backends_[static_cast<size_t>(waiting)];
    if (backend.waits_for_standby) end_wait(backend);
  }
  server.standby = server.books.copy();
}

// The standby takes over, with what it has confirmed or with all that the primary had written; the old primary is gone,
// or goes on without anybody to confirm what it commits.
void Database::promote(uint64_t) {
  if (has_promoted_ || !primary().is_synchronous) return;
  world_.inject(Injected::kPromoted);
  has_promoted_ = true;
  Random& random = world_.random;
  Server& old = primary();
  const int old_index = primary_;
  Server& next = servers_[static_cast<size_t>(1 - old_index)];
  const bool has_all = random.chance(300);
  if (random.chance(700)) {
    old.is_up = false;
    for (size_t i = 0; i < backend_count_; ++i) {
      if (backends_[i]->server == old_index) die(*backends_[i], "the primary's end");
    }
  } else {
    // Cut off from its standby for good; whoever still talks to it waits in vain, until somebody ends it.
    old.stalled_until_ns = INT64_MAX;
    world_.events.after<&Database::fence_old_primary>(random.between(1, 15) * kSecond, *this, 0);
  }
  next = {};
  next.timeline = old.timeline + 1;
  next.books = has_all ? old.books.copy() : old.standby.copy();
  next.books.durable_block = next.books.next_block;
  next.is_synchronous = true;
  next.standby = next.books.copy();
  next.is_up = false;
  primary_ = 1 - old_index;
  const int64_t away_ms = random.chance(500) ? random.between(1, 50) : random.between(50, 3000);
  world_.events.after<&Database::restart>(away_ms * kMilli, *this, static_cast<uint64_t>(primary_));
  world_.events.after<&Database::return_old_primary>(random.between(1, 8) * kSecond, *this, 0);
}

void Database::fence_old_primary(uint64_t) {
  const int old_index = 1 - primary_;
  if (is_old_back_) return;
  world_.trace("the old primary is ended");
  servers_[static_cast<size_t>(old_index)].is_up = false;
  for (size_t i = 0; i < backend_count_; ++i) {
    if (backends_[i]->server == old_index) die(*backends_[i], "the old primary's end");
  }
}

// It was never told that it is not the primary any more, and asks no standby. Who has not seen the new one has no way
// to know; so it comes when all have.
void Database::return_old_primary(uint64_t) {
  const Server& now = primary();
  if (!std::ranges::all_of(links_, [&](const ReplicaLink& link) { return link.newest_timeline == now.timeline; }))
    return;
  world_.inject(Injected::kOldPrimaryBack);
  const int old_index = 1 - primary_;
  Server& old = servers_[static_cast<size_t>(old_index)];
  for (size_t i = 0; i < backend_count_; ++i) {
    if (backends_[i]->server == old_index) die(*backends_[i], "the old primary's restart");
  }
  old.books = old.books.copy();
  old.is_up = is_old_back_ = true;
  old.is_synchronous = false;
  old.waiting.clear();
}

void Database::begin_pooling(uint64_t) {
  world_.inject(Injected::kPooled);
  pooled_until_ns_ = world_.clock.now_ns() + world_.random.between(10, 5000) * kMilli;
}

void Database::cut(uint64_t replica) {
  world_.inject(Injected::kNetworkCut);
  Random& random = world_.random;
  const int64_t for_ns = random.chance(200) ? random.between(1, 15) * kSecond : random.between(1, 400) * kMilli;
  links_[replica].cut_until_ns = world_.clock.now_ns() + for_ns;
  for (size_t i = 0; i < backend_count_; ++i) {
    Backend& backend = *backends_[i];
    if (!backend.is_alive || backend.client == nullptr || backend.client->replica() != static_cast<int>(replica))
      continue;
    backend.is_mute = true;
    backend.is_half_open = random.chance(400);
    world_.events.after<&Database::notice_disconnect>(
        backend.is_half_open ? kIdleInTransactionNs : random.below(20) * kMilli, *this, i);
    world_.events.after<&SimulatedLaneStore::lose>(random.chance(200) ? kCommandTimeoutNs : random.below(50) * kMilli,
                                                   *backend.client, backend.client->connection());
  }
}

void Database::freeze_replica(uint64_t replica) {
  world_.inject(Injected::kReplicaFrozen);
  Random& random = world_.random;
  const int64_t for_ns = random.chance(600) ? random.between(5100, 9000) * kMilli : random.between(1, 4000) * kMilli;
  links_[replica].frozen_until_ns = world_.clock.now_ns() + for_ns;
  for (size_t i = 0; i < backend_count_; ++i) {
    const Backend& backend = *backends_[i];
    if (backend.is_alive && backend.in_transaction && backend.client != nullptr &&
        backend.client->replica() == static_cast<int>(replica))
      world_.events.after<&Database::end_idle>(kIdleInTransactionNs, *this, pack(backend.index, backend.activity));
  }
}

void Database::end_idle(uint64_t packed) {
  Backend& backend = *backends_[packed & 0xffff];
  if (!backend.is_alive || !backend.in_transaction || backend.activity != packed >> 16 || backend.waits_for >= 0)
    return;
  world_.inject(Injected::kIdleInTransaction);
  die(backend, "idle in transaction");
}

void Database::kill(uint64_t) {
  if (backend_count_ == 0) return;
  Backend& backend = *backends_[world_.random.index(backend_count_)];
  if (!backend.is_alive || backend.is_frozen) return;
  world_.inject(Injected::kBackendKilled);
  die(backend, "an operator");
}

void Database::lose_idle(uint64_t) {
  if (backend_count_ == 0) return;
  Backend& backend = *backends_[world_.random.index(backend_count_)];
  if (!backend.is_alive || backend.is_frozen || backend.in_transaction || backend.client == nullptr ||
      backend.client->is_waiting())
    return;
  // Its client may hear of it at once, or by the next request.
  backend.is_mute = world_.random.chance(500);
  die(backend, "an idle connection's death");
}

void Database::step_clock(uint64_t) {
  world_.inject(Injected::kClockStepped);
  has_stepped_ = true;
  wall_offset_us_ += world_.random.between(-40, 40) * 3600 * 1'000'000;
}

// ---- Connections

int Database::connect(SimulatedLaneStore& client, bool passes_over_old) {
  if (backend_count_ == backends_.size()) backends_.push_back(std::make_unique<Backend>());
  const auto index = static_cast<int>(backend_count_++);
  Backend& backend = *backends_[static_cast<size_t>(index)];
  backend.index = index;
  backend.server = primary_;
  if (is_old_back_ && !passes_over_old && (!primary().is_up || world_.random.chance(500)))
    backend.server = 1 - primary_;
  backend.client = &client;
  backend.is_alive = true;
  backend.in_transaction = backend.has_failed = backend.is_frozen = backend.is_terminated = backend.is_mute =
      backend.is_half_open = false;
  backend.refuse_with = backend.spoilt_with = nullptr;
  backend.waits_for_standby = false;
  backend.rows.clear();
  backend.keys.clear();
  backend.waits_for = -1;
  backend.id_blocks.clear();
  // Process ids are few and come again, as soon as they are free.
  int32_t pid = 100;
  const auto is_taken = [&] {
    return std::any_of(backends_.begin(), backends_.begin() + index,
                       [&](const auto& other) { return other->is_alive && other->id.pid == pid; });
  };
  while (is_taken()) ++pid;
  backend.id = {.pid = pid, .start_us = 1'000 + index};
  world_.trace("replica ", client.replica(), " connects: backend ", index, " pid ", pid);
  return index;
}

uint32_t Database::timeline_of(int backend) const {
  return servers_[static_cast<size_t>(backends_[static_cast<size_t>(backend)]->server)].timeline;
}

// Another client's session, which then has ours.
void Database::swap_session(SimulatedLaneStore& client) {
  if (!is_pooled() || !world_.random.chance(500)) return;
  Backend& mine = backend(client.backend_index());
  for (SimulatedLaneStore* other : stores_) {
    if (other == &client || !other->is_open() || other->is_in_exchange()) continue;
    Backend& theirs = backend(other->backend_index());
    if (!mine.is_alive || !theirs.is_alive || theirs.in_transaction || mine.is_mute || theirs.is_mute ||
        mine.server != theirs.server)
      continue;
    world_.inject(Injected::kSessionSwapped);
    std::swap(mine.client, theirs.client);
    std::swap(mine.id_blocks, theirs.id_blocks);  // which lanes know, not sessions
    client.swap_backend(*other);
    return;
  }
}

void Database::disconnect(int index, int64_t notice_ns) {
  Backend& backend = *backends_[static_cast<size_t>(index)];
  backend.client = nullptr;
  if (!backend.is_alive) return;
  backend.is_mute = true;
  world_.events.after<&Database::notice_disconnect>(backend.is_half_open ? kIdleInTransactionNs : notice_ns, *this,
                                                    static_cast<uint64_t>(index));
}

void Database::notice_disconnect(uint64_t index) {
  Backend& backend = *backends_[index];
  // One that is stopped finds its request before the end of the stream; one that waits for a standby looks at nothing.
  if (!backend.is_frozen && !backend.waits_for_standby) die(backend, "its client's disconnection");
}

void Database::end_terminated(uint64_t index) { die(*backends_[index], "pg_terminate_backend"); }

void Database::die(Backend& backend, const char* why) {
  if (!backend.is_alive) return;
  world_.trace("backend ", backend.index, " dies of ", why);
  backend.is_alive = false;
  backend.is_frozen = false;
  leave_queue(backend);
  // What it waits for confirms that others have it; it is in this server's log already.
  if (std::exchange(backend.waits_for_standby, false) && backend.request.step == Step::kWrite) {
    commit(backend);
    world_.inject(Injected::kCommittedUnheard);
  }
  end_transaction(backend);
  if (backend.client != nullptr && !backend.is_mute)
    world_.events.after<&SimulatedLaneStore::lose>(latency_ns(), *backend.client, backend.client->connection());
}

// ---- Requests

void Database::send(Backend& backend) {
  Random& random = world_.random;
  SimulatedLaneStore& client = *backend.client;
  const auto index = static_cast<uint64_t>(backend.index);
  const Step step = backend.request.step;
  const auto lose_after = [&](int64_t delay_ns) {
    world_.events.after<&SimulatedLaneStore::lose>(delay_ns, client, client.connection());
  };
  // A process that is stopped sends nothing either.
  const int64_t stopped_ns = std::max<int64_t>(link(client.replica()).frozen_until_ns - world_.clock.now_ns(), 0);
  const int64_t arrival_ns = stopped_ns + latency_ns();
  backend.refuse_with = nullptr;
  world_.trace("replica ", client.replica(), " sends ", kStepNames[static_cast<size_t>(step)], " to backend ",
               backend.index);

  int64_t roll = random.below(1000);
  const auto drawn = [&](int per_mille) {
    roll -= per_mille;
    return roll < 0 && roll >= -per_mille;
  };
  const int64_t heard_ns = random.chance(80) ? kCommandTimeoutNs : random.between(1, 60) * 100 * kMicro;
  if (!backend.is_alive || backend.is_mute) {
    lose_after(arrival_ns + heard_ns);
  } else if (drawn(plan_.lost_before) || !is_reachable(client.replica())) {
    world_.inject(Injected::kLostBefore);
    backend.is_mute = true;
    backend.is_half_open = random.chance(250);
    lose_after(heard_ns);
    world_.events.after<&Database::notice_disconnect>(
        backend.is_half_open ? kIdleInTransactionNs : random.below(30) * kMilli, *this, index);
  } else if (drawn(plan_.lost_after)) {
    world_.inject(Injected::kLostAfter);
    backend.is_mute = true;
    backend.is_half_open = random.chance(250);
    world_.events.after<&Database::arrive>(arrival_ns, *this, index);
    lose_after(arrival_ns + heard_ns);
    world_.events.after<&Database::notice_disconnect>(
        arrival_ns + (backend.is_half_open ? kIdleInTransactionNs : random.between(1, 30) * kMilli), *this, index);
  } else if (drawn(plan_.frozen)) {
    world_.inject(Injected::kFrozenBackend);
    backend.is_frozen = true;
    const int64_t thaw_ns = random.chance(150) ? random.between(1, 14) * kSecond : random.between(1, 150) * kMilli;
    if (thaw_ns > heard_ns) {
      backend.is_mute = true;
      lose_after(heard_ns);
    }
    world_.events.after<&Database::thaw>(thaw_ns, *this, index);
  } else {
    if (step != Step::kRollback && drawn(plan_.refused)) {
      const bool is_full = random.chance(300);
      world_.inject(is_full ? Injected::kRefusedDiskFull : Injected::kRefusedTransient);
      backend.refuse_with = is_full ? "53100" : kTransient[random.index(kTransient.size())];
    }
    world_.events.after<&Database::arrive>(arrival_ns, *this, index);
  }
}

void Database::thaw(uint64_t index) {
  Backend& backend = *backends_[index];
  if (!backend.is_alive) return;
  backend.is_frozen = false;
  // The signal is seen between two requests; one that is past that point is carried out first.
  if (backend.is_terminated && world_.random.chance(500)) {
    die(backend, "pg_terminate_backend, having been frozen");
    return;
  }
  const bool was_terminated = std::exchange(backend.is_terminated, false);
  const std::vector<int64_t>& log_ids = books_of(backend).log_ids;
  const size_t committed_before = log_ids.size();
  arrive(index);
  if (backend.is_mute && log_ids.size() != committed_before) world_.inject(Injected::kLateCommit);
  if (was_terminated) {
    die(backend, "pg_terminate_backend, having been frozen");
  } else if (backend.is_mute) {
    world_.events.after<&Database::notice_disconnect>(latency_ns(), *this, index);
  }
}

void Database::arrive(uint64_t index) {
  Backend& backend = *backends_[index];
  if (!backend.is_alive || backend.is_terminated) return;
  ++backend.activity;
  execute(backend);
}

void Database::execute(Backend& backend) {
  const Request& request = backend.request;
  world_.trace("backend ", backend.index, " executes ", kStepNames[static_cast<size_t>(request.step)],
               backend.is_mute ? " (nobody listens)" : "");
  backend.reply.status = StoreStatus::kOk;
  backend.reply.sqlstate = "";
  backend.reply.has_commit_tag = false;
  backend.reply.exchange = ExchangeStatus::kOk;
  const bool is_in_batch = request.step <= Step::kWrite;
  if (is_in_batch && backend.has_failed) world_.violate("a lane goes on with a transaction that has failed");
  if (request.step == Step::kClaim && backend.in_transaction) world_.violate("a lane begins a transaction in another");
  if (request.step == Step::kLock && !backend.rows.empty()) world_.violate("a lane locks twice in one transaction");
  if (request.step == Step::kWrite && !backend.in_transaction) world_.violate("a lane writes outside a transaction");
  if (request.step >= Step::kEndBackend && backend.in_transaction)
    world_.violate("a lane asks about a commit inside a transaction");
  if (request.step == Step::kConfirm && !backend.in_transaction) world_.violate("a lane confirms nothing");
  if (request.step == Step::kProbe && backend.in_transaction) world_.violate("a lane probes inside a transaction");
  if (is_in_batch || request.step == Step::kProbe) backend.in_transaction = true;
  if (backend.spoilt_with != nullptr && (is_in_batch || request.step == Step::kProbe))
    return fail(backend, backend.spoilt_with);
  if (backend.refuse_with != nullptr) return fail(backend, backend.refuse_with);
  switch (request.step) {
    case Step::kClaim:
      return execute_claim(backend);
    case Step::kLock:
      backend.next_row = 0;
      backend.reply.locked.accounts.clear();
      backend.reply.locked.held_up.clear();
      if (broken_ == Break::kReadBeforeLocking) {
        for (const int64_t number : request.account_numbers) {
          if (const Row* row = books_of(backend).find_row(number)) backend.reply.locked.accounts.push_back(row->state);
        }
      }
      return continue_lock(backend);
    case Step::kWrite:
      return execute_write(backend);
    case Step::kRollback:
    case Step::kProbe:
      end_transaction(backend);
      return answer(backend);
    case Step::kConfirm:
      end_transaction(backend);
      if (!waits_for_standby(backend)) answer(backend);
      return;
    case Step::kReserve:
      return execute_reserve(backend);
    case Step::kEndBackend:
      return execute_end_backend(backend);
    case Step::kFind:
      return execute_find(backend);
  }
}

void Database::fail(Backend& backend, const char* sqlstate) {
  world_.trace("backend ", backend.index, " fails with ", sqlstate);
  if (broken_ == Break::kFailureAcknowledged && backend.request.step == Step::kWrite) {
    backend.reply.has_commit_tag = true;
    end_transaction(backend);
    return answer(backend);
  }
  backend.reply.status = StoreStatus::kFailed;
  backend.reply.exchange = ExchangeStatus::kFailed;
  backend.reply.sqlstate = sqlstate;
  if (backend.in_transaction) {
    // The locks go at once, the transaction only when it is rolled back.
    end_transaction(backend);
    backend.in_transaction = backend.has_failed = true;
  }
  answer(backend);
}

void Database::answer(Backend& backend) {
  ++backend.activity;
  if (backend.client == nullptr || backend.is_mute) return;
  world_.events.after<&SimulatedLaneStore::receive>(latency_ns(), *backend.client, backend.exchange);
  if (backend.in_transaction && link(backend.client->replica()).frozen_until_ns > world_.clock.now_ns())
    world_.events.after<&Database::end_idle>(kIdleInTransactionNs, *this, pack(backend.index, backend.activity));
}

void Database::execute_claim(Backend& backend) {
  std::vector<Claim>& claims = backend.reply.claims;
  claims.resize(backend.request.keys.size());
  for (size_t i = 0; i < claims.size(); ++i) {
    const int index = backend.request.keys[i];
    KeyRow& key = books_of(backend).keys[static_cast<size_t>(index)];
    Claim& claim = claims[i];
    claim.kind = Claim::Kind::kNew;
    if (broken_ == Break::kNoClaims) continue;
    if (key.holder < 0) {
      key.holder = backend.index;
      backend.keys.push_back(index);
    } else if (key.holder != backend.index) {
      claim.kind = Claim::Kind::kInFlight;
    }
    if (key.is_stored) {
      claim.kind = Claim::Kind::kUsed;
      claim.fingerprint = key.fingerprint;
      claim.answer = key.answer;
    }
  }
  answer(backend);
}

void Database::continue_lock(Backend& backend) {
  const Request& request = backend.request;
  Reply& reply = backend.reply;
  Books& books = books_of(backend);
  for (; backend.next_row < request.account_numbers.size(); ++backend.next_row) {
    Row* row = books.find_row(request.account_numbers[backend.next_row]);
    if (row == nullptr) continue;
    const auto index = static_cast<int>(row - books.rows.data());
    if (row->holder != backend.index && broken_ != Break::kNoRowLocks) {
      if (row->holder != kNobody && request.wait == LockWait::kNone) {
        reply.locked.held_up.push_back(
            {.account_number = row->state.account_number, .by_outsider = row->holder == kOperator});
        continue;
      }
      if (row->holder != kNobody) {
        row->waiting.push_back(backend.index);
        backend.waits_for = index;
        world_.trace("backend ", backend.index, " waits for account ", index + 1, " held by ", row->holder);
        if (is_deadlocked(backend)) world_.violate("lanes are deadlocked");
        world_.events.after<&Database::time_out_lock>(request.wait == LockWait::kLong ? kLongWaitNs : kShortWaitNs,
                                                      *this, pack(backend.index, ++backend.wait_number));
        return;
      }
      row->holder = backend.index;
      backend.rows.push_back(index);
    }
    // The newest committed version of the row, now that it is ours.
    if (broken_ != Break::kReadBeforeLocking) reply.locked.accounts.push_back(row->state);
  }
  reply.locked.now_us = wall_us();
  if (request.wants_ids) {
    reply.locked.id_block = books.next_block++;
    backend.id_blocks.push_back(reply.locked.id_block);
  }
  reply.locked.limits = limits_;
  answer(backend);
}

void Database::time_out_lock(uint64_t packed) {
  Backend& backend = *backends_[packed & 0xffff];
  if (!backend.is_alive || backend.waits_for < 0 || backend.wait_number != packed >> 16) return;
  world_.inject(Injected::kLockTimeout);
  leave_queue(backend);
  fail(backend, "55P03");
}

void Database::leave_queue(Backend& backend) {
  if (backend.waits_for < 0) return;
  std::erase(books_of(backend).rows[static_cast<size_t>(backend.waits_for)].waiting, backend.index);
  backend.waits_for = -1;
}

bool Database::is_deadlocked(const Backend& backend) const {
  const Backend* other = &backend;
  do {
    const Books& books = servers_[static_cast<size_t>(other->server)].books;
    const int holder = books.rows[static_cast<size_t>(other->waits_for)].holder;
    if (holder == kOperator) return false;
    other = backends_[static_cast<size_t>(holder)].get();
  } while (other->waits_for >= 0 && other != &backend);
  return other == &backend;
}

// Lets go of everything and lets those who wait go on.
void Database::end_transaction(Backend& backend) {
  backend.in_transaction = backend.has_failed = false;
  Books& books = books_of(backend);
  for (const int key : backend.keys) books.keys[static_cast<size_t>(key)].holder = kNobody;
  backend.keys.clear();
  for (const int index : std::exchange(backend.rows, {})) {
    Row& row = books.rows[static_cast<size_t>(index)];
    row.holder = kNobody;
    give_row(row);
  }
}

void Database::give_row(Row& row) {
  if (row.waiting.empty()) return;
  Backend& next = *backends_[static_cast<size_t>(row.waiting.front())];
  row.waiting.erase(row.waiting.begin());
  next.waits_for = -1;
  continue_lock(next);
}

void Database::execute_reserve(Backend& backend) {
  Books& books = books_of(backend);
  backend.reply.locked.id_block = books.next_block++;
  books.durable_block = books.next_block;
  backend.id_blocks.push_back(backend.reply.locked.id_block);
  answer(backend);
}

void Database::execute_write(Backend& backend) {
  const char* refusal = refusal_of_write(backend);
  if (refusal != nullptr) {
    world_.inject(Injected::kRefusedData);
    return fail(backend, refusal);
  }
  check_write(backend);
  Books& books = books_of(backend);
  books.durable_block = books.next_block;
  if (!backend.is_mute && world_.random.chance(plan_.unconfirmed)) {
    world_.inject(Injected::kUnconfirmed);
    backend.reply.status = StoreStatus::kUnconfirmed;
  } else if (waits_for_standby(backend)) {
    return;
  }
  acknowledge_write(backend);
}

// Whether the answer has to wait for the standby. What this server has is on the standby otherwise.
bool Database::waits_for_standby(Backend& backend) {
  Server& server = server_of(backend);
  if (!server.is_synchronous) return false;
  if (server.stalled_until_ns <= world_.clock.now_ns()) {
    if (backend.request.step != Step::kWrite) server.standby = server.books.copy();
    return false;
  }
  world_.trace("backend ", backend.index, " waits for the standby");
  backend.waits_for_standby = true;
  server.waiting.push_back(backend.index);
  world_.events.after<&Database::time_out_wait>(
      backend.request.step == Step::kWrite ? kCommandTimeoutNs : kQuestionTimeoutNs, *this,
      pack(backend.index, ++backend.wait_number));
  return true;
}

// The client's patience, not the server's.
void Database::time_out_wait(uint64_t packed) {
  Backend& backend = *backends_[packed & 0xffff];
  if (!backend.is_alive || !backend.waits_for_standby || backend.wait_number != packed >> 16) return;
  if (backend.client != nullptr && !backend.is_mute) backend.client->lose(backend.client->connection());
}

void Database::end_wait(Backend& backend) {
  backend.waits_for_standby = false;
  if (backend.request.step == Step::kWrite) {
    acknowledge_write(backend);
  } else {
    answer(backend);
  }
  if (backend.client == nullptr) die(backend, "its client's disconnection, noticed at last");
}

void Database::acknowledge_write(Backend& backend) {
  commit(backend);
  Server& server = server_of(backend);
  if (server.is_synchronous && backend.reply.status == StoreStatus::kOk) server.standby = server.books.copy();
  if (backend.is_mute) world_.inject(Injected::kCommittedUnheard);
  end_transaction(backend);
  backend.reply.has_commit_tag = true;
  if (!backend.is_mute && backend.reply.status == StoreStatus::kOk && world_.random.chance(plan_.commit_errors)) {
    world_.inject(Injected::kErrorBehindCommit);
    backend.reply.exchange = world_.random.chance(500) ? ExchangeStatus::kFailed : ExchangeStatus::kLost;
  }
  answer(backend);
}

const char* Database::refusal_of_write(const Backend& backend) const {
  const Request& request = backend.request;
  const std::vector<KeyRow>& keys = servers_[static_cast<size_t>(backend.server)].books.keys;
  for (const Request::NewRow& row : request.log) {
    if (row.is_poison) return "23514";
  }
  for (size_t i = 0; i < request.answers.size(); ++i) {
    const int key = request.answers[i].key;
    if (keys[static_cast<size_t>(key)].is_stored && broken_ != Break::kNoClaims) return "23505";
    for (size_t j = 0; j < i; ++j) {
      if (request.answers[j].key == key) return "23505";
    }
  }
  return nullptr;
}

void Database::check_write(const Backend& backend) {
  const Request& request = backend.request;
  Books& books = books_of(backend);
  if (request.log.empty() && request.answers.empty() && request.pins.empty()) world_.violate("a lane writes nothing");
  for (const std::vector<AccountState>* written : {&request.accounts, &request.pins}) {
    for (const AccountState& account : *written) {
      const Row* row = books.find_row(account.account_number);
      if (row == nullptr || (row->holder != backend.index && broken_ != Break::kNoRowLocks))
        world_.violate(concat("account ", account.account_number, " is written without its lock"));
      if (row != nullptr && row->state.is_unreadable)
        world_.violate(concat("account ", account.account_number, " is written though it cannot be read"));
    }
  }
  for (const Request::NewAnswer& answer : request.answers) {
    if (books.keys[static_cast<size_t>(answer.key)].holder != backend.index && broken_ != Break::kNoClaims)
      world_.violate(concat("an answer is kept under key ", answer.key, " without a claim"));
    if (answer.answer.status == 0) world_.violate("an empty answer is kept");
  }
  for (const Request::NewRow& row : request.log) {
    if (std::ranges::find(books.log_ids, row.id) != books.log_ids.end())
      world_.violate(concat("log id ", row.id, " used twice"));
    const int64_t block = row.entry.transaction_id / kIdsPerBlock;
    if (std::ranges::find(backend.id_blocks, block) == backend.id_blocks.end())
      world_.violate(concat("transaction id ", row.entry.transaction_id, " is not of the backend's blocks"));
    if (block >= books.durable_block)
      world_.violate(concat("transaction id ", row.entry.transaction_id, " is of a block that a crash would forget"));
  }
}

void Database::commit(Backend& backend) {
  const Request& request = backend.request;
  Books& books = books_of(backend);
  ++world_.counts.commits;
  commit_pins(books, request);
  for (const Request::NewRow& added : request.log) {
    const LogEntry& entry = added.entry;
    Row* row = books.find_row(added.account_number);
    if (row == nullptr) return world_.violate("a log row of an account that does not exist");
    AccountState& state = row->state;
    state.balance = entry.direction == Direction::kCredit ? state.balance + entry.amount : state.balance - entry.amount;
    state.log_seq += 1;
    if (entry.seq != state.log_seq)
      world_.violate(concat("account ", added.account_number, ": seq ", entry.seq, " after ", state.log_seq - 1));
    if (entry.balance_after != state.balance)
      world_.violate(concat("account ", added.account_number, ": balance_after does not follow from the row before"));
    if (state.balance < Money() || state.balance > kMaxBalance)
      world_.violate(concat("account ", added.account_number, ": balance out of range"));
    const bool is_first_leg = (added.id & 1) == 0;
    if (is_first_leg) {
      const auto attempt = static_cast<size_t>(entry.attempt);
      if (attempt >= books.committed.size()) books.committed.resize(attempt + 1);
      if (++books.committed[attempt] > 1) world_.violate(concat("attempt ", entry.attempt, " is in the books twice"));
      world_.trace("committed: attempt ", entry.attempt);
    }
    if (is_first_leg && entry.type == OperationType::kTransfer) {
      const DailyUsage usage = daily_usage(state, entry.created_us);
      state.usage_day = usage.day;
      state.usage_amount = usage.amount + entry.amount;
      state.usage_count = usage.count + 1;
      const TransferLimit& limit = limits_[static_cast<size_t>(state.privilege)];
      if (state.usage_amount > limit.daily_amount || state.usage_count > limit.daily_count)
        world_.violate(concat("account ", added.account_number, ": a daily limit is exceeded"));
    }
    books.log_ids.push_back(added.id);
    row->log.push_back(entry);
    row->log.back().committed_ns = world_.clock.now_ns();
    row->log.back().is_unconfirmed = backend.reply.status == StoreStatus::kUnconfirmed;
  }
  for (const AccountState& written : request.accounts) {
    const AccountState& expected = books.find_row(written.account_number)->state;
    if (written.balance != expected.balance || written.log_seq != expected.log_seq ||
        (request.has_usage &&
         (written.usage_day != expected.usage_day || written.usage_amount != expected.usage_amount ||
          written.usage_count != expected.usage_count)))
      world_.violate(concat("account ", written.account_number, ": the row written is not what its log rows make it"));
  }
  for (const Request::NewRow& added : request.log) {
    const bool is_written = std::ranges::any_of(
        request.accounts, [&](const AccountState& account) { return account.account_number == added.account_number; });
    if (!is_written) world_.violate(concat("account ", added.account_number, " has a log row but was not written"));
    if (added.entry.type == OperationType::kTransfer && (added.id & 1) == 0 && !request.has_usage)
      world_.violate("a transfer without its usage");
  }
  for (const Request::NewAnswer& answer : request.answers) {
    KeyRow& key = books.keys[static_cast<size_t>(answer.key)];
    if (key.is_stored) world_.violate(concat("key ", answer.key, " is kept twice"));
    key.is_stored = true;
    key.fingerprint = answer.fingerprint;
    key.answer = answer.answer;
    key.attempt = answer.attempt;
    key.kept_us = request.now_us;
    world_.trace("kept under key ", answer.key, ": attempt ", answer.attempt);
  }
}

// Follows every PIN that the rules looked at, one by one, and holds what the lane writes against what that comes to.
void Database::commit_pins(Books& books, const Request& request) {
  for (const PinEvent& event : request.pin_events) {
    AccountState& state = books.find_row(event.account_number)->state;
    const bool is_locked = state.pin_locked_until_us > request.now_us;
    if (is_locked != (event.kind == PinEvent::Kind::kLocked))
      world_.violate(
          concat("account ", event.account_number,
                 is_locked ? ": a PIN was looked at while it was locked" : ": said to be locked, and is not"));
    if (is_locked) continue;
    if (std::exchange(state.pin_locked_until_us, 0) != 0) state.pin_failures = 0;
    if (event.kind == PinEvent::Kind::kRight) {
      state.pin_failures = 0;
      continue;
    }
    const auto attempt = static_cast<size_t>(event.attempt);
    if (attempt >= books.wrong_pins.size()) books.wrong_pins.resize(attempt + 1);
    ++books.wrong_pins[attempt];
    world_.inject(Injected::kWrongPin);
    if (++state.pin_failures < kPinFailuresMax) continue;
    state.pin_locked_until_us = request.now_us + kPinLockUs;
    world_.inject(Injected::kPinLocked);
  }
  for (const AccountState& written : request.pins) {
    const AccountState& expected = books.find_row(written.account_number)->state;
    if (written.pin_failures != expected.pin_failures || written.pin_locked_until_us != expected.pin_locked_until_us)
      world_.violate(concat("account ", written.account_number, ": its PIN's state is not what was tried makes it"));
  }
  for (const PinEvent& event : request.pin_events) {
    const bool is_written =
        std::ranges::find(request.pins, event.account_number, &AccountState::account_number) != request.pins.end();
    if (event.kind == PinEvent::Kind::kWrong && !is_written)
      world_.violate(concat("account ", event.account_number, ": a wrong PIN was not written"));
  }
}

void Database::execute_end_backend(Backend& backend) {
  const BackendId target = backend.request.target;
  backend.reply.flag = true;
  for (size_t i = 0; i < backend_count_; ++i) {
    Backend& old = *backends_[i];
    if (!old.is_alive || old.server != backend.server || old.id.pid != target.pid || old.id.start_us != target.start_us)
      continue;
    if (broken_ == Break::kGoneTooEarly) break;
    backend.reply.flag = false;
    if (!std::exchange(old.is_terminated, true) && !old.is_frozen)
      world_.events.after<&Database::end_terminated>(world_.random.between(1, 300) * 100 * kMicro, *this, i);
  }
  answer(backend);
}

void Database::execute_find(Backend& backend) {
  const Request& request = backend.request;
  const Books& books = books_of(backend);
  bool found = false;
  if (request.marker_row.id != 0) {
    const LogEntry& sought = request.marker_row.entry;
    const Row& row = books.rows[static_cast<size_t>(request.marker_row.account_number - 1)];
    const bool is_there = std::ranges::find(books.log_ids, request.marker_row.id) != books.log_ids.end();
    const bool is_same = std::ranges::any_of(row.log, [&](const LogEntry& entry) {
      return entry.transaction_id == request.marker_row.id / 2 && entry.seq == sought.seq &&
             entry.created_us == sought.created_us && entry.amount == sought.amount &&
             entry.balance_after == sought.balance_after;
    });
    found = is_there && (is_same || broken_ == Break::kFindsById);
  } else {
    const KeyRow& key = books.keys[static_cast<size_t>(request.marker_key)];
    found = key.is_stored && key.answer.body == request.marker_body && key.kept_us == request.marker_us;
  }
  backend.reply.flag = found && broken_ != Break::kFindForgets;
  if (!waits_for_standby(backend)) answer(backend);
}

}  // namespace txn::simulation
