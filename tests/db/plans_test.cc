// Every statement of the workers reaches its rows by an index whatever the planner believed when the connection was
// made: plans are generic and kept as long as the connection, which may be made to an empty database and be there when
// the log has millions of rows.
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/concat.h"
#include "core/loop.h"
#include "core/task.h"
#include "db/connector.h"
#include "db/migrate.h"
#include "db/statements.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;

// Tables that grow without end; transfer_limits has a handful of rows.
const std::set<std::string_view> kGrowing{"accounts", "transaction_logs", "idempotency_keys"};

std::unique_ptr<PGresult, decltype(&PQclear)> execute(PGconn* connection, const std::string& sql) {
  return {PQexec(connection, sql.c_str()), &PQclear};
}

// The plan's lines, as EXPLAIN prints them; none for a statement that has no plan.
std::vector<std::string> explain(PGconn* connection, const Statement& statement) {
  const auto parameters = execute(
      connection, concat("SELECT array_to_string(array_fill('NULL'::text, ARRAY[cardinality(parameter_types)]), ', ') "
                         "FROM pg_prepared_statements WHERE name = '",
                         std::string_view(statement.name), "'"));
  EXPECT_EQ(PQntuples(parameters.get()), 1) << statement.name;
  const std::string nulls = PQgetvalue(parameters.get(), 0, 0);
  const std::string call = concat(std::string_view(statement.name), nulls.empty() ? "" : "(" + nulls + ")");
  const auto plan = execute(connection, concat("EXPLAIN EXECUTE ", call));
  EXPECT_EQ(PQresultStatus(plan.get()), PGRES_TUPLES_OK) << PQresultErrorMessage(plan.get());
  std::vector<std::string> lines;
  for (int row = 0; row < PQntuples(plan.get()); ++row) lines.emplace_back(PQgetvalue(plan.get(), row, 0));
  return lines;
}

// The growing table that a line of a plan scans, or "".
std::string_view scanned(std::string_view line) {
  const size_t scan = line.find("Scan ");
  const size_t on = scan == std::string_view::npos ? scan : line.find(" on ", scan);
  if (on == std::string_view::npos) return {};
  line.remove_prefix(on + 4);
  const auto table = kGrowing.find(line.substr(0, line.find(' ')));
  return table == kGrowing.end() ? std::string_view() : *table;
}

bool goes_by_index(const std::vector<std::string>& plan, size_t scan) {
  if (plan[scan].find("Tid Scan") != std::string::npos) return true;
  for (size_t i = scan + 1; i < plan.size() && plan[i].find("->") == std::string::npos; ++i)
    if (plan[i].find("Index Cond:") != std::string::npos) return true;
  return false;
}

void expect_indexes(PGconn* connection, std::span<const Statement* const> statements) {
  int scans = 0;
  for (const Statement* statement : statements) {
    const std::string_view sql = statement->sql;
    if (sql.find("SELECT") == std::string_view::npos) continue;  // BEGIN and its like
    const std::vector<std::string> plan = explain(connection, *statement);
    std::string text;
    for (const std::string& line : plan) text += line + "\n";
    for (size_t i = 0; i < plan.size(); ++i) {
      EXPECT_EQ(plan[i].find("Materialize"), std::string::npos) << statement->name << "\n" << text;
      if (scanned(plan[i]).empty()) continue;
      ++scans;
      EXPECT_TRUE(goes_by_index(plan, i)) << statement->name << ": " << plan[i] << "\n" << text;
    }
  }
  EXPECT_GT(scans, 0) << "plans without a scan show nothing";
}

Task<void> open(Loop& loop, Connector& connector, std::span<const Statement* const> statements, PgHandle& out) {
  auto opened = co_await connector.open(loop, ConnectionPurpose::kLane, statements);
  EXPECT_TRUE(opened.has_value()) << opened.error().message;
  if (opened) out = std::move(opened->handle);
  loop.stop();
}

class Plans : public testing::Test {
 protected:
  void SetUp() override {
    auto owner = Session::connect(database_.conninfo());
    ASSERT_TRUE(owner.has_value());
    ASSERT_TRUE(migrate(*owner).has_value());
  }

  void expect_indexes_on(std::span<const Statement* const> statements) {
    Connector connector({.conninfo = database_.conninfo()});
    Loop loop(std::move(*Ring::create({})), clock_);
    PgHandle handle;
    Scope scope;
    scope.spawn(open(loop, connector, statements, handle));
    loop.run();
    ASSERT_NE(handle, nullptr);
    ASSERT_EQ(PQsetnonblocking(handle.get(), 0), 0);
    ASSERT_EQ(PQexitPipelineMode(handle.get()), 1);
    expect_indexes(handle.get(), statements);
  }

  void expect_indexes_everywhere() {
    expect_indexes_on(sql::lane_statements());
    expect_indexes_on(sql::reader_statements());
  }

  SystemClock clock_;
  Database database_ = postgres().create_database("plans");
};

TEST_F(Plans, OfTablesNobodyHasAnalyzed) { expect_indexes_everywhere(); }

TEST_F(Plans, OfTablesKnownToBeEmpty) {
  database_.query("VACUUM ANALYZE");
  expect_indexes_everywhere();
}

class PlansByAccounts : public Plans, public testing::WithParamInterface<int> {};

TEST_P(PlansByAccounts, WithoutLog) {
  database_.query(
      concat("INSERT INTO accounts (account_number, owner_id, is_active, privilege, balance, opening_balance) "
             "SELECT n, n, true, 'GOLD', 10, 10 FROM generate_series(1, ",
             GetParam(), ") n"));
  database_.query("VACUUM ANALYZE");
  expect_indexes_everywhere();
}

TEST_P(PlansByAccounts, WithALogRowEach) {
  database_.query(
      concat("INSERT INTO accounts (account_number, owner_id, is_active, privilege, balance, opening_balance, log_seq) "
             "SELECT n, n, true, 'GOLD', 11, 10, 1 FROM generate_series(1, ",
             GetParam(), ") n"));
  database_.query(
      "INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type, direction, "
      "amount, balance_after, description) "
      "SELECT account_number * 2, account_number, account_number, 1, now(), 'DEPOSIT', 'CREDIT', 1, 11, '' FROM "
      "accounts");
  database_.query("VACUUM ANALYZE");
  expect_indexes_everywhere();
}

INSTANTIATE_TEST_SUITE_P(Accounts, PlansByAccounts, testing::Values(1, 3, 50, 1000));

}  // namespace
}  // namespace txn
