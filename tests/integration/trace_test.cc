// Traces: what a collector gets to see of requests, and that a collector can do no harm.

#include <gmock/gmock.h>

#include <map>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/otlp_collector.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kTraceId = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr const char* kCaller = "00f067aa0ba902b7";

std::string traceparent(const std::string& trace_id, const char* flags) {
  return "00-" + trace_id + "-" + kCaller + "-" + flags;
}

class Trace : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { bank_ = std::make_unique<Bank>("traces"); }
  static void TearDownTestSuite() { bank_.reset(); }
  static Bank& bank() { return *bank_; }

  Settings settings(const Settings& changes = {}) const {
    Settings all = bank().settings_with({{"OTLP_ENDPOINT", collector_.url()}});
    for (const auto& [name, value] : changes) all[name] = value;
    return all;
  }

  OtlpCollector collector_;

 private:
  static inline std::unique_ptr<Bank> bank_;
};

TEST_F(Trace, ATransferIsASpanOfTheServerWithTheLedgersBelow) {
  const auto accounts = bank().open_accounts({{}, {}});
  ServiceProcess service(settings());
  const HttpResponse response = ApiClient(service.port(), customer())
                                    .post(kTransfers, transfer_body(accounts[0], accounts[1], "5.00"),
                                          {{"traceparent", traceparent(kTraceId, "01")},
                                           {"tracestate", "vendor=opaque"},
                                           {"X-Request-ID", "traced-transfer"},
                                           {"User-Agent", "a-browser"}});
  ASSERT_EQ(response.status, 200) << response;
  EXPECT_EQ(service.terminate(), ExitStatus{});  // at the end all is flushed

  for (const std::string& body : collector_.bodies()) {
    EXPECT_TRUE(is_trace_request(body));
    EXPECT_THAT(body, Not(HasSubstr("a-browser")));
    EXPECT_THAT(body, Not(HasSubstr(std::to_string(accounts[0]))));
    EXPECT_THAT(body, Not(HasSubstr("127.0.0.1:")));
  }
  std::map<std::string, Json> by_name;
  for (const Json& span : collector_.spans())
    if (span["traceId"].text() == kTraceId) by_name.emplace(span["name"].text(), span);
  ASSERT_EQ(by_name.size(), 2u);
  const Json server = by_name.at("POST /api/v1/transfers");
  EXPECT_EQ(server["parentSpanId"].text(), kCaller);
  EXPECT_EQ(server["traceState"].text(), "vendor=opaque");
  EXPECT_EQ(server["kind"].integer(), 2);
  EXPECT_EQ(attribute(server, "http.request.method"), "POST");
  EXPECT_EQ(attribute(server, "http.route"), "/api/v1/transfers");
  EXPECT_EQ(attribute(server, "url.path"), "/api/v1/transfers");
  EXPECT_EQ(attribute(server, "url.scheme"), "http");
  EXPECT_EQ(attribute(server, "http.response.status_code"), "200");
  EXPECT_EQ(attribute(server, "server.address"), "127.0.0.1");
  EXPECT_EQ(attribute(server, "request_id"), "traced-transfer");
  EXPECT_EQ(attribute(server, "error.type"), "(none)");
  EXPECT_FALSE(server.has("status"));
  const Json ledger = by_name.at("ledger");
  EXPECT_EQ(ledger["parentSpanId"].text(), server["spanId"].text());
  EXPECT_EQ(ledger["kind"].integer(), 1);
  EXPECT_EQ(attribute(ledger, "transaction_type"), "TRANSFER");
  EXPECT_GE(ledger["startTimeUnixNano"].text(), server["startTimeUnixNano"].text());
  EXPECT_LE(ledger["endTimeUnixNano"].text(), server["endTimeUnixNano"].text());
  EXPECT_LT(ledger["startTimeUnixNano"].text(), ledger["endTimeUnixNano"].text());
}

TEST_F(Trace, PathsAreRoutesAndErrorsAreNamed) {
  ServiceProcess service(settings({{"TRACE_SAMPLE_RATIO", "1"}}));
  ApiClient client(service.port(), teller());
  client.get("/transaction-logs/4711471147", {{"X-Request-ID", "logs"}});
  client.get("/no/such/place/4711471147?account=4711471147", {{"X-Request-ID", "nowhere"}});
  client.request("PROPFIND", "/health", {{"X-Request-ID", "propfind"}});
  client.disconnect();  // or the service would wait for us to close
  RawClient(service.port()).exchange("NONSENSE 4711471147\r\n\r\n");
  EXPECT_EQ(service.terminate(), ExitStatus{});
  for (const std::string& body : collector_.bodies()) {
    EXPECT_TRUE(is_trace_request(body));
    EXPECT_THAT(body, Not(HasSubstr("4711471147")));
  }
  std::map<std::string, Json> by_request;
  bool has_bad_request = false;
  for (const Json& span : collector_.spans()) {
    by_request.emplace(attribute(span, "request_id"), span);
    EXPECT_FALSE(span.has("parentSpanId"));
    has_bad_request = has_bad_request || attribute(span, "error.type") == "MALFORMED_REQUEST";
  }
  EXPECT_TRUE(has_bad_request);
  ASSERT_TRUE(by_request.contains("logs") && by_request.contains("nowhere") && by_request.contains("propfind"));
  EXPECT_EQ(by_request.at("logs")["name"].text(), "GET /transaction-logs/{account_number}");
  EXPECT_EQ(attribute(by_request.at("logs"), "error.type"), "ACCOUNT_NOT_FOUND");
  EXPECT_EQ(by_request.at("nowhere")["name"].text(), "GET");
  EXPECT_EQ(attribute(by_request.at("nowhere"), "url.path"), "(none)");
  EXPECT_EQ(attribute(by_request.at("propfind"), "http.request.method"), "_OTHER");
}

