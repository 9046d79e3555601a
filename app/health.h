// Whether the database answers, found out by asking it once a second from each worker, so that probes read a value and
// cannot become load.
#pragma once

#include <coroutine>
#include <cstdint>

#include "core/loop.h"
#include "core/task.h"
#include "db/ledger.h"
#include "db/reader.h"

namespace txn {

class Health final : private Timer {
 public:
  Health(Loop& loop, Ledger& ledger, Reader& reader) : loop_(loop), ledger_(ledger), reader_(reader) {}

  // Asks until stop().
  void start(Scope& scope) { scope.spawn(run()); }
  void stop();

  // The database has answered a question lately, and a lane is connected to it.
  bool is_database_up() const;

  void set_draining() { draining_ = true; }
  bool is_draining() const { return draining_; }

 private:
  Task<void> run();
  void on_timer() override { wake(); }
  void wake();

  Loop& loop_;
  Ledger& ledger_;
  Reader& reader_;
  std::coroutine_handle<> pausing_;
  bool stopping_ = false;
  bool draining_ = false;
  bool last_ping_ok_ = false;
  int64_t last_answer_ns_ = 0;
};

}  // namespace txn
