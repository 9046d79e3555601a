// Which accounts the batches in flight of this process are about.
//
// The database's row locks decide who may write an account; this only saves waiting for them with a batch that could
// have been fuller. When most of what a lane would take up is about accounts that another lane is writing, it lets that
// batch end first and takes everything that has arrived by then: with all clients on one account the lanes take turns
// with full batches instead of queueing for the lock with half-full ones.
//
// Approximate on purpose: accounts share counters by hash, so it may say yes for an account nobody is about.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace txn {

// One for all workers of a process; any thread.
class AccountsInFlight {
 public:
  using Slot = uint16_t;
  static Slot slot_of(int64_t account_number) {
    // Fibonacci hashing (Knuth, TAOCP 3, 6.4): the top bits of a product depend on all bits of the number.
    return static_cast<Slot>(static_cast<uint64_t>(account_number) * 0x9E3779B97F4A7C15U >> (64 - kSlotBits));
  }

  class Waiter {
   public:
    // A batch has ended. Called on any thread, under a lock: hand it to your own.
    virtual void on_batch_ended() = 0;

   protected:
    ~Waiter() = default;
  };

  bool contains(Slot slot) const { return counts_[slot].load() > 0; }

  // A batch begins; a slot may come several times.
  void enter(std::span<const Slot> slots) {
    for (const Slot slot : slots) counts_[slot].fetch_add(1);
  }
  // It ends: tells everybody who waits, once.
  void leave(std::span<const Slot> slots) {
    for (const Slot slot : slots) counts_[slot].fetch_sub(1);
    // Sequentially consistent, like all of these: who waits says so before looking at the counters for the last time.
    if (waiting_.load() > 0) wake_all();
  }

  // `waiter` is told of the next batch that ends. Look at contains() afterwards: it may have ended just before.
  void wait(Waiter& waiter) {
    const std::lock_guard lock(mutex_);
    waiters_.push_back(&waiter);
    ++waiting_;
  }
  // Afterwards `waiter` is not called any more; no harm if it does not wait.
  void stop_waiting(Waiter& waiter) {
    const std::lock_guard lock(mutex_);
    waiting_ -= std::erase(waiters_, &waiter);
  }

 private:
  static constexpr int kSlotBits = 14;

  void wake_all() {
    const std::lock_guard lock(mutex_);
    for (Waiter* waiter : waiters_) waiter->on_batch_ended();
    waiters_.clear();
    waiting_ = 0;
  }

  std::array<std::atomic<uint32_t>, size_t{1} << kSlotBits> counts_{};
  std::atomic<size_t> waiting_ = 0;
  std::mutex mutex_;
  std::vector<Waiter*> waiters_;  // guarded by mutex_
};

}  // namespace txn
