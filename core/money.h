// Exact money: a signed count of minor units (cents) in 64 bits. No floating point anywhere.
//
// Domain: the books hold 0.00 to 9,999,999,999,999.99, which is what NUMERIC(15,2) can store. Arithmetic that could
// leave int64 is checked by the caller through checked_add.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace txn {

class Money {
 public:
  constexpr Money() = default;
  static constexpr Money from_minor(int64_t minor) { return Money(minor); }
  constexpr int64_t minor() const { return minor_; }

  friend constexpr auto operator<=>(Money, Money) = default;
  friend constexpr Money operator+(Money a, Money b) { return Money(a.minor_ + b.minor_); }
  friend constexpr Money operator-(Money a, Money b) { return Money(a.minor_ - b.minor_); }
  Money& operator+=(Money other) { return *this = *this + other; }

 private:
  constexpr explicit Money(int64_t minor) : minor_(minor) {}
  int64_t minor_ = 0;
};

inline constexpr Money kMaxBalance = Money::from_minor(999'999'999'999'999);  // 9,999,999,999,999.99

// a + b, or nothing when the sum does not fit 64 bits.
constexpr std::optional<Money> checked_add(Money a, Money b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a.minor(), b.minor(), &sum)) return std::nullopt;
  return Money::from_minor(sum);
}

enum class MoneyError {
  kNotANumber,       // not a decimal numeral in JSON's grammar (RFC 8259 section 6)
  kTooManyDecimals,  // a non-zero digit beyond the second decimal
  kOutOfRange,       // magnitude beyond kMaxBalance
};

// Parses a JSON number token or the text of a decimal string: optional '-', digits, optional fraction, optional
// exponent. Trailing zeros beyond two decimals are accepted ("1.500"), an exponent too when the value is exact
// ("1e2", "15e-1"). Leading '+', leading zeros, spaces, "NaN" and the like are kNotANumber. "-0" is zero.
// Constant work per character whatever the exponent says.
std::expected<Money, MoneyError> parse_money(std::string_view text);

// Money as people write it into files and on command lines: digits, with two decimals or none. No sign, no exponent,
// and no other number of decimals: "1.000" may be a thousand, "1.23457E+11" is what spreadsheets leave of an account
// number. Fails with what is wrong, in words that go behind the text: "has an exponent".
std::expected<Money, std::string_view> parse_written_money(std::string_view text);

// Longest text that format_money writes: sign, 17 integer digits, point, 2 decimals.
inline constexpr size_t kMoneyTextMax = 24;

// Writes "-12.34" with exactly two decimals to `out` (at least kMoneyTextMax bytes), returns the length.
size_t format_money(Money amount, char* out);
std::string to_string(Money amount);

}  // namespace txn
