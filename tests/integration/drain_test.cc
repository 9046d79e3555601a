// How a service takes its leave, and what it serves beside its clients: DRAIN_DELAY, OPERATIONS_PORT,
// KEEPALIVE_TIMEOUT.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/scripted_server.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;

constexpr Milliseconds kPatience{30'000};

uint16_t operations_port(const ServiceProcess& service) {
  for (const std::string& text : service.log_lines()) {
    const Json line = Json::parse(text);
    if (line["message"].text() == "Probes and metrics have a port of their own")
      return static_cast<uint16_t>(std::stoi(line["operations_port"].scalar()));
  }
  return 0;
}

bool is_ready(uint16_t port) { return ApiClient(port).get("/readyz").status == 200; }

TEST(DrainDelay, EverythingIsServedMeanwhile) {
  Bank bank("drain", {{"DRAIN_DELAY", "300s"}});
  const int64_t account = bank.open_account();
  ServiceProcess& service = bank.service();
  ApiClient before(service.port(), teller());
  EXPECT_TRUE(is_json(before.post(kDeposits, deposit_body(account, "1"))));
  service.send_signal(SIGTERM);
  EXPECT_TRUE(wait_until([&] { return !is_ready(service.port()); }, kPatience));

  // Each connection is told to go elsewhere by its next answer, and is served until then.
  const HttpResponse last = before.post(kDeposits, deposit_body(account, "1"));
  EXPECT_TRUE(is_json(last));
  EXPECT_EQ(last.header("Connection"), "close");
  for (int i = 0; i < 8; ++i) {
    ApiClient late(service.port(), teller());
    const HttpResponse deposited = late.post(kDeposits, deposit_body(account, "1"));
    EXPECT_TRUE(is_json(deposited));
    EXPECT_EQ(deposited.header("Connection"), "close");
  }
  EXPECT_EQ(ApiClient(service.port()).get("/livez").status, 200);
  EXPECT_EQ(ApiClient(service.port()).get("/readyz?verbose").json()["checks"]["draining"].scalar(), "true");
  EXPECT_EQ(bank.balance(account), "1010.00");

  // Whoever asks a second time means now.
  service.send_signal(SIGTERM);
  EXPECT_EQ(service.wait_for_exit(kPatience), ExitStatus{});
}

TEST(DrainDelay, PipelinedRequestsAreAllAnsweredAndOnlyTheLastCloses) {
  Bank bank("drain_pipeline", {{"DRAIN_DELAY", "300s"}});
  ServiceProcess& service = bank.service();
  RawClient client(service.port());
  service.send_signal(SIGTERM);
  EXPECT_TRUE(wait_until([&] { return !is_ready(service.port()); }, kPatience));
  const std::string request = format_request("GET", "/livez");
  ASSERT_TRUE(client.send(request + request + request));
  for (int i = 0; i < 3; ++i) {
    const HttpResponse response = client.read_response();
    EXPECT_EQ(response.status, 200);
    if (response.header("Connection") == "close") break;
    EXPECT_LT(i, 2) << "the last answer says that the connection ends";
  }
  EXPECT_EQ(client.wait_for_ending(kPatience), RawClient::Ending::kEndOfStream);
  service.send_signal(SIGTERM);
  EXPECT_EQ(service.wait_for_exit(kPatience), ExitStatus{});
}

TEST(DrainDelay, EndsByItself) {
  Bank bank("drain_ends", {{"DRAIN_DELAY", "1s"}});
  EXPECT_EQ(bank.service().terminate(kPatience), ExitStatus{});
  EXPECT_THAT(bank.service().log_text(), HasSubstr("about to drain"));
}

TEST(OperationsPort, HasProbesAndMetricsAndNothingElse) {
  Bank bank("operations", {{"OPERATIONS_PORT", "0"}, {"METRICS_PUBLIC", "false"}});
  const int64_t account = bank.open_account();
  ServiceProcess& service = bank.service();
  const uint16_t operations = operations_port(service);
  ASSERT_NE(operations, 0);
  ASSERT_NE(operations, service.port());
  for (const char* path : {"/livez", "/readyz", "/health", "/metrics"})
    EXPECT_EQ(ApiClient(operations).get(path).status, 200) << path;
  ApiClient there(operations, teller());
  EXPECT_TRUE(is_problem(there.post(kDeposits, deposit_body(account, "1")), 404, "NOT_FOUND"));
  EXPECT_TRUE(is_problem(there.get("/transaction-logs/" + std::to_string(account)), 404, "NOT_FOUND"));

  ApiClient here(service.port(), teller());
  EXPECT_TRUE(is_json(here.post(kDeposits, deposit_body(account, "1"))));
  for (const char* path : {"/health", "/metrics"}) EXPECT_TRUE(is_problem(here.get(path), 404, "NOT_FOUND")) << path;
  for (const char* path : {"/livez", "/readyz"}) EXPECT_EQ(here.get(path).status, 200) << path;
  // What was asked on the other port is counted under the same names.
  EXPECT_THAT(ApiClient(operations).get("/metrics").body,
              HasSubstr("http_requests_total{method=\"GET\",endpoint=\"/livez\",status=\"200\"} 2\n"));
}

// The routes of this port are a part of all, and must not be taken for the first ones of them.
TEST(OperationsPort, ExpectationsAreMetAsOnTheOther) {
  Bank bank("operations_expect", {{"OPERATIONS_PORT", "0"}});
  for (const uint16_t port : {bank.service().port(), operations_port(bank.service())}) {
    for (const char* path : {"/livez", "/readyz", "/health", "/metrics"}) {
      RawClient client(port);
      const std::string head =
          std::string("GET ") + path + " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
      EXPECT_EQ(client.exchange(head).status, 100) << port << path;
      EXPECT_EQ(client.exchange("{}").status, 200) << port << path;
    }
  }
}

TEST(OperationsPort, MetricsStayOnBothUnlessToldOtherwise) {
  Bank bank("operations_both", {{"OPERATIONS_PORT", "0"}});
  for (const uint16_t port : {bank.service().port(), operations_port(bank.service())}) {
    for (const char* path : {"/livez", "/readyz", "/health", "/metrics"})
      EXPECT_EQ(ApiClient(port).get(path).status, 200) << port << path;
  }
}

TEST(OperationsPort, IsThereUntilTheLastClientHasGone) {
  Bank bank("operations_drain", {{"OPERATIONS_PORT", "0"}, {"DRAIN_TIMEOUT", "20s"}});
  ServiceProcess& service = bank.service();
  const uint16_t operations = operations_port(service);
  // A request that is half there keeps the drain waiting.
  RawClient client(service.port());
  ASSERT_TRUE(client.send("GET /livez HTTP/1.1\r\nHost: a\r\n"));
  ASSERT_EQ(ApiClient(service.port()).get("/livez").status, 200);
  service.send_signal(SIGTERM);
  EXPECT_TRUE(wait_until([&] { return !RawClient(service.port()).connected(); }, kPatience));
  EXPECT_EQ(ApiClient(operations).get("/readyz").status, 503);
  EXPECT_EQ(ApiClient(operations).get("/livez").status, 200);
  EXPECT_EQ(client.exchange("\r\n").status, 200);
  EXPECT_EQ(service.wait_for_exit(kPatience), ExitStatus{});
}

TEST(OperationsPort, IsAnotherOneThanTheService) {
  Bank bank("operations_taken");
  const std::string taken = std::to_string(bank.service().port());
  const RunResult same =
      run_service({"serve"}, bank.settings_with({{"OPERATIONS_PORT", taken}, {"SERVICE_PORT", taken}}));
  EXPECT_EQ(same.status.code, 2);
  EXPECT_THAT(same.err, HasSubstr("OPERATIONS_PORT and SERVICE_PORT are both " + taken));
  const RunResult in_use = run_service({"serve"}, bank.settings_with({{"OPERATIONS_PORT", taken}}));
  EXPECT_EQ(in_use.status.code, 1);
  EXPECT_THAT(in_use.err, HasSubstr("OPERATIONS_PORT"));
  EXPECT_THAT(in_use.err, HasSubstr("is in use by another process"));
}

// What the container image asks.
RunResult healthcheck(const Settings& settings, const std::vector<std::string>& options = {}) {
  std::vector<std::string> arguments{"healthcheck"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  return run_service(arguments, settings);
}

TEST(Healthcheck, SaysWhatTheProbesSay) {
  Bank bank("healthcheck", {{"OPERATIONS_PORT", "0"}, {"DRAIN_DELAY", "60s"}});
  ServiceProcess& service = bank.service();
  for (const uint16_t port : {service.port(), operations_port(service)}) {
    for (const char* host : {"127.0.0.1", "0.0.0.0"}) {
      Settings settings{{"SERVICE_HOST", host}, {"SERVICE_PORT", std::to_string(port)}};
      EXPECT_TRUE(healthcheck(settings).ok());
      const RunResult ready = healthcheck(settings, {"--ready"});
      EXPECT_TRUE(ready.ok()) << ready;
      EXPECT_EQ(ready.out + ready.err, "");
      settings["SERVICE_PORT"] = "1";
      settings["OPERATIONS_PORT"] = std::to_string(port);
      EXPECT_TRUE(healthcheck(settings).ok());
    }
  }
  service.send_signal(SIGTERM);
  const Settings settings{{"SERVICE_PORT", std::to_string(service.port())}};
  EXPECT_TRUE(wait_until([&] { return !healthcheck(settings, {"--ready"}).ok(); }, kPatience));
  const RunResult draining = healthcheck(settings, {"--ready"});
  EXPECT_EQ(draining.status.code, 1);
  EXPECT_THAT(draining.err, HasSubstr("/readyz: HTTP/1.1 503"));
  EXPECT_TRUE(healthcheck(settings).ok());
  service.send_signal(SIGTERM);
  EXPECT_EQ(service.wait_for_exit(kPatience), ExitStatus{});

  const RunResult gone = healthcheck(settings);
  EXPECT_EQ(gone.status.code, 1);
  EXPECT_THAT(gone.err, HasSubstr("Connection refused"));
}

TEST(Healthcheck, SaysWhomItCannotAsk) {
  const RunResult tls = healthcheck({{"TLS_CERT_FILE", "a.pem"}, {"TLS_KEY_FILE", "a.key"}});
  EXPECT_EQ(tls.status.code, 2);
  EXPECT_THAT(tls.err, HasSubstr("OPERATIONS_PORT"));
  const RunResult any_port = healthcheck({{"SERVICE_PORT", "0"}});
  EXPECT_EQ(any_port.status.code, 2);
  EXPECT_THAT(any_port.err, HasSubstr("port"));
  ScriptedServer silent(ScriptedServer::Script::silence());
  const RunResult unanswered = healthcheck({{"SERVICE_PORT", std::to_string(silent.port())}});
  EXPECT_EQ(unanswered.status.code, 1);
  EXPECT_THAT(unanswered.err, HasSubstr("no answer"));
}

TEST(KeepaliveTimeout, IsASetting) {
  Bank bank("keepalive", {{"KEEPALIVE_TIMEOUT", "1s"}});
  RawClient client(bank.service().port());
  EXPECT_EQ(client.exchange(format_request("GET", "/livez")).status, 200);
  EXPECT_EQ(client.wait_for_ending(kPatience), RawClient::Ending::kEndOfStream);
  for (const char* wrong : {"0s", "2h", "999ms"}) {
    const RunResult refused = run_service({"check-config"}, bank.settings_with({{"KEEPALIVE_TIMEOUT", wrong}}));
    EXPECT_EQ(refused.status.code, 1) << wrong;
    EXPECT_THAT(refused.out + refused.err, HasSubstr("a duration from 1s to 3600s")) << wrong;
  }
}

}  // namespace
}  // namespace txn::test
