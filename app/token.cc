#include "app/token.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "app/base64url.h"
#include "core/check.h"

namespace txn {
namespace {

// A header longer than this is read anew each time.
constexpr size_t kGoodHeaderMax = 256;

constexpr size_t kSignatureTextMax = (kSignatureBytesMax * 4 + 2) / 3;

// Header members that would bring a key along or change how the token is read.
constexpr std::string_view kForbiddenHeaders[] = {"crit", "jku", "jwk", "x5u", "x5c"};

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, {},
                            [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
}

bool is_token_type(std::string_view typ) {
  // RFC 7515 section 4.1.9: the prefix may be left out.
  constexpr std::string_view kPrefix = "application/";
  if (typ.size() > kPrefix.size() && equals_ignoring_case(typ.substr(0, kPrefix.size()), kPrefix)) {
    typ.remove_prefix(kPrefix.size());
  }
  return equals_ignoring_case(typ, "jwt") || equals_ignoring_case(typ, "at+jwt");
}

// a + b, at the edges the nearest there is. `b` is a leeway: small and not negative.
int64_t saturating_add(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

}  // namespace

Result<std::unique_ptr<TokenVerifier>> TokenVerifier::create(std::unique_ptr<TokenKeys> keys, TokenPolicy policy,
                                                             size_t cache_entries) {
  if (policy.leeway_seconds < 0 || policy.leeway_seconds > kTokenLeewayMax) {
    return fail(ErrorKind::kInvalidArgument, "the leeway of tokens must be 0 to 600 seconds");
  }
  return std::unique_ptr<TokenVerifier>(new TokenVerifier(std::move(keys), std::move(policy), cache_entries));
}

TokenVerifier::TokenVerifier(std::unique_ptr<TokenKeys> keys, TokenPolicy policy, size_t cache_entries)
    : keys_(std::move(keys)), reader_(kTokenBytesMax), room_(kTokenBytesMax), claims_(std::move(policy), room_) {
  if (cache_entries > 0) cache_.emplace(cache_entries);
  good_header_.reserve(kGoodHeaderMax);
}

void TokenVerifier::set_keys(std::unique_ptr<TokenKeys> keys) {
  good_header_.clear();
  good_key_ = nullptr;
  if (cache_) cache_->clear();
  keys_ = std::move(keys);
}

std::expected<Principal, TokenError> TokenVerifier::verify(std::string_view token, int64_t now) {
  auto principal = verify_remembering(token, now);
  if (principal) {
    ++counters_.accepted;
  } else {
    ++counters_.refused[static_cast<size_t>(kind_of(principal.error()))];
  }
  return principal;
}

std::expected<Principal, TokenError> TokenVerifier::verify_remembering(std::string_view token, int64_t now) {
  if (token.size() > kTokenBytesMax) return std::unexpected(TokenError::kTooLong);
  TokenDigest digest{};
  if (cache_) {
    digest = digest_of(token);
    if (const auto remembered = cache_->find(digest)) {
      ++counters_.cache_hits;
      const auto principal = judge(*remembered, now);
      if (!principal && principal.error() == TokenError::kExpired) cache_->erase(digest);
      return principal;
    }
    ++counters_.cache_misses;
  }
  const auto statement = read(token);
  if (!statement) return std::unexpected(statement.error());
  const auto principal = judge(*statement, now);
  if (principal && cache_ && cache_->store(digest, *statement)) ++counters_.cache_evictions;
  return principal;
}

std::expected<TokenStatement, TokenError> TokenVerifier::read(std::string_view token) {
  const size_t first_dot = token.find('.');
  const size_t last_dot = token.rfind('.');
  if (first_dot == last_dot || token.find('.', first_dot + 1) != last_dot) {
    return std::unexpected(TokenError::kNotThreeParts);
  }
  const auto key = key_for(token.substr(0, first_dot));
  if (!key) return std::unexpected(key.error());

  const std::string_view encoded_signature = token.substr(last_dot + 1);
  std::array<uint8_t, base64url_bytes_max(kSignatureTextMax)> signature;
  if (encoded_signature.size() > kSignatureTextMax) return std::unexpected(TokenError::kSignatureUnreadable);
  const ptrdiff_t length = decode_base64url(encoded_signature, signature.data());
  if (length < 0) return std::unexpected(TokenError::kSignatureUnreadable);
  if (!(*key)->verifies(token.substr(0, last_dot), {signature.data(), static_cast<size_t>(length)})) {
    return std::unexpected(TokenError::kBadSignature);
  }
  return read_claims(token.substr(first_dot + 1, last_dot - first_dot - 1));
}

std::expected<const TokenKey*, TokenError> TokenVerifier::key_for(std::string_view encoded_header) {
  const auto refuse = [](TokenError error) { return std::unexpected(error); };
  if (good_key_ != nullptr && encoded_header == good_header_) return good_key_;

  const ptrdiff_t length = decode_base64url(encoded_header, reinterpret_cast<uint8_t*>(reader_.buffer()));
  if (length < 0) return refuse(TokenError::kNotThreeParts);
  const auto members = reader_.read_buffer(static_cast<size_t>(length));
  if (!members) return refuse(TokenError::kHeaderUnreadable);

  const JsonValue* algorithm = nullptr;
  const JsonValue* kid = nullptr;
  for (const auto& [key, value] : *members) {
    if (std::ranges::find(kForbiddenHeaders, key) != std::end(kForbiddenHeaders))
      return refuse(TokenError::kHeaderForbidden);
    if (key == "alg") algorithm = &value;
    if (key == "kid") kid = &value;
    if (key == "typ" && (value.kind != JsonKind::kString || !is_token_type(room_.unescaped(value))))
      return refuse(TokenError::kHeaderType);
  }
  if (algorithm == nullptr || algorithm->kind != JsonKind::kString) return refuse(TokenError::kHeaderWithoutAlg);
  if (kid != nullptr && (kid->kind != JsonKind::kString || room_.unescaped(*kid).size() > kKidBytesMax))
    return refuse(TokenError::kHeaderKid);
  if (room_.unescaped(*algorithm) != to_string(keys_->algorithm())) return refuse(TokenError::kOtherAlgorithm);
  const TokenKey* const found = keys_->find(kid == nullptr ? std::nullopt : std::optional(room_.unescaped(*kid)));
  if (found == nullptr) return refuse(TokenError::kUnknownKey);

  if (encoded_header.size() <= kGoodHeaderMax) {
    good_header_ = encoded_header;
    good_key_ = found;
  }
  return found;
}

std::expected<TokenStatement, TokenError> TokenVerifier::read_claims(std::string_view encoded) {
  const ptrdiff_t length = decode_base64url(encoded, reinterpret_cast<uint8_t*>(reader_.buffer()));
  if (length < 0) return std::unexpected(TokenError::kNotThreeParts);
  const auto members = reader_.read_buffer(static_cast<size_t>(length));
  if (!members) return std::unexpected(TokenError::kPayloadUnreadable);
  return claims_.read(*members);
}

std::expected<Principal, TokenError> TokenVerifier::judge(const TokenStatement& statement, int64_t now) const {
  if (now >= saturating_add(statement.principal.expires_at, claims_.policy().leeway_seconds)) {
    return std::unexpected(TokenError::kExpired);
  }
  if (statement.valid_from > saturating_add(now, claims_.policy().leeway_seconds)) {
    return std::unexpected(TokenError::kNotYetValid);
  }
  return statement.principal;
}

}  // namespace txn
