#include "db/held_up_accounts.h"

#include <gtest/gtest.h>

#include <deque>

namespace txn {
namespace {

using Answer = HeldUpAccounts::Answer;

class HeldUpAccountsTest : public testing::Test {
 protected:
  ~HeldUpAccountsTest() override {
    PendingList rest;
    accounts_.expire(INT64_MAX, rest);
    while (rest.pop_front() != nullptr) continue;
  }

  PendingOperation& make(int64_t account, int64_t to_account = 0) {
    Operation& operation = operations_.emplace_back();
    operation.account_number = account;
    operation.to_account = to_account;
    operation.type = to_account == 0 ? OperationType::kDeposit : OperationType::kTransfer;
    return pending_.emplace_back(operation, nullptr, nullptr);
  }
  static size_t empty(PendingList& list) {
    size_t count = 0;
    while (list.pop_front() != nullptr) ++count;
    return count;
  }

  std::deque<Operation> operations_;
  std::deque<PendingOperation> pending_;
  HeldUpAccounts accounts_;
};

TEST_F(HeldUpAccountsTest, OnlyWhoNeedsTheAccountWaits) {
  EXPECT_EQ(accounts_.offer(make(1)), Answer::kFree);
  EXPECT_EQ(accounts_.hold_up(make(1), 1, 0), Answer::kWaits);
  EXPECT_EQ(accounts_.offer(make(2)), Answer::kFree);
  EXPECT_EQ(accounts_.offer(make(1)), Answer::kWaits);
  EXPECT_EQ(accounts_.offer(make(3, 1)), Answer::kWaits) << "a payee counts as well";
  EXPECT_EQ(accounts_.waiting(), 3u);
}

TEST_F(HeldUpAccountsTest, OneLooksAndAllAreReleasedInOrder) {
  PendingOperation& first = make(1);
  PendingOperation& second = make(1);
  ASSERT_EQ(accounts_.hold_up(first, 1, 0), Answer::kWaits);
  ASSERT_EQ(accounts_.offer(second), Answer::kWaits);
  EXPECT_EQ(accounts_.next_look(HeldUpAccounts::kLookEveryNs - 1), nullptr);
  EXPECT_TRUE(accounts_.has_look(HeldUpAccounts::kLookEveryNs));
  EXPECT_EQ(accounts_.next_look(HeldUpAccounts::kLookEveryNs), &first);
  EXPECT_EQ(accounts_.next_look(HeldUpAccounts::kLookEveryNs), nullptr) << "one at a time";
  // Still locked: it is first in line again.
  ASSERT_EQ(accounts_.hold_up(first, 1, HeldUpAccounts::kLookEveryNs), Answer::kWaits);
  PendingList freed;
  accounts_.release(1, freed);
  EXPECT_EQ(freed.pop_front(), &first);
  EXPECT_EQ(freed.pop_front(), &second);
  EXPECT_FALSE(accounts_.contains(1));
  EXPECT_EQ(accounts_.offer(make(1)), Answer::kFree);
}

TEST_F(HeldUpAccountsTest, WhoHasWaitedTooLongGoes) {
  PendingOperation& old = make(1);
  PendingOperation& young = make(1);
  old.queued_ns = 10;
  young.queued_ns = 20;
  ASSERT_EQ(accounts_.hold_up(old, 1, 0), Answer::kWaits);
  ASSERT_EQ(accounts_.offer(young), Answer::kWaits);
  PendingList expired;
  accounts_.expire(15, expired);
  EXPECT_EQ(expired.front(), &old);
  EXPECT_EQ(empty(expired), 1u);
  EXPECT_EQ(accounts_.waiting(), 1u);
}

TEST_F(HeldUpAccountsTest, NoMoreWaitThanMay) {
  ASSERT_EQ(accounts_.hold_up(make(1), 1, 0), Answer::kWaits);
  for (size_t i = 1; i < HeldUpAccounts::kWaitingMax; ++i) ASSERT_EQ(accounts_.offer(make(1)), Answer::kWaits);
  EXPECT_EQ(accounts_.offer(make(1)), Answer::kFull);
  EXPECT_EQ(accounts_.hold_up(make(2), 2, 0), Answer::kFull);
}

TEST_F(HeldUpAccountsTest, AccountsThatNobodyWaitsForMakeRoom) {
  const auto most = static_cast<int64_t>(HeldUpAccounts::kAccountsMax);
  for (int64_t number = 1; number <= most; ++number)
    ASSERT_EQ(accounts_.hold_up(make(number), number, 0), Answer::kWaits);
  EXPECT_EQ(accounts_.hold_up(make(most + 1), most + 1, 0), Answer::kFull);
  ASSERT_NE(accounts_.next_look(HeldUpAccounts::kLookEveryNs), nullptr);  // the first has nobody any more
  EXPECT_EQ(accounts_.hold_up(make(most + 1), most + 1, 0), Answer::kWaits);
  EXPECT_FALSE(accounts_.contains(1));
}

}  // namespace
}  // namespace txn
