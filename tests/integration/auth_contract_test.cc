// Credentials that are missing, broken, expired or forged. Who may do what is in access_matrix_test.cc.

#include <gmock/gmock.h>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using ::testing::AnyOf;
using ::testing::StartsWith;

class AuthContract : public BankTest {
 protected:
  static void SetUpTestSuite() {
    BankTest::SetUpTestSuite();
    const auto accounts = bank().open_accounts({{.owner_id = 1}, {.owner_id = 2}});
    own_ = accounts[0];
    foreign_ = accounts[1];
  }

  static int64_t own() { return own_; }          // of customer 1
  static int64_t foreign() { return foreign_; }  // of customer 2
  static HttpResponse log_with(const std::string& authorization) {
    return ApiClient(port()).get("/transaction-logs/" + std::to_string(own()), {{"Authorization", authorization}});
  }
  static HttpResponse log_with_token(const std::string& token) { return log_with("Bearer " + token); }

 private:
  static inline int64_t own_ = 0;
  static inline int64_t foreign_ = 0;
};

// Claims that hold, as JSON without its braces; `exp` included.
std::string claims(const std::string& rest) { return "\"exp\":" + std::to_string(unix_now() + 600) + "," + rest; }
std::string token_of(const std::string& members) { return sign_jwt(kHs256Header, "{" + members + "}", kJwtKey); }
const std::string kGoodMembers = R"("sub":"1","role":"CUSTOMER")";

struct ProtectedRoute {
  const char* method;
  std::string path;
  std::string body;
};

std::vector<ProtectedRoute> protected_routes(int64_t account, int64_t other) {
  const std::string number = std::to_string(account);
  return {
      {"POST", kDeposits, deposit_body(account, "0.01")},
      {"POST", kWithdrawals, deposit_body(account, "0.01")},
      {"POST", kTransfers, transfer_body(account, other, "0.01")},
      {"GET", "/transfer-limits/GOLD", ""},
      {"GET", "/api/v1/transfer-limits/GOLD", ""},
      {"GET", "/api/v1/transfer-limits/rules/all", ""},
      {"GET", "/api/v1/transfer-limits/" + number, ""},
      {"GET", "/transaction-logs/" + number, ""},
      {"GET", "/api/v1/transaction-logs/" + number, ""},
      {"GET", "/api/v1/transaction-logs/transaction/1", ""},
  };
}

HttpResponse call(ApiClient client, const ProtectedRoute& route) {
  return route.body.empty() ? client.request(route.method, route.path) : client.post(route.path, route.body);
}

TEST_F(AuthContract, NoCredentialsAreForbidden) {
  for (const ProtectedRoute& route : protected_routes(own(), foreign())) {
    const HttpResponse response = call(ApiClient(port()), route);
    EXPECT_TRUE(is_problem(response, 403, "NOT_AUTHENTICATED")) << route.path;
    EXPECT_THAT(response.header("WWW-Authenticate"), StartsWith("Bearer")) << route.path;
  }
  EXPECT_EQ(bank().balance(own()), "1000.00");
}

