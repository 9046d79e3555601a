// Character classes and comparisons of the HTTP grammar. ASCII only and independent of any locale.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace txn {

inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

inline bool equals_ignore_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) {
    return false;
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (ascii_lower(a[i]) != ascii_lower(b[i])) {
      return false;
    }
  }
  return true;
}

// VCHAR of RFC 5234: printable ASCII without the space.
inline bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

// OWS of RFC 9110 section 5.6.3.
inline bool is_blank(char c) { return c == ' ' || c == '\t'; }

// tchar of RFC 9110 section 5.6.2.
inline bool is_token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
    return true;
  }
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

inline std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) {
    text.remove_prefix(1);
  }
  while (!text.empty() && is_blank(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The first byte of [begin, end) that is a control character (below 0x20, or 0x7f), or `end`. Eight bytes at a time:
// each subtraction marks the top bit of the bytes looked for; a borrow can only mark bytes above a real hit, so the
// lowest mark is always right.
inline const char* find_control(const char* begin, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kTops = 0x8080808080808080;
  if constexpr (std::endian::native == std::endian::little) {
    while (end - begin >= 8) {
      uint64_t word;
      std::memcpy(&word, begin, sizeof word);
      const uint64_t del = word ^ (kOnes * 0x7f);
      const uint64_t hits = (((word - kOnes * 0x20) & ~word) | ((del - kOnes) & ~del)) & kTops;
      if (hits != 0) {
        return begin + std::countr_zero(hits) / 8;
      }
      begin += 8;
    }
  }
  while (begin != end && static_cast<unsigned char>(*begin) >= 0x20 && *begin != 0x7f) {
    ++begin;
  }
  return begin;
}

}  // namespace txn
