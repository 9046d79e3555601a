// PostgreSQL's binary formats. What we write is what its manual says, read here by a second implementation; what we
// read has the value that digits on paper give, and whatever bytes there are, reading them ends in a value or in none.
//
// Input: a number that chooses, then the values.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "db/pg_value.h"
#include "tests/fuzz/fuzz_input.h"

namespace txn {
namespace {

std::string big_endian(uint64_t value, size_t bytes) {
  std::string out;
  for (size_t i = bytes; i > 0; --i) out += static_cast<char>(value >> (8 * (i - 1)));
  return out;
}

uint64_t read_number(std::string_view& bytes, size_t size) {
  CHECK(bytes.size() >= size, "a value was cut");
  uint64_t value = 0;
  for (const char byte : bytes.substr(0, size)) value = value << 8 | static_cast<uint8_t>(byte);
  bytes.remove_prefix(size);
  return value;
}

// The hundredths that the base-10000 groups of a numeric spell; nothing when there are finer digits or too many.
std::optional<int64_t> hundredths(const std::vector<uint16_t>& groups, int weight, bool negative) {
  __int128 value = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    const int power = weight - static_cast<int>(i);
    __int128 scaled = groups[i];
    if (power < 0 && scaled != 0) {
      if (power < -1 || scaled % 100 != 0) return std::nullopt;
      scaled /= 100;
    } else {
      scaled *= 100;
      for (int p = 0; p < power; ++p) scaled *= 10'000;
    }
    value += scaled;
    if (value > INT64_MAX) return std::nullopt;
  }
  return static_cast<int64_t>(negative ? -value : value);
}

void read_numeric(fuzz::FuzzInput& input) {
  const int weight = static_cast<int>(input.byte() % 8) - 3;
  const bool negative = input.byte() % 2 == 1;
  std::vector<uint16_t> groups;
  for (size_t count = input.byte() % 8; count > 0; --count)
    groups.push_back(static_cast<uint16_t>(input.number(2) % 10'000));
  const auto expected = hundredths(groups, weight, negative);
  // PostgreSQL stores neither leading nor trailing zero groups; of what it can send, this much must be read.
  if (!expected || (!groups.empty() && (groups.front() == 0 || groups.back() == 0))) return;
  std::string bytes = big_endian(groups.size(), 2) + big_endian(static_cast<uint16_t>(weight), 2) +
                      big_endian(negative ? 0x4000 : 0, 2) + big_endian(2, 2);
  for (const uint16_t group : groups) bytes += big_endian(group, 2);
  const auto read = decode_numeric(bytes);
  CHECK(read && read->minor() == *expected, "the value of a numeric");
}

// A value of a length that is not its type's is none, every other one has its order; a numeric is what its groups say.
void read_anything(std::string_view bytes) {
  CHECK(decode_int8(bytes).has_value() == (bytes.size() == 8), "int8");
  CHECK(decode_int4(bytes).has_value() == (bytes.size() == 4), "int4");
  CHECK(decode_bool(bytes).has_value() == (bytes.size() == 1), "bool");
  CHECK(!decode_date(bytes) || bytes.size() == 4, "date");
  CHECK(!decode_timestamptz(bytes) || bytes.size() == 8, "timestamptz");
  const auto money = decode_numeric(bytes);
  if (bytes.size() < 8) {
    CHECK(!money, "a numeric has a header");
    return;
  }
  const uint64_t count = read_number(bytes, 2);
  const auto weight = static_cast<int16_t>(read_number(bytes, 2));
  const uint64_t sign = read_number(bytes, 2);
  read_number(bytes, 2);
  if (!money) return;
  CHECK((sign == 0 || sign == 0x4000) && bytes.size() == count * 2, "a numeric that is a number");
  std::vector<uint16_t> groups;
  while (!bytes.empty()) groups.push_back(static_cast<uint16_t>(read_number(bytes, 2)));
  CHECK(hundredths(groups, weight, sign != 0) == money->minor(), "the value of a numeric");
}

void round_trips(fuzz::FuzzInput& input) {
  const auto number = static_cast<int64_t>(input.number(8));
  PgParameters parameters;
  // Columns hold at most NUMERIC(15,2), sums of them a few digits more.
  const Money money = Money::from_minor(number % 1'000'000'000'000'000'000);
  parameters.add_numeric(money);
  parameters.add_int8(number);
  parameters.add_int4(static_cast<int32_t>(number));
  parameters.add_bool(number % 2 == 0);
  parameters.add_null();
  parameters.add_text("");
  parameters.finish();
  const auto value = [&](int i) {
    return std::string_view(parameters.values()[i], static_cast<size_t>(parameters.lengths()[i]));
  };
  CHECK(decode_numeric(value(0)) == money, "numeric");
  CHECK(decode_int8(value(1)) == number, "int8");
  CHECK(decode_int4(value(2)) == static_cast<int32_t>(number), "int4");
  CHECK(decode_bool(value(3)) == (number % 2 == 0), "bool");
  CHECK(parameters.values()[4] == nullptr, "NULL");
  CHECK(parameters.values()[5] != nullptr && parameters.lengths()[5] == 0, "an empty text is not NULL");
  // Whatever stands in a column keeps its order; the infinities are none.
  const auto us = decode_timestamptz(big_endian(static_cast<uint64_t>(number), 8));
  const auto pg_day = static_cast<int32_t>(number);
  const auto day = decode_date(big_endian(static_cast<uint32_t>(pg_day), 4));
  CHECK(us.has_value() == (number != INT64_MIN && number <= INT64_MAX - kPgEpochUs), "timestamptz in our range");
  CHECK(day.has_value() == (pg_day != INT32_MIN && pg_day <= INT32_MAX - kPgEpochDay), "date in our range");
  CHECK(!us || (*us >= kPgEpochUs) == (number >= 0), "timestamptz");
  CHECK(!day || (*day >= kPgEpochDay) == (pg_day >= 0), "date");
}

// An array of every element type at once is not SQL, but its bytes have to be right element by element.
void write_array(fuzz::FuzzInput& input) {
  const size_t count = input.byte() % 16;
  std::vector<std::optional<std::string>> expected;
  PgParameters parameters;
  parameters.begin_array(PgType::kText, count);
  for (size_t i = 0; i < count; ++i) {
    switch (input.byte() % 4) {
      case 0:
        parameters.element_null();
        expected.emplace_back();
        break;
      case 1: {
        const auto value = static_cast<int64_t>(input.number(8));
        parameters.element_int8(value);
        expected.emplace_back(big_endian(static_cast<uint64_t>(value), 8));
        break;
      }
      case 2: {
        const auto value = static_cast<int32_t>(input.number(4));
        parameters.element_int4(value);
        expected.emplace_back(big_endian(static_cast<uint32_t>(value), 4));
        break;
      }
      default: {
        const std::string_view value = input.text(input.byte());
        parameters.element_text(value);
        expected.emplace_back(value);
        break;
      }
    }
  }
  parameters.end_array();
  parameters.finish();
  std::string_view bytes(parameters.values()[0], static_cast<size_t>(parameters.lengths()[0]));
  CHECK(read_number(bytes, 4) == (count == 0 ? 0U : 1U), "dimensions");
  read_number(bytes, 4);
  CHECK(read_number(bytes, 4) == static_cast<uint32_t>(PgType::kText), "element type");
  if (count != 0) {
    CHECK(read_number(bytes, 4) == count, "elements");
    CHECK(read_number(bytes, 4) == 1, "lower bound");
  }
  for (const auto& element : expected) {
    const auto length = static_cast<int32_t>(read_number(bytes, 4));
    CHECK((length < 0) == !element.has_value(), "NULL or not");
    if (!element) continue;
    CHECK(bytes.substr(0, static_cast<size_t>(length)) == *element, "the element's bytes");
    bytes.remove_prefix(static_cast<size_t>(length));
  }
  CHECK(bytes.empty(), "and nothing else");
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  fuzz::FuzzInput input(data, size);
  switch (input.byte() % 4) {
    case 0:
      read_numeric(input);
      break;
    case 1:
      round_trips(input);
      break;
    case 2:
      write_array(input);
      break;
    default:
      read_anything(input.rest());
      break;
  }
  return 0;
}
