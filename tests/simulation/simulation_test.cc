// Schedules of the lanes against a database that fails, and the checks against databases that cheat.
#include <gtest/gtest.h>

#include <chrono>

#include "core/log.h"
#include "tests/simulation/schedule.h"

namespace txn::simulation {
namespace {

class SimulationTest : public testing::Test {
 protected:
  SimulationTest() {
    set_log_level(LogLevel::kCritical);
    name_seed_in_crashes();
  }
};

TEST_F(SimulationTest, NothingIsLostDoubledOrMisreported) {
  Simulation simulation;
  // The bound in time is for slow builds: which schedules run first never changes.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (uint64_t seed = 1; seed <= 200'000 && std::chrono::steady_clock::now() < deadline; ++seed) {
    const std::string violation = simulation.run(seed);
    ASSERT_EQ(violation, "") << "TXN_SIM_TRACE=1 make simulate SEED=" << seed << " SCHEDULES=1";
  }
  const Counts& counts = simulation.counts();
  RecordProperty("schedules", std::to_string(counts.schedules));
  EXPECT_GT(counts.schedules, 100u);
}

TEST_F(SimulationTest, ASeedIsAScheduleWhateverRanBefore) {
  Simulation fresh;
  Simulation used;
  for (uint64_t seed = 1; seed < 50; ++seed) ASSERT_EQ(used.run(seed), "");
  const Counts before = used.counts();
  ASSERT_EQ(fresh.run(77), "");
  ASSERT_EQ(used.run(77), "");
  for (size_t i = 0; i < before.answers.size(); ++i)
    EXPECT_EQ(used.counts().answers[i] - before.answers[i], fresh.counts().answers[i]) << i;
  for (size_t i = 0; i < before.injected.size(); ++i)
    EXPECT_EQ(used.counts().injected[i] - before.injected[i], fresh.counts().injected[i]) << kInjectedNames[i];
}

struct Cheat {
  const char* name;
  Break broken;
};

class CheatedSimulationTest : public testing::TestWithParam<Cheat> {
 protected:
  CheatedSimulationTest() { set_log_level(LogLevel::kCritical); }
};

TEST_P(CheatedSimulationTest, IsFound) {
  Simulation simulation;
  std::string violation;
  uint64_t seed = 0;
  while (violation.empty() && seed < 60'000) violation = simulation.run(++seed, GetParam().broken);
  EXPECT_NE(violation, "") << "not found in " << seed << " schedules";
  RecordProperty("found", violation + " by seed " + std::to_string(seed));
  std::printf("found by seed %llu: %s\n", static_cast<unsigned long long>(seed), violation.c_str());
}

INSTANTIATE_TEST_SUITE_P(
    Databases, CheatedSimulationTest,
    testing::Values(Cheat{"OldBackendIsSaidToBeGone", Break::kGoneTooEarly}, Cheat{"FindForgets", Break::kFindForgets},
                    Cheat{"FailureIsAcknowledged", Break::kFailureAcknowledged},
                    Cheat{"RowLocksExcludeNobody", Break::kNoRowLocks}, Cheat{"ClaimsExcludeNobody", Break::kNoClaims},
                    Cheat{"RowsAreReadBeforeTheirLocks", Break::kReadBeforeLocking},
                    Cheat{"WeakMarker", Break::kFindsById}, Cheat{"CommitErrorRetried", Break::kCommitErrorRefuses},
                    Cheat{"BackendOfConnect", Break::kAcceptsForeigners},
                    Cheat{"OlderTimeline", Break::kAcceptsOlderTimeline}),
    [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace txn::simulation
