// Contract section 1: the subcommands, the configuration, and what the program refuses to start with.

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

// A database without a schema.
Settings empty_database(const std::string& name) { return settings_for(postgres().create_database(name)); }

Database database_of(const Settings& settings) {
  const std::string url = settings.at("DATABASE_URL");
  const size_t begin = url.find("dbname='") + 8;
  return Database(url.substr(begin, url.find('\'', begin) - begin), postgres().socket_directory());
}

size_t line_count(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) +
         (text.empty() || text.back() == '\n' ? 0 : 1);
}

// Refused to start: quickly, with an exit code, in one line that names what is wrong.
void expect_refusal(const RunResult& result, const std::string& naming) {
  EXPECT_FALSE(result.timed_out) << result;
  EXPECT_NE(result.status.code, 0) << result;
  EXPECT_EQ(result.status.signal, 0) << result;
  EXPECT_EQ(line_count(result.err), 1u) << result;
  EXPECT_THAT(result.err, HasSubstr(naming)) << result;
}

constexpr Milliseconds kRefusalTimeout{10'000};

// --- Help ------------------------------------------------------------------------------------------------------------

TEST(Cli, HelpAndVersionEverywhere) {
  const std::vector<std::vector<std::string>> commands = {{},
                                                          {"serve"},
                                                          {"migrate"},
                                                          {"seed-demo"},
                                                          {"account"},
                                                          {"account", "create"},
                                                          {"account", "show"},
                                                          {"account", "import"},
                                                          {"account", "set"},
                                                          {"token"},
                                                          {"check-config"},
                                                          {"healthcheck"},
                                                          {"verify-ledger"}};
  for (auto command : commands) {
    command.emplace_back("--help");
    const RunResult result = run_service(command, {});
    EXPECT_TRUE(result.ok()) << result;
    EXPECT_GT(result.out.size(), 40u) << result;
    EXPECT_EQ(result.err, "");
  }
  const RunResult version = run_service({"--version"}, {});
  EXPECT_TRUE(version.ok()) << version;
  EXPECT_THAT(version.out, HasSubstr("transactions-service"));
  EXPECT_EQ(line_count(version.out), 1u);
  for (const char* command : {"serve", "migrate", "token", "verify-ledger"})
    EXPECT_EQ(run_service({command, "--version"}, {}).out, version.out) << command;
}

TEST(Cli, HelpNamesEverySubcommandAndSetting) {
  const std::string help = run_service({"--help"}, {}).out;
  for (const char* word : {"serve",
                           "migrate",
                           "seed-demo",
                           "account",
                           "token",
                           "check-config",
                           "healthcheck",
                           "verify-ledger",
                           "--config",
                           "--service-host",
                           "--service-port",
                           "--workers",
                           "--database-url",
                           "--database-host",
                           "--database-port",
                           "--database-user",
                           "--database-password",
                           "--database-name",
                           "--database-pool-min",
                           "--database-pool-max",
                           "--database-command-timeout",
                           "--jwt-secret-key",
                           "--jwt-secret-key-file",
                           "--database-password-file",
                           "--jwt-algorithm",
                           "--auth-missing-status",
                           "--jwt-public-key-file",
                           "--jwt-jwks-file",
                           "--jwt-issuer",
                           "--jwt-audience",
                           "--jwt-leeway",
                           "--rate-limit-enabled",
                           "--rate-limit-deposits",
                           "--rate-limit-withdrawals",
                           "--rate-limit-transfers",
                           "--rate-limit-key",
                           "--rate-limit-storage",
                           "--trusted-proxies",
                           "--tls-cert-file",
                           "--tls-key-file",
                           "--tls-client-ca-file",
                           "--log-level",
                           "--log-dir",
                           "--log-max-bytes",
                           "--log-backup-count",
                           "--account-service-url",
                           "--cors-allowed-origins"})
    EXPECT_THAT(help, HasSubstr(word));
}

TEST(Cli, WhatIsNotACommandIsRefused) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"sreve"},
                                               {"--no-such-flag"},
                                               {"migrate", "--no-such-flag"},
                                               {"account", "erase"},
                                               {"account", "show"},
                                               {"account", "show", "abc"},
                                               {"account", "create"},
                                               {"token", "--ttl", "soon"}}) {
    const RunResult result = run_service(args, {}, kRefusalTimeout);
    EXPECT_NE(result.status.code, 0) << args.front() << result;
    EXPECT_FALSE(result.timed_out) << args.front();
    EXPECT_NE(result.err, "") << args.front();
  }
}

// --- migrate, seed-demo ----------------------------------------------------------------------------------------------

TEST(Cli, MigrateIsIdempotent) {
  const Settings settings = empty_database("migrate");
  for (int round = 0; round < 2; ++round) {
    const RunResult result = run_service({"migrate"}, settings);
    EXPECT_TRUE(result.ok()) << result;
  }
  EXPECT_EQ(database_of(settings).value("SELECT count(*) FROM transfer_limits"), "4");
}

