#include "db/connector.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/check.h"

namespace txn {
namespace {

int64_t now_ns() {
  SystemClock clock;
  return clock.now_ns();
}

std::string connection_error(PGconn* connection) {
  std::string text = PQerrorMessage(connection);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

void ignore_notice(void*, const PGresult*) {}

// What every session of the service needs. A frozen replica's locks end with idle_in_transaction_session_timeout; plans
// are made once and by index, because statistics of an empty database would choose sequential scans that a connection
// then keeps when there are a million rows.
constexpr const char* kSessionSettings =
    "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false), "
    "set_config('idle_in_transaction_session_timeout', '5s', false), "
    "set_config('client_connection_check_interval', '1s', false), "
    "set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' "
    "ELSE current_setting('synchronous_commit') END, false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off', false), "
    "set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false), "
    "set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false), "
    "set_config('TimeZone', 'UTC', false), set_config('client_encoding', 'UTF8', false), "
    "set_config('client_min_messages', 'warning', false)";

constexpr const char* kWhoAmI =
    "SELECT pg_backend_pid(), backend_start, pg_is_in_recovery() FROM pg_stat_get_activity(pg_backend_pid())";

}  // namespace

Connector::Connector(ConnectorOptions options)
    : options_(std::move(options)), stop_descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(stop_descriptor_ >= 0, "eventfd for the connector");
}

Connector::~Connector() {
  stop();
  thread_.join();
  close(stop_descriptor_);
}

void Connector::stop() {
  thread_.stop();
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_descriptor_, &one, sizeof one);
}

Result<void> Connector::wait_for_socket(PGconn* connection, short events, int64_t deadline_ns) const {
  pollfd descriptors[2] = {{PQsocket(connection), events, 0}, {stop_descriptor_, POLLIN, 0}};
  while (true) {
    const int64_t left_ms = (deadline_ns - now_ns()) / kNanosPerMilli;
    if (left_ms <= 0) return fail(ErrorKind::kTimeout, "the database did not answer in time");
    const int ready = ::poll(descriptors, 2, static_cast<int>(std::min<int64_t>(left_ms, 60'000)));
    if (ready < 0 && errno != EINTR) return fail_errno("poll", errno);
    if (ready <= 0) continue;
    if (descriptors[1].revents != 0) return fail(ErrorKind::kUnavailable, "shutting down");
    return {};
  }
}

Result<PgResult> Connector::next_result(PGconn* connection, int64_t deadline_ns) const {
  while (true) {
    const int flushed = PQflush(connection);
    if (flushed < 0) return fail(ErrorKind::kUnavailable, connection_error(connection));
    if (PQisBusy(connection) == 0) return PgResult(PQgetResult(connection));
    const auto events = static_cast<short>(flushed == 1 ? POLLIN | POLLOUT : POLLIN);
    if (auto ready = wait_for_socket(connection, events, deadline_ns); !ready) return std::unexpected(ready.error());
    if (PQconsumeInput(connection) == 0) return fail(ErrorKind::kUnavailable, connection_error(connection));
  }
}

Result<OpenedConnection> Connector::connect(std::span<const Statement* const> statements) const {
  const int64_t deadline_ns = now_ns() + options_.connect_timeout_ns;
  // dbname may itself be a conninfo string; what stands in it wins over what stands before it, so these are defaults.
  // A dead peer is noticed in seconds, not in the kernel's quarter of an hour.
  const char* const keywords[] = {
      "fallback_application_name", "gssencmode",       "keepalives_idle", "keepalives_interval",
      "keepalives_count",          "tcp_user_timeout", "dbname",          nullptr};
  const char* const values[] = {"transactions-service",    "disable", "10", "5", "3", "15000",
                                options_.conninfo.c_str(), nullptr};
  OpenedConnection opened{PgHandle(PQconnectStartParams(keywords, values, 1)), 0, 0};
  PGconn* connection = opened.handle.get();
  if (connection == nullptr) return fail(ErrorKind::kSystem, "out of memory");
  PQsetNoticeReceiver(connection, ignore_notice, nullptr);

  PostgresPollingStatusType polling = PGRES_POLLING_WRITING;
  while (polling != PGRES_POLLING_OK) {
    if (PQstatus(connection) == CONNECTION_BAD) return fail(ErrorKind::kUnavailable, connection_error(connection));
    // The socket may be another one after each step (several hosts, TLS refused ...), so it is asked for each time.
    const auto events = static_cast<short>(polling == PGRES_POLLING_READING ? POLLIN : POLLOUT);
    if (auto ready = wait_for_socket(connection, events, deadline_ns); !ready) return std::unexpected(ready.error());
    polling = PQconnectPoll(connection);
    if (polling == PGRES_POLLING_FAILED) return fail(ErrorKind::kUnavailable, connection_error(connection));
  }
  if (PQsetnonblocking(connection, 1) != 0 || PQenterPipelineMode(connection) != 1)
    return fail(ErrorKind::kSystem, connection_error(connection));
  if (auto ready = prepare_session(connection, statements, deadline_ns, opened); !ready)
    return std::unexpected(ready.error());
  return opened;
}

Result<void> Connector::prepare_session(PGconn* connection, std::span<const Statement* const> statements,
                                        int64_t deadline_ns, OpenedConnection& opened) const {
  const std::string timeout = std::to_string(options_.statement_timeout_ms);
  const char* const timeout_value[] = {timeout.c_str()};
  bool sent = PQsendQueryParams(connection, kSessionSettings, 1, nullptr, timeout_value, nullptr, nullptr, 1) == 1 &&
              PQsendQueryParams(connection, kWhoAmI, 0, nullptr, nullptr, nullptr, nullptr, 1) == 1;
  for (const Statement* statement : statements)
    sent = sent && PQsendPrepare(connection, statement->name, statement->sql, 0, nullptr) == 1;
  if (!sent || PQpipelineSync(connection) != 1) return fail(ErrorKind::kUnavailable, connection_error(connection));

  int finished = 0;
  bool in_recovery = false;
  while (true) {
    auto result = next_result(connection, deadline_ns);
    if (!result) return std::unexpected(result.error());
    if (!*result) {  // the end of one statement's results, or of everything on a dead connection
      if (PQstatus(connection) == CONNECTION_BAD) return fail(ErrorKind::kUnavailable, connection_error(connection));
      ++finished;
      continue;
    }
    if (result->status() == PGRES_PIPELINE_SYNC) break;
    if (!result->ok()) return fail(ErrorKind::kDatabase, "preparing the session: " + std::string(result->message()));
    if (finished == 1) {
      PgRow row(*result, 0);
      opened.backend_pid = row.int4(0);
      opened.backend_start_us = row.timestamptz(1);
      in_recovery = row.boolean(2);
      if (!row.ok()) return fail(ErrorKind::kDatabase, "the database does not say which backend serves the session");
    }
  }
  if (in_recovery) return fail(ErrorKind::kUnavailable, "the database is a standby that takes no writes");
  return {};
}

}  // namespace txn
