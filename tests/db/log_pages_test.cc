// Pages of an account's log between two times: the right rows, and few looked at for them, wherever the times lie.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <random>
#include <string>
#include <vector>

#include "core/concat.h"
#include "db/migrate.h"
#include "db/session.h"
#include "db/statements.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kNewest = INT64_MAX;

class LogPages : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(session_.has_value()) << session_.error().message;
    ASSERT_TRUE(migrate(*session_).has_value());
    // As the service's own sessions (db/connector.cc).
    run("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
        "SET jit = off; SET TimeZone = 'UTC'; SET session_replication_role = replica");
  }

  void run(const std::string& script) {
    const auto done = session_->run_script(script);
    ASSERT_TRUE(done.has_value()) << script << ": " << done.error().message;
  }
  Result<QueryRows> exec(const std::string& sql, std::initializer_list<QueryParameter> parameters = {}) {
    auto rows = session_->exec(sql, parameters);
    EXPECT_TRUE(rows.has_value()) << sql << ": " << rows.error().message;
    return rows;
  }

  // Rows of `account`: one for each (seq, second of 2026-01-01) that `values`, an SQL query, gives.
  void fill(int64_t account, const std::string& values) {
    run(
        concat("INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type, "
               "direction, amount, balance_after, description) "
               "SELECT (",
               account, "::bigint * 10000000 + seq) * 2, ", account, "::bigint * 10000000 + seq, ", account,
               ", seq, timestamptz '2026-01-01 00:00+00' + second * interval '1 second', 'DEPOSIT', 'CREDIT', 1, seq, "
               "'' FROM (",
               values, ") v (seq, second)"));
  }

  // A time as a parameter, from seconds since 2026-01-01.
  std::string at(double seconds) {
    const auto rows = exec(concat("SELECT (timestamptz '2026-01-01 00:00+00' + interval '1 second' * ",
                                  std::to_string(seconds), ")::text"));
    return std::string(rows->text(0, 0));
  }

  std::vector<int64_t> page(int64_t account, int64_t before, int64_t skip, int64_t limit, double first, double last) {
    const auto rows =
        exec(sql::kSelectLogsBetween.sql, {std::to_string(account), std::to_string(before), std::to_string(skip),
                                           std::to_string(limit), at(first), at(last)});
    std::vector<int64_t> seqs;
    for (int row = 0; row < rows->size(); ++row) seqs.push_back(rows->integer(row, 1));
    return seqs;
  }
  std::vector<int64_t> naive_page(int64_t account, int64_t before, int64_t skip, int64_t limit, double first,
                                  double last) {
    const auto rows = exec(
        "SELECT seq FROM transaction_logs WHERE account_number = $1::bigint AND seq < $2::bigint AND created_at "
        "BETWEEN $5::timestamptz AND $6::timestamptz ORDER BY seq DESC OFFSET $3::bigint LIMIT $4::bigint",
        {std::to_string(account), std::to_string(before), std::to_string(skip), std::to_string(limit), at(first),
         at(last)});
    std::vector<int64_t> seqs;
    for (int row = 0; row < rows->size(); ++row) seqs.push_back(rows->integer(row, 0));
    return seqs;
  }

  // Pages of the database that a statement looks at, as EXPLAIN counts them: its first "shared hit=… read=…".
  int64_t buffers(const std::string& sql, std::initializer_list<QueryParameter> parameters) {
    const auto plan = exec("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) " + sql, parameters);
    for (int row = 0; row < plan->size(); ++row) {
      const std::string_view line = plan->text(row, 0);
      if (line.find("Buffers: shared") == std::string_view::npos) continue;
      int64_t sum = 0;
      for (const std::string_view name : {"hit=", "read="}) {
        const size_t found = line.find(name);
        int64_t count = 0;
        if (found != std::string_view::npos)
          std::from_chars(line.data() + found + name.size(), line.data() + line.size(), count);
        sum += count;
      }
      return sum;
    }
    ADD_FAILURE() << "EXPLAIN counts no buffers";
    return 0;
  }

  Database database_ = postgres().create_database("log_pages");
  Result<Session> session_ = Session::connect(database_.conninfo());
};

