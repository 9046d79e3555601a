// What /health, /livez and /readyz say while the accounts service and the database behave well and badly.
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "tests/integration/bank.h"
#include "tests/support/metrics.h"
#include "tests/support/scripted_server.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;
using Script = ScriptedServer::Script;
using std::chrono::steady_clock;

// A question may take 4.8 s and there is a second between two; the rest is for a busy machine.
constexpr Milliseconds kNoticed{20'000};

class HealthTest : public ::testing::Test {
 protected:
  void start_bank(const std::string& accounts_url) {
    bank_ = std::make_unique<Bank>("health", Settings{{"ACCOUNT_SERVICE_URL", accounts_url}});
  }
  Json health() { return ApiClient(bank_->service().port()).get("/health").json(); }
  std::string status() { return health()["status"].text(); }
  std::string component(const char* name) { return health()["components"][name].text(); }
  std::string accounts() { return component("accounts_service"); }
  bool accounts_become(const std::string& wanted) {
    return wait_until([&] { return accounts() == wanted; }, kNoticed);
  }
  MetricsText metrics() { return scrape(bank_->service().port()); }
  Bank& bank() { return *bank_; }

 private:
  std::unique_ptr<Bank> bank_;
};

TEST_F(HealthTest, EverythingIsWell) {
  ScriptedServer server(Script::respond(200, R"({"status":"healthy"})"));
  start_bank(server.url());
  ASSERT_TRUE(bank().service().wait_until_ready(kNoticed));
  const HttpResponse response = ApiClient(bank().service().port()).get("/health");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("Content-Type"), "application/json");
  const Json body = response.json();
  EXPECT_EQ(body["status"].text(), "healthy");
  EXPECT_TRUE(body.has("timestamp"));
  EXPECT_EQ(body["components"]["database"].text(), "healthy");
  EXPECT_EQ(body["components"]["accounts_service"].text(), "healthy");
  EXPECT_TRUE(body["components"].has("version"));
  EXPECT_THAT(server.last_request(), ::testing::StartsWith("GET /health HTTP/1.1\r\n"));
}

TEST_F(HealthTest, ThePathOfTheUrlIsWhatIsAskedFor) {
  ScriptedServer server(Script::respond(204, ""));
  start_bank(server.url("/api/v2/ready?deep=1"));
  EXPECT_TRUE(accounts_become("healthy"));
  EXPECT_THAT(server.last_request(), ::testing::StartsWith("GET /api/v2/ready?deep=1 HTTP/1.1\r\n"));
}

