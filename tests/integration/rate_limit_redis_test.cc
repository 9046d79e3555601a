// Rate limits that replicas share through a real Redis: exact together while it is well, each by itself while it is
// away, and no request is lost over it.

#include <gmock/gmock.h>

#include <latch>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/private_redis.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kLost = "Redis is of no use";
constexpr const char* kBack = "Redis is back";

class SharedRateLimits : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    bank_ = std::make_unique<Bank>("shared_limits",
                                   Settings{{"RATE_LIMIT_ENABLED", "true"}, {"TRUSTED_PROXIES", "127.0.0.1"}});
    account_ = bank_->open_account({.balance = "1000000.00"});
  }
  static void TearDownTestSuite() { bank_.reset(); }

  static Settings settings(const Settings& changes) { return bank_->settings_with(changes); }
  static Settings sharing(const PrivateRedis& redis) { return settings({{"RATE_LIMIT_STORAGE", redis.url(1)}}); }

  static HttpResponse deposit(uint16_t port, const std::string& address) {
    return ApiClient(port, customer()).post(kDeposits, deposit_body(account_, "1.00"), {{"X-Forwarded-For", address}});
  }
  static std::string left(const HttpResponse& response) { return response.header("X-RateLimit-Remaining"); }

  static size_t times(const ServiceProcess& service, const std::string& text) {
    size_t count = 0;
    for (const std::string& line : service.log_lines()) count += line.find(text) != std::string::npos ? 1 : 0;
    return count;
  }
  static bool logs(const ServiceProcess& service, const std::string& text, size_t count = 1) {
    return wait_until([&] { return times(service, text) >= count; }, Milliseconds(20'000));
  }

 private:
  static inline std::unique_ptr<Bank> bank_;
  static inline int64_t account_ = 0;
};

TEST_F(SharedRateLimits, AreExactOverReplicas) {
  PrivateRedis redis;
  ServiceProcess first(sharing(redis));
  ServiceProcess second(sharing(redis));
  EXPECT_EQ(left(deposit(first.port(), "192.0.2.1")), "49");
  EXPECT_EQ(left(deposit(second.port(), "192.0.2.1")), "48");

  constexpr size_t kClients = 40;
  constexpr int kEach = 5;
  std::vector<std::vector<HttpResponse>> responses(kClients);
  std::latch ready(kClients);
  std::vector<std::thread> threads;
  threads.reserve(kClients);
  for (size_t i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      const uint16_t port = i % 2 == 0 ? first.port() : second.port();
      ready.arrive_and_wait();
      for (int n = 0; n < kEach; ++n) responses[i].push_back(deposit(port, "192.0.2.1"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<int> remaining;
  for (const auto& of_client : responses) {
    for (const HttpResponse& response : of_client) {
      if (response.status == 200) {
        remaining.push_back(std::stoi(left(response)));
      } else {
        EXPECT_TRUE(is_problem(response, 429, "RATE_LIMIT_EXCEEDED"));
        EXPECT_EQ(response.header("RateLimit"), "\"deposits\";r=0;t=" + response.header("Retry-After"));
      }
    }
  }
  std::ranges::sort(remaining);
  std::vector<int> expected(48);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<int>(i);
  EXPECT_EQ(remaining, expected);

  // Keys are there to be read by people, and go away by themselves.
  const std::string key = "transactions-service:limit:deposits:192.0.2.1";
  EXPECT_EQ(redis.command({"-n", "1", "EXISTS", key}), "1");
  const int64_t ttl_s = std::stoll(redis.command({"-n", "1", "TTL", key}));
  EXPECT_GT(ttl_s, 0);
  EXPECT_LE(ttl_s, 3600);
  deposit(first.port(), "2001:db8:1:2:3:4:5:6");
  EXPECT_EQ(redis.command({"-n", "1", "EXISTS", "transactions-service:limit:deposits:2001:db8:1:2::/64"}), "1");

  // Whatever else somebody has put there does not lock a client out for ever.
  EXPECT_EQ(redis.command({"-n", "1", "SET", "transactions-service:limit:deposits:192.0.2.2", "rubbish"}), "OK");
  EXPECT_EQ(redis.command({"-n", "1", "LPUSH", "transactions-service:limit:deposits:192.0.2.3", "rubbish"}), "1");
  EXPECT_EQ(left(deposit(first.port(), "192.0.2.2")), "49");
  EXPECT_EQ(left(deposit(second.port(), "192.0.2.2")), "48");
  EXPECT_EQ(left(deposit(second.port(), "192.0.2.3")), "49");
  EXPECT_EQ(times(first, kLost), 0u);
  EXPECT_EQ(first.terminate(), ExitStatus{});
  EXPECT_EQ(second.terminate(), ExitStatus{});
}

TEST_F(SharedRateLimits, AScriptThatWasFlushedIsBroughtAlong) {
  PrivateRedis redis;
  ServiceProcess service(sharing(redis));
  EXPECT_EQ(left(deposit(service.port(), "192.0.2.1")), "49");
  EXPECT_EQ(redis.command({"SCRIPT", "FLUSH"}), "OK");
  EXPECT_EQ(left(deposit(service.port(), "192.0.2.1")), "48");
  EXPECT_EQ(times(service, kLost), 0u);
}

TEST_F(SharedRateLimits, RequestsGoOnWhileRedisIsKilledAndRestarted) {
  PrivateRedis redis;
  ServiceProcess service(sharing(redis));
  for (int i = 0; i < 45; ++i) ASSERT_EQ(deposit(service.port(), "192.0.2.1").status, 200);

  std::atomic<bool> stop = false;
  std::atomic<int> served = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&, c] {
      ApiClient client(service.port(), customer());
      for (int i = 0; !stop; ++i) {
        const std::string address = "198.51." + std::to_string(c) + "." + std::to_string(i % 250);
        const HttpResponse response = client.post(kWithdrawals, "{}", {{"X-Forwarded-For", address}});
        EXPECT_TRUE(response.status == 422 || response.status == 429) << response;
        EXPECT_TRUE(response.has("RateLimit"));
        ++served;
      }
    });
  }
  const auto serve_more = [&] {
    const int so_far = served;
    return wait_until([&] { return served > so_far + 100; }, Milliseconds(20'000));
  };
  EXPECT_TRUE(serve_more());
  redis.kill9();
  EXPECT_TRUE(logs(service, kLost));
  EXPECT_TRUE(serve_more());
  redis.start();
  EXPECT_TRUE(logs(service, kBack));
  EXPECT_TRUE(serve_more());
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(times(service, kLost), 1u);
  EXPECT_EQ(times(service, kBack), 1u);

  // It came back empty; what was counted here still holds.
  int admitted = 0;
  for (int i = 0; i < 10; ++i) admitted += deposit(service.port(), "192.0.2.1").status == 200 ? 1 : 0;
  EXPECT_EQ(admitted, 5);
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(SharedRateLimits, ARedisThatStandsStillHoldsUpNobodyForLong) {
  PrivateRedis redis;
  ServiceProcess service(sharing(redis));
  EXPECT_EQ(left(deposit(service.port(), "192.0.2.1")), "49");
  redis.send_signal(SIGSTOP);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(deposit(service.port(), "192.0.2.1").status, 200);
  EXPECT_TRUE(logs(service, kLost));
  redis.send_signal(SIGCONT);
  EXPECT_TRUE(logs(service, kBack));
  EXPECT_EQ(times(service, kLost), 1u);
  EXPECT_EQ(deposit(service.port(), "192.0.2.1").status, 200);
  // Drains with a Redis that does not answer.
  redis.send_signal(SIGSTOP);
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(SharedRateLimits, AFullOrReadOnlyRedisIsOfNoUse) {
  PrivateRedis redis;
  ServiceProcess service(sharing(redis));
  EXPECT_EQ(redis.command({"CONFIG", "SET", "maxmemory", "1"}), "OK");
  EXPECT_EQ(deposit(service.port(), "192.0.2.1").status, 200);
  EXPECT_TRUE(logs(service, kLost));
  EXPECT_THAT(service.log_text(), HasSubstr("OOM"));
  EXPECT_EQ(redis.command({"CONFIG", "SET", "maxmemory", "0"}), "OK");
  EXPECT_TRUE(logs(service, kBack));

  EXPECT_EQ(redis.command({"REPLICAOF", "127.0.0.1", "1"}), "OK");
  // Either worker may be the one that finds out.
  EXPECT_EQ(deposit(service.port(), "192.0.2.1").status, 200);
  EXPECT_TRUE(logs(service, kLost, 2));
  EXPECT_THAT(service.log_text(), HasSubstr("READONLY"));
  EXPECT_EQ(redis.command({"REPLICAOF", "NO", "ONE"}), "OK");
  EXPECT_TRUE(logs(service, kBack, 2));
}

TEST_F(SharedRateLimits, AWrongPasswordIsToldAndLimitsHoldInMemory) {
  PrivateRedis redis({"--requirepass", "correct-password"});
  const Settings wrong = settings({{"RATE_LIMIT_STORAGE", redis.url(0, ":hunter2")}});
  ServiceProcess service(wrong);
  EXPECT_TRUE(logs(service, kLost));
  EXPECT_EQ(left(deposit(service.port(), "192.0.2.1")), "49");
  EXPECT_EQ(left(deposit(service.port(), "192.0.2.1")), "48");
  EXPECT_THAT(service.log_text(), HasSubstr("WRONGPASS"));
  EXPECT_THAT(service.log_text(), Not(HasSubstr("hunter2")));

  const RunResult checked_wrong = run_service({"check-config"}, wrong);
  EXPECT_TRUE(checked_wrong.ok()) << checked_wrong;
  EXPECT_THAT(checked_wrong.out, HasSubstr("warning RATE_LIMIT_STORAGE: Redis is of no use"));
  EXPECT_THAT(checked_wrong.out, HasSubstr("WRONGPASS"));
  EXPECT_THAT(checked_wrong.out, Not(HasSubstr("hunter2")));

  const Settings right = settings({{"RATE_LIMIT_STORAGE", redis.url(0, "default:correct-password")}});
  const RunResult checked_right = run_service({"check-config"}, right);
  EXPECT_TRUE(checked_right.ok()) << checked_right;
  EXPECT_THAT(checked_right.out, HasSubstr("ok      RATE_LIMIT_STORAGE: Redis is reachable"));
  ServiceProcess other(right);
  EXPECT_EQ(left(deposit(other.port(), "192.0.2.1")), "49");
  EXPECT_EQ(times(other, kLost), 0u);
}

// Bodies and headers of requests that wait for Redis are theirs until it has answered.
TEST_F(SharedRateLimits, RequestsKeepTheirBytesWhileTheyWait) {
  PrivateRedis redis;
  ServiceProcess service(sharing(redis));
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      ApiClient client(service.port(), customer());
      for (int i = 0; i < 40; ++i) {
        const std::string id = std::to_string(c) + "-" + std::to_string(i);
        const std::string description = "payment " + id + std::string(static_cast<size_t>(i) * 5, 'x');
        const HttpResponse response = client.post(
            kDeposits, deposit_body(100'001, "1.00", ",\"description\":\"" + description + "\""),
            {{"X-Forwarded-For", "203.0." + std::to_string(c) + "." + std::to_string(i)}, {"Idempotency-Key", id}});
        ASSERT_EQ(response.status, 200) << response;
        EXPECT_EQ(response.json()["description"].text(), description);
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace txn::test
