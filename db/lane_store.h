// What a lane needs of a database, in the terms of the ledger: one transaction at a time, in three steps.
//
//   claim (when there are keys)  ->  lock  ->  write, or roll back
//
// A batch that only repeats what was answered before ends with confirm() instead.
//
// PgLaneStore is the real one. Behind this interface the lane's own logic (what is retried, what is in doubt, who is
// told what) can be run against a simulated database that fails wherever it likes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/task.h"
#include "db/ledger_rows.h"

namespace txn {

enum class StoreStatus {
  kOk,
  kFailed,       // the database refused a statement; the transaction must be rolled back
  kLost,         // no answer, or none in time: what was sent may or may not have been executed
  kUnconfirmed,  // write(), confirm(), find(): committed here, but the synchronous standbys did not say that they have
                 // it
  kForeign,      // claim(), lock(): the transaction runs in another session than the one that was opened, because a
                 // transaction pooler is in between; to be rolled back, and the session to be refused
};

// Which backend served a connection: process ids are used again, so the start time belongs to it.
struct BackendId {
  int32_t pid = 0;
  int64_t start_us = 0;  // microseconds since 1970-01-01 UTC
};

// What became of one claim.
struct Claim {
  enum class Kind : uint8_t {
    kNew,         // nobody has used the key; it is ours until the transaction ends
    kInFlight,    // another transaction holds it
    kUsed,        // answered before: `fingerprint`, `request_digest` and `answer` say how
    kUnreadable,  // what the database says of it cannot be read
  };
  Kind kind = Kind::kNew;
  Fingerprint fingerprint{};
  std::optional<RequestDigest> request_digest;
  StoredAnswer answer;
};

// How long lock() waits for rows that somebody else has locked.
enum class LockWait : uint8_t {
  kShort,  // longer than a batch of another lane takes, and shorter than anybody would call it a queue
  kNone,   // at all: what is locked is told instead
  kLong,   // as long as an operation may wait
};

struct LockRequest {
  std::span<const int64_t> account_numbers;  // ascending, each once
  bool wants_ids = false;
  bool wants_limits = false;
  LockWait wait = LockWait::kShort;
};

// An account that could not be locked.
struct LockedAccount {
  int64_t account_number = 0;
  bool by_outsider = false;  // by a session that is no lane, of any replica
};

struct Locked {
  std::vector<AccountState> accounts;  // ascending; those that exist
  int64_t now_us = 0;                  // the database's clock after the locks were held
  int64_t id_block = 0;                // when asked for: ids id_block * kIdsPerBlock and on are ours, once this
                                       // transaction has committed
  TransferLimits limits{};             // when asked for
  std::vector<LockedAccount> held_up;  // LockWait::kNone: those that exist and that somebody else has locked; ascending
};
inline constexpr int64_t kIdsPerBlock = 1024;

struct WriteRequest {
  std::span<const AccountState> accounts;  // those marked `changed` or `pin_changed` are written
  bool has_usage = false;                  // whether usage may have changed
  std::span<const LogRow> log;
  std::span<IdempotentRequest* const> answers;  // with `answer` filled in
  int64_t now_us = 0;
};

// A trace that a committed batch leaves and that no other batch can: its first log row in all that it says, or an
// answer that it keeps, each with the moment at which the batch had its locks. An id alone is no mark, because a
// sequence may fall back when its server crashes, and be handed out again. A batch that writes nothing but wrong PINs
// leaves no trace that others could not have changed meanwhile.
struct Marker {
  const LogRow* log_row = nullptr;
  const IdempotentRequest* idempotent = nullptr;  // looked at when there is no log row
  int64_t now_us = 0;
  bool is_none() const { return log_row == nullptr && idempotent == nullptr; }
};

class LaneStore {
 public:
  virtual ~LaneStore() = default;

  // Opens a connection, closing the one before, and reserves a block of ids, which is durable then: `id_block`.
  // kUnavailable when it cannot be had.
  virtual Task<Result<void>> open(int64_t& id_block) = 0;
  virtual Task<void> close() = 0;
  virtual bool is_open() const = 0;
  virtual BackendId backend() const = 0;
  // Whether a newer primary has been seen since, so that nothing may be committed here any more.
  virtual bool is_superseded() const = 0;
  // After kForeign: nobody is to be given such a session until sessions are known to hold again.
  virtual void report_foreign_session() = 0;

  // Begins the transaction and claims the keys, one result for each, in order. Never waits for another transaction.
  virtual Task<StoreStatus> claim(std::span<IdempotentRequest* const> keys, std::vector<Claim>& out) = 0;
  // Locks the accounts in ascending order; begins the transaction unless claim() has. kFailed with SQLSTATE 55P03:
  // somebody has had one of them locked for longer than `wait`.
  virtual Task<StoreStatus> lock(const LockRequest& request, Locked& out) = 0;
  // Writes everything and commits. kOk: committed and durable, even if the connection is lost by now. kFailed: not
  // committed. kLost: in doubt.
  virtual Task<StoreStatus> write(const WriteRequest& request) = 0;
  virtual Task<StoreStatus> rollback() = 0;
  // Ends a transaction that has only read, and whose answers rest on what it has read. kOk: that is as durable as what
  // write() acknowledges. kLost: who knows.
  virtual Task<StoreStatus> confirm() = 0;
  // Does everything that a batch does, to no account: kOk when this session can move money.
  virtual Task<StoreStatus> probe() = 0;

  // Outside a transaction: asks for the end of that backend, and tells whether it is gone.
  virtual Task<StoreStatus> end_backend(BackendId backend, bool& gone) = 0;
  // REQUIRES: there is a marker. Whether a batch with it has been committed, and is on the synchronous standbys, if
  // there are any.
  virtual Task<StoreStatus> find(const Marker& marker, bool& found) = 0;

  // Of the last failure: the server's SQLSTATE ("" for a lost connection) and a text for the log.
  virtual const std::string& error_sqlstate() const = 0;
  virtual const std::string& error_text() const = 0;
};

}  // namespace txn