// One service, and an accounts service that goes through everything that can happen to it.
TEST_F(HealthTest, EveryWayToFailIsSeenAndSoIsTheEndOfIt) {
  ScriptedServer server(Script::respond(200));
  start_bank(server.url());
  ASSERT_TRUE(accounts_become("healthy"));

  Script garbage{.answer = "I speak no HTTP\r\n\r\n"};
  Script huge = Script::respond(200, std::string(1 << 20, 'x'));
  Script early{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot that much"};
  Script drip = Script::respond(200, std::string(100'000, 'd'));
  drip.drip_ms = 10;
  // No two that follow each other read the same.
  const std::vector<std::pair<Script, std::string>> cases{
      {Script::respond(500), "unhealthy: it answered with status 500"},
      {Script::respond(302), "unhealthy: it answered with status 302"},
      {garbage, "unhealthy: the answer is not HTTP"},
      {huge, "unhealthy: the answer is too large"},
      {early, "unhealthy: the answer is not HTTP"},
      {Script{}, "unhealthy: the connection was closed without an answer"},
      {Script::silence(), "unhealthy: no answer in time"},
      {Script{.resets = true}, "unhealthy: the connection was closed without an answer"},
      {drip, "unhealthy: no answer in time"},
  };
  for (const auto& [script, wanted] : cases) {
    server.behave(script);
    EXPECT_TRUE(accounts_become(wanted)) << wanted << ", not " << accounts();
    EXPECT_EQ(status(), "degraded") << wanted;
    EXPECT_EQ(component("database"), "healthy") << wanted;
    EXPECT_TRUE(bank().service().ready()) << "no request needs the accounts service: " << wanted;
    EXPECT_EQ(metrics()["accounts_service_up"], 0) << wanted;
  }
  server.stop();
  EXPECT_TRUE(accounts_become("unhealthy: cannot connect"));
  EXPECT_EQ(status(), "degraded");

  server.behave(Script::respond(200));
  server.start();
  EXPECT_TRUE(accounts_become("healthy"));
  EXPECT_EQ(status(), "healthy");
  const MetricsText page = metrics();
  EXPECT_EQ(page["accounts_service_up"], 1);
  EXPECT_GE(page["accounts_service_check_failures_total"], static_cast<double>(cases.size() + 1));
  EXPECT_GE(page["accounts_service_checks_total"], page["accounts_service_check_failures_total"] + 2);
  EXPECT_THAT(bank().service().log_text(), HasSubstr("The accounts service is not healthy"));
  EXPECT_THAT(bank().service().log_text(), HasSubstr("The accounts service answers again"));
}

TEST_F(HealthTest, ANameThatDoesNotExist) {
  start_bank("http://accounts.invalid:8001");
  EXPECT_TRUE(accounts_become("unhealthy: the host name is not known")) << accounts();
  EXPECT_EQ(status(), "degraded");
}

// However many ask, the accounts service hears one question a second.
TEST_F(HealthTest, ProbesAreNoLoadForTheAccountsService) {
  ScriptedServer server(Script::respond(200));
  start_bank(server.url());
  ASSERT_TRUE(accounts_become("healthy"));
  const int before = server.connections();
  const auto begin = steady_clock::now();
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([port = bank().service().port()] {
      ApiClient client(port);
      for (int n = 0; n < 500; ++n) EXPECT_EQ(client.get("/health").status, 200);
    });
  }
  for (std::thread& client : clients) client.join();
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(steady_clock::now() - begin).count();
  EXPECT_LE(server.connections() - before, seconds + 1);
}

// The very first question is under way and never answered: whoever asks meanwhile, of any worker, hears the truth when
// it is known, within the 5 s; and later ones at once.
TEST_F(HealthTest, AHangingAccountsServiceHoldsNobodyUpForLongerThanItsTimeout) {
  ScriptedServer server(Script::silence());
  start_bank(server.url());
  const uint16_t port = bank().service().port();
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([port] {
      ApiClient client(port);
      const HttpResponse response = client.get("/health");
      EXPECT_EQ(response.status, 200);
      EXPECT_EQ(response.json()["components"]["accounts_service"].text(), "unhealthy: no answer in time");
      EXPECT_EQ(response.json()["status"].text(), "degraded");
    });
  }
  EXPECT_EQ(ApiClient(port).get("/livez").status, 200);
  for (std::thread& client : clients) client.join();
  const int connections = server.connections();
  EXPECT_EQ(accounts(), "unhealthy: no answer in time");
  EXPECT_LE(server.connections(), connections + 1);
}

TEST_F(HealthTest, AQuestionUnderWayDoesNotHoldUpTheDrain) {
  ScriptedServer server(Script::silence());
  start_bank(server.url());
  ASSERT_TRUE(bank().service().wait_until_ready(kNoticed));
  ASSERT_TRUE(wait_until([&] { return server.connections() > 0; }, kNoticed));
  EXPECT_EQ(bank().service().terminate(), ExitStatus{});
  bank().stop_service();
}

TEST_F(HealthTest, TheDatabaseAndTheAccountsServiceAreToldApart) {
  ScriptedServer server(Script::respond(200));
  start_bank(server.url());
  ASSERT_TRUE(accounts_become("healthy"));
  postgres().stop(PrivatePostgres::StopMode::kFast);
  EXPECT_TRUE(wait_until([&] { return component("database") != "healthy"; }, kNoticed));
  EXPECT_EQ(accounts(), "healthy");
  EXPECT_EQ(status(), "degraded");
  const HttpResponse ready = ApiClient(bank().service().port()).get("/readyz?verbose");
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(ready.json()["checks"]["database"].text(), "away");
  EXPECT_TRUE(wait_until([&] { return metrics()["database_up"] == 0; }, kNoticed));
  EXPECT_TRUE(wait_until([&] { return metrics()["database_check_failures_total"] > 0; }, kNoticed));
  EXPECT_EQ(metrics()["accounts_service_up"], 1);
  EXPECT_EQ(ApiClient(bank().service().port()).get("/livez").status, 200);
  postgres().start();
  EXPECT_TRUE(wait_until([&] { return status() == "healthy"; }, kNoticed));
  EXPECT_TRUE(bank().service().wait_until_ready(kNoticed));
}

TEST_F(HealthTest, VerboseListsEachCheck) {
  start_bank("");
  ApiClient client(bank().service().port());
  const Json ready = client.get("/readyz?verbose").json();
  EXPECT_EQ(ready["status"].text(), "ok");
  EXPECT_EQ(ready["checks"]["loop"].text(), "ok");
  EXPECT_EQ(ready["checks"]["database"].text(), "ok");
  EXPECT_TRUE(ready["checks"]["started"].boolean());
  EXPECT_FALSE(ready["checks"]["draining"].boolean());
  EXPECT_EQ(client.get("/livez?verbose").json()["checks"]["loop"].text(), "ok");
  EXPECT_EQ(metrics()["database_up"], 1);
  EXPECT_FALSE(metrics().has("accounts_service_up")) << "away and not configured are not the same";
  EXPECT_EQ(accounts(), "not configured");
  EXPECT_EQ(status(), "healthy");
}

TEST_F(HealthTest, CheckConfigSaysWhatIsAskedAndRefusesHttps) {
  start_bank("");
  const RunResult asked =
      run_service({"check-config"}, bank().settings_with({{"ACCOUNT_SERVICE_URL", "http://a:81/"}}));
  EXPECT_THAT(asked.out, HasSubstr("ACCOUNT_SERVICE_URL: /health asks a port 81 for /health"));
  for (const char* command : {"check-config", "serve"}) {
    const RunResult refused =
        run_service({command}, bank().settings_with({{"ACCOUNT_SERVICE_URL", "https://accounts:8001"}}));
    EXPECT_NE(refused.status, ExitStatus{}) << command;
    EXPECT_THAT(refused.out + refused.err, HasSubstr("ACCOUNT_SERVICE_URL")) << command;
    EXPECT_THAT(refused.out + refused.err, HasSubstr("https:// cannot be asked")) << command;
  }
}

}  // namespace
}  // namespace txn::test
