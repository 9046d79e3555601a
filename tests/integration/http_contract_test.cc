// Contract section 2 on the wire: what the service makes of every kind of bytes, and what all of its answers have in
// common. Raw sockets, because no HTTP library would send most of this.

#include <gmock/gmock.h>

#include <atomic>
#include <set>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using Ending = RawClient::Ending;

constexpr size_t kHeaderLimit = 16 * 1024;
constexpr size_t kBodyLimit = 64 * 1024;
// A closing connection is given this long; far below any of the service's own time-outs.
constexpr Milliseconds kCloseTimeout{3'000};

class HttpContract : public BankTest {
 protected:
  static void SetUpTestSuite() {
    BankTest::SetUpTestSuite();
    account_ = bank().open_account({.balance = "0.00"});
  }

  static int64_t account() { return account_; }
  static Headers money_headers() {
    return {{"Authorization", "Bearer " + customer()}, {"Content-Type", "application/json"}};
  }
  // A deposit of one cent as raw bytes.
  static std::string deposit_request(const Headers& extra = {}) { return deposit_request_to(account(), extra); }
  static std::string deposit_request_to(int64_t number, const Headers& extra = {}) {
    Headers headers = money_headers();
    headers.insert(headers.end(), extra.begin(), extra.end());
    return format_request("POST", kDeposits, headers, deposit_body(number, "0.01"));
  }
  static std::string chunked_deposit_head() {
    Headers headers = money_headers();
    headers.emplace_back("Transfer-Encoding", "chunked");
    return format_request("POST", kDeposits, headers);
  }
  static int64_t cents() { return to_minor(bank().balance(account())); }

 private:
  static inline int64_t account_ = 0;
};

std::string hex(size_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "%zx", value);
  return text;
}

std::string chunk(std::string_view data) { return hex(data.size()) + "\r\n" + std::string(data) + "\r\n"; }
constexpr std::string_view kLastChunk = "0\r\n\r\n";

// --- What every answer carries ---------------------------------------------------------------------------------------

TEST_F(HttpContract, EveryKindOfAnswerCarriesTheCommonHeaders) {
  const std::string token = "Bearer " + customer();
  const std::string log_path = "/transaction-logs/" + std::to_string(account());
  struct Case {
    int status;
    std::string bytes;
  };
  const Headers json = money_headers();
  const Case cases[] = {
      {200, format_request("GET", "/health")},
      {200, format_request("GET", "/livez")},
      {200, format_request("GET", "/readyz")},
      {200, deposit_request()},
      {200, format_request("GET", log_path, {{"Authorization", token}})},
      {200, format_request("GET", "/transfer-limits/GOLD", {{"Authorization", token}})},
      {400, format_request("POST", kDeposits, json, "{")},
      {400, format_request("POST", kDeposits, json, deposit_body(account(), "0"))},
      {400, format_request("POST", kWithdrawals, json, deposit_body(account(), "999999.99"))},
      {400, "GARBAGE\r\n\r\n"},
      {401, format_request("GET", log_path, {{"Authorization", "Bearer x.y.z"}})},
      {403, format_request("GET", log_path)},
      {403, format_request("GET", log_path, {{"Authorization", "Bearer " + customer(2)}})},
      {404, format_request("GET", "/nowhere")},
      {404, format_request("GET", "/transfer-limits/PLATINUM", {{"Authorization", token}})},
      {405, format_request("DELETE", "/health")},
      {413, format_request("POST", kDeposits, json, std::string(kBodyLimit + 1, ' '))},
      {415, format_request("POST", kDeposits, {{"Authorization", token}, {"Content-Type", "text/plain"}}, "{}")},
      {422, format_request("POST", kDeposits, json, "{}")},
      {431, format_request("GET", "/health", {{"X-Long", std::string(kHeaderLimit, 'x')}})},
  };
  for (const Case& item : cases) {
    RawClient client = connect();
    const HttpResponse response = client.exchange(item.bytes);
    const std::string request = item.bytes.substr(0, 200);
    EXPECT_EQ(response.status, item.status) << request << "\n" << response;
    EXPECT_TRUE(has_common_headers(response)) << request;
    EXPECT_TRUE(is_uuid(response.header("X-Request-ID"))) << response;
    EXPECT_TRUE(item.status == 200 ? is_json(response) : is_problem(response, item.status)) << request;
  }
}

TEST_F(HttpContract, AnswersToHeadCarryTheCommonHeaders) {
  for (const char* path : {"/health", "/nowhere", "/transaction-logs/1", kDeposits}) {
    RawClient client = connect();
    client.send(format_request("HEAD", path));
    const HttpResponse response = client.read_response(kResponseTimeout, true);
    EXPECT_TRUE(has_common_headers(response)) << path;
  }
}

TEST_F(HttpContract, RequestIdOfTheCallerComesBack) {
  ApiClient client(port());
  std::string every_visible_character;
  for (char c = 0x21; c < 0x7f; ++c) every_visible_character += c;
  for (const std::string& id : {std::string("a"), std::string("0b7f7a53-4a0b-4f0e-8d3f-6f0a3c1d9e77"),
                                std::string(128, 'x'), every_visible_character}) {
    EXPECT_EQ(client.get("/livez", {{"X-Request-ID", id}}).header("X-Request-ID"), id);
    EXPECT_EQ(client.get("/livez", {{"x-request-id", id}}).header("X-Request-ID"), id);
    const HttpResponse problem = client.get("/nowhere", {{"X-Request-ID", id}});
    EXPECT_TRUE(is_problem(problem, 404, "NOT_FOUND"));
    EXPECT_EQ(problem.json()["request_id"].text(), id);
  }
}

TEST_F(HttpContract, RequestIdOfAnotherShapeIsReplaced) {
  ApiClient client(port());
  std::set<std::string> seen;
  for (const std::string& id : {std::string(), std::string(129, 'x'), std::string("two words"),
                                std::string("tab\there"), std::string("caf\xc3\xa9"), std::string("\x80")}) {
    const HttpResponse response = client.get("/livez", {{"X-Request-ID", id}});
    EXPECT_EQ(response.status, 200) << "'" << id << "'";
    EXPECT_TRUE(is_uuid(response.header("X-Request-ID"))) << "'" << id << "' gave\n" << response;
    EXPECT_TRUE(seen.insert(response.header("X-Request-ID")).second) << "a request id given twice";
  }
}

// --- Routing ---------------------------------------------------------------------------------------------------------

