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

// A positive integer in decimal without leading zeros, as a number or a string; 0 for anything else. An escape in the
// string is anything else too.
int64_t subject_of(const JsonValue& value) {
  if (value.kind != JsonKind::kString && value.kind != JsonKind::kNumber) return 0;
  const int64_t subject = parse_json_int(value.text).value_or(0);
  return subject > 0 && !value.text.starts_with('0') ? subject : 0;
}

// Seconds of a NumericDate, its fraction cut off.
std::optional<int64_t> seconds_of(const JsonValue& value) {
  if (value.kind != JsonKind::kNumber) return std::nullopt;
  if (value.text.find_first_of("eE") != std::string_view::npos) return std::nullopt;
  return parse_json_int(value.text.substr(0, value.text.find('.')));
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
    : keys_(std::move(keys)), policy_(std::move(policy)), reader_(kTokenBytesMax), text_(new char[kTokenBytesMax]) {
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
    ++counters_.refused[static_cast<size_t>(principal.error())];
  }
  return principal;
}

std::expected<Principal, TokenError> TokenVerifier::verify_remembering(std::string_view token, int64_t now) {
  if (token.size() > kTokenBytesMax) return std::unexpected(TokenError::kMalformed);
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
    return std::unexpected(TokenError::kMalformed);
  }
  const auto key = key_for(token.substr(0, first_dot));
  if (!key) return std::unexpected(key.error());

  const std::string_view encoded_signature = token.substr(last_dot + 1);
  std::array<uint8_t, base64url_bytes_max(kSignatureTextMax)> signature;
  if (encoded_signature.size() > kSignatureTextMax) return std::unexpected(TokenError::kMalformed);
  const ptrdiff_t length = decode_base64url(encoded_signature, signature.data());
  if (length < 0) return std::unexpected(TokenError::kMalformed);
  if (!(*key)->verifies(token.substr(0, last_dot), {signature.data(), static_cast<size_t>(length)})) {
    return std::unexpected(TokenError::kBadSignature);
  }
  return read_claims(token.substr(first_dot + 1, last_dot - first_dot - 1));
}

std::expected<const TokenKey*, TokenError> TokenVerifier::key_for(std::string_view encoded_header) {
  constexpr auto kMalformed = std::unexpected(TokenError::kMalformed);
  if (good_key_ != nullptr && encoded_header == good_header_) return good_key_;

  const ptrdiff_t length = decode_base64url(encoded_header, reinterpret_cast<uint8_t*>(reader_.buffer()));
  if (length < 0) return kMalformed;
  const auto members = reader_.read_buffer(static_cast<size_t>(length));
  if (!members) return kMalformed;

  const JsonValue* algorithm = nullptr;
  const JsonValue* kid = nullptr;
  for (const auto& [key, value] : *members) {
    if (std::ranges::find(kForbiddenHeaders, key) != std::end(kForbiddenHeaders)) return kMalformed;
    if (key == "alg") algorithm = &value;
    if (key == "kid") kid = &value;
    if (key == "typ" && (value.kind != JsonKind::kString || !is_token_type(value.text))) return kMalformed;
  }
  if (algorithm == nullptr || algorithm->kind != JsonKind::kString) return kMalformed;
  if (kid != nullptr && (kid->kind != JsonKind::kString || unescaped(*kid).size() > kKidBytesMax)) return kMalformed;
  if (algorithm->text != to_string(keys_->algorithm())) return std::unexpected(TokenError::kBadSignature);
  const TokenKey* const found = keys_->find(kid == nullptr ? std::nullopt : std::optional(unescaped(*kid)));
  if (found == nullptr) return std::unexpected(TokenError::kBadSignature);

  if (encoded_header.size() <= kGoodHeaderMax) {
    good_header_ = encoded_header;
    good_key_ = found;
  }
  return found;
}

std::string_view TokenVerifier::unescaped(const JsonValue& value) {
  return {text_.get(), unescape_json(value.text, text_.get()).length};
}

std::expected<TokenStatement, TokenError> TokenVerifier::read_claims(std::string_view encoded) {
  constexpr auto kWrong = std::unexpected(TokenError::kWrongClaims);
  const ptrdiff_t length = decode_base64url(encoded, reinterpret_cast<uint8_t*>(reader_.buffer()));
  if (length < 0) return std::unexpected(TokenError::kMalformed);
  const auto members = reader_.read_buffer(static_cast<size_t>(length));
  if (!members) return std::unexpected(TokenError::kMalformed);

  Principal principal;
  std::optional<Role> role;
  std::optional<int64_t> expires, not_before, issued;
  bool issuer_holds = policy_.issuer.empty();
  bool is_audience = policy_.audience.empty();
  for (const auto& [key, value] : *members) {
    const bool is_string = value.kind == JsonKind::kString;
    if (key == "sub" || key == "user_id") {
      const int64_t subject = subject_of(value);
      if (subject == 0 || (principal.subject != 0 && principal.subject != subject)) return kWrong;
      principal.subject = subject;
    } else if (key == "role") {
      if (is_string) role = parse_role(value.text);
    } else if (key == "exp") {
      expires = seconds_of(value);
    } else if (key == "nbf") {
      not_before = seconds_of(value);
      if (!not_before) return kWrong;
    } else if (key == "iat") {
      issued = seconds_of(value);
      if (!issued) return kWrong;
    } else if (key == "iss" && !policy_.issuer.empty()) {
      issuer_holds = is_string && unescaped(value) == policy_.issuer;
    } else if (key == "aud" && !policy_.audience.empty()) {
      is_audience = audience_holds(value);
    }
  }
  if (principal.subject == 0 || !role || !expires || !issuer_holds || !is_audience) return kWrong;

  principal.role = *role;
  principal.expires_at = *expires;
  return TokenStatement{principal, std::max(not_before.value_or(INT64_MIN), issued.value_or(INT64_MIN))};
}

std::expected<Principal, TokenError> TokenVerifier::judge(const TokenStatement& statement, int64_t now) const {
  if (now >= saturating_add(statement.principal.expires_at, policy_.leeway_seconds)) {
    return std::unexpected(TokenError::kExpired);
  }
  if (statement.valid_from > saturating_add(now, policy_.leeway_seconds)) {
    return std::unexpected(TokenError::kNotYetValid);
  }
  return statement.principal;
}

// RFC 7519 section 4.1.3: one string or an array of strings.
bool TokenVerifier::audience_holds(const JsonValue& value) {
  if (value.kind == JsonKind::kString) return unescaped(value) == policy_.audience;
  if (value.kind != JsonKind::kArray) return false;
  bool found = false;
  JsonElements elements(value.text);
  while (const auto element = elements.next()) {
    if (element->kind != JsonKind::kString) return false;
    found = found || unescaped(*element) == policy_.audience;
  }
  return found;
}

}  // namespace txn
