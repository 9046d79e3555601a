// CSV of `account import`: what is read can be written, every field in quotes, and reads the same; bounds hold.
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/money.h"
#include "db/csv_reader.h"

namespace txn {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// All records; `complete` is false when an error ended them.
Rows read(const std::string& text, bool& complete) {
  std::istringstream in(text);
  CsvReader reader(in);
  Rows rows;
  CsvRecord record;
  int64_t line = 0;
  while (true) {
    const auto more = reader.next(record);
    CHECK(reader.bytes_read() <= static_cast<int64_t>(text.size()), "no more bytes than there are");
    complete = more.has_value();
    if (!more || !*more) return rows;
    CHECK(!record.fields.empty(), "a record has a field");
    CHECK(record.line > line, "records follow one another");
    for (const std::string& field : record.fields) {
      // A balance that is taken is written back as it stood there, but for the cents that may be left out.
      const auto balance = parse_written_money(field);
      if (balance)
        CHECK(to_string(*balance) == field || to_string(*balance) == field + ".00", "nothing is read into it");
    }
    line = record.line;
    rows.push_back(record.fields);
  }
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  const std::string text(reinterpret_cast<const char*>(data), size);
  bool complete = false;
  const Rows rows = read(text, complete);
  std::string written;
  for (const auto& fields : rows) {
    for (size_t i = 0; i < fields.size(); ++i) {
      written += i == 0 ? "\"" : ",\"";
      for (const char c : fields[i]) written += c == '"' ? std::string("\"\"") : std::string(1, c);
      written += '"';
    }
    written += '\n';
  }
  const Rows again = read(written, complete);
  CHECK(complete, "what is written is well-formed");
  CHECK(again == rows, "and says the same");
  return 0;
}