TEST(Cli, MigrateIsSafeWhenSeveralRunAtOnce) {
  const Settings settings = empty_database("migrate_race");
  std::vector<std::thread> threads;
  std::vector<RunResult> results(6);
  threads.reserve(results.size());
  for (RunResult& result : results) {
    // (Threads that spawn a process stay until it has ended, as its death signal asks for.)
    threads.emplace_back([&settings, &result] { result = run_service({"migrate"}, settings); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const RunResult& result : results) EXPECT_TRUE(result.ok()) << result;
  EXPECT_EQ(database_of(settings).value("SELECT count(*) FROM transfer_limits"), "4");
}

TEST(Cli, SeedDemoIsIdempotent) {
  const Settings settings = empty_database("seed");
  ASSERT_TRUE(run_service({"migrate"}, settings).ok());
  for (int round = 0; round < 2; ++round) {
    const RunResult result = run_service({"seed-demo"}, settings);
    EXPECT_TRUE(result.ok()) << result;
  }
  const Rows rows = database_of(settings).query(
      "SELECT account_number, owner_id, privilege, balance, is_active, pin_hash IS NULL FROM accounts ORDER BY 1");
  ASSERT_EQ(rows.size(), 10u);
  for (size_t i = 0; i < rows.size(); ++i)
    EXPECT_EQ(rows[i], (Row{std::to_string(1001 + i), "1", "GOLD", "1000000.00", "t", "t"}));
}

TEST(Cli, SeedDemoKeepsWhatHasHappened) {
  const Settings settings = empty_database("seed_keeps");
  ASSERT_TRUE(run_service({"migrate"}, settings).ok());
  ASSERT_TRUE(run_service({"seed-demo"}, settings).ok());
  {
    ServiceProcess service(settings);
    EXPECT_TRUE(is_json(ApiClient(service.port(), customer()).post(kDeposits, deposit_body(1001, "1"))));
  }
  ASSERT_TRUE(run_service({"seed-demo"}, settings).ok());
  EXPECT_EQ(database_of(settings).value("SELECT balance FROM accounts WHERE account_number = 1001"), "1000001.00");
  EXPECT_TRUE(run_service({"verify-ledger"}, settings).ok());
}

TEST(Cli, WithoutASchemaNothingPretendsToWork) {
  const Settings settings = empty_database("no_schema");
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"seed-demo"}, {"verify-ledger"}, {"account", "show", "1001"}, {"check-config"}}) {
    const RunResult result = run_service(args, settings, kRefusalTimeout);
    EXPECT_FALSE(result.timed_out) << args.front();
    EXPECT_NE(result.status.code, 0) << args.front() << result;
  }
}

// --- account ---------------------------------------------------------------------------------------------------------

class CliAccounts : public BankTest {
 protected:
  static RunResult account(std::vector<std::string> args) {
    args.insert(args.begin(), "account");
    return run_service(args, bank().settings());
  }
  static RunResult import(const std::string& csv) {
    const TempDirectory directory;
    return account({"import", directory.write("accounts.csv", csv)});
  }
  static std::string count(const std::string& where) {
    return bank().database().value("SELECT count(*) FROM accounts WHERE " + where);
  }
};

TEST_F(CliAccounts, List) {
  ASSERT_TRUE(import("account_number,owner_id,privilege,balance,is_active\n"
                     "7001,77,GOLD,1.50,true\n7002,78,BASIC,2.00,false\n7003,77,PREMIUM,9999999999999.99,true\n")
                  .ok());
  const RunResult all = account({"list", "--after", "7000", "--limit", "3", "--json"});
  EXPECT_TRUE(all.ok()) << all;
  EXPECT_EQ(all.out,
            R"({"account_number":7001,"owner_id":77,"privilege":"GOLD","is_active":true,"balance":1.50})"
            "\n"
            R"({"account_number":7002,"owner_id":78,"privilege":"BASIC","is_active":false,"balance":2.00})"
            "\n"
            R"({"account_number":7003,"owner_id":77,"privilege":"PREMIUM","is_active":true,"balance":9999999999999.99})"
            "\n");
  const RunResult owners = account({"list", "--owner-id", "77"});
  EXPECT_THAT(owners.out, AllOf(HasSubstr("7001"), HasSubstr("7003"), HasSubstr("9999999999999.99")));
  EXPECT_THAT(owners.out, Not(HasSubstr("7002")));
  const RunResult first = account({"list", "--owner-id", "77", "--limit", "1"});
  EXPECT_THAT(first.out, Not(HasSubstr("7003")));
  EXPECT_THAT(first.err, HasSubstr("there are more: --after 7001"));
  EXPECT_EQ(account({"list", "--owner-id", "79"}).out, "");
  for (const char* limit : {"0", "10001"}) {
    const RunResult refused = account({"list", "--limit", limit});
    EXPECT_EQ(refused.status.code, 2) << limit;
    EXPECT_THAT(refused.err, HasSubstr("--limit is 1 to 10000"));
  }
}

