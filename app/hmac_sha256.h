// HMAC-SHA-256 (RFC 2104, FIPS 180-4) under one key that is used for many short messages.
//
// The key's two blocks are compressed once, at construction. A message then costs two compressions less than a
// one-shot HMAC() and nothing is allocated.
#pragma once

#include <openssl/sha.h>

#include <array>
#include <cstdint>
#include <span>

namespace txn {

// Safe to use from several threads at once: sign() works on copies. The key's traces are wiped at destruction.
class HmacSha256 {
 public:
  using Tag = std::array<uint8_t, SHA256_DIGEST_LENGTH>;

  // `key` may have any length; it is not kept.
  explicit HmacSha256(std::span<const uint8_t> key);
  ~HmacSha256();
  HmacSha256(const HmacSha256&) = delete;
  HmacSha256& operator=(const HmacSha256&) = delete;

  // The tag of `head` followed by `tail`.
  Tag sign(std::span<const uint8_t> head, std::span<const uint8_t> tail = {}) const;

 private:
  SHA256_CTX inner_;  // having taken in key XOR ipad
  SHA256_CTX outer_;  // having taken in key XOR opad
};

}  // namespace txn
