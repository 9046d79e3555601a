// Connecting to PostgreSQL and asking it things with a deadline, on a thread that may block.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "core/error.h"
#include "db/pg_result.h"
#include "db/pg_targets.h"

namespace txn {

// An error with the server's SQLSTATE, "" where it did not say one. The text is one line for the log: it may name hosts
// and users, never passwords.
struct PgFailure {
  Error error;
  std::string sqlstate;
};

// The server has no connection left, for this role or this database or at all.
inline bool is_about_room(const PgFailure& failure) { return failure.sqlstate == "53300"; }

class PgDial {
 public:
  // Once `stop_descriptor` is readable everything that waits fails; -1: nothing ends a wait early.
  explicit PgDial(int stop_descriptor = -1) : stop_descriptor_(stop_descriptor) {}

  // All deadlines are on CLOCK_MONOTONIC, as this.
  static int64_t now_ns();

  // Authenticated, non-blocking, not in pipeline mode; notices are dropped.
  std::expected<PgHandle, PgFailure> connect(const PgTarget& target, int64_t deadline_ns) const;

  // One statement outside of pipeline mode; results are binary. After a kTimeout the connection is of no use.
  std::expected<PgResult, PgFailure> ask(PGconn* connection, const char* sql, int64_t deadline_ns) const;

  // As PQgetResult, which never blocks here.
  Result<PgResult> next_result(PGconn* connection, int64_t deadline_ns) const;

 private:
  Result<void> wait_for_socket(PGconn* connection, short events, int64_t deadline_ns) const;

  const int stop_descriptor_;
};

// What libpq says is wrong with the connection, in one line.
std::string connection_error(PGconn* connection);

// Of what the server said when it refused a connection, in libpq's verbose form: its SQLSTATE, or "". The text becomes
// one line without it and without the place in the server's sources.
std::string take_sqlstate(std::string& text);

}  // namespace txn
