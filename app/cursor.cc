#include "app/cursor.h"

#include <array>

#include "app/base64url.h"

namespace txn {
namespace {

constexpr char kVersion = 1;
constexpr size_t kBytes = 9;  // version, seq big-endian
constexpr size_t kTextSize = 12;

}  // namespace

std::string encode_cursor(int64_t before_seq) {
  std::array<char, kBytes> bytes;
  bytes[0] = kVersion;
  for (size_t i = 1; i < kBytes; ++i) bytes[i] = static_cast<char>(static_cast<uint64_t>(before_seq) >> (8 * (8 - i)));
  return encode_base64url({bytes.data(), bytes.size()});
}

std::optional<int64_t> decode_cursor(std::string_view text) {
  if (text.size() != kTextSize) return std::nullopt;
  std::array<uint8_t, kTextSize> bytes;
  if (decode_base64url(text, bytes.data()) != static_cast<ptrdiff_t>(kBytes) || bytes[0] != kVersion)
    return std::nullopt;
  uint64_t seq = 0;
  for (size_t i = 1; i < kBytes; ++i) seq = seq << 8 | bytes[i];
  if (seq == 0 || seq > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return static_cast<int64_t>(seq);
}

}  // namespace txn
