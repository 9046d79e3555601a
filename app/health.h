// Whether money can move, and what is known of the accounts service, so that probes read a value and cannot become
// load. A batch that commits shows it; while none does, a lane of each worker asks the database by an empty one.
#pragma once

#include <atomic>
#include <cstdint>

#include "app/accounts_service.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/pause.h"
#include "core/task.h"
#include "db/ledger.h"

namespace txn {

// Workers of the process that have not yet had an answer from the database: until it is zero nobody is ready, because
// the next request may come to any of them.
using StartingWorkers = std::atomic<int>;

// Those that have started and cannot move money at the moment: nobody is ready then either.
using WorkersAway = std::atomic<int>;

// What one worker knows of the database.
struct HealthCounters {
  Gauge money_moved_ns;  // CLOCK_MONOTONIC when a lane last committed, or found that it could; 0: it cannot

  // Any thread: money can move. An answer is good for kProofGoodForNs.
  bool is_database_up(int64_t now_ns) const;
};

class Health {
 public:
  Health(Loop& loop, Ledger& ledger, const AccountsState& accounts, StartingWorkers& starting, WorkersAway& away)
      : loop_(loop), pause_(loop), ledger_(ledger), accounts_(accounts), starting_(starting), away_(away) {}

  // Asks until stop().
  void start(Scope& scope) { scope.spawn(run()); }
  void stop() { pause_.end(); }

  // A lane has moved money lately, or has found that it could, and is connected.
  bool is_database_up() const;

  // Every worker has come this far.
  bool has_started() const { return starting_.load() == 0; }

  // The database is up, for this worker and as far as known for the others, and every worker has started. The accounts
  // service has no part in it: no request needs it, so taking replicas out of service for its sake would turn its
  // outage into ours.
  bool is_ready() const { return is_database_up() && has_started() && away_.load() == 0; }

  // What came of the last question to the accounts service. Waits for the first answer, which cannot take longer than
  // kAccountsTimeoutNs; after that there always is one.
  Task<AccountsState::Reading> accounts_service() const;

  void set_draining() { draining_ = true; }
  bool is_draining() const { return draining_; }

  const HealthCounters& counters() const { return counters_; }

 private:
  Task<void> run();

  Loop& loop_;
  Pause pause_;
  Ledger& ledger_;
  const AccountsState& accounts_;
  StartingWorkers& starting_;
  WorkersAway& away_;
  bool started_ = false;
  bool is_away_ = false;  // and counted
  bool draining_ = false;
  HealthCounters counters_;
};

}  // namespace txn
