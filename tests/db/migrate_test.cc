#include "db/migrate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Session connect(const Database& database) {
  auto session = Session::connect(database.conninfo());
  EXPECT_TRUE(session.has_value()) << (session ? "" : session.error().message);
  return std::move(*session);
}

constexpr Migration kFirst = {1, "first", "aaaa", "CREATE TABLE one (id int); INSERT INTO one VALUES (1);"};
constexpr Migration kSecond = {2, "second", "bbbb", "CREATE TABLE two (id int)"};
constexpr Migration kBroken = {2, "broken", "cccc", "CREATE TABLE half (id int); SELECT 1 / 0"};

TEST(Migrate, BringsAnEmptyDatabaseToTheNewestSchemaOnce) {
  const Database database = postgres().create_database("migrate");
  Session session = connect(database);
  EXPECT_EQ(schema_version(session), 0);
  ASSERT_FALSE(check_schema_version(session).has_value());
  EXPECT_THAT(check_schema_version(session).error().message, HasSubstr("run `transactions-service migrate`"));

  const auto first = migrate(session);
  ASSERT_TRUE(first.has_value()) << first.error().message;
  EXPECT_EQ(first->version, static_cast<int>(embedded_migrations().size()));
  EXPECT_EQ(first->applied.size(), embedded_migrations().size());
  EXPECT_TRUE(check_schema_version(session).has_value());

  const auto second = migrate(session);
  ASSERT_TRUE(second.has_value()) << second.error().message;
  EXPECT_THAT(second->applied, IsEmpty());
  EXPECT_EQ(database.value("SELECT string_agg(concat_ws(' ', privilege, daily_limit, transaction_limit), ', ' ORDER BY "
                           "daily_limit) FROM transfer_limits"),
            "BASIC 10000.00 5, SILVER 25000.00 10, GOLD 50000.00 25, PREMIUM 100000.00 50");
}

TEST(Migrate, SeveralAtOnceTakeTurns) {
  const Database database = postgres().create_database("migrate");
  std::vector<std::thread> replicas;
  std::vector<Result<MigrationReport>> reports(8);
  replicas.reserve(reports.size());
  for (auto& report : reports) {
    replicas.emplace_back([&database, &report] {
      auto session = Session::connect(database.conninfo());
      if (session) report = migrate(*session);
    });
  }
  for (std::thread& replica : replicas) replica.join();

  size_t applied = 0;
  for (const auto& report : reports) {
    ASSERT_TRUE(report.has_value()) << report.error().message;
    EXPECT_EQ(report->version, static_cast<int>(embedded_migrations().size()));
    applied += report->applied.size();
  }
  EXPECT_EQ(applied, embedded_migrations().size());
}

TEST(Migrate, AppliesWhatIsMissing) {
  Session session = connect(postgres().create_database("migrate"));
  const Migration one[] = {kFirst};
  const Migration two[] = {kFirst, kSecond};
  EXPECT_THAT(migrate(session, one)->applied, ElementsAre("1 first"));
  EXPECT_THAT(migrate(session, two)->applied, ElementsAre("2 second"));
  EXPECT_EQ(schema_version(session), 2);
}

TEST(Migrate, RefusesADatabaseThatIsNewer) {
  Session session = connect(postgres().create_database("migrate"));
  const Migration two[] = {kFirst, kSecond};
  const Migration one[] = {kFirst};
  ASSERT_TRUE(migrate(session, two).has_value());
  const auto older = migrate(session, one);
  ASSERT_FALSE(older.has_value());
  EXPECT_THAT(older.error().message, HasSubstr("newer than this program"));

  ASSERT_TRUE(session.run_script("INSERT INTO schema_migrations VALUES (1000, 'future', 'dddd')").has_value());
  ASSERT_FALSE(check_schema_version(session).has_value());
  EXPECT_THAT(check_schema_version(session).error().message, HasSubstr("run a newer release"));
}

