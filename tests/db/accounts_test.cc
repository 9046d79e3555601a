#include "db/accounts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "db/migrate.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;
using testing::HasSubstr;
using testing::Not;

// Stands in for the HMAC: the account number in the first byte, the length of the PIN in the second.
PinHash fake_hash(int64_t account_number, std::string_view pin) {
  PinHash hash{};
  hash[0] = static_cast<uint8_t>(account_number);
  hash[1] = static_cast<uint8_t>(pin.size());
  return hash;
}

class Accounts : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(session_.has_value()) << session_.error().message;
    ASSERT_TRUE(migrate(*session_).has_value());
    options_.hash_pin = fake_hash;
  }

  std::string import_error(const std::string& csv) {
    std::istringstream in(csv);
    const auto imported = import_accounts(*session_, in, options_);
    return imported ? "" : imported.error().message;
  }

  std::string account_count() { return database_.value("SELECT count(*) FROM accounts"); }

  Database database_ = postgres().create_database("accounts");
  Result<Session> session_ = Session::connect(database_.conninfo());
  ImportOptions options_;
};

TEST_F(Accounts, DemoAccountsAreSeededOnce) {
  ASSERT_EQ(seed_demo_accounts(*session_), 10);
  ASSERT_TRUE(change_account(*session_, 1005, {.is_active = false}).has_value());
  ASSERT_TRUE(session_->exec("DELETE FROM accounts WHERE account_number = 1001").has_value());
  EXPECT_EQ(seed_demo_accounts(*session_), 1);

  const auto seeded = find_account(*session_, 1001);
  ASSERT_TRUE(seeded.has_value());
  EXPECT_EQ(seeded->state.owner_id, 1);
  EXPECT_EQ(seeded->state.privilege, Privilege::kGold);
  EXPECT_EQ(seeded->state.balance, Money::from_minor(100'000'000));
  EXPECT_EQ(seeded->opening_balance, Money::from_minor(100'000'000));
  EXPECT_TRUE(seeded->state.is_active);
  EXPECT_EQ(seeded->state.pin_hash, std::nullopt);
  EXPECT_FALSE(find_account(*session_, 1005)->state.is_active);
}

TEST_F(Accounts, CreatedAccountReadsBackWhole) {
  NewAccount account{.account_number = 9'223'372'036'854'775'807,
                     .owner_id = -3,
                     .privilege = Privilege::kSilver,
                     .balance = kMaxBalance,
                     .is_active = true,
                     .pin_hash = fake_hash(5, "1234")};
  account.pin_hash->back() = 0xfe;
  ASSERT_TRUE(create_account(*session_, account).has_value());
  const auto found = find_account(*session_, account.account_number);
  ASSERT_TRUE(found.has_value()) << found.error().message;
  EXPECT_EQ(found->state.owner_id, -3);
  EXPECT_EQ(found->state.privilege, Privilege::kSilver);
  EXPECT_EQ(found->state.balance, kMaxBalance);
  EXPECT_EQ(found->state.log_seq, 0);
  EXPECT_EQ(found->state.pin_hash, account.pin_hash);
  EXPECT_EQ(found->state.usage_day, 0);
  EXPECT_THAT(found->created_at, HasSubstr("T"));

  const auto again = create_account(*session_, account);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().message, "account 9223372036854775807 exists already");
}

TEST_F(Accounts, SetChangesOnlyWhatIsGiven) {
  ASSERT_TRUE(create_account(*session_, {.account_number = 1, .owner_id = 2, .balance = Money::from_minor(5)}));
  ASSERT_TRUE(change_account(*session_, 1, {.privilege = Privilege::kPremium, .pin_hash = fake_hash(1, "12345")}));
  auto account = find_account(*session_, 1);
  EXPECT_EQ(account->state.privilege, Privilege::kPremium);
  EXPECT_EQ(account->state.owner_id, 2);
  EXPECT_TRUE(account->state.is_active);
  EXPECT_EQ(account->state.pin_hash, fake_hash(1, "12345"));

  ASSERT_TRUE(change_account(*session_, 1, {.is_active = false, .owner_id = 9}));
  account = find_account(*session_, 1);
  EXPECT_FALSE(account->state.is_active);
  EXPECT_EQ(account->state.owner_id, 9);
  EXPECT_EQ(account->state.pin_hash, fake_hash(1, "12345"));

  ASSERT_TRUE(change_account(*session_, 1, {.pin_hash = std::optional<PinHash>()}));
  account = find_account(*session_, 1);
  EXPECT_EQ(account->state.pin_hash, std::nullopt);
  EXPECT_EQ(account->state.balance, Money::from_minor(5));

  EXPECT_EQ(change_account(*session_, 2, {.owner_id = 9}).error().message, "there is no account 2");
  EXPECT_EQ(find_account(*session_, 2).error().message, "there is no account 2");
}

