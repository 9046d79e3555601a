// Where the service's connections go, and what it does when there are few, the wrong ones, or shared ones.

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/metrics.h"
#include "tests/support/private_pgbouncer.h"

namespace txn::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr Milliseconds kPatience{60'000};

bool has_logged(const ServiceProcess& service, const std::vector<std::string>& words) {
  return std::ranges::any_of(service.log_lines(), [&](const std::string& line) {
    return std::ranges::all_of(words, [&](const std::string& word) { return line.find(word) != std::string::npos; });
  });
}

// host=..., port=... of the socket directories of several clusters.
std::string conninfo_of(const std::vector<const PrivatePostgres*>& clusters, const Database& database) {
  std::string hosts;
  for (const PrivatePostgres* cluster : clusters) hosts += (hosts.empty() ? "" : ",") + cluster->socket_directory();
  return "host=" + hosts + " port=5432 user=txn_superuser dbname=" + database.name();
}

int deposit_status(uint16_t port, int64_t account) {
  ApiClient client(port, customer());
  return client.post(kDeposits, deposit_body(account, "1.00")).status;
}

// Each on a connection of its own, so that they come to all workers.
bool deposits_work(uint16_t port, int64_t account) {
  for (int i = 0; i < 24; ++i)
    if (deposit_status(port, account) != 200) return false;
  return true;
}

// --- Poolers ---------------------------------------------------------------------------------------------------------

class Pooled : public ::testing::TestWithParam<int> {};

TEST_P(Pooled, TheServiceIsNotReadyBehindATransactionPoolerAndSaysWhy) {
  Bank bank("pooled");
  const int64_t account = bank.open_account();
  PrivatePgbouncer pooler(postgres(), {.pool_mode = "transaction", .pool_size = GetParam()});
  const Database pooled = pooler.through(bank.database());
  const Settings settings = bank.settings_with({{"DATABASE_URL", pooled.conninfo()}});

  const RunResult check = run_service({"check-config"}, settings);
  EXPECT_EQ(check.status.code, 1) << check;
  EXPECT_THAT(check.out, HasSubstr("error   database: transaction pooling: "));

  ServiceProcess service(settings, {.wait_for_readiness = false});
  ASSERT_TRUE(wait_until([&] { return has_logged(service, {"transaction pooling", "pool_mode=session"}); }, kPatience));
  EXPECT_FALSE(service.ready());
  EXPECT_EQ(deposit_status(service.port(), account), 503);
  // The shared sessions are as strangers expect them.
  for (int i = 0; i < 2 * GetParam(); ++i)
    EXPECT_EQ(pooled.value("SELECT concat_ws(' ', current_setting('enable_seqscan'), current_setting('jit'), "
                           "current_setting('lock_timeout'), "
                           "coalesce(nullif(current_setting('transactions_service.session', true), ''), 'none'))"),
              "on on 0 none");
  EXPECT_FALSE(service.ready());

  pooler.restart({.pool_mode = "session"});
  EXPECT_TRUE(wait_until([&] { return service.ready() && deposits_work(service.port(), account); }, kPatience));
  EXPECT_GT(scrape(service.port())[R"(db_servers_refused_total{reason="pooled"})"], 0);
}

INSTANTIATE_TEST_SUITE_P(PoolSizes, Pooled, ::testing::Values(1, 3));

TEST(DatabaseConnections, SessionPoolingWorks) {
  Bank bank("pooled");
  const int64_t account = bank.open_account();
  PrivatePgbouncer pooler(postgres(), {.pool_mode = "session"});
  const Settings settings = bank.settings_with({{"DATABASE_URL", pooler.through(bank.database()).conninfo()}});
  const RunResult check = run_service({"check-config"}, settings);
  EXPECT_TRUE(check.ok()) << check;
  EXPECT_THAT(check.out, HasSubstr("ok      database: a session stays with its client"));
  ServiceProcess service(settings);
  EXPECT_TRUE(deposits_work(service.port(), account));
}

// --- Two primaries ---------------------------------------------------------------------------------------------------

TEST(DatabaseConnections, AnOldPrimaryThatComesBackIsNotUsed) {
  PrivatePostgres first;
  const Database there = first.create_database("failover");
  PrivatePostgres second({.primary = &first});
  Bank bank(there, {{"DATABASE_URL", conninfo_of({&first, &second}, there)}});
  const int64_t account = bank.open_account();
  ServiceProcess& service = bank.service();
  EXPECT_TRUE(deposits_work(service.port(), account));

  first.stop(PrivatePostgres::StopMode::kImmediate);
  second.promote();
  EXPECT_TRUE(wait_until([&] { return deposits_work(service.port(), account); }, kPatience));
  first.start();
  const std::string old_rows = there.value("SELECT count(*) FROM transaction_logs");
  const Database promoted(there.name(), second.socket_directory());
  promoted.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'transactions-service'");
  EXPECT_TRUE(wait_until([&] { return deposits_work(service.port(), account); }, kPatience));

  // Alone, it is as if there were none.
  second.stop(PrivatePostgres::StopMode::kImmediate);
  EXPECT_TRUE(wait_until([&] { return has_logged(service, {"replaced", "timeline 1", "ERROR"}); }, kPatience));
  EXPECT_FALSE(service.ready());
  EXPECT_EQ(deposit_status(service.port(), account), 503);
  EXPECT_GT(scrape(service.port())[R"(db_servers_refused_total{reason="superseded"})"], 0);
  EXPECT_EQ(there.value("SELECT count(*) FROM transaction_logs"), old_rows);

  second.start();
  EXPECT_TRUE(wait_until([&] { return service.ready() && deposits_work(service.port(), account); }, kPatience));
}

// --- Few connections -------------------------------------------------------------------------------------------------

class FewConnections : public ::testing::Test {
 protected:
  // A role of its own that is no superuser: those are admitted beyond their limit.
  FewConnections() : role_(bank_.database().name()) {
    admin_.query("CREATE ROLE " + role_ + " LOGIN");
    const RunResult granted = run_service({"migrate", "--grant-to", role_}, bank_.settings());
    EXPECT_TRUE(granted.ok()) << granted;
    account_ = bank_.open_account();
  }

