// Tokens that have been verified, so that the next request with the same token need not pay for its signature.
//
// A token is known by the SHA-256 of its whole text: nothing shorter tells a good token from one with its signature
// altered. What is remembered is what the token says, its times included, and those are looked at again at every use;
// so nothing is taken for longer than it would be without a cache, whichever way the clock goes.
//
// A table of fixed size, eight places for each set of digests; a new token takes the place that was used least recently
// of its set. No allocation after construction, no lock: one per thread.
#pragma once

#include <openssl/sha.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "app/principal.h"

namespace txn {

using TokenDigest = std::array<uint8_t, SHA256_DIGEST_LENGTH>;

TokenDigest digest_of(std::string_view token);

// All that a good token has to say, whatever the time is. Times are unix seconds, without leeway.
struct TokenStatement {
  Principal principal;
  int64_t valid_from = INT64_MIN;  // the later of `nbf` and `iat`
};

class TokenCache {
 public:
  static constexpr size_t kWays = 8;

  // Room for `entries` tokens, rounded up to kWays times a power of two, 64 bytes each. REQUIRES: entries > 0.
  explicit TokenCache(size_t entries);

  // What the token said when it was stored; nothing when it is not there. Whether it holds now is for the caller to
  // say.
  std::optional<TokenStatement> find(const TokenDigest& digest);

  // Only for a token that has just been verified and that find() did not find. True: another had to make room.
  bool store(const TokenDigest& digest, const TokenStatement& statement);

  // For a token whose time is over.
  void erase(const TokenDigest& digest);

  // Forgets everything: the keys have changed.
  void clear();

  size_t capacity() const { return entries_.size(); }

 private:
  // One cache line.
  struct alignas(64) Entry {
    TokenDigest digest{};
    int64_t subject = 0;
    int64_t expires_at = 0;
    int64_t valid_from = 0;
    uint32_t used_at = 0;  // value of uses_; 0: free
    Role role = Role::kCustomer;
  };
  static_assert(sizeof(Entry) == 64);

  Entry* set_of(const TokenDigest& digest);
  Entry* find_entry(const TokenDigest& digest);
  uint32_t next_use();

  std::vector<Entry> entries_;
  size_t set_mask_ = 0;
  uint32_t uses_ = 0;
};

}  // namespace txn