// What newer releases have applied, in a database that has all of ours.
void apply_newer(Session& session, int oldest_reader) {
  const auto applied = session.exec(
      "INSERT INTO schema_migrations (version, name, checksum, oldest_reader) "
      "SELECT max(version) + 1, 'newer', 'dddd', nullif($1::integer, 0) FROM schema_migrations",
      {std::to_string(oldest_reader)});
  EXPECT_TRUE(applied.has_value()) << (applied ? "" : applied.error().message);
}

TEST(Migrate, ANewerSchemaSaysWhichReleasesItIsFitFor) {
  const auto known = static_cast<int>(embedded_migrations().size());
  struct Case {
    std::vector<int> oldest_readers;
    bool is_fit;
  };
  // 0: it does not say, so it is fit for nobody who does not know it.
  for (const Case& c : {Case{{known}, true}, Case{{known - 1}, true}, Case{{known + 1}, false}, Case{{0}, false},
                        Case{{known, known}, true}, Case{{known + 1, known}, false}, Case{{known, known + 1}, false}}) {
    const Database database = postgres().create_database("migrate");
    Session session = connect(database);
    ASSERT_TRUE(migrate(session).has_value());
    for (const int oldest_reader : c.oldest_readers) apply_newer(session, oldest_reader);
    const int newest = known + static_cast<int>(c.oldest_readers.size());
    const std::string before =
        database.value("SELECT string_agg(m::text, '|' ORDER BY version) FROM schema_migrations m");

    const auto fits = check_schema_version(session);
    const auto migrated = migrate(session);
    ASSERT_EQ(fits.has_value(), c.is_fit) << testing::PrintToString(c.oldest_readers);
    ASSERT_EQ(migrated.has_value(), c.is_fit) << testing::PrintToString(c.oldest_readers);
    EXPECT_EQ(database.value("SELECT string_agg(m::text, '|' ORDER BY version) FROM schema_migrations m"), before);
    if (c.is_fit) {
      EXPECT_EQ(*fits, newest);
      EXPECT_EQ(migrated->version, newest);
      EXPECT_THAT(migrated->applied, IsEmpty());
    } else {
      EXPECT_THAT(fits.error().message, HasSubstr("fit for releases that know at least"));
      EXPECT_EQ(fits.error().kind, ErrorKind::kInvalidArgument);
      EXPECT_EQ(migrated.error().message, fits.error().message);
    }
  }
}

TEST(Migrate, AMigrationLeavesItsOldestReaderInTheDatabase) {
  const Database database = postgres().create_database("migrate");
  Session session = connect(database);
  ASSERT_TRUE(migrate(session).has_value());
  std::string expected;
  for (const Migration& migration : embedded_migrations()) {
    if (migration.oldest_reader == 0) continue;
    EXPECT_LE(migration.oldest_reader, migration.version);
    expected += std::to_string(migration.version) + ":" + std::to_string(migration.oldest_reader) + " ";
  }
  EXPECT_THAT(expected, HasSubstr("7:7 "));
  EXPECT_EQ(database.value("SELECT string_agg(version || ':' || oldest_reader || ' ', '' ORDER BY version) "
                           "FROM schema_migrations WHERE oldest_reader IS NOT NULL"),
            expected);
}

TEST(Migrate, SchemasFromTheOldestServedOnWillDo) {
  const auto known = static_cast<int>(embedded_migrations().size());
  ASSERT_GE(oldest_schema_served(), 1);
  ASSERT_LE(oldest_schema_served(), known);
  Session session = connect(postgres().create_database("migrate"));
  for (int version = 1; version <= known; ++version) {
    ASSERT_TRUE(migrate(session, embedded_migrations().first(static_cast<size_t>(version))).has_value());
    const auto fits = check_schema_version(session);
    ASSERT_EQ(fits.has_value(), version >= oldest_schema_served()) << version;
    if (fits) {
      EXPECT_EQ(*fits, version);
    } else {
      EXPECT_THAT(fits.error().message, HasSubstr("run `transactions-service migrate`"));
    }
  }
}

