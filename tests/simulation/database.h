// A database for lanes, in memory: as much of PostgreSQL as the ledger relies on, failing wherever a schedule likes.
//
// Backends execute one request at a time. Row locks are taken one after the other, waited for in the order of asking
// and held to the end of the transaction; key claims never wait; a transaction becomes visible as a whole when it
// commits; an error ends a transaction and its locks at once, but it has to be rolled back before the backend does
// anything else. What the lanes may not do (write without a lock, skip a seq, commit a key twice ...) is a violation
// here and now, not only when the books are audited.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "db/lane_store.h"
#include "db/pg_connection.h"
#include "tests/simulation/world.h"

namespace txn::simulation {

class SimulatedLaneStore;

// Bugs of the simulated database, to see that the checks find what they are there for.
enum class Break : uint8_t {
  kNone,
  kGoneTooEarly,         // end_backend says "gone" of a backend that is still there
  kFindForgets,          // find never finds anything
  kFailureAcknowledged,  // a write that failed is acknowledged
  kNoRowLocks,           // locks are granted to everybody
  kNoClaims,             // so are keys, and their uniqueness is not enforced
  kReadBeforeLocking,    // the rows are read before their locks are waited for
  kFindsById,            // find takes any row with the marker's id for it
  kCommitErrorRefuses,   // an error behind COMMIT's result makes the exchange a failure
  kAcceptsForeigners,    // what runs in another session than its own is not told so
  kAcceptsOlderTimeline  // a replica does not remember which primary is the newest
};

// How often what goes wrong, by thousand requests or schedules.
struct FaultPlan {
  int refused = 0;
  int lost_before = 0;
  int lost_after = 0;
  int frozen = 0;
  int unconfirmed = 0;
  int connect_fails = 0;
  int crashes = 0;
  int cuts = 0;
  int replica_freezes = 0;
  int kills = 0;
  int idle_losses = 0;
  int clock_steps = 0;
  int commit_errors = 0;   // behind COMMIT's own result
  int spoilt = 0;          // sessions
  int row_locks = 0;       // by an operator
  int row_changes = 0;     // by an operator
  int standby_stalls = 0;  // these two only where there is a standby
  int promotions = 0;
  int poolers = 0;
};

// One process with its lanes' connections, as the database and the network see it.
struct ReplicaLink {
  int64_t frozen_until_ns = 0;  // the process is stopped: it hears and says nothing
  int64_t cut_until_ns = 0;
  uint32_t newest_timeline = 0;     // that it has seen
  bool has_met_foreigners = false;  // has found itself in somebody else's session
};

struct LogEntry {
  int64_t transaction_id = 0;
  int attempt = 0;
  OperationType type = OperationType::kDeposit;
  Direction direction = Direction::kCredit;
  int64_t counterparty = 0;
  Money amount;
  Money balance_after;
  int64_t seq = 0;
  int64_t created_us = 0;
  int64_t committed_ns = 0;     // simulated time
  bool is_unconfirmed = false;  // by the standbys, and the client has been warned
};

inline constexpr int kNobody = -1;
inline constexpr int kOperator = -2;  // somebody in psql

struct Row {
  AccountState state;
  Money opening;
  int holder = kNobody;      // index of a backend, or the operator
  bool was_toggled = false;  // is_active, by the operator
  bool was_unreadable = false;
  bool was_locked = false;  // by the operator
  std::vector<int> waiting;
  std::vector<LogEntry> log;
};

struct KeyRow {
  bool is_stored = false;
  Fingerprint fingerprint{};
  StoredAnswer answer;
  int attempt = 0;  // whose answer it is
  int64_t kept_us = 0;
  int holder = kNobody;
};

// What a server has on its disk.
struct Books {
  std::vector<Row> rows;  // account n at n - 1
  std::vector<KeyRow> keys;
  std::vector<int64_t> log_ids;
  std::vector<int> committed;   // by attempt
  std::vector<int> wrong_pins;  // by attempt
  int64_t next_block = 1;
  int64_t durable_block = 1;  // what next_block falls back to when the server crashes

