// A primary that waits for a synchronous standby: what was committed here and not confirmed there is no success.

#include <gmock/gmock.h>

#include <future>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

// Returns when commits wait for a standby. That is up to the checkpointer, once it has read the configuration again: no
// setting shows it, but a commit that waits.
void wait_until_commits_wait(const Database& database) {
  const std::string waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'txn_test'";
  const auto a_commit_waits = [&] {
    auto commit = std::async(std::launch::async, [&] { database.query("CREATE TABLE probe (); DROP TABLE probe;"); });
    bool waits = false;
    while (!waits && commit.wait_for(Milliseconds(10)) != std::future_status::ready)
      waits = database.value("SELECT count(*) " + waiting) != "0";
    if (waits) database.query("SELECT pg_cancel_backend(pid) " + waiting);
    commit.get();
    return waits;
  };
  ASSERT_TRUE(wait_until(a_commit_waits, Milliseconds(30'000)));
}

TEST(Replication, AWaitCutShortIsAnUnknownOutcomeAndNeverASuccess) {
  Bank bank("replication");
  const int64_t account = bank.open_account();
  ApiClient client(bank.service().port(), customer());
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"))));

  // A standby that will never come.
  const Database& database = bank.database();
  database.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  database.query("SELECT pg_reload_conf()");
  wait_until_commits_wait(database);
  const Headers key = {{"Idempotency-Key", "unconfirmed"}};
  auto pending =
      std::async(std::launch::async, [&] { return client.post(kDeposits, deposit_body(account, "2.00"), key); });
  const std::string waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
  for (int i = 0; i < 1000 && database.value("SELECT count(*) " + waiting) == "0"; ++i)
    std::this_thread::sleep_for(Milliseconds(10));
  database.query("SELECT pg_cancel_backend(pid) " + waiting);
  EXPECT_TRUE(is_problem(pending.get(), 504, "OUTCOME_UNKNOWN"));
  // A repeat is as good as what it repeats, and no better.
  EXPECT_TRUE(is_problem(client.post(kDeposits, deposit_body(account, "2.00"), key), 504, "OUTCOME_UNKNOWN"));

  database.query("ALTER SYSTEM RESET synchronous_standby_names");
  database.query("SELECT pg_reload_conf()");
  // Asked again with its key, the truth: it was carried out, once.
  const HttpResponse again = client.post(kDeposits, deposit_body(account, "2.00"), key);
  EXPECT_TRUE(is_json(again));
  EXPECT_EQ(again.header("Idempotency-Replayed"), "true");
  EXPECT_EQ(bank.balance(account), "1003.00");
  EXPECT_TRUE(bank.ledger_verifies());
}

// What a trigger of the site's has to say is no word on the commit, whenever it says it.
TEST(Replication, AWarningOfATriggerIsNoDoubt) {
  Bank bank("warnings");
  const int64_t account = bank.open_account();
  ApiClient client(bank.service().port(), customer());
  const Database& database = bank.database();
  database.query(
      "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS "
      "$$ BEGIN RAISE WARNING 'written by %', TG_NAME; RETURN NEW; END $$");
  database.query("CREATE TRIGGER at_once AFTER INSERT ON transaction_logs FOR EACH ROW EXECUTE FUNCTION warn()");
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"))));
  database.query("DROP TRIGGER at_once ON transaction_logs");
  database.query(
      "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON transaction_logs DEFERRABLE INITIALLY DEFERRED "
      "FOR EACH ROW EXECUTE FUNCTION warn()");
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "2.00"))));
  EXPECT_EQ(bank.balance(account), "1003.00");
  EXPECT_THAT(postgres().log(), ::testing::AllOf(::testing::HasSubstr("WARNING:  written by at_once"),
                                                 ::testing::HasSubstr("WARNING:  written by at_commit")));
}

}  // namespace
}  // namespace txn::test
