#include "app/rate_limit_table.h"

#include <gtest/gtest.h>

#include <deque>
#include <fstream>
#include <latch>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace txn {
namespace {

using std::chrono::seconds;

constexpr int64_t kSecondMs = 1000;
constexpr int64_t kHourMs = 3600 * kSecondMs;
constexpr int64_t kStartMs = 123'456'789;
constexpr RateLimitPolicy kFiftyAnHour{.count = 50, .window = seconds(3600)};

// A hash that lands in `bucket` of any table.
uint64_t client(uint64_t number, uint64_t bucket = 0) { return (number + 1) << 32 | bucket; }

TEST(RateLimitTable, AdmitsAsManyAsThePolicySays) {
  RateLimitTable table(kFiftyAnHour);
  for (int64_t i = 1; i <= 50; ++i) {
    const RateLimitDecision decision = table.take(client(1), kStartMs + i);
    EXPECT_TRUE(decision.admitted);
    EXPECT_EQ(decision.remaining, 50 - i);
    EXPECT_GT(decision.reset_ms, 0);
    EXPECT_LE(decision.reset_ms, kHourMs);
  }
  const RateLimitDecision refused = table.take(client(1), kStartMs + 51);
  EXPECT_FALSE(refused.admitted);
  EXPECT_EQ(refused.remaining, 0);
  EXPECT_EQ(refused.reset_ms, kHourMs - 1);  // the burst counts as of its last request
  EXPECT_TRUE(table.take(client(2), kStartMs + 51).admitted);
}

TEST(RateLimitTable, RefusalsDoNotCount) {
  RateLimitTable table(kFiftyAnHour);
  for (int i = 0; i < 1000; ++i) table.take(client(1), kStartMs + i);
  EXPECT_FALSE(table.take(client(1), kStartMs + 49 + kHourMs - 1).admitted);
  EXPECT_TRUE(table.take(client(1), kStartMs + 49 + kHourMs).admitted);
}

TEST(RateLimitTable, TheWindowHasNoEdgeToStraddle) {
  RateLimitTable table(kFiftyAnHour);
  EXPECT_TRUE(table.take(client(1), kStartMs).admitted);
  // A window that began with the first request would end here and take fifty more at once.
  const int64_t late = kStartMs + kHourMs - 1;
  for (int i = 0; i < 49; ++i) EXPECT_TRUE(table.take(client(1), late).admitted);
  EXPECT_FALSE(table.take(client(1), late).admitted);
  EXPECT_TRUE(table.take(client(1), kStartMs + kHourMs).admitted);  // the first has left
  EXPECT_FALSE(table.take(client(1), kStartMs + kHourMs).admitted);
}

TEST(RateLimitTable, WhatItPromisesComesTrue) {
  std::mt19937_64 random(3);
  for (const RateLimitPolicy policy :
       {RateLimitPolicy{1, seconds(1)}, {3, seconds(60)}, {50, seconds(3600)}, {1000, seconds(86400)}}) {
    RateLimitTable table(policy);
    const int64_t window_ms = policy.window.count() * kSecondMs;
    int64_t now = kStartMs;
    for (int i = 0; i < 5000; ++i) {
      now += static_cast<int64_t>(random() % static_cast<uint64_t>(2 * window_ms / policy.count));
      const RateLimitDecision decision = table.take(client(1), now);
      if (decision.admitted) continue;
      ASSERT_GT(decision.reset_ms, 0);
      ASSERT_LE(decision.reset_ms, window_ms);
      EXPECT_FALSE(table.peek(client(1), now + decision.reset_ms - 1).admitted);
      now += decision.reset_ms;
      EXPECT_TRUE(table.take(client(1), now).admitted);
    }
  }
}

// Against a list of every request that was admitted.
TEST(RateLimitTable, HoldsToAModelThatForgetsNothing) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    std::mt19937_64 random(seed);
    const RateLimitPolicy policy{.count = 1 + static_cast<int64_t>(random() % 60),
                                 .window = seconds(1 + random() % 7200)};
    const int64_t window_ms = policy.window.count() * kSecondMs;
    RateLimitTable table(policy);
    std::map<uint64_t, std::deque<int64_t>> admitted;
    int64_t now = kStartMs;
    for (int step = 0; step < 5000; ++step) {
      if (random() % 8 == 0) now += static_cast<int64_t>(random() % static_cast<uint64_t>(window_ms / 4));
      if (random() % 2 == 0) now += static_cast<int64_t>(random() % 50);
      const uint64_t who = client(random() % 5);
      std::deque<int64_t>& log = admitted[who];
      const auto made_since = [&](int64_t age_ms) {
        return std::count_if(log.begin(), log.end(), [&](int64_t at) { return at + age_ms > now; });
      };
      const RateLimitDecision decision = table.take(who, now);
      if (decision.admitted) {
        log.push_back(now);
        ASSERT_LE(made_since(window_ms), policy.count) << "seed " << seed << ", step " << step;
        ASSERT_LE(decision.remaining, policy.count - made_since(window_ms));
      } else {
        ASSERT_GE(made_since(window_ms + window_ms / SlidingWindow::kSegmentsPerWindow), policy.count)
            << "seed " << seed << ", step " << step;
      }
    }
  }
}