  Row* find_row(int64_t account_number);
  int committed_by(int attempt) const;
  // As another server has them: without locks and claims.
  Books copy() const;
};

// A primary, and the standby that its commits wait for.
struct Server {
  Books books;
  uint32_t timeline = 1;
  bool is_up = true;
  bool is_synchronous = false;
  Books standby;                  // is_synchronous: what the standby has confirmed
  int64_t stalled_until_ns = 0;   // the standby confirms nothing
  std::vector<int> waiting = {};  // backends that have written their COMMIT and wait for the standby
};

enum class Step : uint8_t { kClaim, kLock, kWrite, kRollback, kConfirm, kProbe, kEndBackend, kFind, kReserve };

// A request as it travels: nothing in it points into the lane, which may have given up on it long ago.
struct Request {
  struct NewAnswer {
    int key = 0;
    int attempt = 0;
    Fingerprint fingerprint{};
    StoredAnswer answer;
  };
  struct NewRow {
    LogEntry entry;
    int64_t account_number = 0;
    int64_t id = 0;
    bool is_poison = false;
  };
  Step step = Step::kClaim;
  std::vector<int64_t> account_numbers;
  bool wants_ids = false;
  bool wants_limits = false;
  LockWait wait = LockWait::kShort;
  std::vector<int> keys;
  std::vector<AccountState> accounts;
  std::vector<AccountState> pins;  // only what is known of their PINs is written
  std::vector<PinEvent> pin_events;
  std::vector<NewRow> log;
  std::vector<NewAnswer> answers;
  bool has_usage = false;
  int64_t now_us = 0;
  BackendId target;
  // kFind
  NewRow marker_row;  // id 0: none
  int marker_key = -1;
  std::string marker_body;
  int64_t marker_us = 0;
};

struct Reply {
  StoreStatus status = StoreStatus::kOk;
  const char* sqlstate = "";
  std::vector<Claim> claims;
  Locked locked;
  bool flag = false;  // gone, found
  // kWrite: COMMIT's own result has come, whatever has come behind it.
  bool has_commit_tag = false;
  ExchangeStatus exchange = ExchangeStatus::kOk;
};

struct Backend {
  int index = 0;
  int server = 0;
  BackendId id;
  SimulatedLaneStore* client = nullptr;  // unset: nobody listens
  uint64_t exchange = 0;                 // of the client: which request the reply belongs to
  bool is_alive = false;
  bool in_transaction = false;
  bool has_failed = false;  // the transaction, which has to be rolled back
  bool is_frozen = false;
  bool is_terminated = false;  // asked to end; a frozen one has not noticed yet
  bool is_half_open = false;   // learns late that its client has gone
  uint64_t activity = 0;
  const char* refuse_with = nullptr;  // SQLSTATE for the request in hand
  const char* spoilt_with = nullptr;  // for every request from now on
  bool waits_for_standby = false;
  bool is_mute = false;   // the way back to its client is gone
  std::vector<int> rows;  // locked
  std::vector<int> keys;  // claimed
  int waits_for = -1;     // row
  uint64_t wait_number = 0;
  size_t next_row = 0;  // of the lock request
  std::vector<int64_t> id_blocks;
  Request request;
  Reply reply;
};

class Database {
 public:
  explicit Database(World& world) : world_(world) {}

  void reset(Break broken, int replicas, bool is_synchronous);
  void add_account(const AccountState& state);
  // The database's own clock, microseconds since 1970-01-01 UTC.
  void set_wall_us(int64_t us) { wall_offset_us_ = us - world_.clock.now_ns() / 1000; }
  int64_t wall_us() const { return wall_offset_us_ + world_.clock.now_ns() / 1000; }

  // Plans crashes, cuts and the like for the next `span_ns`.
  void plan_events(int64_t span_ns);
  // What goes wrong from now on, besides what has begun.
  void set_faults(const FaultPlan& plan) { plan_ = plan; }

  // For the stores.
  void add_store(SimulatedLaneStore& store) { stores_.push_back(&store); }
  const FaultPlan& plan() const { return plan_; }
  Break broken() const { return broken_; }
  bool is_reachable(int replica) const;
  ReplicaLink& link(int replica) { return links_[static_cast<size_t>(replica)]; }
  bool is_pooled() const { return pooled_until_ns_ > world_.clock.now_ns(); }
  // To the first of its hosts that answers; `passes_over_old`: to the primary, if that is up.
  int connect(SimulatedLaneStore& client, bool passes_over_old = false);
  bool is_primary_up() const { return primary().is_up; }
  uint32_t timeline_of(int backend) const;
  // Behind a transaction pooler: another session for what comes next, maybe.
  void swap_session(SimulatedLaneStore& client);
  Backend& backend(int index) { return *backends_[static_cast<size_t>(index)]; }
  // The client's end is closed; the backend learns it after `notice_ns`.
  void disconnect(int backend, int64_t notice_ns);
  // Sends the backend's `request`, to succeed or fail as the schedule has it.
  void send(Backend& backend);

