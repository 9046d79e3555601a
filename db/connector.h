// Opens connections to PostgreSQL on a thread of its own, because most of it blocks: name resolution, reading password
// and certificate files, SCRAM's key stretching. A connection that it hands over is authenticated, in pipeline mode,
// non-blocking, has its session settings and all its statements prepared, and belongs to the receiving worker alone.
//
// It also decides which server a connection may go to. Each host and address of the conninfo is tried with a deadline
// of its own, the one that was good last time first. Passed over are standbys, a primary that has been replaced (a
// newer timeline of the same cluster has been seen), another cluster, one whose text is not UTF-8, and what pools
// sessions by transaction.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/blocking_thread.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "db/pg_dial.h"
#include "db/pg_result.h"
#include "db/pg_targets.h"
#include "db/statements.h"

namespace txn {

struct OpenedConnection {
  PgHandle handle;
  int32_t backend_pid = 0;
  int64_t backend_start_us = 0;  // with the pid: which backend this was, even after the pid is used again
  // Set in the session as transactions_service.session; nobody else has it (128 random bits, hex).
  std::string session_token;
  uint32_t timeline = 0;  // of the server's write-ahead log when the session began; 0: the role may not ask
};

// Lanes come first where there are not enough connections for all.
enum class ConnectionPurpose : uint8_t { kLane, kReader };

struct ConnectorOptions {
  std::string conninfo;  // libpq conninfo or URI
  // Asked before each attempt, on the connector's thread, for what to use instead: passwords change. Empty: `conninfo`.
  std::function<Result<std::string>()> read_conninfo = {};
  // For connecting, and again for making the session ready. Where several hosts or addresses are to be tried,
  // connecting to each may take kConnectTimeoutOfSeveralNs at most; a connect_timeout in the conninfo wins over both.
  int64_t connect_timeout_ns = 5 * kNanosPerSecond;
  int64_t statement_timeout_ms = 30'000;
  // A pooler that has been found to share sessions is looked at again so often.
  int64_t probe_again_ns = 3 * kNanosPerSecond;
};
inline constexpr int64_t kConnectTimeoutOfSeveralNs = 2 * kNanosPerSecond;

// Servers that answered and were not used, once for each attempt.
struct ConnectorCounters {
  Counter refused_superseded;     // an older timeline than one that has been seen
  Counter refused_other_cluster;  // another system identifier than the first
  Counter refused_pooled;         // transaction or statement pooling, or a suspicion of it
};

class Connector {
 public:
  explicit Connector(ConnectorOptions options);
  // Waits for the thread; requests that are still waiting are answered with an error first.
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // Any thread: gives up on the connection being made and on those waiting, now and from here on.
  void stop();

  // Awaitable Result<OpenedConnection>. `statements` must live as long as the process. The error's text is one line for
  // the log: it may name hosts and users, never passwords.
  auto open(Loop& loop, ConnectionPurpose purpose, std::span<const Statement* const> statements) {
    const bool is_lane = purpose == ConnectionPurpose::kLane;
    if (is_lane) note_lane_asks();
    return thread_.run(
        loop, [this, purpose, statements] { return connect(purpose, statements); },
        is_lane ? BlockingThread::Urgency::kUrgent : BlockingThread::Urgency::kUsual);
  }

  // Any thread: whether a server with a newer timeline has been seen since, so that a connection to this one must not
  // be used any more. Never for 0, which is a timeline that is not known.
  bool is_superseded(uint32_t timeline) const {
#ifdef TXN_PLANTED_OLDER_TIMELINE  // a bug for the tests to find
    timeline = 0;
#endif
    return timeline != 0 && timeline < newest_timeline_.load();
  }

  // Any thread: a lane has found itself in a session that is not its own. New connections are refused until a probe
  // says that sessions hold again.
  void report_other_session() { suspicions_.fetch_add(1); }

  // Any thread: how many lanes wait for a connection, those that pause between two attempts included. Readers then
  // leave what there is to the lanes.
  int lanes_waiting() const;

  // Any thread: true for one caller after the server has refused a lane for want of connections. A reader that gets it
  // closes its connection.
  bool take_reader_must_yield() { return reader_must_yield_.load() && reader_must_yield_.exchange(false); }

  const ConnectorCounters& counters() const { return counters_; }

 private:
  // What is known of one host and address. All of it belongs to the connector's thread.
  struct Server {
    enum class Sessions : uint8_t {
      kUnproven,   // not looked at yet; not being able to tell is good enough
      kSuspected,  // they have been seen shared: only a probe that says otherwise will do
      kHold,
    };
    Sessions sessions = Sessions::kUnproven;
    int64_t refused_until_ns = 0;  // for the way it pools
    std::string refusal;           // the last one logged, "" when it was used since
  };
  // What a server says of itself before anything is set in a session.
  struct Facts {
    bool in_recovery = false;
    std::string encoding;
    uint32_t timeline = 0;  // 0: not known
    int64_t system_id = 0;  // 0: not known
  };
  using Opened = std::expected<OpenedConnection, PgFailure>;

  void note_lane_asks();
  void note_lane_answered(bool has_connection);
  Result<OpenedConnection> connect(ConnectionPurpose purpose, std::span<const Statement* const> statements);
  Opened connect_to_any(std::span<const Statement* const> statements);
  Opened connect_to(const PgTarget& target, int64_t timeout_ns, std::span<const Statement* const> statements);
  void look_at_all(std::vector<PgTarget>& targets, int64_t timeout_ns);
  std::expected<Facts, PgFailure> examine(PGconn* connection, int64_t deadline_ns) const;
  void note(const Facts& facts, const PgTarget& target);
  std::string objection_to(const Facts& facts);
  std::string prove_sessions(PGconn* connection, const PgTarget& target, Server& server);
  Opened refuse(const PgTarget& target, const std::string& why);
  Result<void> prepare_session(PGconn* connection, std::span<const Statement* const> statements, int64_t deadline_ns,
                               OpenedConnection& opened) const;

  const ConnectorOptions options_;
  int stop_descriptor_ = -1;
  const PgDial dial_;

  std::atomic<int> lanes_opening_ = 0;
  std::atomic<int> lanes_unserved_ = 0;               // were refused and have not asked again
  std::atomic<int64_t> lanes_unserved_until_ns_ = 0;  // CLOCK_MONOTONIC; after that they will not ask again
  std::atomic<bool> reader_must_yield_ = false;
  std::atomic<uint32_t> newest_timeline_ = 0;
  std::atomic<uint32_t> suspicions_ = 0;

  // Of the connector's thread alone.
  std::map<std::string, Server> servers_;  // by the target's name
  std::string last_good_;                  // a target's name
  int64_t system_id_ = 0;                  // of the first cluster that was used
  uint32_t suspicions_seen_ = 0;
  ConnectorCounters counters_;

  BlockingThread thread_;
};

}  // namespace txn