  void limit(int connections) const {
    admin_.query("ALTER ROLE " + role_ + " CONNECTION LIMIT " + std::to_string(connections));
  }
  int connected() const {
    return std::stoi(admin_.value("SELECT count(*) FROM pg_stat_activity WHERE usename = '" + role_ + "'"));
  }
  int read_status(uint16_t port) const {
    ApiClient client(port, customer());
    return client.get("/transaction-logs/" + std::to_string(account_)).status;
  }
  Settings settings() const {
    return bank_.settings_with({{"DATABASE_URL", bank_.database().conninfo() + " user=" + role_},
                                {"LEDGER_LANES", "2"},
                                {"DATABASE_POOL_MIN", "10"}});
  }

  Bank bank_{"few"};
  const Database admin_{"postgres", postgres().socket_directory()};
  const std::string role_;
  int64_t account_ = 0;
};

TEST_F(FewConnections, LanesComeFirstAndReadersWithWhatIsLeft) {
  limit(4);
  ServiceProcess service(settings(), {.wait_for_readiness = false});
  // Two lanes of each worker: all four, and nothing for readers.
  EXPECT_TRUE(wait_until(
      [&] { return connected() == 4 && read_status(service.port()) == 503 && deposits_work(service.port(), account_); },
      kPatience));
  limit(-1);
  EXPECT_TRUE(wait_until([&] { return connected() == 10; }, kPatience));
  EXPECT_TRUE(service.wait_until_ready(kPatience));
  EXPECT_TRUE(wait_until([&] { return read_status(service.port()) == 200; }, kPatience));
}

TEST_F(FewConnections, ReadersMakeRoomForLanesThatHaveLostTheirs) {
  ServiceProcess service(settings());
  EXPECT_TRUE(wait_until([&] { return connected() == 10; }, kPatience));
  EXPECT_TRUE(deposits_work(service.port(), account_));
  limit(4);
  // Those of lanes are the ones that have committed last; readers never do.
  admin_.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + role_ +
               "' AND query = 'COMMIT'");
  EXPECT_TRUE(wait_until([&] { return connected() <= 4 && deposits_work(service.port(), account_); }, kPatience));
  limit(-1);
  EXPECT_TRUE(wait_until([&] { return connected() == 10; }, kPatience));
  EXPECT_TRUE(service.wait_until_ready(kPatience));
}

// --- Passwords -------------------------------------------------------------------------------------------------------

TEST(DatabaseConnections, APasswordMayChangeWhileTheServiceRuns) {
  Bank bank("password");
  const int64_t account = bank.open_account();
  postgres().create_role_with_password("changing", "the first password");
  const TempDirectory directory;
  Settings settings =
      bank.settings_with({{"DATABASE_HOST", postgres().socket_directory()},
                          {"DATABASE_NAME", bank.database().name()},
                          {"DATABASE_USER", "changing"},
                          {"DATABASE_PASSWORD_FILE", directory.write("password", "the first password\n")}});
  settings.erase("DATABASE_URL");
  ServiceProcess service(settings);
  EXPECT_TRUE(deposits_work(service.port(), account));
  bank.database().query("ALTER ROLE changing PASSWORD 'the second password'");
  directory.write("password", "the second password\n");
  bank.database().query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'changing'");
  EXPECT_TRUE(wait_until([&] { return service.ready() && deposits_work(service.port(), account); }, kPatience));
}

// --- Transaction ids -------------------------------------------------------------------------------------------------

TEST(DatabaseConnections, ASequenceBehindTheLogIsFoundBeforeAnythingIsServed) {
  Bank bank("sequence");
  const int64_t account = bank.open_account();
  EXPECT_TRUE(deposits_work(bank.service().port(), account));
  bank.stop_service();
  bank.database().query("ALTER SEQUENCE transaction_id_blocks RESTART WITH 1");

  const RunResult check = run_service({"check-config"}, bank.settings());
  EXPECT_EQ(check.status.code, 1) << check;
  EXPECT_THAT(check.out, AllOf(HasSubstr("error   database: the log has transaction ids up to "),
                               HasSubstr("run `transactions-service migrate`")));
  const RunResult refused = run_service({"serve"}, bank.settings());
  EXPECT_FALSE(refused.timed_out);
  EXPECT_EQ(refused.status.code, 1) << refused;
  EXPECT_THAT(refused.err, HasSubstr("transaction_id_blocks has handed out no more than 1023"));

  const RunResult migrated = run_service({"migrate"}, bank.settings());
  EXPECT_TRUE(migrated.ok()) << migrated;
  EXPECT_THAT(migrated.out, HasSubstr("transaction_id_blocks was behind the log: moved from 0 to "));
  EXPECT_TRUE(run_service({"check-config"}, bank.settings()).ok());
  EXPECT_TRUE(deposits_work(bank.service().port(), account));
  EXPECT_TRUE(bank.ledger_verifies());
}

}  // namespace
}  // namespace txn::test