TEST_F(CliAccounts, CreateAndShow) {
  const RunResult created = account({"create", "--account-number", "501", "--owner-id", "42", "--privilege", "SILVER",
                                     "--balance", "250.50", "--pin", "4711"});
  EXPECT_TRUE(created.ok()) << created;
  const RunResult shown = account({"show", "501"});
  EXPECT_TRUE(shown.ok()) << shown;
  EXPECT_THAT(shown.out, AllOf(HasSubstr("501"), HasSubstr("42"), HasSubstr("SILVER"), HasSubstr("250.50")));
  EXPECT_THAT(shown.out, Not(HasSubstr("4711")));

  // It is an account like any other.
  ApiClient client = as(customer(42));
  EXPECT_TRUE(is_problem(client.post(kWithdrawals, deposit_body(501, "0.50")), 401, "INVALID_PIN"));
  const HttpResponse response = client.post(kWithdrawals, deposit_body(501, "0.50", R"(,"pin":"4711")"));
  ASSERT_TRUE(is_json(response));
  EXPECT_EQ(response.raw("new_balance"), "250.00");
}

TEST_F(CliAccounts, CreateRefusesWhatCannotBe) {
  const auto create = [](const std::string& number, const std::string& owner, const std::string& privilege,
                         const std::string& balance, const std::vector<std::string>& more = {}) {
    std::vector<std::string> args = {"create", "--account-number=" + number, "--owner-id=" + owner,
                                     "--privilege=" + privilege, "--balance=" + balance};
    args.insert(args.end(), more.begin(), more.end());
    return account(args);
  };
  ASSERT_TRUE(create("510", "1", "GOLD", "1.00").ok());
  const RunResult refused[] = {
      create("510", "2", "BASIC", "5.00"),  // exists
      create("0", "1", "GOLD", "1.00"),
      create("-1", "1", "GOLD", "1.00"),
      create("511", "x", "GOLD", "1.00"),
      create("511", "1", "PLATINUM", "1.00"),
      create("511", "1", "gold", "1.00"),
      create("511", "1", "GOLD", "-0.01"),
      create("511", "1", "GOLD", "1.001"),
      create("511", "1", "GOLD", "10000000000000.00"),
      create("511", "1", "GOLD", "much"),
      create("511", "1", "GOLD", "1.00", {"--pin", "123"}),
      create("511", "1", "GOLD", "1.00", {"--pin", "1234567"}),
      create("511", "1", "GOLD", "1.00", {"--pin", "12a4"}),
  };
  for (const RunResult& result : refused) {
    EXPECT_NE(result.status.code, 0) << result;
    EXPECT_NE(result.err, "") << result;
  }
  EXPECT_EQ(count("account_number = 511"), "0");
  EXPECT_EQ(bank().balance(510), "1.00") << "the account that was there before";
}

TEST_F(CliAccounts, ShowOfAnUnknownAccountFails) {
  const RunResult result = account({"show", "599"});
  EXPECT_EQ(result.status.code, 1) << result;
  EXPECT_THAT(result.err, HasSubstr("599"));
}

TEST_F(CliAccounts, SetChangesAllButTheMoney) {
  ASSERT_TRUE(
      account({"create", "--account-number", "520", "--owner-id", "1", "--privilege", "GOLD", "--balance", "9"}).ok());
  ApiClient client = as(customer(7));
  const auto withdraw = [&](const std::string& extra) {
    return client.post(kWithdrawals, deposit_body(520, "1", extra));
  };

  EXPECT_TRUE(account({"set", "520", "--owner-id", "7", "--pin", "4711"}).ok());
  EXPECT_TRUE(is_problem(withdraw(""), 401, "INVALID_PIN"));
  EXPECT_TRUE(is_json(withdraw(R"(,"pin":"4711")")));
  EXPECT_TRUE(account({"set", "520", "--is-active", "false"}).ok());
  EXPECT_TRUE(is_problem(withdraw(R"(,"pin":"4711")"), 400, "ACCOUNT_NOT_ACTIVE"));
  EXPECT_TRUE(account({"set", "520", "--is-active", "true", "--no-pin", "--privilege", "BASIC"}).ok());
  EXPECT_TRUE(is_json(withdraw("")));
  EXPECT_EQ(client.get("/api/v1/transfer-limits/520").json()["privilege"].text(), "BASIC");
  EXPECT_EQ(bank().balance(520), "7.00");

  EXPECT_NE(account({"set", "599", "--is-active", "false"}).status.code, 0);
  EXPECT_NE(account({"set", "520", "--balance", "1000"}).status.code, 0) << "balances move through the log only";
  EXPECT_NE(account({"set", "520", "--privilege", "PLATINUM"}).status.code, 0);
  EXPECT_EQ(bank().balance(520), "7.00");
}

TEST_F(CliAccounts, ImportCreatesAll) {
  const RunResult result = import(
      "account_number,owner_id,privilege,balance,is_active,pin\n"
      "601,1,GOLD,10.00,true,\n"
      "602,2,BASIC,9999999999999.99,false,123456\n"
      "603,3,PREMIUM,0,true,4711\r\n");
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_EQ(
      bank().database().query("SELECT owner_id, privilege, balance, is_active, pin_hash IS NOT NULL FROM accounts "
                              "WHERE account_number BETWEEN 601 AND 603 ORDER BY account_number"),
      (Rows{{"1", "GOLD", "10.00", "t", "f"},
            {"2", "BASIC", "9999999999999.99", "f", "t"},
            {"3", "PREMIUM", "0.00", "t", "t"}}));
  // The column pin may be left out altogether.
  EXPECT_TRUE(import("account_number,owner_id,privilege,balance,is_active\n604,1,GOLD,1.00,true\n").ok());
  EXPECT_EQ(count("account_number = 604"), "1");
}

