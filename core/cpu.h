// How many CPUs this process may use: the smaller of its affinity mask and its cgroup's quota.
//
// In a container with a quota of two CPUs on a machine of 64, 64 event loops would be throttled all together after
// 1/32 of every period. The parsing is apart from the files, so that it can be tested without a cgroup.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace txn {

// CPUs that a quota of `quota_us` microseconds in every `period_us` amounts to, rounded up, at least 1. Nothing when
// either is not above zero: there is no quota.
std::optional<int> cpus_of_quota(long long quota_us, long long period_us);

// The content of cgroup v2's cpu.max: "QUOTA PERIOD" or "max PERIOD". Nothing for "max" and for what is not that.
std::optional<int> parse_cpu_max(std::string_view text);

// The contents of cgroup v1's cpu.cfs_quota_us (-1: none) and cpu.cfs_period_us.
std::optional<int> parse_cfs_quota(std::string_view quota_text, std::string_view period_text);

// The path of this process in one hierarchy, from the content of /proc/self/cgroup: of `controller` ("cpu") in v1, of
// the unified hierarchy for "". Nothing when it is not listed.
std::optional<std::string> parse_cgroup_path(std::string_view proc_self_cgroup, std::string_view controller);

// The tightest quota on the way from this process's cgroup up to the root, looking in `cgroup_root` (/sys/fs/cgroup).
// Nothing when there is none or nothing can be read. Blocking file reads.
std::optional<int> cgroup_cpu_quota(std::string_view proc_self_cgroup, const std::filesystem::path& cgroup_root);

// CPUs in the affinity mask of the calling thread, at least 1.
int affinity_cpus();

// min(affinity, quota rounded up), at least 1. Blocking file reads: for start-up.
int usable_cpus();

}  // namespace txn
