#include "app/token.h"

#include <openssl/mem.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "core/json_writer.h"

namespace txn {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr uint8_t kNotInAlphabet = 0xFF;
constexpr std::array<uint8_t, 256> kSextets = [] {
  std::array<uint8_t, 256> sextets;
  sextets.fill(kNotInAlphabet);
  for (uint8_t i = 0; i < 64; ++i) sextets[static_cast<uint8_t>(kAlphabet[i])] = i;
  return sextets;
}();

// A header longer than this is read anew each time.
constexpr size_t kGoodHeaderMax = 256;

// Header members that would bring a key along or change how the token is read.
constexpr std::string_view kForbiddenHeaders[] = {"crit", "jku", "jwk", "x5u", "x5c"};

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string_view name_of(TokenAlgorithm algorithm) {
  switch (algorithm) {
    case TokenAlgorithm::kHs256:
      return "HS256";
  }
  std::unreachable();
}

Result<void> check_key(const TokenKey& key) {
  if (key.bytes.size() < kHmacKeyBytesMin) {
    return fail(ErrorKind::kInvalidArgument,
                "a key for HS256 must have at least 32 bytes, this one has " + std::to_string(key.bytes.size()));
  }
  return {};
}

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

ptrdiff_t decode_base64url(std::string_view text, uint8_t* out) {
  const uint8_t* const begin = out;
  const char* p = text.data();
  const char* const end = p + text.size();
  const auto sextet = [](char c) { return uint32_t{kSextets[static_cast<uint8_t>(c)]}; };
  while (end - p >= 4) {
    const uint32_t a = sextet(p[0]), b = sextet(p[1]), c = sextet(p[2]), d = sextet(p[3]);
    if ((a | b | c | d) > 63) return -1;
    const uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    out[0] = static_cast<uint8_t>(bits >> 16);
    out[1] = static_cast<uint8_t>(bits >> 8);
    out[2] = static_cast<uint8_t>(bits);
    out += 3;
    p += 4;
  }
  switch (end - p) {
    case 0:
      break;
    case 2: {
      const uint32_t a = sextet(p[0]), b = sextet(p[1]);
      if ((a | b) > 63 || (b & 0xF) != 0) return -1;
      *out++ = static_cast<uint8_t>(a << 2 | b >> 4);
      break;
    }
    case 3: {
      const uint32_t a = sextet(p[0]), b = sextet(p[1]), c = sextet(p[2]);
      if ((a | b | c) > 63 || (c & 0x3) != 0) return -1;
      *out++ = static_cast<uint8_t>(a << 2 | b >> 4);
      *out++ = static_cast<uint8_t>(b << 4 | c >> 2);
      break;
    }
    default:
      return -1;
  }
  return out - begin;
}

std::string encode_base64url(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  uint32_t bits = 0;
  int pending = 0;  // bits not written yet
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<uint8_t>(c);
    for (pending += 8; pending >= 6; pending -= 6) text += kAlphabet[bits >> (pending - 6) & 63];
  }
  if (pending > 0) text += kAlphabet[bits << (6 - pending) & 63];
  return text;
}

Result<std::unique_ptr<TokenVerifier>> TokenVerifier::create(const TokenKey& key, TokenPolicy policy) {
  if (auto checked = check_key(key); !checked) return std::unexpected(std::move(checked.error()));
  if (policy.leeway_seconds < 0 || policy.leeway_seconds > kTokenLeewayMax) {
    return fail(ErrorKind::kInvalidArgument, "the leeway of tokens must be 0 to 600 seconds");
  }
  return std::unique_ptr<TokenVerifier>(new TokenVerifier(key, std::move(policy)));
}

TokenVerifier::TokenVerifier(const TokenKey& key, TokenPolicy policy)
    : algorithm_(key.algorithm),
      hmac_(bytes_of(key.bytes)),
      policy_(std::move(policy)),
      reader_(kTokenBytesMax),
      text_(new char[kTokenBytesMax]) {
  good_header_.reserve(kGoodHeaderMax);
}

std::expected<Principal, TokenError> TokenVerifier::verify(std::string_view token, int64_t now) {
  if (token.size() > kTokenBytesMax) return std::unexpected(TokenError::kMalformed);
  const size_t first_dot = token.find('.');
  const size_t last_dot = token.rfind('.');
  if (first_dot == last_dot || token.find('.', first_dot + 1) != last_dot) {
    return std::unexpected(TokenError::kMalformed);
  }

  TokenError error = TokenError::kMalformed;
  if (!header_holds(token.substr(0, first_dot), error)) return std::unexpected(error);
  if (!signature_holds(token.substr(0, last_dot), token.substr(last_dot + 1), error)) return std::unexpected(error);
  return read_claims(token.substr(first_dot + 1, last_dot - first_dot - 1), now);
}

