#include "app/hmac_sha256.h"

#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/mem.h>

#include <algorithm>

#include "core/check.h"

namespace txn {
namespace {

// Starts `context` with the key's block, every byte XORed with `pad`.
void start(SHA256_CTX& context, const std::array<uint8_t, SHA256_CBLOCK>& block, uint8_t pad) {
  std::array<uint8_t, SHA256_CBLOCK> padded;
  std::ranges::transform(block, padded.begin(), [pad](uint8_t byte) { return static_cast<uint8_t>(byte ^ pad); });
  SHA256_Init(&context);
  SHA256_Update(&context, padded.data(), padded.size());
  OPENSSL_cleanse(padded.data(), padded.size());
}

}  // namespace

HmacSha256::HmacSha256(std::span<const uint8_t> key) {
  std::array<uint8_t, SHA256_CBLOCK> block{};
  if (key.size() > block.size()) {
    SHA256(key.data(), key.size(), block.data());
  } else {
    std::ranges::copy(key, block.begin());
  }
  start(inner_, block, 0x36);
  start(outer_, block, 0x5c);
  OPENSSL_cleanse(block.data(), block.size());
}

HmacSha256::~HmacSha256() {
  OPENSSL_cleanse(&inner_, sizeof(inner_));
  OPENSSL_cleanse(&outer_, sizeof(outer_));
}

HmacSha256::Tag HmacSha256::sign(std::span<const uint8_t> head, std::span<const uint8_t> tail) const {
  Tag tag;
  // Finishing overwrites a context with its digest, so these copies leave nothing of the key on the stack.
  SHA256_CTX context = inner_;
  SHA256_Update(&context, head.data(), head.size());
  SHA256_Update(&context, tail.data(), tail.size());
  SHA256_Final(tag.data(), &context);
  context = outer_;
  SHA256_Update(&context, tag.data(), tag.size());
  SHA256_Final(tag.data(), &context);
  return tag;
}

DerivedKey::DerivedKey(std::span<const uint8_t> secret, std::string_view label) {
  const int derived = HKDF(bytes_.data(), bytes_.size(), EVP_sha256(), secret.data(), secret.size(), nullptr, 0,
                           reinterpret_cast<const uint8_t*>(label.data()), label.size());
  CHECK(derived == 1, "HKDF gives 32 bytes of any secret");
}

DerivedKey::~DerivedKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

}  // namespace txn
