#include "app/token_claims.h"

#include <gmock/gmock.h>

#include <string>

#include "app/token.h"
#include "tests/app/key_pair.h"

namespace txn {
namespace {

using test::jwks;
using test::KeyPair;

constexpr int64_t kNow = 1'790'000'000;

// --- Finding a claim -------------------------------------------------------------------------------------------------

class FindClaim : public testing::Test {
 protected:
  // The text of the claim, "none", or "twice".
  std::string find(std::string_view json, std::string_view name) {
    const auto members = reader_.read(json);
    if (!members) return "no object";
    const auto claim = find_claim(*members, name, room_);
    if (!claim) return claim.error() == TokenError::kPayloadUnreadable ? "twice" : "another error";
    return *claim ? std::string((*claim)->text) : "none";
  }

  JsonReader reader_{4096};
  JsonUnescaper room_{4096};
};

TEST_F(FindClaim, ByNameThenByPath) {
  const struct {
    std::string_view json, name, found;
  } kTable[] = {
      {R"({"role":1})", "role", "1"},
      {R"({"roles":1})", "role", "none"},
      {R"({"role":1})", "roles", "none"},
      {R"({})", "role", "none"},
      {R"({"a":{"b":{"c":3}}})", "a.b.c", "3"},
      {R"({ "a" : { "x" : [ 1 , {"b":9} ] , "b" : { "y" : "}" , "c" : [ 1, 2 ] , "z" : 0 } } })", "a.b.c", "[ 1, 2 ]"},
      {R"({"a":{"b":{"c":3}}})", "a.b", R"({"c":3})"},
      {R"({"a":{"b":-1.5e3}})", "a.b", "-1.5e3"},
      {R"({"a":{"b":true}})", "a.b", "true"},
      {R"({"a":{}})", "a.b", "none"},
      {R"({"a":[{"b":1}]})", "a.b", "none"},
      {R"({"a":"b"})", "a.b", "none"},
      {R"({"a":null})", "a.b.c", "none"},
      // An escaped name is the same name.
      {R"({"\u0061":{"\u0062":1}})", "a.b", "1"},
      {R"({"a":{"\"b\\":1}})", "a.\"b\\", "1"},
      // The whole name comes first, whatever its kind.
      {R"({"a":{"b":2},"a.b":1})", "a.b", "1"},
      {R"({"a.b":null,"a":{"b":2}})", "a.b", "null"},
      {R"({"https://bank.example/roles":["x"]})", "https://bank.example/roles", R"(["x"])"},
      {R"({"https://bank":{"example/roles":1}})", "https://bank.example/roles", "1"},
      // Names within a path may have dots as well: the longest that is there.
      {R"({"resource_access":{"bank.api":{"roles":1},"bank":{"api":{"roles":2}}}})", "resource_access.bank.api.roles",
       "1"},
      {R"({"resource_access":{"bank":{"api":{"roles":2}},"bank.api":"x"}})", "resource_access.bank.api.roles", "2"},
      {R"({"a.b":{"c":1},"a":{"b":{"c":2}}})", "a.b.c", "1"},
      {R"({"a.b":{"d":1},"a":{"b":{"c":2}}})", "a.b.c", "none"},
      // Named twice on the way, in whatever spelling; beside the way it does not matter.
      {R"({"a":{"b":1,"b":2}})", "a.b", "twice"},
      {R"({"a":{"b":1,"\u0062":1}})", "a.b", "twice"},
      {R"({"a":{"b":{"c":1},"x":0,"b":{}}})", "a.b.c", "twice"},
      {R"({"a":{"x":1,"x":2,"b":3}})", "a.b", "3"},
      {R"({"a":{"b":{"c":1},"b":{"c":2},"b.c":3}})", "a.b.c", "3"},
  };
  for (const auto& [json, name, found] : kTable) EXPECT_EQ(find(json, name), found) << json << " " << name;
}

// --- Tokens as identity providers make them --------------------------------------------------------------------------

// What docs/identity-providers.md says to set, against tokens of the provider's shape.
class IdentityProviders : public testing::Test {
 protected:
  static TokenPolicy policy_of(SettingValues values) {
    values.insert({"JWT_ALGORITHM", "RS256"});
    const auto settings = load_settings({.flags = {}, .environment = std::move(values), .file = {}, .file_path = ""});
    EXPECT_TRUE(settings.has_value());
    return settings ? token_policy(*settings) : TokenPolicy{};
  }

