// Invariants of our own code, asserted in every build.
//
// A failed CHECK is a bug in this program, never something the outside world did: bad input, a lost connection or a
// full disk are values (core/error.h). A ledger that has found itself inconsistent must stop, not guess.
#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace txn {

// Tells of a broken invariant in the way that fits the process; false when it could not. Set while the log has a
// writer.
using CheckReporter = bool (*)(const char* condition, const char* file, int line, const char* why);
inline std::atomic<CheckReporter> check_reporter{nullptr};

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line, const char* why) {
  // Taken out, so that what goes wrong while reporting is told in the plain way.
  const CheckReporter report = check_reporter.exchange(nullptr);
  if (report != nullptr && report(condition, file, line, why)) std::abort();
  std::fprintf(stderr, "%s:%d: invariant broken: %s (%s)\n", file, line, why, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace txn

// Aborts with `why` when `condition` is false. On in every build; one condition each.
#define CHECK(condition, why)                                   \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::txn::check_failed(#condition, __FILE__, __LINE__, why); \
  } while (false)

// For checks that cost more than a compare: only without NDEBUG.
#ifdef NDEBUG
#define DCHECK(condition, why) \
  do {                         \
  } while (false)
#else
#define DCHECK(condition, why) CHECK(condition, why)
#endif
