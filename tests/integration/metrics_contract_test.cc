// GET /metrics (contract section 3.3): what is on the page, that it says the truth, that no client can make it grow,
// and that Prometheus itself reads it.

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <regex>
#include <set>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/metrics.h"

namespace txn::test {
namespace {

constexpr const char* kOpenMetrics = "application/openmetrics-text; version=1.0.0";

class MetricsContract : public BankTest {
 protected:
  static MetricsText metrics() { return scrape(port()); }
};

// The difference between two pages, taken before and after what is being tested.
class Since {
 public:
  explicit Since(uint16_t port) : port_(port), before_(scrape(port)) {}
  double of(const std::string& series) const { return scrape(port_)[series] - before_[series]; }

 private:
  uint16_t port_;
  MetricsText before_;
};

std::string requests(const std::string& method, const std::string& endpoint, int status) {
  return "http_requests_total{method=\"" + method + "\",endpoint=\"" + endpoint + "\",status=\"" +
         std::to_string(status) + "\"}";
}
std::string transactions(const std::string& type, const std::string& status) {
  return "transactions_total{type=\"" + type + "\",status=\"" + status + "\"}";
}
std::string errors(const std::string& code) { return "errors_total{error_type=\"" + code + "\"}"; }

// --- The page --------------------------------------------------------------------------------------------------------

TEST_F(MetricsContract, BothFormatsFollowTheirRules) {
  ApiClient client(port());
  const HttpResponse text = client.get("/metrics");
  EXPECT_EQ(text.status, 200);
  EXPECT_EQ(text.header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(text.header("Vary"), "Accept");
  EXPECT_TRUE(has_common_headers(text));
  const MetricsText as_text = MetricsText::parse(text.body);

  const HttpResponse open = client.get("/metrics", {{"Accept", kOpenMetrics}});
  EXPECT_EQ(open.status, 200);
  EXPECT_EQ(open.header("Content-Type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
  const MetricsText as_open = MetricsText::parse(open.body, true);
  EXPECT_EQ(as_open.families().size(), as_text.families().size());

  const HttpResponse head = client.head("/metrics");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("Content-Type"), text.header("Content-Type"));
  EXPECT_EQ(client.post("/metrics", "{}").status, 405);
}

TEST_F(MetricsContract, NothingIsMissingAtTheStart) {
  // A service that nobody has asked for money yet.
  ServiceProcess fresh(bank().settings());
  const MetricsText page = scrape(fresh.port());
  for (const char* type : {"deposit", "withdrawal", "transfer"}) {
    for (const char* status : {"success", "error"}) {
      ASSERT_TRUE(page.has(transactions(type, status))) << type << " " << status;
      EXPECT_EQ(page[transactions(type, status)], 0);
    }
    for (const char* bound : {"100", "500", "1000", "5000", "10000", "50000", "100000", "+Inf"})
      EXPECT_TRUE(page.has("transaction_amount_total_bucket{type=\"" + std::string(type) + "\",le=\"" + bound + "\"}"))
          << type << " " << bound;
  }
  for (const char* code : {"MALFORMED_REQUEST",
                           "MALFORMED_JSON",
                           "VALIDATION_ERROR",
                           "INVALID_AMOUNT",
                           "INSUFFICIENT_FUNDS",
                           "ACCOUNT_NOT_ACTIVE",
                           "SAME_ACCOUNT_TRANSFER",
                           "BALANCE_OVERFLOW",
                           "TRANSFER_LIMIT_EXCEEDED",
                           "DAILY_TRANSACTION_COUNT_EXCEEDED",
                           "INVALID_TRANSFER_MODE",
                           "NOT_AUTHENTICATED",
                           "INVALID_TOKEN",
                           "TOKEN_EXPIRED",
                           "INVALID_PIN",
                           "FORBIDDEN",
                           "NOT_FOUND",
                           "ACCOUNT_NOT_FOUND",
                           "TRANSFER_LIMIT_NOT_FOUND",
                           "TRANSACTION_LOG_NOT_FOUND",
                           "IDEMPOTENCY_CONFLICT",
                           "IDEMPOTENCY_KEY_REUSED",
                           "PIN_LOCKED",
                           "RATE_LIMIT_EXCEEDED",
                           "SERVICE_UNAVAILABLE",
                           "OUTCOME_UNKNOWN"})
    EXPECT_TRUE(page.has(errors(code))) << code;
  EXPECT_TRUE(page.has(requests("POST", "/api/v1/deposits", 200)));
  EXPECT_TRUE(page.has(requests("GET", "/transaction-logs/{account_number}", 200)));
  for (const char* bound : {"0.1", "0.25", "0.5", "0.75", "1", "2.5", "5", "7.5", "10", "+Inf"})
    EXPECT_TRUE(page.has("http_request_duration_seconds_bucket{method=\"POST\",endpoint=\"/api/v1/transfers\",le=\"" +
                         std::string(bound) + "\"}"))
        << bound;
  EXPECT_TRUE(page.has("db_connection_pool_size"));
}

TEST_F(MetricsContract, AcceptDecidesTheFormat) {
  ApiClient client(port());
  EXPECT_TRUE(client.get("/metrics", {{"Accept", "*/*"}}).header("Content-Type").starts_with("text/plain"));
  EXPECT_TRUE(client.get("/metrics", {{"Accept", "application/json"}}).header("Content-Type").starts_with("text/"));
  EXPECT_TRUE(client.get("/metrics", {{"Accept", "text/plain;q=0.2"}, {"Accept", kOpenMetrics}})
                  .header("Content-Type")
                  .starts_with("application/openmetrics-text"));
  EXPECT_TRUE(client.get("/metrics", {{"Accept", std::string(kOpenMetrics) + ";q=0.2, text/plain;q=0.3"}})
                  .header("Content-Type")
                  .starts_with("text/plain"));
}

// --- The truth -------------------------------------------------------------------------------------------------------

TEST_F(MetricsContract, RequestsAreCountedByPatternAndStatus) {
  const int64_t account = bank().open_account();
  const std::string logs = "/transaction-logs/" + std::to_string(account);
  const Since since(port());
  ApiClient client = as(customer());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.get(logs).status, 200);
  EXPECT_EQ(client.head(logs).status, 200);
  EXPECT_EQ(client.get("/transaction-logs/9").status, 404);
  EXPECT_EQ(client.get("/transaction-logs/x").status, 422);
  EXPECT_EQ(client.request("DELETE", logs).status, 405);
  EXPECT_EQ(client.request("OPTIONS", logs).status, 204);
  EXPECT_EQ(client.request("PROPFIND", logs).status, 405);
  EXPECT_EQ(client.get(logs + "/further").status, 404);
  const std::string pattern = "/transaction-logs/{account_number}";
  EXPECT_EQ(since.of(requests("GET", pattern, 200)), 3);
  EXPECT_EQ(since.of(requests("HEAD", pattern, 200)), 1);
  EXPECT_EQ(since.of(requests("GET", pattern, 404)), 1);
  EXPECT_EQ(since.of(requests("GET", pattern, 422)), 1);
  EXPECT_EQ(since.of(requests("DELETE", pattern, 405)), 1);
  EXPECT_EQ(since.of(requests("OPTIONS", pattern, 204)), 1);
  EXPECT_EQ(since.of(requests("other", pattern, 405)), 1);
  EXPECT_EQ(since.of(requests("GET", "unmatched", 404)), 1);
  EXPECT_EQ(since.of("http_request_duration_seconds_count{method=\"GET\",endpoint=\"" + pattern + "\"}"), 5);
  const double seconds = since.of("http_request_duration_seconds_sum{method=\"GET\",endpoint=\"" + pattern + "\"}");
  EXPECT_GT(seconds, 0);
  EXPECT_LT(seconds, 60);
}

TEST_F(MetricsContract, TransactionsAndAmountsAreCounted) {
  const auto accounts = bank().open_accounts({{.balance = "0.00"}, {.balance = "0.00"}});
  const Since since(port());
  ApiClient client = as(customer());
  EXPECT_EQ(client.post(kDeposits, deposit_body(accounts[0], "100.00")).status, 200);
  EXPECT_EQ(client.post(kDeposits, deposit_body(accounts[0], "100.01")).status, 200);
  EXPECT_EQ(client.post(kDeposits, deposit_body(accounts[0], "0")).status, 400);
  EXPECT_EQ(client.post(kDeposits, "{").status, 400);
  EXPECT_EQ(client.post(kDeposits, "{}").status, 422);
  EXPECT_EQ(client.post(kWithdrawals, deposit_body(accounts[0], "50.00")).status, 200);
  EXPECT_EQ(client.post(kWithdrawals, deposit_body(accounts[0], "5000.00")).status, 400);
  EXPECT_EQ(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "0.05")).status, 200);
  EXPECT_EQ(client.post(kTransfers, transfer_body(accounts[0], accounts[0], "0.05")).status, 400);
  EXPECT_EQ(ApiClient(port()).post(kDeposits, deposit_body(accounts[0], "1")).status, 403);  // never came so far

