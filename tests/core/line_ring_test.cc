#include "core/line_ring.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace txn {
namespace {

TEST(LineRing, WhatGoesInComesOutInOrderOverManyRounds) {
  LineRing ring(64);
  std::string in, out;
  for (int i = 0; i < 1000; ++i) {
    const std::string line = std::to_string(i) + std::string(static_cast<size_t>(i % 40), 'x') + "\n";
    if (!ring.push(line)) {
      EXPECT_TRUE(ring.pop_all(out));
      ASSERT_TRUE(ring.push(line));
    }
    in += line;
  }
  ring.pop_all(out);
  EXPECT_EQ(out, in);
  EXPECT_TRUE(ring.is_empty());
  EXPECT_FALSE(ring.pop_all(out));
}

TEST(LineRing, WhatDoesNotFitIsDroppedAsAWhole) {
  LineRing ring(16);
  EXPECT_TRUE(ring.push("0123456789"));
  EXPECT_FALSE(ring.push("abcdefg"));
  EXPECT_TRUE(ring.push("abcdef"));  // exactly full
  EXPECT_FALSE(ring.push("!"));
  std::string out;
  ring.pop_all(out);
  EXPECT_EQ(out, "0123456789abcdef");
  EXPECT_EQ(ring.lines(), 2u);
  EXPECT_EQ(ring.dropped(), 2u);
  EXPECT_FALSE(ring.push(std::string(17, 'x')));  // never fits
}

TEST(LineRing, HalfFullIsSaidOnlyWhenItIs) {
  LineRing ring(16);
  ring.push("01234567");
  EXPECT_FALSE(ring.is_half_full());
  ring.push("8");
  EXPECT_TRUE(ring.is_half_full());
  std::string out;
  ring.pop_all(out);
  EXPECT_FALSE(ring.is_half_full());
}

TEST(LineRing, TwoThreadsLoseAndTearNothing) {
  constexpr int kLines = 200'000;
  LineRing ring(1024);
  std::thread producer([&ring] {
    for (int i = 0; i < kLines; ++i) {
      const std::string line = std::to_string(i) + "\n";
      while (!ring.push(line)) std::this_thread::yield();
    }
  });
  std::string out;
  int next = 0;
  while (next < kLines) {
    out.clear();
    if (!ring.pop_all(out)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(out.back(), '\n');
    for (size_t begin = 0; begin < out.size(); ++next) {
      const size_t end = out.find('\n', begin);
      ASSERT_EQ(out.substr(begin, end - begin), std::to_string(next));
      begin = end + 1;
    }
  }
  producer.join();
  EXPECT_TRUE(ring.is_empty());
}

}  // namespace
}  // namespace txn
