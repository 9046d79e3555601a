// Whether the accounts service answers, found out by asking it once a second from one worker of the process; all of
// them read what came of it, so that probes cannot become load on somebody else.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "core/clock.h"
#include "core/http_url.h"
#include "core/loop.h"
#include "core/pause.h"
#include "core/task.h"
#include "net/http_client.h"

namespace txn {

// The longest that a question may take, a little less than the 5 s in which /health, which may have to wait for the
// first one, answers; and the time between an answer and the next question.
inline constexpr int64_t kAccountsTimeoutNs = 4800 * kNanosPerMilli;
inline constexpr int64_t kAccountsAskEveryNs = 1 * kNanosPerSecond;
// What is asked for when ACCOUNT_SERVICE_URL has no path.
inline constexpr const char* kAccountsDefaultTarget = "/health";

// What is known of the accounts service, in one word that all workers may read at any time without a lock.
class AccountsState {
 public:
  enum class Verdict : uint8_t {
    kNotConfigured,
    kNotYetAsked,
    kHealthy,    // a complete answer with a status of 2xx
    kBadStatus,  // a complete answer with another one
    kFailed,     // no answer, and `failure` says why
    kStale,      // the worker that asks has not been heard of for longer than a question may take
  };
  struct Reading {
    Verdict verdict = Verdict::kNotConfigured;
    int status = 0;
    HttpFailure failure = HttpFailure::kTimeout;
  };
  // Plain sums since the process started.
  struct Counters {
    uint64_t questions = 0;  // answered or given up
    uint64_t failures = 0;   // those that did not find it healthy
    bool configured = false;
  };

  explicit AccountsState(bool configured)
      : word_(static_cast<uint64_t>(configured ? Verdict::kNotYetAsked : Verdict::kNotConfigured)) {}

  // By the worker that asks. `now_ns` is its loop's clock: CLOCK_MONOTONIC is the same for all of them.
  void record(const HttpClient::Outcome& outcome, int64_t now_ns);

  Reading read(int64_t now_ns) const;
  Counters counters() const;

 private:
  // Verdict in bits 0 to 7, HttpFailure 8 to 15, status 16 to 31, milliseconds of the clock from 32 (wrapping).
  std::atomic<uint64_t> word_;
  std::atomic<uint64_t> questions_{0};
  std::atomic<uint64_t> failures_{0};
};

// "healthy", "not configured", "unhealthy: cannot connect": what /health shows.
std::string describe(const AccountsState::Reading& reading);

// The one that asks. Belongs to its worker's thread.
class AccountsProbe {
 public:
  AccountsProbe(Loop& loop, const HttpUrl& url, AccountsState& state);

  // Asks until stop(), which ends a question under way as well.
  void start(Scope& scope) { scope.spawn(run()); }
  void stop();

 private:
  Task<void> run();

  Loop& loop_;
  Pause pause_;
  HttpClient client_;
  AccountsState& state_;
};

}  // namespace txn
