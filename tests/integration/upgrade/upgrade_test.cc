// Releases that live together: two replicas are rolled from one release to the next and back, with clients before the
// balancer who must not notice, and a migration that is killed in its middle.
//
// TXN_LAST_RELEASE, the binary of the last release, is set by `make upgrade`. Without it this tree's own stands for it,
// and times are shorter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "db/migrate.h"
#include "tests/integration/balancing.h"
#include "tests/integration/load.h"
#include "tests/support/private_proxy.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Milliseconds kPatience{60'000};
constexpr int kClients = 16;
// Between two steps of a roll-out: every client has been answered a dozen times.
constexpr int kMoves = 200;

// From what to what, and behind which checks.
struct Route {
  std::string name;
  std::string old_release;
  std::string new_release;
  std::string drain_delay;
  std::string check_interval;
};

std::vector<Route> routes() {
  const char* last = std::getenv("TXN_LAST_RELEASE");
  if (last == nullptr) return {{"ThisTreeToTheNext", service_binary(), TXN_NEXT_RELEASE, "1s", "200ms"}};
  return {{"TheLastReleaseToThisTree", last, service_binary(), "5s", "1s"},
          {"TheLastReleaseToTheNext", last, TXN_NEXT_RELEASE, "5s", "1s"}};
}

std::string version_of(const std::string& binary) { return run_service({"--version"}, {}, kPatience, binary).out; }

// The schema that the release brings a database to, as its --version says.
int schema_of(const std::string& binary) {
  const std::string version = version_of(binary);
  const size_t at = version.find(", schema ");
  if (at == std::string::npos) throw std::runtime_error("no schema in " + version);
  return std::stoi(version.substr(at + 9));
}

class Upgrade : public ::testing::TestWithParam<Route> {
 protected:
  static Database new_database() {
    Database database = postgres().create_database("upgrade");
    // What next.sql waits for in its middle.
    database.query("CREATE TABLE upgrade_test_pace AS SELECT 0 AS seconds");
    return database;
  }

  // Whether a machine is short of CPU or disk, and a service sheds load for that, is not what is asked here.
  Upgrade()
      : bank_(new_database(), {{"DRAIN_DELAY", GetParam().drain_delay}, {"LEDGER_QUEUE_DELAY_MAX", "10s"}},
              GetParam().old_release) {
    // As in production: the service's role is none that owns the tables.
    bank_.database().query("DROP ROLE IF EXISTS upgrade_service; CREATE ROLE upgrade_service LOGIN");
    accounts_ = bank_.open_accounts(std::vector<AccountSpec>(20, {.privilege = "PREMIUM"}));
    EXPECT_TRUE(migrate(GetParam().old_release).ok());
    for (int i = 0; i < 2; ++i) replicas_.push_back(start(GetParam().old_release, "0"));
  }

  ~Upgrade() override {
    replicas_.clear();
    bank_.database().query("DROP OWNED BY upgrade_service; DROP ROLE upgrade_service");
  }

  std::unique_ptr<ServiceProcess> start(const std::string& release, const std::string& port) {
    return std::make_unique<ServiceProcess>(
        bank_.settings_with(
            {{"DATABASE_URL", bank_.database().conninfo() + " user=upgrade_service"}, {"SERVICE_PORT", port}}),
        ServiceProcess::Options{.binary = release});
  }

  RunResult migrate(const std::string& release) {
    return run_service({"migrate", "--grant-to", "upgrade_service"}, bank_.settings(), kPatience, release);
  }

  std::string haproxy() const {
    return replaced(deployed_haproxy(address(*replicas_[0]), address(*replicas_[1])), "check inter 1s",
                    "check inter " + GetParam().check_interval);
  }

  // As an orchestrator does it: one replica leaves, another takes its place, and the next one's turn comes when that is
  // served from.
  void roll(size_t index, const std::string& release, Load& load) {
    const std::string port = std::to_string(replicas_[index]->port());
    EXPECT_EQ(replicas_[index]->terminate(kPatience), ExitStatus{});
    replicas_[index] = start(release, port);
    ASSERT_TRUE(wait_until([&] { return is_served_from(*replicas_[index]); }, kPatience));
    ASSERT_TRUE(load.wait_for_successes(kMoves, kPatience));
  }

  std::string schema() const { return bank_.database().value("SELECT max(version) FROM schema_migrations"); }

