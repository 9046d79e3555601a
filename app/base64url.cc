#include "app/base64url.h"

#include <array>

namespace txn {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr uint8_t kNotInAlphabet = 0xFF;
using Sextets = std::array<uint8_t, 256>;
constexpr Sextets kSextets = [] {
  Sextets sextets;
  sextets.fill(kNotInAlphabet);
  for (uint8_t i = 0; i < 64; ++i) sextets[static_cast<uint8_t>(kAlphabet[i])] = i;
  return sextets;
}();
constexpr Sextets kSextetsOfBoth = [] {
  Sextets sextets = kSextets;
  sextets['+'] = 62;
  sextets['/'] = 63;
  return sextets;
}();

template <const Sextets& kTable>
ptrdiff_t decode(std::string_view text, uint8_t* out) {
  const uint8_t* const begin = out;
  const char* p = text.data();
  const char* const end = p + text.size();
  const auto sextet = [](char c) { return uint32_t{kTable[static_cast<uint8_t>(c)]}; };
  while (end - p >= 4) {
    const uint32_t a = sextet(p[0]), b = sextet(p[1]), c = sextet(p[2]), d = sextet(p[3]);
    if ((a | b | c | d) > 63) return -1;
    const uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    out[0] = static_cast<uint8_t>(bits >> 16);
    out[1] = static_cast<uint8_t>(bits >> 8);
    out[2] = static_cast<uint8_t>(bits);
    out += 3;
    p += 4;
  }
  switch (end - p) {
    case 0:
      break;
    case 2: {
      const uint32_t a = sextet(p[0]), b = sextet(p[1]);
      if ((a | b) > 63 || (b & 0xF) != 0) return -1;
      *out++ = static_cast<uint8_t>(a << 2 | b >> 4);
      break;
    }
    case 3: {
      const uint32_t a = sextet(p[0]), b = sextet(p[1]), c = sextet(p[2]);
      if ((a | b | c) > 63 || (c & 0x3) != 0) return -1;
      *out++ = static_cast<uint8_t>(a << 2 | b >> 4);
      *out++ = static_cast<uint8_t>(b << 4 | c >> 2);
      break;
    }
    default:
      return -1;
  }
  return out - begin;
}

}  // namespace

ptrdiff_t decode_base64url(std::string_view text, uint8_t* out) { return decode<kSextets>(text, out); }

ptrdiff_t decode_any_base64(std::string_view text, uint8_t* out) {
  if (text.size() % 4 == 0) {
    for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  }
  return decode<kSextetsOfBoth>(text, out);
}

std::string encode_base64url(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  uint32_t bits = 0;
  int pending = 0;  // bits not written yet
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<uint8_t>(c);
    for (pending += 8; pending >= 6; pending -= 6) text += kAlphabet[bits >> (pending - 6) & 63];
  }
  if (pending > 0) text += kAlphabet[bits << (6 - pending) & 63];
  return text;
}

}  // namespace txn
