// Values, pipelines and lost connections against a real PostgreSQL.
#include "db/pg_connection.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "core/json_writer.h"
#include "db/connector.h"
#include "db/pg_value.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::PrivatePostgres;

class Cluster final : public testing::Environment {
 public:
  void SetUp() override { postgres = std::make_unique<PrivatePostgres>(); }
  void TearDown() override { postgres.reset(); }
  static std::unique_ptr<PrivatePostgres> postgres;
};
std::unique_ptr<PrivatePostgres> Cluster::postgres;
const auto* const environment = testing::AddGlobalTestEnvironment(new Cluster);

constexpr int64_t kTimeout = 5 * kNanosPerSecond;

const Statement kEcho{"echo",
                      "SELECT $1::numeric, $1::numeric::text, $2::bigint, $3::timestamptz, $4::date[], $5::numeric[], "
                      "$6::text[], $7::bytea, $8::boolean"};
const Statement kOne{"one", "SELECT 1"};
const Statement kDivide{"divide", "SELECT 1 / $1::bigint"};
const Statement kBig{"big", "SELECT repeat('x', $1::integer)"};
const Statement kBack{"back", "SELECT length($1::text)"};
const Statement kSleep{"sleep", "SELECT pg_sleep(60)"};
const Statement kBegin{"begin", "BEGIN"};
const Statement kRollback{"rollback", "ROLLBACK"};
const Statement kInsert{"insert", "INSERT INTO checked_late VALUES (1)"};
const Statement kWarn{"warn", "DO $$ BEGIN RAISE WARNING 'of the site''s own'; END $$"};
const Statement kEndMe{"end_me", "SELECT pg_terminate_backend(pg_backend_pid())"};

std::span<const Statement* const> statements() {
  static constexpr const Statement* kAll[] = {&kEcho,  &kOne,      &kDivide, &kBig,  &kBack, &kSleep,
                                              &kBegin, &kRollback, &kInsert, &kWarn, &kEndMe};
  return kAll;
}

class PgConnectionTest : public testing::Test, protected PgConnection::Owner {
 protected:
  PgConnectionTest() { database_.query("CREATE TABLE checked_late (n bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)"); }

  void on_idle_connection_lost() override { lost_while_idle_ = true; }

  // Opens a connection, runs `body` on the loop, closes.
  void with_connection(const std::function<Task<void>(PgConnection&)>& body) {
    Connector connector({.conninfo = database_.conninfo()});
    Loop loop(std::move(*Ring::create({})), clock_);
    loop_ = &loop;
    PgConnection connection(loop, *this, counters_);
    Scope scope;
    scope.spawn(run(connector, loop, connection, body));
    loop.run();
    loop_ = nullptr;
  }

  static Task<void> run(Connector& connector, Loop& loop, PgConnection& connection,
                        const std::function<Task<void>(PgConnection&)>& body) {
    auto opened = co_await connector.open(loop, ConnectionPurpose::kLane, statements());
    EXPECT_TRUE(opened.has_value()) << opened.error().message;
    if (opened) {
      connection.adopt(std::move(*opened));
      co_await body(connection);
      co_await connection.close();
    }
    loop.stop();
  }

  SystemClock clock_;
  Database database_ = Cluster::postgres->create_database("connection");
  Loop* loop_ = nullptr;
  DatabaseCounters counters_;
  bool lost_while_idle_ = false;
};

