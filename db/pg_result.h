// A result of libpq that frees itself, with typed access to binary columns.
#pragma once

#include <libpq-fe.h>

#include <memory>
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

  bool is_null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  // The value's bytes; valid as long as this result.
  std::string_view bytes(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column), static_cast<size_t>(PQgetlength(result_.get(), row, column))};
  }
  int64_t int8(int row, int column) const { return decode_int8(bytes(row, column)); }
  int32_t int4(int row, int column) const { return decode_int4(bytes(row, column)); }
  bool boolean(int row, int column) const { return decode_bool(bytes(row, column)); }
  int32_t date(int row, int column) const { return decode_date(bytes(row, column)); }
  int64_t timestamptz(int row, int column) const { return decode_timestamptz(bytes(row, column)); }
  Money numeric(int row, int column) const { return decode_numeric(bytes(row, column)); }

 private:
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

struct PgFinish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using PgHandle = std::unique_ptr<PGconn, PgFinish>;

}  // namespace txn
