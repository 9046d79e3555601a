// Whether the database answers, found out by asking it once a second from each worker, so that probes read a value and
// cannot become load.
#pragma once

#include <cstdint>

#include "core/loop.h"
#include "core/pause.h"
#include "core/task.h"
#include "db/ledger.h"
#include "db/reader.h"

namespace txn {

class Health {
 public:
  Health(Loop& loop, Ledger& ledger, Reader& reader) : loop_(loop), pause_(loop), ledger_(ledger), reader_(reader) {}

  // Asks until stop().
  void start(Scope& scope) { scope.spawn(run()); }
  void stop() { pause_.end(); }

  // The database has answered a question lately, and a lane is connected to it.
  bool is_database_up() const;

  void set_draining() { draining_ = true; }
  bool is_draining() const { return draining_; }

 private:
  Task<void> run();

  Loop& loop_;
  Pause pause_;
  Ledger& ledger_;
  Reader& reader_;
  bool draining_ = false;
  bool last_ping_ok_ = false;
  int64_t last_answer_ns_ = 0;
};

}  // namespace txn
