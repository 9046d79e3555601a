// The loop and its ring on the real kernel: sockets, timers, messages from other threads, cancellation.
#include "core/loop.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/task.h"

namespace txn {
namespace {

class Recorder final : public Completion {
 public:
  explicit Recorder(std::function<void(const CompletionEvent&)> action = {}) : action_(std::move(action)) {}
  void on_completion(const CompletionEvent& event) override {
    results.push_back(event.result);
    text.append(event.data.data(), event.data.size());
    if (action_) action_(event);
  }
  std::vector<int> results;
  std::string text;

 private:
  std::function<void(const CompletionEvent&)> action_;
};

class LoopTest : public testing::Test {
 protected:
  static std::unique_ptr<Ring> make_ring(RingOptions options = {}) {
    auto ring = Ring::create(options);
    EXPECT_TRUE(ring.has_value()) << ring.error().message;
    return std::move(*ring);
  }
  void SetUp() override { ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair_), 0); }
  void TearDown() override {
    close(pair_[0]);
    close(pair_[1]);
  }
  void send_text(const std::string& text) const {
    ASSERT_EQ(write(pair_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // Turns until `done`, within a bound.
  template <class Done>
  static void turn_until(Loop& loop, Done done) {
    for (int turns = 0; turns < 10'000 && !done(); ++turns) loop.turn();
    ASSERT_TRUE(done());
  }

  SystemClock clock_;
  int pair_[2] = {-1, -1};
};

TEST_F(LoopTest, MultishotReceiveDeliversChunksAndTheEnd) {
  Loop loop(make_ring(), clock_);
  Recorder receive;
  loop.ring().receive(pair_[0], receive);
  send_text("one ");
  turn_until(loop, [&] { return receive.text == "one "; });
  EXPECT_TRUE(receive.in_flight());
  send_text("two");
  turn_until(loop, [&] { return receive.text == "one two"; });
  shutdown(pair_[1], SHUT_WR);
  turn_until(loop, [&] { return !receive.in_flight(); });
  EXPECT_EQ(receive.results.back(), 0);
}

TEST_F(LoopTest, AReceiveThatFindsNoBufferSaysSoAndGoesOnLater) {
  Loop loop(make_ring({.buffer_count = 4, .buffer_size = 64}), clock_);
  Recorder receive;
  send_text(std::string(64 * 10, 'x'));
  loop.ring().receive(pair_[0], receive);
  int starved = 0;
  for (int turns = 0; turns < 1000 && receive.text.size() < 640; ++turns) {
    loop.keep_turning();
    loop.turn();
    if (!receive.in_flight()) {
      EXPECT_EQ(receive.results.back(), -ENOBUFS);
      ++starved;
      loop.ring().receive(pair_[0], receive);
    }
  }
  EXPECT_EQ(receive.text, std::string(640, 'x'));
  EXPECT_GT(starved, 0);
  loop.ring().cancel(receive);
  turn_until(loop, [&] { return !receive.in_flight(); });
}

TEST_F(LoopTest, WhoLooksAheadNeedNotWaitBehindALongQueueOfEvents) {
  Loop loop(make_ring(), clock_);
  constexpr size_t kEvents = 1000;
  size_t delivered = 0;
  std::vector<std::unique_ptr<Recorder>> polls;
  for (size_t i = 0; i < kEvents; ++i) {
    polls.push_back(std::make_unique<Recorder>([&](const CompletionEvent&) { ++delivered; }));
    loop.ring().poll(pair_[0], POLLOUT, *polls.back());  // writable, hence ready at once
  }
  struct Looker final : LookAhead {
    explicit Looker(const size_t& count) : delivered(count) {}
    void look() override {
      seen.push_back(delivered);
      if (seen.size() == 2) unlink();
    }
    const size_t& delivered;
    std::vector<size_t> seen;
  } looker(delivered);
  loop.look_ahead_for(looker);
  loop.turn();
  const size_t first_turn = delivered;
  EXPECT_GT(first_turn, 0u);
  EXPECT_LT(first_turn, kEvents) << "a turn takes some";
  EXPECT_TRUE(looker.seen.empty()) << "nothing had been left over before";
  turn_until(loop, [&] { return delivered == kEvents; });
  ASSERT_EQ(looker.seen.size(), 2u) << "not asked again once it has left";
  EXPECT_EQ(looker.seen[0], first_turn);
  EXPECT_LT(looker.seen[1], kEvents);
  loop.keep_turning();
  loop.turn();  // with nothing to deliver
  loop.look_ahead_for(looker);
  send_text("x");
  Recorder receive;
  loop.ring().receive(pair_[0], receive);
  turn_until(loop, [&] { return receive.text == "x"; });
  EXPECT_EQ(looker.seen.size(), 2u) << "events come fast enough by themselves";
  looker.unlink();
  loop.ring().cancel(receive);
  turn_until(loop, [&] { return !receive.in_flight(); });
}

TEST_F(LoopTest, CancelEndsARequestAndItsEventStillComes) {
  Loop loop(make_ring(), clock_);
  Recorder receive, poll;
  loop.ring().receive(pair_[0], receive);
  loop.ring().poll(pair_[0], POLLIN, poll);
  loop.keep_turning();
  loop.turn();
  loop.ring().cancel(receive);
  loop.ring().cancel(poll);
  turn_until(loop, [&] { return !receive.in_flight() && !poll.in_flight(); });
  EXPECT_EQ(receive.results.back(), -ECANCELED);
  EXPECT_EQ(poll.results.back(), -ECANCELED);
}

TEST_F(LoopTest, SendReportsItsCount) {
  Loop loop(make_ring(), clock_);
  Recorder send;
  const std::string text = "hello";
  loop.ring().send(pair_[0], {text.data(), text.size()}, send);
  turn_until(loop, [&] { return !send.in_flight(); });
  EXPECT_EQ(send.results, std::vector<int>{5});
}

// More requests in one turn than the submission queue has places.
TEST_F(LoopTest, AFullSubmissionQueueLosesNothing) {
  Loop loop(make_ring({.submission_entries = 4}), clock_);
  std::vector<std::unique_ptr<Recorder>> polls;
  for (int i = 0; i < 100; ++i) {
    polls.push_back(std::make_unique<Recorder>());
    loop.ring().poll(pair_[1], POLLOUT, *polls.back());
  }
  turn_until(loop, [&] {
    return std::all_of(polls.begin(), polls.end(), [](const auto& poll) { return !poll->in_flight(); });
  });
}

// A completion queue of 16 and a burst of 1000 events.
TEST_F(LoopTest, AnOverflowingCompletionQueueLosesNothing) {
  Loop loop(make_ring({.submission_entries = 8, .completion_entries = 16}), clock_);
  std::vector<std::unique_ptr<Recorder>> polls;
  for (int i = 0; i < 1000; ++i) {
    polls.push_back(std::make_unique<Recorder>());
    loop.ring().poll(pair_[0], POLLIN, *polls.back());
  }
  loop.keep_turning();
  loop.turn();
  send_text("x");
  turn_until(loop, [&] {
    return std::all_of(polls.begin(), polls.end(), [](const auto& poll) { return !poll->in_flight(); });
  });
  EXPECT_GT(loop.ring().overflows(), 0u);
}

TEST_F(LoopTest, AcceptMakesConnectionsAndEndsWhenDescriptorsRunOut) {
  Loop loop(make_ring(), clock_);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 16), 0);
  socklen_t length = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  const auto dial = [&] {
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return client;
  };

  std::vector<int> accepted;
  Recorder accept([&](const CompletionEvent& event) {
    if (event.result >= 0) accepted.push_back(event.result);
  });
  loop.ring().accept(listener, accept);
  const int first = dial();
  const int second = dial();
  turn_until(loop, [&] { return accepted.size() == 2; });
  EXPECT_TRUE(accept.in_flight());

  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const int third = dial();  // before the limit, or it could not be made itself
  rlimit none = before;
  none.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &none);
  turn_until(loop, [&] { return !accept.in_flight() || accepted.size() == 3; });
  setrlimit(RLIMIT_NOFILE, &before);
  if (accepted.size() < 3) {
    EXPECT_EQ(accept.results.back(), -EMFILE);
    loop.ring().accept(listener, accept);
    turn_until(loop, [&] { return accepted.size() == 3; });
  }
  loop.ring().cancel(accept);
  turn_until(loop, [&] { return !accept.in_flight(); });
  for (const int socket : accepted) close(socket);
  for (const int socket : {first, second, third, listener}) close(socket);
}

struct CountingMessage final : Message {
  void run() override { ++*count; }
  int* count = nullptr;
};

TEST_F(LoopTest, MessagesFromManyThreadsAllArriveInEachSendersOrder) {
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  Loop loop(make_ring(), clock_);
  struct Numbered final : Message {
    void run() override {
      EXPECT_EQ(number, (*next)[sender]);
      ++(*next)[sender];
      ++*count;
    }
    size_t sender = 0;
    int number = 0;
    std::vector<int>* next = nullptr;
    int* count = nullptr;
  };
  int count = 0;
  std::vector<int> next(kThreads, 0);
  std::vector<std::vector<Numbered>> messages;
  for (size_t sender = 0; sender < kThreads; ++sender) {
    messages.emplace_back(kEach);
    for (int i = 0; i < kEach; ++i) {
      Numbered& message = messages[sender][static_cast<size_t>(i)];
      message.sender = sender;
      message.number = i;
      message.next = &next;
      message.count = &count;
    }
  }
  std::vector<std::thread> threads;
  for (auto& mine : messages)
    threads.emplace_back([&loop, &mine] {
      for (auto& message : mine) loop.post(message);
    });
  while (count < kThreads * kEach) loop.turn();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kEach);
}

