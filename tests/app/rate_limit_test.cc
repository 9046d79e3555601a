#include "app/rate_limit.h"

#include <gtest/gtest.h>

#include <string>

namespace txn {
namespace {

Settings settings_by(RateLimitKey key) {
  Settings settings;
  settings.rate_limit_deposits = {.count = 2, .window = std::chrono::hours(1)};
  settings.rate_limit_withdrawals = {.count = 1, .window = std::chrono::hours(1)};
  settings.rate_limit_transfers = {.count = 1, .window = std::chrono::hours(1)};
  settings.rate_limit_key = key;
  return settings;
}

class RateLimiterTest : public ::testing::Test {
 protected:
  explicit RateLimiterTest(RateLimitKey key = RateLimitKey::kIp) : settings_(settings_by(key)), limits_(settings_) {}

  bool take(std::string_view address, std::optional<int64_t> subject = std::nullopt,
            LimitedRoute route = LimitedRoute::kDeposits) {
    return limiter_.take(route, limiter_.client(*IpAddress::parse(address), subject)).admitted;
  }

  const Settings settings_;
  ManualClock clock_;
  RateLimits limits_;
  RateLimiter limiter_{settings_, clock_, &limits_};
};

TEST_F(RateLimiterTest, CountsByAddressAndRoute) {
  EXPECT_TRUE(take("192.0.2.1"));
  EXPECT_TRUE(take("::ffff:192.0.2.1", 7));
  EXPECT_FALSE(take("192.0.2.1"));
  EXPECT_FALSE(take("192.0.2.1", 8));
  EXPECT_TRUE(take("192.0.2.2"));
  EXPECT_TRUE(take("192.0.2.1", std::nullopt, LimitedRoute::kTransfers));
  EXPECT_FALSE(take("192.0.2.1", std::nullopt, LimitedRoute::kTransfers));
  EXPECT_TRUE(take("2001:db8::1"));
  EXPECT_TRUE(take("2001:db8::ffff:1"));
  EXPECT_FALSE(take("2001:db8:0:0:1:2:3:4"));
  EXPECT_TRUE(take("2001:db8:0:1::1"));
  EXPECT_EQ(limiter_.counters().admitted, 7u);
  EXPECT_EQ(limiter_.counters().refused, 4u);
  clock_.advance_ns(3600 * kNanosPerSecond);
  EXPECT_TRUE(take("192.0.2.1"));
}

class RateLimiterBySubject : public RateLimiterTest {
 protected:
  RateLimiterBySubject() : RateLimiterTest(RateLimitKey::kSubject) {}
};

TEST_F(RateLimiterBySubject, CountsSubjectsWhereverTheyAre) {
  EXPECT_TRUE(take("192.0.2.1", 7));
  EXPECT_TRUE(take("192.0.2.2", 7));
  EXPECT_FALSE(take("192.0.2.3", 7));
  EXPECT_TRUE(take("192.0.2.1", 8));
  EXPECT_TRUE(take("192.0.2.1", 0));  // a subject like any other
  // Without one, by address, and apart from those with.
  EXPECT_TRUE(take("192.0.2.1"));
  EXPECT_TRUE(take("192.0.2.1"));
  EXPECT_FALSE(take("192.0.2.1"));
  EXPECT_TRUE(take("192.0.2.1", 8));
}

class RateLimiterByBoth : public RateLimiterTest {
 protected:
  RateLimiterByBoth() : RateLimiterTest(RateLimitKey::kIpAndSubject) {}
};

TEST_F(RateLimiterByBoth, CountsEachSubjectAtEachAddress) {
  EXPECT_TRUE(take("192.0.2.1", 7));
  EXPECT_TRUE(take("192.0.2.1", 7));
  EXPECT_FALSE(take("192.0.2.1", 7));
  EXPECT_TRUE(take("192.0.2.2", 7));
  EXPECT_TRUE(take("192.0.2.1", 8));
}

TEST(RateLimitFields, SayWhatIsLeft) {
  const RateLimitPolicy policy{.count = 50, .window = std::chrono::hours(1)};
  const RateLimitFields fields(LimitedRoute::kDeposits, policy,
                               {.admitted = true, .remaining = 49, .reset_ms = 3'599'001}, 1'700'000'000'999'999);
  EXPECT_EQ(fields.lines(),
            "RateLimit-Policy: \"deposits\";q=50;w=3600\r\n"
            "RateLimit: \"deposits\";r=49;t=3600\r\n"
            "X-RateLimit-Limit: 50\r\n"
            "X-RateLimit-Remaining: 49\r\n"
            "X-RateLimit-Reset: 1700003600\r\n");
  EXPECT_EQ(fields.retry_after(), "3600");
}

TEST(RateLimitFields, FitWhateverTheSettingsAllow) {
  const RateLimitPolicy policy{.count = 1'000'000, .window = std::chrono::hours(24)};
  const RateLimitFields fields(LimitedRoute::kWithdrawals, policy,
                               {.admitted = true, .remaining = 1'000'000, .reset_ms = 86'400'000}, INT64_MAX);
  EXPECT_TRUE(fields.lines().ends_with("\r\n"));
  EXPECT_EQ(RateLimitFields(LimitedRoute::kTransfers, policy, {.admitted = false}, 0).retry_after(), "1");
}

}  // namespace
}  // namespace txn
