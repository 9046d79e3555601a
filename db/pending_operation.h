// An operation on its way through the ledger, and who asked for it.
#pragma once

#include <coroutine>
#include <cstdint>

#include "core/intrusive_list.h"
#include "db/ledger_rows.h"

namespace txn {

// Who asked. Lives as long as the operation is on its way.
class OperationClient {
 public:
  // False when nobody would hear the answer: the operation need not be begun then. One that was begun goes on.
  virtual bool is_waiting() const = 0;

 protected:
  ~OperationClient() = default;
};

struct PendingListTag;

// Lives in the frame of the handler that awaits it.
class PendingOperation : public ListNode<PendingListTag> {
 public:
  PendingOperation(const Operation& asked, IdempotentRequest* key, const OperationClient* caller)
      : operation(asked), idempotent(key), client(caller) {}
  const Operation& operation;
  IdempotentRequest* const idempotent;  // nullptr: came without a key
  const OperationClient* const client;  // nullptr: somebody who always waits
  Outcome outcome;
  int64_t queued_ns = 0;
  int attempts = 0;
  // An answer is kept under its key: whatever becomes of this request, an earlier one has come to something.
  bool is_repeat = false;
  std::coroutine_handle<> waiting;
};

using PendingList = IntrusiveList<PendingOperation, PendingListTag>;

}  // namespace txn
