// The seeded choices of a schedule: splitmix64 (Steele, Lea and Flood, OOPSLA 2014). The same on every machine, unlike
// the distributions of <random>.
#pragma once

#include <cstdint>

namespace txn::simulation {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // 0 to `bound` - 1; `bound` is small, so the bias does not matter.
  int64_t below(int64_t bound) { return static_cast<int64_t>(next() % static_cast<uint64_t>(bound)); }
  int64_t between(int64_t least, int64_t most) { return least + below(most - least + 1); }
  size_t index(size_t count) { return static_cast<size_t>(next() % count); }
  bool chance(int per_mille) { return below(1000) < per_mille; }

 private:
  uint64_t state_;
};

}  // namespace txn::simulation
