// The service's role: it can do what `serve` does and cannot take anything back.
#include "db/grants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "db/migrate.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;
using testing::HasSubstr;

class Grants : public testing::Test {
 protected:
  void SetUp() override {
    database_ = postgres().create_database("grants");
    Session owner = connect("");
    ASSERT_TRUE(migrate(owner).has_value());
    database_.query("DROP ROLE IF EXISTS teller_service");
    database_.query("CREATE ROLE teller_service LOGIN");
    database_.query(
        "INSERT INTO accounts (account_number, owner_id, is_active, privilege, balance, opening_balance) "
        "VALUES (1, 1, true, 'GOLD', 10, 10)");
    database_.query("GRANT ALL ON transaction_logs TO teller_service");  // too much, to be taken away
    const auto granted = grant_service_privileges(owner, "teller_service");
    ASSERT_TRUE(granted.has_value()) << granted.error().message;
  }
  void TearDown() override {
    database_.query("DROP OWNED BY teller_service");
    database_.query("DROP ROLE teller_service");
  }
  Session connect(const std::string& user) const {
    auto session = Session::connect(database_.conninfo() + (user.empty() ? "" : " user=" + user));
    EXPECT_TRUE(session.has_value()) << (session ? "" : session.error().message);
    return std::move(*session);
  }

  Database database_;
};

TEST_F(Grants, TheServiceMayDoItsWork) {
  Session service = connect("teller_service");
  for (const char* sql : {
           "SELECT * FROM accounts WHERE account_number = ANY ('{1}'::bigint[]) FOR NO KEY UPDATE",
           "UPDATE accounts SET balance = 11, log_seq = 1, usage_day = '2026-01-01', usage_amount = 0, usage_count = 0",
           "UPDATE accounts SET pin_failures = 3, pin_locked_until = now()",
           "INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type, "
           "direction, amount, balance_after, description) VALUES (2, 1, 1, 1, now(), 'DEPOSIT', 'CREDIT', 1, 11, '')",
           "SELECT nextval('transaction_id_blocks')",
           "SELECT * FROM transfer_limits",
           "SELECT max(version) FROM schema_migrations",
           "DELETE FROM idempotency_keys",
       })
    EXPECT_TRUE(service.exec(sql).has_value()) << sql;
}

TEST_F(Grants, AndNothingElse) {
  Session service = connect("teller_service");
  for (const char* sql : {
           "UPDATE transaction_logs SET amount = 2",
           "DELETE FROM transaction_logs",
           "TRUNCATE transaction_logs",
           "UPDATE accounts SET opening_balance = 0",
           "UPDATE accounts SET owner_id = 2",
           "UPDATE accounts SET pin_hash = NULL",
           "INSERT INTO accounts SELECT * FROM accounts",
           "DELETE FROM accounts",
           "UPDATE transfer_limits SET daily_limit = 1",
           "SELECT setval('transaction_id_blocks', 1)",
           "DELETE FROM schema_migrations",
           "DROP TABLE transaction_logs",
       }) {
    const auto result = service.exec(sql);
    ASSERT_FALSE(result.has_value()) << sql;
    EXPECT_THAT(result.error().message, HasSubstr("42501")) << sql;
  }
}

TEST_F(Grants, SayWhatIsWrong) {
  Session owner = connect("");
  const auto nobody = grant_service_privileges(owner, "no\"body");
  ASSERT_FALSE(nobody.has_value());
  EXPECT_THAT(nobody.error().message, HasSubstr("no\"body"));
  const auto self = grant_service_privileges(owner, database_.value("SELECT current_user"));
  ASSERT_FALSE(self.has_value());
  EXPECT_THAT(self.error().message, HasSubstr("migrate as another"));
}

// The tables may stand in a schema that nobody else can look into, as REVOKE … FROM PUBLIC makes `public`.
TEST_F(Grants, TheTablesAreWithinReach) {
  database_.query("CREATE SCHEMA bank");
  Session owner = connect("");
  ASSERT_TRUE(owner.run_script("SET search_path = bank").has_value());
  ASSERT_TRUE(migrate(owner).has_value());
  const auto granted = grant_service_privileges(owner, "teller_service");
  ASSERT_TRUE(granted.has_value()) << granted.error().message;
  Session service = connect("teller_service");
  const auto read = service.exec("SELECT * FROM bank.transfer_limits");
  EXPECT_TRUE(read.has_value()) << read.error().message;
  EXPECT_FALSE(service.exec("CREATE TABLE bank.mine (n int)").has_value());
  EXPECT_TRUE(grant_service_privileges(owner, "teller_service").has_value()) << "idempotent";
}

// Nothing can be kept from an owner; what it holds as the owner must not be taken away halfway.
TEST_F(Grants, OwnersKeepWhatTheyHave) {
  database_.query("CREATE ROLE bank_owner");
  database_.query("CREATE ROLE bank_deputy LOGIN IN ROLE bank_owner");
  for (const char* table : {"accounts", "transaction_logs", "transfer_limits", "idempotency_keys", "schema_migrations"})
    database_.query(std::string("ALTER TABLE ") + table + " OWNER TO bank_owner");
  Session superuser = connect("");
  for (const std::string role : {"bank_owner", "bank_deputy"}) {
    const auto refused = grant_service_privileges(superuser, role);
    ASSERT_FALSE(refused.has_value()) << role;
    EXPECT_EQ(refused.error().kind, ErrorKind::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr("\"" + role + "\" owns the tables or can act as \"bank_owner\""));
  }
  Session deputy = connect("bank_deputy");
  EXPECT_TRUE(deputy.exec("UPDATE accounts SET owner_id = 1").has_value());
  const auto granted = grant_service_privileges(superuser, "teller_service");
  EXPECT_TRUE(granted.has_value()) << granted.error().message;

  database_.query("ALTER ROLE teller_service SUPERUSER");
  EXPECT_FALSE(grant_service_privileges(superuser, "teller_service").has_value());
  database_.query("DROP OWNED BY bank_owner CASCADE");
  database_.query("DROP ROLE bank_deputy, bank_owner");
}

}  // namespace
}  // namespace txn
