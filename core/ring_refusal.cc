#include "core/ring_refusal.h"

#include <sys/resource.h>
#include <sys/utsname.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <string_view>
#include <system_error>

#include "core/concat.h"

namespace txn {
namespace {

// DEFER_TASKRUN and SINGLE_ISSUER, without which no ring is made.
constexpr int kFloorMajor = 6;
constexpr int kFloorMinor = 1;

// The path is that of the source tree, where whoever installs the service finds it.
constexpr std::string_view kAllowIt =
    "run it with --security-opt seccomp=deploy/kubernetes/seccomp/io-uring.json, in Kubernetes with that file as "
    "Localhost profile";

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool has_seccomp_filter() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Seccomp:")) return line.find('2') != std::string::npos;  // SECCOMP_MODE_FILTER
  }
  return false;
}

// "6.1.0-31-amd64"
void read_kernel_version(std::string_view release, RingEnvironment& environment) {
  int major = 0;
  int minor = 0;
  const char* end = release.data() + release.size();
  const auto after_major = std::from_chars(release.data(), release.data() + release.size(), major);
  if (after_major.ec != std::errc() || after_major.ptr == end || *after_major.ptr != '.') return;
  if (std::from_chars(after_major.ptr + 1, end, minor).ec != std::errc()) return;
  environment.kernel_major = major;
  environment.kernel_minor = minor;
}

std::string kernel_name(const RingEnvironment& environment) {
  if (environment.kernel_major == 0) return "this kernel";
  return concat("Linux ", environment.kernel_major, ".", environment.kernel_minor);
}

bool is_new_enough(const RingEnvironment& environment) {
  return environment.kernel_major > kFloorMajor ||
         (environment.kernel_major == kFloorMajor && environment.kernel_minor >= kFloorMinor);
}

std::string explain_filter(std::string_view error, const RingEnvironment& environment) {
  return concat("io_uring is refused with ", error, " by a seccomp profile, not by the kernel (",
                kernel_name(environment), "): ", kAllowIt);
}

std::string explain_missing(const RingEnvironment& environment) {
  if (!is_new_enough(environment))
    return concat("io_uring is not available: ", kernel_name(environment),
                  " (or a sandbox that looks like it, such as gVisor) does not have it; run on Linux 6.1 or newer");
  if (environment.is_filtered) return explain_filter("ENOSYS", environment);
  return concat(
      "io_uring is not available although ", kernel_name(environment),
      " is new enough: the kernel was built without CONFIG_IO_URING, or this is a sandbox such as gVisor; run "
      "on another kernel");
}

std::string explain_forbidden(const RingEnvironment& environment) {
  const std::string& disabled = environment.io_uring_disabled;
  if (!disabled.empty() && disabled != "0")
    return concat("io_uring is switched off by sysctl kernel.io_uring_disabled=", disabled,
                  "; set it to 0, or to 1 with this user in kernel.io_uring_group");
  if (environment.is_filtered) return explain_filter("EPERM", environment);
  return concat("io_uring is refused with EPERM by ", kernel_name(environment),
                ", and no seccomp profile is in force: let the security module of this machine (SELinux, AppArmor) "
                "allow it");
}

}  // namespace

RingEnvironment read_ring_environment() {
  RingEnvironment environment;
  utsname names{};
  if (uname(&names) == 0) read_kernel_version(names.release, environment);
  environment.is_filtered = has_seccomp_filter();
  environment.io_uring_disabled = first_line("/proc/sys/kernel/io_uring_disabled");
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) environment.memlock_kib = limit.rlim_cur / 1024;
  return environment;
}

std::string explain_ring_refusal(int error, const RingEnvironment& environment) {
  switch (error) {
    case ENOSYS:
      return explain_missing(environment);
    case EPERM:
    case EACCES:
      return explain_forbidden(environment);
    case ENOMEM:
      return concat("io_uring could not get its memory (RLIMIT_MEMLOCK is ", environment.memlock_kib,
                    " KiB); raise `ulimit -l` or LimitMEMLOCK, or the memory limit of the container");
    case EINVAL:
      return concat("io_uring of ", kernel_name(environment),
                    " is too old: single-issuer rings with deferred task work need Linux 6.1 or newer");
    case EMFILE:
    case ENFILE:
      return "io_uring could not get a file descriptor; raise `ulimit -n`";
    default:
      return concat("io_uring_setup failed: ", std::strerror(error));
  }
}

}  // namespace txn
