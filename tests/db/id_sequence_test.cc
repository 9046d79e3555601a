// A sequence behind the log is found and set right, and never set back.
#include "db/id_sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "db/migrate.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;
using testing::HasSubstr;

class IdSequence : public testing::Test {
 protected:
  void SetUp() override {
    session_.emplace(std::move(*Session::connect(database_.conninfo())));
    ASSERT_TRUE(migrate(*session_).has_value());
  }
  // A deposit with that id.
  void log(int64_t id) const {
    const std::string text = std::to_string(id);
    database_.query(
        "INSERT INTO transaction_logs VALUES (2 * " + text + ", " + text +
        ", 1, NULL, (SELECT count(*) + 1 FROM transaction_logs), now(), 'DEPOSIT', 'CREDIT', NULL, 1, 1, '')");
  }
  std::string next() const { return database_.value("SELECT nextval('transaction_id_blocks')"); }
  std::string complaint() {
    const auto checked = check_id_sequence(*session_);
    return checked ? "" : checked.error().message;
  }
  void expect_no_repair() {
    const auto repaired = repair_id_sequence(*session_);
    ASSERT_TRUE(repaired.has_value()) << repaired.error().message;
    EXPECT_FALSE(repaired->has_value());
  }

  Database database_ = postgres().create_database("sequence");
  std::optional<Session> session_;
};

TEST_F(IdSequence, AnEmptyLogIsNeverAhead) {
  EXPECT_EQ(complaint(), "");
  expect_no_repair();
  EXPECT_EQ(next(), "1");
}

TEST_F(IdSequence, TheLastIdOfABlockIsWithinIt) {
  EXPECT_EQ(next(), "1");
  log(2047);
  EXPECT_EQ(complaint(), "");
  expect_no_repair();
  log(2048);
  EXPECT_EQ(complaint(),
            "the log has transaction ids up to 2048, but transaction_id_blocks has handed out no more than 2047: run "
            "`transactions-service migrate`, which sets it right");
  const auto repaired = repair_id_sequence(*session_);
  ASSERT_TRUE(repaired.has_value() && repaired->has_value());
  EXPECT_EQ((*repaired)->before, 1);
  EXPECT_EQ((*repaired)->after, 2);
  EXPECT_EQ(complaint(), "");
  EXPECT_EQ(next(), "3");
}

TEST_F(IdSequence, OneThatWasNeverUsedIsMovedToo) {
  log(50'000 * 1024);
  EXPECT_THAT(complaint(), HasSubstr("up to 51200000"));
  ASSERT_TRUE(repair_id_sequence(*session_).has_value());
  EXPECT_EQ(next(), "50001");
}

TEST_F(IdSequence, IsNeverSetBack) {
  database_.query("SELECT setval('transaction_id_blocks', 9)");
  log(2048);
  expect_no_repair();
  EXPECT_EQ(next(), "10");
}

TEST_F(IdSequence, TheServicesRoleMayCheckAndNotRepair) {
  database_.query("DROP ROLE IF EXISTS id_service; CREATE ROLE id_service LOGIN");
  database_.query(
      "GRANT SELECT ON transaction_logs TO id_service; GRANT USAGE ON SEQUENCE transaction_id_blocks TO id_service");
  log(2048);
  {
    auto service = Session::connect(database_.conninfo() + " user=id_service");
    ASSERT_TRUE(service.has_value()) << service.error().message;
    const auto checked = check_id_sequence(*service);
    ASSERT_FALSE(checked.has_value());
    EXPECT_EQ(checked.error().kind, ErrorKind::kInvalidArgument);
    const auto repaired = repair_id_sequence(*service);
    ASSERT_FALSE(repaired.has_value());
    EXPECT_THAT(repaired.error().message, HasSubstr("42501"));
  }
  database_.query("DROP OWNED BY id_service; DROP ROLE id_service");
}

}  // namespace
}  // namespace txn