  // "7 TELLER", or why not.
  static std::string who(const TokenPolicy& policy, const std::string& claims) {
    static const KeyPair pair(JwtAlgorithm::kRs256);
    auto keys = TokenKeys::from_jwks(JwtAlgorithm::kRs256,
                                     jwks({pair.jwk(R"(,"kid":"FJ86GcF3","use":"sig","alg":"RS256","x5c":["MIIC"])")}));
    EXPECT_TRUE(keys.has_value());
    const auto verifier = TokenVerifier::create(std::move(*keys), policy, 16).value();
    const std::string token = pair.signer().sign_text(R"({"alg":"RS256","typ":"JWT","kid":"FJ86GcF3"})", claims);
    std::string first;
    for (int i = 0; i < 2; ++i) {  // the second time out of the cache
      const auto principal = verifier->verify(token, kNow);
      const std::string said = principal
                                   ? std::to_string(principal->subject) + " " + std::string(to_string(principal->role))
                                   : std::string(verifier->texts().reason(principal.error()));
      EXPECT_TRUE(i == 0 || said == first) << said;
      first = said;
    }
    return first;
  }
};

TEST_F(IdentityProviders, Keycloak) {
  const TokenPolicy policy = policy_of({{"JWT_ISSUER", "https://id.bank.example/realms/bank"},
                                        {"JWT_AUDIENCE", "transactions"},
                                        {"JWT_ROLE_CLAIM", "realm_access.roles"},
                                        {"JWT_ROLE_MAP", "bank-customer=CUSTOMER, bank-teller=TELLER"}});
  const auto token = [](std::string_view roles, std::string_view more) {
    return R"({"exp":1790000300,"iat":1789999999,"auth_time":1789999990,"jti":"onrtac:0f3e","iss":)"
           R"("https://id.bank.example/realms/bank","aud":["transactions","account"],)"
           R"("sub":"6f1c1e6e-2f1d-4c2a-9d0e-0c7a9b6f5e11","typ":"Bearer","azp":"teller-app","sid":"b1","acr":"1",)"
           R"("allowed-origins":["https://teller.bank.example"],"realm_access":{"roles":)" +
           std::string(roles) +
           R"(},"resource_access":{"account":{"roles":["manage-account","view-profile"]}},"scope":"openid profile",)"
           R"("email_verified":true,"preferred_username":"alice")" +
           std::string(more) + "}";
  };
  const std::string roles = R"(["default-roles-bank","offline_access","bank-teller","uma_authorization"])";
  EXPECT_EQ(who(policy, token(roles, R"(,"user_id":7)")), "7 TELLER");
  EXPECT_EQ(who(policy, token(roles, R"(,"user_id":"7")")), "7 TELLER");
  EXPECT_EQ(who(policy, token(R"(["bank-customer","bank-teller"])", R"(,"user_id":7)")), "7 TELLER");
  EXPECT_EQ(who(policy, token(R"(["bank-teller","bank-customer"])", R"(,"user_id":7)")), "7 TELLER");
  EXPECT_EQ(who(policy, token(R"(["bank-customer"])", R"(,"user_id":7)")), "7 CUSTOMER");
  EXPECT_EQ(who(policy, token(roles, "")), "claim sub is no integer above zero");
  EXPECT_EQ(who(policy, token(R"(["offline_access"])", R"(,"user_id":7)")), "claim realm_access.roles names no role");
  EXPECT_EQ(who(policy, token(R"(["TELLER"])", R"(,"user_id":7)")), "claim realm_access.roles names no role");
  EXPECT_EQ(who(policy, token("null", R"(,"user_id":7)")),
            "claim realm_access.roles is neither a string nor a list of strings");

  // Roles of a client instead of the realm's.
  const TokenPolicy of_client =
      policy_of({{"JWT_ROLE_CLAIM", "resource_access.bank.api.roles"}, {"JWT_ROLE_MAP", "clerk=TELLER"}});
  EXPECT_EQ(who(of_client, R"({"exp":1790000300,"sub":"6f1c1e6e-2f1d-4c2a-9d0e-0c7a9b6f5e11","user_id":7,)"
                           R"("resource_access":{"bank.api":{"roles":["clerk"]},"account":{"roles":[]}}})"),
            "7 TELLER");
}