TEST_F(AuthContract, NoCredentialsAreUnauthorizedWhereConfigured) {
  ServiceProcess service(bank().settings_with({{"AUTH_MISSING_STATUS", "401"}}));
  for (const ProtectedRoute& route : protected_routes(own(), foreign())) {
    const HttpResponse response = call(ApiClient(service.port()), route);
    EXPECT_TRUE(is_problem(response, 401, "NOT_AUTHENTICATED")) << route.path;
    EXPECT_THAT(response.header("WWW-Authenticate"), StartsWith("Bearer")) << route.path;
  }
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(AuthContract, BadCredentialsAreUnauthorizedOnEveryRoute) {
  for (const ProtectedRoute& route : protected_routes(own(), foreign())) {
    const HttpResponse response =
        call(as(make_token(1, "TELLER", 600, "another-key-of-more-than-thirty-two-bytes")), route);
    EXPECT_TRUE(is_problem(response, 401, "INVALID_TOKEN")) << route.path;
    EXPECT_THAT(response.header("WWW-Authenticate"), StartsWith("Bearer")) << route.path;
    const HttpResponse expired = call(as(make_token(1, "TELLER", -3600)), route);
    EXPECT_TRUE(is_problem(expired, 401, "TOKEN_EXPIRED")) << route.path;
    EXPECT_THAT(expired.header("WWW-Authenticate"), StartsWith("Bearer")) << route.path;
  }
  EXPECT_EQ(bank().balance(own()), "1000.00");
}

TEST_F(AuthContract, ProbesNeedNoCredentials) {
  for (const char* path : {"/health", "/livez", "/readyz"}) EXPECT_EQ(ApiClient(port()).get(path).status, 200) << path;
}

TEST_F(AuthContract, WellFormedTokensAreAccepted) {
  const std::string cases[] = {
      claims(R"("sub":"1","role":"CUSTOMER")"),
      claims(R"("sub":1,"role":"CUSTOMER")"),
      claims(R"("user_id":1,"role":"CUSTOMER")"),
      claims(R"("sub":"1","user_id":1,"role":"CUSTOMER")"),
      claims(R"("sub":"1","role":"CUSTOMER","login_id":"alice","jti":"0b7f7a53","iss":"bank","aud":"transactions")"),
      claims(R"("sub":"1","role":"CUSTOMER","aud":["a","b"],"unheard_of":{"deep":[1,2,{}]})"),
      claims(R"("sub":"1","role":"CUSTOMER","iat":)" + std::to_string(unix_now()) +
             ",\"nbf\":" + std::to_string(unix_now() - 60)),
      claims(R"("sub":"1","role":"TELLER")"),
      claims(R"("sub":"1","role":"ADMIN")"),
      claims(R"("sub":1.0,"role":["x","CUSTOMER"])"),
      claims(R"("sub":"6f1c1e6e-2f1d-4c2a-9d0e-0c7a9b6f5e11","user_id":1,"role":"CUSTOMER")"),
      R"("sub":"1","role":"CUSTOMER","exp":9.9E+09,"iat":1.6e9)",
      claims(R"("sub":"1","role":"CUSTOMER","groups":")" + std::string(8'000, 'g') + "\""),
  };
  for (const std::string& members : cases) EXPECT_TRUE(is_json(log_with_token(token_of(members)))) << members;
  // The header may have its members in another order, blanks, and no typ.
  for (const char* header : {R"({"alg":"HS256"})", R"({ "typ" : "JWT" , "alg" : "HS256" })"})
    EXPECT_TRUE(is_json(log_with_token(sign_jwt(header, "{" + claims(kGoodMembers) + "}", kJwtKey)))) << header;
  // The scheme's name has no case (RFC 9110 section 11.1).
  for (const char* scheme : {"bearer ", "BEARER "}) EXPECT_TRUE(is_json(log_with(scheme + customer()))) << scheme;
}

