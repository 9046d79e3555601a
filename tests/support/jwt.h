// JSON Web Tokens for the tests, good and bad, signed by code of the tests' own: HMAC-SHA-256 in a page, independent of
// the service's. (OpenSSL stays out: these executables load it through libpq only.)
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace txn::test {

using Digest = std::array<uint8_t, 32>;

Digest sha256(std::string_view message);
Digest hmac_sha256(std::string_view key, std::string_view message);
std::string base64url(std::string_view bytes);  // without padding
std::string to_hex(const Digest& digest);

inline constexpr std::string_view kHs256Header = R"({"alg":"HS256","typ":"JWT"})";

// header.payload.signature of exactly these JSON texts.
std::string sign_jwt(std::string_view header_json, std::string_view payload_json, std::string_view key);

int64_t unix_now();

// What the service is configured with in these tests.
inline constexpr std::string_view kJwtKey = "an-integration-test-key-of-more-than-32-bytes";

// A token that expires in `ttl_seconds` (may be negative).
std::string make_token(int64_t subject, std::string_view role, int64_t ttl_seconds = 3600,
                       std::string_view key = kJwtKey);

}  // namespace txn::test