TEST_F(HttpContract, UnknownPathsAreNotFound) {
  for (const char* path :
       {"/", "/nowhere", "/api", "/api/v1", "/api/v1/deposit", "/api/v1/deposits/1", "/api/v2/deposits", "/healthz",
        "/transaction-logs", "/transaction-logs/1/2", "/../etc/passwd", "/api/v1/transaction-logs/transaction"}) {
    ApiClient client(port(), teller());
    for (const char* method : {"GET", "POST"}) {
      const HttpResponse response = client.request(method, path);
      // A path that ends where a route goes on may look like a bad parameter of a shorter route.
      EXPECT_TRUE(response.status == 404 || (response.status == 422 && std::string_view(method) == "GET") ||
                  (response.status == 405 && std::string_view(method) == "POST"))
          << method << " " << path << "\n"
          << response;
      EXPECT_TRUE(is_problem(response, response.status)) << path;
    }
  }
  EXPECT_TRUE(is_problem(ApiClient(port()).get("/nowhere"), 404, "NOT_FOUND"));
}

TEST_F(HttpContract, OtherMethodsAreNotAllowedAndTheRightOnesAreNamed) {
  ApiClient client(port(), teller());
  struct Route {
    const char* path;
    const char* allowed;
    std::vector<const char*> refused;
  };
  const Route routes[] = {
      {kDeposits, "POST", {"GET", "HEAD", "PUT", "DELETE", "PATCH"}},
      {kWithdrawals, "POST", {"GET", "HEAD", "PUT", "DELETE", "PATCH"}},
      {kTransfers, "POST", {"GET", "HEAD", "PUT", "DELETE", "PATCH"}},
      {"/health", "GET", {"POST", "PUT", "DELETE", "PATCH"}},
      {"/livez", "GET", {"POST", "DELETE"}},
      {"/readyz", "GET", {"POST", "DELETE"}},
      {"/transfer-limits/GOLD", "GET", {"POST", "PUT", "DELETE", "PATCH"}},
      {"/api/v1/transfer-limits/rules/all", "GET", {"POST", "DELETE"}},
      {"/api/v1/transfer-limits/100001", "GET", {"POST", "DELETE"}},
      {"/transaction-logs/100001", "GET", {"POST", "PUT", "DELETE", "PATCH"}},
      {"/api/v1/transaction-logs/transaction/1", "GET", {"POST", "DELETE"}},
  };
  for (const Route& route : routes) {
    for (const char* method : route.refused) {
      const HttpResponse response = client.request(method, route.path);
      const std::string context = std::string(method) + " " + route.path;
      EXPECT_EQ(response.status, 405) << context << "\n" << response;
      EXPECT_TRUE(has_common_headers(response)) << context;
      if (std::string_view(method) != "HEAD") {
        EXPECT_TRUE(is_problem(response, 405)) << context;
      }
      const std::string allow = ", " + response.header("Allow") + ",";
      EXPECT_THAT(allow, ::testing::HasSubstr(std::string(", ") + route.allowed + ",")) << context;
      if (std::string_view(route.allowed) == "GET") {
        EXPECT_THAT(allow, ::testing::HasSubstr(", HEAD,")) << context;
      }
      EXPECT_THAT(allow, ::testing::Not(::testing::HasSubstr(std::string(", ") + method + ","))) << context;
    }
  }
}

// RFC 9110 section 15.6.2. Nothing is wrong with how such a request is framed, so the next one is read.
TEST_F(HttpContract, MethodsThatNobodyKnowsAreNotImplemented) {
  RawClient client = connect();
  for (const char* method : {"QUERY", "FOO", "get", "GETX", "M-SEARCH"}) {
    for (const char* path : {"/livez", kDeposits, "/nowhere"}) {
      EXPECT_TRUE(is_problem(client.exchange(format_request(method, path)), 501, "NOT_IMPLEMENTED")) << method << path;
      EXPECT_TRUE(is_problem(client.exchange(format_request(method, path, {}, "a body")), 501, "NOT_IMPLEMENTED"));
    }
  }
  for (const char* method : {"TRACE", "PROPFIND"})
    EXPECT_TRUE(is_problem(client.exchange(format_request(method, "/livez")), 405, "METHOD_NOT_ALLOWED")) << method;
  EXPECT_EQ(client.exchange(format_request("GET", "/livez")).status, 200);
}

