// Whether the database answers, found out by asking it once a second from each worker, and what is known of the
// accounts service, so that probes read a value and cannot become load.
#pragma once

#include <atomic>
#include <cstdint>

#include "app/accounts_service.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/pause.h"
#include "core/task.h"
#include "db/ledger.h"
#include "db/reader.h"

namespace txn {

// Workers of the process that have not yet had an answer from the database: until it is zero nobody is ready, because
// the next request may come to any of them.
using StartingWorkers = std::atomic<int>;

// What one worker knows of the database.
struct HealthCounters {
  Counter database_questions;
  Counter database_failures;   // answered with an error, or not at all
  Gauge database_ok;           // 1: the last one was answered, and a lane is connected
  Gauge database_answered_ns;  // CLOCK_MONOTONIC of the last answer

  // Any thread.
  bool is_database_up(int64_t now_ns) const;
};

class Health {
 public:
  Health(Loop& loop, Ledger& ledger, Reader& reader, const AccountsState& accounts, StartingWorkers& starting)
      : loop_(loop), pause_(loop), ledger_(ledger), reader_(reader), accounts_(accounts), starting_(starting) {}

  // Asks until stop().
  void start(Scope& scope) { scope.spawn(run()); }
  void stop() { pause_.end(); }

  // The database has answered a question lately, and a lane is connected to it.
  bool is_database_up() const;

  // Every worker has come this far.
  bool has_started() const { return starting_.load() == 0; }

  // The database is up and every worker has started. The accounts service has no part in it: no request needs it, so
  // taking replicas out of service for its sake would turn its outage into ours.
  bool is_ready() const { return is_database_up() && has_started(); }

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
  Reader& reader_;
  const AccountsState& accounts_;
  StartingWorkers& starting_;
  bool started_ = false;
  bool draining_ = false;
  HealthCounters counters_;
};

}  // namespace txn
