#include "db/csv_reader.h"

#include "core/concat.h"

namespace txn {
namespace {

constexpr int kEnd = std::char_traits<char>::eof();

std::unexpected<Error> malformed(int64_t line, const char* what) {
  return fail(ErrorKind::kInvalidArgument, concat("line ", line, ": ", what));
}

}  // namespace

// The stream buffer is asked directly: istream::get() would build a sentry for every character.
int CsvReader::get() {
  const int c = in_.rdbuf()->sbumpc();
  if (c == kEnd) return kEnd;
  ++bytes_read_;
  ++record_bytes_;
  if (c == '\n') ++line_;
  return c;
}

// From behind the opening quote to behind the closing one.
Result<void> CsvReader::read_quoted(std::string& field, int64_t record_line) {
  while (true) {
    const int c = get();
    if (c == kEnd) return malformed(record_line, "a quoted field is not closed");
    if (record_bytes_ > kRecordMaxBytes) return malformed(record_line, "a record is longer than 64 KiB");
    if (c == '"') {
      if (in_.rdbuf()->sgetc() != '"') return {};
      get();
    }
    field += static_cast<char>(c);
  }
}

Result<bool> CsvReader::next(CsvRecord& record) {
  if (bytes_read_ == 0) {
    for (const char mark : {'\xef', '\xbb', '\xbf'}) {
      if (in_.rdbuf()->sgetc() == static_cast<unsigned char>(mark)) get();
    }
  }
  while (in_.rdbuf()->sgetc() == '\n' || in_.rdbuf()->sgetc() == '\r') get();
  if (in_.rdbuf()->sgetc() == kEnd) return false;

  record.line = line_;
  record.fields.clear();
  record.fields.emplace_back();
  record_bytes_ = 0;
  bool is_closed = false;  // the field was quoted, and its quote is closed
  while (true) {
    const int c = get();
    if (record_bytes_ > kRecordMaxBytes) return malformed(record.line, "a record is longer than 64 KiB");
    std::string& field = record.fields.back();
    if (c == kEnd || c == '\n') return true;
    if (c == '\r' && (in_.rdbuf()->sgetc() == '\n' || in_.rdbuf()->sgetc() == kEnd)) continue;
    if (c == ',') {
      record.fields.emplace_back();
      is_closed = false;
    } else if (is_closed) {
      return malformed(record.line, "text behind the closing quote of a field");
    } else if (c != '"') {
      field += static_cast<char>(c);
    } else if (!field.empty()) {
      return malformed(record.line, "a quote inside a field that does not begin with one");
    } else {
      if (auto quoted = read_quoted(field, record.line); !quoted) return std::unexpected(quoted.error());
      is_closed = true;
    }
  }
}

}  // namespace txn
