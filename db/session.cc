#include "db/session.h"

#include <charconv>
#include <cstring>
#include <tuple>
#include <vector>

#include "core/check.h"
#include "core/concat.h"
#include "db/pg_targets.h"

namespace txn {
namespace {

// Notices would go to stderr, between the lines that a subcommand prints.
void ignore_notice(void*, const PGresult*) {}

// `message` in one line, with `secret` replaced.
std::string clean(std::string_view message, std::string_view secret) {
  std::string line;
  for (const char c : message) {
    const bool is_space = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (!is_space) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (line.ends_with(' ')) line.pop_back();
  if (secret.empty()) return line;
  constexpr std::string_view kReplacement = "***";
  for (size_t at = line.find(secret); at != std::string::npos; at = line.find(secret, at + kReplacement.size())) {
    line.replace(at, secret.size(), kReplacement);
  }
  return line;
}

}  // namespace

int64_t QueryRows::affected() const {
  const char* text = PQcmdTuples(result_.get());
  int64_t count = 0;
  std::from_chars(text, text + std::strlen(text), count);
  return count;
}

bool QueryRows::is_null(int row, int column) const {
  return row >= size() || column >= PQnfields(result_.get()) || PQgetisnull(result_.get(), row, column) == 1;
}

std::string_view QueryRows::text(int row, int column) const {
  if (row >= size() || column >= PQnfields(result_.get())) {
    spoil(column);
    return {};
  }
  const int length = PQgetlength(result_.get(), row, column);
  return {PQgetvalue(result_.get(), row, column), static_cast<size_t>(length)};
}

int64_t QueryRows::integer(int row, int column) const {
  const std::string_view digits = text(row, column);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc() && end == digits.data() + digits.size()) return value;
  spoil(column);
  return 0;
}

bool QueryRows::boolean(int row, int column) const {
  const std::string_view value = text(row, column);
  if (value != "t" && value != "f") spoil(column);
  return value == "t";
}

Money QueryRows::money(int row, int column) const {
  const auto value = parse_money(text(row, column));
  if (!value) spoil(column);
  return value.value_or(Money());
}

void QueryRows::spoil(int column) const {
  if (!spoilt_.empty()) return;
  const char* name = PQfname(result_.get(), column);
  spoilt_ = name == nullptr ? concat("column ", column + 1) : name;
}

Result<void> QueryRows::check() const {
  if (spoilt_.empty()) return {};
  return fail(ErrorKind::kDatabase, concat(spoilt_, " cannot be read"));
}

Result<Session> Session::connect(const std::string& conninfo, std::chrono::seconds timeout) {
  const auto parameters = parse_conninfo(conninfo);
  if (!parameters) return std::unexpected(parameters.error());
  const std::string timeout_text = std::to_string(timeout.count());
  // An empty value is as if it were not there.
  const char* const wanted = needs_read_write(*parameters) ? "read-write" : "";
  // `dbname` expands to the whole conninfo; what stands before it are defaults.
  const char* const keywords[] = {"connect_timeout", "client_encoding", "target_session_attrs", "dbname", nullptr};
  const char* const values[] = {timeout_text.c_str(), "UTF8", wanted, conninfo.c_str(), nullptr};
  Session session(PQconnectdbParams(keywords, values, 1));
  CHECK(session.connection_ != nullptr, "out of memory");
  if (PQstatus(session.connection_.get()) != CONNECTION_OK) {
    return session.connection_error("cannot connect to the database");
  }
  PQsetNoticeReceiver(session.connection_.get(), &ignore_notice, nullptr);
  return session;
}

Result<QueryRows> Session::exec(const std::string& sql, std::initializer_list<QueryParameter> parameters) {
  std::vector<const char*> values;
  for (const QueryParameter& parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  QueryRows rows(PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                              nullptr, nullptr, 0));
  const ExecStatusType status = PQresultStatus(rows.raw());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) return statement_error(rows.raw());
  return rows;
}

Result<void> Session::run_script(const std::string& sql) {
  const QueryRows rows(PQexec(connection_.get(), sql.c_str()));
  const ExecStatusType status = PQresultStatus(rows.raw());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
    return statement_error(rows.raw());
  }
  return {};
}

Result<void> Session::transaction(const std::function<Result<void>()>& body, const std::string& begin) {
  if (const auto begun = run_script(begin); !begun) return begun;
  if (auto done = body(); !done) {
    // Should this fail as well, the connection is gone and the server rolls back by itself.
    std::ignore = run_script("ROLLBACK");
    return done;
  }
  const QueryRows rows(PQexec(connection_.get(), "COMMIT"));
  if (PQresultStatus(rows.raw()) != PGRES_COMMAND_OK) return statement_error(rows.raw());
  // A COMMIT of a failed transaction succeeds, as a ROLLBACK.
  if (std::string_view(PQcmdStatus(rows.raw())) != "COMMIT") {
    return fail(ErrorKind::kDatabase, "the transaction was rolled back");
  }
  return {};
}

Result<int64_t> Session::copy_in(const std::string& sql, const std::function<Result<bool>(std::string& chunk)>& fill) {
  const QueryRows start(PQexec(connection_.get(), sql.c_str()));
  if (PQresultStatus(start.raw()) != PGRES_COPY_IN) return statement_error(start.raw());

  std::optional<Error> fill_error;
  std::string chunk;
  bool is_sent = true;
  while (is_sent) {
    chunk.clear();
    const auto more = fill(chunk);
    if (!more) {
      fill_error = more.error();
      break;
    }
    if (!chunk.empty()) {
      is_sent = PQputCopyData(connection_.get(), chunk.data(), static_cast<int>(chunk.size())) == 1;
    }
    if (!*more) break;
  }
  if (is_sent) PQputCopyEnd(connection_.get(), fill_error ? "given up by the client" : nullptr);

  // Of several results the last error is the one to tell; all must be taken, or the next statement gets them.
  Result<int64_t> outcome = connection_error("the database went away during COPY");
  while (PGresult* next = PQgetResult(connection_.get())) {
    const QueryRows end(next);
    if (PQresultStatus(end.raw()) == PGRES_COMMAND_OK) {
      outcome = end.affected();
    } else {
      outcome = statement_error(end.raw());
    }
    if (PQresultStatus(end.raw()) == PGRES_COPY_IN) break;  // would repeat for ever; the connection is of no use
  }
  if (fill_error) return std::unexpected(*fill_error);
  return outcome;
}

std::unexpected<Error> Session::connection_error(std::string_view what) const {
  const char* password = PQpass(connection_.get());
  return fail(ErrorKind::kUnavailable,
              concat(what, ": ", clean(PQerrorMessage(connection_.get()), password == nullptr ? "" : password)));
}

std::unexpected<Error> Session::statement_error(const PGresult* result) {
  const char* message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (message == nullptr || state == nullptr) return connection_error("the database went away");
  sqlstate_ = state;
  const char* hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
  std::string line = clean(concat(message, " (SQLSTATE ", state, hint == nullptr ? ")" : "). ", hint ? hint : ""),
                           PQpass(connection_.get()) == nullptr ? "" : PQpass(connection_.get()));
  if (std::string_view(message).starts_with("permission denied") && sqlstate_ == "42501")
    line += ". The role that owns the tables may: the one that `migrate` ran as";
  return fail(ErrorKind::kDatabase, std::move(line));
}

}  // namespace txn
