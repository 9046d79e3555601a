#include "app/request_record.h"

namespace txn {

void RequestRecord::clear() {
  route = nullptr;
  caller.reset();
  movement.reset();
  problem.reset();
  reason = {};
  parent.reset();
  traced = false;
  tracestate.clear();
  ledger_begin_ns = ledger_end_ns = 0;
}

}  // namespace txn
