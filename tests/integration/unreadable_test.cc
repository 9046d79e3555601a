// Rows that the service could not have written: NaN where money stands, counters at their end, hashes of another
// length, limits that are gone. Whoever asks about them is told so; everybody else is served, and no process ends.

#include <gmock/gmock.h>

#include <thread>

#include "core/concat.h"
#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/metrics.h"

namespace txn::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kRounds = 20;

class Unreadable : public ::testing::Test {
 protected:
  // What restores from elsewhere, corrupted pages and superusers in a hurry leave behind, the schema's checks refuse.
  void SetUp() override {
    for (const char* check : {"accounts_balance_check", "accounts_usage_amount_check", "accounts_opening_balance_check",
                              "accounts_pin_hash_check", "accounts_pin_failures_check"})
      sql(concat("ALTER TABLE accounts DROP CONSTRAINT ", std::string_view(check)));
    sql("ALTER TABLE transfer_limits DROP CONSTRAINT transfer_limits_daily_limit_check");
    sql("ALTER TABLE transaction_logs DROP CONSTRAINT transaction_logs_amount_check");
    sql("ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_fingerprint_check");
  }
  void TearDown() override { EXPECT_TRUE(bank_.service().running()) << bank_.service().log_text(); }

  void sql(const std::string& statement) {
    bank_.database().query("SET session_replication_role = replica; " + statement);
  }
  void set(int64_t account, const std::string& what) {
    sql(concat("UPDATE accounts SET ", what, " WHERE account_number = ", account));
  }
  Bank& bank() { return bank_; }
  uint16_t port() { return bank_.service().port(); }
  HttpResponse post(const char* route, const std::string& body, const Headers& headers = {}) {
    return ApiClient(port(), teller()).post(route, body, headers);
  }
  HttpResponse get(const std::string& path) { return ApiClient(port(), teller()).get(path); }

  // Lines about the row of the account.
  int lines_about(int64_t account) {
    int count = 0;
    for (const std::string& line : bank_.service().log_lines())
      count += line.find("\"level\":\"ERROR\",\"logger\":\"db.rows\"") != std::string::npos &&
               line.find(concat("\"account_number\":", account)) != std::string::npos;
    return count;
  }

 private:
  Bank bank_{"unreadable"};
};

