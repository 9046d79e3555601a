// Numbers and names in paths and queries.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace txn {

// Decimal digits only, `min` to `max`.
inline std::optional<int64_t> parse_number(std::string_view text, int64_t min, int64_t max = INT64_MAX) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || text.front() == '-')
    return std::nullopt;
  if (value < min || value > max) return std::nullopt;
  return value;
}

}  // namespace txn
