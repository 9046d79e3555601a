// What the kernel says about this process, for the metrics that every Prometheus client library has.
#pragma once

#include <cstdint>

namespace txn {

struct ProcessStats {
  uint64_t cpu_ns = 0;  // user and system, all threads
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t virtual_max_bytes = 0;  // RLIMIT_AS; UINT64_MAX: no limit
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;  // RLIMIT_NOFILE, the soft limit
  uint64_t threads = 0;
};

// Reads /proc: some tens of microseconds, and more with thousands of descriptors on Linux before 6.2, so not for a
// worker's thread. What cannot be read stays zero.
ProcessStats read_process_stats();

// When the process was started, microseconds since 1970-01-01 UTC, by the kernel's clocks; precise to its tick of 10
// ms. 0 when it cannot be read.
int64_t process_start_us();

}  // namespace txn
