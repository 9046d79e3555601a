// Which server a connection goes to, what it is refused for, and whose turn it is, on real servers and a real
// PgBouncer.
#include "db/connector.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <set>

#include "core/concat.h"
#include "core/task.h"
#include "tests/support/private_pgbouncer.h"
#include "tests/support/private_postgres.h"
#include "tests/support/scripted_server.h"

namespace txn {
namespace {

using test::Database;
using test::postgres;
using test::PrivatePgbouncer;
using test::PrivatePostgres;
using test::ScriptedServer;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const Statement kWhereAmI{"where_am_i",
                          "SELECT current_setting('data_directory'), current_setting('synchronous_commit'), "
                          "current_setting('transactions_service.session', true)"};

std::span<const Statement* const> statements() {
  static constexpr const Statement* kAll[] = {&kWhereAmI};
  return kAll;
}

// A connection that was opened, and what it says of itself.
struct Opened {
  Result<OpenedConnection> connection = fail(ErrorKind::kSystem, "not tried");
  std::string data_directory;
  std::string synchronous_commit;
  std::string session;
  explicit operator bool() const { return connection.has_value(); }
  std::string error() const { return connection ? "" : connection.error().message; }
};

class ConnectorTest : public testing::Test {
 protected:
  static Task<void> run(Connector& connector, Loop& loop, ConnectionPurpose purpose, Opened& out) {
    auto opened = co_await connector.open(loop, purpose, statements());
    out.connection = std::move(opened);
    loop.stop();
  }

  // Blocks, as the worker's loop would not.
  Opened open(Connector& connector, ConnectionPurpose purpose = ConnectionPurpose::kLane) {
    Loop loop(std::move(*Ring::create({})), clock_);
    Scope scope;
    Opened opened;
    scope.spawn(run(connector, loop, purpose, opened));
    loop.run();
    if (opened) look_around(opened);
    return opened;
  }

  static void look_around(Opened& opened) {
    PGconn* connection = opened.connection->handle.get();
    ASSERT_EQ(PQsetnonblocking(connection, 0), 0);
    ASSERT_EQ(PQsendQueryPrepared(connection, "where_am_i", 0, nullptr, nullptr, nullptr, 0), 1);
    ASSERT_EQ(PQpipelineSync(connection), 1);
    const PgResult row(PQgetResult(connection));
    ASSERT_TRUE(row.ok()) << row.message();
    opened.data_directory = row.bytes(0, 0);
    opened.synchronous_commit = row.bytes(0, 1);
    opened.session = row.bytes(0, 2);
    PQgetResult(connection);
    const PgResult sync(PQgetResult(connection));
    ASSERT_EQ(sync.status(), PGRES_PIPELINE_SYNC);
  }

  // host=..., port=... for several servers, in that order.
  static std::string conninfo_of(const std::vector<std::pair<std::string, uint16_t>>& servers,
                                 const std::string& rest = "user=txn_superuser dbname=postgres") {
    std::string hosts;
    std::string ports;
    for (const auto& [host, port] : servers) {
      hosts += concat(hosts.empty() ? "" : ",", host);
      ports += concat(ports.empty() ? "" : ",", port);
    }
    return concat("host=", hosts, " port=", ports, " ", rest);
  }
  static std::pair<std::string, uint16_t> place_of(const PrivatePostgres& server) {
    return {server.socket_directory(), server.port()};
  }