// --- Import ----------------------------------------------------------------------------------------------------------

TEST_F(Accounts, ImportTakesColumnsInAnyOrder) {
  std::istringstream csv(
      "pin,balance,account_number,owner_id,is_active,privilege\r\n"
      ",0.00,1,10,true,GOLD\r\n"
      "\"123456\",9999999999999.99,2,-10,0,\"BASIC\"\r\n");
  const auto imported = import_accounts(*session_, csv, options_);
  ASSERT_TRUE(imported.has_value()) << imported.error().message;
  EXPECT_EQ(*imported, 2);
  const auto account = find_account(*session_, 2);
  ASSERT_TRUE(account.has_value());
  EXPECT_EQ(account->state.balance, kMaxBalance);
  EXPECT_EQ(account->opening_balance, kMaxBalance);
  EXPECT_EQ(account->state.owner_id, -10);
  EXPECT_FALSE(account->state.is_active);
  EXPECT_EQ(account->state.privilege, Privilege::kBasic);
  EXPECT_EQ(account->state.pin_hash, fake_hash(2, "123456"));
  EXPECT_EQ(find_account(*session_, 1)->state.pin_hash, std::nullopt);
}

TEST_F(Accounts, ImportNamesLineAndColumnOfEveryFinding) {
  EXPECT_EQ(import_error("account_number,owner_id,privilege,balance,is_active\n"
                         "1,1,GOLD,12.345,true\n"
                         "2,1,GOLD,1.00,true\n"
                         "0,x,GOLDEN,-1,maybe\n"
                         "4,1,GOLD,1.00\n"),
            "line 2, column balance: '12.345' is not an amount from 0.00 to 9999999999999.99, like 250.00: it has "
            "neither two decimals nor none\n"
            "line 4, column account_number: '0' is not an integer above zero\n"
            "line 4, column owner_id: 'x' is not an integer\n"
            "line 4, column privilege: 'GOLDEN' is not PREMIUM, GOLD, SILVER or BASIC\n"
            "line 4, column balance: '-1' is not an amount from 0.00 to 9999999999999.99, like 250.00: it has a sign\n"
            "line 4, column is_active: 'maybe' is not true or false\n"
            "line 5: 4 fields, the header has 5");
  EXPECT_EQ(account_count(), "0");
}

TEST_F(Accounts, ImportNeverQuotesValuesOfFilesWithPins) {
  const std::string error = import_error(
      "account_number,owner_id,privilege,balance,is_active,pin\n"
      "1,1,471147,1.00,true,GOLD\n"
      "2,1,GOLD,1.00,true,12x4\n"
      "3,1,GOLD,1.00,true,1234567\n");
  EXPECT_THAT(error, HasSubstr("line 2, column privilege: the value is not PREMIUM, GOLD, SILVER or BASIC"));
  EXPECT_THAT(error, HasSubstr("line 3, column pin: the value is not 4 to 6 digits, or empty"));
  EXPECT_THAT(error, HasSubstr("line 4, column pin"));
  for (const char* secret : {"471147", "12x4", "1234567"}) EXPECT_THAT(error, Not(HasSubstr(secret)));
}

TEST_F(Accounts, ImportReportsAtMostTwentyFindings) {
  std::string csv = "account_number,owner_id,privilege,balance,is_active\n";
  for (int i = 0; i < 100; ++i) csv += "x,1,GOLD,1.00,true\n";
  const std::string error = import_error(csv);
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 19);
  EXPECT_THAT(error, HasSubstr("line 21, "));
}

