// The plain values that a lane reads, decides on and writes. No behaviour, no I/O: the rules (app/rules.h) are pure
// functions over these structs, the lane (db/lane.h) moves them to and from SQL.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/money.h"

namespace txn {

enum class OperationType : uint8_t { kDeposit, kWithdrawal, kTransfer };
enum class TransferMode : uint8_t { kNone, kNeft, kRtgs, kImps, kUpi, kCheque };
enum class Role : uint8_t { kCustomer, kTeller, kAdmin };
enum class Privilege : uint8_t { kPremium, kGold, kSilver, kBasic };
inline constexpr size_t kPrivilegeCount = 4;

std::string_view to_string(OperationType type);                          // "DEPOSIT", "WITHDRAWAL", "TRANSFER"
std::string_view to_string(TransferMode mode);                           // "NEFT", ...; "" for kNone
std::string_view to_string(Role role);                                   // "CUSTOMER", ...
std::string_view to_string(Privilege privilege);                         // "PREMIUM", ...
std::optional<TransferMode> parse_transfer_mode(std::string_view text);  // exact upper-case names; kNone never
std::optional<Role> parse_role(std::string_view text);
std::optional<Privilege> parse_privilege(std::string_view text);

// HMAC-SHA-256 of a PIN under the server's key (app/pin.h).
using PinHash = std::array<uint8_t, 32>;

// One movement of money as asked for by an authenticated caller. Owns everything it says.
struct Operation {
  OperationType type = OperationType::kDeposit;
  TransferMode transfer_mode = TransferMode::kNone;
  Role caller_role = Role::kCustomer;
  int64_t caller_id = 0;       // the token's subject
  int64_t account_number = 0;  // deposit, withdrawal: the account; transfer: the payer
  int64_t to_account = 0;      // transfer only
  Money amount;
  std::optional<std::string> pin;  // as typed, 4 to 6 digits; the rules hash it, nobody stores or logs it
  std::string description;         // UTF-8, at most 255 characters, no NUL
};

// Calls `visit` with the number of each account that `operation` is about.
template <class Visit>
void for_each_account(const Operation& operation, Visit visit) {
  visit(operation.account_number);
  if (operation.type == OperationType::kTransfer) visit(operation.to_account);
}

// Keyed hash of what a request asks for (app/idempotency.h).
using Fingerprint = std::array<uint8_t, 32>;
// The same for when the key has changed (db/request_digest.h).
using RequestDigest = std::array<uint8_t, 32>;

// An answer as it was given, to be given again byte for byte.
struct StoredAnswer {
  int16_t status = 0;
  std::string body;
};

// A request that came with an Idempotency-Key.
struct IdempotentRequest {
  int64_t caller_id = 0;
  OperationType route = OperationType::kDeposit;
  std::string key;  // 1 to 255 visible ASCII characters
  Fingerprint fingerprint{};
  RequestDigest request_digest{};
  std::string request_id;  // errors carry it, and so do their repeats
  StoredAnswer answer;     // filled in when the operation has been decided, or found to have been
};

// Most wrong PINs in a row that an account's row counts; so many lock the PIN (app/rules.h).
inline constexpr int32_t kPinFailuresMax = 3;

// A row of `accounts` as locked by the lane.
struct AccountState {
  int64_t account_number = 0;
  int64_t owner_id = 0;
  Privilege privilege = Privilege::kBasic;
  bool is_active = false;
  Money balance;
  int64_t log_seq = 0;              // seq of the newest log row, 0 when there is none
  std::optional<PinHash> pin_hash;  // unset: the account has no PIN
  int32_t usage_day = 0;            // day of the two below, days since 1970-01-01 UTC
  Money usage_amount;               // successful outgoing transfers of usage_day
  int32_t usage_count = 0;
  int32_t pin_failures = 0;         // wrong PINs in a row
  int64_t pin_locked_until_us = 0;  // microseconds since 1970-01-01 UTC; 0: not locked since the last right PIN
  // Set by the rules when they alter the row, so that the lane writes it back: what a movement changes, and the two
  // above. A refusal may do the second.
  bool changed = false;
  bool pin_changed = false;
  // The row is not one that we could have written. Of all the above only the number means anything.
  bool is_unreadable = false;
};

// A row of `transfer_limits`.
struct TransferLimit {
  Money daily_amount;
  int32_t daily_count = 0;
  bool is_readable = true;  // false: the row is not there, or not one that means a limit
};
using TransferLimits = std::array<TransferLimit, kPrivilegeCount>;  // indexed by Privilege

enum class Direction : uint8_t { kCredit, kDebit };
std::string_view to_string(Direction direction);  // "CREDIT", "DEBIT"

// A row of `transaction_logs` to be written: one leg of a transaction. Borrows its description from the operation.
struct LogRow {
  int64_t transaction_id = 0;
  int64_t account_number = 0;
  int64_t counterparty = 0;  // 0: none
  int64_t seq = 0;
  OperationType type = OperationType::kDeposit;
  Direction direction = Direction::kCredit;
  TransferMode transfer_mode = TransferMode::kNone;
  Money amount;
  Money balance_after;
  std::string_view description;
};

// transaction_logs.id: twice the transaction, plus one for the payee's leg of a transfer.
inline int64_t log_row_id(const LogRow& row) {
  const bool is_payee_leg = row.type == OperationType::kTransfer && row.direction == Direction::kCredit;
  return row.transaction_id * 2 + (is_payee_leg ? 1 : 0);
}

// What became of an operation. kSuccess and the refusals of the books are decided by the rules under lock; what follows
// them by the lane.
enum class OutcomeCode : uint8_t {
  kSuccess,
  kAccountNotFound,
  kForbidden,
  kAccountNotActive,
  kSameAccountTransfer,
  kInvalidPin,
  kPinLocked,
  kInsufficientFunds,
  kBalanceOverflow,
  kTransferLimitExceeded,
  kDailyTransactionCountExceeded,
  kAccountUnreadable,     // its row, or its limit's, is not one that we could have written: a fault, not a refusal
  kReplayed,              // answered before under the same key: the answer is in the IdempotentRequest
  kIdempotencyConflict,   // the same key is being used right now
  kIdempotencyKeyReused,  // the same key was used for another request
  kKeyUnreadable,         // whether the key was used cannot be told; nothing was done this time
  kUnavailable,           // certainly not applied
  kOutcomeUnknown,        // the database went away in the middle of COMMIT and could not be asked in time
};

struct Outcome {
  OutcomeCode code = OutcomeCode::kUnavailable;
  int64_t account_number = 0;       // the account that a refusal is about
  int64_t transaction_id = 0;       // kSuccess only, as is all below but the last
  int64_t transacted_at_us = 0;     // microseconds since 1970-01-01 UTC, the database's clock
  Money new_balance;                // of account_number (transfer: of the payer)
  Money to_new_balance;             // transfer: of the payee
  bool to_balance_visible = false;  // whether the caller may see the payee's balance
  int64_t pin_locked_s = 0;         // kPinLocked, and the kInvalidPin that made the lock: seconds that it lasts yet
};

}  // namespace txn
