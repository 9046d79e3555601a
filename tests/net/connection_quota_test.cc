#include "net/connection_quota.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace txn {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

TEST(ConnectionQuota, CountsAnAddressUpToTheLimit) {
  ConnectionQuota quota(2, {});
  EXPECT_TRUE(quota.try_take(ip("192.0.2.1")));
  EXPECT_TRUE(quota.try_take(ip("192.0.2.1")));
  EXPECT_FALSE(quota.try_take(ip("192.0.2.1")));
  EXPECT_TRUE(quota.try_take(ip("192.0.2.2"))) << "somebody else";
  quota.give_back(ip("192.0.2.1"));
  EXPECT_TRUE(quota.try_take(ip("192.0.2.1")));
  EXPECT_EQ(quota.count(ip("192.0.2.1")), 2u);
  for (int i = 0; i < 2; ++i) quota.give_back(ip("192.0.2.1"));
  EXPECT_EQ(quota.count(ip("192.0.2.1")), 0u);
}

TEST(ConnectionQuota, AnIpv6HostIsItsNetwork) {
  ConnectionQuota quota(2, {});
  EXPECT_TRUE(quota.try_take(ip("2001:db8:1:2::1")));
  EXPECT_TRUE(quota.try_take(ip("2001:db8:1:2:ffff::1")));
  EXPECT_FALSE(quota.try_take(ip("2001:db8:1:2::3")));
  EXPECT_TRUE(quota.try_take(ip("2001:db8:1:3::1")));
}

TEST(ConnectionQuota, ExemptNetworksAndNoLimit) {
  ConnectionQuota quota(1, {*parse_cidr("10.0.0.0/8")});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(quota.try_take(ip("10.1.2.3")));
  for (int i = 0; i < 5; ++i) quota.give_back(ip("10.1.2.3"));
  EXPECT_TRUE(quota.try_take(ip("11.0.0.1")));
  EXPECT_FALSE(quota.try_take(ip("11.0.0.1")));
  ConnectionQuota none(0, {});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(none.try_take(ip("192.0.2.1")));
}

TEST(ConnectionQuota, IsExactOverThreads) {
  constexpr size_t kLimit = 100;
  ConnectionQuota quota(kLimit, {});
  std::atomic<size_t> taken{0}, refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) ++(quota.try_take(ip("192.0.2.1")) ? taken : refused);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, kLimit);
  EXPECT_EQ(refused, 4000 - kLimit);
  EXPECT_EQ(quota.count(ip("192.0.2.1")), kLimit);
}

}  // namespace
}  // namespace txn
