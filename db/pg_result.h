// A result of libpq that frees itself, with typed access to binary columns.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string_view>

#include "db/pg_value.h"

namespace txn {

class PgResult {
 public:
  PgResult() = default;
  explicit PgResult(PGresult* result) : result_(result) {}

  explicit operator bool() const { return result_ != nullptr; }
  PGresult* get() const { return result_.get(); }

  ExecStatusType status() const { return PQresultStatus(result_.get()); }
  bool ok() const { return status() == PGRES_TUPLES_OK || status() == PGRES_COMMAND_OK; }
  int rows() const { return PQntuples(result_.get()); }

  // SQLSTATE of a failed statement, "" when there is none (a lost connection).
  std::string_view sqlstate() const {
    const char* state = PQresultErrorField(result_.get(), PG_DIAG_SQLSTATE);
    return state == nullptr ? std::string_view() : state;
  }
  // The server's primary message: for the operator's log, never for a client.
  std::string_view message() const {
    const char* text = PQresultErrorField(result_.get(), PG_DIAG_MESSAGE_PRIMARY);
    return text == nullptr ? PQresultErrorMessage(result_.get()) : text;
  }
  // "COMMIT", "ROLLBACK", "INSERT 0 1" ...
  std::string_view command_tag() const { return PQcmdStatus(result_.get()); }

  // NULL, or not there at all.
  bool is_null(int row, int column) const {
    return row >= rows() || column >= PQnfields(result_.get()) || PQgetisnull(result_.get(), row, column) != 0;
  }
  // The value's bytes, none for NULL; valid as long as this result.
  std::string_view bytes(int row, int column) const {
    if (is_null(row, column)) return {};
    return {PQgetvalue(result_.get(), row, column), static_cast<size_t>(PQgetlength(result_.get(), row, column))};
  }
  // Nothing: NULL, not there, or not a value of the type that we can hold (db/pg_value.h). PgRow reads whole rows.
  std::optional<int64_t> int8(int row, int column) const { return decode_int8(bytes(row, column)); }
  std::optional<int32_t> int4(int row, int column) const { return decode_int4(bytes(row, column)); }
  std::optional<bool> boolean(int row, int column) const { return decode_bool(bytes(row, column)); }
  std::optional<int32_t> date(int row, int column) const { return decode_date(bytes(row, column)); }
  std::optional<int64_t> timestamptz(int row, int column) const { return decode_timestamptz(bytes(row, column)); }
  std::optional<Money> numeric(int row, int column) const { return decode_numeric(bytes(row, column)); }

 private:
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

// Reads a row column by column. What cannot be read, or is not what the caller expects of it, is a neutral value and
// makes the row unreadable for good, so that there is one place to ask:
//
//   PgRow row(result, 0);
//   const Money balance = row.numeric(4);
//   row.expect(balance >= Money(), 4);
//   if (!row.ok()) ... row.unreadable_column() ...
//
// The result must outlive it.
class PgRow {
 public:
  PgRow(const PgResult& result, int row) : result_(result), row_(row) {}

  bool is_null(int column) const { return result_.is_null(row_, column); }
  int64_t int8(int column) { return take(result_.int8(row_, column), column); }
  int32_t int4(int column) { return take(result_.int4(row_, column), column); }
  bool boolean(int column) { return take(result_.boolean(row_, column), column); }
  int32_t date(int column) { return take(result_.date(row_, column), column); }
  int64_t timestamptz(int column) { return take(result_.timestamptz(row_, column), column); }
  Money numeric(int column) { return take(result_.numeric(row_, column), column); }
  // Of text and bytea. NULL makes the row unreadable here too.
  std::string_view bytes(int column) {
    expect(!is_null(column), column);
    return result_.bytes(row_, column);
  }
  void expect(bool holds, int column) {
    if (!holds && unreadable_ < 0) unreadable_ = column;
  }

  bool ok() const { return unreadable_ < 0; }
  // Name of the first column that could not be read, for the log.
  std::string_view unreadable_column() const {
    const char* name = unreadable_ < 0 ? nullptr : PQfname(result_.get(), unreadable_);
    return name == nullptr ? std::string_view() : name;
  }

 private:
  template <class T>
  T take(std::optional<T> value, int column) {
    expect(value.has_value(), column);
    return value.value_or(T{});
  }

  const PgResult& result_;
  const int row_;
  int unreadable_ = -1;  // a column
};

struct PgFinish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using PgHandle = std::unique_ptr<PGconn, PgFinish>;

}  // namespace txn
