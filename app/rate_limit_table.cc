#include "app/rate_limit_table.h"

#include <sched.h>

#include <algorithm>
#include <bit>
#include <chrono>

#include "core/check.h"

namespace txn {
namespace {

// Then the lock's holder has most likely been taken off its core.
constexpr int kSpinsBeforeYield = 64;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

int64_t SlidingWindow::advance(int64_t now_ms, int64_t window_ms) {
  if (size_ == 0) return now_ms;
  if (const int64_t ahead_ms = last_ms() - now_ms; ahead_ms > 0) {
    if (ahead_ms <= kSkewMaxMs) {
      now_ms = last_ms();
    } else {
      // The clock was set back. Whatever seems to lie in the future counts as made now, so that nothing counts for
      // longer than a window from here on, and nothing is forgotten.
      uint64_t count = 0;
      while (size_ > 0 && last_ms() > now_ms) count += count_of(segments_[--size_]);
      segments_[size_++] = pack(now_ms, std::min(count, kCountMax));
      newest_begin_ms_ = now_ms;
    }
  }
  size_t expired = 0;
  while (expired < size_ && time_of(segments_[expired]) + window_ms <= now_ms) ++expired;
  if (expired > 0) {
    std::copy(segments_.begin() + static_cast<ptrdiff_t>(expired), segments_.begin() + static_cast<ptrdiff_t>(size_),
              segments_.begin());
    size_ -= expired;
  }
  return now_ms;
}

int64_t SlidingWindow::total() const {
  int64_t total = 0;
  for (size_t i = 0; i < size_; ++i) total += static_cast<int64_t>(count_of(segments_[i]));
  return total;
}

void SlidingWindow::add(int64_t now_ms, int64_t window_ms) {
  const bool joins = size_ > 0 && (now_ms < newest_begin_ms_ + window_ms / kSegmentsPerWindow || size_ == kSegmentsMax);
  if (joins) {
    uint64_t& newest = segments_[size_ - 1];
    newest = pack(now_ms, std::min(count_of(newest) + 1, kCountMax));
    return;
  }
  newest_begin_ms_ = now_ms;
  segments_[size_++] = pack(now_ms, 1);
}

int64_t SlidingWindow::until_release_ms(int64_t now_ms, int64_t window_ms) const {
  return size_ == 0 ? 0 : time_of(segments_[0]) + window_ms - now_ms;
}

RateLimitTable::RateLimitTable(const RateLimitPolicy& policy, size_t buckets)
    : policy_(policy),
      window_ms_(std::chrono::milliseconds(policy.window).count()),
      bucket_count_(buckets),
      buckets_(std::make_unique<Bucket[]>(buckets)),
      // Not touched here: pages come zeroed from the kernel when a client first needs them.
      windows_(static_cast<SlidingWindow*>(std::calloc(buckets * kWays, sizeof(SlidingWindow)))) {
  CHECK(std::has_single_bit(buckets), "a power of two");
  CHECK(windows_ != nullptr, "memory for rate limits");
}

RateLimitTable::Lock::Lock(Bucket& bucket) : bucket_(bucket) {
  int spins = 0;
  while (bucket_.locked.exchange(true, std::memory_order_acquire)) {
    while (bucket_.locked.load(std::memory_order_relaxed)) {
      if (++spins % kSpinsBeforeYield == 0) {
        sched_yield();
      } else {
        pause_cpu();
      }
    }
  }
}

RateLimitDecision RateLimitTable::update(uint64_t client, int64_t now_ms, Action action) {
  if (client == 0) client = 1;  // 0 marks a free place
  const size_t index = client & (bucket_count_ - 1);
  Bucket& bucket = buckets_[index];
  SlidingWindow* windows = windows_.get() + index * kWays;

  const Lock lock(bucket);
  auto way = static_cast<size_t>(std::ranges::find(bucket.clients, client) - bucket.clients.begin());
  bool evicted = false;
  if (way == kWays) {
    if (action == Action::kPeek) return {.admitted = true, .remaining = policy_.count, .reset_ms = 0};
    way = make_room(bucket, windows, now_ms, evicted);
    bucket.clients[way] = client;
    windows[way] = SlidingWindow();
  }
  SlidingWindow& window = windows[way];
  now_ms = window.advance(now_ms, window_ms_);
  const int64_t used = window.total();
  RateLimitDecision decision{.admitted = used < policy_.count, .remaining = std::max<int64_t>(policy_.count - used, 0)};
  if (action == Action::kRecord || (action == Action::kTake && decision.admitted)) {
    window.add(now_ms, window_ms_);
    decision.remaining = std::max<int64_t>(decision.remaining - 1, 0);
  }
  decision.evicted = evicted;
  decision.reset_ms = window.until_release_ms(now_ms, window_ms_);
  return decision;
}

// A place that is free or whose client no longer counts; else that of the client with the fewest requests.
size_t RateLimitTable::make_room(Bucket& bucket, SlidingWindow* windows, int64_t now_ms, bool& evicted) {
  size_t victim = 0;
  int64_t fewest = -1;
  for (size_t way = 0; way < kWays; ++way) {
    if (bucket.clients[way] == 0) return way;
    SlidingWindow& window = windows[way];
    window.advance(now_ms, window_ms_);
    if (window.is_empty()) return way;
    const int64_t total = window.total();
    if (fewest < 0 || total < fewest || (total == fewest && window.last_ms() < windows[victim].last_ms())) {
      victim = way;
      fewest = total;
    }
  }
  evicted = true;
  return victim;
}

}  // namespace txn
