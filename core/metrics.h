// What the service counts: counters, gauges and histograms that one thread writes and any thread may read.
//
// Each worker has its own; whoever writes the metrics page adds up those of all workers (app/metrics_page.h). A write
// is a plain load, an addition and a plain store: relaxed atomics, no lock and no locked instruction, because nobody
// else writes. A reader sees every value some time, not all of them at one instant: sums over workers may be off by
// what happens meanwhile, and never go back.
//
// A part keeps a struct of these and shows it by counters():
//
//   struct LedgerCounters {
//     Counter batches;
//     Gauge queued;
//     Histogram<kBatchSizes> batch_size;
//   };
//   ++counters_.batches;
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace txn {

namespace internal {

// A number with one writer.
class SingleWriterCell {
 public:
  SingleWriterCell() = default;
  SingleWriterCell(const SingleWriterCell&) = delete;
  SingleWriterCell& operator=(const SingleWriterCell&) = delete;

  // Any thread.
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  operator uint64_t() const { return value(); }  // NOLINT(google-explicit-constructor): reads like the number it is

 protected:
  void store(uint64_t value) { value_.store(value, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

}  // namespace internal

// Only goes up. Wraps at 2^64, which Prometheus takes for a restart.
class Counter : public internal::SingleWriterCell {
 public:
  Counter& operator+=([[maybe_unused]] uint64_t by) {
#ifndef TXN_WITHOUT_METRICS  // to measure what counting costs
    store(value() + by);
#endif
    return *this;
  }
  Counter& operator++() { return *this += 1; }
};

// A level: never below zero.
class Gauge : public internal::SingleWriterCell {
 public:
  Gauge& operator=(uint64_t level) {
    store(level);
    return *this;
  }
  Gauge& operator++() { return *this = value() + 1; }
  Gauge& operator--() { return *this = value() - 1; }
};

// What a histogram's upper bounds are, ascending, in the unit of its observations. The last bucket, for all that is
// above, goes without saying.
template <size_t N>
using HistogramBounds = std::array<uint64_t, N>;

// A histogram's numbers at some instant, or those of several with the same bounds added up. `buckets[i]` counts what is
// above bound i - 1 and not above bound i.
template <size_t N>
struct HistogramTotals {
  std::array<uint64_t, N + 1> buckets{};
  uint64_t sum = 0;
};

// Distribution of whole numbers: nanoseconds, cents, operations. `kBounds` is a constexpr HistogramBounds, of a few
// dozen at most, as they are searched one by one.
template <const auto& kBounds>
class Histogram {
 public:
  static constexpr size_t kBoundCount = kBounds.size();
  using Totals = HistogramTotals<kBoundCount>;
  static constexpr const HistogramBounds<kBoundCount>& bounds() { return kBounds; }

  void observe(uint64_t value) {
#ifndef TXN_WITHOUT_METRICS
    size_t bucket = 0;
    while (bucket < kBoundCount && value > kBounds[bucket]) ++bucket;
    ++buckets_[bucket];
    sum_ += value;
#else
    (void)value;
#endif
  }

  // Any thread: how many have been observed.
  uint64_t count() const {
    uint64_t total = 0;
    for (const Counter& bucket : buckets_) total += bucket;
    return total;
  }

  // Any thread: adds what has been observed so far to `totals`.
  void add_to(Totals& totals) const {
    for (size_t i = 0; i <= kBoundCount; ++i) totals.buckets[i] += buckets_[i];
    totals.sum += sum_;
  }

 private:
  std::array<Counter, kBoundCount + 1> buckets_;
  Counter sum_;
};

}  // namespace txn
