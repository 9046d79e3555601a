// What a lane needs of a database, in the terms of the ledger: one transaction at a time, in three steps.
//
//   claim (when there are keys)  ->  lock  ->  write, or roll back
//
// PgLaneStore is the real one. Behind this interface the lane's own logic (what is retried, what is in doubt, who is
// told what) can be run against a simulated database that fails wherever it likes.
#pragma once

#include <cstdint>
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
  kUnconfirmed,  // write(), find(): committed here, but the synchronous standbys did not say that they have it
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
    kUsed,        // answered before: `fingerprint` and `answer` say how
    kUnreadable,  // what the database says of it cannot be read
  };
  Kind kind = Kind::kNew;
  Fingerprint fingerprint{};
  StoredAnswer answer;
};

struct LockRequest {
  std::span<const int64_t> account_numbers;  // ascending, each once
  bool wants_ids = false;
  bool wants_limits = false;
};

struct Locked {
  std::vector<AccountState> accounts;  // ascending; those that exist
  int64_t now_us = 0;                  // the database's clock after the locks were held
  int64_t id_block = 0;                // when asked for: ids id_block * kIdsPerBlock and on are ours
  TransferLimits limits{};             // when asked for
};
inline constexpr int64_t kIdsPerBlock = 1024;

struct WriteRequest {
  std::span<const AccountState> accounts;  // those marked `changed` or `pin_changed` are written
  bool has_usage = false;                  // whether usage may have changed
  std::span<const LogRow> log;
  std::span<IdempotentRequest* const> answers;  // with `answer` filled in
  int64_t now_us = 0;
};

// A trace that a committed batch leaves, whichever of its parts is at hand. A batch that writes nothing but wrong PINs
// leaves none that others could not have changed meanwhile.
struct Marker {
  int64_t log_row_id = 0;                         // 0: none was written
  const IdempotentRequest* idempotent = nullptr;  // looked at when there is no log row
  bool is_none() const { return log_row_id == 0 && idempotent == nullptr; }
};

class LaneStore {
 public:
  virtual ~LaneStore() = default;

  // Opens a connection, closing the one before. kUnavailable when it cannot be had.
  virtual Task<Result<void>> open() = 0;
  virtual Task<void> close() = 0;
  virtual bool is_open() const = 0;
  virtual BackendId backend() const = 0;

  // Begins the transaction and claims the keys, one result for each, in order. Never waits for another transaction.
  virtual Task<StoreStatus> claim(std::span<IdempotentRequest* const> keys, std::vector<Claim>& out) = 0;
  // Locks the accounts in ascending order; begins the transaction unless claim() has.
  virtual Task<StoreStatus> lock(const LockRequest& request, Locked& out) = 0;
  // Writes everything and commits. kOk: committed and durable. kFailed: not committed. kLost: in doubt.
  virtual Task<StoreStatus> write(const WriteRequest& request) = 0;
  virtual Task<StoreStatus> rollback() = 0;

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
