#include "db/pg_dial.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/concat.h"

namespace txn {
namespace {

void ignore_notice(void*, const PGresult*) {}

std::unexpected<PgFailure> failure(ErrorKind kind, std::string text, std::string sqlstate = "") {
  return std::unexpected(PgFailure{{kind, std::move(text)}, std::move(sqlstate)});
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "LOCATION:  InitPostgres, postinit.c:816", in whatever language.
bool is_source_location(std::string_view line) {
  while (!line.empty() && is_digit(line.back())) line.remove_suffix(1);
  return line.ends_with(".c:") && line.find(":  ") != std::string_view::npos;
}

}  // namespace

std::string take_sqlstate(std::string& text) {
  constexpr std::string_view kBefore = ":  ";  // "FATAL:  53300: too many connections ..."
  constexpr size_t kStateSize = 5;
  std::string sqlstate;
  std::string joined;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string line(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || is_source_location(line)) continue;
    const size_t at = line.find(kBefore);
    if (at != std::string::npos) {
      const std::string_view state = std::string_view(line).substr(at + kBefore.size()).substr(0, kStateSize);
      const bool is_state = state.size() == kStateSize &&
                            std::ranges::all_of(state, [](char c) { return is_digit(c) || (c >= 'A' && c <= 'Z'); });
      if (is_state && line.compare(at + kBefore.size() + kStateSize, 2, ": ") == 0) {
        sqlstate = state;
        line.erase(at + kBefore.size(), kStateSize + 2);
      }
    }
    joined += concat(joined.empty() ? "" : " ", line);
  }
  text = std::move(joined);
  return sqlstate;
}

std::string connection_error(PGconn* connection) {
  std::string text = PQerrorMessage(connection);
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

int64_t PgDial::now_ns() {
  SystemClock clock;
  return clock.now_ns();
}

Result<void> PgDial::wait_for_socket(PGconn* connection, short events, int64_t deadline_ns) const {
  // A negative descriptor is passed over by poll().
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

Result<PgResult> PgDial::next_result(PGconn* connection, int64_t deadline_ns) const {
  while (true) {
    const int flushed = PQflush(connection);
    if (flushed < 0) return fail(ErrorKind::kUnavailable, connection_error(connection));
    if (PQisBusy(connection) == 0) return PgResult(PQgetResult(connection));
    const auto events = static_cast<short>(flushed == 1 ? POLLIN | POLLOUT : POLLIN);
    if (auto ready = wait_for_socket(connection, events, deadline_ns); !ready) return std::unexpected(ready.error());
    if (PQconsumeInput(connection) == 0) return fail(ErrorKind::kUnavailable, connection_error(connection));
  }
}

std::expected<PgHandle, PgFailure> PgDial::connect(const PgTarget& target, int64_t deadline_ns) const {
  // Defaults first: what the target says wins over them. A dead peer is noticed in seconds, not in the kernel's quarter
  // of an hour.
  std::vector<const char*> keywords{"fallback_application_name", "gssencmode",       "keepalives_idle",
                                    "keepalives_interval",       "keepalives_count", "tcp_user_timeout"};
  std::vector<const char*> values{"transactions-service", "disable", "10", "5", "3", "15000"};
  for (const auto& [keyword, value] : target.parameters) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  PgHandle handle(PQconnectStartParams(keywords.data(), values.data(), 0));
  PGconn* const connection = handle.get();
  if (connection == nullptr) return failure(ErrorKind::kSystem, "out of memory");
  PQsetNoticeReceiver(connection, ignore_notice, nullptr);
  // The only way to the SQLSTATE of a refusal; its text is in the server's language.
  PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);

  const auto refused = [&] {
    std::string text = PQerrorMessage(connection);
    std::string sqlstate = take_sqlstate(text);
    return failure(ErrorKind::kUnavailable, std::move(text), std::move(sqlstate));
  };
  PostgresPollingStatusType polling = PGRES_POLLING_WRITING;
  while (polling != PGRES_POLLING_OK) {
    if (PQstatus(connection) == CONNECTION_BAD) return refused();
    // The socket may be another one after each step (TLS refused ...), so it is asked for each time.
    const auto events = static_cast<short>(polling == PGRES_POLLING_READING ? POLLIN : POLLOUT);
    if (auto ready = wait_for_socket(connection, events, deadline_ns); !ready)
      return failure(ready.error().kind, concat(target.name, ": ", ready.error().message));
    polling = PQconnectPoll(connection);
    if (polling == PGRES_POLLING_FAILED) return refused();
  }
  PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
  if (PQsetnonblocking(connection, 1) != 0) return failure(ErrorKind::kSystem, connection_error(connection));
  return handle;
}

std::expected<PgResult, PgFailure> PgDial::ask(PGconn* connection, const char* sql, int64_t deadline_ns) const {
  if (PQsendQueryParams(connection, sql, 0, nullptr, nullptr, nullptr, nullptr, 1) != 1)
    return failure(ErrorKind::kUnavailable, connection_error(connection));
  PgResult first;
  while (true) {
    auto result = next_result(connection, deadline_ns);
    if (!result) return failure(result.error().kind, result.error().message);
    if (!*result) break;
    if (!first) first = std::move(*result);
  }
  if (!first) return failure(ErrorKind::kUnavailable, connection_error(connection));
  if (!first.ok()) return failure(ErrorKind::kDatabase, std::string(first.message()), std::string(first.sqlstate()));
  return first;
}

}  // namespace txn