TEST_F(Unreadable, AnAccountIsRefusedAloneAndItsNeighboursAreServed) {
  const auto accounts = bank().open_accounts(std::vector<AccountSpec>(8));
  const std::string damage[] = {"balance = 'NaN'", "usage_amount = 'NaN'", "pin_hash = 'short'", "pin_failures = -1"};
  const std::string repair[] = {"balance = 1000", "usage_amount = 0", "pin_hash = NULL", "pin_failures = 0"};
  for (size_t i = 0; i < 4; ++i) set(accounts[i], damage[i]);

  std::vector<std::thread> clients;
  std::vector<std::string> wrong(accounts.size());
  for (size_t i = 0; i < accounts.size(); ++i) {
    clients.emplace_back([&, i, port = port()] {
      ApiClient client(port, teller());
      for (int round = 0; round < kRounds; ++round) {
        const HttpResponse answer = client.post(kDeposits, deposit_body(accounts[i], "1.00"));
        const bool right = i < 4 ? bool(is_problem(answer, 500, "ACCOUNT_UNREADABLE")) : answer.status == 200;
        if (!right) wrong[i] = answer.body;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < accounts.size(); ++i) EXPECT_EQ(wrong[i], "") << i;

  const auto bad = accounts[0];
  const auto good = accounts[4];
  EXPECT_TRUE(is_problem(post(kWithdrawals, deposit_body(bad, "1")), 500, "ACCOUNT_UNREADABLE"));
  EXPECT_TRUE(is_problem(post(kTransfers, transfer_body(good, bad, "1")), 500, "ACCOUNT_UNREADABLE"));
  EXPECT_TRUE(is_problem(post(kTransfers, transfer_body(bad, good, "1")), 500, "ACCOUNT_UNREADABLE"));
  // After "there is no such account", before all that the row would have to say.
  EXPECT_TRUE(is_problem(post(kTransfers, transfer_body(bad, 999, "1")), 404, "ACCOUNT_NOT_FOUND"));
  EXPECT_TRUE(
      is_problem(ApiClient(port(), customer(77)).post(kDeposits, deposit_body(bad, "1")), 500, "ACCOUNT_UNREADABLE"));
  EXPECT_EQ(bank().balance(good), "1020.00");
  EXPECT_EQ(bank().database().value("SELECT count(*) FROM transaction_logs"), std::to_string(4 * kRounds));

  // Once for an account, on each of the two workers.
  for (size_t i = 0; i < 4; ++i) EXPECT_THAT(lines_about(accounts[i]), AllOf(::testing::Ge(1), ::testing::Le(2))) << i;
  EXPECT_GE(scrape(port())["database_unreadable_values_total"], 4 * kRounds);
  EXPECT_GE(scrape(port())[R"(errors_total{error_type="ACCOUNT_UNREADABLE"})"], 4 * kRounds);

  for (size_t i = 0; i < 4; ++i) {
    const RunResult shown = run_service({"account", "show", std::to_string(accounts[i])}, bank().settings());
    EXPECT_EQ(shown.status.code, 1) << shown;
    EXPECT_THAT(shown.err, AllOf(HasSubstr("transactions-service: account "), HasSubstr("cannot be read"))) << shown;
    EXPECT_EQ(std::count(shown.err.begin(), shown.err.end(), '\n'), 1) << shown;
  }
  const RunResult verified = run_service({"verify-ledger"}, bank().settings());
  EXPECT_EQ(verified.status.code, 1) << verified;
  EXPECT_THAT(verified.out, HasSubstr(concat("account ", bad, ": "))) << verified;

  for (size_t i = 0; i < 4; ++i) set(accounts[i], repair[i]);
  for (const int64_t account : accounts) EXPECT_TRUE(is_json(post(kDeposits, deposit_body(account, "1"))));
  EXPECT_TRUE(bank().ledger_verifies());
}

TEST_F(Unreadable, ARefusalIsNotKeptUnderItsKey) {
  const int64_t account = bank().open_account();
  set(account, "balance = 'NaN'");
  const Headers key = {{"Idempotency-Key", "once"}};
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(is_problem(post(kDeposits, deposit_body(account, "1"), key), 500, "ACCOUNT_UNREADABLE"));
  set(account, "balance = 1000");
  EXPECT_TRUE(is_json(post(kDeposits, deposit_body(account, "1"), key)));
  EXPECT_EQ(post(kDeposits, deposit_body(account, "1"), key).header("Idempotency-Replayed"), "true");
  EXPECT_EQ(bank().balance(account), "1001.00");
}

TEST_F(Unreadable, AKeptAnswerIsNotGuessed) {
  const int64_t account = bank().open_account();
  const Headers spoilt = {{"Idempotency-Key", "spoilt"}};
  const Headers good = {{"Idempotency-Key", "good"}};
  ASSERT_TRUE(is_json(post(kDeposits, deposit_body(account, "1"), spoilt)));
  ASSERT_TRUE(is_json(post(kDeposits, deposit_body(account, "1"), good)));
  sql("UPDATE idempotency_keys SET fingerprint = 'short' WHERE key = 'spoilt'");
  EXPECT_TRUE(is_problem(post(kDeposits, deposit_body(account, "1"), spoilt), 500, "INTERNAL_ERROR"));
  EXPECT_EQ(post(kDeposits, deposit_body(account, "1"), good).header("Idempotency-Replayed"), "true");
  EXPECT_EQ(bank().balance(account), "1002.00");
}

TEST_F(Unreadable, CountersAtTheirEndAreNotCountedOn) {
  const auto accounts = bank().open_accounts({{}, {}, {}});
  set(accounts[0], "log_seq = 9223372036854775807");
  set(accounts[1], "usage_count = 2147483647, usage_day = current_date + 1");
  EXPECT_TRUE(is_problem(post(kDeposits, deposit_body(accounts[0], "1")), 500, "ACCOUNT_UNREADABLE"));
  EXPECT_TRUE(is_problem(post(kTransfers, transfer_body(accounts[2], accounts[0], "1")), 500, "ACCOUNT_UNREADABLE"));
  EXPECT_TRUE(is_problem(post(kTransfers, transfer_body(accounts[1], accounts[2], "1")), 400,
                         "DAILY_TRANSACTION_COUNT_EXCEEDED"));
  EXPECT_EQ(bank().balance(accounts[2]), "1000.00");
}

TEST_F(Unreadable, IdsBeyondTheColumnAreNotUsed) {
  const int64_t account = bank().open_account();
  ASSERT_TRUE(is_json(post(kDeposits, deposit_body(account, "1"))));
  sql("SELECT setval('transaction_id_blocks', 4611686018427387904)");  // times 1024 is 0 in 64 bits
  // What the lanes have in hand goes with their sessions.
  sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
      "WHERE datname = current_database() AND application_name = 'transactions-service'");
  EXPECT_TRUE(wait_until([&] { return !bank().service().ready(); }, Milliseconds(5'000)));
  EXPECT_TRUE(is_problem(post(kDeposits, deposit_body(account, "1")), 503, "SERVICE_UNAVAILABLE"));
  sql("SELECT setval('transaction_id_blocks', 10)");
  // Of each worker: one that has only just lost its sessions may not have told /readyz yet.
  EXPECT_TRUE(
      wait_until([&] { return post(kDeposits, deposit_body(account, "1")).status == 200; }, Milliseconds(10'000)));
  EXPECT_TRUE(bank().service().wait_until_ready(Milliseconds(10'000)));
}

TEST_F(Unreadable, ALimitIsNeverTakenForAnother) {
  const auto accounts = bank().open_accounts({{.privilege = "GOLD"}, {.privilege = "BASIC"}});
  const std::string of_gold = concat("/api/v1/transfer-limits/", accounts[0]);
  const auto expect_gold_refused = [&] {
    EXPECT_TRUE(is_problem(post(kTransfers, transfer_body(accounts[0], accounts[1], "1")), 500, "ACCOUNT_UNREADABLE"));
    EXPECT_TRUE(is_json(post(kTransfers, transfer_body(accounts[1], accounts[0], "1"))));
    EXPECT_TRUE(is_json(post(kWithdrawals, deposit_body(accounts[0], "1"))));
    EXPECT_TRUE(is_problem(get(of_gold), 500, "ACCOUNT_UNREADABLE"));
    EXPECT_TRUE(is_json(get(concat("/api/v1/transfer-limits/", accounts[1]))));
    EXPECT_TRUE(is_json(get(concat("/transaction-logs/", accounts[0]))));
  };
  sql("UPDATE transfer_limits SET daily_limit = 'NaN' WHERE privilege = 'GOLD'");
  expect_gold_refused();
  EXPECT_TRUE(is_problem(get("/transfer-limits/GOLD"), 500, "ACCOUNT_UNREADABLE"));
  EXPECT_TRUE(is_problem(get("/api/v1/transfer-limits/rules/all"), 500, "ACCOUNT_UNREADABLE"));
  EXPECT_THAT(run_service({"verify-ledger"}, bank().settings()).out, HasSubstr("transfer limit GOLD"));
  sql("DELETE FROM transfer_limits WHERE privilege = 'GOLD'");
  expect_gold_refused();
  EXPECT_TRUE(is_problem(get("/transfer-limits/GOLD"), 404, "TRANSFER_LIMIT_NOT_FOUND"));
  EXPECT_THAT(run_service({"verify-ledger"}, bank().settings()).out, HasSubstr("transfer limit GOLD"));
}

TEST_F(Unreadable, ReadersSaySo) {
  const auto accounts = bank().open_accounts({{}, {}, {}});
  ASSERT_TRUE(is_json(post(kDeposits, deposit_body(accounts[0], "1"))));
  const HttpResponse last = post(kDeposits, deposit_body(accounts[0], "1"));
  ASSERT_TRUE(is_json(last));
  sql(concat("UPDATE transaction_logs SET amount = 'NaN' WHERE seq = 2 AND account_number = ", accounts[0]));
  const std::string log = concat("/transaction-logs/", accounts[0]);
  EXPECT_TRUE(is_problem(get(log), 500, "ACCOUNT_UNREADABLE"));
  EXPECT_TRUE(is_problem(get(concat("/api/v1/transaction-logs/transaction/", last.json()["transaction_id"].integer())),
                         500, "ACCOUNT_UNREADABLE"));
  EXPECT_TRUE(is_problem(ApiClient(port(), customer(2)).get(log), 403, "FORBIDDEN"));
  EXPECT_TRUE(is_json(get(concat("/transaction-logs/", accounts[1]))));

  set(accounts[1], "usage_amount = 'NaN'");
  set(accounts[2], "usage_day = 'infinity'");
  for (const int64_t account : {accounts[1], accounts[2]})
    EXPECT_TRUE(is_problem(get(concat("/api/v1/transfer-limits/", account)), 500, "ACCOUNT_UNREADABLE"));
}

}  // namespace
}  // namespace txn::test
