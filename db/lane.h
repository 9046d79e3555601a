// A lane: one connection that carries out batches of operations, each batch in one database transaction.
//
//   lock    BEGIN, lock the accounts of the batch in account_number order, read the database's clock
//   decide  the rules, operation by operation in order of arrival, on the locked rows
//   write   one UPDATE of the accounts that changed, one INSERT of the log rows, COMMIT
//   answer  each operation its own outcome, and a success only after COMMIT was acknowledged
//
// Two round trips, however many operations. A refused operation costs its neighbours nothing. A batch that fails as a
// whole is retried, split or refused, never half-answered; one whose connection dies in COMMIT is resolved by asking
// the database whether the batch's log rows are there, after making sure that the old backend is gone.
#pragma once

#include <coroutine>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/task.h"
#include "db/ledger.h"
#include "db/pg_connection.h"

namespace txn {

class Lane final : private PgConnection::Owner {
 public:
  Lane(Ledger& ledger, int index);

  // Connects, works and reconnects until the ledger stops.
  Task<void> run();

  bool is_open() const { return connection_.is_open(); }
  // Connected and waiting for work.
  bool is_idle() const { return idle_handle_ != nullptr && connection_.is_open(); }
  // Not connected, and the last attempt to connect has failed.
  bool is_away() const { return away_; }
  // Lets an idle lane look at the queue (or at the ledger's wish to stop) at once.
  void wake();

 private:
  enum class Attempt {
    kDone,     // outcomes are true: committed, or nothing to commit
    kFailed,   // the database refused the batch; rolled back
    kLost,     // connection gone before COMMIT was sent: certainly not applied
    kInDoubt,  // connection gone after COMMIT was sent
  };

  void on_idle_connection_lost() override { wake(); }
  Task<void> connect();
  Task<void> process(std::span<PendingOperation* const> batch);
  Task<Attempt> attempt(std::span<PendingOperation* const> batch);
  Task<void> handle_failure(std::span<PendingOperation* const> batch);
  Task<void> resolve(std::span<PendingOperation* const> batch);
  Task<bool> old_backend_is_gone(int32_t pid, int64_t start_us);
  void push_lock(std::span<PendingOperation* const> batch);
  void read_locked();
  void decide(std::span<PendingOperation* const> batch);
  void push_write();
  void answer_all(std::span<PendingOperation* const> batch);
  void refuse_all(std::span<PendingOperation* const> batch);

  Ledger& ledger_;
  Loop& loop_;
  const int index_;
  PgConnection connection_;
  std::coroutine_handle<> idle_handle_;
  bool away_ = false;

  // Transaction ids reserved and not yet used.
  int64_t next_id_ = 0;
  int64_t ids_end_ = 0;

  // Scratch of the batch in flight; kept for their memory.
  std::vector<PendingOperation*> batch_;
  std::vector<int64_t> account_numbers_;
  std::vector<AccountState> accounts_;
  std::vector<LogRow> log_;
  TransferLimits limits_{};
  int64_t now_us_ = 0;
  bool reserves_ids_ = false;
  bool has_transfers_ = false;
  PgParameters parameters_;
};

}  // namespace txn
