// A thread for what would block a loop: it does one thing after another, and the coroutines that asked wait meanwhile.
// What is urgent passes what is not; within each kind it is first come, first served.
#pragma once

#include <condition_variable>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "core/loop.h"
#include "core/mailbox.h"

namespace txn {

class BlockingThread {
 public:
  enum class Urgency : uint8_t { kUsual, kUrgent };

  BlockingThread();
  ~BlockingThread() { join(); }
  BlockingThread(const BlockingThread&) = delete;
  BlockingThread& operator=(const BlockingThread&) = delete;

  // Any thread: what waits, now and from here on, is answered with an error and not done. What is being done is not
  // interrupted.
  void stop();
  // Stops, and returns when the thread has ended. For the owner, whose members the work uses.
  void join();

  // Awaitable on the thread of `loop`: the Result that work() returned on this one. `loop` must outlive the wait.
  template <typename Work>
  auto run(Loop& loop, Work work, Urgency urgency = Urgency::kUsual) {
    struct Run final : Job {
      Run(BlockingThread& thread_to_use, Loop& loop_that_asks, Work what, Urgency how_urgent)
          : Job(loop_that_asks, how_urgent), thread(thread_to_use), work(std::move(what)) {}
      void carry_out() override { result = work(); }
      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        this->waiting = handle;
        thread.enqueue(*this);
      }
      auto await_resume() { return std::move(result); }

      BlockingThread& thread;
      Work work;
      std::invoke_result_t<Work&> result = fail(ErrorKind::kUnavailable, "shutting down");
    };
    return Run(*this, loop, std::move(work), urgency);
  }

 private:
  // Lives in the frame of the coroutine that waits.
  struct Job : Message {
    Job(Loop& loop, Urgency how_urgent) : reply_to(loop), urgency(how_urgent) {}
    virtual void carry_out() = 0;
    void run() override { waiting.resume(); }

    Loop& reply_to;
    const Urgency urgency;
    std::coroutine_handle<> waiting;

   protected:
    ~Job() = default;
  };

  void enqueue(Job& job);
  void work_off();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job*> urgent_;  // guarded by mutex_, as the next two
  std::deque<Job*> usual_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace txn
