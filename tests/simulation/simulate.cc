// Runs many schedules of the lanes' simulation:  simulate [--seed=N] [--schedules=N]
//
// One process a core. Prints what was done and what was made to go wrong; the first seed in violation ends it. With
// TXN_SIM_TRACE=1 every step of the schedule (of the first one given) is printed.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include "core/log.h"
#include "tests/simulation/schedule.h"

namespace txn::simulation {
namespace {

struct Share {
  Counts counts;
  uint64_t failed_seed = 0;
  bool has_failed = false;
};
static_assert(std::is_trivially_copyable_v<Share>, "it travels through a pipe");

// Seeds first, first + step ...
Share run_share(uint64_t first, uint64_t step, uint64_t schedules) {
  Share share;
  Simulation simulation;
  for (uint64_t i = 0; i < schedules; ++i) {
    const uint64_t seed = first + i * step;
    const std::string violation = simulation.run(seed);
    if (violation.empty()) continue;
    std::fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, violation.c_str());
    share.has_failed = true;
    share.failed_seed = seed;
    break;
  }
  share.counts = simulation.counts();
  return share;
}

void add(Counts& sum, const Counts& part) {
  for (size_t i = 0; i < sum.injected.size(); ++i) sum.injected[i] += part.injected[i];
  for (size_t i = 0; i < sum.answers.size(); ++i) sum.answers[i] += part.answers[i];
  sum.schedules += part.schedules;
  sum.batches += part.batches;
  sum.commits += part.commits;
  sum.in_doubt += part.in_doubt;
  sum.refused_full += part.refused_full;
  sum.abandoned += part.abandoned;
  sum.turns_awaited += part.turns_awaited;
  sum.unfounded_refusals += part.unfounded_refusals;
  sum.stale_to_nobody += part.stale_to_nobody;
  sum.days_used_twice += part.days_used_twice;
  sum.unconfirmed_found += part.unconfirmed_found;
  sum.pins_counted_twice += part.pins_counted_twice;
}

void print(const Counts& counts, double seconds) {
  uint64_t answers = 0;
  for (const uint64_t count : counts.answers) answers += count;
  const auto of = [&](OutcomeCode code) { return counts.answers[static_cast<size_t>(code)]; };
  std::printf("%12" PRIu64 "  schedules in %.1f s, %.0f a second\n", counts.schedules, seconds,
              static_cast<double>(counts.schedules) / seconds);
  std::printf("%12" PRIu64 "  operations answered: %" PRIu64 " success, %" PRIu64 " replayed, %" PRIu64
              " unavailable, %" PRIu64 " outcome unknown, %" PRIu64 " key in use, %" PRIu64 " key reused\n",
              answers, of(OutcomeCode::kSuccess), of(OutcomeCode::kReplayed), of(OutcomeCode::kUnavailable),
              of(OutcomeCode::kOutcomeUnknown), of(OutcomeCode::kIdempotencyConflict),
              of(OutcomeCode::kIdempotencyKeyReused));
  std::printf("%12" PRIu64 "  batches, %" PRIu64 " commits, %" PRIu64 " of them in doubt\n", counts.batches,
              counts.commits, counts.in_doubt);
  for (size_t i = 0; i < counts.injected.size(); ++i)
    std::printf("%12" PRIu64 "  %.*s\n", counts.injected[i], static_cast<int>(kInjectedNames[i].size()),
                kInjectedNames[i].data());
  std::printf("%12" PRIu64 "  refused because the queue was full\n", counts.refused_full);
  std::printf("%12" PRIu64 "  not begun because the client had gone\n", counts.abandoned);
  std::printf("%12" PRIu64 "  times a lane let another's batch on the same accounts go first\n", counts.turns_awaited);
  std::printf("Known and not taken for violations, see docs/simulation.md:\n");
  std::printf("%12" PRIu64 "  refused for a state of the books that never was\n", counts.unfounded_refusals);
  std::printf("%12" PRIu64 "  wrong outcomes told to clients that had gone\n", counts.stale_to_nobody);
  std::printf("%12" PRIu64 "  days' limits used twice over a clock that stepped ahead and back\n",
              counts.days_used_twice);
  std::printf("%12" PRIu64 "  wrong PINs counted twice, because their commit was in doubt\n",
              counts.pins_counted_twice);
  std::printf("%12" PRIu64 "  successes found in the log, the standbys' missing confirmation unheard\n",
              counts.unconfirmed_found);
}

bool parse(std::string_view argument, std::string_view name, uint64_t& value) {
  if (!argument.starts_with(name)) return false;
  argument.remove_prefix(name.size());
  const auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), value);
  return error == std::errc() && end == argument.data() + argument.size();
}

int run_all(uint64_t seed, uint64_t schedules) {
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t processes =
      std::min<uint64_t>(std::max(1U, std::thread::hardware_concurrency()), std::max<uint64_t>(schedules, 1));
  std::vector<int> pipes;
  for (uint64_t i = 0; i < processes; ++i) {
    int ends[2];
    CHECK(pipe(ends) == 0, "a pipe for each process");
    const pid_t child = fork();
    CHECK(child >= 0, "a process for each core");
    if (child == 0) {
      const Share share = run_share(seed + i, processes, schedules / processes + (i < schedules % processes ? 1 : 0));
      const bool written = write(ends[1], &share, sizeof share) == static_cast<ssize_t>(sizeof share);
      _exit(written ? 0 : 1);
    }
    close(ends[1]);
    pipes.push_back(ends[0]);
  }
  Counts sum;
  bool ok = true;
  for (const int end : pipes) {
    Share share;
    const bool heard = read(end, &share, sizeof share) == static_cast<ssize_t>(sizeof share);
    close(end);
    ok = ok && heard && !share.has_failed;
    if (heard) add(sum, share.counts);
    if (heard && share.has_failed)
      std::printf("FAILED: seed %" PRIu64 "; run TXN_SIM_TRACE=1 make simulate SEED=%" PRIu64 " SCHEDULES=1\n",
                  share.failed_seed, share.failed_seed);
    if (!heard) std::printf("FAILED: a process has crashed, see above for its seed\n");
  }
  while (wait(nullptr) > 0) continue;
  print(sum, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  std::printf("%s\n", ok ? "no violation" : "VIOLATED");
  return ok ? 0 : 1;
}

int run_traced(uint64_t seed) {
  Simulation simulation;
  simulation.set_tracing(true);
  const std::string violation = simulation.run(seed);
  std::printf("seed %" PRIu64 ": %s\n", seed, violation.empty() ? "no violation" : violation.c_str());
  return violation.empty() ? 0 : 1;
}

}  // namespace
}  // namespace txn::simulation

int main(int argc, char** argv) {
  uint64_t seed = 1;
  uint64_t schedules = 5'000'000;
  for (int i = 1; i < argc; ++i) {
    if (txn::simulation::parse(argv[i], "--seed=", seed) || txn::simulation::parse(argv[i], "--schedules=", schedules))
      continue;
    std::fprintf(stderr, "usage: %s [--seed=N] [--schedules=N]\n", argv[0]);
    return 2;
  }
  txn::simulation::name_seed_in_crashes();
  const char* trace = std::getenv("TXN_SIM_TRACE");
  const bool tracing = trace != nullptr && std::string_view(trace) == "1";
  txn::set_log_level(tracing ? txn::LogLevel::kInfo : txn::LogLevel::kCritical);
  return tracing ? txn::simulation::run_traced(seed) : txn::simulation::run_all(seed, schedules);
}