TEST_F(Accounts, ImportRefusesAccountsThatExistOrAppearTwice) {
  ASSERT_TRUE(create_account(*session_, {.account_number = 2}));
  EXPECT_EQ(import_error("account_number,owner_id,privilege,balance,is_active\n"
                         "1,1,GOLD,1.00,true\n"
                         "2,1,GOLD,1.00,true\n"
                         "3,1,GOLD,1.00,true\n"
                         "1,1,GOLD,1.00,true\n"),
            "line 3, column account_number: account 2 exists already\n"
            "line 5, column account_number: account 1 stands in line 2 already");
  EXPECT_EQ(account_count(), "1");
}

TEST_F(Accounts, ImportChecksTheHeader) {
  EXPECT_EQ(import_error(""), "line 1: the header is missing");
  EXPECT_EQ(import_error("account_number,owner_id,privilege,balance\n"), "line 1: column is_active is missing");
  EXPECT_EQ(import_error("account_number,owner_id,owner_id\n"), "line 1: column owner_id appears twice");
  EXPECT_THAT(import_error("1,1,GOLD,1.00,true,4711\n"), HasSubstr("line 1, column 1: not a column name"));
  EXPECT_THAT(import_error("1,1,GOLD,1.00,true,4711\n"), Not(HasSubstr("4711")));
  EXPECT_THAT(import_error("account_number,owner_id,privilege,balance,is_active\n\"1"), HasSubstr("line 2"));
}

TEST_F(Accounts, ImportOfPinsNeedsAKey) {
  options_.hash_pin = nullptr;
  options_.hash_pin_missing = "no key";
  const std::string header = "account_number,owner_id,privilege,balance,is_active,pin\n";
  EXPECT_EQ(import_error(header + "1,1,GOLD,1.00,true,1234\n"), "line 2, column pin: no key");
  EXPECT_EQ(import_error(header + "1,1,GOLD,1.00,true,\n"), "");
}

TEST_F(Accounts, ImportIsAllOrNothingAndTheSessionLivesOn) {
  std::string csv = "account_number,owner_id,privilege,balance,is_active\n";
  for (int i = 1; i <= 5000; ++i) csv += std::to_string(i) + ",1,GOLD,1.00,true\n";
  EXPECT_THAT(import_error(csv + "5001,1,GOLD,oops,true\n"), HasSubstr("line 5002, column balance"));
  EXPECT_EQ(account_count(), "0");
  int64_t progress = 0;
  options_.on_progress = [&progress](int64_t bytes_read) { progress = bytes_read; };
  EXPECT_EQ(import_error(csv), "");
  EXPECT_EQ(account_count(), "5000");
  EXPECT_GT(progress, 0);
}

// --- The session underneath ------------------------------------------------------------------------------------------

TEST(SessionErrors, NeverShowThePassword) {
  for (const char* conninfo : {"postgresql://u:hun@ter2@/db", "host=/nonexistent password=hunter2",
                               "password=hunter2 nonsense", "postgresql://u:hunter2@h/db?nonsense=1"}) {
    const auto session = Session::connect(conninfo);
    ASSERT_FALSE(session.has_value());
    EXPECT_THAT(session.error().message, Not(HasSubstr("hunter2"))) << conninfo;
    EXPECT_THAT(session.error().message, Not(HasSubstr("ter2"))) << conninfo;
    EXPECT_THAT(session.error().message, Not(HasSubstr("\n"))) << conninfo;
  }
}

TEST_F(Accounts, StatementErrorsAreOneLineWithoutRowValues) {
  const auto refused = session_->exec(
      "INSERT INTO accounts (account_number, owner_id, privilege, balance, opening_balance, is_active) "
      "VALUES (1, 4711, 'GOLD', -1, 0, true)");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::kDatabase);
  EXPECT_THAT(refused.error().message, HasSubstr("(SQLSTATE 23514)"));
  EXPECT_THAT(refused.error().message, Not(HasSubstr("4711")));
}

TEST_F(Accounts, ALostConnectionIsAnErrorEverywhere) {
  ASSERT_FALSE(session_->exec("SELECT pg_terminate_backend(pg_backend_pid())").has_value());
  EXPECT_FALSE(session_->exec("SELECT 1").has_value());
  EXPECT_FALSE(session_->run_script("SELECT 1").has_value());
  EXPECT_FALSE(session_->transaction([]() -> Result<void> { return {}; }).has_value());
  EXPECT_NE(import_error("account_number,owner_id,privilege,balance,is_active\n1,1,GOLD,1,1\n"), "");
}

}  // namespace
}  // namespace txn