// Our binary forms against PostgreSQL's own reading of them, both ways.
TEST_F(PgConnectionTest, ValuesGoBothWaysExactly) {
  with_connection([](PgConnection& connection) -> Task<void> {
    std::mt19937_64 random(7);
    PgParameters parameters;
    std::vector<int64_t> amounts{0,
                                 1,
                                 -1,
                                 99,
                                 100,
                                 101,
                                 9'999,
                                 10'000,
                                 999'999,
                                 1'000'000,
                                 100'000'000,
                                 kMaxBalance.minor(),
                                 -kMaxBalance.minor(),
                                 INT64_MAX,
                                 INT64_MIN + 1};
    for (int i = 0; i < 500; ++i) amounts.push_back(static_cast<int64_t>(random()) >> (random() % 63));
    for (const int64_t minor : amounts) {
      const Money amount = Money::from_minor(minor);
      const auto day = static_cast<int32_t>(random() % 40'000);
      parameters.clear();
      parameters.add_numeric(amount);
      parameters.add_int8(minor);
      parameters.add_timestamptz(minor % 4'000'000'000'000'000);
      parameters.begin_array(PgType::kDate, 2);
      parameters.element_date(day);
      parameters.element_null();
      parameters.end_array();
      parameters.begin_array(PgType::kNumeric, 0);
      parameters.end_array();
      parameters.begin_array(PgType::kText, 2);
      parameters.element_text("");
      parameters.element_text("\xC3\xA9\n");
      parameters.end_array();
      parameters.add_bytes({});
      parameters.add_bool(minor % 2 == 0);
      connection.push(kEcho, parameters);
      const ExchangeStatus status = co_await connection.sync(kTimeout);
      EXPECT_EQ(status, ExchangeStatus::kOk) << connection.error_text();
      const PgResult& result = connection.result(0);
      EXPECT_EQ(result.numeric(0, 0), amount);
      EXPECT_EQ(std::string(result.bytes(0, 1)), to_string(amount));
      EXPECT_EQ(result.int8(0, 2), minor);
      EXPECT_EQ(result.timestamptz(0, 3), minor % 4'000'000'000'000'000);
      EXPECT_EQ(result.bytes(0, 7), "");
      EXPECT_FALSE(result.is_null(0, 7));
      EXPECT_EQ(result.boolean(0, 8), minor % 2 == 0);
    }
  });
}

TEST_F(PgConnectionTest, AFailedStatementSkipsTheRestAndTheConnectionStaysInStep) {
  with_connection([](PgConnection& connection) -> Task<void> {
    for (int round = 0; round < 3; ++round) {
      PgParameters zero;
      zero.add_int8(0);
      connection.push(kOne);
      connection.push(kDivide, zero);
      connection.push(kOne);
      ExchangeStatus status = co_await connection.sync(kTimeout);
      EXPECT_EQ(status, ExchangeStatus::kFailed);
      EXPECT_EQ(connection.failed_index(), 1u);
      EXPECT_EQ(connection.error_sqlstate(), "22012");
      EXPECT_TRUE(connection.result(0).ok());
      EXPECT_FALSE(connection.result(1).ok());
      EXPECT_FALSE(connection.result(2).ok());
      // Inside an explicit transaction the failure stays until ROLLBACK.
      connection.push(kBegin);
      connection.push(kDivide, zero);
      status = co_await connection.sync(kTimeout);
      EXPECT_EQ(status, ExchangeStatus::kFailed);
      connection.push(kOne);
      status = co_await connection.sync(kTimeout);
      EXPECT_EQ(connection.error_sqlstate(), "25P02");
      connection.push(kRollback);
      connection.push(kOne);
      status = co_await connection.sync(kTimeout);
      EXPECT_EQ(status, ExchangeStatus::kOk);
      EXPECT_EQ(connection.result(1).int4(0, 0), 1);
    }
  });
}

// Everything has its answer, and then the commit fails: in one segment with the end of the exchange.
TEST_F(PgConnectionTest, AnErrorOfAnImplicitCommitComesBehindTheLastStatement) {
  database_.query("INSERT INTO checked_late VALUES (1)");
  with_connection([](PgConnection& connection) -> Task<void> {
    for (int round = 0; round < 3; ++round) {
      connection.push(kInsert);
      ExchangeStatus status = co_await connection.sync(kTimeout);
      EXPECT_EQ(status, ExchangeStatus::kFailed) << connection.error_text();
      EXPECT_EQ(connection.failed_index(), 1u);
      EXPECT_EQ(connection.error_sqlstate(), "23505");
      EXPECT_EQ(connection.result(0).command_tag(), "INSERT 0 1");
      connection.push(kOne);
      status = co_await connection.sync(kTimeout);
      EXPECT_EQ(status, ExchangeStatus::kOk);
      EXPECT_EQ(connection.error_sqlstate(), "");
    }
  });
  EXPECT_EQ(database_.value("SELECT count(*) FROM checked_late"), "1");
}

TEST_F(PgConnectionTest, WarningsOfOthersAreNoDoubtAboutStandbys) {
  with_connection([](PgConnection& connection) -> Task<void> {
    connection.push(kWarn);
    const ExchangeStatus status = co_await connection.sync(kTimeout);
    EXPECT_EQ(status, ExchangeStatus::kOk) << connection.error_text();
    EXPECT_FALSE(connection.doubts_standbys()) << connection.doubt_text();
  });
}

TEST_F(PgConnectionTest, WhatWasCompleteBeforeTheEndStands) {
  with_connection([](PgConnection& connection) -> Task<void> {
    connection.push(kOne);
    connection.push(kEndMe);
    connection.push(kOne);
    const ExchangeStatus status = co_await connection.sync(kTimeout);
    EXPECT_EQ(status, ExchangeStatus::kLost);
    EXPECT_TRUE(connection.error_text().starts_with("server closed the connection")) << connection.error_text();
    EXPECT_TRUE(connection.error_text().ends_with("processing the request.")) << connection.error_text();
    EXPECT_EQ(connection.error_sqlstate(), "");
    EXPECT_TRUE(connection.result(0).ok());
    EXPECT_EQ(connection.result(0).command_tag(), "SELECT 1");
    EXPECT_FALSE(connection.result(1).ok());
    EXPECT_FALSE(connection.result(2).ok());
  });
}

// Both directions at once, far beyond what sockets buffer.
TEST_F(PgConnectionTest, LargeParametersAndLargeResultsDoNotBlockEachOther) {
  with_connection([](PgConnection& connection) -> Task<void> {
    const std::string megabytes(3'000'000, 'y');
    for (int i = 0; i < 4; ++i) {
      PgParameters size, text;
      size.add_int4(3'000'000);
      text.add_text(megabytes);
      connection.push(kBig, size);
      connection.push(kBack, text);
    }
    const ExchangeStatus status = co_await connection.sync(kTimeout);
    EXPECT_EQ(status, ExchangeStatus::kOk) << connection.error_text();
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(connection.result(2 * i).bytes(0, 0).size(), 3'000'000u);
      EXPECT_EQ(connection.result(2 * i + 1).int4(0, 0), 3'000'000);
    }
  });
}

TEST_F(PgConnectionTest, NoAnswerInTimeIsALostConnection) {
  with_connection([](PgConnection& connection) -> Task<void> {
    connection.push(kSleep);
    ExchangeStatus status = co_await connection.sync(100 * kNanosPerMilli);
    EXPECT_EQ(status, ExchangeStatus::kLost);
    EXPECT_FALSE(connection.is_open());
    connection.push(kOne);
    status = co_await connection.sync(kTimeout);
    EXPECT_EQ(status, ExchangeStatus::kLost);
  });
}

TEST_F(PgConnectionTest, ATerminatedBackendIsALostConnection) {
  with_connection([this](PgConnection& connection) -> Task<void> {
    const std::string end = "SELECT pg_terminate_backend(" + std::to_string(connection.backend_pid()) + ")";
    database_.query(end);
    while (!lost_while_idle_) {
      co_await loop_->sleep_for(10 * kNanosPerMilli);
    }
    EXPECT_FALSE(connection.is_open());
  });
  with_connection([this](PgConnection& connection) -> Task<void> {
    connection.push(kSleep);
    const std::string end = "SELECT pg_terminate_backend(" + std::to_string(connection.backend_pid()) + ")";
    struct Killer final : Timer {
      void on_timer() override { database->query(sql); }
      const Database* database = nullptr;
      std::string sql;
    } killer;
    killer.database = &database_;
    killer.sql = end;
    loop_->timers().arm(killer, clock_.now_ns() + 50 * kNanosPerMilli);
    const ExchangeStatus status = co_await connection.sync(kTimeout);
    EXPECT_EQ(status, ExchangeStatus::kLost);
  });
}

TEST_F(PgConnectionTest, ThePidAndStartNameTheBackend) {
  with_connection([this](PgConnection& connection) -> Task<void> {
    char start[kTimestampLength];
    format_timestamp(connection.backend_start_us(), start);
    EXPECT_EQ(database_.value(
                  "SELECT count(*) FROM pg_stat_activity WHERE pid = " + std::to_string(connection.backend_pid()) +
                  " AND backend_start = '" + std::string(start, sizeof start) + "'"),
              "1");
    co_return;
  });
}

TEST_F(PgConnectionTest, ADatabaseThatIsNotThereIsAnErrorInWords) {
  Connector connector({.conninfo = "host=/nonexistent dbname=none", .connect_timeout_ns = kNanosPerSecond});
  Loop loop(std::move(*Ring::create({})), clock_);
  Scope scope;
  std::string message;
  scope.spawn([](Connector& from, Loop& on, std::string& out) -> Task<void> {
    const auto opened = co_await from.open(on, ConnectionPurpose::kLane, statements());
    EXPECT_FALSE(opened.has_value());
    if (!opened) out = opened.error().message;
    on.stop();
  }(connector, loop, message));
  loop.run();
  EXPECT_NE(message.find("/nonexistent"), std::string::npos) << message;
}

}  // namespace
}  // namespace txn
