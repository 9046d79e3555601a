#include "tests/drill/wal_positions.h"

#include <stdexcept>

namespace txn::test {

namespace {

constexpr Milliseconds kPause{10};

}  // namespace

void WalPositions::ask(const Database& database) {
  try {
    DatabaseSession session(database);
    while (!stopping_.load()) {
      Sample sample{.asked = Clock::now(), .told = {}};
      sample.position = std::stoull(session.query("SELECT pg_current_wal_insert_lsn() - '0/0'").at(0).at(0));
      sample.told = Clock::now();
      samples_.push_back(sample);
      std::this_thread::sleep_for(kPause);
    }
  } catch (const std::runtime_error&) {
    // The server is gone, and this is over.
  }
}

void WalPositions::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

std::optional<WalPositions::Clock::time_point> WalPositions::surely_before(uint64_t position) const {
  std::optional<Clock::time_point> latest;
  for (const Sample& sample : samples_) {
    if (sample.position <= position) latest = sample.asked;
  }
  return latest;
}

std::optional<WalPositions::Clock::time_point> WalPositions::surely_behind(uint64_t position) const {
  for (const Sample& sample : samples_) {
    if (sample.position >= position) return sample.told;
  }
  return std::nullopt;
}

}  // namespace txn::test
