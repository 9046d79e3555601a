// Opens connections to PostgreSQL on a thread of its own, because most of it blocks: name resolution, reading password
// and certificate files, SCRAM's key stretching. A connection that it hands over is authenticated, in pipeline mode,
// non-blocking, has its session settings and all its statements prepared, and belongs to the receiving worker alone.
#pragma once

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
};

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
  auto open(Loop& loop, std::span<const Statement* const> statements) {
    return thread_.run(loop, [this, statements] { return connect(statements); });
  }

 private:
  Result<OpenedConnection> connect(std::span<const Statement* const> statements) const;
  Result<void> wait_for_socket(PGconn* connection, short events, int64_t deadline_ns) const;
  Result<PgResult> next_result(PGconn* connection, int64_t deadline_ns) const;
  Result<void> prepare_session(PGconn* connection, std::span<const Statement* const> statements, int64_t deadline_ns,
                               OpenedConnection& opened) const;

  const ConnectorOptions options_;
  int stop_descriptor_ = -1;
  BlockingThread thread_;
};

}  // namespace txn
