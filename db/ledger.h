// The way into the books for one worker: a bounded queue of operations and the lanes that carry them out in batches.
//
// No timer makes a batch: an idle lane takes what is there at the end of the turn, and while it is in flight the next
// batch fills. Everything here belongs to the worker's thread.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/loop.h"
#include "core/task.h"
#include "db/ledger_rows.h"

namespace txn {

class Connector;
class Lane;

// The books' rules, given by the application. Pure: called under the locks of a batch, in order of arrival.
class BatchRules {
 public:
  // Decides `operation` on `accounts` (sorted by account_number, changed in place), appends its log rows.
  virtual Outcome decide(const Operation& operation, std::span<AccountState> accounts, const TransferLimits& limits,
                         int64_t now_us, int64_t transaction_id, std::vector<LogRow>& log) const = 0;

 protected:
  ~BatchRules() = default;
};

struct LedgerOptions {
  int lanes = 1;
  size_t queue_max = 4096;
  size_t batch_max = 256;
  int64_t command_timeout_ns = 30 * kNanosPerSecond;
  // Longest that an operation may wait for a lane before it is refused.
  int64_t queue_wait_ns = 5 * kNanosPerSecond;
  // Longest that a client waits to learn the outcome of a commit that the database went away in.
  int64_t in_doubt_ns = 10 * kNanosPerSecond;
};

struct PendingListTag;

// An operation on its way: lives in the frame of the handler that awaits it.
class PendingOperation : public ListNode<PendingListTag> {
 public:
  explicit PendingOperation(const Operation& asked) : operation(asked) {}
  const Operation& operation;
  Outcome outcome;
  int64_t queued_ns = 0;
  int attempts = 0;
  std::coroutine_handle<> waiting;
};

struct LedgerCounters {
  uint64_t batches = 0;
  uint64_t operations = 0;    // in those batches
  uint64_t refused_full = 0;  // the queue was full
  uint64_t refused_away = 0;  // no lane had a connection, or none was free in time
  uint64_t reconnects = 0;
  uint64_t commits_in_doubt = 0;
  uint64_t outcomes_unknown = 0;
};

class Ledger final : private Flusher, private Timer {
 public:
  // All references must outlive the ledger.
  Ledger(Loop& loop, Connector& connector, const BatchRules& rules, LedgerOptions options);
  ~Ledger();

  // Awaitable Outcome. `operation` must stay as it is until then. kUnavailable is certain not to have been applied.
  auto submit(const Operation& operation) {
    struct Submit : PendingOperation {
      Ledger& ledger;
      Submit(Ledger& owner, const Operation& asked) : PendingOperation(asked), ledger(owner) {}
      bool await_ready() { return !ledger.admits(); }
      void await_suspend(std::coroutine_handle<> handle) {
        waiting = handle;
        ledger.enqueue(*this);
      }
      Outcome await_resume() const { return outcome; }
    };
    return Submit(*this, operation);
  }

  // Starts connecting. The lanes run in `scope` until stop().
  void start(Scope& scope);
  // No operation may be under way. The lanes close their connections and leave the scope.
  void stop();

  // Whether at least one lane has a live connection.
  bool is_connected() const;
  size_t queued() const { return queued_; }
  const LedgerCounters& counters() const { return counters_; }

 private:
  friend class Lane;
  friend class PendingOperation;

  bool admits();
  void enqueue(PendingOperation& pending);
  // Lanes: the oldest operations, at most batch_max.
  void take(std::vector<PendingOperation*>& batch);
  // Lanes: operations that were certainly not applied go back to the front, or are refused at their second return.
  void give_back(std::span<PendingOperation* const> batch);
  void answer(PendingOperation& pending);
  void refuse(PendingOperation& pending);
  void on_lane_changed();
  void flush() override;
  void on_timer() override;

  Loop& loop_;
  Connector& connector_;
  const BatchRules& rules_;
  const LedgerOptions options_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  IntrusiveList<PendingOperation, PendingListTag> queue_;
  size_t queued_ = 0;
  bool stopping_ = false;
  LedgerCounters counters_;
};

}  // namespace txn