  SystemClock clock_;
};

TEST_F(ConnectorTest, EverySessionHasATokenOfItsOwnAndKnowsItsTimeline) {
  Connector connector({.conninfo = conninfo_of({place_of(postgres())})});
  std::set<std::string> tokens;
  for (int i = 0; i < 3; ++i) {
    const Opened opened = open(connector, i == 0 ? ConnectionPurpose::kLane : ConnectionPurpose::kReader);
    ASSERT_TRUE(opened) << opened.error();
    EXPECT_EQ(opened.session, opened.connection->session_token);
    EXPECT_EQ(opened.session.size(), 32u);
    EXPECT_EQ(opened.connection->timeline, 1u);
    tokens.insert(opened.session);
  }
  EXPECT_EQ(tokens.size(), 3u);
  EXPECT_FALSE(connector.is_superseded(1));
  EXPECT_FALSE(connector.is_superseded(0));
}

// --- Several servers -------------------------------------------------------------------------------------------------

TEST_F(ConnectorTest, AHostThatAcceptsAndSaysNothingIsPassedOver) {
  ScriptedServer silent(ScriptedServer::Script::silence());
  Connector connector({.conninfo = conninfo_of({{"127.0.0.1", silent.port()}, place_of(postgres())})});
  const Opened first = open(connector);
  ASSERT_TRUE(first) << first.error();
  const int tried = silent.connections();
  EXPECT_GE(tried, 1);
  // The one that was good is asked first from then on.
  const Opened second = open(connector);
  ASSERT_TRUE(second) << second.error();
  EXPECT_EQ(silent.connections(), tried);
}

TEST_F(ConnectorTest, AnAddressThatAcceptsAndSaysNothingIsPassedOver) {
  ScriptedServer silent(ScriptedServer::Script::silence(), AF_INET6);
  Connector connector({.conninfo = concat("host=localhost,localhost hostaddr=::1,127.0.0.1 port=", silent.port(),
                                          " user=txn_superuser dbname=postgres connect_timeout=1")});
  ScriptedServer refuses(ScriptedServer::Script::silence());
  const Opened opened = open(connector);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error(), AllOf(HasSubstr("::1"), HasSubstr("127.0.0.1"))) << "both have been tried";
}

TEST_F(ConnectorTest, AHostThatRefusesIsPassedOver) {
  ScriptedServer away(ScriptedServer::Script::silence());
  away.stop();
  Connector connector({.conninfo = conninfo_of({{"127.0.0.1", away.port()}, place_of(postgres())})});
  const Opened opened = open(connector);
  ASSERT_TRUE(opened) << opened.error();
  EXPECT_EQ(opened.data_directory, postgres().data_directory());
}

TEST_F(ConnectorTest, AllErrorsAreToldInOneLine) {
  ScriptedServer away(ScriptedServer::Script::silence());
  away.stop();
  Connector connector({.conninfo = conninfo_of({{"127.0.0.1", away.port()}, {"/nonexistent", 5432}})});
  const Opened opened = open(connector);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.connection.error().kind, ErrorKind::kUnavailable);
  EXPECT_THAT(opened.error(), AllOf(HasSubstr("Connection refused"), HasSubstr("/nonexistent"), Not(HasSubstr("\n"))));
}

TEST_F(ConnectorTest, ATimeOutInTheConninfoHolds) {
  ScriptedServer silent(ScriptedServer::Script::silence());
  Connector connector({.conninfo = conninfo_of({{"127.0.0.1", silent.port()}}, "user=u dbname=d connect_timeout=1"),
                       .connect_timeout_ns = 3600 * kNanosPerSecond});
  const Opened opened = open(connector);
  EXPECT_THAT(opened.error(), HasSubstr("did not answer in time"));
}

TEST_F(ConnectorTest, AStandbyIsPassedOver) {
  PrivatePostgres standby({.primary = &postgres()});
  Connector connector({.conninfo = conninfo_of({place_of(standby), place_of(postgres())})});
  const Opened opened = open(connector);
  ASSERT_TRUE(opened) << opened.error();
  EXPECT_EQ(opened.data_directory, postgres().data_directory());
  Connector alone({.conninfo = conninfo_of({place_of(standby)})});
  EXPECT_THAT(open(alone).error(), HasSubstr("standby"));
}

// An old primary that comes back as it was takes writes that nobody will find again.
TEST_F(ConnectorTest, APrimaryThatHasBeenReplacedIsRefused) {
  PrivatePostgres first;
  PrivatePostgres second({.primary = &first});
  const std::string both = conninfo_of({place_of(first), place_of(second)});
  Connector connector({.conninfo = both});
  Opened opened = open(connector);
  ASSERT_TRUE(opened) << opened.error();
  EXPECT_EQ(opened.data_directory, first.data_directory());
  EXPECT_EQ(opened.connection->timeline, 1u);

  first.stop(PrivatePostgres::StopMode::kImmediate);
  second.promote();
  opened = open(connector);
  ASSERT_TRUE(opened) << opened.error();
  EXPECT_EQ(opened.data_directory, second.data_directory());
  EXPECT_EQ(opened.connection->timeline, 2u);
  EXPECT_TRUE(connector.is_superseded(1));
  EXPECT_FALSE(connector.is_superseded(2));

  first.start();
  for (int i = 0; i < 3; ++i) {
    opened = open(connector);
    ASSERT_TRUE(opened) << opened.error();
    EXPECT_EQ(opened.data_directory, second.data_directory());
  }
  // Where it is the only one, there is none.
  second.stop(PrivatePostgres::StopMode::kImmediate);
  opened = open(connector);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error(), AllOf(HasSubstr("timeline 1"), HasSubstr("timeline 2")));
  second.start();

  // One that has seen neither looks at both before it chooses.
  Connector fresh({.conninfo = both});
  opened = open(fresh);
  ASSERT_TRUE(opened) << opened.error();
  EXPECT_EQ(opened.data_directory, second.data_directory());
}

