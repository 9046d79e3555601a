// Amounts: what is parsed has the value that a slow reader with exact integers finds, and survives being written.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/check.h"
#include "core/money.h"

namespace txn {
namespace {

// The decimal digits of `text` (a JSON number) and where its point is: value = digits * 10^exponent. Nothing for what
// is no number. Written apart from core/money.cc, on strings.
struct Decimal {
  bool negative = false;
  std::string digits;  // without leading zeros
  long long exponent = 0;
};

std::optional<Decimal> read_decimal(std::string_view text) {
  Decimal result;
  size_t at = 0;
  const auto is_digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  if (at < text.size() && text[at] == '-') result.negative = ++at != 0;
  if (!is_digit()) return std::nullopt;
  if (text[at] == '0' && at + 1 < text.size() && text[at + 1] >= '0' && text[at + 1] <= '9') return std::nullopt;
  while (is_digit()) result.digits += text[at++];
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (!is_digit()) return std::nullopt;
    while (is_digit()) {
      result.digits += text[at++];
      --result.exponent;
    }
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    bool minus = false;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) minus = text[at++] == '-';
    if (!is_digit()) return std::nullopt;
    long long exponent = 0;
    while (is_digit()) exponent = std::min(exponent * 10 + (text[at++] - '0'), 1'000'000'000'000LL);
    result.exponent += minus ? -exponent : exponent;
  }
  if (at != text.size()) return std::nullopt;
  result.digits.erase(0, std::min(result.digits.find_first_not_of('0'), result.digits.size()));
  while (!result.digits.empty() && result.digits.back() == '0') {
    result.digits.pop_back();
    ++result.exponent;
  }
  if (result.digits.empty()) result = {};
  return result;
}

// Hundredths, when they are whole and within the books' range.
std::optional<int64_t> minor_units(const Decimal& decimal) {
  if (decimal.digits.empty()) return 0;
  if (decimal.exponent < -2 || decimal.exponent > 20 || decimal.digits.size() > 20) return std::nullopt;
  __int128 value = 0;
  for (const char digit : decimal.digits) value = value * 10 + (digit - '0');
  for (long long i = 0; i < decimal.exponent + 2; ++i) {
    if (value > kMaxBalance.minor()) return std::nullopt;
    value *= 10;
  }
  if (value > kMaxBalance.minor()) return std::nullopt;
  return static_cast<int64_t>(decimal.negative ? -value : value);
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto money = parse_money(text);
  const auto decimal = read_decimal(text);
  CHECK(decimal.has_value() == (money.has_value() || money.error() != MoneyError::kNotANumber),
        "what is a number is settled");
  if (decimal) {
    const auto expected = minor_units(*decimal);
    CHECK(money.has_value() == expected.has_value(), "exact and in range, or not");
    if (money) CHECK(money->minor() == *expected, "the value");
  }
  // What people write: digits, and two decimals or none.
  const auto in_file = parse_written_money(text);
  const size_t point = text.find('.');
  const bool is_plain = text.find_first_not_of("0123456789.") == std::string_view::npos &&
                        (point == std::string_view::npos || text.size() - point == 3);
  CHECK(in_file.has_value() == (is_plain && money.has_value()), "no sign, no exponent, two decimals or none");
  if (in_file) CHECK(*in_file == *money, "the same amount");
  if (money) {
    const std::string written = to_string(*money);
    CHECK(written.size() <= kMoneyTextMax && written[written.size() - 3] == '.', "two decimals");
    const auto again = parse_money(written);
    CHECK(again.has_value(), "what is written can be read");
    CHECK(*again == *money, "and says the same");
  }
  return 0;
}
