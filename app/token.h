// Bearer tokens: compact JWS (RFC 7515) that carries claims (RFC 7519), verified as RFC 8725 advises. No HTTP here.
//
// The verifier's configuration picks the algorithm, never the token: a key belongs to exactly one `alg`. A token has
// one spelling only, because base64url is decoded strictly and the signature covers the text itself, so a text may
// stand for its token wherever one is remembered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "app/hmac_sha256.h"
#include "app/json_reader.h"
#include "core/error.h"
#include "db/ledger_rows.h"

namespace txn {

// What is to come (RS256, ES256, EdDSA) gets its name here, its key in TokenVerifier and its case in signature_holds().
enum class TokenAlgorithm { kHs256 };

struct TokenKey {
  TokenAlgorithm algorithm = TokenAlgorithm::kHs256;
  std::string bytes;  // HS256: the shared secret, at least kHmacKeyBytesMin (RFC 7518 section 3.2)
};

inline constexpr size_t kHmacKeyBytesMin = 32;

// Which tokens are meant for us. Empty: not asked for.
struct TokenPolicy {
  std::string issuer;           // `iss` must be this
  std::string audience;         // `aud` must be or contain this; while empty, a token's `aud` is not looked at
  int64_t leeway_seconds = 30;  // by how much clocks may differ, 0 to kTokenLeewayMax
};

inline constexpr int64_t kTokenLeewayMax = 600;
inline constexpr size_t kTokenBytesMax = 8 * 1024;

// Who a token says the caller is.
struct Principal {
  int64_t subject = 0;
  Role role = Role::kCustomer;
  int64_t expires_at = 0;  // unix seconds, without leeway
};

enum class TokenError {
  kMalformed,     // no compact JWS of ours: parts, base64url, JSON, a member twice, crit, a key brought along, typ
  kBadSignature,  // another algorithm than ours, or a signature that does not hold
  kExpired,
  kNotYetValid,  // `nbf` or `iat` lies in the future
  kWrongClaims,  // signed by us, but a claim is missing, of the wrong type or for somebody else
};

// Decodes base64url without padding (RFC 4648 section 5, RFC 7515 section 2) into `out`, which has room for
// text.size() / 4 * 3 + 2 bytes. Returns the number of bytes, or -1 for any character outside the alphabet (padding and
// white space too), an impossible length, or spare bits that are not zero.
ptrdiff_t decode_base64url(std::string_view text, uint8_t* out);
std::string encode_base64url(std::string_view bytes);

// One per thread: owns its scratch space. Nothing is allocated after construction.
class TokenVerifier {
 public:
  // kInvalidArgument when the key or the leeway is out of bounds.
  static Result<std::unique_ptr<TokenVerifier>> create(const TokenKey& key, TokenPolicy policy);

  // What `token` proves at `now` (unix seconds). Checked in this order, the first failure answers:
  //
  //   form       at most kTokenBytesMax, exactly three parts, each strict base64url
  //   header     a JSON object, no member twice; `alg` ours; `typ`, if there, JWT or at+jwt (in any case, application/
  //              before it or not); none of crit, jku, jwk, x5u, x5c
  //   signature
  //   claims     a JSON object, no member twice;
  //              `sub` or `user_id`: a positive integer or its decimal digits as a string, equal if both are there;
  //              `role`: CUSTOMER, TELLER or ADMIN; `iss`, `aud` by the policy;
  //              `exp`, required: now must be before exp + leeway;
  //              `nbf`: now must not be before nbf - leeway; `iat`: the same, for a token from the future is forged or
  //              the clocks are further apart than anybody has allowed for
  //
  // Times are JSON numbers without exponent, within 64 bits; a fraction (RFC 7519 NumericDate) is cut off. `login_id`,
  // `jti` and all other claims may say what they like.
  std::expected<Principal, TokenError> verify(std::string_view token, int64_t now);

 private:
  TokenVerifier(const TokenKey& key, TokenPolicy policy);

  bool header_holds(std::string_view encoded, TokenError& error);
  bool signature_holds(std::string_view signing_input, std::string_view encoded_signature, TokenError& error) const;
  std::expected<Principal, TokenError> read_claims(std::string_view encoded, int64_t now);
  bool audience_holds(const JsonValue& value);

  const TokenAlgorithm algorithm_;
  const HmacSha256 hmac_;
  const TokenPolicy policy_;
  JsonReader reader_;
  std::unique_ptr<char[]> text_;  // where the string in hand is unescaped to
  // The header that held last, as it was spelt. An issuer's tokens all have the same one, and whether a header holds
  // depends on nothing but its text and the configuration.
  std::string good_header_;
};

struct TokenClaims {
  int64_t subject = 0;
  Role role = Role::kCustomer;
  int64_t issued_at = 0;    // unix seconds
  int64_t expires_at = 0;   // unix seconds
  std::string_view issuer;  // empty: left out, as the next two
  std::string_view audience;
  std::string_view login_id;
};

// A compact JWS over `claims`. kInvalidArgument when the key is out of bounds.
Result<std::string> sign_token(const TokenKey& key, const TokenClaims& claims);

}  // namespace txn
