#include "app/json_number.h"

#include <algorithm>

namespace txn {
namespace {

// Above any length of text that is read here, so that an exponent of this size moves the point beyond every digit. Sums
// of it and of lengths stay far from the ends of 64 bits.
constexpr int64_t kExponentMax = int64_t{1} << 40;

// The exponent behind 'e', its sign included; kExponentMax at most, to either side.
int64_t exponent_of(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.remove_prefix(1);
  int64_t exponent = 0;
  for (const char c : text) exponent = std::min(exponent * 10 + (c - '0'), kExponentMax);
  return is_negative ? -exponent : exponent;
}

}  // namespace

WholeNumber whole_number(std::string_view number) {
  const bool is_negative = number.starts_with('-');
  if (is_negative) number.remove_prefix(1);
  const size_t e = std::min(number.find_first_of("eE"), number.size());
  const int64_t exponent = e < number.size() ? exponent_of(number.substr(e + 1)) : 0;
  const std::string_view digits = number.substr(0, e);  // with a point among them, perhaps
  const size_t point = std::min(digits.find('.'), digits.size());
  // How many digits stand before the point once the exponent has moved it.
  int64_t whole_digits = static_cast<int64_t>(point) + exponent;

  WholeNumber result;
  // Built below zero, where there is room for one more than above.
  const auto append = [&result](int digit) {
    if (result.is_beyond) return;
    result.is_beyond = __builtin_mul_overflow(result.value, 10, &result.value) ||
                       __builtin_sub_overflow(result.value, digit, &result.value);
  };
  for (const char c : digits) {
    if (c == '.') continue;
    if (whole_digits > 0) {
      append(c - '0');
    } else if (c != '0') {
      result.has_fraction = true;
    }
    --whole_digits;
  }
  // Zeros that only the exponent spells: nothing grows for ever by them but what is not zero.
  for (; whole_digits > 0 && result.value != 0 && !result.is_beyond; --whole_digits) append(0);

  if (!result.is_beyond && !is_negative) {
    result.is_beyond = __builtin_sub_overflow(int64_t{0}, result.value, &result.value);
  }
  if (result.is_beyond) result.value = is_negative ? INT64_MIN : INT64_MAX;
  return result;
}

}  // namespace txn