TEST_F(AuthContract, ForgedAndMutilatedTokensAreInvalid) {
  const std::string good = customer();
  const size_t first_dot = good.find('.');
  const size_t last_dot = good.rfind('.');
  const std::string header = good.substr(0, first_dot);
  const std::string payload = good.substr(first_dot + 1, last_dot - first_dot - 1);
  const std::string signature = good.substr(last_dot + 1);
  const std::string payload_json = "{" + claims(kGoodMembers) + "}";
  const std::string key(kJwtKey);

  std::string flipped = good;
  flipped[last_dot + 5] = flipped[last_dot + 5] == 'A' ? 'B' : 'A';
  // 32 bytes leave two spare bits in the last character; other values there must not be another spelling of the same.
  std::string spare_bits = good;
  static const std::string kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  spare_bits.back() = kAlphabet[kAlphabet.find(good.back()) ^ 1];

  const std::pair<const char*, std::string> cases[] = {
      {"a word", "x"},
      {"one dot", "x.y"},
      {"two dots", "x.y.z"},
      {"only dots", ".."},
      {"no signature", header + "." + payload},
      {"empty signature", header + "." + payload + "."},
      {"empty payload", header + ".." + signature},
      {"empty header", "." + payload + "." + signature},
      {"four parts", good + ".x"},
      {"a dot at the end", good + "."},
      {"signature cut", good.substr(0, good.size() - 1)},
      {"signature longer", good + "A"},
      {"one bit of the signature", flipped},
      {"spare bits of the signature", spare_bits},
      {"padding", good + "="},
      {"a plus sign", header + "." + payload + ".+" + signature.substr(1)},
      {"another payload",
       header + "." + base64url(R"({"sub":"1","role":"TELLER","exp":9999999999})") + "." + signature},
      {"another key", make_token(1, "CUSTOMER", 600, "another-key-of-more-than-thirty-two-bytes")},
      {"the empty key", make_token(1, "CUSTOMER", 600, "")},
      {"alg none, no signature", base64url(R"({"alg":"none"})") + "." + payload + "."},
      {"alg None, no signature", base64url(R"({"alg":"None"})") + "." + payload + "."},
      {"alg none, signed", sign_jwt(R"({"alg":"none"})", payload_json, key)},
      {"alg HS384", sign_jwt(R"({"alg":"HS384"})", payload_json, key)},
      {"alg HS512", sign_jwt(R"({"alg":"HS512"})", payload_json, key)},
      {"alg RS256", sign_jwt(R"({"alg":"RS256"})", payload_json, key)},
      {"alg in small letters", sign_jwt(R"({"alg":"hs256"})", payload_json, key)},
      {"alg is no string", sign_jwt(R"({"alg":256})", payload_json, key)},
      {"no alg", sign_jwt(R"({"typ":"JWT"})", payload_json, key)},
      {"alg twice", sign_jwt(R"({"alg":"none","alg":"HS256"})", payload_json, key)},
      {"a critical extension", sign_jwt(R"({"alg":"HS256","crit":["b64"],"b64":false})", payload_json, key)},
      {"a key of its own", sign_jwt(R"({"alg":"HS256","jwk":{"kty":"oct","k":"eA"}})", payload_json, "x")},
      {"a header that is no object", sign_jwt("[]", payload_json, key)},
      {"a header that is no JSON", sign_jwt("{", payload_json, key)},
      {"a payload that is no object", sign_jwt(kHs256Header, "[]", key)},
      {"a payload that is no JSON", sign_jwt(kHs256Header, payload_json.substr(1), key)},
      {"a tail after the payload", sign_jwt(kHs256Header, payload_json + "{}", key)},
      {"ten kilobytes of nothing", std::string(10'000, 'a') + ".a.a"},
  };
  for (const auto& [name, token] : cases) {
    const HttpResponse response = log_with_token(token);
    EXPECT_TRUE(is_problem(response, 401, "INVALID_TOKEN")) << name;
    EXPECT_THAT(response.header("WWW-Authenticate"), StartsWith("Bearer")) << name;
  }
  EXPECT_TRUE(is_json(log_with_token(good))) << "the token that all of these were made of";
}

TEST_F(AuthContract, ClaimsThatDoNotHoldAreInvalid) {
  const std::string soon = std::to_string(unix_now() + 600);
  const std::string later = std::to_string(unix_now() + 3600);
  const std::pair<const char*, std::string> cases[] = {
      {"no exp", kGoodMembers},
      {"exp is a string", kGoodMembers + ",\"exp\":\"" + soon + "\""},
      {"exp is null", kGoodMembers + ",\"exp\":null"},
      {"exp is true", kGoodMembers + ",\"exp\":true"},
      {"exp twice", kGoodMembers + ",\"exp\":1,\"exp\":" + soon},
      {"not yet valid", claims(kGoodMembers + ",\"nbf\":" + later)},
      {"nbf is a string", claims(kGoodMembers + R"(,"nbf":"now")")},
      {"no role", claims(R"("sub":"1")")},
      {"an unknown role", claims(R"("sub":"1","role":"ROOT")")},
      {"an empty role", claims(R"("sub":"1","role":"")")},
      {"a role that is no string", claims(R"("sub":"1","role":1)")},
      {"a list of roles, not all of them strings", claims(R"("sub":"1","role":["TELLER",1])")},
      {"two roles", claims(R"("sub":"1","role":"CUSTOMER","role":"TELLER")")},
      {"no subject", claims(R"("role":"CUSTOMER")")},
      {"a subject that is no integer", claims(R"("sub":"alice","role":"CUSTOMER")")},
      {"an empty subject", claims(R"("sub":"","role":"CUSTOMER")")},
      {"a subject with a tail", claims(R"("sub":"1x","role":"CUSTOMER")")},
      {"a subject with a blank", claims(R"("sub":" 1","role":"CUSTOMER")")},
      {"a fractional subject", claims(R"("sub":1.5,"role":"CUSTOMER")")},
      {"a subject beyond 64 bits", claims(R"("sub":"18446744073709551617","role":"CUSTOMER")")},
      {"a null subject", claims(R"("sub":null,"role":"CUSTOMER")")},
      {"two subjects", claims(R"("sub":"1","sub":"2","role":"CUSTOMER")")},
      {"sub and user_id disagree", claims(R"("sub":"1","user_id":2,"role":"CUSTOMER")")},
  };
  for (const auto& [name, members] : cases)
    EXPECT_TRUE(is_problem(log_with_token(token_of(members)), 401, "INVALID_TOKEN")) << name;
}

// The client is told what it can do something about, the log all of it, and nobody the token.
TEST_F(AuthContract, RefusalsSayWhy) {
  const std::string later = std::to_string(unix_now() + 3600);
  const std::string good = token_of(claims(kGoodMembers));
  const std::string unspecific = "The token is not valid";
  const struct {
    std::string authorization, detail, reason;
  } cases[] = {
      {"Bearer " + make_token(1, "CUSTOMER", -3600), "The token has expired", "the token has expired"},
      {"Bearer " + token_of(claims(kGoodMembers + ",\"nbf\":" + later)),
       "The token is not valid yet: `nbf` or `iat` is in the future", "the token's nbf or iat lies in the future"},
      {"Bearer " + token_of(kGoodMembers), "The token's claim `exp` is missing", "claim exp is missing"},
      {"Bearer " + token_of(claims(R"("sub":"alice","role":"CUSTOMER")")),
       "The token's claim `sub` is no integer above zero", "claim sub is no integer above zero"},
      {"Bearer " + token_of(claims(R"("sub":"1","role":"ROOT")")),
       "The token's claim `role` names no role of this service", "claim role names no role"},
      {"Bearer x.y", "The token is not three parts of base64url with dots between",
       "the token is not three parts of base64url with dots between"},
      {"Basic YTpi", "The Authorization header is not the word Bearer and a token",
       "the Authorization header is not the word Bearer and a token"},
      {"Bearer " + make_token(1, "TELLER", 600, "another-key-of-more-than-thirty-two-bytes"), unspecific,
       "the token's signature does not hold under its key"},
      {"Bearer " + sign_jwt(R"({"alg":"RS256"})", "{" + claims(kGoodMembers) + "}", kJwtKey), unspecific,
       "the token's alg is not JWT_ALGORITHM"},
      {"Bearer " + sign_jwt(R"({"alg":"HS256","jku":"https://a"})", "{}", kJwtKey), unspecific,
       "the token's header has crit, jku, jwk, x5u or x5c"},
  };
  ServiceProcess service(bank().settings_with({}));
  int number = 0;
  for (const auto& [authorization, detail, reason] : cases) {
    for (const bool moves_money : {false, true}) {
      const std::string id = "why-" + std::to_string(++number);
      ApiClient client(service.port());
      const Headers headers = {{"Authorization", authorization}, {"X-Request-ID", id}};
      const HttpResponse response = moves_money ? client.post(kDeposits, deposit_body(own(), "0.01"), headers)
                                                : client.get("/transaction-logs/" + std::to_string(own()), headers);
      EXPECT_TRUE(is_problem(response, 401)) << reason;
      EXPECT_EQ(response.json()["detail"].text(), detail);
      std::string line;
      wait_until(
          [&] {
            for (const std::string& text : service.log_lines()) {
              if (text.find("\"request_id\":\"" + id + "\"") != std::string::npos) line = text;
            }
            return !line.empty();
          },
          Milliseconds(15'000));
      ASSERT_FALSE(line.empty()) << reason;
      EXPECT_EQ(Json::parse(line)["reason"].text(), reason);
    }
  }
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

// As docs/identity-providers.md has it for Keycloak; with HS256, for the claims are the point.
TEST_F(AuthContract, ClaimsAreWhereTheyAreConfiguredToBe) {
  const Settings changes = {{"JWT_SUBJECT_CLAIM", "https://bank.example/user_id"},
                            {"JWT_ROLE_CLAIM", "realm_access.roles"},
                            {"JWT_ROLE_MAP", "bank-customer=CUSTOMER, bank-teller=TELLER"}};
  ServiceProcess service(bank().settings_with(changes));
  const auto answer = [&](const std::string& token, int64_t account) {
    return ApiClient(service.port(), token).get("/transaction-logs/" + std::to_string(account));
  };
  const auto of = [](int64_t subject, const std::string& roles) {
    return token_of(claims(R"("sub":"6f1c1e6e-2f1d-4c2a-9d0e-0c7a9b6f5e11","https://bank.example/user_id":)" +
                           std::to_string(subject) + R"(,"realm_access":{"roles":)" + roles + "}"));
  };
  EXPECT_TRUE(is_json(answer(of(1, R"(["offline_access","bank-customer"])"), own())));
  EXPECT_TRUE(is_problem(answer(of(1, R"(["offline_access","bank-customer"])"), foreign()), 403, "FORBIDDEN"));
  EXPECT_TRUE(is_json(answer(of(1, R"(["bank-customer","bank-teller"])"), foreign())));
  EXPECT_TRUE(is_problem(answer(of(1, R"(["offline_access"])"), own()), 401, "INVALID_TOKEN"));
  EXPECT_TRUE(is_problem(answer(make_token(1, "CUSTOMER"), own()), 401, "INVALID_TOKEN"));
  // The subcommand makes tokens that this service takes.
  const auto printed = [&](const char* role) {
    return run_service({"token", "--sub", "1", "--role", role}, bank().settings_with(changes));
  };
  const RunResult teller_token = printed("TELLER");
  ASSERT_TRUE(teller_token.ok()) << teller_token;
  EXPECT_TRUE(is_json(answer(teller_token.out.substr(0, teller_token.out.find('\n')), foreign())));
  EXPECT_THAT(printed("ADMIN").err, ::testing::HasSubstr("JWT_ROLE_MAP has no name for ADMIN"));
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(AuthContract, ExpiryHasALeeway) {
  EXPECT_TRUE(is_json(log_with_token(make_token(1, "CUSTOMER", -10))));
  EXPECT_TRUE(is_problem(log_with_token(make_token(1, "CUSTOMER", -60)), 401, "TOKEN_EXPIRED"));
  EXPECT_TRUE(is_problem(log_with_token(make_token(1, "CUSTOMER", -1'000'000'000)), 401, "TOKEN_EXPIRED"));
  // Somebody else's expired token is not worth a hint.
  EXPECT_TRUE(is_problem(log_with_token(make_token(1, "CUSTOMER", -60, "another-key-of-more-than-thirty-two-bytes")),
                         401, "INVALID_TOKEN"));
}

TEST_F(AuthContract, IssuerAudienceAndLeewayAreThoseConfigured) {
  ServiceProcess service(
      bank().settings_with({{"JWT_ISSUER", "bank"}, {"JWT_AUDIENCE", "transactions"}, {"JWT_LEEWAY", "0"}}));
  const std::string good = R"("sub":"1","role":"CUSTOMER","iss":"bank","aud":"transactions")";
  const auto answer = [&](const std::string& token) {
    return ApiClient(service.port(), token).get("/transaction-logs/" + std::to_string(own()));
  };
  EXPECT_TRUE(is_json(answer(token_of(claims(good)))));
  EXPECT_TRUE(
      is_json(answer(token_of(claims(R"("sub":"1","role":"CUSTOMER","iss":"bank","aud":["other","transactions"])")))));
  for (const char* bad :
       {R"("sub":"1","role":"CUSTOMER","iss":"bank")", R"("sub":"1","role":"CUSTOMER","aud":"transactions")",
        R"("sub":"1","role":"CUSTOMER","iss":"Bank","aud":"transactions")",
        R"("sub":"1","role":"CUSTOMER","iss":"bank","aud":"transaction")",
        R"("sub":"1","role":"CUSTOMER","iss":"bank","aud":[])",
        R"("sub":"1","role":"CUSTOMER","iss":["bank"],"aud":"transactions")"})
    EXPECT_TRUE(is_problem(answer(token_of(claims(bad))), 401, "INVALID_TOKEN")) << bad;
  EXPECT_TRUE(
      is_problem(answer(token_of("\"exp\":" + std::to_string(unix_now() - 2) + "," + good)), 401, "TOKEN_EXPIRED"));
}

TEST_F(AuthContract, OtherSchemesAreNotAccepted) {
  for (const std::string& value : {std::string("Basic YTpi"), customer(), "Token " + customer(), "Bearer" + customer(),
                                   "Bearer " + customer() + " x", "Bearer " + customer() + "," + customer(),
                                   std::string("Bearer"), std::string("Bearer ")}) {
    const HttpResponse response = log_with(value);
    EXPECT_THAT(response.status, AnyOf(401, 403)) << value << "\n" << response;
    EXPECT_TRUE(is_problem(response, response.status)) << value;
    EXPECT_THAT(response.header("WWW-Authenticate"), StartsWith("Bearer")) << value;
  }
  // Two of them are ambiguous, whichever is good.
  for (const auto& [first, second] :
       {std::pair(customer(), std::string("x")), std::pair(std::string("x"), customer())}) {
    const HttpResponse response =
        ApiClient(port()).get("/transaction-logs/" + std::to_string(own()),
                              {{"Authorization", "Bearer " + first}, {"Authorization", "Bearer " + second}});
    EXPECT_THAT(response.status, AnyOf(400, 401)) << response;
  }
}

// --- Owners ----------------------------------------------------------------------------------------------------------

TEST_F(AuthContract, OwnershipIsTheWholeNumber) {
  const int64_t account = bank().open_account({.owner_id = 12});
  const std::string path = "/transaction-logs/" + std::to_string(account);
  EXPECT_EQ(as(customer(12)).get(path).status, 200);
  for (const int64_t other : {int64_t{1}, int64_t{2}, int64_t{120}, int64_t{12} + (int64_t{1} << 32), int64_t{-12}})
    EXPECT_NE(as(customer(other)).get(path).status, 200) << other;
}

TEST_F(AuthContract, AnUnknownAccountIsNobodysOwn) {
  for (const char* path : {"/transaction-logs/99999999", "/api/v1/transfer-limits/99999999"}) {
    EXPECT_TRUE(is_problem(as(teller()).get(path), 404, "ACCOUNT_NOT_FOUND")) << path;
    EXPECT_TRUE(is_problem(as(admin()).get(path), 404, "ACCOUNT_NOT_FOUND")) << path;
    EXPECT_THAT(as(customer()).get(path).status, AnyOf(403, 404)) << path;
  }
}

// One connection, many callers: nothing of one may stick to the next.
TEST_F(AuthContract, CredentialsAreThoseOfTheRequest) {
  RawClient client = connect();
  const std::string path = "/transaction-logs/" + std::to_string(own());
  const auto with = [&path](const std::string& token) {
    return token.empty() ? format_request("GET", path)
                         : format_request("GET", path, {{"Authorization", "Bearer " + token}});
  };
  client.send(with(customer(1)) + with("") + with(customer(2)) + with(teller()) + with("x.y.z") + with(customer(1)));
  for (const int expected : {200, 403, 403, 200, 401, 200}) EXPECT_EQ(client.read_response().status, expected);
}

}  // namespace
}  // namespace txn::test