// HAProxy's check is OPTIONS / in HTTP/1.0 unless it is told otherwise.
TEST_F(HttpContract, ChecksOfLoadBalancersAreAnswered) {
  RawClient haproxy = connect();
  const HttpResponse check = haproxy.exchange("OPTIONS / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(check.status, 204) << check;
  EXPECT_TRUE(has_common_headers(check));
  EXPECT_EQ(haproxy.wait_for_ending(kCloseTimeout), Ending::kEndOfStream);
  RawClient client = connect();
  const HttpResponse server = client.exchange("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(server.status, 204) << server;
  EXPECT_TRUE(has_common_headers(server));
  EXPECT_EQ(server.header("Allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(client.exchange("OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 204);
  EXPECT_EQ(client.exchange(format_request("GET", "/")).status, 404);
  EXPECT_EQ(client.exchange(format_request("OPTIONS", "/nowhere")).status, 404);
}

TEST_F(HttpContract, LaterMinorVersionsAreServed) {
  RawClient client = connect();
  for (int i = 0; i < 2; ++i) {
    const HttpResponse response = client.exchange("GET /livez HTTP/1.2\r\nHost: localhost\r\n\r\n");
    EXPECT_EQ(response.status, 200) << response;
  }
}

TEST_F(HttpContract, A400SaysWhatIsWrong) {
  const std::pair<std::string, const char*> cases[] = {
      {"GET /livez  HTTP/1.1\r\nHost: a\r\n\r\n", "More than one space before the version"},
      {"GET /livez HTTP/1.1\r\n\r\n", "A request of HTTP/1.1 without Host"},
      {"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "Content-Length and Transfer-Encoding together"},
      {std::string("\x16\x03\x01\x02", 4), "A TLS handshake, and this port speaks plain HTTP"},
  };
  for (const auto& [bytes, detail] : cases) {
    RawClient client = connect();
    const HttpResponse response = client.exchange(bytes);
    ASSERT_TRUE(is_problem(response, 400, "MALFORMED_REQUEST")) << bytes;
    EXPECT_EQ(response.json()["detail"].text(), detail);
  }
}

TEST_F(HttpContract, MalformedJsonSaysWhatIsWrong) {
  ApiClient client(port(), customer());
  const std::string good = deposit_body(account(), "0.01");
  std::string many = "{";
  for (int i = 0; i < 65; ++i) many += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
  const std::pair<std::string, const char*> cases[] = {
      {" ", "The request body is empty"},
      {"\xEF\xBB\xBF" + good, "The request body begins with a byte order mark, which JSON may not"},
      {deposit_body(account(), "1", ",\"description\":\"\xff\""), "The request body is not valid UTF-8"},
      {"[" + good + "]", "The request body is not a JSON object"},
      {deposit_body(account(), "1", ",\"am\\u006funt\":2"), "The JSON object in the request body has a key twice"},
      {deposit_body(account(), "1", ",\"x\":" + std::string(100, '[') + std::string(100, ']')),
       "The JSON in the request body is nested more than 64 levels deep"},
      {many + "}", "The JSON object in the request body has more than 64 members"},
      {good.substr(0, good.size() - 1), "The request body is not well-formed JSON"},
  };
  for (const auto& [body, detail] : cases) {
    const HttpResponse response = client.post(kDeposits, body);
    ASSERT_TRUE(is_problem(response, 400, "MALFORMED_JSON")) << body;
    EXPECT_EQ(response.json()["detail"].text(), detail) << body.substr(0, 100);
  }
}

TEST_F(HttpContract, A415NamesTheCodingThatIsTooMuch) {
  ApiClient client(port(), customer());
  for (const char* coding : {"gzip", "br", "identity, gzip"}) {
    const HttpResponse response =
        client.request("POST", kDeposits, {{"Content-Type", "application/json"}, {"Content-Encoding", coding}}, "{}");
    ASSERT_TRUE(is_problem(response, 415, "UNSUPPORTED_MEDIA_TYPE")) << coding;
    EXPECT_THAT(response.json()["detail"].text(), ::testing::HasSubstr(coding));
    EXPECT_EQ(response.header("Accept-Encoding"), "identity");
  }
  EXPECT_TRUE(is_json(client.request("POST", kDeposits,
                                     {{"Content-Type", "application/json"}, {"Content-Encoding", "Identity"}},
                                     deposit_body(account(), "0.01"))));
}

// Where the `type` of every error leads.
TEST_F(HttpContract, ThePageOfErrorsHasAPlaceForEach) {
  ApiClient client(port());
  const HttpResponse page = client.get("/api/v1/docs");
  EXPECT_EQ(page.status, 200);
  EXPECT_TRUE(has_common_headers(page));
  EXPECT_EQ(page.header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(page.header("Content-Security-Policy"), "default-src 'self'");
  EXPECT_THAT(page.body, ::testing::Not(::testing::ContainsRegex("style|script")));
  for (const HttpResponse& error : {client.get("/nowhere"), client.post(kDeposits, "{}")}) {
    const std::string type = error.json()["type"].text();
    const size_t hash = type.find('#');
    EXPECT_EQ(type.substr(0, hash), "/api/v1/docs");
    EXPECT_THAT(page.body, ::testing::HasSubstr("id=\"" + type.substr(hash + 1) + "\""));
  }
  const HttpResponse head = client.head("/api/v1/docs");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("Content-Length"), std::to_string(page.body.size()));
}

TEST_F(HttpContract, WhatTakesATokenIsNotStored) {
  ApiClient client(port(), customer());
  const std::string logs = "/transaction-logs/" + std::to_string(account());
  for (const HttpResponse& response :
       {client.get(logs), client.get("/transfer-limits/GOLD"), client.get("/transfer-limits/NONE"),
        client.post(kDeposits, deposit_body(account(), "0.01")), client.post(kDeposits, "{}"),
        client.request("DELETE", kDeposits), client.get(logs + "?x=y"), ApiClient(port()).get(logs),
        ApiClient(port(), admin()).post(kDeposits, "{}"), client.get("/nowhere"),
        connect().exchange("GARBAGE\r\n\r\n")})
    EXPECT_EQ(response.header("Cache-Control"), "no-store") << response;
  for (const char* path : {"/livez", "/api/v1/docs"}) EXPECT_FALSE(client.get(path).has("Cache-Control")) << path;
}

TEST_F(HttpContract, ContentTypeMustBeJson) {
  ApiClient client(port(), customer());
  const std::string body = deposit_body(account(), "0.01");
  for (const char* type : {"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8",
                           "APPLICATION/JSON", "Application/Json"}) {
    EXPECT_TRUE(is_json(client.request("POST", kDeposits, {{"Content-Type", type}}, body))) << type;
  }
  const int64_t before = cents();
  for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                           "application/jsonx", "application/xml", "json", "text/plain; application/json"}) {
    EXPECT_TRUE(is_problem(client.request("POST", kDeposits, {{"Content-Type", type}}, body), 415)) << type;
  }
  EXPECT_EQ(cents(), before);
}

// --- Bodies that are not JSON ----------------------------------------------------------------------------------------

TEST_F(HttpContract, WhatIsNotOneJsonObjectIsMalformed) {
  ApiClient client(port(), customer());
  const std::string good = deposit_body(account(), "0.01");
  const std::string number = std::to_string(account());
  const int64_t before = cents();
  const std::string cases[] = {
      " ",
      "{",
      "}",
      "[]",
      "null",
      "1",
      "\"text\"",
      "[" + good + "]",
      good + "x",
      good + good,
      good + ",",
      good.substr(0, good.size() - 1),
      good.substr(0, good.size() - 1) + ",}",
      "{'account_number':" + number + ",'amount':1}",
      "{account_number:" + number + ",\"amount\":1}",
      "/* no */" + good,
      "{\"account_number\":" + number + " \"amount\":1}",
      deposit_body(account(), "01"),
      deposit_body(account(), "1."),
      deposit_body(account(), ".5"),
      deposit_body(account(), "+1"),
      deposit_body(account(), "NaN"),
      deposit_body(account(), "Infinity"),
      deposit_body(account(), "0x10"),
      deposit_body(account(), "1", ",\"amount\":2"),  // which one?
      deposit_body(account(), "1", ",\"am\\u006funt\":2"),
      deposit_body(account(), "1", ",\"description\":\"\xff\""),
      deposit_body(account(), "1", ",\"description\":\"\xc0\xaf\""),          // overlong
      deposit_body(account(), "1", ",\"description\":\"\xed\xa0\x80\""),      // a surrogate
      deposit_body(account(), "1", ",\"description\":\"\xf4\x90\x80\x80\""),  // beyond U+10FFFF
      deposit_body(account(), "1", ",\"description\":\"line\nbreak\""),
      deposit_body(account(), "1", ",\"description\":\"\\x\""),
      deposit_body(account(), "1", ",\"description\":\"\\u12\""),
      deposit_body(account(), "1", ",\"description\":\"open"),
      good + std::string(1, '\0'),
      std::string("\0", 1) + good,
  };
  for (const std::string& body : cases) {
    EXPECT_TRUE(is_problem(client.post(kDeposits, body), 400, "MALFORMED_JSON")) << body;
  }
  EXPECT_EQ(cents(), before) << "something of that was executed";
}

TEST_F(HttpContract, OddJsonIsRefusedOneWayOrTheOther) {
  ApiClient client(port(), customer());
  const int64_t before = cents();
  const std::string cases[] = {
      deposit_body(account(), "1", ",\"description\":\"\\ud800\""),         // half a surrogate pair
      deposit_body(account(), "1", ",\"description\":\"\\udc00\\ud800\""),  // the wrong way round
      deposit_body(account(), "1", ",\"x\":" + std::string(5000, '[') + std::string(5000, ']')),
      deposit_body(account(), "1", ",\"x\":" + std::string(5000, '[')),
      deposit_body(account(), "1", ",\"x\":{\"amount\":1,\"amount\":2}"),
  };
  for (const std::string& body : cases) {
    const HttpResponse response = client.post(kDeposits, body);
    EXPECT_TRUE(response.status == 400 ? is_problem(response, 400, "MALFORMED_JSON")
                                       : is_problem(response, 422, "VALIDATION_ERROR"))
        << body.substr(0, 120);
  }
  EXPECT_EQ(cents(), before);
}

TEST_F(HttpContract, NoBodyIsMalformed) {
  RawClient client = connect();
  Headers headers = money_headers();
  EXPECT_TRUE(is_problem(client.exchange(format_request("POST", kDeposits, headers)), 400, "MALFORMED_JSON"));
  headers.emplace_back("Content-Length", "0");
  EXPECT_TRUE(is_problem(client.exchange(format_request("POST", kDeposits, headers)), 400, "MALFORMED_JSON"));
}

// A parser that looks beyond the end of its text would find the missing brace in the next request.
TEST_F(HttpContract, TheNextRequestDoesNotCompleteThisOne) {
  RawClient client = connect();
  const int64_t before = cents();
  const std::string good = deposit_body(account(), "0.01");
  client.send(format_request("POST", kDeposits, money_headers(), good.substr(0, good.size() - 1)) + "}" +
              deposit_request());
  EXPECT_TRUE(is_problem(client.read_response(), 400, "MALFORMED_JSON"));
  // What comes next is "}POST ...", which is no request.
  EXPECT_EQ(client.read_response().status, 400);
  EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream);
  EXPECT_EQ(cents(), before);
}

// --- Limits ----------------------------------------------------------------------------------------------------------

TEST_F(HttpContract, HeadersUpToTheLimitAreFine) {
  RawClient client = connect();
  const std::string empty = format_request("GET", "/livez", {{"X-Long", ""}});
  const std::string value(kHeaderLimit - empty.size(), 'x');
  EXPECT_EQ(client.exchange(format_request("GET", "/livez", {{"X-Long", value}})).status, 200);
  // And again on the same connection: the limit is one request's.
  EXPECT_EQ(client.exchange(format_request("GET", "/livez", {{"X-Long", value}})).status, 200);
}

TEST_F(HttpContract, HeadersBeyondTheLimitAre431) {
  const std::string endless = "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Endless: " + std::string(64 * 1024, 'x');
  std::string many = "GET /livez HTTP/1.1\r\nHost: localhost\r\n";
  for (int i = 0; i < 1000; ++i) many += "X-" + std::to_string(i) + ": 0123456789\r\n";
  const std::string cases[] = {
      format_request("GET", "/livez", {{"X-Long", std::string(kHeaderLimit, 'x')}}),
      format_request("GET", "/" + std::string(kHeaderLimit, 'x')),
      format_request("GET", "/livez?" + std::string(kHeaderLimit, 'x')),
      format_request("GET", "/livez", {{std::string(kHeaderLimit, 'x'), "1"}}),
      many + "\r\n",
      endless,  // refused before it ends
      "GET /" + std::string(64 * 1024, 'x'),
  };
  for (const std::string& bytes : cases) {
    RawClient client = connect();
    EXPECT_TRUE(is_problem(client.exchange(bytes), 431)) << bytes.substr(0, 60);
    EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream) << bytes.substr(0, 60);
  }
}