TEST_F(Trace, TheCallerDecidesAndForTheRestTheRatioDoes) {
  ServiceProcess service(settings({{"TRACE_SAMPLE_RATIO", "0"}, {"ACCESS_LOG", "all"}}));
  ApiClient client(service.port(), teller());
  const std::string other = "0af7651916cd43dd8448eb211c80319c";
  client.get("/livez", {{"traceparent", traceparent(kTraceId, "00")}, {"X-Request-ID", "not-sampled"}});
  client.get("/livez", {{"X-Request-ID", "without"}});
  client.get("/livez", {{"traceparent", traceparent(other, "01")}, {"X-Request-ID", "sampled"}});
  client.disconnect();
  EXPECT_EQ(service.terminate(), ExitStatus{});
  const auto spans = collector_.spans();
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0]["traceId"].text(), other);
  // In the log all of them have their trace.
  EXPECT_THAT(service.log_text(), HasSubstr(kTraceId));
  EXPECT_THAT(service.log_text(), HasSubstr(other));
}

TEST_F(Trace, TheRatioIsKept) {
  ServiceProcess service(settings({{"TRACE_SAMPLE_RATIO", "0.5"}}));
  ApiClient client(service.port(), teller());
  constexpr int kRequests = 1000;
  for (int i = 0; i < kRequests; ++i) client.get("/livez", {{"X-Request-ID", "ratio-test"}});
  client.disconnect();
  EXPECT_EQ(service.terminate(), ExitStatus{});
  int sampled = 0;
  for (const Json& span : collector_.spans()) sampled += attribute(span, "request_id") == "ratio-test" ? 1 : 0;
  // Seven standard deviations to either side.
  EXPECT_GT(sampled, 390);
  EXPECT_LT(sampled, 610);
}

// Away, hanging, refusing, talking nonsense: clients are served all the same, and the service ends in time.
TEST_F(Trace, ABadCollectorDoesNoHarm) {
  const auto accounts = bank().open_accounts({{}});
  enum class Bad { kAway, kHangs, kRefuses, kBabbles };
  for (const Bad bad : {Bad::kAway, Bad::kHangs, Bad::kRefuses, Bad::kBabbles}) {
    auto collector = std::make_unique<OtlpCollector>();
    const Settings changed = settings({{"OTLP_ENDPOINT", collector->url()}, {"TRACE_SAMPLE_RATIO", "1"}});
    if (bad == Bad::kAway) collector.reset();
    if (bad == Bad::kHangs) collector->hang(true);
    if (bad == Bad::kRefuses) collector->answer_status(500);
    if (bad == Bad::kBabbles) collector->answer_with("220 ready for mail\r\n");
    ServiceProcess service(changed);
    ApiClient client(service.port(), customer());
    for (int i = 0; i < 20; ++i) EXPECT_EQ(client.post(kDeposits, deposit_body(accounts[0], "1.00")).status, 200);
    // One that hangs is noticed only when its time is over.
    if (bad != Bad::kHangs) {
      EXPECT_TRUE(wait_until([&] { return service.log_text().find("Spans cannot be exported") != std::string::npos; },
                             Milliseconds(20'000)));
    }
    EXPECT_EQ(client.get("/health").status, 200);
    client.disconnect();  // or the service would wait for us to close
    EXPECT_EQ(service.terminate(Milliseconds(20'000)), ExitStatus{}) << static_cast<int>(bad);
  }
}

TEST_F(Trace, WithoutAnEndpointNothingIsSent) {
  Settings without = settings({{"TRACE_SAMPLE_RATIO", "1"}});
  without.erase("OTLP_ENDPOINT");
  ServiceProcess service(without);
  ApiClient(service.port()).get("/livez");
  EXPECT_EQ(service.terminate(), ExitStatus{});
  EXPECT_EQ(collector_.requests(), 0u);
}

}  // namespace
}  // namespace txn::test
