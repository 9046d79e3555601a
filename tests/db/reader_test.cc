// The reader on a real PostgreSQL: who is served in which order, what is not sent, and what a spoilt session costs.
#include "db/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "core/loop.h"
#include "db/connector.h"
#include "db/ledger.h"
#include "db/migrate.h"
#include "db/session.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;

constexpr int64_t kBusy = 1;
constexpr int64_t kOther = 2;

class SomeClient final : public OperationClient {
 public:
  explicit SomeClient(bool is_there) : is_there_(is_there) {}
  bool is_waiting() const override { return is_there_; }

 private:
  const bool is_there_;
};

class ReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    auto owner = Session::connect(database_.conninfo());
    ASSERT_TRUE(owner.has_value());
    ASSERT_TRUE(migrate(*owner).has_value());
  }

  // Runs `body`, a coroutine over a reader with `options`, once it is connected, to its end.
  void run(ReaderOptions options, const std::function<Task<void>(Loop&, Reader&)>& body) {
    Connector connector({.conninfo = database_.conninfo()});
    Loop loop(std::move(*Ring::create({})), clock_);
    DatabaseCounters connections;
    connections_ = &connections;
    Reader reader(loop, connector, connections, options);
    Scope reads;
    Scope main;
    reader.start(reads);
    main.spawn(script(loop, reader, reads, connector, body));
    loop.run();
  }

  // One read of `statement` for `subject`; `name` goes to the end of answered() when it has its answer.
  Task<void> read(Reader& reader, const Statement& statement, ReadCaller caller, std::string name) {
    PgParameters none;
    const auto result = co_await reader.query(statement, none, caller);
    answered_.push_back(name + (result ? "" : result.error().kind == ErrorKind::kUnavailable ? " refused" : " failed"));
  }

  const std::vector<std::string>& answered() const { return answered_; }
  int64_t count(std::string_view name) const { return std::ranges::count(answered_, name); }
  ptrdiff_t place(std::string_view name) const { return std::ranges::find(answered_, name) - answered_.begin(); }

  Database database_ = postgres().create_database("reader");
  DatabaseCounters* connections_ = nullptr;

 private:
  static Task<void> script(Loop& loop, Reader& reader, Scope& reads, Connector& connector,
                           const std::function<Task<void>(Loop&, Reader&)>& body) {
    while (!reader.is_connected()) {
      co_await loop.sleep_for(10 * kNanosPerMilli);
    }
    co_await body(loop, reader);
    reader.stop();
    connector.stop();
    co_await reads.join();
    loop.stop();
  }

  SystemClock clock_;
  std::vector<std::string> answered_;
};

TEST_F(ReaderTest, OthersPassTheReadsOfABusySubject) {
  constexpr int kReads = 300;
  run({.connections = 1}, [&](Loop&, Reader& reader) -> Task<void> {
    Scope scope;
    for (int i = 0; i < kReads; ++i) scope.spawn(read(reader, sql::kPing, {.subject = kBusy}, "busy"));
    scope.spawn(read(reader, sql::kPing, {.subject = kOther}, "other"));
    scope.spawn(read(reader, sql::kPing, {}, "own"));
    EXPECT_EQ(reader.counters().queued, kReads + 2U);
    co_await scope.join();
    EXPECT_EQ(reader.counters().deferred, kReads - 64U);
    EXPECT_EQ(reader.counters().queued, 0U);
    EXPECT_EQ(reader.counters().refused, 0U);
  });
  EXPECT_EQ(count("busy"), kReads);  // queued, and not refused
  EXPECT_LE(place("other"), 128);    // in the second group at the latest
  EXPECT_LE(place("own"), 128);
}

TEST_F(ReaderTest, TheServiceItselfIsNotBounded) {
  run({.connections = 1}, [&](Loop&, Reader& reader) -> Task<void> {
    Scope scope;
    for (int i = 0; i < 200; ++i) scope.spawn(read(reader, sql::kPing, {}, "own"));
    co_await scope.join();
    EXPECT_EQ(reader.counters().deferred, 0U);
  });
  EXPECT_EQ(count("own"), 200);
}

TEST_F(ReaderTest, WhatWaitsBesideTheQueueCountsInIt) {
  run({.connections = 1, .queue_max = 80}, [&](Loop&, Reader& reader) -> Task<void> {
    Scope scope;
    for (int i = 0; i < 100; ++i) scope.spawn(read(reader, sql::kPing, {.subject = kBusy}, "busy"));
    co_await scope.join();
    EXPECT_EQ(reader.counters().refused, 20U);
  });
  EXPECT_EQ(count("busy"), 80);
  EXPECT_EQ(count("busy refused"), 20);
}

