// Opens connections to PostgreSQL on a thread of its own, because most of it blocks: name resolution, reading password
// and certificate files, SCRAM's key stretching. A connection that it hands over is authenticated, in pipeline mode,
// non-blocking, has its session settings and all its statements prepared, and belongs to the receiving worker alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "core/blocking_thread.h"
#include "core/error.h"
#include "core/loop.h"
#include "db/pg_result.h"
#include "db/statements.h"

namespace txn {

struct OpenedConnection {
  PgHandle handle;
  int32_t backend_pid = 0;
  int64_t backend_start_us = 0;  // with the pid: which backend this was, even after the pid is used again
  // Set in the session as transactions_service.session; nobody else has it (128 random bits, hex).
  std::string session_token;
  uint32_t timeline = 0;  // of the server's write-ahead log when the session began
};

// Lanes come first where there are not enough connections for all.
enum class ConnectionPurpose : uint8_t { kLane, kReader };

struct ConnectorOptions {
  std::string conninfo;  // libpq conninfo or URI
  int64_t connect_timeout_ns = 5 * kNanosPerSecond;
  int64_t statement_timeout_ms = 30'000;
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

  // Awaitable Result<OpenedConnection>. `statements` must live as long as the process. The error's text is for the log:
  // it may name hosts and users, never passwords.
  auto open(Loop& loop, ConnectionPurpose purpose, std::span<const Statement* const> statements) {
    const bool is_lane = purpose == ConnectionPurpose::kLane;
    if (is_lane) note_lane_asks();
    return thread_.run(
        loop, [this, purpose, statements] { return connect(purpose, statements); },
        is_lane ? BlockingThread::Urgency::kUrgent : BlockingThread::Urgency::kUsual);
  }

  // Any thread: whether a server with a newer timeline has been seen since, so that a connection to this one must not
  // be used any more. Never for 0, which is a timeline that is not known.
  bool is_superseded(uint32_t timeline) const { return timeline != 0 && timeline < newest_timeline_.load(); }

  // Any thread: a lane has found itself in a session that is not its own. New connections are refused until a probe
  // says that sessions hold again.
  void report_other_session() { suspicions_.fetch_add(1); }

  // Any thread: how many lanes wait for a connection, those that pause between two attempts included. Readers then
  // leave what there is to the lanes.
  int lanes_waiting() const;

 private:
  void note_lane_asks();
  void note_lane_answered(bool has_connection);
  Result<OpenedConnection> connect(ConnectionPurpose purpose, std::span<const Statement* const> statements);
  Result<OpenedConnection> connect_session(std::span<const Statement* const> statements) const;
  Result<void> wait_for_socket(PGconn* connection, short events, int64_t deadline_ns) const;
  Result<PgResult> next_result(PGconn* connection, int64_t deadline_ns) const;
  Result<void> prepare_session(PGconn* connection, std::span<const Statement* const> statements, int64_t deadline_ns,
                               OpenedConnection& opened) const;

  const ConnectorOptions options_;
  int stop_descriptor_ = -1;
  std::atomic<int> lanes_opening_ = 0;
  std::atomic<int> lanes_unserved_ = 0;               // were refused and have not asked again
  std::atomic<int64_t> lanes_unserved_until_ns_ = 0;  // CLOCK_MONOTONIC; after that they will not ask again
  std::atomic<uint32_t> newest_timeline_ = 0;
  std::atomic<uint32_t> suspicions_ = 0;
  BlockingThread thread_;
};

}  // namespace txn
