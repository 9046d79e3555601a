#include "core/task.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace txn {
namespace {

// Something to wait for, opened by hand.
class Gate {
 public:
  bool await_ready() const { return open_; }
  void await_suspend(std::coroutine_handle<> handle) { waiting_.push_back(handle); }
  void await_resume() const {}
  void open() {
    open_ = true;
    for (auto handle : std::exchange(waiting_, {})) handle.resume();
  }

 private:
  bool open_ = false;
  std::vector<std::coroutine_handle<>> waiting_;
};

Task<int> after(Gate& gate, int value) {
  co_await gate;
  co_return value;
}

Task<void> add(Gate& gate, int& sum) {
  const int one = co_await after(gate, 1);
  const int two = co_await after(gate, 2);
  sum += one + two;
}

TEST(Task, StartsWhenAwaitedAndReturnsItsResult) {
  Gate gate;
  int sum = 0;
  Scope scope;
  scope.spawn(add(gate, sum));
  EXPECT_EQ(scope.running(), 1u);
  EXPECT_EQ(sum, 0);
  gate.open();
  EXPECT_EQ(sum, 3);
  EXPECT_EQ(scope.running(), 0u);
}

TEST(Task, ATaskThatIsNeverAwaitedDoesNotRun) {
  Gate gate;
  int sum = 0;
  {
    const Task<void> unused = add(gate, sum);
  }
  gate.open();
  EXPECT_EQ(sum, 0);
}

Task<std::string> text() { co_return std::string(1000, 'x'); }

Task<void> deep(int levels, int& reached) {
  if (levels > 0) {
    co_await deep(levels - 1, reached);
  }
  ++reached;
}

// Symmetric transfer keeps the stack flat, however many awaits complete at once; sanitizers need frames of their own.
Task<void> many(int count, size_t& length) {
  for (int i = 0; i < count; ++i) {
    const std::string part = co_await text();
    length += part.size();
  }
}

TEST(Task, NestsAndLoops) {
  Scope scope;
  int reached = 0;
  scope.spawn(deep(100, reached));
  EXPECT_EQ(reached, 101);
  size_t length = 0;
  scope.spawn(many(1000, length));
  EXPECT_EQ(length, 1'000'000u);
}

Task<void> join_then(Scope& scope, bool& joined) {
  co_await scope.join();
  joined = true;
}

TEST(Scope, JoinWaitsForTheLastTask) {
  Gate first, second;
  int sum = 0;
  bool joined = false;
  Scope inner, outer;
  inner.spawn(add(first, sum));
  inner.spawn(add(second, sum));
  outer.spawn(join_then(inner, joined));
  EXPECT_FALSE(joined);
  first.open();
  EXPECT_FALSE(joined);
  second.open();
  EXPECT_TRUE(joined);
  EXPECT_EQ(sum, 6);
}

TEST(Scope, JoiningAnEmptyScopeDoesNotWait) {
  bool joined = false;
  Scope inner, outer;
  outer.spawn(join_then(inner, joined));
  EXPECT_TRUE(joined);
}

TEST(ScopeDeathTest, CannotBeDestroyedWhileATaskRuns) {
  EXPECT_DEATH(
      {
        Gate gate;
        int sum = 0;
        Scope scope;
        scope.spawn(add(gate, sum));
      },
      "while its tasks ran");
}

}  // namespace
}  // namespace txn
