#include "core/clock.h"

#include <ctime>

namespace txn {

void SystemClock::update() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  now_ns_ = now.tv_sec * kNanosPerSecond + now.tv_nsec;
  clock_gettime(CLOCK_REALTIME, &now);
  wall_us_ = now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace txn