TEST(Migrate, RefusesAMigrationThatWasEdited) {
  Session session = connect(postgres().create_database("migrate"));
  const Migration original[] = {kFirst};
  Migration edited[] = {kFirst, kSecond};
  edited[0].checksum = "eeee";
  ASSERT_TRUE(migrate(session, original).has_value());
  const auto refused = migrate(session, edited);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("migration 1 first is not the one that the database has seen"));
  EXPECT_EQ(schema_version(session), 1);
}

TEST(Migrate, RefusesAHole) {
  Session session = connect(postgres().create_database("migrate"));
  const Migration two[] = {kFirst, kSecond};
  ASSERT_TRUE(migrate(session, two).has_value());
  ASSERT_TRUE(session.run_script("DELETE FROM schema_migrations WHERE version = 1").has_value());
  const auto refused = migrate(session, two);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("has seen migration 2 but not 1"));
}

TEST(Migrate, AFailingMigrationLeavesNothingBehind) {
  const Database database = postgres().create_database("migrate");
  Session session = connect(database);
  const Migration broken[] = {kFirst, kBroken};
  const auto failed = migrate(session, broken);
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("migration 2 broken: division by zero"));
  EXPECT_EQ(schema_version(session), 1);
  EXPECT_EQ(database.value("SELECT to_regclass('half') IS NULL"), "t");
  EXPECT_EQ(database.value("SELECT count(*) FROM one"), "1");

  // The lock is free again, and the session fit for use.
  const Migration mended[] = {kFirst, kSecond};
  Session other = connect(database);
  EXPECT_THAT(migrate(other, mended)->applied, ElementsAre("2 second"));
}

