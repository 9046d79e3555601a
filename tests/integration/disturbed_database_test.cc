// One unusual but ordinary thing in the database: somebody holds a lock, changes a setting or a column, copies tables.
// It costs whoever it is about, for as long as it lasts, and nobody else.

#include <gmock/gmock.h>
#include <libpq-fe.h>

#include <atomic>
#include <future>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

// The service promises two seconds; a slow build or a busy machine is no reason to fail.
constexpr Milliseconds kNoticed{15'000};

// Somebody in psql, whose transaction stays open between two statements.
class Operator {
 public:
  explicit Operator(const Database& database) : connection_(PQconnectdb(database.conninfo().c_str()), &PQfinish) {}
  void run(const char* sql) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection_.get(), sql), &PQclear);
    const ExecStatusType status = PQresultStatus(result.get());
    EXPECT_TRUE(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) << PQerrorMessage(connection_.get());
  }
  void run(const std::string& sql) { run(sql.c_str()); }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

// Every session of the service ends, so that the next ones have what has been set.
void end_sessions(const Database& database) {
  database.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
      "WHERE datname = current_database() AND application_name = 'transactions-service'");
}

// Every worker has its lanes again: none of many requests is turned away.
void wait_until_serving(uint16_t port, int64_t account) {
  const auto all_served = [&] {
    for (int i = 0; i < 32; ++i) {
      if (ApiClient(port, teller()).post(kDeposits, deposit_body(account, "0.01")).status != 200) return false;
    }
    return true;
  };
  EXPECT_TRUE(wait_until(all_served, Milliseconds(15'000)));
}

struct Tally {
  std::atomic<int> ok{0};
  std::atomic<int> other{0};
};

// Deposits to these accounts from as many clients, until told to stop.
class Depositors {
 public:
  Depositors(uint16_t port, const std::vector<int64_t>& accounts) {
    for (const int64_t account : accounts) threads_.emplace_back([this, port, account] { deposit(port, account); });
  }
  ~Depositors() { stop(); }
  void stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  const Tally& tally() const { return tally_; }

 private:
  void deposit(uint16_t port, int64_t account) {
    ApiClient client(port, teller());
    while (!stopping_) {
      const HttpResponse answer = client.post(kDeposits, deposit_body(account, "1.00"));
      ++(answer.status == 200 ? tally_.ok : tally_.other);
    }
  }

  std::atomic<bool> stopping_{false};
  Tally tally_;
  std::vector<std::thread> threads_;
};

TEST(DisturbedDatabase, ALockedAccountCostsNobodyElse) {
  Bank bank("locked_account");
  const std::vector<int64_t> accounts = bank.open_accounts(std::vector<AccountSpec>(9));
  const int64_t locked = accounts.front();
  const uint16_t port = bank.service().port();
  ApiClient client(port, teller());
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(locked, "1.00"))));

  Operator psql(bank.database());
  psql.run("BEGIN");
  psql.run("UPDATE accounts SET is_active = is_active WHERE account_number = " + std::to_string(locked));
  // Everybody else, and more and more of those who want the locked one.
  Depositors others(port, {accounts.begin() + 1, accounts.end()});
  std::vector<std::future<HttpResponse>> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.push_back(std::async(std::launch::async, [&, i] {
      ApiClient own(port, teller());
      std::this_thread::sleep_for(Milliseconds(300 * i));
      return own.post(kDeposits, deposit_body(locked, "2.00"));
    }));
  }
  std::this_thread::sleep_for(Milliseconds(2'500));
  psql.run("COMMIT");
  for (auto& answer : waiting) EXPECT_TRUE(is_json(answer.get())) << "it waits, and is carried out";

  // A lock that lasts: its own requests are turned away, in time and truthfully.
  psql.run("BEGIN");
  psql.run("SELECT FROM accounts WHERE account_number = " + std::to_string(locked) + " FOR UPDATE");
  const HttpResponse refused = client.post(kDeposits, deposit_body(locked, "4.00"));
  EXPECT_TRUE(is_problem(refused, 503, "SERVICE_UNAVAILABLE"));
  EXPECT_EQ(refused.header("Retry-After"), "1");
  EXPECT_TRUE(bank.service().ready());
  others.stop();
  psql.run("ROLLBACK");
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(locked, "8.00"))));

  // A machine that is busy with other things may turn some away for overload.
  EXPECT_GT(others.tally().ok, 100);
  EXPECT_LE(others.tally().other * 20, others.tally().ok);
  EXPECT_EQ(bank.balance(locked), "1017.00");
  EXPECT_TRUE(bank.ledger_verifies());
}

