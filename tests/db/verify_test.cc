#include "db/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "db/accounts.h"
#include "db/migrate.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Good books with a little of everything. Each test damages them in one way, as the superuser with the log's guards
// switched off, and expects the audit to say so.
class VerifyLedger : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(session_.has_value()) << session_.error().message;
    ASSERT_TRUE(migrate(*session_).has_value());
    run("SELECT nextval('transaction_id_blocks'), nextval('transaction_id_blocks')");
    run("INSERT INTO accounts (account_number, owner_id, privilege, opening_balance, balance, log_seq, is_active, "
        "usage_day, usage_amount, usage_count) VALUES "
        "(1, 1, 'GOLD', 100, 89.50, 4, true, '2026-05-02', 30, 1), (2, 2, 'BASIC', 0, 50, 2, true, '1970-01-01', 0, "
        "0), "
        "(3, 3, 'BASIC', 7, 7, 0, false, '1970-01-01', 0, 0)");
    // Account 1: +9.50, -20 to account 2 on the 1st, -30 to account 2 just after midnight UTC, +30 in cash.
    add(1024, 1, "NULL", 1, "2026-05-01 10:00+00", "DEPOSIT", "CREDIT", "NULL", "9.50", "109.50");
    add(1025, 1, "2", 2, "2026-05-01 23:59:59.999999+00", "TRANSFER", "DEBIT", "'NEFT'", "20", "89.50");
    add(1025, 2, "1", 1, "2026-05-01 23:59:59.999999+00", "TRANSFER", "CREDIT", "'NEFT'", "20", "20");
    add(2048, 1, "2", 3, "2026-05-02 00:00+00", "TRANSFER", "DEBIT", "'UPI'", "30", "59.50");
    add(2048, 2, "1", 2, "2026-05-02 00:00+00", "TRANSFER", "CREDIT", "'UPI'", "30", "50");
    add(2049, 1, "NULL", 4, "2026-05-02 09:00+00", "DEPOSIT", "CREDIT", "NULL", "30", "89.50");
    run("ALTER TABLE transaction_logs DISABLE TRIGGER transaction_logs_append_only");
    for (const char* constraint : {"transaction_logs_kind_check", "transaction_logs_leg_check",
                                   "transaction_logs_balance_after_check", "transaction_logs_amount_check"}) {
      run(std::string("ALTER TABLE transaction_logs DROP CONSTRAINT ") + constraint);
    }
    for (const char* column : {"balance", "opening_balance", "usage_amount"})
      run(std::string("ALTER TABLE accounts DROP CONSTRAINT accounts_") + column + "_check");
    run("ALTER TABLE transfer_limits DROP CONSTRAINT transfer_limits_daily_limit_check");
  }

  void run(const std::string& sql) {
    const auto done = session_->exec(sql);
    ASSERT_TRUE(done.has_value()) << sql << ": " << done.error().message;
  }

  void add(int64_t transaction_id, int account, const std::string& counterparty, int seq, const std::string& created_at,
           const std::string& type, const std::string& direction, const std::string& mode, const std::string& amount,
           const std::string& balance_after) {
    const bool is_payee = type == "TRANSFER" && direction == "CREDIT";
    run("INSERT INTO transaction_logs (id, transaction_id, account_number, counterparty, seq, created_at, "
        "transaction_type, direction, transfer_mode, amount, balance_after, description) VALUES (" +
        std::to_string(transaction_id * 2 + (is_payee ? 1 : 0)) + ", " + std::to_string(transaction_id) + ", " +
        std::to_string(account) + ", " + counterparty + ", " + std::to_string(seq) + ", '" + created_at + "', '" +
        type + "', '" + direction + "', " + mode + ", " + amount + ", " + balance_after + ", '')");
  }

  std::vector<std::string> differences() {
    const auto report = verify_ledger(*session_);
    EXPECT_TRUE(report.has_value()) << report.error().message;
    if (!report) return {};
    EXPECT_EQ(static_cast<size_t>(report->difference_count), report->differences.size());
    return report->differences;
  }

  Database database_ = postgres().create_database("verify");
  Result<Session> session_ = Session::connect(database_.conninfo());
};

