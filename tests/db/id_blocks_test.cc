#include "db/id_blocks.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace txn {
namespace {

TEST(IdBlocks, AreUsedFromTheFirstIdToTheLast) {
  IdBlocks ids;
  ids.start(7);
  EXPECT_EQ(ids.left(), kIdsPerBlock);
  for (int64_t id = 7 * kIdsPerBlock; id < 8 * kIdsPerBlock; ++id) {
    ASSERT_EQ(ids.next(), id);
    ids.take();
  }
  EXPECT_EQ(ids.left(), 0);
}

TEST(IdBlocks, OneThatIsReservedCountsFromItsCommit) {
  IdBlocks ids;
  ids.start(1);
  EXPECT_TRUE(ids.wants_block(1));
  const IdBlocks before = ids;
  ids.reserve(2);
  EXPECT_EQ(ids.left(), kIdsPerBlock) << "a crash would forget it";
  ids.take();
  ids = before;  // rolled back
  ids.commit();
  EXPECT_EQ(ids.left(), kIdsPerBlock);
  EXPECT_EQ(ids.next(), kIdsPerBlock);
  ids.reserve(3);
  ids.commit();
  EXPECT_EQ(ids.left(), 2 * kIdsPerBlock);
  EXPECT_FALSE(ids.wants_block(kIdsPerBlock));
  EXPECT_TRUE(ids.wants_block(kIdsPerBlock + 1));
}

// Batches of any size, some of them rolled back, some with refusals: there are always enough, and none comes twice.
TEST(IdBlocks, NeverRunOutAndNeverRepeat) {
  std::mt19937 random(5);
  IdBlocks ids;
  int64_t next_block = 1;
  ids.start(next_block++);
  std::set<int64_t> used;
  for (int batch = 0; batch < 2'000; ++batch) {
    const auto size = static_cast<int64_t>(random() % kIdsPerBlock + 1);
    const auto taken = static_cast<int64_t>(random() % static_cast<uint32_t>(size + 1));
    const bool is_rolled_back = random() % 4 == 0;
    const IdBlocks before = ids;
    ASSERT_GE(ids.left(), size);
    if (ids.wants_block(size)) ids.reserve(next_block++);
    for (int64_t i = 0; i < taken; ++i) {
      const int64_t id = ids.next();
      ids.take();
      if (is_rolled_back) continue;
      ASSERT_TRUE(used.insert(id).second) << id;
    }
    if (is_rolled_back) {
      ids = before;
    } else {
      ids.commit();
    }
  }
}

}  // namespace
}  // namespace txn
