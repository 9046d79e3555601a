// Why a token does not hold: for the code, for counters, for the log, and as far as it helps no attacker for the
// client.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace txn {

// In the order in which tokens are looked at: the first that applies is told.
enum class TokenError : uint8_t {
  // The form, before any key is looked for.
  kTooLong,
  kNotThreeParts,        // no compact JWS (RFC 7515 section 7.1): parts, or a part that is not base64url
  kHeaderUnreadable,     // no JSON object, or a member twice
  kHeaderForbidden,      // crit, or a key or an address brought along
  kHeaderType,           // `typ` is another than JWT or at+jwt
  kHeaderWithoutAlg,     // `alg` is missing or no string
  kHeaderKid,            // `kid` is no string, or too long
  kPayloadUnreadable,    // no JSON object, or a member twice; of a token that we have signed
  kSignatureUnreadable,  // no base64url, or longer than any signature
  // The signature.
  kOtherAlgorithm,
  kUnknownKey,  // `kid` is none of ours, or missing among several
  kBadSignature,
  // The times.
  kExpired,
  kNotYetValid,  // `nbf` or `iat` lies in the future
  // The claims, once the signature holds.
  kExpMissing,
  kExpNotANumber,
  kNbfNotANumber,
  kIatNotANumber,
  kIssuerMissing,
  kIssuerOther,
  kAudienceMissing,
  kAudienceOther,  // or not a string or a list of strings
  kSubjectMissing,
  kSubjectNotAnInteger,
  kUserIdNotAnInteger,
  kSubjectsDiffer,  // `user_id` and `sub`
  kRoleMissing,
  kRoleNotText,  // neither a string nor a list of strings
  kRoleUnknown,  // none of its names is a role
};
inline constexpr size_t kTokenErrorCount = static_cast<size_t>(TokenError::kRoleUnknown) + 1;

// What is counted: few enough to be labels of a metric.
enum class TokenErrorKind : uint8_t { kMalformed, kBadSignature, kExpired, kNotYetValid, kWrongClaims };
inline constexpr size_t kTokenErrorKindCount = static_cast<size_t>(TokenErrorKind::kWrongClaims) + 1;

TokenErrorKind kind_of(TokenError error);
std::string_view to_string(TokenErrorKind kind);  // "malformed", "bad_signature", ...

// The words for each error, with the names of claims that are configured put in once.
class TokenErrorTexts {
 public:
  TokenErrorTexts(std::string_view subject_claim, std::string_view role_claim);

  // For the log. Never anything out of the token.
  std::string_view reason(TokenError error) const { return texts_[static_cast<size_t>(error)].reason; }
  // For the client; empty when it is told no more than that the token does not hold. What is wrong with a signature or
  // with the choice of a key is nobody's business who has none.
  std::string_view detail(TokenError error) const { return texts_[static_cast<size_t>(error)].detail; }

 private:
  struct Texts {
    std::string reason;
    std::string detail;
  };
  std::array<Texts, kTokenErrorCount> texts_;
};

}  // namespace txn