Task<void> sleep_and_stop(Loop& loop, int64_t& slept_ns) {
  const int64_t start = loop.clock().now_ns();
  co_await loop.sleep_for(30 * kNanosPerMilli);
  slept_ns = loop.clock().now_ns() - start;
  loop.stop();
}

// The message is the last thing that the loop was there for. Whoever has posted it may not have come back yet.
TEST_F(LoopTest, ALoopMayGoAwayAsSoonAsAMessageHasRun) {
  struct Last final : Message {
    void run() override { has_run = true; }
    bool has_run = false;
  };
  int strays = 0;
  for (int round = 0; round < 2000; ++round) {
    auto loop = std::make_unique<Loop>(
        make_ring({.submission_entries = 8, .completion_entries = 16, .buffer_count = 4, .buffer_size = 64}), clock_);
    Last last;
    std::atomic<bool> is_running = false;
    std::thread sender([&, &receiver = *loop] {
      while (!is_running) {
      }
      receiver.post(last);
    });
    is_running = true;
    while (loop != nullptr) {  // busy, so that the message is seen at once
      loop->keep_turning();
      loop->turn();
      if (last.has_run) loop.reset();
    }
    // One of these has the number that the mailbox's descriptor had.
    int reused[8];
    for (int& fd : reused) fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sender.join();
    for (const int fd : reused) {
      uint64_t count = 0;
      if (read(fd, &count, sizeof count) > 0) ++strays;
      close(fd);
    }
  }
  EXPECT_EQ(strays, 0) << "wakes written into files of others";
}

