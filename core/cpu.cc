#include "core/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <fstream>
#include <sstream>
#include <vector>

namespace txn {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::optional<long long> parse_integer(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Nothing when the file is not there or not readable.
std::optional<std::string> read_small_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

std::optional<int> tighter(std::optional<int> a, std::optional<int> b) {
  if (!a) return b;
  if (!b) return a;
  return std::min(*a, *b);
}

std::optional<int> quota_in_directory(const std::filesystem::path& directory) {
  if (const auto cpu_max = read_small_file(directory / "cpu.max")) return parse_cpu_max(*cpu_max);
  const auto quota = read_small_file(directory / "cpu.cfs_quota_us");
  const auto period = read_small_file(directory / "cpu.cfs_period_us");
  if (!quota || !period) return std::nullopt;
  return parse_cfs_quota(*quota, *period);
}

// A parent's quota binds its children whatever they say, so every directory up to the root counts. Inside a container
// the path may name directories of the host that are not mounted here; those simply cannot be read.
std::optional<int> quota_up_to_root(const std::filesystem::path& root, std::string_view path) {
  std::optional<int> result = quota_in_directory(root);
  std::filesystem::path directory = root;
  for (const std::filesystem::path& part : std::filesystem::path(path).relative_path()) {
    if (part == "..") break;
    directory /= part;
    result = tighter(result, quota_in_directory(directory));
  }
  return result;
}

}  // namespace

std::optional<int> cpus_of_quota(long long quota_us, long long period_us) {
  if (quota_us <= 0 || period_us <= 0) return std::nullopt;
  const long long cpus = quota_us / period_us + (quota_us % period_us != 0 ? 1 : 0);
  return static_cast<int>(std::clamp<long long>(cpus, 1, INT_MAX));
}

std::optional<int> parse_cpu_max(std::string_view text) {
  text = trim(text);
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto quota = parse_integer(text.substr(0, space));  // "max" is no integer: no quota
  const auto period = parse_integer(trim(text.substr(space)));
  if (!quota || !period) return std::nullopt;
  return cpus_of_quota(*quota, *period);
}

std::optional<int> parse_cfs_quota(std::string_view quota_text, std::string_view period_text) {
  const auto quota = parse_integer(trim(quota_text));
  const auto period = parse_integer(trim(period_text));
  if (!quota || !period) return std::nullopt;
  return cpus_of_quota(*quota, *period);
}

std::optional<std::string> parse_cgroup_path(std::string_view proc_self_cgroup, std::string_view controller) {
  // Lines of "ID:CONTROLLER,CONTROLLER:PATH"; the unified hierarchy is "0::PATH".
  while (!proc_self_cgroup.empty()) {
    const size_t line_end = std::min(proc_self_cgroup.find('\n'), proc_self_cgroup.size());
    const std::string_view line = proc_self_cgroup.substr(0, line_end);
    proc_self_cgroup.remove_prefix(std::min(line_end + 1, proc_self_cgroup.size()));

    const size_t first_colon = line.find(':');
    if (first_colon == std::string_view::npos) continue;
    const size_t second_colon = line.find(':', first_colon + 1);
    if (second_colon == std::string_view::npos) continue;
    std::string_view controllers = line.substr(first_colon + 1, second_colon - first_colon - 1);
    std::string path(line.substr(second_colon + 1));
    if (controllers == controller) return path;
    while (!controllers.empty()) {
      const size_t comma = std::min(controllers.find(','), controllers.size());
      if (controllers.substr(0, comma) == controller) return path;
      controllers.remove_prefix(std::min(comma + 1, controllers.size()));
    }
  }
  return std::nullopt;
}

std::optional<int> cgroup_cpu_quota(std::string_view proc_self_cgroup, const std::filesystem::path& cgroup_root) {
  std::optional<int> result;
  if (const auto path = parse_cgroup_path(proc_self_cgroup, "")) {
    result = quota_up_to_root(cgroup_root, *path);
  }
  if (const auto path = parse_cgroup_path(proc_self_cgroup, "cpu")) {
    result = tighter(result, quota_up_to_root(cgroup_root / "cpu", *path));
  }
  return result;
}

int affinity_cpus() {
  // The kernel refuses a mask smaller than its own, so grow it until it fits.
  for (size_t cpus_max = CPU_SETSIZE; cpus_max <= (size_t{1} << 20); cpus_max *= 2) {
    std::vector<unsigned long> mask(cpus_max / (CHAR_BIT * sizeof(unsigned long)));
    cpu_set_t* set = reinterpret_cast<cpu_set_t*>(mask.data());
    const size_t size_bytes = mask.size() * sizeof(unsigned long);
    if (sched_getaffinity(0, size_bytes, set) == 0) return std::max(1, CPU_COUNT_S(size_bytes, set));
    if (errno != EINVAL) break;
  }
  return 1;
}

int usable_cpus() {
  const int affinity = affinity_cpus();
  const auto proc_self_cgroup = read_small_file("/proc/self/cgroup");
  if (!proc_self_cgroup) return affinity;
  return std::min(affinity, cgroup_cpu_quota(*proc_self_cgroup, "/sys/fs/cgroup").value_or(affinity));
}

}  // namespace txn
