// Removes what was kept under Idempotency-Keys and has expired: now and then, a little at a time, on a read connection,
// so that no lane ever waits for it. One worker of a process does it; several replicas do not disturb each other.
#pragma once

#include "core/pause.h"
#include "core/task.h"
#include "db/reader.h"

namespace txn {

class KeyExpiry {
 public:
  KeyExpiry(Loop& loop, Reader& reader) : pause_(loop), reader_(reader) {}

  void start(Scope& scope) { scope.spawn(run()); }
  void stop() { pause_.end(); }

 private:
  Task<void> run();

  Pause pause_;
  Reader& reader_;
};

}  // namespace txn
