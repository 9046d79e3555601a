// What a lane's store asks of a real PostgreSQL: whether a commit was ours, and ids that nobody else has.
#include "db/pg_lane_store.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/loop.h"
#include "db/connector.h"
#include "db/migrate.h"
#include "tests/support/private_postgres.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;

class PgLaneStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    auto owner = Session::connect(database_.conninfo());
    ASSERT_TRUE(owner.has_value());
    ASSERT_TRUE(migrate(*owner).has_value());
    database_.query(
        "INSERT INTO accounts (account_number, owner_id, is_active, privilege, balance, opening_balance, log_seq) "
        "SELECT n, 1, true, 'GOLD', 15, 10, 1 FROM generate_series(1, 2) n");
    // Transaction 5000 of account 1.
    database_.query(
        "INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type, "
        "direction, "
        "amount, balance_after, description) VALUES (10000, 5000, 1, 1, '2026-01-01 00:00:00.000001+00', 'DEPOSIT', "
        "'CREDIT', 5, 15, '')");
    database_.query("SELECT setval('transaction_id_blocks', 5)");
  }

  void with_store(const std::function<Task<void>(PgLaneStore&)>& body) {
    Connector connector({.conninfo = database_.conninfo()});
    Loop loop(std::move(*Ring::create({})), clock_);
    UnreadableRows unreadable(loop.clock());
    PgLaneStore store(loop, connector, counters_, unreadable, 5 * kNanosPerSecond, [] {});
    Scope scope;
    scope.spawn(run(loop, store, body));
    loop.run();
  }

  static Task<void> run(Loop& loop, PgLaneStore& store, const std::function<Task<void>(PgLaneStore&)>& body) {
    co_await body(store);
    co_await store.close();
    loop.stop();
  }

  SystemClock clock_;
  DatabaseCounters counters_;
  Database database_ = postgres().create_database("lane_store");
};

constexpr int64_t kCreatedUs = 1'767'225'600'000'001;  // 2026-01-01 00:00:00.000001 UTC

LogRow the_row() {
  return {.transaction_id = 5000,
          .account_number = 1,
          .seq = 1,
          .amount = Money::from_minor(500),
          .balance_after = Money::from_minor(1500)};
}

// After a crash a sequence hands out ids again that a lost commit was going to use.
TEST_F(PgLaneStoreTest, SomebodyElsesRowUnderOurIdIsNotOurs) {
  with_store([](PgLaneStore& store) -> Task<void> {
    int64_t block = 0;
    const Result<void> opened = co_await store.open(block);
    EXPECT_TRUE(opened.has_value()) << opened.error().message;
    struct Case {
      const char* what;
      std::function<void(LogRow&, int64_t&)> change;
      bool is_ours;
    };
    const Case cases[] = {
        {"the row itself", [](LogRow&, int64_t&) {}, true},
        {"another account", [](LogRow& row, int64_t&) { row.account_number = 2; }, false},
        {"another seq", [](LogRow& row, int64_t&) { row.seq = 2; }, false},
        {"another moment", [](LogRow&, int64_t& now_us) { ++now_us; }, false},
        {"another amount", [](LogRow& row, int64_t&) { row.amount = Money::from_minor(501); }, false},
        {"another balance", [](LogRow& row, int64_t&) { row.balance_after = Money::from_minor(1501); }, false},
        {"another id", [](LogRow& row, int64_t&) { row.transaction_id = 5001; }, false},
    };
    for (const Case& each : cases) {
      LogRow row = the_row();
      int64_t now_us = kCreatedUs;
      each.change(row, now_us);
      bool found = !each.is_ours;
      const Marker marker{.log_row = &row, .now_us = now_us};
      const StoreStatus status = co_await store.find(marker, found);
      EXPECT_EQ(status, StoreStatus::kOk) << each.what;
      EXPECT_EQ(found, each.is_ours) << each.what;
    }
  });
}

TEST_F(PgLaneStoreTest, IdsThatMayBeInTheLogAreNotHandedOut) {
  with_store([this](PgLaneStore& store) -> Task<void> {
    database_.query("SELECT setval('transaction_id_blocks', 1)");
    int64_t block = 0;
    const Result<void> behind = co_await store.open(block);
    EXPECT_FALSE(behind.has_value());
    EXPECT_NE(behind.error().message.find("behind the log, whose newest transaction is 5000"), std::string::npos)
        << behind.error().message;
    EXPECT_FALSE(store.is_open());
    database_.query("SELECT setval('transaction_id_blocks', 4)");
    const Result<void> ahead = co_await store.open(block);
    EXPECT_TRUE(ahead.has_value());
    EXPECT_EQ(block, 5) << "5 * 1024 is above 5000";
  });
}

TEST_F(PgLaneStoreTest, WhoHasARowLockedIsToldApart) {
  with_store([this](PgLaneStore& store) -> Task<void> {
    int64_t block = 0;
    const Result<void> opened = co_await store.open(block);
    EXPECT_TRUE(opened.has_value());
    auto psql = Session::connect(database_.conninfo());
    EXPECT_TRUE(psql.has_value());
    Session& session = *psql;
    EXPECT_TRUE(session.run_script("BEGIN; SELECT FROM accounts WHERE account_number = 2 FOR UPDATE").has_value());
    const int64_t numbers[] = {1, 2, 3};
    Locked locked;
    StoreStatus status = co_await store.lock({.account_numbers = numbers}, locked);
    EXPECT_EQ(status, StoreStatus::kFailed);
    EXPECT_EQ(store.error_sqlstate(), "55P03");
    status = co_await store.rollback();
    EXPECT_EQ(status, StoreStatus::kOk);
    status = co_await store.lock({.account_numbers = numbers, .wait = LockWait::kNone}, locked);
    EXPECT_EQ(status, StoreStatus::kOk);
    EXPECT_EQ(locked.accounts.size(), 1u);
    EXPECT_EQ(locked.held_up.size(), 1u) << "account 3 does not exist";
    if (locked.held_up.size() == 1) {
      EXPECT_EQ(locked.held_up.front().account_number, 2);
      EXPECT_TRUE(locked.held_up.front().by_outsider);
    }
    status = co_await store.rollback();
    EXPECT_EQ(status, StoreStatus::kOk);
    // Another lane, for which it takes no more than what makes it one.
    EXPECT_TRUE(session
                    .run_script("ROLLBACK; SELECT pg_advisory_lock_shared(1954049644, 0); BEGIN; "
                                "SELECT FROM accounts WHERE account_number = 2 FOR NO KEY UPDATE")
                    .has_value());
    status = co_await store.lock({.account_numbers = numbers, .wait = LockWait::kNone}, locked);
    EXPECT_EQ(status, StoreStatus::kOk);
    EXPECT_EQ(locked.held_up.size(), 1u);
    if (locked.held_up.size() == 1) {
      EXPECT_FALSE(locked.held_up.front().by_outsider);
    }
    status = co_await store.rollback();
    EXPECT_EQ(status, StoreStatus::kOk);
  });
}

}  // namespace
}  // namespace txn
