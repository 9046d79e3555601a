#include "db/connector.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

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
    "set_config('client_min_messages', 'warning', false), set_config('transactions_service.session', $2, false)";

// The timeline is the first eight hexadecimal digits of the name of the segment that is being written.
constexpr const char* kWhoAmI =
    "SELECT pg_backend_pid(), backend_start, pg_is_in_recovery(), "
    "CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END "
    "FROM pg_stat_get_activity(pg_backend_pid())";

// For how long a lane counts as waiting after an attempt that failed: longer than its pause before the next.
constexpr int64_t kLaneRetriesWithinNs = 3 * kNanosPerSecond;

std::string random_token() {
  std::array<uint8_t, 16> bytes;
  // Of up to 256 bytes getrandom() gives all or, before the kernel has gathered its first entropy, waits.
  CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "the kernel has random bytes");
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string token;
  for (const uint8_t byte : bytes) {
    token += kDigits[byte >> 4];
    token += kDigits[byte & 15];
  }
  return token;
}

// 0 for what is no name of a segment.
uint32_t timeline_of(std::string_view segment) {
  uint32_t timeline = 0;
  const std::string_view digits = segment.substr(0, 8);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), timeline, 16);
  return error == std::errc() && digits.size() == 8 && end == digits.data() + digits.size() ? timeline : 0;
}

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

int Connector::lanes_waiting() const {
  return lanes_opening_.load() + (now_ns() < lanes_unserved_until_ns_.load() ? lanes_unserved_.load() : 0);
}

// Which lane asks is not known, so one that lost its connection may be taken for one that was refused before. That one
// is counted again when it is refused again.
void Connector::note_lane_asks() {
  lanes_opening_.fetch_add(1);
  int unserved = lanes_unserved_.load();
  while (unserved > 0 && !lanes_unserved_.compare_exchange_weak(unserved, unserved - 1)) {
  }
}

void Connector::note_lane_answered(bool has_connection) {
  if (!has_connection) {
    lanes_unserved_until_ns_.store(now_ns() + kLaneRetriesWithinNs);
    lanes_unserved_.fetch_add(1);
  }
  lanes_opening_.fetch_sub(1);
}

Result<OpenedConnection> Connector::connect(ConnectionPurpose purpose, std::span<const Statement* const> statements) {
  auto opened = connect_session(statements);
  if (opened && opened->timeline > newest_timeline_.load()) newest_timeline_.store(opened->timeline);
  if (purpose == ConnectionPurpose::kLane) note_lane_answered(opened.has_value());
  return opened;
}

Result<OpenedConnection> Connector::connect_session(std::span<const Statement* const> statements) const {
  const int64_t deadline_ns = now_ns() + options_.connect_timeout_ns;
  // dbname may itself be a conninfo string; what stands in it wins over what stands before it, so these are defaults.
  // A dead peer is noticed in seconds, not in the kernel's quarter of an hour.
  const char* const keywords[] = {
      "fallback_application_name", "gssencmode",       "keepalives_idle", "keepalives_interval",
      "keepalives_count",          "tcp_user_timeout", "dbname",          nullptr};
  const char* const values[] = {"transactions-service",    "disable", "10", "5", "3", "15000",
                                options_.conninfo.c_str(), nullptr};
  OpenedConnection opened{.handle = PgHandle(PQconnectStartParams(keywords, values, 1)),
                          .session_token = random_token()};
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
  const char* const settings[] = {timeout.c_str(), opened.session_token.c_str()};
  bool sent = PQsendQueryParams(connection, kSessionSettings, 2, nullptr, settings, nullptr, nullptr, 1) == 1 &&
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
      if (!row.is_null(3)) opened.timeline = timeline_of(row.bytes(3));
      if (!row.ok()) return fail(ErrorKind::kDatabase, "the database does not say which backend serves the session");
    }
  }
  if (in_recovery) return fail(ErrorKind::kUnavailable, "the database is a standby that takes no writes");
  return {};
}

}  // namespace txn
