// The six security headers on every kind of answer there is, and CORS as browsers see it.

#include <gmock/gmock.h>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kOrigin = "https://bank.example";
constexpr const char* kAllowOrigin = "Access-Control-Allow-Origin";

Headers with_token(const std::string& token, Headers more = {}) {
  more.emplace_back("Authorization", "Bearer " + token);
  return more;
}
Headers json(const std::string& token) { return with_token(token, {{"Content-Type", "application/json"}}); }

// One way of being answered, as the bytes that bring it about.
struct Case {
  int status;
  std::string name;
  std::string bytes;
};

// What the service answers at once. 408, 429, 503 and 504 need some staging and come after.
std::vector<Case> cases(int64_t account, int64_t locked, const Headers& also) {
  const auto with = [&](Headers headers) {
    headers.insert(headers.end(), also.begin(), also.end());
    return headers;
  };
  const auto post = [&](const char* path, const Headers& headers, const std::string& body) {
    return format_request("POST", path, with(headers), body);
  };
  const auto get = [&](const std::string& target, const Headers& headers = {}) {
    return format_request("GET", target, with(headers));
  };
  const Headers customers = json(customer());
  return {
      {200, "money", post(kDeposits, customers, deposit_body(account, "1.00"))},
      {200, "reading", get("/transaction-logs/" + std::to_string(account), with_token(customer()))},
      {200, "no token needed", get("/health")},
      {200, "HEAD", format_request("HEAD", "/livez", with({}))},
      {204, "OPTIONS", format_request("OPTIONS", kDeposits, with({}))},
      {400, "the books", post(kWithdrawals, customers, deposit_body(account, "900000.00"))},
      {400, "no JSON", post(kDeposits, customers, "{")},
      {401, "token", get("/transfer-limits/GOLD", with_token("x.y.z"))},
      {401, "expired", get("/transfer-limits/GOLD", with_token(make_token(1, "CUSTOMER", -3600)))},
      {401, "PIN", post(kWithdrawals, customers, deposit_body(locked, "1.00"))},
      {403, "no credentials", get("/transfer-limits/GOLD")},
      {403, "role", post(kDeposits, json(admin()), deposit_body(account, "1.00"))},
      {404, "path", get("/nowhere")},
      {404, "account", post(kDeposits, json(teller()), deposit_body(999'999'999, "1.00"))},
      {405, "method", format_request("DELETE", kDeposits, with({}))},
      {413, "body", post(kDeposits, customers, std::string(70'000, ' '))},
      {415, "type", post(kDeposits, with_token(customer(), {{"Content-Type", "text/plain"}}), "{}")},
      {417, "expectation", post(kDeposits, with_token(customer(), {{"Expect", "the-unexpected"}}), "{}")},
      {422, "field", post(kDeposits, customers, "{}")},
      {501, "coding", "POST /api/v1/deposits HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
  };
}

// What is no request: nothing is known of who sent it.
std::vector<Case> garbage() {
  return {
      {400, "not HTTP", "\x16\x03\x01\x02\x01garbage\r\n\r\n"},
      {400, "no host", "GET /livez HTTP/1.1\r\n\r\n"},
      {400, "two lengths",
       "POST /api/v1/deposits HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"},
      {431, "head", format_request("GET", "/health", {{"X-Long", std::string(17'000, 'x')}})},
      {505, "version", "GET /livez HTTP/3.0\r\nHost: h\r\n\r\n"},
  };
}

HttpResponse answer_to(uint16_t port, const Case& wanted) {
  RawClient client(port);
  client.send(wanted.bytes);
  const bool to_head = wanted.bytes.starts_with("HEAD ");
  return client.read_response(kResponseTimeout, to_head);
}

class SecurityHeaders : public BankTest {};

TEST_F(SecurityHeaders, AreOnEveryKindOfAnswer) {
  const int64_t account = bank().open_account();
  const int64_t locked = bank().open_account({.pin = "1234"});
  // These take five seconds to be given up; the others are done meanwhile.
  RawClient slow_head(port());
  slow_head.send("GET /livez HTTP/1.1\r\nHos");

  for (const auto& list : {cases(account, locked, {}), garbage()}) {
    for (const Case& wanted : list) {
      SCOPED_TRACE(std::to_string(wanted.status) + " " + wanted.name);
      const HttpResponse response = answer_to(port(), wanted);
      EXPECT_EQ(response.status, wanted.status) << response;
      EXPECT_TRUE(has_common_headers(response));
      // The price of nothing: without CORS_ALLOWED_ORIGINS no answer speaks of it.
      EXPECT_FALSE(response.has(kAllowOrigin)) << response;
      EXPECT_FALSE(response.has("Vary")) << response;
    }
  }
  for (int i = 0; i < 4; ++i) {
    const HttpResponse response = as(customer()).post(kWithdrawals, deposit_body(locked, "1.00", R"(,"pin":"9999")"));
    EXPECT_EQ(response.status, i < 3 ? 401 : 423);
    EXPECT_TRUE(has_common_headers(response));
  }

  // An answer to be continued is none yet; the one that follows is.
  RawClient patient(port());
  const std::string body = deposit_body(account, "1.00");
  patient.send(format_request("POST", kDeposits,
                              {{"Authorization", "Bearer " + customer()},
                               {"Content-Type", "application/json"},
                               {"Content-Length", std::to_string(body.size())},
                               {"Expect", "100-continue"}}));
  const HttpResponse interim = patient.read_response();
  EXPECT_EQ(interim.status, 100);
  EXPECT_TRUE(interim.headers.empty());
  EXPECT_TRUE(is_json(patient.exchange(body)));

  EXPECT_TRUE(is_problem(slow_head.read_response(), 408));
}

TEST_F(SecurityHeaders, AreOnRefusalsForOverloadLimitsAndAbsence) {
  Settings settings = bank().settings_with({{"MAX_CONNECTIONS", "1"}, {"WORKERS", "1"}});
  {
    const ServiceProcess full(settings, {.wait_for_readiness = false});
    RawClient first(full.port());
    ASSERT_EQ(first.exchange(format_request("GET", "/livez")).status, 200);
    RawClient second(full.port());
    EXPECT_TRUE(is_problem(second.exchange(format_request("GET", "/livez")), 503, "SERVICE_UNAVAILABLE"));
  }
  {
    settings = bank().settings_with({{"RATE_LIMIT_ENABLED", "true"}, {"RATE_LIMIT_DEPOSITS", "1/hour"}});
    const ServiceProcess limited(settings);
    ApiClient client(limited.port(), customer());
    client.post(kDeposits, "{}");
    EXPECT_TRUE(is_problem(client.post(kDeposits, "{}"), 429, "RATE_LIMIT_EXCEEDED"));
  }
  settings["DATABASE_URL"] = "host=/nonexistent dbname=none";
  const ServiceProcess away(settings, {.wait_for_readiness = false});
  ApiClient client(away.port(), customer());
  EXPECT_TRUE(is_problem(client.get("/transfer-limits/GOLD"), 503, "SERVICE_UNAVAILABLE"));
  const HttpResponse not_ready = client.get("/readyz");
  EXPECT_EQ(not_ready.status, 503);
  EXPECT_TRUE(has_common_headers(not_ready));
}

class CorsContract : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    bank_ = std::make_unique<Bank>("cors",
                                   Settings{{"CORS_ALLOWED_ORIGINS", "https://bank.example, http://localhost:3000"}});
  }
  static void TearDownTestSuite() { bank_.reset(); }
  static Bank& bank() { return *bank_; }
  static uint16_t port() { return bank_->service().port(); }
  static Headers from(const std::string& origin) { return {{"Origin", origin}}; }
  static HttpResponse preflight(const std::string& path, const std::string& method, const std::string& origin) {
    return ApiClient(port()).request("OPTIONS", path,
                                     {{"Origin", origin},
                                      {"Access-Control-Request-Method", method},
                                      {"Access-Control-Request-Headers", "authorization,content-type"}});
  }
  static std::unique_ptr<Bank> bank_;
};
std::unique_ptr<Bank> CorsContract::bank_;

TEST_F(CorsContract, APreflightNeedsNoTokenAndSaysWhatMayBeSent) {
  const HttpResponse response = preflight(kDeposits, "POST", kOrigin);
  EXPECT_EQ(response.status, 204) << response;
  EXPECT_TRUE(has_common_headers(response));
  EXPECT_EQ(response.header(kAllowOrigin), kOrigin);
  EXPECT_EQ(response.header("Access-Control-Allow-Methods"), response.header("Allow"));
  EXPECT_THAT(response.header("Access-Control-Allow-Methods"), HasSubstr("POST"));
  EXPECT_EQ(response.header("Access-Control-Allow-Headers"),
            "Authorization, Content-Type, Idempotency-Key, X-Request-ID, traceparent");
  EXPECT_GT(std::stoi(response.header("Access-Control-Max-Age")), 0);
  EXPECT_EQ(response.header("Vary"), "Origin");
  EXPECT_FALSE(response.has("Access-Control-Allow-Credentials"));
  EXPECT_TRUE(response.body.empty());

  EXPECT_THAT(preflight("/transaction-logs/1", "GET", kOrigin).header("Access-Control-Allow-Methods"),
              HasSubstr("GET"));
  EXPECT_EQ(preflight("/nowhere", "GET", kOrigin).status, 404);
}

TEST_F(CorsContract, WhatPagesMaySendIsASetting) {
  ServiceProcess service(
      bank().settings_with({{"CORS_ALLOWED_ORIGINS", kOrigin},
                            {"CORS_ALLOWED_HEADERS", "Authorization,Content-Type , baggage,sentry-trace"}}));
  const HttpResponse response =
      ApiClient(service.port())
          .request("OPTIONS", kDeposits, {{"Origin", kOrigin}, {"Access-Control-Request-Method", "POST"}});
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(response.header("Access-Control-Allow-Headers"), "Authorization, Content-Type, baggage, sentry-trace");
}

TEST_F(CorsContract, OtherOriginsGetNothing) {
  for (const char* origin : {"https://evil.example", "https://bank.example.evil.example", "null", "http://bank.example",
                             "https://bank.example:8443", "https://BANK.EXAMPLE"}) {
    const HttpResponse refused = preflight(kDeposits, "POST", origin);
    EXPECT_EQ(refused.status, 204);
    const HttpResponse actual = ApiClient(port()).get("/livez", from(origin));
    EXPECT_EQ(actual.status, 200) << "it is the browser that keeps it from the page";
    for (const HttpResponse& response : {refused, actual}) {
      for (const char* name : {kAllowOrigin, "Access-Control-Allow-Methods", "Access-Control-Allow-Headers",
                               "Access-Control-Expose-Headers", "Access-Control-Max-Age"})
        EXPECT_FALSE(response.has(name)) << origin << " " << name;
      EXPECT_EQ(response.header("Vary"), "Origin") << "or a cache gives it to those who are allowed";
    }
  }
  // Nor does one who asks for nothing.
  EXPECT_FALSE(ApiClient(port()).request("OPTIONS", kDeposits, from(kOrigin)).has("Access-Control-Allow-Methods"));
}

// A page has to be able to read errors, whatever they are about.
TEST_F(CorsContract, EveryAnswerIsOpenToAnAllowedOrigin) {
  const int64_t account = bank().open_account();
  const int64_t locked = bank().open_account({.pin = "1234"});
  for (const Case& wanted : cases(account, locked, from(kOrigin))) {
    SCOPED_TRACE(std::to_string(wanted.status) + " " + wanted.name);
    const HttpResponse response = answer_to(port(), wanted);
    EXPECT_EQ(response.status, wanted.status) << response;
    EXPECT_TRUE(has_common_headers(response));
    EXPECT_EQ(response.count("Vary"), 1u) << response;
    if (wanted.bytes.find("Origin:") == std::string::npos) continue;  // written out by hand
    EXPECT_EQ(response.header(kAllowOrigin), kOrigin) << response;
    EXPECT_EQ(response.count(kAllowOrigin), 1u);
    EXPECT_EQ(response.header("Vary"), "Origin");
    for (const char* name : {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After", "Idempotency-Replayed"})
      EXPECT_THAT(response.header("Access-Control-Expose-Headers"), HasSubstr(name));
    EXPECT_FALSE(response.has("Access-Control-Allow-Credentials"));
  }
  // Where nothing could be read, nothing is said.
  for (const Case& wanted : garbage()) EXPECT_FALSE(answer_to(port(), wanted).has(kAllowOrigin)) << wanted.name;
}

TEST_F(CorsContract, LimitsAndOverloadCanBeReadToo) {
  {
    const ServiceProcess limited(
        bank().settings_with({{"RATE_LIMIT_ENABLED", "true"}, {"RATE_LIMIT_DEPOSITS", "1/hour"}}));
    ApiClient client(limited.port(), customer());
    client.post(kDeposits, "{}", from(kOrigin));
    const HttpResponse refused = client.post(kDeposits, "{}", from(kOrigin));
    EXPECT_TRUE(is_problem(refused, 429, "RATE_LIMIT_EXCEEDED"));
    EXPECT_EQ(refused.header(kAllowOrigin), kOrigin);
    // Questions are not counted.
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(client.request("OPTIONS", kTransfers, {{"Origin", kOrigin}, {"Access-Control-Request-Method", "POST"}})
                    .status,
                204);
    }
  }
  const ServiceProcess full(bank().settings_with({{"MAX_CONNECTIONS", "1"}, {"WORKERS", "1"}}),
                            {.wait_for_readiness = false});
  RawClient first(full.port());
  ASSERT_EQ(first.exchange(format_request("GET", "/livez")).status, 200);
  RawClient second(full.port());
  const HttpResponse refused = second.exchange(format_request("GET", "/livez", from(kOrigin)));
  EXPECT_TRUE(is_problem(refused, 503, "SERVICE_UNAVAILABLE"));
  EXPECT_EQ(refused.header(kAllowOrigin), kOrigin);
}

TEST_F(CorsContract, EverybodyMayBeAllowed) {
  const ServiceProcess open(bank().settings_with({{"CORS_ALLOWED_ORIGINS", "*"}}));
  ApiClient client(open.port());
  for (const Headers& headers : {from("https://anybody.example"), from("null"), Headers()}) {
    const HttpResponse response = client.get("/livez", headers);
    EXPECT_EQ(response.header(kAllowOrigin), "*");
    EXPECT_FALSE(response.has("Vary"));
    EXPECT_FALSE(response.has("Access-Control-Allow-Credentials"));
  }
}

// One origin's answer does not stick to the connection that brought it.
TEST_F(CorsContract, OriginsOfOneConnectionAreKeptApart) {
  RawClient client(port());
  client.send(format_request("GET", "/livez", from(kOrigin)) + format_request("GET", "/livez") +
              format_request("GET", "/livez", from("http://localhost:3000")) +
              format_request("GET", "/livez", from("https://evil.example")));
  EXPECT_EQ(client.read_response().header(kAllowOrigin), kOrigin);
  EXPECT_FALSE(client.read_response().has(kAllowOrigin));
  EXPECT_EQ(client.read_response().header(kAllowOrigin), "http://localhost:3000");
  EXPECT_FALSE(client.read_response().has(kAllowOrigin));
}

}  // namespace
}  // namespace txn::test