TEST_F(HttpContract, BodiesUpToTheLimitAreFine) {
  const std::string body = deposit_body(account(), "0.01");
  const std::string padded = body + std::string(kBodyLimit - body.size(), ' ');
  ApiClient client(port(), customer());
  EXPECT_TRUE(is_json(client.post(kDeposits, padded)));
  EXPECT_TRUE(is_problem(client.post(kDeposits, padded + " "), 413));

  RawClient chunked = connect();
  std::string bytes = chunked_deposit_head();
  for (size_t at = 0; at < padded.size(); at += 1000) bytes += chunk(std::string_view(padded).substr(at, 1000));
  EXPECT_TRUE(is_json(chunked.exchange(bytes + std::string(kLastChunk))));
}

TEST_F(HttpContract, BodiesBeyondTheLimitAre413) {
  const int64_t before = cents();
  const std::string body = deposit_body(account(), "0.01") + std::string(kBodyLimit, ' ');
  // All of it sent before the answer is read: the answer must not be lost in a reset over the unread rest.
  for (const size_t size : {kBodyLimit + 1, size_t{200'000}, size_t{2'000'000}}) {
    RawClient client = connect();
    Headers headers = money_headers();
    EXPECT_TRUE(
        is_problem(client.exchange(format_request("POST", kDeposits, headers, body + std::string(size, ' '))), 413))
        << size;
  }
  // Announced only: the answer does not wait for the body.
  for (const char* length : {"65537", "10000000000", "9223372036854775807"}) {
    RawClient client = connect();
    Headers headers = money_headers();
    headers.emplace_back("Content-Length", length);
    EXPECT_TRUE(is_problem(client.exchange(format_request("POST", kDeposits, headers)), 413)) << length;
    EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream) << length;
  }
  // Chunk by chunk, and in one chunk that is too large.
  std::string chunks = chunked_deposit_head();
  for (size_t at = 0; at <= kBodyLimit; at += 1000) chunks += chunk(std::string(1000, ' '));
  for (const std::string& bytes : {chunks, chunked_deposit_head() + "fffff\r\n" + body}) {
    RawClient client = connect();
    EXPECT_TRUE(is_problem(client.exchange(bytes), 413));
    EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream);
  }
  EXPECT_EQ(cents(), before);
}

// --- What is ambiguous is refused ------------------------------------------------------------------------------------

