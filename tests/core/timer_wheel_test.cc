#include "core/timer_wheel.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace txn {
namespace {

constexpr int64_t kMs = 1'000'000;

class TestTimer final : public Timer {
 public:
  explicit TestTimer(std::function<void()> action) : action_(std::move(action)) {}
  void on_timer() override { action_(); }

 private:
  std::function<void()> action_;
};

TEST(TimerWheel, FiresNeverEarlyAndAtMostATickLate) {
  TimerWheel wheel(0);
  int64_t now = 0;
  int64_t fired_at = -1;
  TestTimer timer([&] { fired_at = now; });
  wheel.arm(timer, 100 * kMs);
  for (now = 0; now < 200 * kMs; now += kMs) wheel.advance(now);
  EXPECT_GE(fired_at, 100 * kMs);
  EXPECT_LE(fired_at, 100 * kMs + TimerWheel::kTickNs);
  EXPECT_FALSE(timer.is_armed());
}

TEST(TimerWheel, ADeadlineBeyondOneTurnWaitsForItsRound) {
  TimerWheel wheel(0);
  int fired = 0;
  TestTimer timer([&] { ++fired; });
  const int64_t turn = TimerWheel::kTickNs * static_cast<int64_t>(TimerWheel::kSlots);
  const int64_t deadline = 2 * turn + 50 * kMs;
  wheel.arm(timer, deadline);
  for (int64_t now = 0; now < deadline; now += 20 * kMs) wheel.advance(now);
  EXPECT_EQ(fired, 0);
  wheel.advance(deadline + TimerWheel::kTickNs);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheel, APastDeadlineFiresWithTheNextTick) {
  TimerWheel wheel(1000 * kMs);
  int fired = 0;
  TestTimer timer([&] { ++fired; });
  wheel.arm(timer, 5 * kMs);
  wheel.advance(1000 * kMs + TimerWheel::kTickNs);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheel, AJumpOverManyTurnsFiresEverythingOnce) {
  TimerWheel wheel(0);
  int fired = 0;
  std::vector<std::unique_ptr<TestTimer>> timers;
  for (int i = 0; i < 10'000; ++i) {
    timers.push_back(std::make_unique<TestTimer>([&] { ++fired; }));
    wheel.arm(*timers.back(), i * 10 * kMs);
  }
  wheel.advance(1'000'000 * kMs);
  EXPECT_EQ(fired, 10'000);
  EXPECT_EQ(wheel.until_next_ns(1'000'000 * kMs), -1);
}

TEST(TimerWheel, DisarmedAndDestroyedTimersDoNotFire) {
  TimerWheel wheel(0);
  int fired = 0;
  TestTimer disarmed([&] { ++fired; });
  auto destroyed = std::make_unique<TestTimer>([&] { ++fired; });
  wheel.arm(disarmed, 10 * kMs);
  wheel.arm(*destroyed, 10 * kMs);
  wheel.disarm(disarmed);
  destroyed.reset();
  wheel.advance(1000 * kMs);
  EXPECT_EQ(fired, 0);
  EXPECT_EQ(wheel.until_next_ns(1000 * kMs), -1);
}

TEST(TimerWheel, ACallbackMayDestroyAnotherDueTimerAndArmItself) {
  TimerWheel wheel(0);
  int fired = 0;
  auto victim = std::make_unique<TestTimer>([&] { FAIL() << "destroyed before its turn"; });
  std::unique_ptr<TestTimer> first;
  first = std::make_unique<TestTimer>([&] {
    ++fired;
    victim.reset();
    if (fired == 1) wheel.arm(*first, 500 * kMs);
  });
  wheel.arm(*first, 10 * kMs);
  wheel.arm(*victim, 10 * kMs);
  wheel.advance(100 * kMs);
  EXPECT_EQ(fired, 1);
  wheel.advance(600 * kMs);
  EXPECT_EQ(fired, 2);
}

TEST(TimerWheel, UntilNextNeverSkipsADeadline) {
  std::mt19937 random(20240501);
  TimerWheel wheel(0);
  int64_t now = 0;
  int armed = 0;
  std::vector<std::unique_ptr<TestTimer>> timers;
  for (int i = 0; i < 500; ++i) {
    const int64_t deadline = std::uniform_int_distribution<int64_t>(0, 90'000 * kMs)(random);
    timers.push_back(std::make_unique<TestTimer>([&now, &armed, deadline] {
      --armed;
      EXPECT_GE(now, deadline);
      EXPECT_LE(now, deadline + 2 * TimerWheel::kTickNs);
    }));
    wheel.arm(*timers.back(), deadline);
    ++armed;
  }
  int turns = 0;
  while (armed > 0) {
    const int64_t wait = wheel.until_next_ns(now);
    ASSERT_GE(wait, 0);
    now += std::max<int64_t>(wait, 1);
    wheel.advance(now);
    ASSERT_LT(++turns, 20'000);
  }
}

}  // namespace
}  // namespace txn