TEST_F(ConnectorTest, AnotherClusterIsRefused) {
  PrivatePostgres other;
  const std::string here = conninfo_of({place_of(postgres())});
  std::string now = here;
  Connector connector({.read_conninfo = [&]() -> Result<std::string> { return now; }});
  Opened opened = open(connector);
  ASSERT_TRUE(opened) << opened.error();
  now = conninfo_of({place_of(other)});
  opened = open(connector);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error(), HasSubstr("another database cluster"));
  EXPECT_EQ(connector.counters().refused_other_cluster.value(), 1u);
  now = here;
  opened = open(connector);
  EXPECT_TRUE(opened) << opened.error();
}

// --- Sessions --------------------------------------------------------------------------------------------------------

TEST_F(ConnectorTest, CommitsAreNeverWeakerThanOn) {
  const Database database = postgres().create_database("durability");
  for (const char* setting : {"off", "local", "remote_write", "on", "remote_apply"}) {
    database.query(concat("ALTER DATABASE ", database.name(), " SET synchronous_commit = ", setting));
    Connector connector({.conninfo = database.conninfo()});
    const Opened opened = open(connector);
    ASSERT_TRUE(opened) << opened.error();
    EXPECT_EQ(opened.synchronous_commit, std::string_view(setting) == "remote_apply" ? "remote_apply" : "on")
        << setting;
  }
}

TEST_F(ConnectorTest, ADatabaseInAnotherEncodingIsRefused) {
  Database("postgres", postgres().socket_directory())
      .query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
  Connector connector({.conninfo = Database("latin", postgres().socket_directory()).conninfo()});
  const Opened opened = open(connector);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error(), AllOf(HasSubstr("LATIN1"), HasSubstr("UTF8")));
}

TEST_F(ConnectorTest, TheConninfoIsReadForEachConnection) {
  postgres().create_role_with_password("rotated", "before");
  std::string password = "before";
  Connector connector({.read_conninfo = [&]() -> Result<std::string> {
    if (password.empty()) return fail(ErrorKind::kSystem, "DATABASE_PASSWORD_FILE: gone");
    return conninfo_of({place_of(postgres())}, concat("user=rotated dbname=postgres password=", password));
  }});
  Opened opened = open(connector);
  ASSERT_TRUE(opened) << opened.error();
  Database("postgres", postgres().socket_directory()).query("ALTER ROLE rotated PASSWORD 'after'");
  opened = open(connector);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error(), AllOf(HasSubstr("password authentication failed"), Not(HasSubstr("before"))));
  password = "after";
  opened = open(connector);
  EXPECT_TRUE(opened) << opened.error();
  password.clear();
  EXPECT_EQ(open(connector).error(), "DATABASE_PASSWORD_FILE: gone");
}