// Each is followed by a second request that would be answered if the first were misread: the one answer must be 400,
// and then the connection must end, in order and not by a reset.
// (`other_status`: what RFC 9110 offers instead of 400 for bytes that are understood and not supported.)
void expect_refused_and_closed(uint16_t port, const std::string& name, const std::string& bytes, int other_status = 0) {
  RawClient client(port);
  client.send(bytes + "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: smuggled\r\n\r\n");
  const HttpResponse response = client.read_response();
  if (other_status != 0 && response.status == other_status) {
    EXPECT_TRUE(is_problem(response, other_status)) << name;
  } else {
    EXPECT_TRUE(is_problem(response, 400, "MALFORMED_REQUEST")) << name;
  }
  EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream) << name;
}

struct WireCase {
  const char* name;
  std::string bytes;
  int other_status = 0;
};

TEST_F(HttpContract, AmbiguousLengthsAreRefused) {
  const std::string body = deposit_body(account(), "0.01");
  const std::string length = std::to_string(body.size());
  const std::string head =
      "POST /api/v1/deposits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Authorization: Bearer " +
      customer() + "\r\n";
  const std::string chunks = chunk(body) + std::string(kLastChunk);
  const WireCase cases[] = {
      {"length and chunked", head + "Content-Length: " + length + "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks},
      {"chunked and length", head + "Transfer-Encoding: chunked\r\nContent-Length: " + length + "\r\n\r\n" + chunks},
      {"chunked and length 0", head + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + chunks},
      {"two lengths", head + "Content-Length: " + length + "\r\nContent-Length: 5\r\n\r\n" + body},
      {"the same length twice",
       head + "Content-Length: " + length + "\r\nContent-Length: " + length + "\r\n\r\n" + body},
      {"a list of lengths", head + "Content-Length: " + length + ", " + length + "\r\n\r\n" + body},
      {"+length", head + "Content-Length: +" + length + "\r\n\r\n" + body},
      {"-length", head + "Content-Length: -1\r\n\r\n" + body},
      {"hexadecimal length", head + "Content-Length: 0x10\r\n\r\n" + body},
      {"length with exponent", head + "Content-Length: 1e1\r\n\r\n" + body},
      {"fractional length", head + "Content-Length: 1.0\r\n\r\n" + body},
      {"length in two words", head + "Content-Length: 1 1\r\n\r\n" + body},
      {"empty length", head + "Content-Length: \r\n\r\n" + body},
      {"length beyond 64 bits", head + "Content-Length: 18446744073709551617\r\n\r\n" + body, 413},
      {"identity", head + "Transfer-Encoding: identity\r\n\r\n" + body},
      {"chunked is not last", head + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunks},
      {"chunked twice", head + "Transfer-Encoding: chunked, chunked\r\n\r\n" + chunks},
      {"chunked in two lines", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks},
      {"an unknown coding", head + "Transfer-Encoding: xchunked\r\n\r\n" + chunks, 501},
      {"compressed chunks", head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks, 501},
      {"empty coding", head + "Transfer-Encoding:\r\n\r\n" + chunks},
      {"chunked with a tail", head + "Transfer-Encoding: chunked;q=1\r\n\r\n" + chunks},
      {"a space before the colon", head + "Content-Length : " + length + "\r\n\r\n" + body},
      {"a tab before the colon", head + "Transfer-Encoding\t: chunked\r\n\r\n" + chunks},
  };
  const int64_t before = cents();
  for (const WireCase& item : cases) expect_refused_and_closed(port(), item.name, item.bytes, item.other_status);
  EXPECT_EQ(cents(), before) << "something of that was executed";
}

TEST_F(HttpContract, AmbiguousLinesAreRefused) {
  const std::string start = "GET /livez HTTP/1.1\r\n";
  const std::string host = "Host: localhost\r\n";
  using namespace std::string_literals;
  const WireCase cases[] = {
      {"bare CR in a value", start + host + "X-A: b\rc\r\n\r\n"},
      {"bare CR hiding a header", start + host + "X-A: \rTransfer-Encoding: chunked\r\n\r\n"},
      {"bare CR ends the request line", "GET /livez HTTP/1.1\r" + host + "\r\n"},
      {"CR CR LF", start + host + "X-A: b\r\r\n\r\n"},
      {"bare CR ends the headers", start + host + "\rX"},
      {"bare LF ends the request line", "GET /livez HTTP/1.1\n" + host + "\r\n"},
      {"bare LF ends a header", start + "Host: localhost\nX-A: b\r\n\r\n"},
      {"bare LF ends the headers", start + host + "\n"},
      {"only LFs", "GET /livez HTTP/1.1\nHost: localhost\n\n"},
      {"obsolete folding, space", start + host + "X-A: b\r\n c\r\n\r\n"},
      {"obsolete folding, tab", start + host + "X-A: b\r\n\tc\r\n\r\n"},
      {"obsolete folding of nothing", start + host + "X-A:\r\n c\r\n\r\n"},
      {"folding of the first header", start + " X-A: b\r\n" + host + "\r\n"},
      {"space before a header", start + host + " X-A: b\r\n\r\n"},
      {"space before the colon", start + host + "X-A : b\r\n\r\n"},
      {"a header without a name", start + host + ": b\r\n\r\n"},
      {"a header without a colon", start + host + "X-A\r\n\r\n"},
      {"a space in a name", start + host + "X A: b\r\n\r\n"},
      {"NUL in a value", start + host + "X-A: b\0c\r\n\r\n"s},
      {"NUL in a name", start + host + "X\0A: b\r\n\r\n"s},
      {"a control character in a value", start + host +
                                             "X-A: b\x01"
                                             "c\r\n\r\n"},
      {"DEL in a value", start + host + "X-A: b\x7f\r\n\r\n"},
      {"UTF-8 in a name", start + host + "X-\xc3\xa9: b\r\n\r\n"},
  };
  for (const WireCase& item : cases) expect_refused_and_closed(port(), item.name, item.bytes, item.other_status);
}

TEST_F(HttpContract, BrokenRequestLinesAreRefused) {
  const std::string host = "Host: localhost\r\n\r\n";
  using namespace std::string_literals;
  const WireCase cases[] = {
      {"no version", "GET /livez\r\n" + host},
      {"no path", "GET HTTP/1.1\r\n" + host},
      {"two spaces", "GET  /livez HTTP/1.1\r\n" + host},
      {"two spaces before the version", "GET /livez  HTTP/1.1\r\n" + host},
      {"five spaces before the version", "GET /livez     HTTP/1.1\r\n" + host},
      {"an open bracket in Host", "GET /livez HTTP/1.1\r\nHost: [::1\r\n\r\n"},
      {"a port of letters in Host", "GET /livez HTTP/1.1\r\nHost: a:x\r\n\r\n"},
      {"a port beyond 65535 in Host", "GET /livez HTTP/1.1\r\nHost: a:999999\r\n\r\n"},
      {"a space at the end", "GET /livez HTTP/1.1 \r\n" + host},
      {"a tab", "GET\t/livez\tHTTP/1.1\r\n" + host},
      {"a method that is no token", "G(T /livez HTTP/1.1\r\n" + host},
      {"another protocol", "GET /livez FTP/1.1\r\n" + host},
      {"a version without digits", "GET /livez HTTP/x.y\r\n" + host},
      {"a long version", "GET /livez HTTP/1.11\r\n" + host},
      {"NUL in the path", "GET /liv\0ez HTTP/1.1\r\n"s + host},
      {"a control character in the path",
       "GET /liv\x01"
       "ez HTTP/1.1\r\n" +
           host},
      {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"a version to come", "GET /livez HTTP/3.0\r\n" + host, 505},
      {"no Host", "GET /livez HTTP/1.1\r\n\r\n"},
      {"two Hosts", "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
  };
  for (const WireCase& item : cases) expect_refused_and_closed(port(), item.name, item.bytes, item.other_status);
}

TEST_F(HttpContract, WhatIsNotHttpAtAllIsRefused) {
  using namespace std::string_literals;
  const WireCase cases[] = {
      {"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s + std::string(500, '\x55')},
      {"binary", std::string(300, '\xff')},
      {"NULs", std::string(300, '\0')},
      {"SSH", "SSH-2.0-OpenSSH_9.2\r\n"},
  };
  for (const WireCase& item : cases) expect_refused_and_closed(port(), item.name, item.bytes, item.other_status);
}

TEST_F(HttpContract, BrokenChunksAreRefused) {
  const std::string head = chunked_deposit_head();
  const std::string body = deposit_body(account(), "0.01");
  const std::string size = hex(body.size());
  const WireCase cases[] = {
      {"no size", head + "\r\n" + body + "\r\n0\r\n\r\n"},
      {"a size that is no number", head + "zz\r\n" + body + "\r\n0\r\n\r\n"},
      {"a negative size", head + "-1\r\n" + body + "\r\n0\r\n\r\n"},
      {"0x", head + "0x" + size + "\r\n" + body + "\r\n0\r\n\r\n"},
      {"a length in the trailers", head + chunk(body) + "0\r\nContent-Length: 5\r\n\r\n"},
      {"a host in the trailers", head + chunk(body) + "0\r\nHost: b\r\n\r\n"},
      {"a coding in the trailers", head + chunk(body) + "0\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"an extension behind a blank", head + size + " ;a\r\n" + body + "\r\n0\r\n\r\n"},
      {"a space before the size", head + " " + size + "\r\n" + body + "\r\n0\r\n\r\n"},
      {"a size beyond 64 bits", head + "10000000000000001\r\n" + body + "\r\n0\r\n\r\n"},
      {"data longer than its size", head + size + "\r\n" + body + "xx\r\n0\r\n\r\n"},
      {"bare LF after the size", head + size + "\n" + body + "\r\n0\r\n\r\n"},
      {"bare LF after the data", head + size + "\r\n" + body + "\n0\r\n\r\n"},
      {"bare CR after the size", head + size + "\rX" + body + "\r\n0\r\n\r\n"},
  };
  const int64_t before = cents();
  for (const WireCase& item : cases) expect_refused_and_closed(port(), item.name, item.bytes, item.other_status);
  EXPECT_EQ(cents(), before) << "something of that was executed";

  // Extensions without end: refused by some bound, whichever it is.
  RawClient client = connect();
  const HttpResponse response = client.exchange(head + "1;" + std::string(kBodyLimit + kHeaderLimit, 'x'));
  EXPECT_THAT(response.status, ::testing::AnyOf(400, 413, 431)) << response;
  EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream);
}

// --- HEAD, chunks, Expect --------------------------------------------------------------------------------------------

TEST_F(HttpContract, HeadIsGetWithoutTheBody) {
  const Headers token = {{"Authorization", "Bearer " + teller()}};
  const std::string log_path = "/transaction-logs/" + std::to_string(account());
  for (const std::string& path :
       {std::string("/transfer-limits/GOLD"), std::string("/api/v1/transfer-limits/GOLD"),
        std::string("/api/v1/transfer-limits/rules/all"), "/api/v1/transfer-limits/" + std::to_string(account()),
        log_path, std::string("/health"), std::string("/livez"), std::string("/readyz"),
        std::string("/transfer-limits/NONE")}) {
    RawClient client = connect();
    // In one segment: a body after the answer to HEAD would be taken for the next answer.
    client.send(format_request("HEAD", path, token) + format_request("GET", path, token));
    const HttpResponse head = client.read_response(kResponseTimeout, true);
    const HttpResponse get = client.read_response();
    EXPECT_EQ(head.status, get.status) << path;
    EXPECT_EQ(head.header("Content-Type"), get.header("Content-Type")) << path;
    EXPECT_EQ(head.header("Content-Length"), get.header("Content-Length")) << path;
    EXPECT_GT(get.body.size(), 0u) << path << get;
  }
}

TEST_F(HttpContract, ChunkedBodiesAreRead) {
  const std::string body = deposit_body(account(), "0.01");
  const std::string head = chunked_deposit_head();
  std::string one_by_one;
  for (const char& c : body) one_by_one += chunk({&c, 1});
  const size_t half = body.size() / 2;
  const WireCase cases[] = {
      {"one chunk", head + chunk(body) + "0\r\n\r\n"},
      {"two chunks", head + chunk(body.substr(0, half)) + chunk(body.substr(half)) + "0\r\n\r\n"},
      {"a chunk a byte", head + one_by_one + "0\r\n\r\n"},
      {"capital digits, leading zeros",
       head + "000" + (body.size() < 16 ? "" : "0") + hex(body.size()) + "\r\n" + body + "\r\n000\r\n\r\n"},
      {"extensions", head + hex(body.size()) + ";name=value\r\n" + body + "\r\n0;last\r\n\r\n"},
      {"several extensions", head + hex(body.size()) + ";a=b;c=\"d\";e\r\n" + body + "\r\n0;f;g=h\r\n\r\n"},
      {"a trailer", head + chunk(body) + "0\r\nX-Checksum: 1\r\n\r\n"},
  };
  RawClient client = connect();  // one connection for all: each must end exactly where it ends
  int64_t expected = cents();
  for (const WireCase& item : cases) {
    EXPECT_TRUE(is_json(client.exchange(item.bytes))) << item.name;
    EXPECT_EQ(cents(), ++expected) << item.name;
  }
}

TEST_F(HttpContract, ExpectContinueIsAnswered) {
  RawClient client = connect();
  const std::string body = deposit_body(account(), "0.01");
  Headers headers = money_headers();
  headers.emplace_back("Expect", "100-continue");
  headers.emplace_back("Content-Length", std::to_string(body.size()));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(client.exchange(format_request("POST", kDeposits, headers)).status, 100);
    EXPECT_TRUE(is_json(client.exchange(body)));
  }
}

TEST_F(HttpContract, ExpectIsAList) {
  const std::string body = deposit_body(account(), "0.01");
  const int64_t before = cents();
  for (const char* value : {"100-continue,", " , 100-Continue ,,", "100-continue, 100-continue"}) {
    RawClient client = connect();
    Headers headers = money_headers();
    headers.emplace_back("Expect", value);
    headers.emplace_back("Content-Length", std::to_string(body.size()));
    EXPECT_EQ(client.exchange(format_request("POST", kDeposits, headers)).status, 100) << value;
    EXPECT_TRUE(is_json(client.exchange(body))) << value;
  }
  for (const char* value : {"", ",", " ,, "}) {
    RawClient client = connect();
    EXPECT_TRUE(is_json(client.exchange(deposit_request({{"Expect", value}})))) << "'" << value << "'";
  }
  RawClient client = connect();
  EXPECT_TRUE(is_problem(client.exchange(deposit_request({{"Expect", "100-continue, more"}})), 417));
  EXPECT_EQ(cents(), before + 6);
}

// What will be refused whatever the body is, is refused before it is sent; then the connection ends, because nobody
// can know whether the client sends it all the same.
TEST_F(HttpContract, NobodyIsToldToSendABodyForNothing) {
  const std::string body = deposit_body(account(), "0.01");
  const std::string token = "Bearer " + customer();
  const int64_t before = cents();
  struct Case {
    const char* method;
    const char* path;
    Headers headers;
    int status;
  };
  const Headers json = {{"Content-Type", "application/json"}};
  const auto with = [&](Headers headers) {
    headers.emplace_back("Content-Type", "application/json");
    return headers;
  };
  const Case cases[] = {
      {"POST", kDeposits, json, 403},
      {"POST", kDeposits, with({{"Authorization", "Bearer x.y.z"}}), 401},
      {"POST", kDeposits, with({{"Authorization", "Bearer " + admin()}}), 403},
      {"POST", "/nowhere", with({{"Authorization", token}}), 404},
      {"PUT", kDeposits, with({{"Authorization", token}}), 405},
      {"QUERY", kDeposits, with({{"Authorization", token}}), 501},
      {"POST", kDeposits, {{"Authorization", token}, {"Content-Type", "text/plain"}}, 415},
      {"POST", kDeposits, with({{"Authorization", token}, {"Content-Encoding", "gzip"}}), 415},
      {"POST", "/api/v1/deposits?dry_run=true", with({{"Authorization", token}}), 422},
  };
  for (const Case& item : cases) {
    Headers headers = item.headers;
    headers.emplace_back("Expect", "100-continue");
    headers.emplace_back("Content-Length", std::to_string(body.size()));
    const std::string name = std::string(item.method) + " " + item.path;
    for (const bool sends_it_all_the_same : {false, true}) {
      RawClient client = connect();
      const HttpResponse response = client.exchange(format_request(item.method, item.path, headers));
      EXPECT_EQ(response.status, item.status) << name << response;
      EXPECT_TRUE(is_problem(response, item.status)) << name;
      EXPECT_EQ(response.header("Connection"), "close") << name;
      if (sends_it_all_the_same) client.send(body + deposit_request());
      EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream) << name;
    }
  }
  EXPECT_EQ(cents(), before);
}

TEST_F(HttpContract, ExpectContinueForTooMuchIsRefusedAtOnce) {
  RawClient client = connect();
  Headers headers = money_headers();
  headers.emplace_back("Expect", "100-continue");
  headers.emplace_back("Content-Length", std::to_string(kBodyLimit + 1));
  EXPECT_TRUE(is_problem(client.exchange(format_request("POST", kDeposits, headers)), 413));
}

// --- Connections -----------------------------------------------------------------------------------------------------

TEST_F(HttpContract, ConnectionsStayOpenUntilToldOtherwise) {
  RawClient client = connect();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.exchange(format_request("GET", "/livez")).status, 200);
  // Errors that leave the stream in step do not end it.
  EXPECT_EQ(client.exchange(format_request("GET", "/nowhere")).status, 404);
  EXPECT_EQ(client.exchange(format_request("POST", kDeposits, money_headers(), "{}")).status, 422);
  const HttpResponse last = client.exchange(format_request("GET", "/livez", {{"Connection", "close"}}));
  EXPECT_EQ(last.status, 200);
  EXPECT_EQ(last.header("Connection"), "close");
  EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream);
}