  EXPECT_EQ(since.of(transactions("deposit", "success")), 2);
  EXPECT_EQ(since.of(transactions("deposit", "error")), 3);
  EXPECT_EQ(since.of(transactions("withdrawal", "success")), 1);
  EXPECT_EQ(since.of(transactions("withdrawal", "error")), 1);
  EXPECT_EQ(since.of(transactions("transfer", "success")), 1);
  EXPECT_EQ(since.of(transactions("transfer", "error")), 1);
  EXPECT_EQ(since.of("transaction_amount_total_bucket{type=\"deposit\",le=\"100\"}"), 1);
  EXPECT_EQ(since.of("transaction_amount_total_bucket{type=\"deposit\",le=\"500\"}"), 2);
  EXPECT_EQ(since.of("transaction_amount_total_count{type=\"deposit\"}"), 2);
  EXPECT_NEAR(since.of("transaction_amount_total_sum{type=\"deposit\"}"), 200.01, 1e-6);
  EXPECT_NEAR(since.of("transaction_amount_total_sum{type=\"transfer\"}"), 0.05, 1e-6);
  EXPECT_EQ(since.of(errors("INVALID_AMOUNT")), 1);
  EXPECT_EQ(since.of(errors("MALFORMED_JSON")), 1);
  EXPECT_EQ(since.of(errors("VALIDATION_ERROR")), 1);
  EXPECT_EQ(since.of(errors("INSUFFICIENT_FUNDS")), 1);
  EXPECT_EQ(since.of(errors("SAME_ACCOUNT_TRANSFER")), 1);
  EXPECT_EQ(since.of(errors("NOT_AUTHENTICATED")), 1);
  EXPECT_EQ(since.of("ledger_batch_operations_sum"), 6) << "what the rules decided, and nothing else";
}

TEST_F(MetricsContract, ReplaysAreNoTransactions) {
  const int64_t account = bank().open_account({.balance = "10.00"});
  const Since since(port());
  ApiClient client = as(customer());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client.post(kDeposits, deposit_body(account, "1.00"), {{"Idempotency-Key", "metrics-a"}}).status, 200);
    EXPECT_EQ(client.post(kWithdrawals, deposit_body(account, "99.00"), {{"Idempotency-Key", "metrics-b"}}).status,
              400);
  }
  EXPECT_EQ(since.of(transactions("deposit", "success")), 1);
  EXPECT_EQ(since.of(transactions("withdrawal", "error")), 1);
  EXPECT_EQ(since.of(errors("INSUFFICIENT_FUNDS")), 1);
  EXPECT_EQ(since.of("transaction_replays_total{type=\"deposit\"}"), 2);
  EXPECT_EQ(since.of("transaction_replays_total{type=\"withdrawal\"}"), 2);
  EXPECT_EQ(since.of("transaction_amount_total_count{type=\"deposit\"}"), 1);
  EXPECT_EQ(since.of(requests("POST", kDeposits, 200)), 3);
}

