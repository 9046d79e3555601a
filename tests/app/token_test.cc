#include "app/token.h"

#include <gmock/gmock.h>

#include <set>
#include <string>
#include <vector>

#include "app/base64url.h"
#include "app/token_signer.h"

namespace txn {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using testing::HasSubstr;

constexpr int64_t kNow = 1'700'000'000;
constexpr int64_t kLeeway = 30;
const std::string kSecret = "0123456789abcdef0123456789abcdef";
constexpr auto kHeader = R"({"alg":"HS256","typ":"JWT"})"sv;

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string signed_text(const std::string& signing_input, std::string_view secret = kSecret) {
  const auto tag = HmacSha256(bytes_of(secret)).sign(bytes_of(signing_input));
  return signing_input + "." + encode_base64url({reinterpret_cast<const char*>(tag.data()), tag.size()});
}

std::string token_of(std::string_view header, std::string_view payload, std::string_view secret = kSecret) {
  return signed_text(encode_base64url(header) + "." + encode_base64url(payload), secret);
}

// A payload that is good but for `more`, which may not name these again.
std::string claims(std::string_view more) {
  return R"({"sub":"7","role":"CUSTOMER","exp":)" + std::to_string(kNow + 60) + std::string(more) + "}";
}

std::unique_ptr<TokenVerifier> make_verifier(std::string_view secret, TokenPolicy policy, size_t cache_entries) {
  auto created = TokenVerifier::create(TokenKeys::from_secret(secret).value(), std::move(policy), cache_entries);
  EXPECT_TRUE(created.has_value());
  return std::move(*created);
}

// With a cache and without: it may make no difference. Every token is verified twice, so that the second time is one
// from memory where there is any.
class TokenTest : public testing::TestWithParam<size_t> {
 protected:
  static std::unique_ptr<TokenVerifier> verifier(TokenPolicy policy = {}) {
    return make_verifier(kSecret, std::move(policy), GetParam());
  }

  void expect(TokenErrorKind kind, std::string_view token, std::string_view what, int64_t now = kNow) {
    for (int i = 0; i < 2; ++i) {
      const auto result = verifier_->verify(token, now);
      ASSERT_FALSE(result.has_value()) << what;
      EXPECT_EQ(kind_of(result.error()), kind) << what << ": " << verifier_->texts().reason(result.error());
    }
  }

  void expect_good(std::string_view token, std::string_view what, int64_t now = kNow) {
    for (int i = 0; i < 2; ++i) {
      const auto result = verifier_->verify(token, now);
      ASSERT_TRUE(result.has_value()) << what << ": " << verifier_->texts().reason(result.error());
      EXPECT_EQ(result->subject, 7) << what;
    }
  }

