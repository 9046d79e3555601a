// Rate limits (contract sections 1 and 2) from outside: exact over workers and connections, counted before tokens are
// looked at, by the address that can be believed, and told in the header fields of every answer.

#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

// Every test has addresses of its own: the services believe what their only peer, this machine, says.
class RateLimits : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    bank_ = std::make_unique<Bank>(
        "rate_limits", Settings{{"RATE_LIMIT_ENABLED", "true"}, {"TRUSTED_PROXIES", "127.0.0.1/32, 10.0.0.0/8"}});
    account_ = bank_->open_account({.balance = "1000000.00"});
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(bank_->service().terminate(), ExitStatus{});
    bank_.reset();
  }

  static Bank& bank() { return *bank_; }
  static uint16_t port() { return bank_->service().port(); }
  static int64_t account() { return account_; }
  static std::string deposit() { return deposit_body(account_, "1.00"); }
  static Headers from(const std::string& address) { return {{"X-Forwarded-For", address}}; }

 private:
  static inline std::unique_ptr<Bank> bank_;
  static inline int64_t account_ = 0;
};

int64_t number(const HttpResponse& response, std::string_view name) {
  const std::string text = response.header(name);
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::stoll(text);
}

// Whether `response` says that `remaining` of `limit` are left, each field once and all of them agreeing.
::testing::AssertionResult tells(const HttpResponse& response, const std::string& policy, int64_t limit,
                                 int64_t remaining, int64_t window = 3600) {
  const auto no = [&](const std::string& what) { return ::testing::AssertionFailure() << what << " in " << response; };
  for (const char* name :
       {"RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}) {
    if (response.count(name) != 1) return no(std::string(name) + " is not there once");
  }
  const std::string quoted = "\"" + policy + "\"";
  if (response.header("RateLimit-Policy") != quoted + ";q=" + std::to_string(limit) + ";w=" + std::to_string(window))
    return no("another policy");
  const std::string state = quoted + ";r=" + std::to_string(remaining) + ";t=";
  const std::string field = response.header("RateLimit");
  if (!field.starts_with(state)) return no("not " + state);
  const int64_t reset = std::stoll(field.substr(state.size()));
  if (reset < 1 || reset > window) return no("t is not within the window");
  if (number(response, "X-RateLimit-Limit") != limit) return no("another X-RateLimit-Limit");
  if (number(response, "X-RateLimit-Remaining") != remaining) return no("another X-RateLimit-Remaining");
  const int64_t left = number(response, "X-RateLimit-Reset") - unix_now();
  if (left < reset - 30 || left > reset + 1) return no("X-RateLimit-Reset is not where t is");
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult is_refused(const HttpResponse& response, const std::string& policy, int64_t limit,
                                      int64_t window = 3600) {
  if (auto problem = is_problem(response, 429, "RATE_LIMIT_EXCEEDED"); !problem) return problem;
  if (response.json()["detail"].text() != "Rate limit exceeded")
    return ::testing::AssertionFailure() << "another detail in " << response;
  if (response.header("RateLimit") != "\"" + policy + "\";r=0;t=" + response.header("Retry-After"))
    return ::testing::AssertionFailure() << "Retry-After and RateLimit differ in " << response;
  return tells(response, policy, limit, 0, window);
}

TEST_F(RateLimits, TheFiftyFirstDepositOfTheHourIsRefused) {
  ApiClient client(port(), customer());
  for (int64_t left = 49; left >= 0; --left) {
    const HttpResponse response = client.post(kDeposits, deposit(), from("192.0.2.1"));
    ASSERT_EQ(response.status, 200) << response;
    ASSERT_TRUE(tells(response, "deposits", 50, left));
  }
  const std::string before = bank().balance(account());
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(is_refused(client.post(kDeposits, deposit(), from("192.0.2.1")), "deposits", 50));
  EXPECT_EQ(bank().balance(account()), before);

  // Another route and another address have counts of their own.
  const HttpResponse withdrawal = client.post(kWithdrawals, deposit(), from("192.0.2.1"));
  EXPECT_EQ(withdrawal.status, 200);
  EXPECT_TRUE(tells(withdrawal, "withdrawals", 30, 29));
  EXPECT_EQ(client.post(kDeposits, deposit(), from("192.0.2.2")).status, 200);
  const HttpResponse transfer = client.post(kTransfers, transfer_body(account(), account(), "1.00"), from("192.0.2.1"));
  EXPECT_TRUE(is_problem(transfer, 400, "SAME_ACCOUNT_TRANSFER"));
  EXPECT_TRUE(tells(transfer, "transfers", 20, 19));
}

TEST_F(RateLimits, EveryAnswerOfALimitedRouteCountsAndSaysSo) {
  ApiClient client(port(), customer());
  ApiClient stranger(port());
  const Headers at = from("192.0.2.10");
  const auto with = [&](const std::string& name, const std::string& value) {
    Headers headers = at;
    headers.emplace_back(name, value);
    return headers;
  };
  int64_t left = 50;
  const auto counts = [&](const HttpResponse& response, int status) {
    EXPECT_EQ(response.status, status) << response;
    EXPECT_TRUE(tells(response, "deposits", 50, --left));
  };
  counts(stranger.post(kDeposits, deposit(), at), 403);
  counts(ApiClient(port(), "no.such.token").post(kDeposits, deposit(), at), 401);
  counts(ApiClient(port(), make_token(1, "CUSTOMER", -3600)).post(kDeposits, deposit(), at), 401);
  counts(ApiClient(port(), admin()).post(kDeposits, deposit(), at), 403);
  counts(client.post(kDeposits, "{", at), 400);
  counts(client.post(kDeposits, "{}", at), 422);
  counts(client.post(kDeposits, deposit_body(account(), "0"), at), 400);
  counts(client.post(kDeposits, deposit_body(999'999'999, "1.00"), at), 404);
  counts(client.post(kDeposits, deposit(), with("Idempotency-Key", std::string(300, 'k'))), 422);
  Headers text = at;
  text.emplace_back("Authorization", "Bearer " + customer());
  text.emplace_back("Content-Type", "text/plain");
  counts(ApiClient(port()).request("POST", kDeposits, text, deposit()), 415);

  // A replay is a request like any other.
  counts(client.post(kDeposits, deposit(), with("Idempotency-Key", "limits-1")), 200);
  const HttpResponse replay = client.post(kDeposits, deposit(), with("Idempotency-Key", "limits-1"));
  EXPECT_EQ(replay.header("Idempotency-Replayed"), "true");
  counts(replay, 200);
}

TEST_F(RateLimits, WhatReachesNoHandlerDoesNotCount) {
  ApiClient client(port(), customer());
  const Headers at = from("192.0.2.20");
  for (const HttpResponse& response : {
           client.get(kDeposits, at),
           client.request("OPTIONS", kDeposits, at),
           client.request("PUT", kDeposits, at, "{}"),
           client.post("/api/v1/deposits/", deposit(), at),
           client.get("/transaction-logs/" + std::to_string(account()), at),
           client.get("/health", at),
       }) {
    EXPECT_FALSE(response.has("RateLimit")) << response;
    EXPECT_FALSE(response.has("X-RateLimit-Limit")) << response;
  }
  EXPECT_TRUE(tells(client.post(kDeposits, deposit(), at), "deposits", 50, 49));
}

TEST_F(RateLimits, GuessingTokensIsLimitedToo) {
  const Headers at = from("192.0.2.30");
  for (int i = 0; i < 20; ++i) {
    const std::string guess = make_token(1, "CUSTOMER", 3600, "a-key-of-more-than-32-bytes-that-is-not-theirs");
    ASSERT_EQ(ApiClient(port(), guess).post(kTransfers, "{}", at).status, 401);
  }
  // Nor does the right one help now.
  const HttpResponse response =
      ApiClient(port(), customer()).post(kTransfers, transfer_body(account(), account() + 1, "1.00"), at);
  EXPECT_TRUE(is_refused(response, "transfers", 20));
}

// Answered before their bodies come, and counted all the same.
TEST_F(RateLimits, GuessingTokensWithoutBodiesIsLimitedToo) {
  Headers headers = from("192.0.2.31");
  headers.emplace_back("Authorization", "Bearer x.y.z");
  headers.emplace_back("Content-Type", "application/json");
  headers.emplace_back("Expect", "100-continue");
  headers.emplace_back("Content-Length", "2");
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(RawClient(port()).exchange(format_request("POST", kTransfers, headers)).status, 401) << i;
  EXPECT_TRUE(is_refused(RawClient(port()).exchange(format_request("POST", kTransfers, headers)), "transfers", 20));
}

TEST_F(RateLimits, AreExactOverConnectionsAndWorkers) {
  constexpr size_t kClients = 40;
  constexpr int kEach = 5;
  std::vector<std::vector<HttpResponse>> responses(kClients);
  std::latch ready(kClients);
  std::vector<std::thread> threads;
  threads.reserve(kClients);
  for (size_t i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      ApiClient client(port(), customer());
      client.get("/livez");  // connected before it counts
      ready.arrive_and_wait();
      for (int n = 0; n < kEach; ++n) responses[i].push_back(client.post(kDeposits, deposit(), from("192.0.2.40")));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<int64_t> left;
  int refused = 0;
  for (const auto& of_client : responses) {
    for (const HttpResponse& response : of_client) {
      if (response.status == 200) {
        left.push_back(number(response, "X-RateLimit-Remaining"));
      } else {
        EXPECT_TRUE(is_refused(response, "deposits", 50));
        ++refused;
      }
    }
  }
  std::ranges::sort(left);
  std::vector<int64_t> expected(50);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<int64_t>(i);
  EXPECT_EQ(left, expected);
  EXPECT_EQ(refused, 150);
}

TEST_F(RateLimits, ClientsBehindTrustedProxiesAreToldApart) {
  ApiClient client(port(), customer());
  const auto left_for = [&](const std::string& name, const std::string& value) {
    return number(client.post(kWithdrawals, deposit(), {{name, value}}), "X-RateLimit-Remaining");
  };
  EXPECT_EQ(left_for("X-Forwarded-For", "198.51.100.1"), 29);
  EXPECT_EQ(left_for("X-Forwarded-For", "203.0.113.99, 198.51.100.1"), 28);  // made up ahead of what the proxy added
  EXPECT_EQ(left_for("X-Forwarded-For", "198.51.100.1, 10.1.1.1"), 27);
  EXPECT_EQ(left_for("Forwarded", "for=198.51.100.1;proto=https"), 26);
  EXPECT_EQ(left_for("X-Forwarded-For", "::ffff:198.51.100.1"), 25);
  EXPECT_EQ(left_for("X-Forwarded-For", "2001:db8::1"), 29);
  EXPECT_EQ(left_for("Forwarded", "for=\"[2001:db8::2:3]:80\""), 28);  // the same /64
  EXPECT_EQ(left_for("X-Forwarded-For", "2001:db8:0:1::1"), 29);
  // What nobody can read counts for the proxy.
  EXPECT_EQ(left_for("X-Forwarded-For", "garbage"), 29);
  EXPECT_EQ(left_for("X-Forwarded-For", "\"; DROP TABLE"), 28);
  EXPECT_EQ(left_for("Forwarded", "for=\"198.51.100.1"), 27);
  EXPECT_EQ(left_for("X-Forwarded-For", std::string(12'000, ',')), 26);
}

TEST_F(RateLimits, HeadersOfPeersThatAreNotTrustedSayNothing) {
  ServiceProcess service(bank().settings_with({{"TRUSTED_PROXIES", ""}, {"RATE_LIMIT_TRANSFERS", "3/minute"}}));
  ApiClient client(service.port(), customer());
  const auto transfer = [&](int i) {
    return client.post(
        kTransfers, "{}",
        {{"X-Forwarded-For", "203.0.113." + std::to_string(i)}, {"Forwarded", "for=203.0.113." + std::to_string(i)}});
  };
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(tells(transfer(i), "transfers", 3, 2 - i, 60));
  for (int i = 3; i < 6; ++i) EXPECT_TRUE(is_refused(transfer(i), "transfers", 3, 60));
}

TEST_F(RateLimits, WhoWaitsAsToldIsServedAgain) {
  ServiceProcess service(bank().settings_with({{"RATE_LIMIT_DEPOSITS", "2/second"}}));
  ApiClient client(service.port(), customer());
  const Headers at = from("192.0.2.50");
  HttpResponse refused;
  // On a slow machine the third may already find a place.
  ASSERT_TRUE(wait_until(
      [&] {
        refused = client.post(kDeposits, deposit(), at);
        return refused.status == 429;
      },
      Milliseconds(10'000)));
  EXPECT_EQ(refused.header("Retry-After"), "1");
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_EQ(client.post(kDeposits, deposit(), at).status, 200);
}

TEST_F(RateLimits, BySubjectTheAddressCountsUntilTheTokenIsKnown) {
  ServiceProcess service(bank().settings_with({{"RATE_LIMIT_KEY", "subject"}, {"RATE_LIMIT_WITHDRAWALS", "3/hour"}}));
  ApiClient first(service.port(), customer(1));
  ApiClient second(service.port(), customer(2));
  ApiClient stranger(service.port(), "no.such.token");
  const auto left_for = [&](ApiClient& client, const std::string& address) {
    return number(client.post(kWithdrawals, "{}", from(address)), "X-RateLimit-Remaining");
  };
  EXPECT_EQ(left_for(first, "192.0.2.60"), 2);
  EXPECT_EQ(left_for(first, "192.0.2.61"), 1);
  EXPECT_EQ(left_for(second, "192.0.2.60"), 2);
  EXPECT_EQ(left_for(first, "192.0.2.62"), 0);
  EXPECT_TRUE(is_refused(first.post(kWithdrawals, "{}", from("192.0.2.63")), "withdrawals", 3));
  // Roles are looked at once it is known who asks.
  ApiClient administrator(service.port(), admin());
  EXPECT_TRUE(is_problem(administrator.post(kWithdrawals, "{}", from("192.0.2.60")), 403, "FORBIDDEN"));
  for (int64_t left = 2; left >= 0; --left) {
    const HttpResponse response = stranger.post(kWithdrawals, "{}", from("192.0.2.60"));
    EXPECT_EQ(response.status, 401);
    EXPECT_TRUE(tells(response, "withdrawals", 3, left));
  }
  // After so many guesses the next token is not even looked at.
  EXPECT_TRUE(is_refused(stranger.post(kWithdrawals, "{}", from("192.0.2.60")), "withdrawals", 3));
  EXPECT_TRUE(is_refused(second.post(kWithdrawals, "{}", from("192.0.2.60")), "withdrawals", 3));
  EXPECT_EQ(left_for(second, "192.0.2.64"), 1);
}

TEST_F(RateLimits, AreToldWithWhatTheServiceCannotDoToo) {
  ServiceProcess service(bank().settings_with({{"DATABASE_URL", "host=/nonexistent"}}),
                         ServiceProcess::Options{.wait_for_readiness = false});
  const HttpResponse response = ApiClient(service.port(), customer()).post(kDeposits, deposit(), from("192.0.2.70"));
  EXPECT_TRUE(is_problem(response, 503, "SERVICE_UNAVAILABLE"));
  EXPECT_TRUE(tells(response, "deposits", 50, 49));
}

TEST_F(RateLimits, CanBeSwitchedOff) {
  ServiceProcess service(bank().settings_with({{"RATE_LIMIT_ENABLED", "false"}, {"RATE_LIMIT_DEPOSITS", "1/day"}}));
  ApiClient client(service.port(), customer());
  for (int i = 0; i < 3; ++i) {
    const HttpResponse response = client.post(kDeposits, deposit());
    EXPECT_EQ(response.status, 200);
    EXPECT_FALSE(response.has("RateLimit"));
    EXPECT_FALSE(response.has("RateLimit-Policy"));
  }
}

}  // namespace
}  // namespace txn::test
