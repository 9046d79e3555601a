// Why the kernel gave no ring, for the person who has to mend it: one line that says who refused (an old kernel, a
// seccomp filter, a sysctl, a limit) and what to do. The kernel's errno alone does not tell: runtimes answer what they
// filter with EPERM (Docker, containerd) or with ENOSYS (Podman), as an old kernel would.
#pragma once

#include <string>

namespace txn {

// What decides between the explanations. read_ring_environment() fills it in; tests make their own.
struct RingEnvironment {
  int kernel_major = 0;  // 0: not known
  int kernel_minor = 0;
  bool is_filtered = false;       // this process is under a seccomp filter
  std::string io_uring_disabled;  // sysctl kernel.io_uring_disabled; "" before Linux 6.6
  unsigned long memlock_kib = 0;  // RLIMIT_MEMLOCK
};

// Of the calling process, from uname(2), /proc and getrlimit(2). What cannot be read stays as above.
RingEnvironment read_ring_environment();

// `error`: the errno, above zero, of io_uring_setup or of what comes right after it. Without a line feed.
std::string explain_ring_refusal(int error, const RingEnvironment& environment);

}  // namespace txn
