// Secrets stay where they belong: not in /proc, not in logs, not in answers; and the service's database role is no more
// than it needs.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Long enough not to be anywhere by chance.
const std::string kJwtSecret = "jwt-secret-of-the-secrets-test-5f0c1e";
const std::string kPinSecret = "pin-secret-of-the-secrets-test-9a77b2";
const std::string kPassword = "database-password-of-the-secrets-test";
const std::string kPin = "736251";

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// What ps(1) and anybody who may look into /proc see of it.
std::string shown_of(const ServiceProcess& service) {
  const std::string proc = "/proc/" + std::to_string(service.pid());
  return read_all(proc + "/environ") + "\n" + read_all(proc + "/cmdline");
}

class Secrets : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    bank_ = std::make_unique<Bank>("secrets", Settings{{"JWT_SECRET_KEY", kJwtSecret}, {"PIN_SECRET_KEY", kPinSecret}});
  }
  static void TearDownTestSuite() { bank_.reset(); }
  static Bank& bank() { return *bank_; }
  // The same database by its parts, with a password.
  static Settings by_parts(const std::string& role) {
    Settings settings = bank().settings_with({{"DATABASE_HOST", bank().database().socket_directory()},
                                              {"DATABASE_PORT", std::to_string(bank().database().port())},
                                              {"DATABASE_NAME", bank().database().name()},
                                              {"DATABASE_USER", role},
                                              {"DATABASE_PASSWORD", kPassword},
                                              {"CORE_DUMPS", "true"}});  // or only root could look at /proc
    settings.erase("DATABASE_URL");
    return settings;
  }
  // A role with that password and no more rights than `migrate --grant-to` gives.
  static std::string make_role(const std::string& name) {
    postgres().create_role_with_password(name, kPassword);
    bank().database().query("ALTER ROLE " + name + " NOSUPERUSER");
    const RunResult granted = run_service({"migrate", "--grant-to", name}, bank().settings());
    EXPECT_TRUE(granted.ok()) << granted;
    return name;
  }
  static std::string token(int64_t subject, const std::string& role) {
    const RunResult result =
        run_service({"token", "--sub", std::to_string(subject), "--role", role}, bank().settings());
    EXPECT_TRUE(result.ok()) << result;
    return result.out.substr(0, result.out.find('\n'));
  }

 private:
  static inline std::unique_ptr<Bank> bank_;
};

