// Time, read once a loop turn: monotonic for durations, wall clock only for stamps. Tests drive a ManualClock by hand.
#pragma once

#include <cstdint>

namespace txn {

class Clock {
 public:
  virtual ~Clock() = default;
  // Reads the clocks; called by the loop at the start of a turn.
  virtual void update() = 0;
  // The monotonic clock at this instant, for what must be measured finer than in turns.
  virtual int64_t read_ns() const = 0;

  // Nanoseconds since an arbitrary start; never goes back.
  int64_t now_ns() const { return now_ns_; }
  // Microseconds since 1970-01-01 UTC; may be stepped by the operator.
  int64_t wall_us() const { return wall_us_; }

 protected:
  int64_t now_ns_ = 0;
  int64_t wall_us_ = 0;
};

class SystemClock final : public Clock {
 public:
  SystemClock() { SystemClock::update(); }
  void update() override;
  int64_t read_ns() const override;
};

class ManualClock final : public Clock {
 public:
  void update() override {}
  int64_t read_ns() const override { return now_ns_; }
  void advance_ns(int64_t by) {
    now_ns_ += by;
    wall_us_ += by / 1000;
  }
  void set_wall_us(int64_t wall_us) { wall_us_ = wall_us; }
};

inline constexpr int64_t kNanosPerMilli = 1'000'000;
inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

}  // namespace txn
