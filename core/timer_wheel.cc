#include "core/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace txn {

void TimerWheel::arm(Timer& timer, int64_t deadline_ns) {
  timer.unlink();
  timer.deadline_ns_ = deadline_ns;
  // Rounded up, so that a timer never fires early; past deadlines go to the next tick.
  const int64_t tick = std::max((deadline_ns + kTickNs - 1) / kTickNs, tick_ + 1);
  const size_t slot = slot_of(tick);
  slots_[slot].push_back(timer);
  occupied_[slot / 64] |= uint64_t{1} << (slot % 64);
}

void TimerWheel::advance(int64_t now_ns) {
  const int64_t now_tick = now_ns / kTickNs;
  if (now_tick <= tick_) return;
  // After a long stop every slot is due once; there is no use in walking the wheel twice.
  const int64_t first = std::max(tick_ + 1, now_tick - static_cast<int64_t>(kSlots) + 1);
  tick_ = now_tick;
  Slot due;
  for (int64_t tick = first; tick <= now_tick; ++tick) {
    const size_t slot = slot_of(tick);
    if (!is_occupied(slot)) continue;
    Slot waiting;
    waiting.splice_back(slots_[slot]);
    while (Timer* timer = waiting.pop_front()) {
      if (timer->deadline_ns_ <= now_ns) {
        due.push_back(*timer);
      } else {
        slots_[slot].push_back(*timer);
      }
    }
    if (slots_[slot].empty()) occupied_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
  }
  // A callback may disarm or destroy any other timer, also one that is due: it then leaves this list by itself.
  while (Timer* timer = due.pop_front()) timer->on_timer();
}

int64_t TimerWheel::until_next_ns(int64_t now_ns) const {
  const size_t start = slot_of(tick_ + 1);
  for (size_t scanned = 0; scanned < kSlots;) {
    const size_t slot = (start + scanned) % kSlots;
    const uint64_t word = occupied_[slot / 64] >> (slot % 64);
    if (word == 0) {
      scanned += 64 - slot % 64;
      continue;
    }
    const auto skip = static_cast<size_t>(std::countr_zero(word));
    scanned += skip;
    const size_t found = (start + scanned) % kSlots;
    if (scanned >= kSlots) break;
    if (slots_[found].empty()) {
      occupied_[found / 64] &= ~(uint64_t{1} << (found % 64));
      continue;
    }
    const int64_t tick = tick_ + 1 + static_cast<int64_t>(scanned);
    return std::max<int64_t>(tick * kTickNs - now_ns, 0);
  }
  return -1;
}

}  // namespace txn