TEST_F(VerifyLedger, FindsNothingInGoodBooks) {
  const auto report = verify_ledger(*session_);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_THAT(report->differences, IsEmpty());
  EXPECT_EQ(report->difference_count, 0);
  EXPECT_EQ(report->accounts, 3);
  EXPECT_EQ(report->log_rows, 6);
  EXPECT_EQ(report->transactions, 4);
  EXPECT_EQ(report->total_balance, "146.50");
}

TEST_F(VerifyLedger, DaysAreUtcWhateverTheSessionThinks) {
  run("SET TimeZone = 'Pacific/Auckland'");
  EXPECT_THAT(differences(), IsEmpty());
}

TEST_F(VerifyLedger, FindsABalanceThatDoesNotFollow) {
  run("UPDATE accounts SET balance = balance + 0.01 WHERE account_number = 3");
  EXPECT_THAT(differences(), ElementsAre("account 3: balance is 7.01, opening balance and log give 7.00"));
}

TEST_F(VerifyLedger, FindsABalanceBelowZero) {
  run("UPDATE accounts SET balance = -1 WHERE account_number = 3");
  EXPECT_THAT(differences(), Contains(HasSubstr("account 3: balance -1.00, opening balance 7.00: below zero")));
}

// NaN is equal to itself, so that sums of it agree with each other.
TEST_F(VerifyLedger, FindsWhatIsNotANumber) {
  run("UPDATE accounts SET balance = 'NaN', opening_balance = 'NaN', usage_amount = 'NaN' WHERE account_number = 3");
  EXPECT_THAT(differences(), Contains("account 3: balance NaN, opening balance NaN, usage NaN: not a number"));
  run("UPDATE accounts SET balance = 7, opening_balance = 7, usage_amount = 0 WHERE account_number = 3");
  run("UPDATE transaction_logs SET amount = 'NaN', balance_after = 'NaN'");
  EXPECT_THAT(differences(), Contains("account 2: seq 1 has an amount or a balance that is not a number"));
  run("UPDATE transfer_limits SET daily_limit = 'NaN' WHERE privilege = 'GOLD'");
  run("DELETE FROM transfer_limits WHERE privilege = 'SILVER'");
  EXPECT_THAT(differences(), Contains("transfer limit GOLD is not a number"));
  EXPECT_THAT(differences(), Contains("transfer limit SILVER is missing"));
}

TEST_F(VerifyLedger, FindsAWrongLogSeq) {
  run("UPDATE accounts SET log_seq = 5 WHERE account_number = 1");
  EXPECT_THAT(differences(), ElementsAre("account 1: log_seq is 5, the log has 4 rows up to seq 4"));
}

TEST_F(VerifyLedger, FindsALostRow) {
  run("DELETE FROM transaction_logs WHERE id = 2048");
  EXPECT_THAT(differences(), ElementsAre("account 1: balance is 89.50, opening balance and log give 80.00",
                                         "account 1: log_seq is 4, the log has 3 rows up to seq 4",
                                         "account 1: seq 2 does not follow the row before",
                                         "account 1: balance_after of seq 2 does not follow from the row before"));
}

TEST_F(VerifyLedger, FindsABrokenChain) {
  run("UPDATE transaction_logs SET balance_after = balance_after + 1 WHERE account_number = 1 AND seq = 4");
  EXPECT_THAT(differences(), ElementsAre("account 1: balance_after of seq 4 does not follow from the row before"));
}

TEST_F(VerifyLedger, FindsAMissingLeg) {
  run("DELETE FROM transaction_logs WHERE id = 2048 * 2 + 1");
  EXPECT_THAT(differences(), Contains("transaction 2048: a transfer with 1 legs, 1 of them debits"));
}

