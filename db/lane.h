// A lane: one connection that carries out batches of operations, each batch in one database transaction.
//
//   claim   the Idempotency-Keys of the batch, if there are any: what was answered before is answered again, and
//           what is under way elsewhere is refused
//   lock    the accounts of the batch, in account_number order, and read the database's clock
//   decide  the rules, operation by operation in order of arrival, on the locked rows
//   write   one UPDATE of the accounts that changed, one INSERT of the log rows, one of the answers to keep, COMMIT
//   answer  each operation its own outcome, and what was written only after COMMIT was acknowledged
//
// Two or three round trips, however many operations. A refused operation costs its neighbours nothing. A batch that
// fails as a whole is retried, split or refused, never half-answered; one whose connection dies in COMMIT is resolved
// by asking the database whether the batch's mark is there, after making sure that the old backend is gone.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/pause.h"
#include "core/task.h"
#include "db/id_blocks.h"
#include "db/lane_store.h"
#include "db/ledger.h"

namespace txn {

class Lane final {
 public:
  Lane(Ledger& ledger, int index);
  // Where the batches go; set once, before run(). Apart from the constructor because a store tells its lane of lost
  // connections (by wake()).
  void attach(std::unique_ptr<LaneStore> store) { store_ = std::move(store); }

  // Connects, works and reconnects until the ledger stops.
  Task<void> run();

  bool is_open() const { return store_->is_open(); }
  // Connected and waiting for work.
  bool is_idle() const { return idle_handle_ != nullptr && store_->is_open(); }
  // Not connected, and the last attempt to connect has failed.
  bool is_away() const { return away_; }
  // Lets an idle lane look at the queue and at its connection at once.
  void wake();
  // The ledger stops: wherever the lane waits, it looks at once.
  void stop();

 private:
  enum class Attempt {
    kDone,         // outcomes are true: committed, or nothing to commit
    kFailed,       // the database refused the batch; to be rolled back
    kLocked,       // somebody has had an account locked for too long; rolled back
    kLost,         // connection gone before COMMIT was sent: certainly not applied
    kInDoubt,      // connection gone after COMMIT was sent
    kUnconfirmed,  // committed, but a failover may still lose it
  };
  using Batch = std::span<PendingOperation*>;

  Task<void> connect();
  Task<bool> try_connect();
  void enter_accounts();
  Task<void> probe();
  Task<void> process(Batch batch, LockWait wait);
  // LockWait::kNone: what needs an account that somebody else has locked is no longer part of the batch afterwards. It
  // waits for an outsider in the ledger, and for another lane in contended_.
  Task<Attempt> attempt(Batch& batch, LockWait wait);
  Task<Attempt> end_reading(Batch batch);
  Task<StoreStatus> claim(Batch batch);
  void set_locked_aside(Batch& batch);
  Task<void> leave_foreign_session();
  Task<void> leave_superseded();
  Task<void> handle_failure(Batch batch, LockWait wait);
  Task<void> resolve(Batch batch);
  static bool needs_claim(Batch batch);
  static bool is_settled(PendingOperation& pending, Claim& claim);
  LockRequest plan_lock();
  void decide();
  void answer_unknown(Batch batch);
  void answer_all(Batch batch);
  void refuse_all(Batch batch);

  Ledger& ledger_;
  Loop& loop_;
  const int index_;
  std::unique_ptr<LaneStore> store_;
  std::coroutine_handle<> idle_handle_;
  Pause reconnect_pause_;
  bool away_ = false;

  IdBlocks ids_;
  // Sessions given up in a row for what the database said in them.
  int spoilt_ = 0;
  bool is_unwell_ = false;  // by the last probe

  // Scratch of the batch in flight; kept for their memory.
  std::vector<PendingOperation*> batch_;
  std::vector<AccountsInFlight::Slot> slots_;  // of the batch's accounts
  std::vector<PendingOperation*> contended_;   // to be tried next, with patience
  std::vector<PendingOperation*> undecided_;   // those of an attempt that the claims have not answered
  std::vector<IdempotentRequest*> keys_;
  std::vector<Claim> claims_;
  std::vector<IdempotentRequest*> answers_;  // to be kept
  std::vector<int64_t> account_numbers_;
  Locked locked_;
  std::vector<LogRow> log_;
  bool has_transfers_ = false;
};

}  // namespace txn