bool TokenVerifier::header_holds(std::string_view encoded, TokenError& error) {
  if (!encoded.empty() && encoded == good_header_) return true;

  error = TokenError::kMalformed;
  const ptrdiff_t length = decode_base64url(encoded, reinterpret_cast<uint8_t*>(reader_.buffer()));
  if (length < 0) return false;
  const auto members = reader_.read_buffer(static_cast<size_t>(length));
  if (!members) return false;

  const JsonValue* algorithm = nullptr;
  for (const auto& [key, value] : *members) {
    if (std::ranges::find(kForbiddenHeaders, key) != std::end(kForbiddenHeaders)) return false;
    if (key == "alg") algorithm = &value;
    if (key == "typ" && (value.kind != JsonKind::kString || !is_token_type(value.text))) return false;
  }
  if (algorithm == nullptr || algorithm->kind != JsonKind::kString) return false;
  if (algorithm->text != name_of(algorithm_)) {
    error = TokenError::kBadSignature;
    return false;
  }

  if (encoded.size() <= kGoodHeaderMax) good_header_ = encoded;
  return true;
}

bool TokenVerifier::signature_holds(std::string_view signing_input, std::string_view encoded_signature,
                                    TokenError& error) const {
  // An RSA signature of 4096 bits is the longest that any algorithm to come will ask for.
  constexpr size_t kSignatureTextMax = 683;
  std::array<uint8_t, kSignatureTextMax / 4 * 3 + 2> signature;
  error = TokenError::kMalformed;
  if (encoded_signature.size() > kSignatureTextMax) return false;
  const ptrdiff_t length = decode_base64url(encoded_signature, signature.data());
  if (length < 0) return false;

  error = TokenError::kBadSignature;
  switch (algorithm_) {
    case TokenAlgorithm::kHs256: {
      const HmacSha256::Tag tag = hmac_.sign(bytes_of(signing_input));
      return static_cast<size_t>(length) == tag.size() && CRYPTO_memcmp(tag.data(), signature.data(), tag.size()) == 0;
    }
  }
  std::unreachable();
}

std::expected<Principal, TokenError> TokenVerifier::read_claims(std::string_view encoded, int64_t now) {
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
      const size_t bytes = is_string ? unescape_json(value.text, text_.get()).length : 0;
      issuer_holds = is_string && std::string_view(text_.get(), bytes) == policy_.issuer;
    } else if (key == "aud" && !policy_.audience.empty()) {
      is_audience = audience_holds(value);
    }
  }
  if (principal.subject == 0 || !role || !expires || !issuer_holds || !is_audience) return kWrong;

  if (now >= saturating_add(*expires, policy_.leeway_seconds)) return std::unexpected(TokenError::kExpired);
  const int64_t latest = saturating_add(now, policy_.leeway_seconds);
  if (not_before.value_or(INT64_MIN) > latest || issued.value_or(INT64_MIN) > latest) {
    return std::unexpected(TokenError::kNotYetValid);
  }

  principal.role = *role;
  principal.expires_at = *expires;
  return principal;
}

// RFC 7519 section 4.1.3: one string or an array of strings.
bool TokenVerifier::audience_holds(const JsonValue& value) {
  const auto is_ours = [this](std::string_view text) {
    return std::string_view(text_.get(), unescape_json(text, text_.get()).length) == policy_.audience;
  };
  if (value.kind == JsonKind::kString) return is_ours(value.text);
  if (value.kind != JsonKind::kArray) return false;

  // The reader has validated the array, so only what is in it needs telling apart.
  bool found = false;
  const char* p = value.text.data() + 1;
  const char* const end = value.text.data() + value.text.size() - 1;
  while (true) {
    while (p != end && std::strchr(" \t\r\n,", *p) != nullptr) ++p;
    if (p == end) return found;
    if (*p != '"') return false;
    const char* const first = ++p;
    while (*p != '"') p += *p == '\\' ? 2 : 1;
    found = found || is_ours({first, static_cast<size_t>(p - first)});
    ++p;
  }
}

Result<std::string> sign_token(const TokenKey& key, const TokenClaims& claims) {
  if (auto checked = check_key(key); !checked) return std::unexpected(std::move(checked.error()));
  std::string payload = "{\"sub\":\"";
  append_json_int(payload, claims.subject);  // a StringOrURI, RFC 7519 section 4.1.2
  payload += "\",\"role\":";
  append_json_string(payload, to_string(claims.role));
  payload += ",\"iat\":";
  append_json_int(payload, claims.issued_at);
  payload += ",\"exp\":";
  append_json_int(payload, claims.expires_at);
  const std::pair<std::string_view, std::string_view> optional_claims[] = {
      {",\"iss\":", claims.issuer}, {",\"aud\":", claims.audience}, {",\"login_id\":", claims.login_id}};
  for (const auto& [name, value] : optional_claims) {
    if (value.empty()) continue;
    payload += name;
    append_json_string(payload, value);
  }
  payload += '}';

  std::string header = "{\"alg\":";
  append_json_string(header, name_of(key.algorithm));
  header += ",\"typ\":\"JWT\"}";

  std::string token = encode_base64url(header) + '.' + encode_base64url(payload);
  const HmacSha256::Tag tag = HmacSha256(bytes_of(key.bytes)).sign(bytes_of(token));
  token += '.';
  token += encode_base64url({reinterpret_cast<const char*>(tag.data()), tag.size()});
  return token;
}

}  // namespace txn
