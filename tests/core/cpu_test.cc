#include "core/cpu.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace txn {
namespace {

namespace fs = std::filesystem;

TEST(CpuQuota, RoundsUpAndIsAtLeastOne) {
  EXPECT_EQ(cpus_of_quota(200'000, 100'000), 2);
  EXPECT_EQ(cpus_of_quota(150'000, 100'000), 2);
  EXPECT_EQ(cpus_of_quota(1'000, 100'000), 1);
  EXPECT_EQ(cpus_of_quota(-1, 100'000), std::nullopt);
  EXPECT_EQ(cpus_of_quota(100'000, 0), std::nullopt);
  EXPECT_EQ(cpus_of_quota(9'223'372'036'854'775'807, 1), 2'147'483'647);
}

TEST(CpuQuota, ParsesCpuMax) {
  EXPECT_EQ(parse_cpu_max("max 100000\n"), std::nullopt);
  EXPECT_EQ(parse_cpu_max("250000 100000\n"), 3);
  EXPECT_EQ(parse_cpu_max("50000 100000"), 1);
  EXPECT_EQ(parse_cpu_max(""), std::nullopt);
  EXPECT_EQ(parse_cpu_max("200000"), std::nullopt);
  EXPECT_EQ(parse_cpu_max("two hundred"), std::nullopt);
}

TEST(CpuQuota, ParsesCfsQuota) {
  EXPECT_EQ(parse_cfs_quota("-1\n", "100000\n"), std::nullopt);
  EXPECT_EQ(parse_cfs_quota("400000\n", "100000\n"), 4);
  EXPECT_EQ(parse_cfs_quota("", "100000\n"), std::nullopt);
}

TEST(CpuQuota, FindsTheCgroupPath) {
  constexpr std::string_view kUnified = "0::/user.slice/session-1.scope\n";
  constexpr std::string_view kHybrid =
      "12:memory:/docker/abc\n"
      "4:cpu,cpuacct:/docker/abc\n"
      "1:name=systemd:/docker/abc\n"
      "0::/system.slice\n";
  EXPECT_EQ(parse_cgroup_path(kUnified, ""), "/user.slice/session-1.scope");
  EXPECT_EQ(parse_cgroup_path(kUnified, "cpu"), std::nullopt);
  EXPECT_EQ(parse_cgroup_path(kHybrid, "cpu"), "/docker/abc");
  EXPECT_EQ(parse_cgroup_path(kHybrid, "cpuset"), std::nullopt);
  EXPECT_EQ(parse_cgroup_path(kHybrid, ""), "/system.slice");
  EXPECT_EQ(parse_cgroup_path("", ""), std::nullopt);
  EXPECT_EQ(parse_cgroup_path("no colons\n:\n", ""), std::nullopt);
}

class CgroupDirectory : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "txn-cgroup-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& content) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << content;
  }

  fs::path root_;
};

TEST_F(CgroupDirectory, TakesTheTightestQuotaOnTheWayUp) {
  write("cpu.max", "max 100000\n");
  write("pods/cpu.max", "200000 100000\n");
  write("pods/one/cpu.max", "600000 100000\n");
  EXPECT_EQ(cgroup_cpu_quota("0::/pods/one\n", root_), 2);
  EXPECT_EQ(cgroup_cpu_quota("0::/elsewhere\n", root_), std::nullopt);
}

TEST_F(CgroupDirectory, ReadsTheRootWhenThePathIsTheHosts) {
  // In a container with a private mount but the host's cgroup namespace only the root is there.
  write("cpu.max", "150000 100000\n");
  EXPECT_EQ(cgroup_cpu_quota("0::/system.slice/docker-abc.scope\n", root_), 2);
  EXPECT_EQ(cgroup_cpu_quota("0::/../../etc\n", root_), 2);
}

TEST_F(CgroupDirectory, ReadsVersionOne) {
  write("cpu/docker/abc/cpu.cfs_quota_us", "300000\n");
  write("cpu/docker/abc/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_cpu_quota("4:cpu,cpuacct:/docker/abc\n", root_), 3);
}

TEST(UsableCpus, FollowsTheAffinityMask) {
  EXPECT_GE(usable_cpus(), 1);
  EXPECT_LE(usable_cpus(), affinity_cpus());
  std::thread([] {
    cpu_set_t mine;
    ASSERT_EQ(sched_getaffinity(0, sizeof(mine), &mine), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &mine)) continue;
      CPU_SET(cpu, &one);
      break;
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(affinity_cpus(), 1);
    EXPECT_EQ(usable_cpus(), 1);
  }).join();
}

}  // namespace
}  // namespace txn
