#include "app/token_error.h"

#include <iterator>
#include <utility>

namespace txn {
namespace {

struct Row {
  TokenError error;
  TokenErrorKind kind;
  std::string_view reason;
  std::string_view detail;
};

using E = TokenError;
using K = TokenErrorKind;

// %s and %r: the claims of the subject and of the role.
constexpr Row kRows[] = {
    {E::kTooLong, K::kMalformed, "the token is longer than 16384 bytes", "The token is longer than 16384 bytes"},
    {E::kNotThreeParts, K::kMalformed, "the token is not three parts of base64url with dots between",
     "The token is not three parts of base64url with dots between"},
    {E::kHeaderUnreadable, K::kMalformed, "the token's header is not one JSON object without a member named twice", ""},
    {E::kHeaderForbidden, K::kMalformed, "the token's header has crit, jku, jwk, x5u or x5c", ""},
    {E::kHeaderType, K::kMalformed, "the token's typ is neither JWT nor at+jwt", ""},
    {E::kHeaderWithoutAlg, K::kMalformed, "the token's header has no alg", ""},
    {E::kHeaderKid, K::kMalformed, "the token's kid is no string of at most 256 bytes", ""},
    {E::kPayloadUnreadable, K::kMalformed, "the token's claims are not one JSON object without a member named twice",
     "The token's claims are not one JSON object without a member named twice"},
    {E::kSignatureUnreadable, K::kMalformed, "the token's signature is no base64url or too long", ""},

    {E::kOtherAlgorithm, K::kBadSignature, "the token's alg is not JWT_ALGORITHM", ""},
    {E::kUnknownKey, K::kBadSignature, "no key has the token's kid, or it has none and there are several keys", ""},
    {E::kBadSignature, K::kBadSignature, "the token's signature does not hold under its key", ""},

    {E::kExpired, K::kExpired, "the token has expired", ""},
    {E::kNotYetValid, K::kNotYetValid, "the token's nbf or iat lies in the future",
     "The token is not valid yet: `nbf` or `iat` is in the future"},

    {E::kExpMissing, K::kWrongClaims, "claim exp is missing", "The token's claim `exp` is missing"},
    {E::kExpNotANumber, K::kWrongClaims, "claim exp is no number", "The token's claim `exp` is no number"},
    {E::kNbfNotANumber, K::kWrongClaims, "claim nbf is no number", "The token's claim `nbf` is no number"},
    {E::kIatNotANumber, K::kWrongClaims, "claim iat is no number", "The token's claim `iat` is no number"},
    {E::kIssuerMissing, K::kWrongClaims, "claim iss is missing", "The token's claim `iss` is missing"},
    {E::kIssuerOther, K::kWrongClaims, "claim iss is not JWT_ISSUER", "The token's claim `iss` names another issuer"},
    {E::kAudienceMissing, K::kWrongClaims, "claim aud is missing", "The token's claim `aud` is missing"},
    {E::kAudienceOther, K::kWrongClaims, "claim aud does not name JWT_AUDIENCE",
     "The token's claim `aud` does not name this service"},
    {E::kSubjectMissing, K::kWrongClaims, "claim %s is missing", "The token's claim `%s` is missing"},
    {E::kSubjectNotAnInteger, K::kWrongClaims, "claim %s is no integer above zero",
     "The token's claim `%s` is no integer above zero"},
    {E::kUserIdNotAnInteger, K::kWrongClaims, "claim user_id is no integer above zero",
     "The token's claim `user_id` is no integer above zero"},
    {E::kSubjectsDiffer, K::kWrongClaims, "claims user_id and sub are different numbers",
     "The token's claims `user_id` and `sub` are different numbers"},
    {E::kRoleMissing, K::kWrongClaims, "claim %r is missing", "The token's claim `%r` is missing"},
    {E::kRoleNotText, K::kWrongClaims, "claim %r is neither a string nor a list of strings",
     "The token's claim `%r` is neither a string nor a list of strings"},
    {E::kRoleUnknown, K::kWrongClaims, "claim %r names no role",
     "The token's claim `%r` names no role of this service"},
};

constexpr bool is_in_order_of_the_enum() {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (std::to_underlying(kRows[i].error) != i) return false;
  }
  return std::size(kRows) == kTokenErrorCount;
}
static_assert(is_in_order_of_the_enum());

std::string filled(std::string_view text, std::string_view subject_claim, std::string_view role_claim) {
  std::string result(text);
  const size_t at = result.find('%');
  if (at != std::string::npos) result.replace(at, 2, result[at + 1] == 's' ? subject_claim : role_claim);
  return result;
}

}  // namespace

TokenErrorKind kind_of(TokenError error) { return kRows[std::to_underlying(error)].kind; }

std::string_view to_string(TokenErrorKind kind) {
  switch (kind) {
    case TokenErrorKind::kMalformed:
      return "malformed";
    case TokenErrorKind::kBadSignature:
      return "bad_signature";
    case TokenErrorKind::kExpired:
      return "expired";
    case TokenErrorKind::kNotYetValid:
      return "not_yet_valid";
    case TokenErrorKind::kWrongClaims:
      return "wrong_claims";
  }
  std::unreachable();
}

TokenErrorTexts::TokenErrorTexts(std::string_view subject_claim, std::string_view role_claim) {
  for (size_t i = 0; i < kTokenErrorCount; ++i) {
    texts_[i] = {.reason = filled(kRows[i].reason, subject_claim, role_claim),
                 .detail = filled(kRows[i].detail, subject_claim, role_claim)};
  }
}

}  // namespace txn