TEST_F(HttpContract, Http10ClosesAfterTheAnswer) {
  RawClient client = connect();
  EXPECT_EQ(client.exchange("GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n").status, 200);
  EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream);
}

TEST_F(HttpContract, FiftyPipelinedRequestsInOneSegmentAreAnsweredInOrder) {
  RawClient client = connect();
  const int64_t before = cents();
  const std::string log_path = "/transaction-logs/" + std::to_string(account()) + "?limit=1";
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    const Headers id = {{"X-Request-ID", "request-" + std::to_string(i)}};
    Headers with_token = id;
    with_token.emplace_back("Authorization", "Bearer " + customer());
    // Slow and fast ones in turn, so that they finish in another order than they came in.
    if (i % 5 == 0) bytes += deposit_request(id);
    if (i % 5 == 1) bytes += format_request("GET", "/livez", id);
    if (i % 5 == 2) bytes += format_request("GET", "/nowhere", id);
    if (i % 5 == 3) bytes += format_request("GET", log_path, with_token);
    if (i % 5 == 4) bytes += format_request("POST", kDeposits, id, "{}");  // without a token
  }
  constexpr int kExpected[] = {200, 200, 404, 200, 403};
  EXPECT_TRUE(client.send(bytes));
  client.half_close();  // a client that has said all may say so; its answers still come
  for (int i = 0; i < 50; ++i) {
    const HttpResponse response = client.read_response();
    ASSERT_EQ(response.status, kExpected[i % 5]) << i << "\n" << response;
    ASSERT_EQ(response.header("X-Request-ID"), "request-" + std::to_string(i));
  }
  EXPECT_EQ(client.wait_for_ending(kCloseTimeout), Ending::kEndOfStream);
  EXPECT_EQ(cents(), before + 10);
}

