// Deadlines for headers, bodies, idle connections and queries: a hashed timing wheel (Varghese and Lauck, SOSP 1987,
// scheme 6). Arming, disarming and firing are O(1); a deadline beyond one turn of the wheel stays in its slot until its
// round comes. One wheel per worker, in user space, because a timeout request a connection in the kernel costs more.
#pragma once

#include <array>
#include <cstdint>

#include "core/intrusive_list.h"

namespace txn {

struct TimerListTag;

// A deadline that its owner embeds. Destroying an armed timer disarms it.
class Timer : public ListNode<TimerListTag> {
 public:
  // Called on the loop's thread when the deadline has passed; the timer is disarmed and may be armed again.
  virtual void on_timer() = 0;
  bool is_armed() const { return is_linked(); }
  int64_t deadline_ns() const { return deadline_ns_; }

 protected:
  ~Timer() = default;

 private:
  friend class TimerWheel;
  int64_t deadline_ns_ = 0;
};

class TimerWheel {
 public:
  // Resolution: a timer fires up to this much late, never early.
  static constexpr int64_t kTickNs = 8'000'000;
  static constexpr size_t kSlots = 4096;  // one turn of the wheel is 32.8 s

  explicit TimerWheel(int64_t now_ns) : tick_(now_ns / kTickNs) {}

  // Arms `timer` (again) for `deadline_ns` of the clock's monotonic time; a deadline in the past fires with the next
  // advance.
  void arm(Timer& timer, int64_t deadline_ns);
  void disarm(Timer& timer) { timer.unlink(); }

  // Fires every timer whose deadline is not after `now_ns`. Timers armed by the callbacks fire in a later call.
  void advance(int64_t now_ns);

  // Nanoseconds until advance() may have something to fire; -1 when no timer is armed.
  int64_t until_next_ns(int64_t now_ns) const;

 private:
  using Slot = IntrusiveList<Timer, TimerListTag>;
  static size_t slot_of(int64_t tick) { return static_cast<size_t>(tick) % kSlots; }
  bool is_occupied(size_t slot) const { return (occupied_[slot / 64] >> (slot % 64) & 1) != 0; }

  std::array<Slot, kSlots> slots_;
  // A bit per slot that may hold timers; disarming leaves the bit, advance() clears it when it finds the slot empty.
  mutable std::array<uint64_t, kSlots / 64> occupied_{};
  int64_t tick_;  // all timers due at or before this tick have fired
};

}  // namespace txn