// A report that reads for minutes must not stop the service for as long: who asks for the table gets it meanwhile.
TEST(Migrate, NobodyQueuesBehindAMigrationThatWaits) {
  const Database database = postgres().create_database("migrate");
  Session session = connect(database);
  ASSERT_TRUE(migrate(session).has_value());
  std::vector<Migration> migrations(embedded_migrations().begin(), embedded_migrations().end());
  migrations.push_back({.version = static_cast<int>(migrations.size()) + 1,
                        .name = "colour",
                        .checksum = "dddd",
                        .sql = "CREATE TABLE colours (id int); ALTER TABLE accounts ADD COLUMN colour text"});
  Session reader = connect(database);
  ASSERT_TRUE(reader.run_script("BEGIN; SELECT count(*) FROM accounts").has_value());

  Result<MigrationReport> report;
  std::vector<std::string> lines;
  std::thread migrating([&] {
    MigratePatience patience;
    patience.lock = std::chrono::milliseconds(1'000);  // long enough to be seen
    patience.on_wait = [&lines](const std::string& line) { lines.push_back(line); };
    report = migrate(session, migrations, patience);
  });
  Session writer = connect(database);
  ASSERT_TRUE(writer.run_script("SET lock_timeout = '20s'").has_value());
  const auto waits = [&database] {
    return database.value("SELECT count(*) FROM pg_locks WHERE relation = 'accounts'::regclass AND NOT granted") != "0";
  };
  // More than once, so that it is seen to come back.
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(test::wait_until(waits, test::Milliseconds(30'000)));
    const auto written = writer.exec("UPDATE accounts SET balance = balance + 1");
    EXPECT_TRUE(written.has_value()) << written.error().message;
  }
  ASSERT_TRUE(reader.run_script("COMMIT").has_value());
  migrating.join();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_THAT(report->applied, ElementsAre(HasSubstr("colour")));
  ASSERT_FALSE(lines.empty());
  EXPECT_THAT(lines.front(), HasSubstr("colour waits for process "));
  EXPECT_THAT(lines.front(), HasSubstr("idle in transaction"));
}

TEST(Migrate, GivesUpInTheEnd) {
  const Database database = postgres().create_database("migrate");
  Session session = connect(database);
  const Migration one[] = {kFirst};
  ASSERT_TRUE(migrate(session, one).has_value());
  Session reader = connect(database);
  ASSERT_TRUE(reader.run_script("BEGIN; SELECT * FROM one").has_value());
  const Migration two[] = {kFirst, {2, "second", "bbbb", "CREATE TABLE two (id int); ALTER TABLE one ADD x int"}};
  MigratePatience patience{
      .lock = std::chrono::milliseconds(10), .pause = std::chrono::milliseconds(1), .total = std::chrono::seconds(0)};
  const auto given_up = migrate(session, two, patience);
  ASSERT_FALSE(given_up.has_value());
  EXPECT_THAT(given_up.error().message, HasSubstr("55P03"));
  EXPECT_EQ(database.value("SELECT to_regclass('two') IS NULL"), "t");
  ASSERT_TRUE(reader.run_script("COMMIT").has_value());
  EXPECT_THAT(migrate(session, two)->applied, ElementsAre("2 second"));
}

// --- The ledger's own guards -----------------------------------------------------------------------------------------

class LedgerSchema : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(migrate(session_).has_value()); }

  // SQLSTATE and text of why `sql` is refused; "" when it is not.
  std::string refusal(const std::string& sql) {
    const auto done = session_.exec(sql);
    return done ? "" : done.error().message;
  }

  Database database_ = postgres().create_database("schema");
  Session session_ = connect(database_);
};

TEST_F(LedgerSchema, TheLogIsAppendOnly) {
  constexpr const char* kDeposit =
      "INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type, direction, "
      "amount, balance_after, description) VALUES (2048, 1024, 1, 1, now(), 'DEPOSIT', 'CREDIT', 1, 1, '')";
  EXPECT_EQ(refusal(kDeposit), "");
  EXPECT_THAT(refusal("UPDATE transaction_logs SET amount = 2"), HasSubstr("append-only"));
  EXPECT_THAT(refusal("DELETE FROM transaction_logs"), HasSubstr("append-only"));
  EXPECT_THAT(refusal("TRUNCATE transaction_logs"), HasSubstr("append-only: TRUNCATE refused"));
  EXPECT_THAT(refusal(kDeposit), HasSubstr("23505"));
}

TEST_F(LedgerSchema, RowsMustBeOfAPossibleKind) {
  const auto insert = [](const char* leg, const char* type, const char* direction, const char* counterparty,
                         const char* mode, const char* amount, const char* balance) {
    return std::string(
               "INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, "
               "description, transaction_type, direction, counterparty, transfer_mode, amount, balance_after) "
               "SELECT 2 * n + ") +
           leg + ", n, 7, n, now(), '', '" + type + "', '" + direction + "', " + counterparty + ", " + mode + ", " +
           amount + ", " + balance + " FROM (SELECT coalesce(max(transaction_id), 0) + 1 AS n FROM transaction_logs) x";
  };
  EXPECT_EQ(refusal(insert("0", "DEPOSIT", "CREDIT", "NULL", "NULL", "1", "1")), "");
  EXPECT_EQ(refusal(insert("0", "WITHDRAWAL", "DEBIT", "NULL", "NULL", "1", "0")), "");
  EXPECT_EQ(refusal(insert("0", "TRANSFER", "DEBIT", "8", "'NEFT'", "1", "1")), "");
  EXPECT_EQ(refusal(insert("1", "TRANSFER", "CREDIT", "8", "'CHEQUE'", "1", "1")), "");
  const std::string impossible[] = {
      insert("0", "DEPOSIT", "DEBIT", "NULL", "NULL", "1", "1"),
      insert("1", "DEPOSIT", "CREDIT", "NULL", "NULL", "1", "1"),
      insert("0", "DEPOSIT", "CREDIT", "8", "NULL", "1", "1"),
      insert("0", "WITHDRAWAL", "DEBIT", "NULL", "'NEFT'", "1", "1"),
      insert("0", "TRANSFER", "DEBIT", "7", "'NEFT'", "1", "1"),
      insert("0", "TRANSFER", "DEBIT", "NULL", "'NEFT'", "1", "1"),
      insert("0", "TRANSFER", "DEBIT", "8", "NULL", "1", "1"),
      insert("0", "TRANSFER", "DEBIT", "8", "'CASH'", "1", "1"),
      insert("1", "TRANSFER", "DEBIT", "8", "'NEFT'", "1", "1"),
      insert("0", "GIFT", "DEBIT", "NULL", "NULL", "1", "1"),
      insert("0", "DEPOSIT", "CREDIT", "NULL", "NULL", "0", "1"),
      insert("0", "DEPOSIT", "CREDIT", "NULL", "NULL", "1", "-0.01"),
      insert("0", "DEPOSIT", "CREDIT", "NULL", "NULL", "'NaN'", "1"),
      insert("0", "DEPOSIT", "CREDIT", "NULL", "NULL", "1", "'NaN'"),
  };
  for (const std::string& sql : impossible) EXPECT_THAT(refusal(sql), HasSubstr("23514")) << sql;
}

// For those who meet the tables in psql.
TEST_F(LedgerSchema, EveryColumnSaysWhatItIs) {
  EXPECT_EQ(
      database_.value(
          "SELECT coalesce(string_agg(c.relname || '.' || a.attname, ', '), '') FROM pg_attribute a "
          "JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' "
          "AND a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL"),
      "");
}

TEST_F(LedgerSchema, MoneyIsFinite) {
  ASSERT_EQ(refusal("INSERT INTO accounts (account_number, owner_id, privilege, balance, opening_balance, is_active) "
                    "VALUES (1, 1, 'GOLD', 100, 100, true)"),
            "");
  for (const std::string column : {"accounts SET balance", "accounts SET opening_balance", "accounts SET usage_amount",
                                   "transfer_limits SET daily_limit"}) {
    EXPECT_THAT(refusal("UPDATE " + column + " = 'NaN'"), HasSubstr("23514")) << column;
    EXPECT_THAT(refusal("UPDATE " + column + " = -0.01"), HasSubstr("23514")) << column;
    EXPECT_THAT(refusal("UPDATE " + column + " = 'Infinity'"), HasSubstr("22003")) << column;
    EXPECT_EQ(refusal("UPDATE " + column + " = 9999999999999.99"), "") << column;
  }
}

// A database that is spoilt already is brought to the newest schema all the same; what is written from then on is
// checked.
TEST(Migrate, GoesPastARowThatIsSpoiltAlready) {
  const Database database = postgres().create_database("migrate");
  Session session = connect(database);
  const std::span<const Migration> all = embedded_migrations();
  ASSERT_TRUE(migrate(session, all.subspan(0, 3)).has_value());
  ASSERT_TRUE(
      session
          .exec("INSERT INTO accounts (account_number, owner_id, privilege, balance, opening_balance, is_active) "
                "VALUES (1, 1, 'GOLD', 'NaN', 0, true), (2, 1, 'GOLD', 0, 0, true)")
          .has_value());
  const auto report = migrate(session);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(database.value("SELECT balance FROM accounts WHERE account_number = 1"), "NaN");
  EXPECT_FALSE(session.exec("UPDATE accounts SET balance = 'NaN' WHERE account_number = 2").has_value());
  EXPECT_FALSE(session.exec("UPDATE accounts SET owner_id = 2 WHERE account_number = 1").has_value());
  EXPECT_TRUE(session.exec("UPDATE accounts SET balance = 0 WHERE account_number = 1").has_value());
}

TEST_F(LedgerSchema, UpdatesOfMoneyStayHeapOnly) {
  ASSERT_EQ(refusal("INSERT INTO accounts (account_number, owner_id, privilege, balance, opening_balance, is_active) "
                    "SELECT n, 1, 'GOLD', 100, 100, true FROM generate_series(1, 500) n"),
            "");
  ASSERT_EQ(refusal("UPDATE accounts SET balance = balance + 1, log_seq = log_seq + 1, usage_day = current_date, "
                    "usage_amount = 1, usage_count = 1 WHERE account_number % 5 = 0"),
            "");
  ASSERT_EQ(refusal("SELECT pg_stat_force_next_flush()"), "");
  EXPECT_EQ(database_.value("SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables "
                            "WHERE relname = 'accounts'"),
            "100 100");
}

}  // namespace
}  // namespace txn