TEST_F(ReaderTest, NothingIsSentForAClientThatHasGone) {
  const SomeClient gone(false);
  const SomeClient there(true);
  run({.connections = 1}, [&](Loop&, Reader& reader) -> Task<void> {
    const uint64_t statements = connections_->statements;
    Scope scope;
    for (int i = 0; i < 100; ++i) {
      scope.spawn(read(reader, sql::kPing, {.subject = kBusy, .client = &gone}, "gone"));
      scope.spawn(read(reader, sql::kPing, {.subject = kBusy, .client = &there}, "there"));
    }
    co_await scope.join();
    EXPECT_EQ(connections_->statements - statements, 100U);
    EXPECT_EQ(reader.counters().abandoned, 100U);
    EXPECT_EQ(reader.counters().queued, 0U);
  });
  EXPECT_EQ(count("there"), 100);
  EXPECT_EQ(count("gone refused"), 100);
}

TEST_F(ReaderTest, WhatWaitsTooLongIsRefusedWhereverItWaits) {
  auto blocker = Session::connect(database_.conninfo());
  ASSERT_TRUE(blocker.has_value());
  run({.connections = 1, .group_max = 8, .queue_wait_ns = 300 * kNanosPerMilli},
      [&](Loop& loop, Reader& reader) -> Task<void> {
        EXPECT_TRUE(blocker->run_script("BEGIN; LOCK TABLE transfer_limits").has_value());
        Scope scope;
        for (int i = 0; i < 8; ++i) scope.spawn(read(reader, sql::kSelectLimits, {.subject = kOther}, "blocked"));
        co_await loop.sleep_for(20 * kNanosPerMilli);  // sent
        for (int i = 0; i < 100; ++i) scope.spawn(read(reader, sql::kPing, {.subject = kBusy}, "busy"));
        scope.spawn(read(reader, sql::kPing, {}, "own"));
        while (reader.counters().refused < 101U) {
          co_await loop.sleep_for(20 * kNanosPerMilli);
        }
        EXPECT_EQ(reader.counters().queued, 0U);
        EXPECT_TRUE(blocker->run_script("COMMIT").has_value());
        co_await scope.join();
      });
  EXPECT_EQ(count("busy refused"), 100);
  EXPECT_EQ(count("own refused"), 1);
  EXPECT_EQ(count("blocked"), 8);
}

// The column keeps its values and changes its type: every session that was made before has a plan that no longer holds.
TEST_F(ReaderTest, ASessionThatAMigrationHasSpoiltIsReplaced) {
  auto owner = Session::connect(database_.conninfo());
  ASSERT_TRUE(owner.has_value());
  run({.connections = 2, .session_age_least_ns = 0}, [&](Loop& loop, Reader& reader) -> Task<void> {
    Scope before;
    before.spawn(read(reader, sql::kSelectLimits, {}, "before"));
    co_await before.join();
    EXPECT_TRUE(owner->run_script("ALTER TABLE transfer_limits ALTER COLUMN privilege TYPE varchar(20)").has_value());
    for (int i = 0; i < 20; ++i) {
      Scope after;
      for (int n = 0; n < 4; ++n) after.spawn(read(reader, sql::kSelectLimits, {.subject = kBusy}, "after"));
      after.spawn(read(reader, sql::kPing, {.subject = kOther}, "neighbour"));
      co_await after.join();
      co_await loop.sleep_for(kNanosPerMilli);
    }
    EXPECT_GE(reader.counters().sessions_replaced, 1U);
    EXPECT_LE(reader.counters().sessions_replaced, 2U);
  });
  EXPECT_EQ(count("before"), 1);
  EXPECT_EQ(count("after"), 80);
  EXPECT_EQ(count("neighbour"), 20);
}

// What a new session does not cure is told after one more try, and a session that is young is not replaced for it.
TEST_F(ReaderTest, AnErrorThatStaysIsTold) {
  database_.query(
      "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; "
      "CREATE TRIGGER refuse BEFORE DELETE ON idempotency_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse()");
  constexpr int64_t kHourNs = 3600 * kNanosPerSecond;
  for (const int64_t age_least_ns : {int64_t{0}, kHourNs}) {
    const uint64_t tries = age_least_ns == 0 ? 2 : 1;
    run({.connections = 1, .session_age_least_ns = age_least_ns}, [&](Loop&, Reader& reader) -> Task<void> {
      for (int i = 0; i < 3; ++i) {
        Scope scope;
        scope.spawn(read(reader, sql::kExpireKeys, {.subject = kBusy}, "read"));
        scope.spawn(read(reader, sql::kPing, {.subject = kOther}, "neighbour"));
        co_await scope.join();
      }
      EXPECT_EQ(reader.counters().failed, 3 * tries);
      EXPECT_EQ(reader.counters().sessions_replaced, 3 * (tries - 1));
    });
  }
  EXPECT_EQ(count("read failed"), 6);
  EXPECT_EQ(count("neighbour"), 6);
}

}  // namespace
}  // namespace txn
