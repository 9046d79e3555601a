#include "core/metrics.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/process_stats.h"

namespace txn {
namespace {

constexpr HistogramBounds<3> kBounds{10, 20, 50};

TEST(Metrics, CountersAndGaugesAreTheNumbersTheyHold) {
  Counter counter;
  EXPECT_EQ(counter, 0u);
  ++counter;
  counter += 41;
  EXPECT_EQ(counter, 42u);
  Gauge gauge;
  ++gauge;
  ++gauge;
  --gauge;
  EXPECT_EQ(gauge, 1u);
  gauge = 7;
  EXPECT_EQ(gauge, 7u);
}

TEST(Metrics, HistogramBoundsBelongToTheBucketBelow) {
  Histogram<kBounds> histogram;
  for (const uint64_t value : {0, 10, 11, 20, 21, 50, 51, 1'000'000}) histogram.observe(value);
  HistogramTotals<3> totals;
  histogram.add_to(totals);
  EXPECT_EQ(totals.buckets, (std::array<uint64_t, 4>{2, 2, 2, 2}));
  EXPECT_EQ(totals.sum, 1'000'163u);
  EXPECT_EQ(histogram.count(), 8u);
  histogram.add_to(totals);  // another worker's
  EXPECT_EQ(totals.buckets, (std::array<uint64_t, 4>{4, 4, 4, 4}));
}

// What makes this worth running under the thread sanitizer: one writes, another reads.
TEST(Metrics, ReadersOnOtherThreadsSeeValuesThatOnlyGoUp) {
  constexpr uint64_t kRounds = 100'000;
  Histogram<kBounds> histogram;
  std::thread writer([&] {
    for (uint64_t i = 0; i < kRounds; ++i) histogram.observe(i % 60);
  });
  uint64_t seen = 0;
  while (seen < kRounds) {
    const uint64_t count = histogram.count();
    EXPECT_GE(count, seen);
    seen = count;
  }
  writer.join();
  EXPECT_EQ(histogram.count(), kRounds);
}

TEST(ProcessStats, SaysWhatTheKernelSays) {
  const ProcessStats stats = read_process_stats();
  EXPECT_GT(stats.cpu_ns, 0u);
  EXPECT_GT(stats.resident_bytes, 1u << 20);
  EXPECT_GT(stats.virtual_bytes, stats.resident_bytes);
  EXPECT_GE(stats.open_fds, 3u);
  EXPECT_LT(stats.open_fds, stats.max_fds);
  EXPECT_EQ(stats.threads, 1u);
  const int64_t now_us = int64_t{time(nullptr)} * 1'000'000;
  EXPECT_NEAR(process_start_us(), now_us, 60e6);
}

}  // namespace
}  // namespace txn
