#include "app/token_keys.h"

#include <gmock/gmock.h>
#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/err.h>
#include <openssl/nid.h>

#include <string>
#include <vector>

#include "app/base64url.h"
#include "app/token.h"
#include "app/token_signer.h"
#include "tests/app/key_pair.h"

namespace txn {
namespace {

using namespace std::string_literals;
using test::jwks;
using test::KeyPair;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr int64_t kNow = 1'700'000'000;
constexpr JwtAlgorithm kAsymmetric[] = {JwtAlgorithm::kRs256, JwtAlgorithm::kEs256, JwtAlgorithm::kEdDsa};

std::string header_of(JwtAlgorithm algorithm, std::string_view more = "") {
  return "{\"alg\":\"" + std::string(to_string(algorithm)) + "\"" + std::string(more) + "}";
}

std::string good_claims() { return R"({"sub":"7","role":"TELLER","exp":)" + std::to_string(kNow + 60) + "}"; }

std::unique_ptr<TokenVerifier> verifier_of(Result<std::unique_ptr<TokenKeys>> keys, size_t cache_entries = 64) {
  EXPECT_TRUE(keys.has_value()) << (keys ? "" : keys.error().message);
  return TokenVerifier::create(std::move(keys.value()), {}, cache_entries).value();
}

std::string error_of(const Result<std::unique_ptr<TokenKeys>>& keys) {
  return keys ? "usable, with " + std::to_string((*keys)->size()) : keys.error().message;
}

void expect_good(TokenVerifier& verifier, const std::string& token, std::string_view what = "") {
  for (int i = 0; i < 2; ++i) {  // the second time out of the cache
    const auto principal = verifier.verify(token, kNow);
    ASSERT_TRUE(principal.has_value()) << what << " " << static_cast<int>(principal.error()) << " " << token;
    EXPECT_EQ(principal->subject, 7);
    EXPECT_EQ(principal->role, Role::kTeller);
  }
}

void expect_refused(TokenVerifier& verifier, const std::string& token, std::string_view what = "",
                    TokenErrorKind kind = TokenErrorKind::kBadSignature) {
  for (int i = 0; i < 2; ++i) {
    const auto principal = verifier.verify(token, kNow);
    ASSERT_FALSE(principal.has_value()) << what << " " << token;
    EXPECT_EQ(kind_of(principal.error()), kind) << what;
  }
}

// --- Vectors of the RFCs ---------------------------------------------------------------------------------------------

// The claims of RFC 7515's examples are not ours: a signature that holds shows as kWrongClaims, one that does not as
// kBadSignature.
constexpr const char* kRfc7515Payload =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

void expect_vector(TokenVerifier& verifier, const std::string& token, TokenErrorKind when_signature_holds) {
  EXPECT_EQ(kind_of(verifier.verify(token, 1'300'819'000).error()), when_signature_holds);
  // One bit of each byte of the signature.
  const size_t first = token.rfind('.') + 1;
  for (size_t i = first; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    const auto result = verifier.verify(changed, 1'300'819'000);
    EXPECT_NE(kind_of(result.error()), when_signature_holds) << i;
  }
}

TEST(RfcVectors, Rs256OfRfc7515AppendixA2) {
  const auto verifier = verifier_of(TokenKeys::from_jwks(
      JwtAlgorithm::kRs256,
      R"({"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPME)"
      R"(zP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs)"
      R"(LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaG)"
      R"(Nj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]})"));
  expect_vector(*verifier,
                "eyJhbGciOiJSUzI1NiJ9."s + kRfc7515Payload +
                    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG"
                    "bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0G"
                    "arZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgG"
                    "Y9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
                TokenErrorKind::kWrongClaims);
}

constexpr const char* kRfc7515EcKey =
    R"({"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
    R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})";

TEST(RfcVectors, Es256OfRfc7515AppendixA3) {
  const auto verifier = verifier_of(TokenKeys::from_jwks(JwtAlgorithm::kEs256, kRfc7515EcKey));
  expect_vector(*verifier,
                "eyJhbGciOiJFUzI1NiJ9."s + kRfc7515Payload +
                    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
                TokenErrorKind::kWrongClaims);
}

TEST(RfcVectors, EdDsaOfRfc8037AppendixA4) {
  const auto verifier = verifier_of(TokenKeys::from_jwks(
      JwtAlgorithm::kEdDsa,
      R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})"));
  // Its payload, "Example of Ed25519 signing", is no JSON.
  expect_vector(*verifier,
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
                TokenErrorKind::kMalformed);
}

TEST(RfcVectors, UnsecuredOfRfc7515AppendixA5AndCriticalOfAppendixE) {
  const auto verifier = verifier_of(TokenKeys::from_jwks(JwtAlgorithm::kEs256, kRfc7515EcKey));
  expect_refused(*verifier, "eyJhbGciOiJub25lIn0."s + kRfc7515Payload + ".", "alg none");
  expect_refused(*verifier,
                 "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxl"
                 "LmNvbS9VTkRFRklORUQiOnRydWUNCn0.RkFJTA.",
                 "crit", TokenErrorKind::kMalformed);
}

// --- All algorithms --------------------------------------------------------------------------------------------------

TEST(Algorithms, SignAndVerifyByEveryFormOfKey) {
  for (const JwtAlgorithm algorithm : kAsymmetric) {
    const KeyPair pair(algorithm);
    const KeyPair other(algorithm);
    const TokenSigner signer = pair.signer();
    const std::string token = signer.sign(
        {.subject = 7, .role = Role::kTeller, .expires_at = kNow + 60, .issuer = {}, .audience = {}, .login_id = {}});
    const std::string with_kid = signer.sign(
        {.subject = 7, .role = Role::kTeller, .expires_at = kNow + 60, .issuer = {}, .audience = {}, .login_id = {}},
        "2026-a");
    for (auto& verifier : {verifier_of(TokenKeys::from_pem(algorithm, pair.public_pem())),
                           verifier_of(TokenKeys::from_pem(algorithm, pair.certificate_pem())),
                           verifier_of(TokenKeys::from_jwks(algorithm, jwks({pair.jwk()}))),
                           verifier_of(TokenKeys::from_jwks(algorithm, jwks({pair.jwk(R"(,"kid":"2026-a")")})))}) {
      expect_good(*verifier, token, to_string(algorithm));
      expect_good(*verifier, with_kid, to_string(algorithm));
    }
    auto stranger = verifier_of(TokenKeys::from_pem(algorithm, other.public_pem()));
    expect_refused(*stranger, token, to_string(algorithm));
  }
}

TEST(Algorithms, TheHeaderCannotChooseAnother) {
  for (const JwtAlgorithm algorithm : kAsymmetric) {
    const KeyPair pair(algorithm);
    const TokenSigner signer = pair.signer();
    auto verifier = verifier_of(TokenKeys::from_pem(algorithm, pair.public_pem()));
    expect_good(*verifier, signer.sign_text(header_of(algorithm), good_claims()));
    const std::string own(to_string(algorithm));
    std::vector<std::string> others = {"none",    "None",  "NONE",  "nOnE",    "",        "HS256",        "HS384",
                                       "HS512",   "RS384", "RS512", "PS256",   "ES384",   "ES512",        "ES256K",
                                       "Ed25519", "Ed448", "RS1",   own + " ", " " + own, own + "\\u0000"};
    for (const JwtAlgorithm foreign : kAsymmetric) {
      if (foreign != algorithm) others.emplace_back(to_string(foreign));
    }
    std::string folded = own;
    for (char& c : folded) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    others.push_back(folded);
    for (const std::string& alg : others) {
      const std::string header = R"({"alg":")" + alg + "\"}";
      expect_refused(*verifier, signer.sign_text(header, good_claims()), alg);  // signed by the right key even so
      expect_refused(*verifier, encode_base64url(header) + "." + encode_base64url(good_claims()) + ".", alg);
    }
  }
}

// RFC 8725 section 2.1: what everybody knows of the public key, taken for a secret.
TEST(Algorithms, ThePublicKeyIsNoSecret) {
  for (const JwtAlgorithm algorithm : kAsymmetric) {
    const KeyPair pair(algorithm);
    auto verifier = verifier_of(TokenKeys::from_pem(algorithm, pair.public_pem()));
    const std::string pem = pair.public_pem();
    std::string pem_without_newlines = pem;
    std::erase(pem_without_newlines, '\n');
    std::string pem_windows;
    for (const char c : pem) pem_windows += c == '\n' ? "\r\n" : std::string(1, c);
    const std::string der = pair.public_der();
    for (const std::string& secret : {pem, pem.substr(0, pem.size() - 1), pem + "\n", pem_without_newlines, pem_windows,
                                      pair.certificate_pem(), der, der.substr(der.size() - 32), pair.jwk(),
                                      jwks({pair.jwk()}), der.substr(algorithm == JwtAlgorithm::kRs256 ? 24 : 12)}) {
      const TokenSigner forger = TokenSigner::with_secret(secret).value();
      expect_refused(*verifier, forger.sign_text(header_of(JwtAlgorithm::kHs256), good_claims()), secret);
      expect_refused(*verifier, forger.sign_text(header_of(algorithm), good_claims()), secret);
    }
  }
}

TEST(Algorithms, NoKeyIsTakenFromTheToken) {
  for (const JwtAlgorithm algorithm : {JwtAlgorithm::kEs256, JwtAlgorithm::kEdDsa}) {
    const KeyPair pair(algorithm), attacker(algorithm);
    auto verifier = verifier_of(TokenKeys::from_pem(algorithm, pair.public_pem()));
    for (const std::string& more :
         {",\"jwk\":" + attacker.jwk(), ",\"x5c\":[\"" + encode_base64url(attacker.public_der()) + "\"]",
          R"(,"jku":"https://attacker.example/jwks.json")"s, R"(,"x5u":"https://attacker.example/cert.pem")"s,
          R"(,"jku":"file:///etc/passwd")"s}) {
      expect_refused(*verifier, attacker.signer().sign_text(header_of(algorithm, more), good_claims()), more,
                     TokenErrorKind::kMalformed);
      // Not even beside a good signature: whoever puts it there expects it to count.
      expect_refused(*verifier, pair.signer().sign_text(header_of(algorithm, more), good_claims()), more,
                     TokenErrorKind::kMalformed);
    }
  }
}

TEST(Algorithms, TruncatedAndLengthenedSignatures) {
  for (const JwtAlgorithm algorithm : kAsymmetric) {
    const KeyPair pair(algorithm);
    auto verifier = verifier_of(TokenKeys::from_pem(algorithm, pair.public_pem()));
    const std::string token = pair.signer().sign_text(header_of(algorithm), good_claims());
    expect_good(*verifier, token);
    for (size_t length = 0; length < token.size(); ++length) {
      ASSERT_FALSE(verifier->verify(std::string_view(token).substr(0, length), kNow).has_value()) << length;
    }
    const size_t dot = token.rfind('.');
    const std::string signed_part = token.substr(0, dot);
    std::string signature(base64url_bytes_max(token.size()), '\0');
    const ptrdiff_t bytes =
        decode_base64url(std::string_view(token).substr(dot + 1), reinterpret_cast<uint8_t*>(signature.data()));
    signature.resize(static_cast<size_t>(bytes));
    const auto with = [&](const std::string& text) { return signed_part + "." + encode_base64url(text); };
    expect_good(*verifier, with(signature));
    for (const std::string& wrong :
         {""s, signature.substr(1), signature.substr(0, signature.size() - 1), signature + '\0', '\0' + signature,
          signature + signature, std::string(signature.size(), '\0'), std::string(signature.size(), '\xFF'),
          std::string(64, '\0'), std::string(256, '\0'), std::string(384, '\0'), std::string(512, '\x01')}) {
      expect_refused(*verifier, with(wrong), std::to_string(wrong.size()));
    }
    expect_refused(*verifier, with(std::string(513, '\x01')), "beyond the longest", TokenErrorKind::kMalformed);
    // The last character's spare bits.
    if (bytes % 3 != 0) {
      std::string spare = token;
      constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
      spare.back() = kAlphabet[kAlphabet.find(spare.back()) ^ 1];
      expect_refused(*verifier, spare, "spare bits", TokenErrorKind::kMalformed);
    }
    for (const char* tail : {"=", "==", "\n", " ", "%"}) {
      expect_refused(*verifier, token + tail, tail, TokenErrorKind::kMalformed);
    }
  }
}

TEST(Algorithms, Es256WantsNumbersOfItsRange) {
  const KeyPair pair(JwtAlgorithm::kEs256);
  auto verifier = verifier_of(TokenKeys::from_pem(JwtAlgorithm::kEs256, pair.public_pem()));
  const std::string token = pair.signer().sign_text(header_of(JwtAlgorithm::kEs256), good_claims());
  const std::string signed_part = token.substr(0, token.rfind('.'));
  std::string raw(base64url_bytes_max(86), '\0');
  ASSERT_EQ(
      decode_base64url(std::string_view(token).substr(signed_part.size() + 1), reinterpret_cast<uint8_t*>(raw.data())),
      64);
  raw.resize(64);
  const std::string r = raw.substr(0, 32), s = raw.substr(32);
  const std::string zero(32, '\0'), one = zero.substr(1) + '\x01';
  // The order of P-256, FIPS 186-4 appendix D.1.2.3.
  const std::string n =
      "\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2"
      "\xfc\x63\x25\x51"s;
  const auto with = [&](const std::string& signature) { return signed_part + "." + encode_base64url(signature); };
  expect_good(*verifier, with(r + s));
  for (const std::string& wrong : {zero + zero, zero + s, r + zero, one + one, one + zero, zero + one, n + n, n + s,
                                   r + n, n + zero, zero + n, s + r, std::string(64, '\xFF')}) {
    expect_refused(*verifier, with(wrong));
  }
  // The DER form that certificates use is none of JWS.
  const auto integer = [](const std::string& bytes) {
    const std::string padded = (bytes[0] & 0x80) != 0 ? '\0' + bytes : bytes;
    return "\x02"s + static_cast<char>(padded.size()) + padded;
  };
  const std::string body = integer(r) + integer(s);
  expect_refused(*verifier, with("\x30"s + static_cast<char>(body.size()) + body), "DER");
  // (r, n - s) is as good, by the algorithm's nature; it is a token of its own.
  const auto number = [](const std::string& bytes) {
    return bssl::UniquePtr<BIGNUM>(BN_bin2bn(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), nullptr));
  };
  const auto difference = number(n);
  ASSERT_EQ(BN_sub(difference.get(), difference.get(), number(s).get()), 1);
  std::string mirrored(32, '\0');
  ASSERT_EQ(BN_bn2bin_padded(reinterpret_cast<uint8_t*>(mirrored.data()), 32, difference.get()), 1);
  expect_good(*verifier, with(r + mirrored));
}

// --- Which key -------------------------------------------------------------------------------------------------------

TEST(KeyIds, ChooseAmongSeveralKeys) {
  constexpr JwtAlgorithm kAlgorithm = JwtAlgorithm::kEdDsa;
  const KeyPair a(kAlgorithm), b(kAlgorithm);
  auto verifier = verifier_of(TokenKeys::from_jwks(
      kAlgorithm, jwks({a.jwk(R"(,"kid":"a","use":"sig","alg":"EdDSA")"), b.jwk(R"(,"kid":"b \"\u00e9")")})));
  const auto by = [&](const KeyPair& pair, std::string_view more) {
    return pair.signer().sign_text(header_of(kAlgorithm, more), good_claims());
  };
  expect_good(*verifier, by(a, R"(,"kid":"a")"));
  expect_good(*verifier, by(b, R"(,"kid":"b \"é")"));
  expect_good(*verifier, by(b, R"(,"\u006bid":"\u0062 \u0022\u00e9")"), "other escapes, same text");
  expect_good(*verifier, by(a, R"(,"kid":"\u0061")"));
  expect_refused(*verifier, by(a, R"(,"kid":"b \"é")"), "the other's name");
  expect_refused(*verifier, by(b, R"(,"kid":"a")"), "the other's name");
  for (const std::string_view more : {"", R"(,"kid":"c")", R"(,"kid":"")", R"(,"kid":"A")", R"(,"kid":"a ")",
                                      R"(,"kid":"a\u0000")", R"(,"kid":"../../a")", R"(,"kid":"a' OR '1'='1")"}) {
    expect_refused(*verifier, by(a, more), more);
  }
  for (const std::string_view more : {R"(,"kid":1)", R"(,"kid":null)", R"(,"kid":["a"])", R"(,"kid":{"a":1})",
                                      R"(,"kid":"a","kid":"a")", R"(,"kid":"a","kid":"c")"}) {
    expect_refused(*verifier, by(a, more), more, TokenErrorKind::kMalformed);
  }
  expect_refused(*verifier, by(a, ",\"kid\":\"" + std::string(kKidBytesMax, 'k') + "\""), "as long as may be");
  expect_refused(*verifier, by(a, ",\"kid\":\"" + std::string(kKidBytesMax + 1, 'k') + "\""), "too long",
                 TokenErrorKind::kMalformed);
}

TEST(KeyIds, AreNeededOnlyAmongSeveral) {
  constexpr JwtAlgorithm kAlgorithm = JwtAlgorithm::kEs256;
  const KeyPair a(kAlgorithm);
  const auto by = [&](std::string_view more) {
    return a.signer().sign_text(header_of(kAlgorithm, more), good_claims());
  };
  auto named = verifier_of(TokenKeys::from_jwks(kAlgorithm, jwks({a.jwk(R"(,"kid":"a")")})));
  expect_good(*named, by(""));
  expect_good(*named, by(R"(,"kid":"a")"));
  expect_refused(*named, by(R"(,"kid":"b")"));
  auto unnamed = verifier_of(TokenKeys::from_jwks(kAlgorithm, jwks({a.jwk()})));
  expect_good(*unnamed, by(""));
  expect_good(*unnamed, by(R"(,"kid":"whatever")"));
}

TEST(KeyIds, ChangedKeysForgetEverything) {
  constexpr JwtAlgorithm kAlgorithm = JwtAlgorithm::kEs256;
  const KeyPair a(kAlgorithm), b(kAlgorithm);
  auto verifier = verifier_of(TokenKeys::from_jwks(kAlgorithm, jwks({a.jwk(R"(,"kid":"k")")})));
  const std::string by_a = a.signer().sign_text(header_of(kAlgorithm, R"(,"kid":"k")"), good_claims());
  const std::string by_b = b.signer().sign_text(header_of(kAlgorithm, R"(,"kid":"k")"), good_claims());
  expect_good(*verifier, by_a);
  expect_refused(*verifier, by_b);
  EXPECT_EQ(verifier->counters().cache_hits, 1u);
  // Another key under the same name: the header that was remembered must not lead to the old one either.
  verifier->set_keys(TokenKeys::from_jwks(kAlgorithm, jwks({b.jwk(R"(,"kid":"k")")})).value());
  expect_refused(*verifier, by_a);
  expect_good(*verifier, by_b);
  verifier->set_keys(TokenKeys::from_pem(kAlgorithm, a.public_pem()).value());
  expect_good(*verifier, by_a);
  expect_refused(*verifier, by_b);
}

// --- PEM files -------------------------------------------------------------------------------------------------------

TEST(Pem, OnlyOnePublicKeyOfTheAlgorithm) {
  const KeyPair ec(JwtAlgorithm::kEs256), ed(JwtAlgorithm::kEdDsa);
  const std::string good = ec.public_pem();
  const auto read = [](std::string_view text, JwtAlgorithm algorithm = JwtAlgorithm::kEs256) {
    return error_of(TokenKeys::from_pem(algorithm, text));
  };
  EXPECT_EQ(read(good), "usable, with 1");
  EXPECT_EQ(read("A key of ours:\n\n" + good + "\n\n"), "usable, with 1");
  EXPECT_EQ(read(ec.certificate_pem()), "usable, with 1");
  EXPECT_EQ(read(""), "no PEM block");
  EXPECT_EQ(read("-----BEGIN PUBLIC KEY-----\n"), "no PEM block");
  EXPECT_EQ(read(jwks({ec.jwk()})), "no PEM block");
  EXPECT_EQ(read(std::string_view("\0\xFF\0", 3)), "no PEM block");
  EXPECT_THAT(read(good + good), StartsWith("more than one PEM block"));
  EXPECT_THAT(read(good + ed.public_pem()), StartsWith("more than one PEM block"));
  EXPECT_THAT(read(ec.private_pem()), StartsWith("a private key"));
  EXPECT_THAT(read(ed.public_pem()), StartsWith("not a key for ES256"));
  EXPECT_THAT(read(ed.certificate_pem()), StartsWith("not a key for ES256"));
  EXPECT_THAT(read(good, JwtAlgorithm::kEdDsa), StartsWith("not a key for EdDSA"));
  EXPECT_THAT(read(good, JwtAlgorithm::kRs256), StartsWith("not a key for RS256"));
  EXPECT_THAT(read(good, JwtAlgorithm::kHs256), StartsWith("not a key for HS256"));
  EXPECT_THAT(read(KeyPair::elliptic(NID_secp384r1).public_pem()), StartsWith("an elliptic curve other than P-256"));
  EXPECT_THAT(read(KeyPair::elliptic(NID_secp521r1).public_pem()), StartsWith("an elliptic curve other than P-256"));
  EXPECT_THAT(read(std::string(kKeyFileBytesMax + 1, 'x')), StartsWith("more than 262144 bytes"));
  // Cut anywhere, it is of no use.
  for (size_t length = 0; length + 1 < good.size(); ++length) {
    ASSERT_THAT(read(good.substr(0, length)), Not(StartsWith("usable"))) << length;
  }
}

TEST(Pem, RsaKeysAreOfAReasonableSize) {
  const auto read = [](const KeyPair& pair) {
    return error_of(TokenKeys::from_pem(JwtAlgorithm::kRs256, pair.public_pem()));
  };
  EXPECT_THAT(read(KeyPair::rsa(1024)), StartsWith("an RSA modulus of 1024 bits"));
  EXPECT_THAT(read(KeyPair::rsa(1920)), StartsWith("an RSA modulus of 1920 bits"));
  EXPECT_THAT(read(KeyPair::rsa(2048, 3)), StartsWith("an RSA exponent"));
  EXPECT_EQ(read(KeyPair::rsa(2048)), "usable, with 1");
}

// --- Key sets --------------------------------------------------------------------------------------------------------

TEST(Jwks, KeysOfNoUseArePassedOver) {
  const KeyPair ec(JwtAlgorithm::kEs256), ed(JwtAlgorithm::kEdDsa);
  const std::string good = ec.jwk(R"(,"kid":"good")");
  const std::pair<std::string, std::string> kTable[] = {
      {"{}", "kty is not EC"},
      {R"({"kty":1})", "kty is not EC"},
      {R"({"kty":"ec"})", "kty is not EC"},
      {ed.jwk(R"(,"kid":"x")"), "kty is not EC"},
      {R"({"kty":"oct","alg":"HS256","kid":"x"})", "kty is not EC"},
      {ec.jwk(R"(,"use":"enc")"), "use is not sig"},
      {ec.jwk(R"(,"use":"")"), "use is not sig"},
      {ec.jwk(R"(,"use":["sig"])"), "use is not sig"},
      {ec.jwk(R"(,"key_ops":["sign"])"), "key_ops does not list verify"},
      {ec.jwk(R"(,"key_ops":[])"), "key_ops does not list verify"},
      {ec.jwk(R"(,"key_ops":"verify")"), "key_ops does not list verify"},
      {ec.jwk(R"(,"key_ops":["verify",1])"), "key_ops does not list verify"},
      {ec.jwk(R"(,"alg":"ES384")"), "alg is not ES256"},
      {ec.jwk(R"(,"alg":"es256")"), "alg is not ES256"},
      {ec.jwk(R"(,"alg":null)"), "alg is not ES256"},
      {ec.jwk(R"(,"kid":"")"), "kid is not a string of 1 to 256 bytes"},
      {ec.jwk(R"(,"kid":1)"), "kid is not a string of 1 to 256 bytes"},
      {ec.jwk(",\"kid\":\"" + std::string(257, 'k') + "\""), "kid is not a string of 1 to 256 bytes"},
      {KeyPair::elliptic(NID_secp384r1).jwk(), "crv is not P-256"},
      {R"({"kty":"EC","crv":"P-256"})", "x and y are not coordinates of up to 32 octets of base64url each"},
      {R"({"kty":"EC","crv":"P-256","x":"AA","y":"AA"})", "a point that is not on P-256"},
      {R"({"kty":"EC","crv":"P-256","x":"","y":""})",
       "x and y are not coordinates of up to 32 octets of base64url each"},
      {R"({"kty":"EC","crv":"P-256","x":")" + std::string(43, 'A') + R"(","y":")" + std::string(43, 'A') + "\"}",
       "a point that is not on P-256"},
      {R"({"kty":"EC","crv":"P-256","x":")" + std::string(42, '_') + R"(8","y":")" + std::string(42, '_') + "8\"}",
       "a point that is not on P-256"},
  };
  for (const auto& [jwk, reason] : kTable) {
    const auto beside_good = TokenKeys::from_jwks(JwtAlgorithm::kEs256, jwks({good, jwk}));
    ASSERT_TRUE(beside_good.has_value()) << jwk << beside_good.error().message;
    EXPECT_EQ((*beside_good)->size(), 1u) << jwk;
    EXPECT_THAT((*beside_good)->skipped(), ElementsAre("key 2: " + reason)) << jwk;
    EXPECT_NE((*beside_good)->find("good"), nullptr);
    EXPECT_EQ(error_of(TokenKeys::from_jwks(JwtAlgorithm::kEs256, jwks({jwk}))),
              "no key for ES256 among 1; key 1: " + reason);
  }
  for (const std::string_view more :
       {R"(,"use":"sig")", R"(,"alg":"ES256")", R"(,"key_ops":["verify"])", R"(,"key_ops":["x", "verify" ])",
        R"(,"x5c":["MIIB"],"x5t":"a","unheard_of":{"deep":[1,{}]},"kid":"k")", R"(,"use":"s\u0069g")"}) {
    EXPECT_EQ(error_of(TokenKeys::from_jwks(JwtAlgorithm::kEs256, jwks({ec.jwk(more)}))), "usable, with 1") << more;
  }
}

TEST(Jwks, RsaKeys) {
  const KeyPair pair(JwtAlgorithm::kRs256);
  const auto read = [](const std::string& jwk) {
    return error_of(TokenKeys::from_jwks(JwtAlgorithm::kRs256, jwks({jwk})));
  };
  EXPECT_EQ(read(pair.jwk()), "usable, with 1");
  EXPECT_THAT(read(KeyPair::rsa(1024).jwk()), HasSubstr("an RSA modulus of 1024 bits"));
  const auto of = [](size_t bytes, char last, const std::string& e, char first = '\xFF') {
    const std::string n = first + std::string(bytes - 2, '\xFF') + last;
    return R"({"kty":"RSA","n":")" + encode_base64url(n) + R"(","e":")" + e + "\"}";
  };
  EXPECT_EQ(read(of(512, '\x01', "AQAB")), "usable, with 1");
  EXPECT_THAT(read(of(513, '\x01', "AQAB")), HasSubstr("n is not a Base64urlUInt within bounds"));
  EXPECT_EQ(read(of(256, '\x01', "AQAB", '\x80')), "usable, with 1");
  EXPECT_THAT(read(of(256, '\x01', "AQAB", '\x7F')), HasSubstr("an RSA modulus of 2047 bits"));
  EXPECT_EQ(read(of(257, '\x01', "AQAB", '\0')), "usable, with 1");
  EXPECT_THAT(read(of(256, '\x02', "AQAB")), HasSubstr("an even RSA modulus"));
  for (const char* e : {"AQ", "Aw", "EQ", "AQAA", "AQA", "__8", "____________"}) {
    EXPECT_THAT(read(of(256, '\x01', e)), HasSubstr("an RSA exponent")) << e;
  }
  for (const char* e : {"", "AQAB=", "AQAB====", "AQ=", "AQ===", "=AQAB", "AQB", "A", "AQ AB", "AQAB\\n"}) {
    EXPECT_THAT(read(of(256, '\x01', e)), HasSubstr("e is not a Base64urlUInt within bounds")) << e;
  }
  EXPECT_THAT(read(R"({"kty":"RSA","e":"AQAB"})"), HasSubstr("n is not"));
}

// A withdrawn key would stay good if the file without it were refused for the way in which it is written.
TEST(Jwks, KeysCountByWhatTheyAreNotByTheirSpelling) {
  const auto respelt = [](std::string text, const std::string& name, const auto& change) {
    const size_t at = text.find("\"" + name + "\":\"") + name.size() + 4;
    const size_t end = text.find('"', at);
    return text.replace(at, end - at, change(text.substr(at, end - at)));
  };
  const auto padded = [](std::string value) { return value + std::string((4 - value.size() % 4) % 4, '='); };
  const auto standard = [](std::string value) {
    std::ranges::replace(value, '-', '+');
    std::ranges::replace(value, '_', '/');
    return value;
  };
  const auto slashes = [&](const std::string& value) {  // as PHP writes them
    std::string text;
    for (const char c : standard(value)) text += c == '/' ? "\\/" : std::string(1, c);
    return text;
  };
  const auto octets = [](const std::string& value) {
    std::string bytes(base64url_bytes_max(value.size()), '\0');
    bytes.resize(static_cast<size_t>(decode_base64url(value, reinterpret_cast<uint8_t*>(bytes.data()))));
    return bytes;
  };
  const auto zeros = [&](const std::string& value) { return encode_base64url("\0"s + octets(value)); };
  for (const JwtAlgorithm algorithm : kAsymmetric) {
    const KeyPair pair(algorithm), withdrawn(algorithm);
    const std::string jwk = pair.jwk(R"(,"kid":"k")");
    const std::string token = pair.signer().sign_text(header_of(algorithm, R"(,"kid":"k")"), good_claims());
    const std::string forged = withdrawn.signer().sign_text(header_of(algorithm, R"(,"kid":"k")"), good_claims());
    std::vector<std::string> spellings;
    for (const char* name : {"n", "e", "x", "y"}) {
      if (jwk.find("\"" + std::string(name) + "\":\"") == std::string::npos) continue;
      spellings.push_back(respelt(jwk, name, padded));
      spellings.push_back(respelt(jwk, name, standard));
      spellings.push_back(respelt(jwk, name, slashes));
      spellings.push_back(respelt(respelt(jwk, name, standard), name, padded));
      if (algorithm != JwtAlgorithm::kEdDsa) spellings.push_back(respelt(jwk, name, zeros));
    }
    for (const std::string& spelling : spellings) {
      auto keys = TokenKeys::from_jwks(algorithm, jwks({spelling}));
      ASSERT_TRUE(keys.has_value()) << spelling << keys.error().message;
      auto verifier = verifier_of(std::move(keys));
      expect_good(*verifier, token, spelling);
      expect_refused(*verifier, forged, spelling);
      // The same key in two spellings is one.
      EXPECT_EQ(error_of(TokenKeys::from_jwks(algorithm, jwks({jwk, spelling}))), "usable, with 1");
    }
    const std::string marked = "\xEF\xBB\xBF" + jwks({jwk});
    EXPECT_EQ(error_of(TokenKeys::from_jwks(algorithm, marked)), "usable, with 1");
    EXPECT_EQ(error_of(TokenKeys::from_pem(algorithm, "\xEF\xBB\xBF" + pair.public_pem())), "usable, with 1");
    EXPECT_TRUE(TokenSigner::with_private_key(algorithm, "\xEF\xBB\xBF" + pair.private_pem()).has_value());
  }
  // Coordinates with their leading zeros left out: one key in 256 has one.
  const KeyPair pair(JwtAlgorithm::kEs256);
  for (int i = 0; i < 5'000; ++i) {
    const KeyPair other(JwtAlgorithm::kEs256);
    const std::string jwk = other.jwk();
    const size_t x = jwk.find("\"x\":\"") + 5;
    if (!jwk.substr(x).starts_with("AA") && !jwk.substr(x).starts_with("AB")) continue;
    if (octets(jwk.substr(x, 43)).front() != '\0') continue;
    const std::string shorter =
        respelt(jwk, "x", [&](const std::string& value) { return encode_base64url(octets(value).substr(1)); });
    auto verifier = verifier_of(TokenKeys::from_jwks(JwtAlgorithm::kEs256, jwks({shorter})));
    expect_good(*verifier, other.signer().sign_text(header_of(JwtAlgorithm::kEs256), good_claims()), shorter);
    break;
  }
}

TEST(Jwks, KeysMayBeListedTwiceAndShareAKid) {
  for (const JwtAlgorithm algorithm : kAsymmetric) {
    const KeyPair a(algorithm), b(algorithm), stranger(algorithm);
    const std::string named = a.jwk(R"(,"kid":"k")");
    EXPECT_EQ(error_of(TokenKeys::from_jwks(algorithm, jwks({named, named}))), "usable, with 1");
    EXPECT_EQ(error_of(TokenKeys::from_jwks(algorithm, jwks({a.jwk(), a.jwk()}))), "usable, with 1");
    EXPECT_EQ(error_of(TokenKeys::from_jwks(algorithm, jwks({named, a.jwk(R"(,"kid":"l")")}))), "usable, with 2");

    auto keys = TokenKeys::from_jwks(algorithm, jwks({"{}", named, b.jwk(R"(,"kid":"\u006b")"), named}));
    ASSERT_TRUE(keys.has_value()) << keys.error().message;
    EXPECT_EQ((*keys)->size(), 1u);
    EXPECT_THAT((*keys)->shared_ids(), ElementsAre("keys 2 and 3"));
    auto verifier = verifier_of(std::move(keys));
    const std::string header = header_of(algorithm, R"(,"kid":"k")");
    for (const KeyPair* pair : {&a, &b, &a}) expect_good(*verifier, pair->signer().sign_text(header, good_claims()));
    expect_refused(*verifier, stranger.signer().sign_text(header, good_claims()), "neither of them");
    EXPECT_EQ(ERR_peek_error(), 0u);
  }
  std::vector<std::string> many;
  std::string set;
  for (size_t i = 0; i <= kKeysOfOneKidMax; ++i) {
    set += (i == 0 ? "" : ",") + KeyPair(JwtAlgorithm::kEdDsa).jwk(R"(,"kid":"k")");
    const std::string said = error_of(TokenKeys::from_jwks(JwtAlgorithm::kEdDsa, R"({"keys":[)" + set + "]}"));
    EXPECT_EQ(said, i < kKeysOfOneKidMax ? "usable, with 1" : "more than 4 different keys have the kid of key 1");
  }
}

// Whatever kind of key it is of, and whether that kind is of use here or not.
TEST(Jwks, PrivateAndSecretPartsAreRefused) {
  const KeyPair pair(JwtAlgorithm::kEs256);
  const std::string good = pair.jwk(R"(,"kid":"good")");
  const std::pair<const char*, const char*> kTable[] = {
      {R"({"kty":"oct","k":"c2VjcmV0","alg":"HS256","kid":"x"})", "`k`"},
      {R"({"kty":"o\u0063t","\u006b":"c2VjcmV0"})", "`k`"},
      {R"({"kty":"RSA","n":"AQAB","e":"AQAB","d":"c2VjcmV0"})", "`d`"},
      {R"({"kty":"RSA","n":"AQAB","e":"AQAB","p":"c2VjcmV0"})", "`p`"},
      {R"({"kty":"RSA","dp":"c2VjcmV0"})", "`dp`"},
      {R"({"kty":"EC","crv":"P-384","d":"c2VjcmV0"})", "`d`"},
      {R"({"kty":"OKP","crv":"X25519","d":null})", "`d`"},
      {R"({"kty":"AKP","priv":"c2VjcmV0"})", "`priv`"},
      {R"({"d":1})", "`d`"},
  };
  for (const auto& [jwk, part] : kTable) {
    const std::string said = error_of(TokenKeys::from_jwks(JwtAlgorithm::kEs256, jwks({good, jwk})));
    EXPECT_THAT(said, StartsWith("key 2 has a private or secret part, " + std::string(part))) << jwk;
    EXPECT_THAT(said, HasSubstr("change that key")) << jwk;
    EXPECT_THAT(said, Not(HasSubstr("c2VjcmV0"))) << jwk;
  }
  EXPECT_EQ(error_of(TokenKeys::from_jwks(JwtAlgorithm::kEs256, jwks({pair.jwk(R"(,"k":"mine","p":1)")}))),
            "usable, with 1");
}

TEST(Jwks, Ed25519Keys) {
  const auto read = [](std::string_view crv, const std::string& bytes) {
    return error_of(TokenKeys::from_jwks(JwtAlgorithm::kEdDsa, jwks({R"({"kty":"OKP","crv":")" + std::string(crv) +
                                                                     R"(","x":")" + encode_base64url(bytes) + "\"}"})));
  };
  EXPECT_THAT(read("Ed448", std::string(57, 'x')), HasSubstr("crv is not Ed25519"));
  EXPECT_THAT(read("X25519", std::string(32, 'x')), HasSubstr("crv is not Ed25519"));
  EXPECT_THAT(read("Ed25519", std::string(31, 'x')), HasSubstr("an Ed25519 key that is not of 32 bytes"));
  EXPECT_THAT(read("Ed25519", std::string(33, 'x')), HasSubstr("an Ed25519 key that is not of 32 bytes"));
}

// Points whose order divides 8: what R = the neutral element and S = 0 "sign" under them holds for every message whose
// hash is a multiple of the order. That shows that the bytes in token_keys.cc are these points.
TEST(Jwks, Ed25519KeysAnybodyCanSignForAreRefused) {
  const auto y = [](std::initializer_list<int> first, int fill, int last) {
    std::string bytes(32, static_cast<char>(fill));
    std::ranges::copy(first, bytes.begin());
    bytes.back() = static_cast<char>(last);
    return bytes;
  };
  std::vector<std::string> points = {
      y({0}, 0, 0),
      y({1}, 0, 0),
      "\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88"
      "\x6d\x53\xfc\x05"s,
      "\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77"
      "\x92\xac\x03\x7a"s,
      y({0xEC}, 0xFF, 0x7F),
      y({0xED}, 0xFF, 0x7F),
      y({0xEE}, 0xFF, 0x7F)};
  const std::vector<std::string> plain = points;
  for (const std::string& point : plain) {
    points.push_back(point);
    points.back().back() = static_cast<char>(points.back().back() | 0x80);
  }
  const std::string forged = "\x01" + std::string(63, '\0');
  int forgeable = 0;
  for (const std::string& point : points) {
    for (int i = 0; i < 200; ++i) {
      const std::string message = "message " + std::to_string(i);
      if (ED25519_verify(reinterpret_cast<const uint8_t*>(message.data()), message.size(),
                         reinterpret_cast<const uint8_t*>(forged.data()),
                         reinterpret_cast<const uint8_t*>(point.data())) == 1) {
        ++forgeable;
        break;
      }
    }
    EXPECT_THAT(error_of(TokenKeys::from_jwks(JwtAlgorithm::kEdDsa, jwks({R"({"kty":"OKP","crv":"Ed25519","x":")" +
                                                                          encode_base64url(point) + "\"}"}))),
                HasSubstr("small order"));
  }
  EXPECT_GE(forgeable, 8) << "the test's points are not what it takes them for";
}

TEST(Jwks, FilesOfNoUseAreRefusedAsAWhole) {
  const KeyPair pair(JwtAlgorithm::kEdDsa);
  const auto read = [](std::string_view text) { return error_of(TokenKeys::from_jwks(JwtAlgorithm::kEdDsa, text)); };
  const std::string a = pair.jwk(R"(,"kid":"a")"), b = pair.jwk(R"(,"kid":"b")");
  EXPECT_EQ(read(jwks({a, b})), "usable, with 2");
  EXPECT_EQ(read(" \n" + jwks({a, b}) + "\n"), "usable, with 2");
  EXPECT_EQ(read(R"({"version":1,"keys":[ )" + a + " , " + b + R"( ],"next":null})"), "usable, with 2");
  for (const std::string& text : {""s, "null"s, "[]"s, a.substr(1), "[" + a + "]", jwks({a}) + "x",
                                  jwks({a}) + jwks({b}), R"({"keys":[],"keys":[]})"s, pair.public_pem(),
                                  "\xEF\xBB\xBF\xEF\xBB\xBF" + jwks({a}), "{\"keys\":[\"\xFF\"]}"s}) {
    EXPECT_EQ(read(text), "not one JSON object without a member named twice") << text;
  }
  for (const char* text : {"{}", R"({"keys":{}})", R"({"keys":null})", R"({"keys":"[]"})", R"({"Keys":[]})"}) {
    EXPECT_EQ(read(text), "has no array `keys`") << text;
  }
  EXPECT_EQ(read(a), "has no array `keys`");
  EXPECT_EQ(read(R"({"keys":[]})"), "no key for EdDSA among 0");
  const KeyPair another(JwtAlgorithm::kEdDsa);
  EXPECT_EQ(read(jwks({a, pair.jwk()})), "key 2 has no kid, which each of several keys needs");
  EXPECT_EQ(read(jwks({pair.jwk(), another.jwk()})), "key 1 has no kid, which each of several keys needs");
  for (const char* element : {"1", "null", "\"{}\"", "[]", "true", R"({"kty":"OKP","kty":"OKP"})"}) {
    EXPECT_EQ(read(jwks({a, element})), "key 2 is not an object without a member named twice") << element;
  }
  const std::string secret = R"(,"kid":"p","d":"c2VjcmV0IG9mIG91cnM")";
  EXPECT_THAT(read(jwks({a, pair.jwk(secret)})), StartsWith("key 2 has a private or secret part, `d`"));
  EXPECT_THAT(read(jwks({a, pair.jwk(secret)})), Not(HasSubstr("c2VjcmV0")));
  EXPECT_THAT(read(std::string(kKeyFileBytesMax + 1, ' ')), StartsWith("more than 262144 bytes"));
  EXPECT_EQ(error_of(TokenKeys::from_jwks(JwtAlgorithm::kHs256, jwks({R"({"kty":"oct","k":"AAAA"})"}))),
            "a set of public keys is of no use to HS256");

  // Cut anywhere, it is of no use.
  const std::string whole = jwks({a, b});
  for (size_t length = 0; length < whole.size(); ++length) {
    ASSERT_THAT(read(whole.substr(0, length)), Not(StartsWith("usable"))) << length;
  }
}

TEST(Jwks, NumberOfKeysIsBounded) {
  const KeyPair pair(JwtAlgorithm::kEdDsa);
  const auto of = [&](size_t count) {
    std::string set = R"({"keys":[)";
    for (size_t i = 0; i < count; ++i) set += (i == 0 ? "" : ",") + pair.jwk(",\"kid\":\"" + std::to_string(i) + "\"");
    return error_of(TokenKeys::from_jwks(JwtAlgorithm::kEdDsa, set + "]}"));
  };
  EXPECT_EQ(of(kJwksKeysMax), "usable, with 64");
  EXPECT_EQ(of(kJwksKeysMax + 1), "more than 64 keys");
}

TEST(Signer, TakesOnlyKeysThatWouldBeAccepted) {
  const auto error = [](JwtAlgorithm algorithm, const std::string& pem) {
    const auto signer = TokenSigner::with_private_key(algorithm, pem);
    return signer ? "good"s : signer.error().message;
  };
  const KeyPair ec(JwtAlgorithm::kEs256);
  EXPECT_EQ(error(JwtAlgorithm::kEs256, ec.private_pem()), "good");
  EXPECT_THAT(error(JwtAlgorithm::kEdDsa, ec.private_pem()), StartsWith("not a key that EdDSA"));
  EXPECT_THAT(error(JwtAlgorithm::kHs256, ec.private_pem()), StartsWith("not a key that HS256"));
  EXPECT_THAT(error(JwtAlgorithm::kRs256, KeyPair::rsa(1024).private_pem()), StartsWith("not a key that RS256"));
  EXPECT_THAT(error(JwtAlgorithm::kEs256, KeyPair::elliptic(NID_secp384r1).private_pem()),
              StartsWith("not a key that ES256"));
  EXPECT_THAT(error(JwtAlgorithm::kEs256, ec.public_pem()), StartsWith("no unencrypted private key"));
  EXPECT_THAT(error(JwtAlgorithm::kEs256, ""), StartsWith("no unencrypted private key"));
}

}  // namespace
}  // namespace txn