TEST_F(HttpContract, RequestsMayArriveByteByByte) {
  RawClient client = connect();
  const int64_t before = cents();
  const std::string body = deposit_body(account(), "0.01");
  EXPECT_TRUE(client.send_byte_by_byte(
      deposit_request({{"X-Request-ID", "a"}}) + format_request("GET", "/livez", {{"X-Request-ID", "b"}}) +
      chunked_deposit_head() + chunk(body.substr(0, 9)) + chunk(body.substr(9)) + "0\r\n\r\n"));
  EXPECT_EQ(client.read_response().header("X-Request-ID"), "a");
  EXPECT_EQ(client.read_response().header("X-Request-ID"), "b");
  EXPECT_TRUE(is_json(client.read_response()));
  EXPECT_EQ(cents(), before + 2);
}

TEST_F(HttpContract, EveryTwoWaySplitOfARequestIsTheSameRequest) {
  RawClient client = connect();
  const std::string bytes =
      "HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez?x HTTP/1.1\r\nHost: localhost\r\n\r\n";
  for (size_t at = 1; at < bytes.size(); ++at) {
    ASSERT_TRUE(client.send(bytes.substr(0, at)));
    ASSERT_TRUE(client.send(bytes.substr(at)));
    ASSERT_EQ(client.read_response(kResponseTimeout, true).status, 200) << at;
    ASSERT_EQ(client.read_response().status, 200) << at;
  }
}

