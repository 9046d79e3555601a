#include "core/money.h"

#include <charconv>

#include "core/check.h"

namespace txn {
namespace {

// kMaxBalance is 9,999,999,999,999.99: a value is in range exactly when its leading digit stands for 10^12 or less,
// and exact in minor units exactly when its last non-zero digit stands for 10^-2 or more.
constexpr int64_t kHighestPlace = 12;
constexpr int64_t kLowestPlace = -2;
constexpr int kSignificantDigitsMax = static_cast<int>(kHighestPlace - kLowestPlace + 1);
static_assert(kSignificantDigitsMax == 15 && kMaxBalance.minor() == 999'999'999'999'999);

// Exponents beyond this are all alike: no text is long enough for its zeros to bring the value back into range.
constexpr int64_t kExponentMax = int64_t{1} << 60;

// clang-format off
constexpr int64_t kPowersOfTen[] = {1, 10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000, 100'000'000,
                                    1'000'000'000, 10'000'000'000, 100'000'000'000, 1'000'000'000'000,
                                    10'000'000'000'000, 100'000'000'000'000};
// clang-format on

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The significant digits of a numeral, without its leading and trailing zeros. Places are powers of ten.
class Significand {
 public:
  void take(char digit, int64_t place) {
    if (digit == '0') {
      zeros_ += digits_ > 0;  // leading zeros say nothing, later ones only when another digit follows
      return;
    }
    if (digits_ == 0) first_place_ = place;
    last_place_ = place;
    digits_ += zeros_ + 1;
    // More digits than the bound are refused whatever their places, so the value no longer matters. Up to the bound
    // at most 13 zeros stand between two other digits, so the table is long enough and the value fits.
    if (digits_ <= kSignificantDigitsMax) value_ = value_ * kPowersOfTen[zeros_ + 1] + (digit - '0');
    zeros_ = 0;
  }

  bool is_zero() const { return digits_ == 0; }
  int64_t first_place() const { return first_place_; }
  int64_t last_place() const { return last_place_; }
  int64_t value() const { return value_; }

 private:
  int64_t value_ = 0;
  int64_t digits_ = 0;
  int64_t zeros_ = 0;  // seen since the last non-zero digit
  int64_t first_place_ = 0;
  int64_t last_place_ = 0;
};

}  // namespace

std::expected<Money, MoneyError> parse_money(std::string_view text) {
  constexpr auto kNot = std::unexpected(MoneyError::kNotANumber);
  const char* p = text.data();
  const char* const end = p + text.size();

  const bool negative = p != end && *p == '-';
  if (negative) ++p;

  const char* const integer = p;
  while (p != end && is_digit(*p)) ++p;
  const int64_t integer_digits = p - integer;
  if (integer_digits == 0 || (*integer == '0' && integer_digits > 1)) return kNot;

  Significand significand;
  for (int64_t i = 0; i < integer_digits; ++i) significand.take(integer[i], integer_digits - 1 - i);

  if (p != end && *p == '.') {
    const char* const fraction = ++p;
    for (int64_t place = -1; p != end && is_digit(*p); ++p, --place) significand.take(*p, place);
    if (p == fraction) return kNot;
  }

  int64_t exponent = 0;
  if (p != end && (*p == 'e' || *p == 'E')) {
    ++p;
    const bool exponent_negative = p != end && *p == '-';
    if (p != end && (*p == '-' || *p == '+')) ++p;
    const char* const digits = p;
    for (; p != end && is_digit(*p); ++p) {
      if (exponent < kExponentMax / 10) exponent = exponent * 10 + (*p - '0');
    }
    if (p == digits) return kNot;
    if (exponent_negative) exponent = -exponent;
  }
  if (p != end) return kNot;

  if (significand.is_zero()) return Money();
  if (significand.first_place() + exponent > kHighestPlace) return std::unexpected(MoneyError::kOutOfRange);
  const int64_t last_place = significand.last_place() + exponent;
  if (last_place < kLowestPlace) return std::unexpected(MoneyError::kTooManyDecimals);

  CHECK(last_place <= kHighestPlace, "the last digit of a numeral stands no higher than its first");

  const int64_t minor = significand.value() * kPowersOfTen[last_place - kLowestPlace];
  return Money::from_minor(negative ? -minor : minor);
}

std::expected<Money, std::string_view> parse_written_money(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) return std::unexpected("has a sign");
  const auto money = parse_money(text);
  if (!money && money.error() == MoneyError::kNotANumber) return std::unexpected("is not a number");
  if (text.find_first_of("eE") != std::string_view::npos) return std::unexpected("has an exponent");
  const size_t point = text.find('.');
  if (point != std::string_view::npos && text.size() - point - 1 != 2)
    return std::unexpected("has neither two decimals nor none");
  if (!money) return std::unexpected("is above 9999999999999.99");
  return *money;
}

size_t format_money(Money amount, char* out) {
  char* p = out;
  uint64_t magnitude = static_cast<uint64_t>(amount.minor());
  if (amount.minor() < 0) {
    *p++ = '-';
    magnitude = 0 - magnitude;  // in unsigned arithmetic, so that the lowest int64 has a magnitude too
  }
  p = std::to_chars(p, out + kMoneyTextMax, magnitude / 100).ptr;
  const auto cents = static_cast<int>(magnitude % 100);
  *p++ = '.';
  *p++ = static_cast<char>('0' + cents / 10);
  *p++ = static_cast<char>('0' + cents % 10);
  return static_cast<size_t>(p - out);
}

std::string to_string(Money amount) {
  char text[kMoneyTextMax];
  return std::string(text, format_money(amount, text));
}

}  // namespace txn