TEST_F(ConnectorTest, WhenThereAreNoConnectionsLeftItSaysSoAndReadersAreAskedToGiveWay) {
  const Database admin("postgres", postgres().socket_directory());
  admin.query("CREATE ROLE few LOGIN CONNECTION LIMIT 1 IN ROLE pg_read_all_settings");
  Connector connector({.conninfo = conninfo_of({place_of(postgres())}, "user=few dbname=postgres")});
  const auto open_first = [&] {
    Opened opened;
    // The one that probed has to be gone first.
    test::wait_until(
        [&] {
          opened = open(connector);
          return static_cast<bool>(opened);
        },
        test::Milliseconds(10'000));
    return opened;
  };
  const Opened first = open_first();
  ASSERT_TRUE(first) << first.error();
  const Opened reader = open(connector, ConnectionPurpose::kReader);
  ASSERT_FALSE(reader);
  EXPECT_THAT(reader.error(), AllOf(HasSubstr("too many connections for role \"few\""), Not(HasSubstr("53300: ")),
                                    Not(HasSubstr(".c:")), Not(HasSubstr("\n"))));
  EXPECT_FALSE(connector.take_reader_must_yield()) << "a reader's want is nobody's duty";
  EXPECT_EQ(connector.lanes_waiting(), 0);
  const Opened lane = open(connector, ConnectionPurpose::kLane);
  ASSERT_FALSE(lane);
  EXPECT_EQ(connector.lanes_waiting(), 1);
  EXPECT_TRUE(connector.take_reader_must_yield());
  EXPECT_FALSE(connector.take_reader_must_yield()) << "one of them";
}

// --- Poolers ---------------------------------------------------------------------------------------------------------

class PoolerTest : public ConnectorTest, public testing::WithParamInterface<int> {
 protected:
  // What transactions of strangers find in the shared sessions.
  static void expect_nothing_stayed_behind(const Database& pooled) {
    for (int i = 0; i < 2 * GetParam(); ++i) {
      EXPECT_EQ(
          pooled.value("SELECT concat_ws(' ', current_setting('enable_seqscan'), "
                       "current_setting('plan_cache_mode'), current_setting('idle_in_transaction_session_timeout'),"
                       " current_setting('statement_timeout'), "
                       "coalesce(nullif(current_setting('transactions_service.session', true), ''), 'none'), "
                       "(SELECT count(*) FROM pg_prepared_statements))"),
          "on auto 0 0 none 0");
    }
  }
};

TEST_P(PoolerTest, TransactionPoolingIsRefusedUntilItIsSessionPooling) {
  const Database database = postgres().create_database("pooled");
  PrivatePgbouncer pooler(postgres(), {.pool_mode = "transaction", .pool_size = GetParam()});
  const Database pooled = pooler.through(database);
  Connector connector({.conninfo = pooled.conninfo(), .probe_again_ns = 200 * kNanosPerMilli});
  for (int i = 0; i < 3; ++i) {
    const Opened opened = open(connector);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.connection.error().kind, ErrorKind::kUnavailable);
    EXPECT_THAT(opened.error(), AllOf(HasSubstr("transaction pooling"), HasSubstr("pool_mode=session"),
                                      HasSubstr("connect to PostgreSQL directly"), Not(HasSubstr("\n"))));
  }
  expect_nothing_stayed_behind(pooled);

  pooler.restart({.pool_mode = "session", .pool_size = GetParam()});
  Opened opened;
  EXPECT_TRUE(test::wait_until(
      [&] {
        opened = open(connector);
        return static_cast<bool>(opened);
      },
      test::Milliseconds(20'000)))
      << opened.error();
  opened = {};
  expect_nothing_stayed_behind(pooled);
}

TEST_P(PoolerTest, SessionPoolingIsFine) {
  const Database database = postgres().create_database("pooled");
  PrivatePgbouncer pooler(postgres(), {.pool_mode = "session", .pool_size = GetParam()});
  Connector connector({.conninfo = pooler.through(database).conninfo(), .probe_again_ns = 200 * kNanosPerMilli});
  std::vector<Opened> all;
  for (int i = 0; i < GetParam(); ++i) {
    all.push_back(open(connector));
    ASSERT_TRUE(all.back()) << all.back().error();
    EXPECT_EQ(all.back().session, all.back().connection->session_token);
  }
}

INSTANTIATE_TEST_SUITE_P(PoolSizes, PoolerTest, testing::Values(1, 3));

TEST_F(ConnectorTest, StatementPoolingIsRefused) {
  PrivatePgbouncer pooler(postgres(), {.pool_mode = "statement", .pool_size = 3});
  Connector connector({.conninfo = pooler.through(postgres().create_database("pooled")).conninfo()});
  EXPECT_THAT(open(connector).error(), HasSubstr("statement pooling"));
}

// A pooler that was in session mode when it was first looked at.
TEST_F(ConnectorTest, AReportOfAnotherSessionStopsNewConnectionsUntilSessionsHold) {
  PrivatePgbouncer pooler(postgres(), {.pool_mode = "session", .pool_size = 3});
  const Database pooled = pooler.through(postgres().create_database("pooled"));
  Connector connector({.conninfo = pooled.conninfo(), .probe_again_ns = 200 * kNanosPerMilli});
  Opened opened = open(connector);
  ASSERT_TRUE(opened) << opened.error();
  opened = {};
  pooler.restart({.pool_mode = "transaction", .pool_size = 3});
  connector.report_other_session();
  opened = open(connector);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error(), HasSubstr("transaction pooling"));
  pooler.restart({.pool_mode = "session", .pool_size = 3});
  EXPECT_TRUE(test::wait_until(
      [&] {
        opened = open(connector);
        return static_cast<bool>(opened);
      },
      test::Milliseconds(20'000)))
      << opened.error();
}

}  // namespace
}  // namespace txn
