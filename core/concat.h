// concat("LEDGER_LANES is ", 9, ", at most 8"): messages put together, in place of <format>, which GCC 12 has not.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace txn {

inline void concat_one(std::string& out, std::string_view part) { out += part; }
inline void concat_one(std::string& out, char part) { out += part; }

template <std::integral T>
  requires(!std::same_as<T, bool> && !std::same_as<T, char>)
void concat_one(std::string& out, T part) {
  out += std::to_string(part);
}

// Strings, characters and integers one after the other. For messages and set-up, not for the hot path.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string out;
  (concat_one(out, parts), ...);
  return out;
}

}  // namespace txn
