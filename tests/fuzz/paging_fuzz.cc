// Query strings and cursors. A query is read as a slow reader reads it; a cursor is taken only in the one spelling that
// we write.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/cursor.h"
#include "app/path_value.h"
#include "app/query_names.h"
#include "app/time_text.h"
#include "app/validate.h"
#include "core/check.h"
#include "net/query.h"

namespace txn {
namespace {

using Parameters = std::vector<std::pair<std::string, std::string>>;

std::optional<std::string> decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%') {
      constexpr std::string_view kDigits = "0123456789abcdef0123456789ABCDEF";
      const size_t high = i + 2 < text.size() ? kDigits.find(text[i + 1]) : std::string_view::npos;
      const size_t low = i + 2 < text.size() ? kDigits.find(text[i + 2]) : std::string_view::npos;
      const auto value = [](size_t at) { return at >= 16 && at < 26 ? at - 16 : at >= 26 ? at - 16 : at; };
      if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
      out += static_cast<char>(value(high) * 16 + value(low));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Nothing for a malformed query.
std::optional<Parameters> read_slowly(std::string_view query) {
  Parameters parameters;
  size_t at = 0;
  while (at <= query.size()) {
    const size_t end = std::min(query.find('&', at), query.size());
    const std::string_view parameter = query.substr(at, end - at);
    at = end + 1;
    if (parameter.empty()) continue;
    const size_t equals = std::min(parameter.find('='), parameter.size());
    const auto name = decode(parameter.substr(0, equals));
    const auto value = decode(parameter.substr(std::min(equals + 1, parameter.size())));
    if (!name || !value) return std::nullopt;
    parameters.emplace_back(*name, *value);
  }
  return parameters;
}

void check_cursor(std::string_view text) {
  const auto seq = decode_cursor(text);
  if (!seq) return;
  CHECK(*seq > 0, "a seq is positive");
  CHECK(encode_cursor(*seq) == text, "one cursor, one spelling");
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  const std::string_view query(reinterpret_cast<const char*>(data), size);
  Parameters parameters;
  QueryReader reader(query);
  while (reader.next() == QueryReader::Status::kParameter) {
    CHECK(reader.name().size() + reader.value().size() <= QueryReader::kMaxParameterBytes, "within the bound");
    parameters.emplace_back(reader.name(), reader.value());
    check_cursor(reader.value());
    if (const auto number = parse_number(reader.value(), 1, 10'000))
      CHECK(*number >= 1 && *number <= 10'000, "within the range");
    const auto first = parse_time(reader.value(), false);
    const auto last = parse_time(reader.value(), true);
    CHECK(first.has_value() == last.has_value(), "a time is one at either end");
    if (first) CHECK(*first >= kTimeMinUs && *first <= *last && *last <= kTimeMaxUs, "from its begin to its end");
    if (!first) CHECK(!time_error(reader.value()).empty(), "what is no time has a reason");
    constexpr std::string_view kKnown[] = {"limit", "cursor", "start_date"};
    if (const auto error = find_query_error(query, kKnown))
      CHECK(error->field.size() <= BodyError::kFieldNameMax && !error->message.empty(), "an error names what is wrong");
  }
  CHECK(reader.next() == reader.status(), "the end stays the end");
  const auto expected = read_slowly(query);
  if (reader.status() == QueryReader::Status::kEnd) {
    CHECK(expected.has_value(), "not malformed");
    CHECK(*expected == parameters, "the same parameters");
  } else if (reader.status() == QueryReader::Status::kMalformed) {
    CHECK(!expected, "malformed");
  }

  check_cursor(query);
  if (size == 8) {
    uint64_t seq = 0;
    for (const char c : query) seq = seq << 8 | static_cast<uint8_t>(c);
    seq = seq >> 1 | 1;
    const auto again = decode_cursor(encode_cursor(static_cast<int64_t>(seq)));
    CHECK(again.has_value(), "our own cursor is one");
    CHECK(*again == static_cast<int64_t>(seq), "and says what it said");
  }
  return 0;
}
