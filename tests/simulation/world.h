// What everything in a simulated schedule shares: time, chance, the verdict and the counts.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/concat.h"
#include "core/loop.h"
#include "db/accounts_in_flight.h"
#include "db/ledger_rows.h"
#include "tests/simulation/events.h"
#include "tests/simulation/random.h"

namespace txn::simulation {

// What was made to go wrong, or to happen at an awkward moment.
enum class Injected : uint8_t {
  kRefusedTransient,
  kRefusedDiskFull,
  kRefusedData,
  kLostBefore,
  kLostAfter,
  kCommittedUnheard,
  kFrozenBackend,
  kLateCommit,
  kUnconfirmed,
  kLockTimeout,
  kConnectFailed,
  kDatabaseCrash,
  kNetworkCut,
  kReplicaFrozen,
  kIdleInTransaction,
  kBackendKilled,
  kIdleLost,
  kClockStepped,
  kClientGone,
  kSameKeyAgain,
  kWrongPin,
  kPinLocked,
  kSequenceFellBack,
  kErrorBehindCommit,
  kSpoiltSession,
  kRowLocked,
  kRowChanged,
  kRowSpoilt,
  kStandbyStalled,
  kPromoted,
  kOldPrimaryBack,
  kOlderRefused,
  kPooled,
  kSessionSwapped,
  kForeignNoticed,
  kCount,
};
inline constexpr std::array<std::string_view, static_cast<size_t>(Injected::kCount)> kInjectedNames{
    "a statement refused, transient (40P01, 40001, 55P03, 57014)",
    "a statement refused, disk full (53100)",
    "a statement refused for one operation's data (23514)",
    "connection lost before the request arrived",
    "connection lost after the request was executed",
    "of these: after COMMIT",
    "backend frozen with a request in hand, client disconnected",
    "of these: committed while its lane was asking or later",
    "committed, not confirmed by the standbys",
    "lock time-out",
    "connection attempt failed",
    "database crashed and was away",
    "a replica's network cut",
    "a replica stopped for seconds",
    "transaction ended by the idle time-out",
    "backend ended by an operator",
    "idle connection died",
    "the database's clock stepped",
    "client gone before its answer",
    "a key used again, for the same or another request",
    "a wrong PIN counted",
    "of these: the third in a row",
    "a sequence fell back to its last durable value at a crash",
    "an error, or the connection's end, behind COMMIT's own result",
    "a session spoilt for all that follows (25006, 26000, 0A000)",
    "a row locked by an operator",
    "a row changed by an operator",
    "of these: to one that cannot be read, or back",
    "the standby stalled",
    "the standby promoted, with or without the last commits",
    "the old primary came back as it was",
    "of these: a connection to it refused",
    "a transaction pooler between lanes and database",
    "of these: a transaction in another lane's session",
    "of these: noticed by the lane",
};

inline constexpr size_t kOutcomeCodes = static_cast<size_t>(OutcomeCode::kOutcomeUnknown) + 1;

struct Counts {
  std::array<uint64_t, static_cast<size_t>(Injected::kCount)> injected{};
  std::array<uint64_t, kOutcomeCodes> answers{};  // by OutcomeCode
  uint64_t schedules = 0;
  uint64_t batches = 0;
  uint64_t commits = 0;
  uint64_t in_doubt = 0;
  uint64_t refused_full = 0;
  uint64_t abandoned = 0;
  uint64_t turns_awaited = 0;
  uint64_t unfounded_refusals = 0;
  uint64_t stale_to_nobody = 0;
  uint64_t days_used_twice = 0;
  uint64_t unconfirmed_found = 0;
  uint64_t pins_counted_twice = 0;

  void add(Injected kind) { ++injected[static_cast<size_t>(kind)]; }
};

// What the rules made of a PIN that they looked at.
struct PinEvent {
  enum class Kind : uint8_t { kRight, kWrong, kLocked };
  Kind kind = Kind::kRight;
  int attempt = 0;
  int64_t account_number = 0;
};

// Serves many schedules one after the other; making a loop is dear. Must outlive what runs in it.
class World {
 public:
  World() : events(clock), ring_(new SimulatedRing(events, clock)), loop(std::unique_ptr<Ring>(ring_), clock) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  bool is_at_rest() const { return ring_->is_at_rest(); }

  // Starts a schedule: whatever came before leaves no trace in it.
  void reset(uint64_t seed) {
    random = Random(seed);
    violation.clear();
    pin_events.clear();
    constexpr int64_t kTick = TimerWheel::kTickNs;
    clock.advance_ns((clock.now_ns() / kTick + 1) * kTick - clock.now_ns());
    loop.turn();
    start_ns = clock.now_ns();
  }

  // Only the first one counts: what follows may be its consequence.
  void violate(std::string what) {
    trace("VIOLATION ", what);
    if (violation.empty()) violation = std::move(what);
  }

  template <class... Parts>
  void trace(const Parts&... parts) const {
    if (tracing) [[unlikely]]
      std::fprintf(stderr, "%12.3f ms  %s\n", static_cast<double>(clock.now_ns() - start_ns) / 1e6,
                   concat(parts...).c_str());
  }
  void inject(Injected kind) {
    counts.add(kind);
    trace("  ! ", kInjectedNames[static_cast<size_t>(kind)]);
  }

  // Awaitable.
  auto pause(int64_t duration_ns) {
    struct Pause {
      World& world;
      int64_t duration_ns;
      std::coroutine_handle<> waiting;
      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        waiting = handle;
        world.events.after<&Pause::end>(duration_ns, *this, 0);
      }
      void await_resume() const {}
      void end(uint64_t) { waiting.resume(); }
    };
    return Pause{*this, duration_ns, {}};
  }

  ManualClock clock;
  Events events;

 private:
  SimulatedRing* ring_;  // the loop's

 public:
  Loop loop;
  std::array<AccountsInFlight, 3> in_flight;  // by replica
  Random random{0};
  Counts counts;
  std::string violation;
  // Of the batch that is being decided: a lane writes, or rolls back, before anything else happens.
  std::vector<PinEvent> pin_events;
  bool tracing = false;
  int64_t start_ns = 0;
};

inline constexpr int64_t kMicro = 1000;
inline constexpr int64_t kMilli = kNanosPerMilli;
inline constexpr int64_t kSecond = kNanosPerSecond;

}  // namespace txn::simulation
