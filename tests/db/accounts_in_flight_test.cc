#include "db/accounts_in_flight.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace txn {
namespace {

class CountingWaiter final : public AccountsInFlight::Waiter {
 public:
  void on_batch_ended() override { ++count; }
  std::atomic<int> count = 0;
};

const AccountsInFlight::Slot kOne = AccountsInFlight::slot_of(1);
const AccountsInFlight::Slot kTwo = AccountsInFlight::slot_of(2);

TEST(AccountsInFlightTest, AnAccountIsThereAsLongAsAnyBatchIsAboutIt) {
  AccountsInFlight accounts;
  EXPECT_FALSE(accounts.contains(kOne));
  const std::vector<AccountsInFlight::Slot> first{kOne, kTwo, kOne};
  const std::vector<AccountsInFlight::Slot> second{kOne};
  accounts.enter(first);
  accounts.enter(second);
  accounts.leave(first);
  EXPECT_TRUE(accounts.contains(kOne));
  EXPECT_FALSE(accounts.contains(kTwo));
  accounts.leave(second);
  EXPECT_FALSE(accounts.contains(kOne));
}

TEST(AccountsInFlightTest, NeighbouringAccountsAreToldApart) {
  AccountsInFlight accounts;
  std::vector<AccountsInFlight::Slot> even;
  for (int64_t number = 1'000'000; number < 1'001'000; number += 2) even.push_back(AccountsInFlight::slot_of(number));
  accounts.enter(even);
  int mistaken = 0;
  for (int64_t number = 1'000'001; number < 1'001'000; number += 2)
    mistaken += accounts.contains(AccountsInFlight::slot_of(number)) ? 1 : 0;
  EXPECT_LT(mistaken, 50);
}

TEST(AccountsInFlightTest, WhoWaitsIsToldOnceOfTheNextEndOnly) {
  AccountsInFlight accounts;
  CountingWaiter waiter;
  CountingWaiter gone;
  const std::vector<AccountsInFlight::Slot> slots{kOne};
  accounts.enter(slots);
  accounts.wait(waiter);
  accounts.wait(gone);
  accounts.stop_waiting(gone);
  accounts.stop_waiting(gone);
  EXPECT_EQ(waiter.count, 0);
  accounts.leave(slots);
  accounts.enter(slots);
  accounts.leave(slots);
  EXPECT_EQ(waiter.count, 1);
  EXPECT_EQ(gone.count, 0);
}

// Who waits and then still sees the account is told of its end, however the two threads interleave.
TEST(AccountsInFlightTest, NoEndIsMissed) {
  class Sleeper final : public AccountsInFlight::Waiter {
   public:
    void on_batch_ended() override {
      {
        const std::lock_guard lock(mutex_);
        told_ = true;
      }
      wake_.notify_one();
    }
    void sleep() {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return told_; });
      told_ = false;
    }

   private:
    std::mutex mutex_;
    std::condition_variable wake_;
    bool told_ = false;
  };

  constexpr int kBatches = 20'000;
  AccountsInFlight accounts;
  std::atomic<bool> has_begun = false;
  std::atomic<bool> has_ended = false;
  const std::vector<AccountsInFlight::Slot> slots{kOne};
  std::thread lane([&] {
    while (!has_begun) std::this_thread::yield();
    for (int i = 0; i < kBatches; ++i) {
      accounts.enter(slots);
      accounts.leave(slots);
    }
    has_ended = true;
  });
  Sleeper sleeper;
  int waits = 0;
  while (!has_ended) {
    accounts.wait(sleeper);
    has_begun = true;
    ++waits;
    if (accounts.contains(kOne)) {
      sleeper.sleep();
    } else {
      accounts.stop_waiting(sleeper);
      // It may have been told in between; the next wait must not end by that.
      accounts.wait(sleeper);
      accounts.enter(slots);
      accounts.leave(slots);
      sleeper.sleep();
    }
  }
  lane.join();
  EXPECT_GT(waits, 0);
}

}  // namespace
}  // namespace txn
