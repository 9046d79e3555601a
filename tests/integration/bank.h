// A bank to test: a fresh database with the schema, one service on it, and accounts as the tests need them. Everything
// is set up through the service's own commands, so that no test knows the schema better than an operator does.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/jwt.h"
#include "tests/support/private_postgres.h"
#include "tests/support/raw_client.h"
#include "tests/support/service_process.h"

namespace txn::test {

struct AccountSpec {
  int64_t owner_id = 1;
  std::string privilege = "GOLD";
  std::string balance = "1000.00";
  bool is_active = true;
  std::string pin = {};  // empty: none
};

// One row of GET /transaction-logs, its money in minor units.
struct LogEntry {
  int64_t seq = 0;
  int64_t account_number = 0;
  int64_t amount = 0;
  int64_t balance_after = 0;
  std::string transaction_type = {};
  std::string direction = {};
  std::string reference_id = {};
  std::string description = {};
  int64_t signed_amount() const { return direction == "CREDIT" ? amount : -amount; }
};

// "12.34" to 1234 and back; anything but two decimals throws.
int64_t to_minor(std::string_view money);
std::string from_minor(int64_t minor);

inline std::string customer(int64_t owner_id = 1) { return make_token(owner_id, "CUSTOMER"); }
inline std::string teller() { return make_token(9001, "TELLER"); }
inline std::string admin() { return make_token(9002, "ADMIN"); }

// Request bodies. `extra` is appended as it is: R"(,"pin":"1234")".
std::string deposit_body(int64_t account, std::string_view amount, std::string_view extra = "");
std::string transfer_body(int64_t from, int64_t to, std::string_view amount, std::string_view extra = "");

inline constexpr const char* kDeposits = "/api/v1/deposits";
inline constexpr const char* kWithdrawals = "/api/v1/withdrawals";
inline constexpr const char* kTransfers = "/api/v1/transfers";

class Bank {
 public:
  // Creates and migrates a database. Services are started on demand, with `extra` over the usual settings.
  explicit Bank(const std::string& name, const Settings& extra = {});
  // Migrates a database that is there and empty, with another release's binary if need be; "": it has its tables
  // already.
  explicit Bank(const Database& database, const Settings& extra = {},
                const std::string& migrating_binary = service_binary());

  const Database& database() const { return database_; }
  const Settings& settings() const { return settings_; }
  // The usual settings with some changed.
  Settings settings_with(const Settings& changes) const;

  // The bank's own service, started when first asked for.
  ServiceProcess& service();
  bool has_service() const { return service_ != nullptr; }
  void stop_service() { service_.reset(); }

  int64_t open_account(const AccountSpec& spec = {}) { return open_accounts({spec}).front(); }
  std::vector<int64_t> open_accounts(const std::vector<AccountSpec>& specs);

  // What the books say, straight from the table.
  std::string balance(int64_t account) const;
  // The whole log of an account over HTTP, oldest first.
  std::vector<LogEntry> log_of(int64_t account, uint16_t port);
  std::vector<LogEntry> log_of(int64_t account) { return log_of(account, service().port()); }

  // Whether the log of `account`, which opened with `opening`, runs 1, 2, 3 ... , chains, and ends in the balance.
  ::testing::AssertionResult books_are_right(int64_t account, std::string_view opening, uint16_t port);
  // verify-ledger exits 0.
  ::testing::AssertionResult ledger_verifies();

 private:
  Database database_;
  Settings settings_;
  std::unique_ptr<ServiceProcess> service_;
  int64_t next_account_ = 100'001;
};

// A suite with one bank and one service for all of its tests; tests keep apart by opening accounts of their own.
class BankTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { bank_ = std::make_unique<Bank>("bank"); }
  static void TearDownTestSuite() { bank_.reset(); }

  static Bank& bank() { return *bank_; }
  static uint16_t port() { return bank_->service().port(); }
  static ApiClient as(const std::string& token) { return ApiClient(port(), token); }
  static RawClient connect() { return RawClient(port()); }

 private:
  static inline std::unique_ptr<Bank> bank_;
};

}  // namespace txn::test
