// Bearer tokens: compact JWS (RFC 7515) that carries claims (RFC 7519), verified as RFC 8725 advises. No HTTP here.
//
// The verifier's keys pick the algorithm, never the token. A token that is good has one spelling, because base64url is
// decoded strictly and the signature covers the text itself; ES256 alone has a second signature for each (r, n - s),
// which is as good as the first. No key and no address is ever taken from a token.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "app/json_reader.h"
#include "app/principal.h"
#include "app/token_cache.h"
#include "app/token_claims.h"
#include "app/token_error.h"
#include "app/token_keys.h"
#include "core/error.h"
#include "core/metrics.h"

namespace txn {

inline constexpr int64_t kTokenLeewayMax = 600;
// As much as a request's head may hold: what arrives is read.
inline constexpr size_t kTokenBytesMax = 16 * 1024;
// Tokens that a worker remembers: 512 KiB. docs/performance.md has what they save.
inline constexpr size_t kTokenCacheEntries = 8192;

struct TokenCounters {
  Counter accepted;
  std::array<Counter, kTokenErrorKindCount> refused;  // by TokenErrorKind
  Counter cache_hits;
  Counter cache_misses;
  Counter cache_evictions;
};

// One per thread: owns its keys, its scratch space and its cache. Of its own it allocates nothing after construction.
class TokenVerifier {
 public:
  // kInvalidArgument when the leeway is out of bounds. `cache_entries` 0: every token is verified every time.
  static Result<std::unique_ptr<TokenVerifier>> create(std::unique_ptr<TokenKeys> keys, TokenPolicy policy,
                                                       size_t cache_entries);

  // From now on tokens are held against these keys and no others. Forgets what it has verified with the old ones.
  void set_keys(std::unique_ptr<TokenKeys> keys);

  // What `token` proves at `now` (unix seconds). Checked in this order, the first failure answers:
  //
  //   form       at most kTokenBytesMax, exactly three parts, each strict base64url
  //   header     a JSON object, no member twice; `alg` ours; `typ`, if there, JWT or at+jwt (in any case, application/
  //              before it or not); `kid`, if there, a string of at most kKidBytesMax; none of crit (no extension is
  //              understood here), jku, jwk, x5u, x5c
  //   signature  by the key of that `kid` (TokenKeys::find)
  //   claims     a JSON object, no member twice, as ClaimReader::read() wants them
  //   times      now must be before `exp` + leeway, and not before `nbf` - leeway nor `iat` - leeway, for a token from
  //   the
  //              future is forged or the clocks are further apart than anybody has allowed for
  //
  // Strings count by their text, however it is escaped. `login_id`, `jti` and all other claims may say what they like.
  std::expected<Principal, TokenError> verify(std::string_view token, int64_t now);

  // The words for what verify() says.
  const TokenErrorTexts& texts() const { return claims_.texts(); }

  const TokenCounters& counters() const { return counters_; }

 private:
  TokenVerifier(std::unique_ptr<TokenKeys> keys, TokenPolicy policy, size_t cache_entries);

  std::expected<Principal, TokenError> verify_remembering(std::string_view token, int64_t now);
  // All but the times.
  std::expected<TokenStatement, TokenError> read(std::string_view token);
  // What a statement is worth at `now`.
  std::expected<Principal, TokenError> judge(const TokenStatement& statement, int64_t now) const;

  std::expected<const TokenKey*, TokenError> key_for(std::string_view encoded_header);
  std::expected<TokenStatement, TokenError> read_claims(std::string_view encoded);

  std::unique_ptr<TokenKeys> keys_;
  std::optional<TokenCache> cache_;
  JsonReader reader_;
  JsonUnescaper room_;
  ClaimReader claims_;
  // The header that held last, as it was spelt, and its key. An issuer's tokens nearly all have the same one, and
  // whether a header holds depends on nothing but its text, the keys and the configuration.
  std::string good_header_;
  const TokenKey* good_key_ = nullptr;
  TokenCounters counters_;
};

}  // namespace txn
