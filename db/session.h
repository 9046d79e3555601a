// A blocking connection to PostgreSQL for the subcommands of operators.
//
// Never on a worker: every call waits for the server. What goes wrong comes back as an Error with one line of text. It
// holds the server's message and SQLSTATE, never the connection string, never the server's DETAIL (which quotes rows),
// and the password replaced should it turn up.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/money.h"

namespace txn {

// What a statement gave back; owns the rows. A value that is not there, or is not what it is read as, reads as nothing
// (zero, false, "") and spoils the answer for good: whoever has read the values asks check() before using them.
class QueryRows {
 public:
  explicit QueryRows(PGresult* result) : result_(result, &PQclear) {}

  int size() const { return PQntuples(result_.get()); }
  int64_t affected() const;  // rows that INSERT, UPDATE or COPY touched
  bool is_null(int row, int column) const;
  // "" for NULL, which spoils nothing; valid as long as this object.
  std::string_view text(int row, int column) const;
  int64_t integer(int row, int column) const;
  bool boolean(int row, int column) const;
  Money money(int row, int column) const;  // of a NUMERIC with at most two decimals
  // Whether all that was read so far could be read; otherwise kDatabase, naming the first column that could not.
  Result<void> check() const;
  PGresult* raw() const { return result_.get(); }

 private:
  void spoil(int column) const;

  mutable std::string spoilt_;  // the column's name; "": none
  std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

// A parameter in text format; nullopt is NULL.
using QueryParameter = std::optional<std::string>;

// One connection, one thread at a time. Closed at destruction, which also rolls back an open transaction.
class Session {
 public:
  static constexpr std::chrono::seconds kConnectTimeout{5};

  // Waits up to `timeout` (for each address of the host), unless `conninfo` has its own connect_timeout. Of several
  // hosts takes the first that takes writes, unless something is said of target_session_attrs. kInvalidArgument when
  // libpq cannot make sense of `conninfo`, otherwise kUnavailable.
  static Result<Session> connect(const std::string& conninfo, std::chrono::seconds timeout = kConnectTimeout);

  // One statement with $1, $2 ... for `parameters`.
  Result<QueryRows> exec(const std::string& sql, std::initializer_list<QueryParameter> parameters = {});

  // Several statements separated by semicolons, without parameters.
  Result<void> run_script(const std::string& sql);

  // Of the last statement that the server refused; "" when it has refused none.
  const std::string& sqlstate() const { return sqlstate_; }

  // Runs `body` between `begin` and COMMIT. When body fails the transaction is rolled back and its error returned.
  Result<void> transaction(const std::function<Result<void>()>& body, const std::string& begin = "BEGIN");

  // COPY ... FROM STDIN. Calls `fill`, which puts some bytes into the empty string it is given and returns false when
  // there are no more. When fill fails nothing is copied and its error is returned. Returns the rows copied.
  Result<int64_t> copy_in(const std::string& sql, const std::function<Result<bool>(std::string& chunk)>& fill);

 private:
  explicit Session(PGconn* connection) : connection_(connection, &PQfinish) {}
  std::unexpected<Error> connection_error(std::string_view what) const;
  std::unexpected<Error> statement_error(const PGresult* result);

  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
  std::string sqlstate_;
};

}  // namespace txn
