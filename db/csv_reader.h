// Comma-separated values as RFC 4180 has them, one record at a time.
//
// Fields are separated by commas, records by CRLF or LF. A field in double quotes may hold commas, line breaks and
// doubled quotes. A byte order mark at the start and blank lines are skipped.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "core/error.h"

namespace txn {

struct CsvRecord {
  int64_t line = 0;  // where it starts, from 1
  std::vector<std::string> fields;
};

// Borrows `in`. One thread.
class CsvReader {
 public:
  static constexpr size_t kRecordMaxBytes = 64 << 10;

  explicit CsvReader(std::istream& in) : in_(in) {}

  // Reads the next record into `record`; false at the end. kInvalidArgument, naming the line, for a quote inside an
  // unquoted field, text behind a closing quote, a quote never closed, or a record that is too long.
  Result<bool> next(CsvRecord& record);

  int64_t bytes_read() const { return bytes_read_; }

 private:
  int get();
  Result<void> read_quoted(std::string& field, int64_t record_line);

  std::istream& in_;
  int64_t line_ = 1;
  int64_t bytes_read_ = 0;
  size_t record_bytes_ = 0;
};

}  // namespace txn
