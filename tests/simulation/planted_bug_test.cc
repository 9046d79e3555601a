// Linked with a lane that has a bug in it (CMakeLists.txt): some schedule must not get away with it.
#include <gtest/gtest.h>

#include "core/log.h"
#include "tests/simulation/schedule.h"

namespace txn::simulation {
namespace {

TEST(PlantedBugTest, IsFound) {
  set_log_level(LogLevel::kCritical);
  Simulation simulation;
  std::string violation;
  uint64_t seed = 0;
  while (violation.empty() && seed < 60'000) violation = simulation.run(++seed);
  EXPECT_NE(violation, "") << "not found in " << seed << " schedules";
  RecordProperty("found", violation + " by seed " + std::to_string(seed));
  std::printf("found by seed %llu: %s\n", static_cast<unsigned long long>(seed), violation.c_str());
}

}  // namespace
}  // namespace txn::simulation