TEST_F(IdentityProviders, Auth0) {
  const TokenPolicy policy = policy_of({{"JWT_ISSUER", "https://bank.eu.auth0.com/"},
                                        {"JWT_AUDIENCE", "https://transactions.bank.example"},
                                        {"JWT_SUBJECT_CLAIM", "https://bank.example/user_id"},
                                        {"JWT_ROLE_CLAIM", "https://bank.example/roles"},
                                        {"JWT_ROLE_MAP", "Teller=TELLER,Customer=CUSTOMER,Auditor=ADMIN"}});
  const auto token = [](std::string_view claims) {
    return R"({"iss":"https:\/\/bank.eu.auth0.com\/","sub":"auth0|5f7c8ec7c33c6c004bbafe82","aud":)"
           R"(["https://transactions.bank.example","https://bank.eu.auth0.com/userinfo"],"iat":1789999999,)"
           R"("exp":1790086399,"azp":"my_client","scope":"openid profile")" +
           std::string(claims) + "}";
  };
  EXPECT_EQ(who(policy, token(R"(,"https://bank.example/user_id":7,"https://bank.example/roles":["Teller"])")),
            "7 TELLER");
  EXPECT_EQ(who(policy, token(R"(,"https:\/\/bank.example\/user_id":"7","https:\/\/bank.example\/roles":"Customer")")),
            "7 CUSTOMER");
  EXPECT_EQ(
      who(policy, token(R"(,"https://bank.example/user_id":7,"https://bank.example/roles":["Teller","Auditor"])")),
      "7 ADMIN");
  // The configured claim alone counts: neither user_id nor sub takes its place or contradicts it.
  EXPECT_EQ(
      who(policy, token(R"(,"user_id":8,"https://bank.example/user_id":7,"https://bank.example/roles":"Teller")")),
      "7 TELLER");
  EXPECT_EQ(who(policy, token(R"(,"user_id":7,"https://bank.example/roles":["Teller"])")),
            "claim https://bank.example/user_id is missing");
  EXPECT_EQ(who(policy, token(R"(,"https://bank.example/user_id":7)")), "claim https://bank.example/roles is missing");
}

TEST_F(IdentityProviders, AzureAndCognito) {
  const TokenPolicy azure = policy_of({{"JWT_SUBJECT_CLAIM", "extension_customerNumber"},
                                       {"JWT_ROLE_CLAIM", "roles"},
                                       {"JWT_ROLE_MAP", "Bank.Teller=TELLER"}});
  EXPECT_EQ(
      who(azure, R"({"aud":"6e74172b-be56-4843-9ff4-e66a39bb12e3","exp":1790000300,"nbf":1789999999,)"
                 R"("oid":"690222be-ff1a-4d56-abd1-7e4f7d38e474","sub":"HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",)"
                 R"("roles":["Bank.Teller"],"extension_customerNumber":"7"})"),
      "7 TELLER");
  const TokenPolicy cognito = policy_of({{"JWT_SUBJECT_CLAIM", "custom:customer_number"},
                                         {"JWT_ROLE_CLAIM", "cognito:groups"},
                                         {"JWT_ROLE_MAP", "tellers=TELLER,customers=CUSTOMER"}});
  EXPECT_EQ(who(cognito, R"({"sub":"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee","cognito:groups":["customers"],)"
                         R"("custom:customer_number":"7","token_use":"id","exp":1790000300})"),
            "7 CUSTOMER");
}

// Many providers write times with an exponent or a fraction, and some tokens are long.
TEST_F(IdentityProviders, WhateverTheNumbersAndTheLength) {
  const TokenPolicy policy = policy_of({});
  EXPECT_EQ(who(policy, R"({"sub":7.0,"role":"TELLER","exp":1.7900003E+09,"iat":1789999999.123})"), "7 TELLER");
  std::string groups = "\"g\"";
  for (int i = 0; i < 250; ++i) groups += ",\"cn=group-" + std::to_string(i) + ",ou=groups,dc=bank\"";
  const std::string claims = R"({"sub":"7","role":"TELLER","exp":1790000300,"groups":[)" + groups + "]}";
  ASSERT_GT(claims.size() / 3 * 4, 10'000u);
  EXPECT_EQ(who(policy, claims), "7 TELLER");
}

}  // namespace
}  // namespace txn