TEST_F(LogPages, AreWhatAFilterFinds) {
  std::mt19937 random(20'260'101);
  const auto upto = [&](int64_t most) { return std::uniform_int_distribution<int64_t>(0, most)(random); };
  // Several rows of one time, as batches make them, and times without any; the last accounts with holes in seq.
  for (int64_t account = 1; account <= 6; ++account) {
    const int64_t rows = account == 1 ? 1 : 1 + upto(200);
    std::string values;
    int64_t seq = 0;
    int64_t second = 0;
    for (int64_t i = 0; i < rows; ++i) {
      seq += account > 4 ? 1 + upto(5) * upto(1) : 1;
      second += upto(3) == 0 ? upto(4) : 0;
      values += concat(values.empty() ? "VALUES (" : ", (", seq, "::bigint, ", second, ")");
    }
    fill(account, values);
    for (int i = 0; i < 60; ++i) {
      const int64_t before = upto(1) == 0 ? kNewest : 1 + upto(seq + 2);
      const int64_t skip = upto(1) == 0 ? 0 : upto(20);
      const int64_t limit = 1 + upto(30);
      const double first = static_cast<double>(upto(2 * second + 4)) / 2 - 1;
      const double last = upto(9) == 0 ? first - 1 : first + static_cast<double>(upto(2 * second + 4)) / 2;
      EXPECT_EQ(page(account, before, skip, limit, first, last), naive_page(account, before, skip, limit, first, last))
          << "account " << account << ", " << rows << " rows, before " << before << ", skip " << skip << ", limit "
          << limit << ", " << first << " to " << last;
    }
  }
}

TEST_F(LogPages, OfAnAccountWithoutLogAreEmpty) {
  EXPECT_THAT(page(7, kNewest, 0, 50, 0, 100), IsEmpty());
  fill(8, "VALUES (5::bigint, 10)");
  EXPECT_THAT(page(8, 5, 0, 50, 0, 100), IsEmpty());
  EXPECT_THAT(page(8, kNewest, 0, 50, 0, 100), ElementsAre(5));
}

TEST_F(LogPages, EndAtTheLastSeqThereCanBe) {
  fill(9, "VALUES (1::bigint, 1)");
  run("UPDATE transaction_logs SET seq = 9223372036854775806 WHERE account_number = 9");
  EXPECT_THAT(page(9, kNewest, 0, 50, 0, 100), ElementsAre(kNewest - 1));
  EXPECT_THAT(page(9, kNewest, 0, 50, 2, 100), IsEmpty());
}

// Times that run backwards make a page wrong about times, and nothing else: it ends, its rows are in order of seq, and
// pages that follow each other have no row twice.
TEST_F(LogPages, OfALogWhoseClockWasSetBackEnd) {
  fill(1, "SELECT n, CASE WHEN n BETWEEN 40 AND 60 THEN n - 30 ELSE n END FROM generate_series(1, 100) n");
  for (const double first : {0.0, 12.0, 35.0, 45.0, 70.0, 200.0}) {
    for (const double last : {0.0, 12.0, 35.0, 45.0, 70.0, 200.0}) {
      int64_t before = kNewest;
      for (int pages = 0;; ++pages) {
        ASSERT_LT(pages, 102);
        const std::vector<int64_t> seqs = page(1, before, 0, 3, first, last);
        if (seqs.empty()) break;
        for (const int64_t seq : seqs) {
          ASSERT_LT(seq, before);
          before = seq;
        }
      }
    }
  }
}

TEST_F(LogPages, LookAtFewRowsWhateverTheirDates) {
  constexpr int kRows = 100'000;
  const std::string rows = std::to_string(kRows);
  // Neighbours in the same index, and one without a log between them.
  fill(1, "SELECT n, n FROM generate_series(1, 5000) n");
  fill(2, concat("SELECT n, n FROM generate_series(1, ", rows, ") n"));
  fill(4, "SELECT n, n FROM generate_series(1, 5000) n");
  run("VACUUM ANALYZE transaction_logs");

  // A look costs the depth of the index and a row: 2 * 17 of them for 100,000 rows, and the page itself.
  constexpr int64_t kBound = 2 * 18 * 5 + 80;
  struct Dates {
    double first, last;
  };
  const Dates all[] = {{-2e6, -1e6},   {2e6, 3e6},         {-1e6, 1e6},      {0.5, 0.7}, {50'000.2, 50'000.7},
                       {-1e6, 0.5},    {99'999.5, 1e6},    {50'000, 50'010}, {-1e6, 1},  {500, -500},
                       {kRows, kRows}, {-1e6, kRows / 2.}, {kRows / 2., 1e6}};
  for (const auto& [first, last] : all) {
    for (const int64_t account : {2, 3}) {
      for (const int64_t before : {kNewest, int64_t{kRows / 3}}) {
        EXPECT_LT(buffers(sql::kSelectLogsBetween.sql,
                          {std::to_string(account), std::to_string(before), "0", "51", at(first), at(last)}),
                  kBound)
            << "account " << account << " before " << before << ", " << first << " to " << last;
      }
    }
  }
  // What the bound is there for: the filter that a plain reading of the question suggests.
  EXPECT_GT(buffers("SELECT * FROM transaction_logs WHERE account_number = $1::bigint AND seq < $2::bigint AND "
                    "created_at BETWEEN $3::timestamptz AND $4::timestamptz ORDER BY seq DESC LIMIT 51",
                    {"2", std::to_string(kNewest), at(-2e6), at(-1e6)}),
            3 * kBound);
}

}  // namespace
}  // namespace txn
