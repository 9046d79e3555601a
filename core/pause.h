// A sleep that can be cut short: for background tasks that have to end when they are told to.
#pragma once

#include <coroutine>
#include <cstdint>
#include <utility>

#include "core/loop.h"

namespace txn {

// Embedded in its task's owner; one waiter at a time. Belongs to the loop's thread.
class Pause final : private Timer {
 public:
  explicit Pause(Loop& loop) : loop_(loop) {}

  // Awaitable: until `duration_ns` has passed or end() is called; does not wait at all once it has been.
  auto wait(int64_t duration_ns) {
    struct Wait {
      Pause& pause;
      int64_t duration_ns;
      bool await_ready() const { return pause.ended_; }
      void await_suspend(std::coroutine_handle<> handle) const {
        pause.waiting_ = handle;
        pause.loop_.timers().arm(pause, pause.loop_.clock().now_ns() + duration_ns);
      }
      void await_resume() const {}
    };
    return Wait{*this, duration_ns};
  }

  // Ends the present wait and all to come.
  void end() {
    ended_ = true;
    loop_.timers().disarm(*this);
    on_timer();
  }
  bool ended() const { return ended_; }

 private:
  void on_timer() override {
    if (waiting_) std::exchange(waiting_, nullptr).resume();
  }

  Loop& loop_;
  std::coroutine_handle<> waiting_;
  bool ended_ = false;
};

}  // namespace txn
