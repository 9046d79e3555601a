// Tokens, under a fixed key of each algorithm. With a cache and without, a token must be worth the same at any time,
// and what is accepted must be spelt in the one way there is.
//
// Input: algorithm, whether to sign, and whose claims are expected; two times, then the token; to be signed by HS256:
// header, newline, payload.
#include <algorithm>
#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/base64url.h"
#include "app/token.h"
#include "app/token_signer.h"
#include "core/check.h"
#include "tests/fuzz/fuzz_input.h"

namespace txn {
namespace {

constexpr std::string_view kSecret = "a secret of the fuzz target, 32+ bytes";
constexpr JwtAlgorithm kAlgorithms[] = {JwtAlgorithm::kHs256, JwtAlgorithm::kRs256, JwtAlgorithm::kEs256,
                                        JwtAlgorithm::kEdDsa};

// The examples' public keys: RFC 7515 appendices A.2 and A.3, RFC 8037 appendix A.2.
constexpr std::string_view kKeySet =
    R"({"keys":[{"kid":"rsa","kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmf)"
    R"(HQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kp)"
    R"(aSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-)"
    R"(DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},)"
    R"({"kid":"ec","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
    R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},)"
    R"({"kid":"ed","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})";

// Tokens of our own shape, and of an identity provider's with names of its own.
std::array<TokenPolicy, 2> policies() {
  return {
      {{.issuer = "i", .audience = "a"},
       {.subject_claim = "user.id",
        .role_claim = "realm_access.roles",
        .roles = {{"bank-customer", Role::kCustomer}, {"bank-teller", Role::kTeller}, {"bank-admin", Role::kAdmin}}}}};
}

std::unique_ptr<TokenVerifier> make(JwtAlgorithm algorithm, const TokenPolicy& policy, size_t cache_entries) {
  auto keys =
      algorithm == JwtAlgorithm::kHs256 ? TokenKeys::from_secret(kSecret) : TokenKeys::from_jwks(algorithm, kKeySet);
  CHECK(keys.has_value(), "the keys are good");
  auto verifier = TokenVerifier::create(std::move(*keys), policy, cache_entries);
  CHECK(verifier.has_value(), "the policy is good");
  return std::move(*verifier);
}

bool problem_text_is_fit(TokenError error) {
  static const TokenErrorTexts texts("sub", "role");
  return !texts.reason(error).empty() && !to_string(kind_of(error)).empty();
}

void check_same(const std::expected<Principal, TokenError>& a, const std::expected<Principal, TokenError>& b) {
  CHECK(a.has_value() == b.has_value(), "a token is worth the same with a cache");
  if (!a) {
    CHECK(a.error() == b.error(), "for the same reason");
    CHECK(problem_text_is_fit(a.error()), "which can be told");
    return;
  }
  CHECK(a->subject == b->subject, "for the same subject");
  CHECK(a->role == b->role, "in the same role");
  CHECK(a->expires_at == b->expires_at, "for as long");
}

void check_spelling(std::string_view token) {
  size_t parts = 0;
  while (true) {
    const size_t dot = std::min(token.find('.'), token.size());
    const std::string_view part = token.substr(0, dot);
    std::string bytes(base64url_bytes_max(part.size()), '\0');
    const ptrdiff_t length = decode_base64url(part, reinterpret_cast<uint8_t*>(bytes.data()));
    CHECK(length >= 0, "an accepted token is base64url");
    CHECK(encode_base64url(std::string_view(bytes).substr(0, static_cast<size_t>(length))) == part,
          "an accepted token has one spelling");
    ++parts;
    if (dot == token.size()) break;
    token.remove_prefix(dot + 1);
  }
  CHECK(parts == 3, "an accepted token has three parts");
}

void check_token(JwtAlgorithm algorithm, bool is_provider, const std::array<int64_t, 2>& times,
                 const std::string& token) {
  const size_t index = static_cast<size_t>(algorithm) * 2 + (is_provider ? 1 : 0);
  static std::vector<std::unique_ptr<TokenVerifier>> plain, caching;
  if (plain.empty()) {
    for (const JwtAlgorithm each : kAlgorithms) {
      for (const TokenPolicy& policy : policies()) {
        plain.push_back(make(each, policy, 0));
        caching.push_back(make(each, policy, 16));
      }
    }
  }
  for (const int64_t now : {times[0], times[1], times[0], times[1]}) {
    const auto principal = plain[index]->verify(token, now);
    check_same(principal, caching[index]->verify(token, now));
    if (!principal) continue;
    CHECK(principal->subject > 0, "a subject is positive");
    CHECK(now < principal->expires_at || now - principal->expires_at < 30, "an accepted token is not over");
    CHECK(token.size() <= kTokenBytesMax, "an accepted token is not too long");
    check_spelling(token);
  }
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  fuzz::FuzzInput input(data, size);
  const uint8_t choice = input.byte();
  std::array<int64_t, 2> times;
  for (int64_t& time : times) time = static_cast<int64_t>(input.number(8));
  const std::string_view rest = input.rest();
  if ((choice & 4) != 0) {
    static const TokenSigner signer = TokenSigner::with_secret(kSecret).value();
    const size_t newline = std::min(rest.find('\n'), rest.size());
    const std::string_view payload = rest.substr(std::min(newline + 1, rest.size()));
    check_token(JwtAlgorithm::kHs256, (choice & 8) != 0, times, signer.sign_text(rest.substr(0, newline), payload));
  } else {
    check_token(kAlgorithms[choice & 3], (choice & 8) != 0, times, std::string(rest));
  }
  return 0;
}
