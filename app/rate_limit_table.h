// How many requests each client has made of late: "50 in an hour" in the memory of the process.
//
// Sliding   In no interval as long as the window, wherever it begins, are more than `count` requests admitted. A fixed
//           window would let twice as many through around its edge; a token bucket as many more as it refills
//           meanwhile.
// Segments  Remembering every request would cost a million times for 1000000/day. Requests that are close to each other
//           (a twelfth of the window) share a segment, which counts until its last one has left the window. So a
//           request may count a twelfth of the window longer than it has to, and never shorter.
// Bounded   Clients live in buckets of kWays by a keyed hash of who they are. When a bucket is full of clients that
//           count, the one with the fewest requests (the longest ago among equals) is forgotten. A flood of addresses
//           pushes out those that have done little, others of the flood first; to make the table forget a client at
//           its limit, all of its bucket has to be at the limit, and nobody outside knows what is in which bucket.
// Shared    by all workers: a bucket is locked for the length of one update, some tens of nanoseconds. One owner for a
//           client and messages between workers would need no lock, and cost 10 to 300 times as much when the client
//           comes in elsewhere (docs/performance.md).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "core/config.h"

namespace txn {

// The requests of one client within the window. Times are milliseconds of a clock that starts at or after zero.
class SlidingWindow {
 public:
  static constexpr size_t kSegmentsMax = 14;
  // A segment takes in what comes within this part of the window after its first request.
  static constexpr int64_t kSegmentsPerWindow = 12;
  // Clocks of two workers are read this far apart at most; more than that, and the clock has been set back.
  static constexpr int64_t kSkewMaxMs = 1000;

  // Forgets what has left the window. Returns the time that counts: `now_ms`, or a little later when somebody whose
  // clock is ahead has been here.
  int64_t advance(int64_t now_ms, int64_t window_ms);
  // Requests that count; as of the last advance().
  int64_t total() const;
  void add(int64_t now_ms, int64_t window_ms);
  // Until some of them no longer count; 0 when none do.
  int64_t until_release_ms(int64_t now_ms, int64_t window_ms) const;

  bool is_empty() const { return size_ == 0; }
  // REQUIRES: not empty.
  int64_t last_ms() const { return time_of(segments_[size_ - 1]); }

 private:
  // Time of the last request in the upper 44 bits, number of requests in the lower 20.
  static constexpr int kCountBits = 20;
  static constexpr uint64_t kCountMax = (uint64_t{1} << kCountBits) - 1;
  static uint64_t pack(int64_t time_ms, uint64_t count) { return static_cast<uint64_t>(time_ms) << kCountBits | count; }
  static int64_t time_of(uint64_t segment) { return static_cast<int64_t>(segment >> kCountBits); }
  static uint64_t count_of(uint64_t segment) { return segment & kCountMax; }

  // All zeros is an empty window: the table's memory comes zeroed.
  int64_t newest_begin_ms_;  // when the newest segment's first request came
  uint64_t size_;
  std::array<uint64_t, kSegmentsMax> segments_;  // oldest first
};
static_assert(sizeof(SlidingWindow) == 128);

struct RateLimitDecision {
  bool admitted = true;
  int64_t remaining = 0;  // requests that would be admitted now
  int64_t reset_ms = 0;   // until some of those made no longer count; 0: there are none
  bool evicted = false;   // another client that counted was forgotten for it
};

class RateLimitTable {
 public:
  static constexpr size_t kWays = 31;
  static constexpr size_t kBuckets = 4096;  // 126,976 clients in 18 MB of address space, used as they come

  explicit RateLimitTable(const RateLimitPolicy& policy, size_t buckets = kBuckets);

  // `client`: a keyed hash of who asks. `now_ms`: a clock that all callers share. Any thread.
  // Admits and counts the request, or neither.
  RateLimitDecision take(uint64_t client, int64_t now_ms) { return update(client, now_ms, Action::kTake); }
  // What take() would say, without counting.
  RateLimitDecision peek(uint64_t client, int64_t now_ms) { return update(client, now_ms, Action::kPeek); }
  // Counts a request that has been admitted elsewhere.
  RateLimitDecision record(uint64_t client, int64_t now_ms) { return update(client, now_ms, Action::kRecord); }

  const RateLimitPolicy& policy() const { return policy_; }

 private:
  enum class Action : uint8_t { kTake, kPeek, kRecord };

  struct alignas(64) Bucket {
    std::atomic<bool> locked{false};
    std::array<uint64_t, kWays> clients{};  // 0: free
  };
  static_assert(sizeof(Bucket) == 256);

  class Lock {
   public:
    explicit Lock(Bucket& bucket);
    ~Lock() { bucket_.locked.store(false, std::memory_order_release); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Bucket& bucket_;
  };

  struct Free {
    void operator()(SlidingWindow* windows) const { std::free(windows); }
  };

  RateLimitDecision update(uint64_t client, int64_t now_ms, Action action);
  size_t make_room(Bucket& bucket, SlidingWindow* windows, int64_t now_ms, bool& evicted);

  const RateLimitPolicy policy_;
  const int64_t window_ms_;
  const size_t bucket_count_;
  const std::unique_ptr<Bucket[]> buckets_;
  const std::unique_ptr<SlidingWindow, Free> windows_;  // kWays a bucket
};

}  // namespace txn
