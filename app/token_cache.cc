#include "app/token_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "core/check.h"

namespace txn {

TokenDigest digest_of(std::string_view token) {
  TokenDigest digest;
  SHA256(reinterpret_cast<const uint8_t*>(token.data()), token.size(), digest.data());
  return digest;
}

TokenCache::TokenCache(size_t entries) {
  CHECK(entries > 0, "a cache has room for something");
  const size_t sets = std::bit_ceil((entries + kWays - 1) / kWays);
  entries_.resize(sets * kWays);
  set_mask_ = sets - 1;
}

TokenCache::Entry* TokenCache::set_of(const TokenDigest& digest) {
  size_t bits = 0;
  std::memcpy(&bits, digest.data(), sizeof(bits));
  return &entries_[(bits & set_mask_) * kWays];
}

TokenCache::Entry* TokenCache::find_entry(const TokenDigest& digest) {
  for (Entry& entry : std::span(set_of(digest), kWays)) {
    if (entry.used_at != 0 && entry.digest == digest) return &entry;
  }
  return nullptr;
}

uint32_t TokenCache::next_use() {
  // Once in four thousand million uses the order is lost, and with it the tokens.
  if (++uses_ == 0) {
    clear();
    ++uses_;
  }
  return uses_;
}

std::optional<TokenStatement> TokenCache::find(const TokenDigest& digest) {
  Entry* const entry = find_entry(digest);
  if (entry == nullptr) return std::nullopt;
  const TokenStatement statement{
      .principal = {.subject = entry->subject, .role = entry->role, .expires_at = entry->expires_at},
      .valid_from = entry->valid_from};
  entry->used_at = next_use();
  return statement;
}

bool TokenCache::store(const TokenDigest& digest, const TokenStatement& statement) {
  const uint32_t use = next_use();
  Entry& entry = *std::ranges::min_element(std::span(set_of(digest), kWays), {}, &Entry::used_at);
  const bool evicts = entry.used_at != 0;
  entry = {.digest = digest,
           .subject = statement.principal.subject,
           .expires_at = statement.principal.expires_at,
           .valid_from = statement.valid_from,
           .used_at = use,
           .role = statement.principal.role};
  return evicts;
}

void TokenCache::erase(const TokenDigest& digest) {
  if (Entry* const entry = find_entry(digest)) *entry = {};
}

void TokenCache::clear() { std::ranges::fill(entries_, Entry{}); }

}  // namespace txn