  std::unique_ptr<TokenVerifier> verifier_ = verifier();
};

TEST_P(TokenTest, SignAndVerify) {
  const auto signer = TokenSigner::with_secret(kSecret);
  ASSERT_TRUE(signer.has_value());
  for (const Role role : {Role::kCustomer, Role::kTeller, Role::kAdmin}) {
    const std::string token = signer->sign({.subject = 42,
                                            .role = role,
                                            .issued_at = kNow,
                                            .expires_at = kNow + 3600,
                                            .issuer = "auth",
                                            .audience = "tx",
                                            .login_id = "a\"b"},
                                           "a \"kid\"");
    for (auto& checker : {verifier(), verifier({.issuer = "auth", .audience = "tx"})}) {
      const auto principal = checker->verify(token, kNow);
      ASSERT_TRUE(principal.has_value());
      EXPECT_EQ(principal->subject, 42);
      EXPECT_EQ(principal->role, role);
      EXPECT_EQ(principal->expires_at, kNow + 3600);
    }
  }
  const std::string bare = signer->sign({.subject = INT64_MAX,
                                         .role = Role::kTeller,
                                         .issued_at = kNow,
                                         .expires_at = kNow + 1,
                                         .issuer = {},
                                         .audience = {},
                                         .login_id = {}});
  EXPECT_EQ(verifier_->verify(bare, kNow)->subject, INT64_MAX);
}

// RFC 7515 appendix A.1: the signature holds, but its claims are not ours.
TEST(Token, Rfc7515AppendixA1) {
  constexpr auto kKeyText = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"sv;
  std::string key(base64url_bytes_max(kKeyText.size()), '\0');
  key.resize(static_cast<size_t>(decode_base64url(kKeyText, reinterpret_cast<uint8_t*>(key.data()))));
  ASSERT_EQ(key.size(), 64u);
  const auto verifier = make_verifier(key, {}, 0);

  std::string token =
      "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
      ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
      ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
  EXPECT_EQ(kind_of(verifier->verify(token, 1'300'819'000).error()), TokenErrorKind::kWrongClaims);
  token.back() = 'g';
  EXPECT_EQ(kind_of(verifier->verify(token, 1'300'819'000).error()), TokenErrorKind::kBadSignature);

  // The same with what we ask for.
  const std::string ours = token_of("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}",
                                    "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true,"
                                    "\"sub\":\"7\",\"role\":\"TELLER\"}",
                                    key);
  EXPECT_EQ(verifier->verify(ours, 1'300'819'000)->subject, 7);
  EXPECT_EQ(kind_of(verifier->verify(ours, 1'300'819'380 + kLeeway).error()), TokenErrorKind::kExpired);
}

TEST(Token, KeysAndLeewayAreBounded) {
  const auto create = [](size_t bytes, int64_t leeway) -> Result<std::unique_ptr<TokenVerifier>> {
    auto keys = TokenKeys::from_secret(std::string(bytes, 'k'));
    if (!keys) return std::unexpected(keys.error());
    return TokenVerifier::create(std::move(*keys), {.issuer = {}, .audience = {}, .leeway_seconds = leeway}, 0);
  };
  EXPECT_FALSE(create(0, 30).has_value());
  EXPECT_FALSE(create(31, 30).has_value());
  EXPECT_TRUE(create(32, 30).has_value());
  EXPECT_TRUE(create(500, 0).has_value());
  EXPECT_FALSE(create(32, -1).has_value());
  EXPECT_TRUE(create(32, kTokenLeewayMax).has_value());
  EXPECT_FALSE(create(32, kTokenLeewayMax + 1).has_value());
  EXPECT_FALSE(TokenSigner::with_secret(std::string(31, 'k')).has_value());
}

TEST_P(TokenTest, Forms) {
  const std::string good = token_of(kHeader, claims(""));
  const std::string header = encode_base64url(kHeader), payload = encode_base64url(claims(""));
  const std::string signature = good.substr(good.rfind('.') + 1);
  expect_good(good, "good");
  const std::string kMalformed[] = {
      "",
      ".",
      "..",
      "...",
      "....",
      "a.b.c",
      header,
      header + "." + payload,
      header + payload + signature,
      header + "." + payload + "." + signature + ".",
      "." + header + "." + payload + "." + signature,
      header + "." + payload + "." + signature + "." + signature,
      header + ".." + payload + "." + signature,
      header + "." + payload + "..",  // five parts are a JWE
      header + "." + payload + "." + signature + "=",
      header + "." + payload + "." + signature + "\n",
      header + "." + payload + ". " + signature,
      " " + good,
      "Bearer " + good,
      "\0"s + good,
      good + "\0"s,
      "." + payload + "." + signature,
      signed_text("." + payload),
      signed_text(header + "."),
      signed_text(header + "=." + payload),
      signed_text(header + "." + payload + "="),
      signed_text(header + "." + payload + "\n"),
      signed_text(header + ". " + payload),
      std::string(kTokenBytesMax + 1, 'a'),
      token_of(kHeader, claims(R"(,"x":")" + std::string(kTokenBytesMax, 'x') + "\"")),
  };
  for (const std::string& token : kMalformed) expect(TokenErrorKind::kMalformed, token, token.substr(0, 300));

  expect(TokenErrorKind::kBadSignature, header + "." + payload + ".", "empty signature");
  expect(TokenErrorKind::kBadSignature, header + "." + payload + "." + signature.substr(0, 40), "30 bytes of it");
  expect(TokenErrorKind::kBadSignature, header + "." + payload + "." + std::string(43, 'A'), "zeros");
  expect(TokenErrorKind::kMalformed, header + "." + payload + "." + std::string(5'000, 'A'), "a very long signature");
  expect(TokenErrorKind::kBadSignature, token_of(kHeader, claims(""), std::string(32, 'x')), "another key");
  expect(TokenErrorKind::kBadSignature, token_of(kHeader, claims(""), kSecret.substr(0, 31)), "most of the key");
  expect(TokenErrorKind::kBadSignature, token_of(kHeader, claims(""), ""), "no key");

  // As long as it may be.
  const std::string longest = claims(R"(,"x":")" + std::string(12'100, 'x') + "\"");
  ASSERT_LE(token_of(kHeader, longest).size(), kTokenBytesMax);
  expect_good(token_of(kHeader, longest), "long");
}

// Each of them correctly signed with our key, so only the header's words can refuse it.
TEST_P(TokenTest, Headers) {
  for (const std::string_view header :
       {R"({"alg":"HS256"})"sv, R"({"typ":"JWT","alg":"HS256"})"sv, R"({"alg":"HS256","typ":"jwt"})"sv,
        R"({"alg":"HS256","typ":"at+jwt"})"sv, R"({"alg":"HS256","typ":"AT+JWT"})"sv,
        R"({"alg":"HS256","typ":"application/at+jwt"})"sv, R"({"alg":"HS256","typ":"application/jwt"})"sv,
        R"( { "alg" : "HS256" , "kid" : "../../etc/passwd" , "cty":"x", "x5t":"y" } )"sv,
        R"({"\u0061lg":"HS256"})"sv}) {
    expect_good(token_of(header, claims("")), header);
    expect_good(token_of(header, claims("")), header);  // from memory
  }

  for (const std::string_view header :
       {R"({"alg":"none"})"sv, R"({"alg":"None"})"sv, R"({"alg":"NONE"})"sv, R"({"alg":"nOnE"})"sv, R"({"alg":""})"sv,
        R"({"alg":"hs256"})"sv, R"({"alg":"Hs256"})"sv, R"({"alg":"HS256 "})"sv, R"({"alg":" HS256"})"sv,
        R"({"alg":"HS256\u0000"})"sv, R"({"alg":"HS384"})"sv, R"({"alg":"HS512"})"sv, R"({"alg":"RS256"})"sv,
        R"({"alg":"ES256"})"sv, R"({"alg":"EdDSA"})"sv, R"({"alg":"PS256"})"sv, R"({"alg":"HS256,none"})"sv}) {
    expect(TokenErrorKind::kBadSignature, token_of(header, claims("")), header);
    expect(TokenErrorKind::kBadSignature, encode_base64url(header) + "." + encode_base64url(claims("")) + ".", header);
  }

  const std::string_view kMalformed[] = {
      "",
      "{}",
      "null",
      "[]",
      R"(["HS256"])",
      R"("HS256")",
      R"({"typ":"JWT"})",
      R"({"ALG":"HS256"})",
      R"({"Alg":"HS256"})",
      R"({"alg":256})",
      R"({"alg":null})",
      R"({"alg":true})",
      R"({"alg":["HS256"]})",
      R"({"alg":{"HS256":1}})",
      R"({"alg":"HS256","alg":"HS256"})",
      R"({"alg":"none","alg":"HS256"})",
      R"({"alg":"HS256","alg":"none"})",
      R"({"alg":"HS256","\u0061lg":"none"})",
      R"({"alg":"HS256","kid":"a","kid":"b"})",
      R"({"alg":"HS256"}})",
      R"({"alg":"HS256"},{})",
      R"({"alg":"HS256",})",
      R"({"alg":"HS256"} x)",
      R"({"alg":"HS256")",
      "{\"alg\":\"HS256\"}\0"sv,
      "\xEF\xBB\xBF{\"alg\":\"HS256\"}",
      "{\"alg\":\"HS256\",\"kid\":\"\xFF\"}",
      R"({"alg":"HS256","kid":1})",
      R"({"alg":"HS256","kid":null})",
      R"({"alg":"HS256","kid":["a"]})",
      R"({"alg":"HS256","crit":["exp"]})",
      R"({"alg":"HS256","crit":[]})",
      R"({"alg":"HS256","crit":null})",
      R"({"alg":"HS256","crit":["b64"],"b64":false})",
      R"({"alg":"HS256","\u0063rit":["x"]})",
      R"({"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}})",
      R"({"alg":"HS256","jku":"https://evil.example/keys"})",
      R"({"alg":"HS256","x5u":"https://evil.example/cert"})",
      R"({"alg":"HS256","x5c":["MIIB"]})",
      R"({"alg":"HS256","typ":"JWE"})",
      R"({"alg":"HS256","typ":"JOSE"})",
      R"({"alg":"HS256","typ":"dpop+jwt"})",
      R"({"alg":"HS256","typ":""})",
      R"({"alg":"HS256","typ":"application/"})",
      R"({"alg":"HS256","typ":1})",
      R"({"alg":"HS256","typ":null})",
      R"({"alg":"HS256","typ":["JWT"]})",
  };
  for (const std::string_view header : kMalformed) {
    expect(TokenErrorKind::kMalformed, token_of(header, claims("")), header);
    expect_good(token_of(kHeader, claims("")), "a good one after it");
  }
}

TEST_P(TokenTest, Claims) {
  const std::string exp = std::to_string(kNow + 60);
  const auto payload = [&](std::string_view text) {
    std::string filled(text);
    const size_t at = filled.find('@');
    return at == std::string::npos ? filled : filled.replace(at, 1, exp);
  };
  for (const std::string_view text :
       {R"({"sub":"7","role":"CUSTOMER","exp":@})", R"({"sub":7,"role":"TELLER","exp":@})",
        R"({"user_id":7,"role":"ADMIN","exp":@})", R"({"user_id":"7","role":"ADMIN","exp":@})",
        R"({"user_id":7,"sub":"7","role":"ADMIN","exp":@})", R"({"sub":7,"user_id":7,"role":"ADMIN","exp":@})",
        R"({"sub":"7","role":"CUSTOMER","exp":@.9})",
        R"({"user_id":7,"sub":"6f1c1e6e-2f1d-4c2a-9d0e-0c7a9b6f5e11","role":"CUSTOMER","exp":@})",
        R"({"sub":"auth0|5f7c8ec7c33c6c004bbafe82","user_id":"7","role":["x","ADMIN"],"exp":@})",
        R"({"user_id":7,"sub":null,"role":"CUSTOMER","exp":@})", R"({"user_id":7,"sub":7.0,"role":"CUSTOMER","exp":@})",
        R"({"sub":"7","role":"CUSTOMER","exp":@,"login_id":"x","jti":"y"})",
        R"({"sub":"7","role":"CUSTOMER","exp":@,"login_id":null,"jti":[],"x":{"y":[1,2,{"role":"ADMIN"}]}})",
        R"({"sub":"7","role":"CUSTOMER","exp":@,"aud":"anybody","iss":"anybody"})",
        R"({"sub":"7","role":"CUSTOMER","exp":9223372036854775807})"}) {
    expect_good(token_of(kHeader, payload(text)), text);
  }

  for (const std::string_view text :
       {R"({})", R"({"role":"CUSTOMER","exp":@})", R"({"sub":"7","exp":@})", R"({"sub":"7","role":"CUSTOMER"})",
        // subject
        R"({"sub":"","role":"CUSTOMER","exp":@})", R"({"sub":"alice","role":"CUSTOMER","exp":@})",
        R"({"sub":"0","role":"CUSTOMER","exp":@})", R"({"sub":0,"role":"CUSTOMER","exp":@})",
        R"({"sub":"-7","role":"CUSTOMER","exp":@})", R"({"sub":-7,"role":"CUSTOMER","exp":@})",
        R"({"sub":"+7","role":"CUSTOMER","exp":@})", R"({"sub":" 7","role":"CUSTOMER","exp":@})",
        R"({"sub":"7 ","role":"CUSTOMER","exp":@})", R"({"sub":"07","role":"CUSTOMER","exp":@})",
        R"({"sub":"7\u0000","role":"CUSTOMER","exp":@})", R"({"sub":7.5,"role":"CUSTOMER","exp":@})",
        R"({"sub":"7.0","role":"CUSTOMER","exp":@})", R"({"sub":"7e0","role":"CUSTOMER","exp":@})",
        R"({"sub":7.00000000000000000000000000000000001,"role":"CUSTOMER","exp":@})",
        R"({"sub":7e-1,"role":"CUSTOMER","exp":@})", R"({"sub":7e999999999999,"role":"CUSTOMER","exp":@})",
        R"({"sub":0e999999999999,"role":"CUSTOMER","exp":@})", R"({"sub":-0,"role":"CUSTOMER","exp":@})",
        R"({"sub":"9223372036854775808","role":"CUSTOMER","exp":@})",
        R"({"sub":9.223372036854775808e18,"role":"CUSTOMER","exp":@})",
        R"({"sub":18446744073709551623,"role":"CUSTOMER","exp":@})", R"({"sub":null,"role":"CUSTOMER","exp":@})",
        R"({"sub":true,"role":"CUSTOMER","exp":@})", R"({"sub":[7],"role":"CUSTOMER","exp":@})",
        R"({"sub":{"id":7},"role":"CUSTOMER","exp":@})", R"({"sub":"7","user_id":8,"role":"CUSTOMER","exp":@})",
        R"({"user_id":8,"sub":"7","role":"CUSTOMER","exp":@})",
        R"({"user_id":"alice","sub":7,"role":"CUSTOMER","exp":@})",
        R"({"user_id":null,"sub":7,"role":"CUSTOMER","exp":@})",
        R"({"user_id":7,"sub":"07","role":"CUSTOMER","exp":@})", R"({"user_id":7,"sub":-7,"role":"CUSTOMER","exp":@})",
        R"({"user_id":7,"sub":"107691503500061507151","role":"CUSTOMER","exp":@})",
        // role
        R"({"sub":"7","role":"","exp":@})", R"({"sub":"7","role":"customer","exp":@})",
        R"({"sub":"7","role":"ROOT","exp":@})", R"({"sub":"7","role":null,"exp":@})", R"({"sub":"7","role":1,"exp":@})",
        R"({"sub":"7","role":"CUSTOMER ","exp":@})", R"({"sub":"7","Role":"CUSTOMER","exp":@})",
        // times
        R"({"sub":"7","role":"CUSTOMER","exp":"@"})", R"({"sub":"7","role":"CUSTOMER","exp":null})",
        R"({"sub":"7","role":"CUSTOMER","exp":true})", R"({"sub":"7","role":"CUSTOMER","exp":[]})",
        R"({"sub":"7","role":"CUSTOMER","exp":@,"nbf":"0"})", R"({"sub":"7","role":"CUSTOMER","exp":@,"nbf":null})",
        R"({"sub":"7","role":"CUSTOMER","exp":@,"iat":"0"})"}) {
    expect(TokenErrorKind::kWrongClaims, token_of(kHeader, payload(text)), text);
  }

  for (const std::string_view text :
       {""sv, "null"sv, "7"sv, "[]"sv, R"({"sub":"7","role":"CUSTOMER","exp":@)"sv,
        R"({"sub":"7","role":"CUSTOMER","role":"ADMIN","exp":@})"sv,
        R"({"sub":"7","role":"ADMIN","exp":@,"sub":"8"})"sv,
        R"({"sub":"7","role":"CUSTOMER","exp":@,"ex\u0070":99999999999})"sv,
        R"({"sub":"7","role":"CUSTOMER","exp":@,"x":1,"x":1})"sv, R"({"sub":"7","role":"CUSTOMER","exp":@,"x":NaN})"sv,
        R"({"sub":"7","role":"CUSTOMER","exp":@}{})"sv, "{\"sub\":\"7\",\"role\":\"CUSTOMER\",\"exp\":@}\0"sv,
        "{\"sub\":\"7\",\"role\":\"CUSTOMER\",\"exp\":@,\"x\":\"\xFF\"}"sv}) {
    expect(TokenErrorKind::kMalformed, token_of(kHeader, payload(text)), text);
  }
}

TEST_P(TokenTest, Times) {
  const auto with = [](const std::string& times) {
    return token_of(kHeader, R"({"sub":"7","role":"TELLER",)" + times + "}");
  };
  // exp: good until the second before exp + leeway.
  const std::string expiring = with("\"exp\":1000");
  expect_good(expiring, "long before", INT64_MIN + 1000);
  expect_good(expiring, "just before", 1000 + kLeeway - 1);
  expect(TokenErrorKind::kExpired, expiring, "just after", 1000 + kLeeway);
  expect(TokenErrorKind::kExpired, expiring, "long after", INT64_MAX);
  EXPECT_EQ(verifier_->verify(expiring, 1000)->expires_at, 1000);
  expect(TokenErrorKind::kExpired, with("\"exp\":1000.999"), "fraction cut off", 1000 + kLeeway);
  expect(TokenErrorKind::kExpired, with("\"exp\":-5"), "before 1970", 1000);
  expect(TokenErrorKind::kExpired, with("\"exp\":0"), "1970", 1000);
  expect_good(with("\"exp\":9223372036854775807"), "no overflow", INT64_MAX - 1);
  expect(TokenErrorKind::kExpired, with("\"exp\":-9223372036854775808"), "no underflow", 0);

  for (const std::string claim : {"nbf", "iat"}) {
    const std::string token = with("\"exp\":5000,\"" + claim + "\":1000");
    expect(TokenErrorKind::kNotYetValid, token, claim, 1000 - kLeeway - 1);
    expect(TokenErrorKind::kNotYetValid, token, claim, INT64_MIN);
    expect_good(token, claim, 1000 - kLeeway);
    expect_good(token, claim, 4999);
    expect(TokenErrorKind::kExpired, token, claim, 5000 + kLeeway);
    expect_good(with("\"exp\":5000,\"" + claim + "\":1000.7"), claim, 1000 - kLeeway);
    expect_good(with("\"exp\":5000,\"" + claim + "\":-9223372036854775808"), claim, 0);
    expect(TokenErrorKind::kNotYetValid, with("\"exp\":9223372036854775807,\"" + claim + "\":9223372036854775807"),
           claim);
  }

  const auto strict = verifier({.issuer = {}, .audience = {}, .leeway_seconds = 0});
  EXPECT_TRUE(strict->verify(expiring, 999).has_value());
  EXPECT_EQ(kind_of(strict->verify(expiring, 1000).error()), TokenErrorKind::kExpired);

  // A clock that steps back makes an expired token good again, and one that was good a future one.
  expect(TokenErrorKind::kExpired, expiring, "after", 2000);
  expect_good(expiring, "back again", 900);
  const std::string beginning = with("\"exp\":5000,\"nbf\":1000");
  expect_good(beginning, "within", 2000);
  expect(TokenErrorKind::kNotYetValid, beginning, "back again", 900);
  expect_good(beginning, "within", 2000);
}

// One value has one meaning, however its number is spelt (RFC 8259 section 6, RFC 7519 section 2 "NumericDate").
TEST_P(TokenTest, NumbersMeanTheirValue) {
  for (const std::string_view subject :
       {"7", "7.0", "7.000", "7e0", "7E+0", "0.7e1", "0.07E2", "70e-1", "7000e-3", "0.00000000000000000000007e23",
        "7e00000000000000000000000000", "700000000000000000000000000000e-29", R"("7")", R"("\u0037")"}) {
    expect_good(token_of(kHeader, R"({"sub":)" + std::string(subject) + R"(,"role":"CUSTOMER","exp":1.8e9})"), subject);
  }
  const auto with = [](const std::string& times) {
    return token_of(kHeader, R"({"sub":"7","role":"TELLER",)" + times + "}");
  };
  for (const std::string exp : {"1796053493", "1796053493.0", "1.796053493E+09", "1.796053493e9", "17960534930e-1",
                                "0.1796053493e10", "1796053493.999", "1.7960534939999e9", "1796053493e0"}) {
    const std::string token = with("\"exp\":" + exp);
    expect_good(token, exp, 1'796'053'493 + kLeeway - 1);
    EXPECT_EQ(verifier_->verify(token, kNow)->expires_at, 1'796'053'493) << exp;
    expect(TokenErrorKind::kExpired, token, exp, 1'796'053'493 + kLeeway);
    for (const std::string claim : {"nbf", "iat"}) {
      const std::string future = with("\"exp\":9e9,\"" + claim + "\":" + exp);
      expect(TokenErrorKind::kNotYetValid, future, exp, 1'796'053'493 - kLeeway - 1);
      expect_good(future, exp, 1'796'053'493 - kLeeway);
    }
  }
  // Beyond 64 bits is the far future or the far past, at no cost.
  const std::string nines(6'000, '9');
  for (const std::string& exp : {"1e12"s, "1.5E12"s, "9223372036854775807"s, "9223372036854775808"s, "1e19"s, "1e400"s,
                                 "1e99999999999999999999999999999999"s, nines, nines + "e" + "99999"}) {
    expect_good(with("\"exp\":" + exp), exp.substr(0, 40));
    expect(TokenErrorKind::kNotYetValid, with("\"exp\":9e9,\"nbf\":" + exp), exp.substr(0, 40));
    expect(TokenErrorKind::kExpired, with("\"exp\":-" + exp), exp.substr(0, 40));
    expect_good(with("\"exp\":9e9,\"iat\":-" + exp), exp.substr(0, 40));
  }
  for (const std::string_view exp : {"0", "-0", "0e99", "0.0e-99", "1e-400", "1e-99999999999999999999", "-0.5"}) {
    const std::string token = with("\"exp\":" + std::string(exp));
    expect_good(token, exp, kLeeway - 1);
    expect(TokenErrorKind::kExpired, token, exp, kLeeway);
  }
}

// A claim is its text, however it is escaped: PHP writes a slash as \/.
TEST_P(TokenTest, StringsMeanTheirText) {
  expect_good(token_of(R"({"\u0061lg":"\u0048S256","typ":"application\/at+jwt"})", claims("")), "header");
  expect_good(token_of(kHeader, R"({"sub":"\u0037","role":"CUST\u004fMER","exp":1.8e9})"), "claims");
}

TEST_P(TokenTest, IssuerAndAudience) {
  verifier_ = verifier({.issuer = "https://auth.example", .audience = "transactions"});
  const struct {
    std::string_view more;
    bool good;
  } kTable[] = {
      {R"(,"iss":"https://auth.example","aud":"transactions")", true},
      {R"(,"iss":"https:\/\/auth.example","aud":"trans\u0061ctions")", true},
      {R"(,"iss":"https://auth.example","aud":["transactions"])", true},
      {R"(,"iss":"https://auth.example","aud":["a","transactions"])", true},
      {R"(,"iss":"https://auth.example","aud":[ "transactions" , "b" ])", true},
      {R"(,"iss":"https://auth.example","aud":["a\"]\\","trans\u0061ctions"])", true},
      {R"(,"iss":"https://auth.example")", false},
      {R"(,"aud":"transactions")", false},
      {"", false},
      {R"(,"iss":"https://auth.example/","aud":"transactions")", false},
      {R"(,"iss":"HTTPS://auth.example","aud":"transactions")", false},
      {R"(,"iss":"","aud":"transactions")", false},
      {R"(,"iss":null,"aud":"transactions")", false},
      {R"(,"iss":["https://auth.example"],"aud":"transactions")", false},
      {R"(,"iss":"https://auth.example\u0000","aud":"transactions")", false},
      {R"(,"iss":"https://auth.example","aud":"")", false},
      {R"(,"iss":"https://auth.example","aud":"transaction")", false},
      {R"(,"iss":"https://auth.example","aud":"transactions2")", false},
      {R"(,"iss":"https://auth.example","aud":"Transactions")", false},
      {R"(,"iss":"https://auth.example","aud":[])", false},
      {R"(,"iss":"https://auth.example","aud":["a","b"])", false},
      {R"(,"iss":"https://auth.example","aud":[["transactions"]])", false},
      {R"(,"iss":"https://auth.example","aud":["transactions",1])", false},
      {R"(,"iss":"https://auth.example","aud":["\"transactions\""])", false},
      {R"(,"iss":"https://auth.example","aud":["a,transactions"])", false},
      {R"(,"iss":"https://auth.example","aud":{"transactions":1})", false},
      {R"(,"iss":"https://auth.example","aud":null)", false},
      {R"(,"iss":"https://auth.example","aud":1)", false},
  };
  for (const auto& [more, good] : kTable) {
    const std::string token = token_of(kHeader, claims(more));
    if (good) {
      expect_good(token, more);
    } else {
      expect(TokenErrorKind::kWrongClaims, token, more);
    }
  }
}

// Each error by its own name, and what is said about it.
TEST_P(TokenTest, SaysWhatIsWrong) {
  verifier_ = verifier({.issuer = "i", .audience = "a"});
  const std::string all = R"("sub":"7","role":"TELLER","iss":"i","aud":"a")";
  const std::string exp = ",\"exp\":" + std::to_string(kNow + 60);
  const auto of = [](const std::string& members) { return token_of(kHeader, "{" + members + "}"); };
  const std::string good = of(all + exp);
  ASSERT_TRUE(verifier_->verify(good, kNow).has_value());
  const struct {
    std::string token;
    TokenError error;
    const char* reason;
    const char* detail;
  } kTable[] = {
      {std::string(kTokenBytesMax + 1, 'a'), TokenError::kTooLong, "longer than 16384 bytes",
       "longer than 16384 bytes"},
      {"a.b", TokenError::kNotThreeParts, "three parts", "three parts"},
      {"+." + good.substr(good.find('.') + 1), TokenError::kNotThreeParts, "three parts", "three parts"},
      {token_of("{", "{}"), TokenError::kHeaderUnreadable, "header is not one JSON object", nullptr},
      {token_of(R"({"alg":"HS256","crit":[]})", "{}"), TokenError::kHeaderForbidden, "crit", nullptr},
      {token_of(R"({"alg":"HS256","typ":"x"})", "{}"), TokenError::kHeaderType, "typ", nullptr},
      {token_of(R"({"typ":"JWT"})", "{}"), TokenError::kHeaderWithoutAlg, "no alg", nullptr},
      {token_of(R"({"alg":"HS256","kid":1})", "{}"), TokenError::kHeaderKid, "kid", nullptr},
      {token_of(R"({"alg":"none"})", "{}"), TokenError::kOtherAlgorithm, "alg is not", nullptr},
      {good.substr(0, good.rfind('.')) + ".=", TokenError::kSignatureUnreadable, "signature", nullptr},
      {good.substr(0, good.rfind('.')) + ".AA", TokenError::kBadSignature, "does not hold", nullptr},
      {token_of(kHeader, "[]"), TokenError::kPayloadUnreadable, "claims are not one", "claims are not one"},
      {of(all + ",\"exp\":1"), TokenError::kExpired, "expired", nullptr},
      {of(all + exp + ",\"nbf\":9e9"), TokenError::kNotYetValid, "in the future", "not valid yet"},
      {of(all), TokenError::kExpMissing, "exp is missing", "`exp` is missing"},
      {of(all + ",\"exp\":\"1\""), TokenError::kExpNotANumber, "exp is no number", "`exp` is no number"},
      {of(all + exp + ",\"nbf\":null"), TokenError::kNbfNotANumber, "nbf is no number", "`nbf` is no number"},
      {of(all + exp + ",\"iat\":[]"), TokenError::kIatNotANumber, "iat is no number", "`iat` is no number"},
      {of(R"("sub":"7","role":"TELLER","aud":"a")" + exp), TokenError::kIssuerMissing, "iss is", "`iss` is missing"},
      {of(R"("sub":"7","role":"TELLER","aud":"a","iss":"x")" + exp), TokenError::kIssuerOther, "iss", "another issuer"},
      {of(R"("sub":"7","role":"TELLER","iss":"i")" + exp), TokenError::kAudienceMissing, "aud is", "`aud` is missing"},
      {of(R"("sub":"7","role":"TELLER","iss":"i","aud":["x"])" + exp), TokenError::kAudienceOther, "aud does not",
       "`aud` does not"},
      {of(R"("role":"TELLER","iss":"i","aud":"a")" + exp), TokenError::kSubjectMissing, "sub is", "`sub` is missing"},
      {of(R"("sub":"x","role":"TELLER","iss":"i","aud":"a")" + exp), TokenError::kSubjectNotAnInteger, "sub is no",
       "`sub` is no integer"},
      {of(all + exp + ",\"user_id\":0"), TokenError::kUserIdNotAnInteger, "user_id is no", "`user_id` is no integer"},
      {of(all + exp + ",\"user_id\":8"), TokenError::kSubjectsDiffer, "different", "different numbers"},
      {of(R"("sub":"7","iss":"i","aud":"a")" + exp), TokenError::kRoleMissing, "role is missing", "`role` is missing"},
      {of(R"("sub":"7","role":1,"iss":"i","aud":"a")" + exp), TokenError::kRoleNotText, "neither a string", "neither"},
      {of(R"("sub":"7","role":"x","iss":"i","aud":"a")" + exp), TokenError::kRoleUnknown, "no role", "names no role"},
  };
  std::set<TokenError> seen = {TokenError::kUnknownKey};  // HS256 has one key
  for (const auto& [token, error, reason, detail] : kTable) {
    const auto result = verifier_->verify(token, kNow);
    ASSERT_FALSE(result.has_value()) << reason;
    EXPECT_EQ(result.error(), error) << verifier_->texts().reason(result.error());
    EXPECT_THAT(verifier_->texts().reason(error), HasSubstr(reason));
    EXPECT_THAT(verifier_->texts().detail(error), detail == nullptr ? HasSubstr("") : HasSubstr(detail));
    EXPECT_EQ(verifier_->texts().detail(error).empty(), detail == nullptr) << reason;
    seen.insert(error);
  }
  EXPECT_EQ(seen.size(), kTokenErrorCount) << "every error can be met";
  const auto named = verifier({.subject_claim = "user.id", .role_claim = "realm_access.roles"});
  EXPECT_EQ(named->texts().detail(TokenError::kSubjectMissing), "The token's claim `user.id` is missing");
  EXPECT_EQ(named->texts().reason(TokenError::kRoleUnknown), "claim realm_access.roles names no role");
}

TEST_P(TokenTest, EveryTruncationIsRefused) {
  const std::string token = token_of(kHeader, claims(""));
  expect_good(token, "first");
  for (size_t length = 0; length < token.size(); ++length) {
    EXPECT_FALSE(verifier_->verify(std::string_view(token).substr(0, length), kNow).has_value()) << length;
    EXPECT_FALSE(verifier_->verify(std::string_view(token).substr(token.size() - length), kNow).has_value()) << length;
  }
  expect_good(token, "the whole");
}

// Also those of the last character of the signature, whose spare bits would otherwise give one token four spellings.
TEST_P(TokenTest, EveryChangedCharacterIsRefused) {
  const std::string token = token_of(kHeader, claims(""));
  expect_good(token, "first");
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    for (int byte = 0; byte < 256; ++byte) {
      if (static_cast<char>(byte) == token[i]) continue;
      changed[i] = static_cast<char>(byte);
      ASSERT_FALSE(verifier_->verify(changed, kNow).has_value()) << i << ": " << changed;
    }
    std::string longer = token;
    longer.insert(i, 1, token[i]);
    ASSERT_FALSE(verifier_->verify(longer, kNow).has_value()) << longer;
    std::string shorter = token;
    shorter.erase(i, 1);
    ASSERT_FALSE(verifier_->verify(shorter, kNow).has_value()) << shorter;
  }
  expect_good(token, "the whole");
}

// The header that is remembered is one that held: a token with another one is never read by it.
TEST_P(TokenTest, RememberedHeaderIsNoWayAroundTheSignature) {
  const std::string good = token_of(kHeader, claims(""));
  expect_good(good, "good");
  const std::string header = good.substr(0, good.find('.'));
  expect(TokenErrorKind::kBadSignature,
         header + "." + encode_base64url(claims(R"(,"x":1)")) + good.substr(good.rfind('.')),
         "another payload under it");
  const std::string prefix = header.substr(0, header.size() - 4);
  EXPECT_FALSE(verifier_->verify(signed_text(prefix + "." + encode_base64url(claims(""))), kNow).has_value());
  EXPECT_FALSE(verifier_->verify(signed_text(header + "AAAA." + encode_base64url(claims(""))), kNow).has_value());
}

INSTANTIATE_TEST_SUITE_P(Cache, TokenTest, testing::Values(0, 64),
                         [](const auto& instance) { return instance.param == 0 ? "Off" : "On"; });

}  // namespace
}  // namespace txn