TEST_F(CliAccounts, ImportIsAllOrNothing) {
  ASSERT_TRUE(import("account_number,owner_id,privilege,balance,is_active\n700,1,GOLD,1.00,true\n").ok());
  const std::string good = "701,1,GOLD,1.00,true,\n702,1,GOLD,1.00,true,4711\n";
  for (const char* bad : {"700,1,GOLD,1.00,true,\n",        // exists
                          "701,1,GOLD,1.00,true,\n",        // twice in the file
                          "0,1,GOLD,1.00,true,\n",          //
                          "x,1,GOLD,1.00,true,\n",          //
                          "703,,GOLD,1.00,true,\n",         //
                          "703,1,PLATINUM,1.00,true,\n",    //
                          "703,1,GOLD,-1.00,true,\n",       //
                          "703,1,GOLD,1.001,true,\n",       //
                          "703,1,GOLD,1.000,true,\n",       // one, or a thousand
                          "703,1,GOLD,+1.00,true,\n",       //
                          "703,1,GOLD,1.2E+11,true,\n",     //
                          "703,1,GOLD,1e14,true,\n",        //
                          "703,1,GOLD,,true,\n",            //
                          "703,1,GOLD,1.00,perhaps,\n",     //
                          "703,1,GOLD,1.00,true,12\n",      //
                          "703,1,GOLD,1.00,true,abcd\n",    //
                          "703,1,GOLD,1.00,true,\"4711\n",  // a quote that never ends
                          "703,1,GOLD,1.00\n",              // too few
                          "703,1,GOLD,1.00,true,,,\n"}) {   // too many
    const RunResult result =
        import("account_number,owner_id,privilege,balance,is_active,pin\n" + good + bad + "704,1,GOLD,1.00,true,\n");
    EXPECT_EQ(result.status.code, 1) << bad << result;
    EXPECT_NE(result.err, "") << bad;
    EXPECT_EQ(count("account_number BETWEEN 701 AND 704"), "0") << bad;
  }
  // The line is named, so that it can be found among many.
  EXPECT_THAT(
      import("account_number,owner_id,privilege,balance,is_active\n701,1,GOLD,1.00,true\n702,1,TIN,1.00,true\n").err,
      HasSubstr("3"));
  for (const char* header :
       {"", "account_number,owner_id,privilege,balance\n701,1,GOLD,1.00\n", "701,1,GOLD,1.00,true\n",
        "account_number,owner_id,privilege,balance,is_active,colour\n701,1,GOLD,1.00,true,red\n",
        "account_number,owner_id,privilege,balance,is_active,is_active\n701,1,GOLD,1.00,true,true\n"}) {
    EXPECT_EQ(import(header).status.code, 1) << header;
    EXPECT_EQ(count("account_number BETWEEN 701 AND 704"), "0") << header;
  }
  EXPECT_NE(account({"import", "/no/such/file.csv"}).status.code, 0);
  EXPECT_EQ(bank().balance(700), "1.00");
}

TEST_F(CliAccounts, ImportTakesManyRows) {
  std::string csv = "account_number,owner_id,privilege,balance,is_active\n";
  for (int i = 0; i < 20'000; ++i)
    csv += std::to_string(1'000'000 + i) + "," + std::to_string(i) + ",BASIC,12.34,true\n";
  const RunResult result = import(csv);
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_EQ(count("account_number BETWEEN 1000000 AND 1019999 AND balance = 12.34"), "20000");
  csv += "1000000,1,BASIC,1.00,true\n";
  EXPECT_NE(import(csv).status.code, 0);
}

// --- token -----------------------------------------------------------------------------------------------------------

TEST_F(CliAccounts, TokensOfTheCommandAreAccepted) {
  const int64_t account_number = bank().open_account({.owner_id = 77});
  const std::string path = "/transaction-logs/" + std::to_string(account_number);
  const auto token = [](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"token"};
    args.insert(args.end(), more.begin(), more.end());
    const RunResult result = run_service(args, {{"JWT_SECRET_KEY", std::string(kJwtKey)}});
    EXPECT_TRUE(result.ok()) << result;
    EXPECT_THAT(result.out, MatchesRegex("[A-Za-z0-9_-]+[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]+\n"));
    return result.out.substr(0, result.out.find('\n'));
  };
  EXPECT_TRUE(is_json(as(token({"--sub", "77", "--role", "CUSTOMER", "--ttl", "3600"})).get(path)));
  EXPECT_TRUE(is_json(as(token({"--sub=5", "--role=ADMIN"})).get(path)));
  EXPECT_TRUE(is_problem(as(token({"--sub", "78"})).get(path), 403, "FORBIDDEN"));
  EXPECT_NE(run_service({"token", "--role", "ROOT"}, {{"JWT_SECRET_KEY", std::string(kJwtKey)}}).status.code, 0);
  EXPECT_NE(run_service({"token"}, {}).status.code, 0) << "without a key there is nothing to sign with";
}

// --- verify-ledger ---------------------------------------------------------------------------------------------------

