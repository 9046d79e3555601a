// What the subcommands other than `serve` do. Each prints its result on standard output, what went wrong in a line each
// on standard error, and returns the exit status: 0, 1 for a failure, 2 for options or settings that cannot be right.
//
// They block and run on the main thread, with one database connection of their own.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/error.h"

namespace txn {

inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

// Options as typed; the commands check them. A `pin` of "-" is read from standard input, one line, so that it need not
// stand in the process list.
struct MigrateOptions {
  std::string grant_to;  // a role that is to run the service; "" for none
};

struct HealthcheckOptions {
  bool ready = false;  // whether the service may have requests, instead of whether it lives
};

struct AccountCreateOptions {
  int64_t account_number = 0;
  int64_t owner_id = 0;
  std::string privilege;
  std::string balance;
  std::optional<std::string> pin;
};

struct AccountSetOptions {
  int64_t account_number = 0;
  std::optional<bool> is_active;
  std::optional<std::string> privilege;
  std::optional<int64_t> owner_id;
  std::optional<std::string> pin;
  bool no_pin = false;
  bool unlock_pin = false;
};

struct AccountShowOptions {
  int64_t account_number = 0;
  bool as_json = false;
};

inline constexpr int64_t kAccountListMax = 10'000;

struct AccountListOptions {
  std::optional<int64_t> owner_id;  // of anybody, unless given
  int64_t after = 0;
  int64_t limit = 100;
  bool as_json = false;
};

struct TokenOptions {
  int64_t subject = 1;
  std::string role = "CUSTOMER";
  int64_t ttl_seconds = 3600;
  std::string private_key_file;  // for the algorithms other than HS256
  std::string kid;
  std::optional<std::string> issuer;  // the settings', unless given
  std::optional<std::string> audience;
};

// "name: line" on standard error for every line of `message`.
void print_error(const std::string& message);

int cmd_migrate(const Settings& settings, const MigrateOptions& options);
int cmd_seed_demo(const Settings& settings);
int cmd_account_create(const Settings& settings, const AccountCreateOptions& options);
int cmd_account_show(const Settings& settings, const AccountShowOptions& options);
int cmd_account_list(const Settings& settings, const AccountListOptions& options);
int cmd_account_set(const Settings& settings, const AccountSetOptions& options);
// `path` "-": standard input.
int cmd_account_import(const Settings& settings, const std::string& path);
int cmd_token(const Settings& settings, const TokenOptions& options);
// Asks the service on this machine for /livez or /readyz, on OPERATIONS_PORT if there is one. Exit 0 for a 200, 1 for
// any other answer or none, 2 where it cannot know whom to ask.
int cmd_healthcheck(const Settings& settings, const HealthcheckOptions& options);
int cmd_verify_ledger(const Settings& settings);

// One line a finding on standard output: "ok ...", "warning ..." or "error ...". Looks at everything that can be looked
// at, so it takes the settings however they came out. Exit 1 when there is an error among the findings.
int cmd_check_config(const std::expected<Settings, std::vector<Error>>& loaded);

}  // namespace txn
