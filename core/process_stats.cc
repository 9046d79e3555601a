#include "core/process_stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <ctime>
#include <string>
#include <string_view>

#include "core/clock.h"

namespace txn {
namespace {

// proc(5): files of /proc are made when they are read, so their size says nothing.
std::string read_file(const char* path) {
  std::string text;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return text;
  char part[4096];
  ssize_t length = 0;
  while ((length = read(file, part, sizeof part)) > 0) text.append(part, static_cast<size_t>(length));
  close(file);
  return text;
}

uint64_t parse(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The `number`th field of /proc/self/stat, from 1 as in proc(5). The second is the program's name in parentheses, which
// may hold anything.
std::string_view stat_field(std::string_view stat, int number) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return {};
  stat.remove_prefix(name_end + 1);
  for (int field = 3; !stat.empty(); ++field) {
    stat.remove_prefix(stat.find_first_not_of(' '));
    if (field == number) return stat.substr(0, stat.find(' '));
    const size_t end = stat.find(' ');
    if (end == std::string_view::npos) break;
    stat.remove_prefix(end);
  }
  return {};
}

uint64_t count_descriptors() {
  // Since Linux 6.2 the directory's size is their number.
  struct stat info{};
  if (stat("/proc/self/fd", &info) == 0 && info.st_size > 0) return static_cast<uint64_t>(info.st_size);
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  uint64_t count = 0;
  while (const dirent* entry = readdir(directory)) count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(directory);
  return count - 1;  // the directory itself
}

uint64_t soft_limit(int resource) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return 0;
  return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

}  // namespace

ProcessStats read_process_stats() {
  ProcessStats stats;
  timespec cpu{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
    stats.cpu_ns = static_cast<uint64_t>(cpu.tv_sec * kNanosPerSecond + cpu.tv_nsec);
  const std::string stat = read_file("/proc/self/stat");
  stats.threads = parse(stat_field(stat, 20));
  stats.virtual_bytes = parse(stat_field(stat, 23));
  stats.resident_bytes = parse(stat_field(stat, 24)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  stats.virtual_max_bytes = soft_limit(RLIMIT_AS);
  stats.open_fds = count_descriptors();
  stats.max_fds = soft_limit(RLIMIT_NOFILE);
  return stats;
}

int64_t process_start_us() {
  // Ticks after the boot, which was "btime" seconds after 1970.
  const std::string stat = read_file("/proc/self/stat");
  const uint64_t start_ticks = parse(stat_field(stat, 22));
  const std::string system = read_file("/proc/stat");
  const size_t boot_at = system.find("\nbtime ");
  if (start_ticks == 0 || boot_at == std::string::npos) return 0;
  const uint64_t boot_seconds = parse(std::string_view(system).substr(boot_at + 7));
  const auto ticks_per_second = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  return static_cast<int64_t>(boot_seconds * 1'000'000 + start_ticks * 1'000'000 / ticks_per_second);
}

}  // namespace txn