TEST(Cli, VerifyLedgerFindsWhatIsWrong) {
  Bank bank("verify");
  const auto accounts = bank.open_accounts({{}, {}});
  ApiClient client(bank.service().port(), customer());
  ASSERT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "12.34"))));
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(accounts[0], "1"))));
  ASSERT_TRUE(bank.ledger_verifies());

  const std::string number = std::to_string(accounts[0]);
  const auto tamper = [&](const std::string& change, const std::string& undo) {
    bank.database().query("UPDATE accounts SET " + change + " WHERE account_number = " + number);
    const RunResult result = run_service({"verify-ledger"}, bank.settings());
    EXPECT_EQ(result.status, (ExitStatus{1, 0})) << change << result;
    EXPECT_THAT(result.out + result.err, HasSubstr(number)) << change;
    bank.database().query("UPDATE accounts SET " + undo + " WHERE account_number = " + number);
    EXPECT_TRUE(bank.ledger_verifies()) << change;
  };
  tamper("balance = balance + 0.01", "balance = balance - 0.01");
  tamper("opening_balance = opening_balance - 0.01", "opening_balance = opening_balance + 0.01");

  // A leg that is gone: by somebody who may switch off the trigger that refuses it.
  bank.database().query(
      "ALTER TABLE transaction_logs DISABLE TRIGGER USER;"
      "DELETE FROM transaction_logs WHERE direction = 'CREDIT' AND transaction_type = 'TRANSFER';"
      "ALTER TABLE transaction_logs ENABLE TRIGGER USER");
  const RunResult result = run_service({"verify-ledger"}, bank.settings());
  EXPECT_EQ(result.status, (ExitStatus{1, 0})) << result;
}

TEST(Cli, TheLogIsAppendOnly) {
  Bank bank("append_only");
  const int64_t account = bank.open_account();
  ASSERT_TRUE(is_json(ApiClient(bank.service().port(), customer()).post(kDeposits, deposit_body(account, "1"))));
  EXPECT_THROW(bank.database().query("UPDATE transaction_logs SET amount = 2"), std::runtime_error);
  EXPECT_THROW(bank.database().query("DELETE FROM transaction_logs"), std::runtime_error);
  EXPECT_TRUE(bank.ledger_verifies());
}

// --- What the program refuses to start with --------------------------------------------------------------------------

class CliServe : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { bank_ = std::make_unique<Bank>("serve"); }
  static void TearDownTestSuite() { bank_.reset(); }
  static const Settings& settings() { return bank_->settings(); }
  static Settings settings(const Settings& changes) { return bank_->settings_with(changes); }
  static int64_t open_account() { return bank_->open_account(); }
  static Settings without(const std::string& name) {
    Settings fewer = settings();
    fewer.erase(name);
    return fewer;
  }

 private:
  static inline std::unique_ptr<Bank> bank_;
};

TEST_F(CliServe, RefusesToStartWithoutAKey) {
  expect_refusal(run_service({"serve"}, without("JWT_SECRET_KEY"), kRefusalTimeout), "JWT_SECRET_KEY");
}

