// HMAC-SHA-256 (RFC 2104, FIPS 180-4) under one key that is used for many short messages.
//
// The key's two blocks are compressed once, at construction. A message then costs two compressions less than a
// one-shot HMAC() and nothing is allocated.
#pragma once

#include <openssl/sha.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

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

// A key made of a secret for one purpose, which `label` names: HKDF-SHA-256 (RFC 5869). What is tagged for one purpose
// is worth nothing for another. Wiped at destruction, which is the end of the expression that needed it.
class DerivedKey {
 public:
  DerivedKey(std::span<const uint8_t> secret, std::string_view label);
  ~DerivedKey();
  DerivedKey(const DerivedKey&) = delete;
  DerivedKey& operator=(const DerivedKey&) = delete;
  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  std::array<uint8_t, 32> bytes_;
};

}  // namespace txn
