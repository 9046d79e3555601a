#include "core/partition.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace txn {
namespace {

bool is_even(int number) { return number % 2 == 0; }

TEST(PartitionInOrder, BothGroupsKeepTheirOrder) {
  std::array numbers{3, 8, 1, 6, 6, 7, 2, 5};
  const auto odd = partition_in_order(numbers, is_even);
  EXPECT_EQ(numbers, (std::array{8, 6, 6, 2, 3, 1, 7, 5}));
  EXPECT_EQ(odd.begin() - numbers.begin(), 4);
  EXPECT_EQ(odd.size(), 4U);
}

TEST(PartitionInOrder, EitherGroupMayBeEmpty) {
  std::vector<int> none;
  EXPECT_TRUE(partition_in_order(none, is_even).empty());
  std::vector even{4, 2};
  EXPECT_TRUE(partition_in_order(even, is_even).empty());
  EXPECT_EQ(even, (std::vector{4, 2}));
  std::vector odd{3, 1};
  EXPECT_EQ(partition_in_order(odd, is_even).size(), 2U);
  EXPECT_EQ(odd, (std::vector{3, 1}));
}

}  // namespace
}  // namespace txn
