// Whether the database answers, found out by asking it once a second from each worker, so that probes read a value and
// cannot become load.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/loop.h"
#include "core/pause.h"
#include "core/task.h"
#include "db/ledger.h"
#include "db/reader.h"

namespace txn {

// Workers of the process that have not yet had an answer from the database: until it is zero nobody is ready, because
// the next request may come to any of them.
using StartingWorkers = std::atomic<int>;

class Health {
 public:
  Health(Loop& loop, Ledger& ledger, Reader& reader, StartingWorkers& starting)
      : loop_(loop), pause_(loop), ledger_(ledger), reader_(reader), starting_(starting) {}

  // Asks until stop().
  void start(Scope& scope) { scope.spawn(run()); }
  void stop() { pause_.end(); }

  // The database has answered a question lately, and a lane is connected to it.
  bool is_database_up() const;

  // The above, and every worker has come this far.
  bool is_ready() const { return is_database_up() && starting_.load() == 0; }

  void set_draining() { draining_ = true; }
  bool is_draining() const { return draining_; }

 private:
  Task<void> run();

  Loop& loop_;
  Pause pause_;
  Ledger& ledger_;
  Reader& reader_;
  StartingWorkers& starting_;
  bool started_ = false;
  bool draining_ = false;
  bool last_ping_ok_ = false;
  int64_t last_answer_ns_ = 0;
};

}  // namespace txn
