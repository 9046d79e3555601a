// A worker's event loop: one turn submits what the last one produced, waits, and then lets completions, messages,
// timers and resumed coroutines run before the flushers send what they produced. See turn() in loop.cc for the order
// and its reasons.
//
// Everything here belongs to the thread that created the loop, but post(), which any thread may call.
#pragma once

#include <coroutine>
#include <deque>
#include <memory>
#include <vector>

#include "core/clock.h"
#include "core/completion.h"
#include "core/intrusive_list.h"
#include "core/mailbox.h"
#include "core/metrics.h"
#include "core/ring.h"
#include "core/timer_wheel.h"

namespace txn {

// Nanoseconds: a turn of some tens of microseconds is an ordinary one, and milliseconds are felt by everybody.
inline constexpr HistogramBounds<12> kTurnBounds{10'000,     25'000,     50'000,      100'000,
                                                 250'000,    500'000,    1'000'000,   2'500'000,
                                                 10'000'000, 25'000'000, 100'000'000, 1'000'000'000};

struct LoopCounters {
  Histogram<kTurnBounds> turn_ns;  // at work in a turn, its wait left out
};

struct FlushListTag;

// Something that gathers output during a turn and sends it once at the turn's end.
class Flusher : public ListNode<FlushListTag> {
 public:
  virtual void flush() = 0;

 protected:
  ~Flusher() = default;
};

struct LookAheadListTag;

// Something whose event is worth more than those queued before it: while there are more events than a turn brings, it
// is asked each turn to look for itself, without waiting for its event (which still comes). Leaves the list by
// unlink(); look() may unlink the object it is called on and no other.
class LookAhead : public ListNode<LookAheadListTag> {
 public:
  virtual void look() = 0;

 protected:
  ~LookAhead() = default;
};

// The database goes first: PostgreSQL then works while the answers of earlier batches are written to the sockets.
enum class FlushStage : uint8_t { kDatabase, kNetwork };

class Loop {
 public:
  // `clock` must outlive the loop.
  Loop(std::unique_ptr<Ring> ring, Clock& clock);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Ring& ring() { return *ring_; }
  const Clock& clock() const { return clock_; }
  TimerWheel& timers() { return timers_; }

  // Runs turns until stop() is called (from the loop's own thread), then one more to let the last completions out.
  void run();
  void stop() { stopping_ = true; }

  // One turn; blocks only when nothing is ready. Public for tests and for shutdown.
  void turn();

  // Resumes `handle` later in this turn, or in the next when called from a flusher.
  void resume_soon(std::coroutine_handle<> handle) { ready_.push_back(handle); }

  // Has `flusher` flushed at the end of this turn; asking twice is asking once.
  void flush_soon(Flusher& flusher, FlushStage stage) {
    if (!flusher.is_linked()) flushers_[static_cast<size_t>(stage)].push_back(flusher);
  }

  // Until it is unlinked.
  void look_ahead_for(LookAhead& looker) {
    if (!looker.is_linked()) lookers_.push_back(looker);
  }

  // Runs `message` on the loop's thread. Any thread.
  void post(Message& message) { mailbox_.post(message); }

  // Makes the next submit_and_wait not block: for work that must go on in the next turn without an event.
  void keep_turning() { keep_turning_ = true; }

  // Awaitable pause of `duration_ns` (rounded up to the wheel's tick).
  auto sleep_for(int64_t duration_ns) {
    struct Sleep final : Timer {
      Loop& loop;
      int64_t duration_ns;
      std::coroutine_handle<> waiting;
      Sleep(Loop& owner, int64_t duration) : loop(owner), duration_ns(duration) {}
      void on_timer() override { waiting.resume(); }
      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        waiting = handle;
        loop.timers().arm(*this, loop.clock().now_ns() + duration_ns);
      }
      void await_resume() const {}
    };
    return Sleep(*this, duration_ns);
  }

  const LoopCounters& counters() const { return counters_; }

 private:
  class MailboxWake final : public Completion {
   public:
    explicit MailboxWake(Loop& loop) : loop_(loop) {}
    void on_completion(const CompletionEvent& event) override;

   private:
    Loop& loop_;
  };

  void look_ahead();
  void run_ready();
  void run_flushers();
  int64_t wait_ns() const;

  std::unique_ptr<Ring> ring_;
  Clock& clock_;
  TimerWheel timers_;
  Mailbox mailbox_;
  MailboxWake mailbox_wake_;
  std::vector<std::coroutine_handle<>> ready_;
  std::vector<std::coroutine_handle<>> running_;  // the half of the double buffer that is being resumed
  IntrusiveList<Flusher, FlushListTag> flushers_[2];
  IntrusiveList<LookAhead, LookAheadListTag> lookers_;
  bool is_busy_ = false;      // the last turn may have left events in the kernel
  bool has_backlog_ = false;  // the last turn left events undelivered
  bool keep_turning_ = false;
  bool stopping_ = false;
  LoopCounters counters_;
};

// Awaitable for a single completion of the ring: `co_await RingWait(...)`-style uses embed it in the frame.
class AwaitableCompletion final : public Completion {
 public:
  void on_completion(const CompletionEvent& event) override {
    result_ = event.result;
    done_ = true;
    if (waiting_) std::exchange(waiting_, nullptr).resume();
  }
  void reset() { done_ = false; }
  int32_t result() const { return result_; }

  bool await_ready() const { return done_; }
  void await_suspend(std::coroutine_handle<> handle) { waiting_ = handle; }
  int32_t await_resume() const { return result_; }

 private:
  std::coroutine_handle<> waiting_;
  int32_t result_ = 0;
  bool done_ = false;
};

}  // namespace txn