TEST_F(Secrets, AreGoneFromArgumentsAndEnvironmentOnceRead) {
  const std::string role = make_role("proc_reader");
  {
    ServiceProcess service(by_parts(role));
    for (const std::string& secret : {kJwtSecret, kPinSecret, kPassword})
      EXPECT_THAT(shown_of(service), Not(HasSubstr(secret)));
    EXPECT_THAT(shown_of(service), HasSubstr("SERVICE_HOST=127.0.0.1")) << "the rest is for everybody to see";
    EXPECT_EQ(service.terminate(), ExitStatus{});
  }
  {
    Settings settings = by_parts(role);
    for (const char* name : {"JWT_SECRET_KEY", "PIN_SECRET_KEY", "DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME",
                             "DATABASE_USER", "DATABASE_PASSWORD"})
      settings.erase(name);
    const std::string url = "host=" + bank().database().socket_directory() +
                            " port=" + std::to_string(bank().database().port()) +
                            " dbname=" + bank().database().name() + " user=" + role + " password=" + kPassword;
    ServiceProcess service(settings, {.args = {"serve", "--jwt-secret-key", kJwtSecret,
                                               "--pin-secret-key=" + kPinSecret, "--database-url", url}});
    for (const std::string& secret : {kJwtSecret, kPinSecret, kPassword})
      EXPECT_THAT(shown_of(service), Not(HasSubstr(secret)));
    EXPECT_THAT(shown_of(service), HasSubstr("--jwt-secret-key"));
    // SIGHUP reads the settings again, secrets included.
    service.send_signal(SIGHUP);
    EXPECT_TRUE(wait_until([&] { return service.log_text().find("settings read again") != std::string::npos; },
                           Milliseconds(10'000)))
        << service.log_text();
    EXPECT_EQ(service.terminate(), ExitStatus{});
  }
  {
    Settings settings = by_parts(role);
    settings.erase("DATABASE_PASSWORD");
    settings["PGPASSWORD"] = kPassword;  // libpq's own
    ServiceProcess service(settings);
    EXPECT_THAT(shown_of(service), Not(HasSubstr(kPassword)));
    EXPECT_EQ(service.terminate(), ExitStatus{});
  }
}

TEST_F(Secrets, TheProcessGainsNothingAndLeavesNoCore) {
  ServiceProcess& service = bank().service();
  const std::string proc = "/proc/" + std::to_string(service.pid());
  EXPECT_THAT(read_all(proc + "/status"), HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(read_all(proc + "/limits"), ::testing::ContainsRegex("Max core file size +0 +0 "));
}

TEST_F(Secrets, FilesThatAnybodyMayReadAreWarnedOf) {
  const TempDirectory directory;
  const std::string path = directory.write("jwt", kJwtSecret + "\n");
  Settings settings = bank().settings();
  settings.erase("JWT_SECRET_KEY");
  settings["JWT_SECRET_KEY_FILE"] = path;
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  {
    const RunResult checked = run_service({"check-config"}, settings);
    EXPECT_THAT(checked.out, HasSubstr("warning JWT_SECRET_KEY_FILE"));
    const ServiceProcess service(settings);
    EXPECT_THAT(service.log_text(), HasSubstr("JWT_SECRET_KEY_FILE"));
    EXPECT_THAT(service.log_text(), Not(HasSubstr(kJwtSecret)));
  }
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  EXPECT_THAT(run_service({"check-config"}, settings).out, Not(HasSubstr("JWT_SECRET_KEY_FILE")));
  // So is a configuration file with secrets in it; without any it is nobody's business.
  settings.erase("JWT_SECRET_KEY_FILE");
  const std::string config = directory.write("config", "JWT_SECRET_KEY=" + kJwtSecret + "\n");
  ASSERT_EQ(chmod(config.c_str(), 0644), 0);
  EXPECT_THAT(run_service({"check-config", "--config", config}, settings).out, HasSubstr("warning --config"));
  const std::string harmless = directory.write("harmless", "WORKERS=1\n");
  ASSERT_EQ(chmod(harmless.c_str(), 0644), 0);
  EXPECT_THAT(run_service({"check-config", "--config", harmless}, bank().settings()).out,
              Not(HasSubstr("warning --config")));
}

// Everything that `serve` does, done as the role that `migrate --grant-to` makes, and nothing refused. And in all that
// its log says, at its most talkative, no secret, token or PIN, right or wrong.
TEST_F(Secrets, TheServiceRunsOnTheLeastPrivilegesAndItsLogKeepsQuiet) {
  const std::string role = make_role("least");
  Settings settings = by_parts(role);
  settings["LOG_LEVEL"] = "DEBUG";
  settings["CORS_ALLOWED_ORIGINS"] = "https://bank.example";
  const auto accounts = bank().open_accounts({{.pin = kPin}, {.pin = kPin}, {.owner_id = 2}});
  const std::string customer_token = token(1, "CUSTOMER");
  const std::string teller_token = token(9, "TELLER");
  const auto pin_field = [](const std::string& digits) { return R"(,"pin":")" + digits + "\""; };
  const std::string wrong_pin = "918273";
  const std::string bad_token = customer_token.substr(0, customer_token.size() - 6) + "AAAAAA";

  ServiceProcess service(settings);
  ApiClient client(service.port(), customer_token);
  ApiClient staff(service.port(), teller_token);
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(accounts[0], "10.00"))));
  EXPECT_TRUE(is_json(client.post(kWithdrawals, deposit_body(accounts[0], "5.00", pin_field(kPin)))));
  const Headers key = {{"Idempotency-Key", "least"}};
  const std::string transfer = transfer_body(accounts[0], accounts[2], "5.00", pin_field(kPin));
  const HttpResponse moved = client.post(kTransfers, transfer, key);
  EXPECT_TRUE(is_json(moved));
  EXPECT_EQ(client.post(kTransfers, transfer, key).body, moved.body);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(is_problem(client.post(kWithdrawals, deposit_body(accounts[1], "1.00", pin_field(wrong_pin))), 401,
                           "INVALID_PIN"));
  }
  EXPECT_TRUE(is_problem(client.post(kWithdrawals, deposit_body(accounts[1], "1.00", pin_field(kPin))), 423));
  for (const std::string path :
       {"/transfer-limits/GOLD", "/api/v1/transfer-limits/rules/all", "/health", "/readyz?verbose", "/metrics"})
    EXPECT_EQ(staff.get(path).status, 200) << path;
  const std::string number = std::to_string(accounts[0]);
  EXPECT_EQ(client.get("/transaction-logs/" + number).status, 200);
  EXPECT_EQ(client.get("/api/v1/transfer-limits/" + number).status, 200);
  EXPECT_EQ(client.get("/api/v1/transaction-logs/transaction/" + moved.raw("transaction_id")).status, 200);
  // What goes wrong is what logs talk about.
  EXPECT_EQ(ApiClient(service.port(), bad_token).get("/transfer-limits/GOLD").status, 401);
  EXPECT_EQ(client.post(kWithdrawals, R"({"pin":")" + kPin + "\"").status, 400);
  EXPECT_EQ(client.post(kWithdrawals, deposit_body(accounts[0], "1.00", pin_field(kPin + "7"))).status, 422);
  EXPECT_EQ(client.get("/transaction-logs/" + number + "?cursor=" + customer_token).status, 422);
  RawClient(service.port()).exchange("GET / HTTP/1.1\r\nAuthorization: Bearer " + customer_token + "\r\n\r\n");
  // Sessions that end in the middle are resolved by the role itself; keys that have expired it removes when it starts.
  bank().database().query("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'");
  bank().database().query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + role + "'");
  EXPECT_TRUE(wait_until(
      [&] {
        return client.post(kDeposits, deposit_body(accounts[0], "1.00")).status == 200 &&
               client.get("/transaction-logs/" + number).status == 200;
      },
      Milliseconds(15'000)));
  service.send_signal(SIGHUP);
  EXPECT_EQ(service.terminate(), ExitStatus{});
  ServiceProcess again(settings);
  EXPECT_TRUE(wait_until([&] { return bank().database().value("SELECT count(*) FROM idempotency_keys") == "0"; },
                         Milliseconds(10'000)));

  const RunResult checked = run_service({"check-config"}, settings);
  EXPECT_THAT(checked.out, HasSubstr("ok      database: the role may do what the service does"));
  EXPECT_THAT(checked.out, Not(HasSubstr("the role may change or empty")));
  EXPECT_THAT(postgres().log(), Not(HasSubstr("permission denied")));
  for (const ServiceProcess* one : {&service, &again}) {
    for (const std::string& secret : {kJwtSecret, kPinSecret, kPassword, kPin, wrong_pin, customer_token, teller_token,
                                      bad_token, customer_token.substr(customer_token.rfind('.') + 1)})
      EXPECT_THAT(one->log_text() + one->stdout_text(), Not(HasSubstr(secret)));
  }
  EXPECT_TRUE(bank().ledger_verifies());
}

}  // namespace
}  // namespace txn::test
