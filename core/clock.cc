#include "core/clock.h"

#include <ctime>

namespace txn {

int64_t SystemClock::read_ns() const {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNanosPerSecond + now.tv_nsec;
}

void SystemClock::update() {
  now_ns_ = read_ns();
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  wall_us_ = now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace txn