  // The books of the present primary, for the audit.
  std::vector<Row>& rows() { return primary().books.rows; }
  const KeyRow& key(int key) const { return primary().books.keys[static_cast<size_t>(key)]; }
  // How many transactions that attempt has in the log.
  int committed(int attempt) const { return primary().books.committed_by(attempt); }
  // Whether it would be there after a failover.
  bool is_confirmed(int attempt) const;
  bool is_key_confirmed(int key) const;
  // How often that attempt's PIN has been counted as a wrong one.
  int wrong_pins(int attempt) const;
  const TransferLimits& limits() const { return limits_; }
  bool has_live_transaction() const;
  bool has_stepped() const { return has_stepped_; }
  bool has_promoted() const { return has_promoted_; }
  // The lane has heard that the standbys may not have what `request` wrote.
  void hear_unconfirmed(const Request& request);
  bool is_heard_unconfirmed(int attempt) const;

 private:
  void arrive(uint64_t backend);
  void thaw(uint64_t backend);
  void notice_disconnect(uint64_t backend);
  void end_terminated(uint64_t backend);
  void end_idle(uint64_t packed);
  void time_out_lock(uint64_t packed);
  void crash(uint64_t);
  void restart(uint64_t);
  void cut(uint64_t replica);
  void freeze_replica(uint64_t replica);
  void kill(uint64_t);
  void lose_idle(uint64_t);
  void step_clock(uint64_t);
  void spoil(uint64_t);
  void lock_row(uint64_t row);
  void unlock_row(uint64_t row);
  void change_row(uint64_t row);
  void stall_standby(uint64_t);
  void end_stall(uint64_t server);
  void promote(uint64_t);
  void fence_old_primary(uint64_t);
  void return_old_primary(uint64_t);
  void begin_pooling(uint64_t);
  void time_out_wait(uint64_t packed);

  void execute(Backend& backend);
  void execute_claim(Backend& backend);
  void continue_lock(Backend& backend);
  void execute_write(Backend& backend);
  const char* refusal_of_write(const Backend& backend) const;
  void check_write(const Backend& backend);
  void commit(Backend& backend);
  void commit_pins(Books& books, const Request& request);
  void execute_end_backend(Backend& backend);
  void execute_find(Backend& backend);
  void execute_reserve(Backend& backend);
  bool waits_for_standby(Backend& backend);
  void end_wait(Backend& backend);
  void acknowledge_write(Backend& backend);
  void fail(Backend& backend, const char* sqlstate);
  void answer(Backend& backend);
  void end_transaction(Backend& backend);
  void die(Backend& backend, const char* why);
  void leave_queue(Backend& backend);
  bool is_deadlocked(const Backend& backend) const;
  void give_row(Row& row);
  Server& primary() { return servers_[static_cast<size_t>(primary_)]; }
  const Server& primary() const { return servers_[static_cast<size_t>(primary_)]; }
  Server& server_of(const Backend& backend) { return servers_[static_cast<size_t>(backend.server)]; }
  Books& books_of(const Backend& backend) { return server_of(backend).books; }
  int64_t latency_ns() { return world_.random.between(1, 10) * 50 * kMicro; }

  World& world_;
  FaultPlan plan_;
  Break broken_ = Break::kNone;
  int64_t wall_offset_us_ = 0;
  bool has_stepped_ = false;  // the clock
  bool has_promoted_ = false;
  bool is_old_back_ = false;  // the primary of before the promotion, as it was
  int64_t pooled_until_ns_ = 0;
  std::vector<ReplicaLink> links_;
  std::array<Server, 2> servers_;
  int primary_ = 0;
  std::vector<int> heard_unconfirmed_;  // attempts
  TransferLimits limits_{};
  std::vector<std::unique_ptr<Backend>> backends_;  // those beyond backend_count_ are left from earlier schedules
  size_t backend_count_ = 0;
  std::vector<SimulatedLaneStore*> stores_;
};

// "k3" to 3.
int key_index(const IdempotentRequest& request);
inline constexpr int kKeys = 8;

}  // namespace txn::simulation