// Far more answers than the socket buffers hold: the service must wait for the reader and neither drop nor mix any.
TEST_F(HttpContract, ASlowReaderGetsAllAnswers) {
  RawClient client(port(), RawClient::Options{.receive_buffer = 4096});
  constexpr int kCount = 2000;
  std::string bytes;
  for (int i = 0; i < kCount; ++i) bytes += format_request("GET", "/nowhere", {{"X-Request-ID", std::to_string(i)}});
  std::thread writer([&client, &bytes] { client.send(bytes); });
  bool in_order = true;
  for (int i = 0; i < kCount && in_order; ++i) {
    const HttpResponse response = client.read_response();
    in_order = response.status == 404 && response.header("X-Request-ID") == std::to_string(i);
    EXPECT_TRUE(in_order) << i << "\n" << response;
  }
  if (!in_order) client.half_close();  // lets the writer go
  writer.join();
}

TEST_F(HttpContract, OffersToUpgradeAreIgnored) {
  RawClient client = connect();
  const Headers offer = {{"Connection", "Upgrade, HTTP2-Settings"}, {"Upgrade", "h2c"}, {"HTTP2-Settings", "AAMAAABk"}};
  client.send(format_request("GET", "/livez", offer) + format_request("GET", "/livez"));
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_EQ(client.read_response().status, 200) << "what follows is still HTTP/1.1";
}

TEST_F(HttpContract, TargetsOfOtherForms) {
  // RFC 9112 section 3.2.2: a server must take the absolute form too.
  EXPECT_EQ(connect().exchange(format_request("GET", "http://localhost/livez")).status, 200);
  EXPECT_EQ(connect().exchange(format_request("GET", "http://localhost/nowhere")).status, 404);
  for (const std::string& bytes :
       {format_request("CONNECT", "localhost:80"), format_request("GET", "*"), format_request("GET", "livez")}) {
    const HttpResponse response = connect().exchange(bytes);
    EXPECT_GE(response.status, 400) << bytes << response;
    EXPECT_LT(response.status, 500) << bytes << response;
    EXPECT_TRUE(is_problem(response, response.status)) << bytes;
  }
}

// All at once they are more than any set of receive buffers holds.
TEST_F(HttpContract, ManyLargeBodiesAtOnce) {
  constexpr size_t kConnections = 100;
  const int64_t before = cents();
  const std::string body = deposit_body(account(), "0.01");
  const std::string request = format_request("POST", kDeposits, money_headers(), body + std::string(60'000, ' '));
  std::vector<RawClient> clients;
  clients.reserve(kConnections);
  for (size_t i = 0; i < kConnections; ++i) clients.emplace_back(port());
  // Piece by piece to everybody, so that all of them are in the middle of it at the same time.
  for (size_t at = 0; at < request.size(); at += 20'000) {
    for (RawClient& client : clients) ASSERT_TRUE(client.send(std::string_view(request).substr(at, 20'000)));
  }
  for (RawClient& client : clients) ASSERT_TRUE(is_json(client.read_response()));
  EXPECT_EQ(cents(), before + static_cast<int64_t>(kConnections));
}

// Descriptors and buffers are used again at once: nobody may get a byte that was meant for somebody else.
TEST_F(HttpContract, ComingAndGoingMixesNothingUp) {
  std::atomic<bool> stop = false;
  std::atomic<int> checked = 0;
  std::vector<std::thread> regulars;
  regulars.reserve(3);
  for (int t = 0; t < 3; ++t) {
    regulars.emplace_back([&stop, &checked, t] {
      ApiClient client(port());
      for (int i = 0; !stop; ++i) {
        const std::string id = "regular-" + std::to_string(t) + "-" + std::to_string(i);
        const HttpResponse response = client.get("/livez", {{"X-Request-ID", id}});
        EXPECT_EQ(response.header("X-Request-ID"), id);
        ++checked;
      }
    });
  }
  // To an account of its own: nobody waits for the deposits whose clients have gone.
  const std::string requests =
      deposit_request_to(bank().open_account()) + format_request("GET", "/health") + format_request("GET", "/nowhere");
  for (size_t i = 0; i < 2'000; ++i) {
    RawClient client = connect();
    client.send(std::string_view(requests).substr(0, 1 + i * 7 % requests.size()));
    if (i % 5 == 0) client.read_response(Milliseconds(1));
    if (i % 3 != 0) client.reset();
  }
  EXPECT_TRUE(wait_until([&checked] { return checked > 1'000; }, Milliseconds(30'000)));
  stop = true;
  for (std::thread& thread : regulars) thread.join();
}

TEST_F(HttpContract, AClientThatVanishesDisturbsNobody) {
  const int64_t before = cents();
  for (int i = 0; i < 200; ++i) {
    RawClient client = connect();
    const std::string bytes = deposit_request();
    client.send(bytes.substr(0, bytes.size() - 1 - static_cast<size_t>(i) % (bytes.size() - 1)));  // never all of it
    if (i % 2 == 0) client.reset();
  }
  EXPECT_EQ(ApiClient(port()).get("/livez").status, 200);
  EXPECT_EQ(cents(), before);
}

}  // namespace
}  // namespace txn::test