TEST(DisturbedDatabase, DefaultsOfTheDatabaseAreNotOurs) {
  Bank bank("defaults");
  const int64_t account = bank.open_account();
  const uint16_t port = bank.service().port();
  const std::string database = bank.database().name();
  for (const char* setting :
       {"default_transaction_read_only = on", "default_transaction_isolation = serializable",
        "default_transaction_isolation = 'repeatable read'", "default_transaction_deferrable = on"}) {
    SCOPED_TRACE(setting);
    bank.database().query("ALTER DATABASE " + database + " SET " + setting);
    end_sessions(bank.database());
    wait_until_serving(port, account);
    // All on one account, over both workers.
    Depositors depositors(port, std::vector<int64_t>(8, account));
    ApiClient reader(port, teller());
    std::this_thread::sleep_for(Milliseconds(500));
    EXPECT_TRUE(is_json(reader.get("/transaction-logs/" + std::to_string(account) + "?limit=1")));
    depositors.stop();
    EXPECT_GT(depositors.tally().ok, 20);
    EXPECT_LE(depositors.tally().other * 20, depositors.tally().ok);
    Operator psql(bank.database());
    psql.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
    psql.run("ALTER DATABASE " + database + " RESET ALL");
    psql.run("COMMIT");
  }
  EXPECT_TRUE(bank.ledger_verifies());
}

// The plans that a session keeps do not fit any more (0A000), until it is another session.
TEST(DisturbedDatabase, AChangedColumnSpoilsASessionAndNotTheService) {
  Bank bank("changed_column", {{"WORKERS", "1"}});
  const int64_t account = bank.open_account();
  ApiClient client(bank.service().port(), teller());
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"))));
  ASSERT_TRUE(is_json(client.get("/api/v1/transfer-limits/" + std::to_string(account))));
  bank.database().query("ALTER TABLE accounts ALTER privilege TYPE varchar(20)");
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "2.00"))));
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "4.00"))));
  EXPECT_TRUE(wait_until([&] { return client.get("/api/v1/transfer-limits/" + std::to_string(account)).status == 200; },
                         kNoticed));
  EXPECT_EQ(bank.balance(account), "1007.00");
  EXPECT_TRUE(bank.ledger_verifies());
}

TEST(DisturbedDatabase, ReadinessMeansThatMoneyCanMove) {
  Bank bank("readiness");
  const int64_t account = bank.open_account();
  ServiceProcess& service = bank.service();
  ASSERT_TRUE(service.ready());
  // SELECT 1 is answered all the time. Nobody asks to move money: the service finds it out by itself.
  const auto expect_seen = [&](const char* break_it, const char* mend_it) {
    SCOPED_TRACE(break_it);
    Operator psql(bank.database());
    psql.run(break_it);
    EXPECT_TRUE(wait_until([&] { return !service.ready(); }, kNoticed));
    psql.run(mend_it);
    EXPECT_TRUE(service.wait_until_ready(kNoticed));
  };
  expect_seen("BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE", "ROLLBACK");
  expect_seen("ALTER TABLE transaction_logs RENAME TO moved", "ALTER TABLE moved RENAME TO transaction_logs");
  ApiClient client(service.port(), teller());
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"))));
}

// A copy of the tables without the sequence: ids would be handed out a second time.
TEST(DisturbedDatabase, ASequenceBehindTheLogHandsOutNothing) {
  Bank bank("sequence");
  const int64_t account = bank.open_account();
  ServiceProcess& service = bank.service();
  ApiClient client(service.port(), teller());
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"))));
  bank.database().query("SELECT setval('transaction_id_blocks', 100000)");
  end_sessions(bank.database());
  wait_until_serving(service.port(), account);
  bank.database().query("SELECT setval('transaction_id_blocks', 1, false)");
  end_sessions(bank.database());
  EXPECT_TRUE(wait_until([&] { return !service.ready(); }, kNoticed));
  const auto has_said = [&] { return service.log_text().find(", behind the log") != std::string::npos; };
  EXPECT_TRUE(wait_until(has_said, kNoticed));
  const auto is_refused = [&] { return client.post(kDeposits, deposit_body(account, "2.00")).status == 503; };
  EXPECT_TRUE(wait_until(is_refused, kNoticed));
  EXPECT_THAT(service.log_text(), ::testing::HasSubstr("`transactions-service migrate` sets it right"));
  bank.database().query("SELECT setval('transaction_id_blocks', 200000)");
  wait_until_serving(service.port(), account);
  EXPECT_TRUE(bank.ledger_verifies());
}

}  // namespace
}  // namespace txn::test