TEST(RateLimitTable, AClockThatIsSetBackFreesNobodyAndLocksNobodyOut) {
  RateLimitTable table(kFiftyAnHour);
  int64_t now = kStartMs + 10 * kHourMs;
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(table.take(client(1), now + i * 60 * kSecondMs).admitted);
  now = kStartMs;
  for (int i = 0; i < 60; ++i) EXPECT_FALSE(table.take(client(1), now + i * 60 * kSecondMs - i).admitted);
  EXPECT_TRUE(table.take(client(1), now + kHourMs).admitted);
}

TEST(RateLimitTable, ClocksOfWorkersMayDifferALittle) {
  RateLimitTable table({.count = 2, .window = seconds(1)});
  EXPECT_TRUE(table.take(client(1), kStartMs).admitted);
  EXPECT_TRUE(table.take(client(1), kStartMs - 5).admitted);
  EXPECT_FALSE(table.take(client(1), kStartMs + 999).admitted);
  EXPECT_FALSE(table.take(client(1), kStartMs + 994).admitted);
  EXPECT_TRUE(table.take(client(1), kStartMs + 1000).admitted);
}

TEST(RateLimitTable, PeekingCountsNothingAndRecordingAsksNothing) {
  RateLimitTable table({.count = 2, .window = seconds(60)});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(table.peek(client(1), kStartMs).remaining, 2);
  EXPECT_TRUE(table.take(client(1), kStartMs).admitted);
  EXPECT_EQ(table.peek(client(1), kStartMs).remaining, 1);
  for (int i = 0; i < 5; ++i) table.record(client(1), kStartMs);
  EXPECT_FALSE(table.peek(client(1), kStartMs).admitted);
  EXPECT_EQ(table.peek(client(1), kStartMs).remaining, 0);
}

TEST(RateLimitTable, LargestPolicyIsExact) {
  RateLimitTable table({.count = 1'000'000, .window = seconds(86400)});
  int64_t admitted = 0;
  for (int64_t i = 0; i < 1'000'100; ++i) admitted += table.take(client(1), kStartMs + i).admitted ? 1 : 0;
  EXPECT_EQ(admitted, 1'000'000);
  for (int64_t i = 0; i < 100'000; ++i) table.record(client(1), kStartMs);  // saturates, does not wrap
  EXPECT_FALSE(table.take(client(1), kStartMs).admitted);
}

TEST(RateLimitTable, AFullBucketForgetsWhoDidLeast) {
  RateLimitTable table(kFiftyAnHour, 1);
  for (int i = 0; i < 50; ++i) table.take(client(1000), kStartMs);
  for (uint64_t i = 0; i < RateLimitTable::kWays - 1; ++i) table.take(client(i), kStartMs + static_cast<int64_t>(i));
  EXPECT_FALSE(table.take(client(0), kStartMs + 100).evicted);
  EXPECT_TRUE(table.take(client(500), kStartMs + 200).evicted);
  EXPECT_EQ(table.peek(client(0), kStartMs + 200).remaining, 48);  // two requests: more than the others
  EXPECT_EQ(table.peek(client(1), kStartMs + 200).remaining, 50);  // one, and the longest ago
  EXPECT_EQ(table.peek(client(2), kStartMs + 200).remaining, 49);
  // Whoever comes, a client at its limit stays there.
  for (uint64_t i = 0; i < 100'000; ++i) table.take(client(2000 + i), kStartMs + 300);
  EXPECT_FALSE(table.take(client(1000), kStartMs + 300).admitted);
  EXPECT_EQ(table.peek(client(0), kStartMs + 300).remaining, 48);
}

TEST(RateLimitTable, PlacesOfClientsThatNoLongerCountAreTakenFirst) {
  RateLimitTable table(kFiftyAnHour, 1);
  for (uint64_t i = 0; i < RateLimitTable::kWays; ++i) table.take(client(i), kStartMs + static_cast<int64_t>(i) * 1000);
  EXPECT_FALSE(table.take(client(100), kStartMs + kHourMs).evicted);
  EXPECT_EQ(table.peek(client(1), kStartMs + kHourMs).remaining, 49);
}

int64_t resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  return -1;
}

TEST(RateLimitTable, MillionsOfAddressesTakeNoMoreMemory) {
  RateLimitTable table(kFiftyAnHour);
  std::mt19937_64 random(11);
  for (int i = 0; i < 50; ++i) table.take(client(1), kStartMs);
  int evictions = 0;
  const auto flood = [&] {
    for (int i = 0; i < 1'000'000; ++i) evictions += table.take(random() | 1, kStartMs + i / 1000).evicted ? 1 : 0;
  };
  flood();
  const int64_t after_first = resident_kib();
  flood();
  EXPECT_LE(resident_kib() - after_first, 1024);
  EXPECT_GT(evictions, 1'500'000);
  EXPECT_FALSE(table.take(client(1), kStartMs + 1500).admitted);
}

TEST(RateLimitTable, ThreadsTogetherGetExactlyTheLimit) {
  constexpr int kThreads = 8;
  constexpr uint64_t kClients = 40;
  RateLimitTable table(kFiftyAnHour, 4);
  std::vector<std::array<int, kClients>> admitted(kThreads);
  std::latch ready(kThreads);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      admitted[t].fill(0);
      ready.arrive_and_wait();
      for (int round = 0; round < 100; ++round)
        for (uint64_t c = 0; c < kClients; ++c)
          admitted[t][c] += table.take(client(c, c), kStartMs + round % 3).admitted ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint64_t c = 0; c < kClients; ++c) {
    int sum = 0;
    for (const auto& counts : admitted) sum += counts[c];
    EXPECT_EQ(sum, 50) << "client " << c;
  }
}

}  // namespace
}  // namespace txn
