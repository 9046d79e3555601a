// Accounts as operators see them: putting them in, looking at them, changing what is not money.
//
// A balance is given once, when an account is created; it becomes the opening balance, with an empty log. From then on
// balances move through the log only, which is why nothing here changes one.
//
// All of it blocks; none of it runs on a worker. PINs come in hashed, or are hashed by a function that app provides.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/money.h"
#include "db/ledger_rows.h"
#include "db/session.h"

namespace txn {

struct NewAccount {
  int64_t account_number = 0;  // above zero
  int64_t owner_id = 0;
  Privilege privilege = Privilege::kBasic;
  Money balance{};  // 0 to kMaxBalance
  bool is_active = true;
  std::optional<PinHash> pin_hash{};
};

// The account and what only operators ask for.
struct AccountDetails {
  AccountState state;
  Money opening_balance;
  std::string created_at;        // RFC 3339, UTC
  std::string pin_locked_until;  // the same; "" when it is not locked. A lock that is over does not show in `state`
};

// What to change; unset: leave as it is.
struct AccountChanges {
  std::optional<bool> is_active{};
  std::optional<Privilege> privilege{};
  std::optional<int64_t> owner_id{};
  std::optional<std::optional<PinHash>> pin_hash{};  // set to nullopt: no PIN any more. Ends a lock as well
  bool unlock_pin = false;                           // and forgets the wrong ones
};

// Accounts 1001 to 1010: owner 1, GOLD, 1,000,000.00, active, no PIN. Those that exist stay as they are. Returns how
// many were created.
Result<int64_t> seed_demo_accounts(Session& session);

// kInvalidArgument when the account exists.
Result<void> create_account(Session& session, const NewAccount& account);

// kInvalidArgument when there is no such account, as in change_account.
Result<AccountDetails> find_account(Session& session, int64_t account_number);

struct AccountFilter {
  std::optional<int64_t> owner_id{};
  int64_t after = 0;  // only larger account numbers
  int64_t limit = 0;  // at most so many
};

struct AccountSummary {
  int64_t account_number = 0;
  int64_t owner_id = 0;
  Privilege privilege = Privilege::kBasic;
  bool is_active = false;
  Money balance{};
};

// By account number, ascending. kDatabase for a row that cannot be read, naming it.
Result<std::vector<AccountSummary>> list_accounts(Session& session, const AccountFilter& filter);

Result<void> change_account(Session& session, int64_t account_number, const AccountChanges& changes);

struct ImportOptions {
  // Called with 4 to 6 digits. Empty: a file that has PINs is refused, with `hash_pin_missing` as the reason.
  std::function<PinHash(int64_t account_number, std::string_view pin)> hash_pin;
  std::string hash_pin_missing;
  // Called every few thousand records with the bytes read so far. May be empty.
  std::function<void(int64_t bytes_read)> on_progress;
};

// Creates an account for each record of `csv`, all or none, in one transaction.
//
// The first record names the columns, in any order: account_number, owner_id, privilege, balance, is_active and, if
// there are PINs, pin (empty: no PIN). Returns how many accounts were created. kInvalidArgument for what is wrong with
// the file: up to kImportErrorsMax findings, one a line of the message, each naming line and column. A value is quoted
// only from files without a column `pin`, since a shifted row would put a PIN into another column.
inline constexpr size_t kImportErrorsMax = 20;
Result<int64_t> import_accounts(Session& session, std::istream& csv, const ImportOptions& options);

}  // namespace txn
