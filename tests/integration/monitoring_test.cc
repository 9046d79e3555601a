// Dashboard and alerts against the real thing: a service, a Prometheus on it, and what each query gets to see.
#include <gmock/gmock.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "tests/integration/bank.h"
#include "tests/support/metrics.h"
#include "tests/support/scripted_server.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;

constexpr Milliseconds kStartTimeout{30'000};
constexpr Milliseconds kNoticed{60'000};
constexpr Milliseconds kStopTimeout{90'000};  // up.sh gives Prometheus 60 s

// Written by jobs outside of the service for the node exporter (docs/observability.md). The backup's is not written by
// anything in this repository's tests; the others are checked against what the script writes.
const std::set<std::string> kBackupMetrics{"transactions_backup_last_success_timestamp_seconds"};
std::string read_source(const std::string& path) {
  std::ifstream file(std::string(TXN_SOURCE_DIR) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) {
      encoded += c;
    } else {
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  return text;
}

// The names of metrics in a query: what is left when strings, matchers, ranges, label lists, functions and keywords
// have gone.
std::set<std::string> metrics_in(std::string query) {
  query = std::regex_replace(query, std::regex(R"re("[^"]*")re"), "");
  query = std::regex_replace(query, std::regex(R"(\b\d[\w.]*)"), " ");  // numbers; ranges are emptied, which is as good
  query = std::regex_replace(query, std::regex(R"(\{[^}]*\}|\[[^\]]*\])"), " ");
  query =
      std::regex_replace(query, std::regex(R"(\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\))"), " ");
  query = std::regex_replace(query, std::regex(R"([a-zA-Z_]\w*\s*\()"), " (");  // functions and aggregations
  static const std::set<std::string> kKeywords{"and", "or", "unless", "bool", "offset", "sum", "min", "max"};
  static const std::regex name(R"([a-zA-Z_:][\w:]*)");
  std::set<std::string> names;
  for (std::sregex_iterator it(query.begin(), query.end(), name), end; it != end; ++it) {
    if (!kKeywords.contains(it->str())) names.insert(it->str());
  }
  return names;
}

TEST(MetricsInQueries, AreFound) {
  EXPECT_EQ(metrics_in(R"(histogram_quantile(0.95, sum by (job, le) (rate(a_bucket{x="y", z=~"b|c"}[5m]))) > 2e3)"),
            (std::set<std::string>{"a_bucket"}));
  EXPECT_EQ(metrics_in("sum(a) / on (b) job:c:rate5m or d * 0 and e"),
            (std::set<std::string>{"a", "job:c:rate5m", "d", "e"}));
}

// deploy/monitoring/up.sh on some services.
class Monitor {
 public:
  explicit Monitor(const std::vector<uint16_t>& ports) {
    Pipe out = Pipe::create();
    SpawnOptions spawn{.argv = {std::string(TXN_SOURCE_DIR) + "/deploy/monitoring/up.sh"},
                       .env = {"PATH=/usr/bin:/bin", "PORT=0", "INTERVAL=1s", "DATA=" + directory_.path() + "/data"}};
    for (const uint16_t port : ports) spawn.argv.push_back("127.0.0.1:" + std::to_string(port));
    spawn.stdout_fd = out.write_end.get();
    spawn.stderr_fd = out.write_end.get();
    spawn.death_signal = SIGTERM;
    output_ = std::make_unique<OutputCollector>(std::move(out.read_end));
    process_ = std::make_unique<ChildProcess>(spawn);
    out.write_end.reset();
    const auto line =
        output_->wait_for_line([](const std::string& text) { return text.starts_with("Dashboard "); }, kStartTimeout);
    if (!line) {
      ADD_FAILURE() << "no Prometheus: " << output_->text();
      return;
    }
    port_ = static_cast<uint16_t>(std::stoi(line->substr(line->rfind("127.0.0.1:") + 10)));
  }

  // Ctrl-C, and how it ended.
  std::optional<ExitStatus> stop() {
    process_->send_signal(SIGINT);
    return process_->wait_for(kStopTimeout);
  }

  // By curl: long answers come in chunks, which the service's never do. "" for anything but 200.
  std::string get(const std::string& path) {
    return run_program({.argv = {"/usr/bin/curl", "-sf", "http://127.0.0.1:" + std::to_string(port_) + path},
                        .env = {"PATH=/usr/bin:/bin"}},
                       kStartTimeout)
        .out;
  }
  // The vector that an instant query gives; throws what Prometheus says when it does not understand the query.
  std::vector<Json> query(const std::string& text) {
    const std::string body = get("/api/v1/query?query=" + percent_encoded(text));
    if (body.empty()) throw std::runtime_error("Prometheus does not understand " + text);
    return Json::parse(body)["data"]["result"].items();
  }
  std::vector<Json> rules(const std::string& type) {
    std::vector<Json> rules;
    for (const Json& group : Json::parse(get("/api/v1/rules"))["data"]["groups"].items()) {
      for (const Json& rule : group["rules"].items()) {
        if (rule["type"].text() == type) rules.push_back(rule);
      }
    }
    return rules;
  }
  std::set<std::string> firing() {
    std::set<std::string> names;
    for (const Json& alert : Json::parse(get("/api/v1/alerts"))["data"]["alerts"].items()) {
      if (alert["state"].text() == "firing") names.insert(alert["labels"]["alertname"].text());
    }
    return names;
  }
  bool fires(const std::string& alert) {
    return wait_until([&] { return firing().contains(alert); }, kNoticed);
  }

 private:
  TempDirectory directory_;
  std::unique_ptr<OutputCollector> output_;
  std::unique_ptr<ChildProcess> process_;
  uint16_t port_ = 0;
};

class Monitoring : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    accounts_ = std::make_unique<ScriptedServer>(ScriptedServer::Script::respond(200));
    bank_ = std::make_unique<Bank>("monitoring", Settings{{"ACCOUNT_SERVICE_URL", accounts_->url()}});
    monitor_ = std::make_unique<Monitor>(std::vector<uint16_t>{bank_->service().port()});
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(monitor_->stop(), ExitStatus{}) << "Ctrl-C ends it cleanly";
    monitor_.reset();
    bank_.reset();
    accounts_.reset();
  }

  static inline std::unique_ptr<ScriptedServer> accounts_;
  static inline std::unique_ptr<Bank> bank_;
  static inline std::unique_ptr<Monitor> monitor_;
};

struct Query {
  std::string where;
  std::string text;
};

// All queries of the dashboard, its variables filled in.
std::vector<Query> dashboard_queries() {
  std::vector<Query> queries;
  const Json dashboard = Json::parse(read_source("deploy/monitoring/dashboard.json"));
  for (const Json& panel : dashboard["panels"].items()) {
    if (panel["type"].text() == "row") continue;
    for (const Json& target : panel["targets"].items()) {
      const std::string text = replaced(target["expr"].text(), "$__rate_interval", "10s");
      queries.push_back({panel["title"].text(), replaced(text, "$job", "transactions-service")});
    }
  }
  return queries;
}

// What the script leaves for the node exporter, after an audit of these books.
MetricsText audit_metrics(Bank& bank, const std::string& directory) {
  std::vector<std::string> env{"PATH=/usr/bin:/bin"};
  for (const auto& [name, value] : bank.settings()) env.push_back(std::string(name).append("=").append(value));
  const std::string script = std::string(TXN_SOURCE_DIR) + "/deploy/monitoring/verify-ledger-textfile.sh";
  run_program({.argv = {script, directory, std::string(TXN_BINARY_DIR) + "/transactions-service"}, .env = env},
              Milliseconds(30'000));
  std::ifstream file(directory + "/transactions_ledger.prom");
  return MetricsText::parse(std::string{std::istreambuf_iterator<char>(file), {}});
}

TEST_F(Monitoring, EveryQueryIsUnderstoodAndAsksForWhatIsThere) {
  std::set<std::string> known{"up"};
  const MetricsText page = scrape(bank_->service().port());
  for (const MetricFamily& family : page.families()) {
    known.insert(family.name);
    if (family.type != "histogram") continue;
    for (const char* suffix : {"_bucket", "_sum", "_count"}) known.insert(family.name + suffix);
  }
  for (const Json& rule : monitor_->rules("recording")) known.insert(rule["name"].text());
  const TempDirectory directory;
  const MetricsText audit = audit_metrics(*bank_, directory.path());
  for (const MetricFamily& family : audit.families()) known.insert(family.name);
  known.insert(kBackupMetrics.begin(), kBackupMetrics.end());

  std::vector<Query> queries = dashboard_queries();
  EXPECT_GT(queries.size(), 40u);
  for (const char* type : {"recording", "alerting"}) {
    for (const Json& rule : monitor_->rules(type)) queries.push_back({rule["name"].text(), rule["query"].text()});
  }
  for (const Query& query : queries) {
    EXPECT_NO_THROW(monitor_->query(query.text)) << query.where;
    const std::set<std::string> names = metrics_in(query.text);
    EXPECT_FALSE(names.empty()) << query.text;
    for (const std::string& name : names) EXPECT_TRUE(known.contains(name)) << query.where << " asks for " << name;
  }
}

// With some traffic every panel has something to show, but for those about what has not happened.
TEST_F(Monitoring, EveryPanelHasSomethingToShow) {
  const std::set<std::string> may_be_empty{"Last backup", "Age of audit and backup"};
  const int64_t account = bank_->open_account();
  ApiClient client(bank_->service().port(), teller());
  const auto traffic = [&] {
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(client.post(kDeposits, deposit_body(account, "1.00")).status, 200);
      EXPECT_EQ(client.post(kDeposits, deposit_body(account, "-1")).status, 400);
      EXPECT_EQ(client.post(kDeposits, deposit_body(account, "1.00"), {{"Idempotency-Key", "again"}}).status, 200);
    }
  };
  std::set<std::string> empty;
  const auto all_show = [&] {
    traffic();
    empty.clear();
    for (const Query& query : dashboard_queries()) {
      const auto result = monitor_->query(query.text);
      if (result.empty() && !may_be_empty.contains(query.where)) empty.insert(query.where + ": " + query.text);
    }
    return empty.empty();
  };
  EXPECT_TRUE(wait_until(all_show, kNoticed)) << ::testing::PrintToString(empty);
  for (const char* file : {"dashboard.html", "dashboard.json"})
    EXPECT_EQ(monitor_->get(std::string("/user/") + file), read_source(std::string("deploy/monitoring/") + file));
}

TEST_F(Monitoring, EveryAlertSaysWhatToDoAndIsTestedBothWays) {
  const std::string runbook = read_source("docs/runbook.md");
  const std::string tests = read_source("tests/monitoring/alert-rules-test.yml");
  std::map<std::string, std::pair<int, int>> tested;  // firing, silent
  const std::regex test(R"(alertname: (\w+)\n\s+exp_alerts:( \[\])?)");
  for (std::sregex_iterator it(tests.begin(), tests.end(), test), end; it != end; ++it)
    ++((*it)[2].matched ? tested[(*it)[1]].second : tested[(*it)[1]].first);
  const auto alerts = monitor_->rules("alerting");
  EXPECT_GT(alerts.size(), 10u);
  for (const Json& alert : alerts) {
    const std::string name = alert["name"].text();
    std::string anchor = name;
    for (char& c : anchor) c = static_cast<char>(std::tolower(c));
    EXPECT_THAT(runbook, HasSubstr("\n## " + name + "\n"));
    EXPECT_EQ(alert["annotations"]["runbook"].text(), "docs/runbook.md#" + anchor);
    EXPECT_FALSE(alert["annotations"]["summary"].text().empty()) << name;
    EXPECT_FALSE(alert["annotations"]["description"].text().empty()) << name;
    EXPECT_TRUE(alert["labels"]["severity"].text() == "critical" || alert["labels"]["severity"].text() == "warning");
    EXPECT_GT(tested[name].first, 0) << name << " is not tested to fire";
    EXPECT_GT(tested[name].second, 0) << name << " is not tested to keep still";
  }
}

// Grafana is not at hand, so what its dashboards must have is checked here (its dashboard JSON model).
TEST_F(Monitoring, TheDashboardIsWellFormed) {
  const Json dashboard = Json::parse(read_source("deploy/monitoring/dashboard.json"));
  EXPECT_GE(dashboard["schemaVersion"].integer(), 36);
  EXPECT_FALSE(dashboard["uid"].text().empty());
  EXPECT_TRUE(dashboard["time"].has("from"));
  std::set<std::string> variables;
  for (const Json& variable : dashboard["templating"]["list"].items()) variables.insert(variable["name"].text());
  EXPECT_EQ(variables, (std::set<std::string>{"datasource", "job"}));
  std::set<int64_t> ids;
  std::set<std::pair<int64_t, int64_t>> cells;
  for (const Json& panel : dashboard["panels"].items()) {
    const std::string title = panel["title"].text();
    EXPECT_TRUE(ids.insert(panel["id"].integer()).second) << title;
    const Json place = panel["gridPos"];
    EXPECT_LE(place["x"].integer() + place["w"].integer(), 24) << title;
    for (int64_t x = 0; x < place["w"].integer(); ++x) {
      for (int64_t y = 0; y < place["h"].integer(); ++y)
        EXPECT_TRUE(cells.emplace(place["x"].integer() + x, place["y"].integer() + y).second) << title << " overlaps";
    }
    if (panel["type"].text() == "row") continue;
    EXPECT_TRUE(panel["type"].text() == "stat" || panel["type"].text() == "timeseries") << title;
    EXPECT_EQ(panel["datasource"]["uid"].text(), "${datasource}") << title;
    EXPECT_TRUE(panel["fieldConfig"]["defaults"].has("unit")) << title;
    EXPECT_GT(panel["fieldConfig"]["defaults"]["thresholds"]["steps"].size(), 0u) << title;
    std::set<std::string> references;
    for (const Json& target : panel["targets"].items())
      EXPECT_TRUE(references.insert(target["refId"].text()).second) << title;
    EXPECT_GT(references.size(), 0u) << title;
  }
}

TEST_F(Monitoring, TheAuditsResultIsLeftForTheNodeExporter) {
  const TempDirectory directory;
  const int64_t account = bank_->open_account();
  EXPECT_EQ(audit_metrics(*bank_, directory.path())["transactions_ledger_verify_ok"], 1);
  bank_->database().query("UPDATE accounts SET balance = balance + 1 WHERE account_number = " +
                          std::to_string(account));
  const MetricsText wrong = audit_metrics(*bank_, directory.path());
  EXPECT_EQ(wrong["transactions_ledger_verify_ok"], 0);
  EXPECT_EQ(wrong["transactions_ledger_verify_differences"], 1);
  EXPECT_GT(wrong["transactions_ledger_verify_timestamp_seconds"], 1.7e9);
  bank_->database().query("UPDATE accounts SET balance = balance - 1 WHERE account_number = " +
                          std::to_string(account));
  EXPECT_EQ(audit_metrics(*bank_, directory.path())["transactions_ledger_verify_ok"], 1);
  // Without a database there is no result, and the last one stays.
  Bank& bank = *bank_;
  postgres().stop(PrivatePostgres::StopMode::kFast);
  const MetricsText stale = audit_metrics(bank, directory.path());
  postgres().start();
  EXPECT_EQ(stale["transactions_ledger_verify_ok"], 1);
  for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
    EXPECT_EQ(entry.path().filename(), "transactions_ledger.prom") << "nothing half-written is left";
  EXPECT_TRUE(bank.service().wait_until_ready(kNoticed));
}

// The database and the accounts service go: /health, /metrics and the alerts say so within seconds, and take it back.
TEST_F(Monitoring, AFailingDependencyIsSeenEverywhereWithinSeconds) {
  ServiceProcess& service = bank_->service();
  ApiClient client(service.port());
  ASSERT_TRUE(wait_until([&] { return client.get("/health").json()["status"].text() == "healthy"; }, kNoticed));
  ASSERT_TRUE(wait_until(
      [&] {
        const auto now = monitor_->firing();
        return !now.contains("TransactionsDatabaseAway") && !now.contains("TransactionsAccountsServiceAway");
      },
      kNoticed));
  accounts_->stop();
  postgres().stop(PrivatePostgres::StopMode::kFast);

  EXPECT_TRUE(wait_until(
      [&] {
        const Json components = client.get("/health").json()["components"];
        return components["database"].text() != "healthy" && components["accounts_service"].text() != "healthy";
      },
      kNoticed));
  EXPECT_TRUE(wait_until(
      [&] {
        const MetricsText page = scrape(service.port());
        return page["database_up"] == 0 && page["accounts_service_up"] == 0;
      },
      kNoticed));
  EXPECT_TRUE(monitor_->fires("TransactionsDatabaseAway"));
  EXPECT_TRUE(monitor_->fires("TransactionsAccountsServiceAway"));

  postgres().start();
  accounts_->start();
  EXPECT_TRUE(wait_until([&] { return client.get("/health").json()["status"].text() == "healthy"; }, kNoticed));
  EXPECT_TRUE(wait_until(
      [&] {
        const auto now = monitor_->firing();
        return !now.contains("TransactionsDatabaseAway") && !now.contains("TransactionsAccountsServiceAway");
      },
      kNoticed));
}

}  // namespace
}  // namespace txn::test
