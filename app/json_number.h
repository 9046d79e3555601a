// What a JSON number is worth as an integer, exactly and without binary floating point: 7, 7.0 and 0.7e1 are one value.
#pragma once

#include <cstdint>
#include <string_view>

namespace txn {

// The number cut off at its decimal point, towards zero.
struct WholeNumber {
  int64_t value = 0;          // beyond 64 bits: the nearest there is
  bool has_fraction = false;  // something other than zeros was cut off
  bool is_beyond = false;     // the number is beyond 64 bits
};

// REQUIRES: `number` is a number in the way of RFC 8259 section 6, as JsonReader gives it (JsonKind::kNumber). Time
// grows with the length of the text and not with its exponent.
WholeNumber whole_number(std::string_view number);

}  // namespace txn
