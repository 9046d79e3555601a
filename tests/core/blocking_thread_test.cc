// What blocks is done one thing after another on the other thread, and answered whatever happens.
#include "core/blocking_thread.h"

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/task.h"

namespace txn {
namespace {

class BlockingThreadTest : public testing::Test {
 protected:
  using Work = std::function<Result<std::string>()>;

  // Runs `body` on a loop to its end.
  void on_loop(const std::function<Task<void>(Loop&)>& body) {
    Loop loop(std::move(*Ring::create({})), clock_);
    Scope main;
    main.spawn(run(loop, body));
    loop.run();
  }
  static Task<void> run(Loop& loop, const std::function<Task<void>(Loop&)>& body) {
    co_await body(loop);
    loop.stop();
  }
  // What came of `work`: its text, or that of the error.
  static Task<void> ask(BlockingThread& thread, Loop& loop, Work work, std::string& answer,
                        BlockingThread::Urgency urgency = BlockingThread::Urgency::kUsual) {
    const auto result = co_await thread.run(loop, std::move(work), urgency);
    answer = result ? *result : result.error().message;
  }

  SystemClock clock_;
};

TEST_F(BlockingThreadTest, DoesOneThingAfterAnotherElsewhere) {
  BlockingThread thread;
  std::vector<int> order;
  std::optional<std::thread::id> where;
  std::vector<std::string> answers(3);
  on_loop([&](Loop& loop) -> Task<void> {
    Scope scope;
    for (int i = 0; i < 3; ++i) {
      const Work work = [&, i]() -> Result<std::string> {
        order.push_back(i);
        where = std::this_thread::get_id();
        if (i == 1) return fail(ErrorKind::kUnavailable, "not today");
        return std::to_string(i);
      };
      scope.spawn(ask(thread, loop, work, answers[static_cast<size_t>(i)]));
    }
    co_await scope.join();
  });
  EXPECT_EQ(order, (std::vector{0, 1, 2}));
  EXPECT_EQ(answers, (std::vector<std::string>{"0", "not today", "2"}));
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST_F(BlockingThreadTest, WhatIsUrgentPassesWhatIsNot) {
  using Urgency = BlockingThread::Urgency;
  BlockingThread thread;
  std::promise<void> begun;
  std::promise<void> go_on;
  std::string order;
  std::vector<std::string> answers(5);
  on_loop([&](Loop& loop) -> Task<void> {
    const Work blocks = [&]() -> Result<std::string> {
      begun.set_value();
      go_on.get_future().wait();
      return "under way";
    };
    const auto notes = [&order](char name) -> Work {
      return [&order, name]() -> Result<std::string> {
        order += name;
        return "done";
      };
    };
    Scope scope;
    scope.spawn(ask(thread, loop, blocks, answers[0]));
    begun.get_future().wait();
    scope.spawn(ask(thread, loop, notes('a'), answers[1], Urgency::kUsual));
    scope.spawn(ask(thread, loop, notes('b'), answers[2], Urgency::kUrgent));
    scope.spawn(ask(thread, loop, notes('c'), answers[3], Urgency::kUsual));
    scope.spawn(ask(thread, loop, notes('d'), answers[4], Urgency::kUrgent));
    go_on.set_value();
    co_await scope.join();
  });
  EXPECT_EQ(order, "bdac");
  EXPECT_EQ(answers, (std::vector<std::string>{"under way", "done", "done", "done", "done"}));
}

TEST_F(BlockingThreadTest, OnceStoppedNothingIsDoneAndAllIsAnswered) {
  BlockingThread thread;
  std::promise<void> begun;
  std::promise<void> go_on;
  int done = 0;
  std::vector<std::string> answers(3);
  on_loop([&](Loop& loop) -> Task<void> {
    const Work blocks = [&]() -> Result<std::string> {
      begun.set_value();
      go_on.get_future().wait();
      return "under way";
    };
    const Work counts = [&]() -> Result<std::string> {
      ++done;
      return "done";
    };
    Scope scope;
    scope.spawn(ask(thread, loop, blocks, answers[0]));
    begun.get_future().wait();
    scope.spawn(ask(thread, loop, counts, answers[1]));
    thread.stop();
    go_on.set_value();
    co_await scope.join();
    thread.join();  // so that nobody is there any more
    scope.spawn(ask(thread, loop, counts, answers[2]));
    co_await scope.join();
  });
  EXPECT_EQ(answers, (std::vector<std::string>{"under way", "shutting down", "shutting down"}));
  EXPECT_EQ(done, 0);
}

}  // namespace
}  // namespace txn
