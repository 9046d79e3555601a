// The continuous audit: silent over books that are right, whatever moves meanwhile, and loud about every kind of
// difference that somebody with the superuser's rights can make.

#include <gmock/gmock.h>

#include <ctime>

#include "tests/integration/bank.h"
#include "tests/integration/load.h"
#include "tests/support/metrics.h"

namespace txn::test {
namespace {

// Rounds over a few accounts take a second or so on an idle machine.
constexpr Milliseconds kPatience{60'000};

class LedgerAuditTest : public BankTest {
 protected:
  static double metric(const std::string& name) { return scrape(port())[name]; }

  // Until a round has been completed that began after this call.
  static void wait_for_a_round() {
    const double rounds = metric("ledger_audit_rounds_total");
    ASSERT_TRUE(wait_until([&] { return metric("ledger_audit_rounds_total") >= rounds + 2; }, kPatience));
  }

  // What a superuser can do to the log, past the trigger that refuses it.
  static void tamper(const std::string& sql) {
    bank().database().query("SET session_replication_role = replica; " + sql);
  }

  static bool has_logged(int64_t account, const std::string& difference) {
    for (const std::string& line : bank().service().log_lines()) {
      if (line.find("\"level\":\"ERROR\"") != std::string::npos && line.find("db.ledger_audit") != std::string::npos &&
          line.find("\"account_number\":" + std::to_string(account) + ",") != std::string::npos &&
          line.find(difference) != std::string::npos)
        return true;
    }
    return false;
  }

  struct Damage {
    std::string damage;
    std::string repair;
    int64_t account;
    std::string difference;  // in the line about it
  };

  // Holds that all of it is found, each with its line, and that all is well again when it has been repaired.
  static void expect_found(const std::vector<Damage>& all) {
    for (const Damage& item : all) tamper(item.damage);
    for (const Damage& item : all)
      EXPECT_TRUE(wait_until([&] { return has_logged(item.account, item.difference); }, kPatience))
          << item.damage << "\n"
          << bank().service().log_text();
    EXPECT_TRUE(wait_until([&] { return metric("ledger_imbalance") >= static_cast<double>(all.size()); }, kPatience));
    for (const Damage& item : all) tamper(item.repair);
    EXPECT_TRUE(wait_until([&] { return metric("ledger_imbalance") == 0; }, kPatience));
  }
};

TEST_F(LedgerAuditTest, IsSilentWhileMoneyMoves) {
  std::vector<AccountSpec> specs(20, {.balance = "100000.00"});
  Load load({.ports = {port()}, .accounts = bank().open_accounts(specs), .clients = 8});
  ASSERT_TRUE(load.wait_for_successes(200, kPatience));
  const auto before = static_cast<double>(time(nullptr));
  wait_for_a_round();
  EXPECT_GE(metric("ledger_verified_through"), before);
  EXPECT_GE(metric("ledger_audit_round_timestamp_seconds"), metric("ledger_verified_through"));
  load.stop();
  wait_for_a_round();
  const MetricsText page = scrape(port());
  EXPECT_EQ(page["ledger_imbalance"], 0);
  EXPECT_EQ(page["ledger_audit_failures_total"], 0);
  EXPECT_GT(page["ledger_audit_rows_total"], 200);
  EXPECT_EQ(bank().service().log_text().find("db.ledger_audit"), std::string::npos);
  EXPECT_TRUE(bank().ledger_verifies());
}

TEST_F(LedgerAuditTest, FindsEveryKindOfDifference) {
  // Each kind on an account of its own, with six rows in its log but for the last.
  const auto accounts = bank().open_accounts(std::vector<AccountSpec>(9, {.balance = "1000.00"}));
  const int64_t payee = bank().open_account({.balance = "0.00"});
  ApiClient client = as(customer());
  for (size_t account = 0; account + 1 < accounts.size(); ++account) {
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(client.post(kDeposits, deposit_body(accounts[account], "10.00")).status, 200);
      ASSERT_EQ(client.post(kTransfers, transfer_body(accounts[account], payee, "1.00")).status, 200);
    }
  }
  wait_for_a_round();
  ASSERT_EQ(metric("ledger_imbalance"), 0);

  const auto change = [](const std::string& table, const std::string& what, const std::string& back, int64_t account,
                         int seq, const std::string& difference) {
    const std::string where =
        " WHERE account_number = " + std::to_string(account) + (seq == 0 ? "" : " AND seq = " + std::to_string(seq));
    return Damage{"UPDATE " + table + " SET " + what + where, "UPDATE " + table + " SET " + back + where, account,
                  difference};
  };
  const std::string removed = " WHERE account_number = " + std::to_string(accounts[4]) + " AND seq = 3";
  const std::string moved = std::to_string(accounts[6]);
  expect_found({
      change("accounts", "balance = balance + 1", "balance = balance - 1", accounts[0], 0,
             "balance is 1028.00, the log says 1027.00"),
      change("accounts", "log_seq = log_seq - 1", "log_seq = log_seq + 1", accounts[1], 0,
             "log_seq is 5, the newest row has 6"),
      change("transaction_logs", "amount = amount + 1", "amount = amount - 1", accounts[2], 3,
             "balance_after of seq 3 does not follow"),
      change("accounts", "opening_balance = opening_balance - 1", "opening_balance = opening_balance + 1", accounts[3],
             0, "balance_after of seq 1 does not follow"),
      {"CREATE TABLE removed AS SELECT * FROM transaction_logs" + removed + "; DELETE FROM transaction_logs" + removed,
       "INSERT INTO transaction_logs SELECT * FROM removed; DROP TABLE removed", accounts[4],
       "seq 4 does not follow the row before"},
      change("transaction_logs", "transfer_mode = 'UPI'", "transfer_mode = 'NEFT'", accounts[5], 4,
             "the transaction of seq 4 has another leg"),
      {"UPDATE transaction_logs SET account_number = 9000000000 WHERE account_number = " + moved,
       "UPDATE transaction_logs SET account_number = " + moved + " WHERE account_number = 9000000000", 9'000'000'000,
       "account that does not exist"},
      {"INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type, "
       "direction, "
       "amount, balance_after, description) VALUES (2, 1, 99, 1, now(), 'DEPOSIT', 'CREDIT', 1, 1, '')",
       "DELETE FROM transaction_logs WHERE account_number = 99", 99, "account that does not exist"},
      change("accounts", "balance = balance + 1", "balance = balance - 1", accounts[8], 0,
             "balance is 1001.00, the log says 1000.00"),  // which has no log
  });
  EXPECT_TRUE(bank().ledger_verifies());
}

// NaN is equal to itself: where everything is NaN, everything agrees.
TEST_F(LedgerAuditTest, FindsWhatIsNotANumber) {
  for (const char* check :
       {"accounts DROP CONSTRAINT accounts_balance_check", "accounts DROP CONSTRAINT accounts_opening_balance_check",
        "accounts DROP CONSTRAINT accounts_usage_amount_check",
        "transaction_logs DROP CONSTRAINT transaction_logs_amount_check",
        "transaction_logs DROP CONSTRAINT transaction_logs_balance_after_check"})
    tamper(std::string("ALTER TABLE ") + check);
  const auto accounts = bank().open_accounts({{}, {}, {}});
  ASSERT_EQ(as(customer()).post(kDeposits, deposit_body(accounts[2], "10.00")).status, 200);
  const std::string where[] = {" WHERE account_number = " + std::to_string(accounts[0]),
                               " WHERE account_number = " + std::to_string(accounts[1]),
                               " WHERE account_number = " + std::to_string(accounts[2])};
  expect_found({
      {"UPDATE accounts SET balance = 'NaN', opening_balance = 'NaN'" + where[0],
       "UPDATE accounts SET balance = 1000, opening_balance = 1000" + where[0], accounts[0],
       "balance NaN, opening balance NaN, usage 0.00: not a number"},
      {"UPDATE accounts SET usage_amount = 'NaN'" + where[1], "UPDATE accounts SET usage_amount = 0" + where[1],
       accounts[1], "usage NaN: not a number"},
      {"UPDATE transaction_logs SET amount = 'NaN', balance_after = 'NaN'" + where[2],
       "UPDATE transaction_logs SET amount = 10, balance_after = 1010" + where[2], accounts[2],
       "seq 1 has an amount or a balance that is not a number"},
  });
}

// A log longer than what is read of an account each time: its old rows have their turn as well, a piece a round.
TEST_F(LedgerAuditTest, FindsADifferenceFarBackInALongLog) {
  const int64_t account = bank().open_account({.balance = "0.00"});
  const std::string number = std::to_string(account);
  constexpr int kRows = 700;
  tamper(
      "INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type, direction, "
      "amount, balance_after, description) SELECT (1000000000 + n) * 2, 1000000000 + n, " +
      number + ", n, now(), 'DEPOSIT', 'CREDIT', 1, n, '' FROM generate_series(1, " + std::to_string(kRows) +
      ") n; "
      "UPDATE accounts SET log_seq = " +
      std::to_string(kRows) + ", balance = " + std::to_string(kRows) + " WHERE account_number = " + number);
  wait_for_a_round();
  EXPECT_EQ(metric("ledger_imbalance"), 0) << bank().service().log_text();
  // In the first piece of the log, and in the row that the newest ones are chained to. A round looks at one piece, and
  // names the first of an account's differences.
  for (const int seq : {2, 444}) {
    const std::string row = " WHERE account_number = " + number + " AND seq = " + std::to_string(seq);
    expect_found({{"UPDATE transaction_logs SET balance_after = balance_after + 1" + row,
                   "UPDATE transaction_logs SET balance_after = balance_after - 1" + row, account,
                   "balance_after of seq " + std::to_string(seq) + " does not follow"}});
  }
}

}  // namespace
}  // namespace txn::test