  // kill -9 while the migration is in its middle: its first table is made, and nobody else sees it.
  void kill_a_migration(const std::string& release, Load& load) {
    const Database& database = bank_.database();
    const auto migrating = [&] {
      return database.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1";
    };
    const std::string before = schema();
    database.query("UPDATE upgrade_test_pace SET seconds = 3600");
    const TempDirectory directory;
    ChildProcess migration({.argv = {release, "migrate", "--grant-to", "upgrade_service"},
                            .env = {"DATABASE_URL=" + database.conninfo(), "LOG_DIR=" + directory.path()},
                            .directory = directory.path()});
    ASSERT_TRUE(wait_until(migrating, kPatience));
    ASSERT_TRUE(load.wait_for_successes(kMoves, kPatience));
    EXPECT_EQ(migration.kill_and_wait(), (ExitStatus{0, SIGKILL}));
    // Nobody tells the server: it has to notice that its client is gone, an hour before its statement would end.
    ASSERT_TRUE(wait_until([&] { return !migrating(); }, kPatience));
    EXPECT_EQ(schema(), before);
    EXPECT_EQ(database.value("SELECT to_regclass('upgrade_test_branches') IS NULL"), "t");
    ASSERT_TRUE(load.wait_for_successes(kMoves, kPatience));
    database.query("UPDATE upgrade_test_pace SET seconds = 0");
  }

  Bank bank_;
  std::vector<int64_t> accounts_;
  std::vector<std::unique_ptr<ServiceProcess>> replicas_;
};

TEST_P(Upgrade, ThereAndBackWithoutAFailedRequest) {
  const auto& [name, old_release, new_release, drain_delay, check_interval] = GetParam();
  const int old_schema = schema_of(old_release);
  const int new_schema = schema_of(new_release);
  ASSERT_EQ(schema(), std::to_string(old_schema));
  PrivateProxy proxy(PrivateProxy::Kind::kHaproxy, haproxy());
  ASSERT_TRUE(wait_until([&] { return ApiClient(proxy.port()).get("/readyz").status == 200; }, kPatience))
      << proxy.output();
  Load load({.ports = {proxy.port()}, .accounts = accounts_, .clients = kClients});
  ASSERT_TRUE(load.wait_for_successes(kMoves, kPatience));

  // A migration that dies leaves all as it was: also an old replica that is started anew serves.
  if (new_release == TXN_NEXT_RELEASE) {
    ASSERT_NO_FATAL_FAILURE(kill_a_migration(new_release, load));
    ASSERT_NO_FATAL_FAILURE(roll(0, old_release, load));
  }

  const RunResult migrated = migrate(new_release);
  ASSERT_TRUE(migrated.ok()) << migrated;
  EXPECT_EQ(schema(), std::to_string(new_schema));
  ASSERT_TRUE(load.wait_for_successes(kMoves, kPatience));
  for (size_t i = 0; i < replicas_.size(); ++i) ASSERT_NO_FATAL_FAILURE(roll(i, new_release, load));
  for (const auto& replica : replicas_)
    EXPECT_THAT(replica->log_text(), HasSubstr("\"schema_of_release\":" + std::to_string(new_schema)));

  // Back, with the migration job that the old release's deployment has. It may not take away what replicas of the new
  // release still need.
  const std::string rights =
      "SELECT string_agg(c.relname || coalesce(c.relacl::text, '') || coalesce(a.attname || "
      "a.attacl::text, ''), '|' ORDER BY c.relname, a.attname) FROM pg_class c LEFT JOIN "
      "pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL "
      "WHERE c.relnamespace = 'public'::regnamespace";
  const std::string rights_before = bank_.database().value(rights);
  const RunResult not_migrated = migrate(old_release);
  EXPECT_TRUE(not_migrated.ok()) << not_migrated;
  EXPECT_EQ(not_migrated.out.find("nothing was changed") != std::string::npos, old_schema < new_schema) << not_migrated;
  EXPECT_EQ(bank_.database().value(rights), rights_before);
  EXPECT_EQ(schema(), std::to_string(new_schema));
  for (size_t i = 0; i < replicas_.size(); ++i) ASSERT_NO_FATAL_FAILURE(roll(i, old_release, load));
  for (const auto& replica : replicas_)
    EXPECT_THAT(replica->log_text(), HasSubstr("\"schema_of_release\":" + std::to_string(old_schema)));

  const std::vector<Attempt> attempts = load.stop();
  std::vector<std::string> failed;
  for (const Attempt& attempt : attempts) {
    if (attempt.status == 0 || attempt.status >= 500) failed.push_back(attempt.where);
  }
  EXPECT_THAT(failed, IsEmpty()) << proxy.output();
  std::map<int64_t, std::string> openings;
  for (const int64_t account : accounts_) openings[account] = "1000.00";
  EXPECT_THAT(audit(bank_, replicas_[0]->port(), openings, attempts, {.answers_may_be_lost = false}), IsEmpty());
  EXPECT_TRUE(bank_.ledger_verifies());
  std::printf("%s: schema %d to %d and back, %zu requests, %zu failed\n  old: %s  new: %s", name.c_str(), old_schema,
              new_schema, attempts.size(), failed.size(), version_of(old_release).c_str(),
              version_of(new_release).c_str());
}