TEST_F(MetricsContract, BytesThatAreNoRequestAreCounted) {
  const Since since(port());
  EXPECT_EQ(connect().exchange("GARBAGE\r\n\r\n").status, 400);
  EXPECT_EQ(connect().exchange(format_request("GET", "/livez", {{"X-Long", std::string(20'000, 'x')}})).status, 431);
  EXPECT_EQ(connect().exchange(format_request("POST", kDeposits, {}, std::string(70'000, 'x'))).status, 413);
  const MetricsText page = metrics();
  EXPECT_EQ(since.of(requests("other", "unmatched", 400)), 1);
  EXPECT_EQ(since.of(requests("other", "unmatched", 431)) + since.of(requests("GET", "unmatched", 431)), 1);
  EXPECT_EQ(since.of(requests("POST", "unmatched", 413)), 1);
  EXPECT_EQ(since.of(errors("MALFORMED_REQUEST")), 1);
  EXPECT_EQ(since.of(errors("CONTENT_TOO_LARGE")), 1);
  EXPECT_EQ(page["http_request_duration_seconds_count{method=\"POST\",endpoint=\"unmatched\"}"], 0);
}

TEST_F(MetricsContract, GaugesSayWhatIsThere) {
  // Prepared statements of the service make no connections of their own: what the server counts is what we count.
  const std::string connections = bank().database().value(
      "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'transactions-service' "
      "AND datname = current_database()");
  EXPECT_EQ(metrics()["db_connection_pool_size"], std::stod(connections));
  EXPECT_GE(metrics()["db_connections_busy"], 0);

  const double before = metrics()["http_connections"];
  {
    std::vector<RawClient> idle;
    for (int i = 0; i < 5; ++i) {
      idle.push_back(connect());
      EXPECT_EQ(idle.back().exchange(format_request("GET", "/livez")).status, 200);
    }
    EXPECT_EQ(metrics()["http_connections"], before + 5);
  }
  EXPECT_TRUE(wait_until([&] { return metrics()["http_connections"] <= before; }, Milliseconds(10'000)));

  const MetricsText page = metrics();
  EXPECT_GT(page["process_resident_memory_bytes"], 1 << 20);
  EXPECT_GT(page["process_open_fds"], page["db_connection_pool_size"]);
  EXPECT_GT(page["process_cpu_seconds_total"], 0);
  EXPECT_GT(page["process_threads"], 2);
  EXPECT_EQ(page["transactions_service_workers"], 2);
  EXPECT_EQ(page["ledger_queue_depth"], 0);
  EXPECT_GT(page["event_loop_turn_duration_seconds_count"], 0);
  EXPECT_EQ(page.sum("transactions_service_build_info"), 1);
}

TEST_F(MetricsContract, OnlyThePatternOfAPathIsALabel) {
  std::mt19937 random(20261122);
  ApiClient client = as(teller());
  const auto word = [&] {
    std::string text = "ZQX";  // nothing of ours has that
    for (int i = 0; i < 12; ++i) text += static_cast<char>('A' + random() % 26);
    return text;
  };
  const auto bother = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const std::string some = word();
      client.get("/" + some);
      client.get("/transaction-logs/" + some);
      client.get("/api/v1/transfer-limits/" + std::to_string(random()));
      client.request("GET", "/livez?" + some + "=" + some);
      client.get("/readyz", {{"X-Request-ID", some}});
    }
    for (const char* method : {"TRACE", "PROPFIND", "LOCK", "MKCOL", "PURGE", "REPORT", "SEARCH", "PATCH", "PUT"}) {
      client.request(method, "/" + word());
      client.request(method, kDeposits);
    }
    for (int i = 0; i < times / 10; ++i) connect().exchange(word() + " /" + word() + " HTTP/1.1\r\nHost: x\r\n\r\n");
  };
  bother(20);
  const size_t series = metrics().series_count();
  bother(800);
  const MetricsText page = metrics();
  EXPECT_EQ(page.series_count(), series);
  for (const auto& [name, value] : page.samples()) EXPECT_EQ(name.find("ZQX"), std::string::npos) << name;
}

// --- Others' tools ---------------------------------------------------------------------------------------------------

std::string read_source(const std::string& path) {
  std::ifstream file(std::string(TXN_SOURCE_DIR) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// | `name` | type | labels | meaning |
TEST_F(MetricsContract, TheTableInTheDocsIsThePage) {
  const std::string text = read_source("docs/observability.md");
  const std::regex row(R"re(\n\| `([a-z0-9_]+)` \| (counter|gauge|histogram) \|([a-z_`, ]*)\|)re");
  std::set<std::string> documented;
  for (std::sregex_iterator it(text.begin(), text.end(), row), end; it != end; ++it) {
    std::string labels = (*it)[3];
    std::erase_if(labels, [](char c) { return c == '`' || c == ' '; });
    EXPECT_TRUE(documented.insert((*it)[1].str() + " " + (*it)[2].str() + " " + labels).second) << (*it)[0];
  }
  std::set<std::string> served;
  const MetricsText page = metrics();
  for (const MetricFamily& family : page.families()) {
    std::string labels;
    for (const std::string& label : family.label_names) labels += (labels.empty() ? "" : ",") + label;
    served.insert(family.name + " " + family.type + " " + labels);
  }
  EXPECT_EQ(documented, served);
}

RunResult run_with_input(const std::string& program, const std::vector<std::string>& args, const std::string& input) {
  const TempDirectory directory;
  const std::string path = directory.write("input", input);
  std::string command = program;
  for (const std::string& arg : args) command += " " + arg;
  return run_program({.argv = {"/bin/sh", "-c", command + " < " + path}, .env = {"PATH=/usr/bin:/bin"}},
                     Milliseconds(30'000));
}

TEST_F(MetricsContract, PromtoolHasNothingToSay) {
  const std::string page = ApiClient(port()).get("/metrics").body;
  const RunResult result = run_with_input("promtool", {"check", "metrics"}, page);
  EXPECT_EQ(result.err, "transaction_amount_total non-counter metrics should not have \"_total\" suffix\n") << result;
}

// A Prometheus that scrapes the service every 200 ms, on a port of its own choice.
class Prometheus {
 public:
  explicit Prometheus(uint16_t service_port) {
    const std::string config = directory_.write("prometheus.yml",
                                                "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
                                                "scrape_configs:\n"
                                                "  - job_name: transactions\n"
                                                "    static_configs: [{targets: ['127.0.0.1:" +
                                                    std::to_string(service_port) + "']}]\n");
    Pipe err = Pipe::create();
    process_ = std::make_unique<ChildProcess>(
        SpawnOptions{.argv = {"/usr/bin/prometheus", "--config.file=" + config,
                              "--storage.tsdb.path=" + directory_.path() + "/data", "--web.listen-address=127.0.0.1:0"},
                     .env = {"PATH=/usr/bin:/bin"},
                     .directory = directory_.path(),
                     .stderr_fd = err.write_end.get()});
    err.write_end.reset();
    log_ = std::make_unique<OutputCollector>(std::move(err.read_end));
    const std::string listening = "msg=\"Listening on\" address=127.0.0.1:";
    const auto line = log_->wait_for_line(
        [&](const std::string& text) { return text.find(listening) != std::string::npos; }, Milliseconds(30'000));
    if (!line) throw std::runtime_error("Prometheus did not start: " + log_->text());
    port_ = static_cast<uint16_t>(std::stoi(line->substr(line->find(listening) + listening.size())));
  }
  ~Prometheus() {
    process_->kill_and_wait();
    process_.reset();
  }

  // The one value of an instant query; nothing while there is no such series.
  std::optional<double> query(const std::string& expression) const {
    std::string encoded;
    for (const unsigned char c : expression) {
      char text[4];
      std::snprintf(text, sizeof text, "%%%02X", c);
      encoded += text;
    }
    const HttpResponse response = ApiClient(port_).get("/api/v1/query?query=" + encoded);
    if (response.status != 200) return std::nullopt;
    const Json answer = response.json();
    const std::vector<Json> result = answer["data"]["result"].items();
    if (result.size() != 1) return std::nullopt;
    return std::stod(result[0]["value"].items().at(1).text());
  }
  bool comes_to_say(const std::string& expression, double value) const {
    return wait_until([&] { return query(expression) == value; }, Milliseconds(30'000));
  }
  std::string log() const { return log_->text(); }

 private:
  TempDirectory directory_;
  std::unique_ptr<OutputCollector> log_;
  std::unique_ptr<ChildProcess> process_;
  uint16_t port_ = 0;
};

TEST_F(MetricsContract, PrometheusReadsThePage) {
  const Prometheus prometheus(port());
  EXPECT_TRUE(prometheus.comes_to_say("up", 1)) << prometheus.log();
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.post(kDeposits, deposit_body(account, "7.50")).status, 200);
  const MetricsText page = metrics();
  EXPECT_TRUE(prometheus.comes_to_say(transactions("deposit", "success"), page[transactions("deposit", "success")]));
  EXPECT_TRUE(prometheus.comes_to_say("transaction_amount_total_sum{type=\"deposit\"}",
                                      page["transaction_amount_total_sum{type=\"deposit\"}"]));
  // Histograms are good for what they are there for. Prometheus asks for OpenMetrics, where a bound of one is "1.0".
  const std::string buckets = "http_request_duration_seconds_bucket{method=\"POST\",endpoint=\"/api/v1/deposits\"";
  const double count = page["http_request_duration_seconds_count{method=\"POST\",endpoint=\"/api/v1/deposits\"}"];
  EXPECT_TRUE(prometheus.comes_to_say(buckets + ",le=~\"1|1\\\\.0\"}", count));
  EXPECT_TRUE(prometheus.comes_to_say("histogram_quantile(0.99, sum by (le) (" + buckets + "})) > bool 0", 1));
  EXPECT_TRUE(prometheus.comes_to_say("process_start_time_seconds > bool 1.7e9", 1));
  // Every sample has been taken: none twice, none out of order.
  EXPECT_EQ(prometheus.query("scrape_samples_scraped - scrape_samples_post_metric_relabeling"), 0);
  EXPECT_EQ(prometheus.log().find("level=warn"), std::string::npos) << prometheus.log();
}

}  // namespace
}  // namespace txn::test
