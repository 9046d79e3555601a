// Where the log of PostgreSQL was at which moment: asked again and again while clients write, so that a commit that was
// acknowledged can be placed before or behind a position of the log.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "tests/support/private_postgres.h"

namespace txn::test {

class WalPositions {
 public:
  using Clock = std::chrono::steady_clock;

  explicit WalPositions(const Database& database) : thread_([this, database] { ask(database); }) {}
  WalPositions(const WalPositions&) = delete;
  ~WalPositions() { stop(); }
  // By itself as well, when the server goes.
  void stop();

  // After stop(). What was acknowledged before the first of these is in the log before `position` ...
  std::optional<Clock::time_point> surely_before(uint64_t position) const;
  // ... and what was asked for after this is behind it. Nothing: no such moment is known.
  std::optional<Clock::time_point> surely_behind(uint64_t position) const;

 private:
  struct Sample {
    Clock::time_point asked;
    Clock::time_point told;
    uint64_t position = 0;
  };
  void ask(const Database& database);

  std::atomic<bool> stopping_ = false;
  std::vector<Sample> samples_;
  std::thread thread_;
};

}  // namespace txn::test