INSTANTIATE_TEST_SUITE_P(Releases, Upgrade, ::testing::ValuesIn(routes()),
                         [](const auto& route) { return route.param.name; });

// --- What one release makes of one schema
// ------------------------------------------------------------------------------

TEST(Schemas, TheNextReleaseAsksForItsMigration) {
  Bank bank("upgrade");
  const RunResult refused = run_service({"serve"}, bank.settings(), kPatience, TXN_NEXT_RELEASE);
  EXPECT_EQ(refused.status.code, 1) << refused;
  EXPECT_THAT(refused.err, HasSubstr("run `transactions-service migrate`"));
}

// After the contract step: what that took away an old release would miss, or do wrong.
TEST(Schemas, AReleaseThatIsTooOldSaysSoAndChangesNothing) {
  Bank bank("upgrade");
  bank.database().query(
      "INSERT INTO schema_migrations (version, name, checksum, oldest_reader) "
      "SELECT max(version) + 1, 'contract', 'dddd', max(version) + 1 FROM schema_migrations");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"serve"}, {"migrate"}, {"check-config"}, {"account", "list"}, {"verify-ledger"}}) {
    const RunResult refused = run_service(command, bank.settings());
    EXPECT_EQ(refused.status.code, 1) << refused;
    EXPECT_THAT(refused.out + refused.err, HasSubstr("run a newer release")) << command.front();
  }
  EXPECT_EQ(bank.database().value("SELECT count(*) FROM accounts"), "0");
}

TEST(Schemas, ANewerOneThatIsFitIsServedOnAndSaid) {
  Bank bank("upgrade");
  const int64_t account = bank.open_account();
  bank.database().query(
      "INSERT INTO schema_migrations (version, name, checksum, oldest_reader) "
      "SELECT max(version) + 1, 'expand', 'dddd', max(version) FROM schema_migrations");
  EXPECT_EQ(ApiClient(bank.service().port(), teller()).post(kDeposits, deposit_body(account, "1.00")).status, 200);
  EXPECT_THAT(bank.service().log_text(), HasSubstr("The database's schema is newer than this release"));
  const RunResult checked = run_service({"check-config"}, bank.settings());
  EXPECT_THAT(checked.out, HasSubstr("of a newer release"));
  EXPECT_TRUE(checked.ok()) << checked;
  EXPECT_TRUE(bank.ledger_verifies());
}

TEST(Schemas, TheOldestServedHasAllThatTheServiceNeeds) {
  const Database database = postgres().create_database("upgrade");
  {
    auto session = Session::connect(database.conninfo());
    ASSERT_TRUE(session.has_value());
    ASSERT_TRUE(
        migrate(*session, embedded_migrations().first(static_cast<size_t>(oldest_schema_served()))).has_value());
  }
  Bank bank(database, {}, "");
  std::map<int64_t, std::string> openings;
  const std::vector<int64_t> accounts = bank.open_accounts(std::vector<AccountSpec>(10, {.privilege = "PREMIUM"}));
  for (const int64_t account : accounts) openings[account] = "1000.00";
  ASSERT_EQ(database.value("SELECT max(version) FROM schema_migrations"), std::to_string(oldest_schema_served()));
  Load load({.ports = {bank.service().port()}, .accounts = accounts, .clients = 4, .operations = 50});
  const std::vector<Attempt> attempts = load.finish();
  EXPECT_GT(load.successes(), 50);
  EXPECT_THAT(audit(bank, bank.service().port(), openings, attempts, {.answers_may_be_lost = false}), IsEmpty());
  // What a load does not ask for: a key, a PIN, the limits.
  const int64_t with_pin = bank.open_account({.pin = "4812"});
  ApiClient client(bank.service().port(), teller());
  const std::string body = deposit_body(with_pin, "5.00", R"(,"pin":"4812")");
  const Headers key = {{"Idempotency-Key", "upgrade-1"}};
  const HttpResponse first = client.post(kWithdrawals, body, key);
  EXPECT_EQ(first.status, 200) << first;
  EXPECT_EQ(client.post(kWithdrawals, body, key).body, first.body);
  EXPECT_EQ(client.get("/api/v1/transfer-limits/" + std::to_string(with_pin)).status, 200);
  EXPECT_TRUE(bank.ledger_verifies());
}

}  // namespace
}  // namespace txn::test