TEST_F(LoopTest, SleepsAndStops) {
  Loop loop(make_ring(), clock_);
  Scope scope;
  int64_t slept_ns = 0;
  scope.spawn(sleep_and_stop(loop, slept_ns));
  loop.run();
  EXPECT_GE(slept_ns, 30 * kNanosPerMilli);
  EXPECT_EQ(scope.running(), 0u);
}

TEST_F(LoopTest, FlushersRunOnceATurnTheDatabaseFirst) {
  Loop loop(make_ring(), clock_);
  std::string order;
  struct Appender final : Flusher {
    void flush() override { *order += name; }
    std::string* order = nullptr;
    char name = 0;
  };
  Appender network, database;
  network.order = database.order = &order;
  network.name = 'n';
  database.name = 'd';
  loop.flush_soon(network, FlushStage::kNetwork);
  loop.flush_soon(database, FlushStage::kDatabase);
  loop.flush_soon(network, FlushStage::kNetwork);
  loop.turn();
  EXPECT_EQ(order, "dn");
}

using LoopDeathTest = LoopTest;

TEST_F(LoopDeathTest, ARingIsUsedByItsOwnThreadOnly) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        std::thread([&] { ring->submit_and_wait(0); }).join();
      },
      "thread that created it");
}

TEST_F(LoopDeathTest, ACompletionOutlivesItsLastEvent) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        Recorder receive;
        ring->receive(pair_[0], receive);
      },
      "while the kernel held it");
}

}  // namespace
}  // namespace txn