TEST_F(VerifyLedger, FindsLegsThatDoNotCancel) {
  run("UPDATE transaction_logs SET amount = 31 WHERE id = 2048 * 2 + 1");
  EXPECT_THAT(differences(), Contains("transaction 2048: legs of different amounts, 30.00 and 31.00"));
  run("UPDATE transaction_logs SET amount = 30, counterparty = 3 WHERE id = 2048 * 2 + 1");
  EXPECT_THAT(differences(), ElementsAre("transaction 2048: legs of 1 and 2 name 2 and 3 as their counterparties"));
  run("UPDATE transaction_logs SET counterparty = 1, transfer_mode = 'NEFT' WHERE id = 2048 * 2 + 1");
  EXPECT_THAT(differences(), ElementsAre("transaction 2048: legs of different modes, NEFT and UPI"));
}

TEST_F(VerifyLedger, FindsADepositInTheWrongDirection) {
  run("UPDATE transaction_logs SET direction = 'DEBIT' WHERE id = 2049 * 2");
  EXPECT_THAT(differences(), Contains("transaction 2049: a deposit in the wrong direction"));
}

TEST_F(VerifyLedger, FindsIdsThatDoNotFollow) {
  run("UPDATE transaction_logs SET id = 7 WHERE id = 2049 * 2");
  EXPECT_THAT(differences(), ElementsAre("transaction 2049: ids of its rows do not follow from its own"));
}

TEST_F(VerifyLedger, FindsWrongUsage) {
  run("UPDATE accounts SET usage_amount = 29 WHERE account_number = 1");
  EXPECT_THAT(differences(),
              ElementsAre("account 1: usage of 2026-05-02 is 29.00 in 1 transfers, the log has 30.00 in 1"));
  run("UPDATE accounts SET usage_day = '2026-05-01', usage_amount = 20 WHERE account_number = 1");
  EXPECT_THAT(differences(),
              ElementsAre("account 1: usage is of 2026-05-01, but the log has a transfer of 2026-05-02"));
  run("UPDATE accounts SET usage_day = '2026-05-03', usage_amount = 0, usage_count = 0 WHERE account_number = 1");
  EXPECT_THAT(differences(), IsEmpty());
}

TEST_F(VerifyLedger, FindsRowsOfUnknownAccounts) {
  run("DELETE FROM accounts WHERE account_number = 2");
  EXPECT_THAT(differences(), ElementsAre("account 2: 2 log rows of an account that does not exist",
                                         "transaction 1025: counterparty 2 does not exist"));
}

TEST_F(VerifyLedger, FindsASequenceThatWasSetBack) {
  run("SELECT setval('transaction_id_blocks', 1)");
  EXPECT_THAT(differences(),
              ElementsAre("transaction ids are in use up to 2049, but transaction_id_blocks has handed out no more "
                          "than 2047; `transactions-service migrate` sets it right"));
}

TEST_F(VerifyLedger, CountsAllDifferencesAndShowsTheFirst) {
  run("INSERT INTO accounts (account_number, owner_id, privilege, opening_balance, balance, is_active) "
      "SELECT n, 1, 'GOLD', 1, 2, true FROM generate_series(100, 199) n");
  const auto report = verify_ledger(*session_);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->difference_count, 100);
  EXPECT_EQ(report->differences.size(), 20u);
  EXPECT_THAT(report->differences.front(), HasSubstr("account 100:"));
}

TEST_F(VerifyLedger, LeavesTheSessionAsItWas) {
  EXPECT_THAT(differences(), IsEmpty());
  EXPECT_EQ(session_->exec("SELECT current_setting('work_mem')")->text(0, 0), "4MB");
  EXPECT_TRUE(session_->exec("CREATE TABLE writable_again (id int)").has_value());
}

}  // namespace
}  // namespace txn