TEST_F(CliServe, RefusesToStartWithAShortKey) {
  const std::string key = "thirty-one-bytes-are-too-few-31";
  ASSERT_EQ(key.size(), 31u);
  const RunResult result = run_service({"serve"}, settings({{"JWT_SECRET_KEY", key}}), kRefusalTimeout);
  expect_refusal(result, "JWT_SECRET_KEY");
  EXPECT_THAT(result.err, Not(HasSubstr(key)));
  ServiceProcess service(settings({{"JWT_SECRET_KEY", key + "!"}}));  // 32 will do
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(CliServe, RefusesToStartWithNonsense) {
  for (const auto& [name, value] : {std::pair("SERVICE_PORT", "eight"),
                                    {"SERVICE_PORT", "65536"},
                                    {"SERVICE_HOST", "no such host"},
                                    {"WORKERS", "0"},
                                    {"WORKERS", "many"},
                                    {"DATABASE_POOL_MAX", "-1"},
                                    {"DATABASE_COMMAND_TIMEOUT", "soon"},
                                    {"JWT_ALGORITHM", "none"},
                                    {"AUTH_MISSING_STATUS", "200"},
                                    {"RATE_LIMIT_DEPOSITS", "a few"},
                                    {"RATE_LIMIT_ENABLED", "perhaps"},
                                    {"LOG_LEVEL", "LOUD"},
                                    {"TRUSTED_PROXIES", "everybody"}})
    expect_refusal(run_service({"serve"}, settings({{name, value}}), kRefusalTimeout), name);
}

// Settings that contradict each other, and in what words: `serve` and `check-config` say the same.
TEST_F(CliServe, RefusesWhatDoesNotGoTogether) {
  const std::pair<Settings, const char*> cases[] = {
      {{{"WORKERS", "51"}}, "DATABASE_POOL_MAX (50) is less than WORKERS (51) x (LEDGER_LANES (1) + 1 to read) = 102"},
      {{{"DATABASE_POOL_MAX", "1"}, {"WORKERS", "1"}}, "DATABASE_POOL_MAX (1) is less than WORKERS (1)"},
      {{{"DATABASE_POOL_MAX", "12"}, {"WORKERS", "4"}, {"LEDGER_LANES", "8"}}, "= 36 connections"},
      {{{"DATABASE_POOL_MIN", "6"}, {"DATABASE_POOL_MAX", "5"}},
       "DATABASE_POOL_MIN (6) is above DATABASE_POOL_MAX (5)"},
      {{{"MAX_CONNECTIONS", "1"}, {"WORKERS", "2"}}, "MAX_CONNECTIONS (1) is below WORKERS (2)"},
      {{{"TLS_KEY_FILE", "/no/such/key.pem"}}, "TLS_CERT_FILE is missing"},
      {{{"JWT_PUBLIC_KEY_FILE", "/a"}, {"JWT_JWKS_FILE", "/b"}}, "JWT_PUBLIC_KEY_FILE and JWT_JWKS_FILE are both set"},
  };
  for (const auto& [changes, naming] : cases) {
    expect_refusal(run_service({"serve"}, settings(changes), kRefusalTimeout), naming);
    const RunResult checked = run_service({"check-config"}, settings(changes), kRefusalTimeout);
    EXPECT_EQ(checked.status, (ExitStatus{1, 0})) << checked;
    EXPECT_THAT(checked.out, HasSubstr(naming));
  }
}

TEST_F(CliServe, ThePoolBoundsAllConnectionsOfTheProcess) {
  ServiceProcess service(settings({{"WORKERS", "4"}, {"LEDGER_LANES", "4"}, {"DATABASE_POOL_MAX", "20"}}));
  const auto connections = [] {
    return database_of(settings())
        .value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'transactions-service'");
  };
  EXPECT_TRUE(wait_until([&] { return connections() == "20"; }, Milliseconds(20'000))) << connections();
  // Nothing more is opened when there is something to do.
  ApiClient client(service.port(), customer());
  for (int i = 0; i < 20; ++i) client.get("/transaction-logs/1");
  EXPECT_EQ(connections(), "20");
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

// The error of a moment is none of the schema.
TEST_F(CliServe, ASchemaThatCannotBeReadYetIsWaitedFor) {
  Bank bank("locked");
  auto lock = std::async(std::launch::async, [&] {
    bank.database().query("BEGIN; LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(8); COMMIT");
  });
  const auto is_locked = [&] {
    return bank.database().value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1";
  };
  ASSERT_TRUE(wait_until(is_locked, Milliseconds(5'000)));
  ServiceProcess service(
      bank.settings_with({{"DATABASE_URL", bank.database().conninfo() + " options='-c statement_timeout=500'"}}));
  EXPECT_THAT(service.log_text(), HasSubstr("serving 503 until it is there"));
  EXPECT_EQ(service.terminate(), ExitStatus{});
  lock.get();
}

TEST_F(CliServe, RefusesADatabaseThatCannotStoreDescriptions) {
  for (const std::string encoding : {"LATIN1", "SQL_ASCII"}) {
    const std::string name = "encoded_" + encoding;
    database_of(settings())
        .query("CREATE DATABASE \"" + name + "\" ENCODING '" + encoding +
               "' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    const Settings encoded = settings_for(Database(name, postgres().socket_directory()));
    ASSERT_TRUE(run_service({"migrate"}, encoded).ok());
    expect_refusal(run_service({"serve"}, encoded, kRefusalTimeout), "encoding is " + encoding);
    const RunResult checked = run_service({"check-config"}, encoded);
    EXPECT_EQ(checked.status, (ExitStatus{1, 0})) << checked;
    EXPECT_THAT(checked.out, HasSubstr("encoding is " + encoding));
  }
}

// Whatever is opened first gets the lowest number: not a client's connection that of standard error.
TEST_F(CliServe, ClosedStandardDescriptorsAreNobodyElses) {
  const int64_t account = open_account();
  const TempDirectory directory;
  SpawnOptions spawn;
  spawn.argv = {"/bin/sh", "-c", R"(exec "$0" serve 0<&- 1>&- 2>&-)", service_binary()};
  spawn.directory = directory.path();
  // So that the first clients come right behind the descriptors that every service has.
  for (const auto& [name, value] : settings({{"LOG_DIR", directory.path()}, {"WORKERS", "1"}, {"ACCESS_LOG", "all"}}))
    spawn.env.push_back(std::string(name).append("=").append(value));
  ChildProcess service(spawn);
  const auto port = [&directory]() -> uint16_t {
    std::ifstream log(directory.path() + "/app.json.log");
    for (std::string line; std::getline(log, line);) {
      if (!Json::valid(line)) continue;  // not all of it yet
      const Json entry = Json::parse(line);
      if (entry.has("port")) return static_cast<uint16_t>(entry["port"].integer());
    }
    return 0;
  };
  ASSERT_TRUE(wait_until([&] { return port() != 0; }, Milliseconds(20'000)));
  std::vector<RawClient> silent;
  for (int i = 0; i < 8; ++i) silent.emplace_back(port());
  ApiClient client(port(), customer());
  EXPECT_TRUE(wait_until([&] { return client.get("/readyz").status == 200; }, Milliseconds(20'000)));
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"))));
  for (RawClient& other : silent) EXPECT_EQ(other.receive_raw(Milliseconds(100)), "");
  for (const char* descriptor : {"0", "1", "2"}) {
    std::error_code error;
    EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(service.pid()) + "/fd/" + descriptor, error),
              "/dev/null");
  }
  service.send_signal(SIGTERM);
  EXPECT_EQ(service.wait_for(Milliseconds(35'000)), ExitStatus{});
}

TEST_F(CliServe, RefusesAPortInUse) {
  ServiceProcess first(settings());
  const std::string port = std::to_string(first.port());
  expect_refusal(run_service({"serve"}, settings({{"SERVICE_PORT", port}}), kRefusalTimeout), port);
  EXPECT_EQ(ApiClient(first.port()).get("/livez").status, 200) << "the first does not mind";
}

TEST_F(CliServe, RefusesAPortInUseByAnotherProgram) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(listener);
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listener.get(), generic, length), 0);
  ASSERT_EQ(::listen(listener.get(), 16), 0);
  ASSERT_EQ(::getsockname(listener.get(), generic, &length), 0);
  const std::string port = std::to_string(ntohs(address.sin_port));
  expect_refusal(run_service({"serve"}, settings({{"SERVICE_PORT", port}}), kRefusalTimeout), port);
}

TEST_F(CliServe, ListensOnIpv6Literals) {
  if (!std::ifstream("/proc/net/if_inet6").good()) GTEST_SKIP() << "no IPv6 on this machine";
  ServiceProcess service(settings({{"SERVICE_HOST", "::1"}}), {.host = "::1"});
  RawClient client(service.port(), RawClient::Options{.host = "::1"});
  ASSERT_TRUE(client.connected());
  EXPECT_EQ(client.exchange(format_request("GET", "/livez")).status, 200);
}

TEST_F(CliServe, ServeIsTheDefault) {
  ServiceProcess service(settings(), {.args = {}});
  EXPECT_EQ(ApiClient(service.port()).get("/livez").status, 200);
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

// Who has been told that it is ready sends requests, and not only to the worker that has said so.
TEST_F(CliServe, ReadyMeansTheWholeProcess) {
  for (int round = 0; round < 5; ++round) {
    ServiceProcess service(settings({{"WORKERS", "8"}}));
    int not_ready = 0;
    for (int i = 0; i < 40; ++i) not_ready += service.ready() ? 0 : 1;  // each over a connection of its own
    EXPECT_EQ(not_ready, 0) << "of 40 answers after the first 200";
    EXPECT_EQ(service.terminate(), ExitStatus{});
  }
}

TEST_F(CliServe, BothSignalsEndItWell) {
  for (const int signal : {SIGTERM, SIGINT}) {
    ServiceProcess service(settings());
    RawClient idle(service.port());
    EXPECT_EQ(idle.exchange(format_request("GET", "/livez")).status, 200);
    service.send_signal(signal);
    // Told so at once, and before the process ends: an idle connection is not in flight.
    EXPECT_EQ(idle.wait_for_ending(Milliseconds(5'000)), RawClient::Ending::kEndOfStream);
    idle.close();
    EXPECT_EQ(service.wait_for_exit(Milliseconds(5'000)), ExitStatus{});
  }
}

TEST_F(CliServe, SighupChangesNothingByItself) {
  ServiceProcess service(settings());
  service.send_signal(SIGHUP);
  EXPECT_EQ(ApiClient(service.port()).get("/livez").status, 200);
  EXPECT_FALSE(service.wait_for_exit(Milliseconds(300)));
  EXPECT_EQ(ApiClient(service.port()).get("/livez").status, 200);
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(CliServe, EveryLogLineIsAJsonObject) {
  ServiceProcess service(settings());
  ApiClient(service.port()).get("/nowhere");
  ApiClient(service.port(), customer()).get("/transaction-logs/1");
  EXPECT_EQ(service.terminate(), ExitStatus{});
  ASSERT_FALSE(service.log_lines().empty());
  for (const std::string& line : service.log_lines()) {
    ASSERT_TRUE(Json::valid(line)) << line;
    const Json entry = Json::parse(line);
    EXPECT_THAT(entry.keys(), ::testing::IsSupersetOf({"timestamp", "service", "level", "logger", "message"})) << line;
  }
  EXPECT_THAT(service.log_text(), Not(HasSubstr(std::string(kJwtKey))));
}

// --- Configuration ---------------------------------------------------------------------------------------------------

// What a request without credentials gets tells which of several settings has won.
int missing_status(const Settings& environment, const std::vector<std::string>& args) {
  ServiceProcess service(environment, {.args = args});
  return ApiClient(service.port()).get("/transfer-limits/GOLD").status;
}

TEST_F(CliServe, FlagBeatsEnvironmentBeatsFile) {
  const TempDirectory directory;
  const std::string file = directory.write("service.conf", "# a comment\n\nAUTH_MISSING_STATUS = 401\n");
  const Settings says_403 = settings({{"AUTH_MISSING_STATUS", "403"}});
  EXPECT_EQ(missing_status(settings(), {"serve"}), 403);
  EXPECT_EQ(missing_status(settings(), {"serve", "--config", file}), 401);
  EXPECT_EQ(missing_status(says_403, {"serve", "--config", file}), 403);
  EXPECT_EQ(missing_status(says_403, {"serve", "--config=" + file, "--auth-missing-status=401"}), 401);
  EXPECT_EQ(missing_status(says_403, {"serve", "--auth-missing-status", "401"}), 401);
}

TEST_F(CliServe, ConfigurationFilesAreChecked) {
  const TempDirectory directory;
  expect_refusal(run_service({"serve", "--config", "/no/such/file"}, settings(), kRefusalTimeout), "/no/such/file");
  for (const char* text : {"NO_SUCH_SETTING=1\n", "SERVICE_PORT\n", "SERVICE_PORT=1\nSERVICE_PORT=2\n"}) {
    const RunResult result =
        run_service({"serve", "--config", directory.write("bad.conf", text)}, settings(), kRefusalTimeout);
    EXPECT_NE(result.status.code, 0) << text << result;
    EXPECT_FALSE(result.timed_out) << text;
    EXPECT_THAT(result.err, HasSubstr("bad.conf")) << text;
  }
}

TEST_F(CliServe, EverythingMayComeFromTheFile) {
  const TempDirectory directory;
  std::string text;
  for (const auto& [name, value] : settings()) text.append(name).append("=").append(value).append("\n");
  ServiceProcess service({}, {.args = {"serve", "--config", directory.write("service.conf", text)}});
  EXPECT_EQ(ApiClient(service.port(), customer()).get("/transfer-limits/GOLD").status, 200);
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(CliServe, SecretsMayComeFromFiles) {
  const TempDirectory directory;
  postgres().create_role_with_password("service_role", "a secret of its own");
  Settings from_files = without("JWT_SECRET_KEY");
  from_files.erase("DATABASE_URL");
  from_files["DATABASE_HOST"] = postgres().socket_directory();
  from_files["DATABASE_USER"] = "service_role";
  from_files["DATABASE_NAME"] = database_of(settings()).name();
  // As editors leave it: with a newline at the end.
  from_files["JWT_SECRET_KEY_FILE"] = directory.write("jwt", std::string(kJwtKey) + "\n");
  from_files["DATABASE_PASSWORD_FILE"] = directory.write("password", "a secret of its own\n");
  {
    ServiceProcess service(from_files);
    EXPECT_EQ(ApiClient(service.port(), customer()).get("/transfer-limits/GOLD").status, 200);
    EXPECT_EQ(service.terminate(), ExitStatus{});
    EXPECT_THAT(service.log_text(), Not(HasSubstr("a secret of its own")));
  }
  from_files["DATABASE_PASSWORD_FILE"] = directory.write("password", "another");
  const RunResult wrong = run_service({"check-config"}, from_files, Milliseconds(30'000));
  EXPECT_EQ(wrong.status.code, 1) << wrong;
  EXPECT_THAT(wrong.out + wrong.err, Not(HasSubstr("another")));
  from_files["JWT_SECRET_KEY_FILE"] = "/no/such/secret";
  expect_refusal(run_service({"serve"}, from_files, kRefusalTimeout), "JWT_SECRET_KEY_FILE");
}

// libpq brings OpenSSL into a process whose own cryptography is BoringSSL's: both must work, and not each other's.
TEST_F(CliServe, TheDatabaseMayBeReachedOverTls) {
  PrivatePostgres cluster(PrivatePostgres::Listen::kTlsToo);
  cluster.create_role_with_password("tls_role", "a secret of its own");
  const Database database = cluster.create_database("tls");
  Settings settings = settings_for(database);
  ASSERT_TRUE(run_service({"migrate"}, settings).ok());
  ASSERT_TRUE(run_service({"seed-demo"}, settings).ok());
  settings["DATABASE_URL"] = "host=127.0.0.1 port=" + std::to_string(cluster.port()) + " dbname=" + database.name() +
                             " user=tls_role password='a secret of its own' sslmode=require";
  ServiceProcess service(settings);
  ApiClient client(service.port(), customer());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(1001, "1"))));
  EXPECT_TRUE(is_json(client.get("/transaction-logs/1001")));
  client.disconnect();
  EXPECT_EQ(database.value("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                           "WHERE usename = 'tls_role'"),
            "t");
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(CliServe, CheckConfigTellsGoodFromBad) {
  const RunResult good = run_service({"check-config"}, settings());
  EXPECT_TRUE(good.ok()) << good;
  EXPECT_GT(line_count(good.out), 0u);
  EXPECT_THAT(good.out + good.err, Not(HasSubstr(std::string(kJwtKey))));

  const Settings cases[] = {
      without("JWT_SECRET_KEY"),
      settings({{"JWT_SECRET_KEY", "short"}}),
      settings({{"SERVICE_PORT", "eight"}}),
      settings({{"RATE_LIMIT_TRANSFERS", "a few"}}),
      settings({{"DATABASE_URL", "host=/no/such/socket dbname=x"}}),
      settings({{"DATABASE_URL", Database("no_such_database", postgres().socket_directory()).conninfo()}}),
      settings({{"TLS_CERT_FILE", "/no/such/cert.pem"}}),
  };
  for (const Settings& bad : cases) {
    const RunResult result = run_service({"check-config"}, bad, Milliseconds(30'000));
    EXPECT_EQ(result.status, (ExitStatus{1, 0})) << result;
    EXPECT_GT(line_count(result.out), 0u) << result;
  }
}

}  // namespace
}  // namespace txn::test
