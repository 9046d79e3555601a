// Contract section 3.3, "Log lines": what they say, where they go, and what must never be in one.

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/kept_logs.h"

namespace txn::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr Milliseconds kLineTimeout{10'000};
constexpr const char* kTraceId = "4bf92f3577b34da6a3ce929d0e0e4736";

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// A database with the schema and accounts for a service of each test's own.
class LogContract : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { bank_ = std::make_unique<Bank>("logs"); }
  static void TearDownTestSuite() { bank_.reset(); }
  static Bank& bank() { return *bank_; }

  std::string log_file() const { return directory_.path() + "/app.json.log"; }
  Settings settings(const Settings& changes = {}) const {
    Settings all = bank().settings_with({{"LOG_DIR", directory_.path()}});
    for (const auto& [name, value] : changes) all[name] = value;
    return all;
  }

  // The line about a request.
  static std::optional<Json> line_about(ServiceProcess& service, const std::string& request_id) {
    std::optional<Json> found;
    wait_until(
        [&] {
          for (const std::string& text : service.log_lines()) {
            if (text.find(R"("request_id":")" + request_id + '"') == std::string::npos) continue;
            found = Json::parse(text);
            return true;
          }
          return false;
        },
        kLineTimeout);
    return found;
  }
  static int lines_about(const ServiceProcess& service, const std::string& request_id) {
    int count = 0;
    for (const std::string& text : service.log_lines()) count += text.find(request_id) != std::string::npos ? 1 : 0;
    return count;
  }
  // Everything up to now has been written: a request that always makes a line is the mark.
  static void wait_for_everything(ServiceProcess& service) {
    static int mark = 0;
    const std::string id = "mark-" + std::to_string(++mark);
    ApiClient(service.port()).post(kDeposits, "{}", {{"X-Request-ID", id}});
    EXPECT_TRUE(line_about(service, id).has_value());
  }

  TempDirectory directory_;

 private:
  static inline std::unique_ptr<Bank> bank_;
};

TEST_F(LogContract, EveryLineHasTheFieldsAndTheFileHasWhatStandardErrorHas) {
  std::string on_stderr;
  {
    ServiceProcess service(settings({{"ACCESS_LOG", "all"}}));
    const int64_t account = bank().open_account();
    ApiClient client(service.port(), customer());
    EXPECT_EQ(client.post(kDeposits, deposit_body(account, "1.00")).status, 200);
    EXPECT_EQ(client.get("/transaction-logs/" + std::to_string(account)).status, 200);
    EXPECT_EQ(client.get("/nowhere").status, 404);
    EXPECT_EQ(service.terminate(), ExitStatus{});
    on_stderr = service.log_text();
  }
  EXPECT_EQ(content(log_file()), on_stderr);
  std::set<std::string> loggers;
  for (const std::string& text : lines_of(on_stderr)) {
    ASSERT_TRUE(Json::valid(text)) << text;
    const Json line = Json::parse(text);
    EXPECT_TRUE(is_timestamp(line["timestamp"].text())) << text;
    EXPECT_EQ(line["service"].text(), "transactions-service");
    for (const char* name : {"level", "logger", "message", "module", "function"})
      EXPECT_FALSE(line[name].text().empty()) << name << " in " << text;
    EXPECT_GT(line["line"].integer(), 0);
    loggers.insert(line["logger"].text());
  }
  EXPECT_THAT(loggers, testing::IsSupersetOf({"app.serve", "audit", "access"}));

  // As the deployment guide checks it.
  SpawnOptions jq;
  jq.argv = {"/usr/bin/jq", "-e", ".timestamp and .level and .message", log_file()};
  const RunResult result = run_program(jq, Milliseconds(20'000));
  EXPECT_TRUE(result.ok()) << result;
}

TEST_F(LogContract, TheAuditSaysWhoMovedWhatAndHowItEnded) {
  ServiceProcess service(settings());
  const auto accounts = bank().open_accounts({{.owner_id = 7, .balance = "100.00"}, {.owner_id = 8}});
  ApiClient client(service.port(), customer(7));

  const HttpResponse done = client.post(
      kTransfers, transfer_body(accounts[0], accounts[1], "12.50", R"(,"transfer_mode":"UPI","description":"rent")"),
      {{"X-Request-ID", "transfer-1"}, {"traceparent", std::string("00-") + kTraceId + "-00f067aa0ba902b7-01"}});
  ASSERT_EQ(done.status, 200) << done;
  const auto transfer = line_about(service, "transfer-1");
  ASSERT_TRUE(transfer.has_value());
  EXPECT_EQ((*transfer)["logger"].text(), "audit");
  EXPECT_EQ((*transfer)["level"].text(), "INFO");
  EXPECT_EQ((*transfer)["trace_id"].text(), kTraceId);
  EXPECT_EQ((*transfer)["outcome"].text(), "success");
  EXPECT_EQ((*transfer)["transaction_id"].scalar(), done.json()["transaction_id"].scalar());
  EXPECT_EQ((*transfer)["transaction_type"].text(), "TRANSFER");
  EXPECT_EQ((*transfer)["account_number"].integer(), accounts[0]);
  EXPECT_EQ((*transfer)["to_account"].integer(), accounts[1]);
  EXPECT_EQ((*transfer)["transfer_mode"].text(), "UPI");
  EXPECT_EQ(raw_token(transfer->dump(), "amount"), "12.5");  // the line itself has two decimals:
  EXPECT_THAT(service.log_text(), HasSubstr(R"("amount":12.50,)"));
  EXPECT_EQ((*transfer)["subject"].integer(), 7);
  EXPECT_EQ((*transfer)["role"].text(), "CUSTOMER");
  EXPECT_EQ((*transfer)["client_address"].text(), "127.0.0.1");
  EXPECT_EQ((*transfer)["status"].integer(), 200);
  EXPECT_FALSE((*transfer)["replayed"].boolean());
  EXPECT_TRUE((*transfer)["duration_ms"].is_number());
  EXPECT_FALSE(transfer->has("error_code"));
  EXPECT_FALSE(transfer->has("description"));

  const HttpResponse poor = client.post(kWithdrawals, deposit_body(accounts[0], "1000"), {{"X-Request-ID", "poor"}});
  EXPECT_EQ(poor.error_code(), "INSUFFICIENT_FUNDS");
  const auto refused = line_about(service, "poor");
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ((*refused)["outcome"].text(), "refused");
  EXPECT_EQ((*refused)["error_code"].text(), "INSUFFICIENT_FUNDS");
  EXPECT_EQ((*refused)["status"].integer(), 400);
  EXPECT_EQ((*refused)["account_number"].integer(), accounts[0]);
  EXPECT_FALSE(refused->has("transaction_id"));
  EXPECT_EQ(lines_about(service, "poor"), 1);
}

TEST_F(LogContract, RequestsRefusedBeforeTheyReachedTheBooksAreInTheAuditToo) {
  ServiceProcess service(settings());
  const int64_t account = bank().open_account();
  const std::string body = deposit_body(account, "1.00");
  struct Case {
    const char* id;
    std::string token;
    std::string body;
    Headers headers;
    int status;
    const char* error_code;
  };
  for (const Case& c : {Case{"no-token", "", body, {}, 403, "NOT_AUTHENTICATED"},
                        Case{"bad-token", "not.a.token", body, {}, 401, "INVALID_TOKEN"},
                        Case{"wrong-role", admin(), body, {}, 403, "FORBIDDEN"},
                        Case{"not-json", customer(), "{", {}, 400, "MALFORMED_JSON"},
                        Case{"no-amount", customer(), R"({"account_number":1})", {}, 422, "VALIDATION_ERROR"},
                        Case{"no-money", customer(), deposit_body(account, "0"), {}, 400, "INVALID_AMOUNT"},
                        Case{"bad-key", customer(), body, {{"Idempotency-Key", ""}}, 422, "VALIDATION_ERROR"}}) {
    Headers headers = c.headers;
    headers.emplace_back("X-Request-ID", c.id);
    const HttpResponse response = ApiClient(service.port(), c.token).post(kDeposits, c.body, headers);
    EXPECT_EQ(response.status, c.status) << response;
    const auto line = line_about(service, c.id);
    ASSERT_TRUE(line.has_value()) << c.id;
    EXPECT_EQ((*line)["logger"].text(), "audit");
    EXPECT_EQ((*line)["outcome"].text(), "refused");
    EXPECT_EQ((*line)["error_code"].text(), c.error_code);
    EXPECT_EQ((*line)["route"].text(), kDeposits);
    EXPECT_EQ((*line)["status"].integer(), c.status);
  }
}

TEST_F(LogContract, AReplayIsMarkedAndNamesTheFirstTransaction) {
  ServiceProcess service(settings());
  const int64_t account = bank().open_account();
  ApiClient client(service.port(), customer());
  const std::string body = deposit_body(account, "3.00");
  const HttpResponse first = client.post(kDeposits, body, {{"Idempotency-Key", "k1"}, {"X-Request-ID", "first"}});
  const HttpResponse again = client.post(kDeposits, body, {{"Idempotency-Key", "k1"}, {"X-Request-ID", "again"}});
  ASSERT_EQ(first.status, 200);
  ASSERT_EQ(again.body, first.body);
  const auto line = line_about(service, "again");
  ASSERT_TRUE(line.has_value());
  EXPECT_TRUE((*line)["replayed"].boolean());
  EXPECT_EQ((*line)["outcome"].text(), "success");
  EXPECT_EQ((*line)["transaction_id"].scalar(), first.json()["transaction_id"].scalar());
  EXPECT_FALSE((*line_about(service, "first"))["replayed"].boolean());
}

TEST_F(LogContract, AccessLinesAsConfigured) {
  struct Case {
    const char* setting;
    int good;  // lines about ten good requests
    int bad;   // and about one bad one
  };
  for (const Case& c : {Case{"none", 0, 0}, Case{"errors", 0, 1}, Case{"sample:5", 2, 1}, Case{"all", 10, 1}}) {
    ServiceProcess service(settings({{"ACCESS_LOG", c.setting}, {"WORKERS", "1"}}));
    wait_for_everything(service);  // readiness has been asked for until here
    ApiClient client(service.port(), teller());
    for (int i = 0; i < 10; ++i)
      EXPECT_EQ(client.get("/api/v1/transfer-limits/rules/all", {{"X-Request-ID", "good-" + std::to_string(i)}}).status,
                200);
    EXPECT_EQ(client.get("/transaction-logs/77?token=abc", {{"X-Request-ID", "bad"}}).status, 422);
    wait_for_everything(service);
    EXPECT_EQ(lines_about(service, R"("request_id":"good-)"), c.good) << c.setting;
    EXPECT_EQ(lines_about(service, R"("request_id":"bad")"), c.bad) << c.setting;
    if (c.bad == 0) continue;
    const auto line = line_about(service, "bad");
    EXPECT_EQ((*line)["logger"].text(), "access");
    EXPECT_EQ((*line)["method"].text(), "GET");
    EXPECT_EQ((*line)["route"].text(), "/transaction-logs/{account_number}");
    EXPECT_EQ((*line)["status"].integer(), 422);
    EXPECT_EQ((*line)["subject"].integer(), 9001);
  }
}

// Where error_code is one word for many things, the line says which of them it was.
TEST_F(LogContract, ALineSaysWhyARequestWasRefused) {
  ServiceProcess service(settings());
  RawClient(service.port()).exchange("GET /livez HTTP/1.1\r\nX-Request-ID: no-host\r\n\r\n");
  RawClient(service.port())
      .exchange(
          "POST /livez HTTP/1.1\r\nHost: a\r\nX-Request-ID: two-lengths\r\nContent-Length: 1\r\n"
          "Transfer-Encoding: chunked\r\n\r\n");
  ApiClient client(service.port(), customer());
  client.request("FOO", "/livez", {{"X-Request-ID", "foo"}});
  client.post(kDeposits, "{\"a\":1,\"a\":2}", {{"X-Request-ID", "twice"}});
  client.post(kDeposits, "[]", {{"X-Request-ID", "array"}});
  const std::pair<const char*, const char*> reasons[] = {
      {"no-host", "A request of HTTP/1.1 without Host"},
      {"two-lengths", "Content-Length and Transfer-Encoding together"},
      {"foo", "an unknown method"},
      {"twice", "The JSON object in the request body has a key twice"},
      {"array", "The request body is not a JSON object"},
  };
  for (const auto& [id, reason] : reasons) {
    const auto line = line_about(service, id);
    ASSERT_TRUE(line.has_value()) << id;
    EXPECT_EQ((*line)["reason"].text(), reason) << id;
  }
}

TEST_F(LogContract, TraceIdsAreTheCallersWhenTheyAreValidAndNewOnesOtherwise) {
  ServiceProcess service(settings());
  ApiClient client(service.port(), customer());
  const std::string good = std::string("00-") + kTraceId + "-00f067aa0ba902b7-00";
  std::set<std::string> ids;
  int number = 0;
  const auto trace_id_for = [&](const Headers& headers) {
    const std::string id = "trace-" + std::to_string(++number);
    Headers all = headers;
    all.emplace_back("X-Request-ID", id);
    client.post(kDeposits, "{}", all);
    const auto line = line_about(service, id);
    return line ? (*line)["trace_id"].text() : "(no line)";
  };
  EXPECT_EQ(trace_id_for({{"traceparent", good}}), kTraceId);
  for (const Headers& headers :
       {Headers{}, Headers{{"traceparent", "00-" + std::string(32, '0') + good.substr(35)}},
        Headers{{"traceparent", good + "-extra"}}, Headers{{"traceparent", good}, {"traceparent", good}}}) {
    const std::string id = trace_id_for(headers);
    EXPECT_THAT(id, testing::MatchesRegex("[0-9a-f]{32}"));
    EXPECT_NE(id, kTraceId);
    EXPECT_TRUE(ids.insert(id).second) << "an id was given twice";
  }
}

TEST_F(LogContract, SighupChangesTheLevelAndReopensTheFile) {
  const std::string config = directory_.path() + "/service.conf";
  std::ofstream(config) << "LOG_LEVEL=INFO\n";
  ServiceProcess service(settings(), {.args = {"serve", "--config", config}});
  const auto audit_line_of = [&](const std::string& id) {
    ApiClient(service.port(), customer()).post(kDeposits, "{}", {{"X-Request-ID", id}});
  };
  audit_line_of("before");
  ASSERT_TRUE(line_about(service, "before").has_value());
  fs::rename(log_file(), directory_.path() + "/moved-away");  // as logrotate does
  service.send_signal(SIGHUP);
  ASSERT_TRUE(
      wait_until([&] { return service.log_text().find("settings read again") != std::string::npos; }, kLineTimeout));
  audit_line_of("after");
  ASSERT_TRUE(line_about(service, "after").has_value());
  ASSERT_TRUE(wait_until([&] { return content(log_file()).find("after") != std::string::npos; }, kLineTimeout));
  EXPECT_THAT(content(directory_.path() + "/moved-away"), Not(HasSubstr(R"("request_id":"after")")));

  // ERROR: neither the audit's lines nor the news of the change itself. Back to INFO: both.
  std::ofstream(config) << "LOG_LEVEL=ERROR\n";
  service.send_signal(SIGHUP);
  audit_line_of("silent-probe");
  ASSERT_TRUE(wait_until(
      [&] {
        static int probe = 0;
        const std::string id = "probe-" + std::to_string(++probe);
        audit_line_of(id);
        std::this_thread::sleep_for(Milliseconds(30));
        return lines_about(service, id) == 0;
      },
      kLineTimeout));
  audit_line_of("silent");
  std::ofstream(config) << "LOG_LEVEL=info\n";
  service.send_signal(SIGHUP);
  const auto count_of_news = [&] { return lines_about(service, "settings read again"); };
  ASSERT_TRUE(wait_until([&] { return count_of_news() == 2; }, kLineTimeout));
  wait_for_everything(service);
  EXPECT_EQ(lines_about(service, R"("request_id":"silent")"), 0);

  // What cannot be read changes nothing.
  std::ofstream(config) << "LOG_LEVEL=LOUD\n";
  service.send_signal(SIGHUP);
  ASSERT_TRUE(
      wait_until([&] { return service.log_text().find("nothing has changed") != std::string::npos; }, kLineTimeout));
  wait_for_everything(service);
}

TEST_F(LogContract, ALogDirectoryThatCannotBeMadeIsSaidAndServedWithout) {
  const std::string in_the_way = directory_.write("file", "");
  ServiceProcess service(settings({{"LOG_DIR", in_the_way + "/logs"}}));
  wait_for_everything(service);
  EXPECT_EQ(lines_about(service, "The log file cannot be written"), 1);
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(LogContract, WithoutADirectoryThereIsNoFile) {
  ServiceProcess service(settings({{"LOG_DIR", "none"}}));
  wait_for_everything(service);
  EXPECT_EQ(lines_about(service, "cannot be written"), 0);
  EXPECT_FALSE(fs::exists(log_file()));
}

TEST_F(LogContract, TheFileIsRotatedUnderLoadWithoutLosingALine) {
  std::string on_stderr;
  {
    ServiceProcess service(settings({{"LOG_MAX_BYTES", "64KiB"}, {"LOG_BACKUP_COUNT", "100"}}));
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i)
      clients.emplace_back([port = service.port()] {
        ApiClient client(port, customer());
        for (int j = 0; j < 200; ++j) client.post(kDeposits, "{}");
      });
    for (auto& client : clients) client.join();
    EXPECT_EQ(service.terminate(), ExitStatus{});
    on_stderr = service.log_text();
  }
  std::string in_files;
  int files = 0;
  for (int number = 100; number >= 0; --number) {
    const std::string text = content(log_file() + (number == 0 ? "" : "." + std::to_string(number)));
    EXPECT_LE(text.size(), size_t{64} << 10);
    files += text.empty() ? 0 : 1;
    in_files += text;
  }
  EXPECT_GT(files, 3);
  EXPECT_EQ(in_files, on_stderr);
}

// Whoever started the service does not read its standard error: it serves, logs to the file, and ends when told to.
TEST_F(LogContract, AStandardErrorThatNobodyReadsStopsNothing) {
  Pipe unread = Pipe::create();
  SpawnOptions spawn;
  spawn.argv = {service_binary(), "serve"};
  spawn.stderr_fd = unread.write_end.get();
  for (const auto& [name, value] : settings({{"ACCESS_LOG", "all"}})) spawn.env.push_back(name + "=" + value);
  ChildProcess process(spawn);
  unread.write_end.reset();
  uint16_t port = 0;
  ASSERT_TRUE(wait_until(
      [&] {
        const std::string token = raw_token(content(log_file()), "port");
        if (token.front() != '(') port = static_cast<uint16_t>(std::stoi(token));
        return port != 0;
      },
      Milliseconds(30'000)));

  constexpr int kClients = 4;
  constexpr int kEach = 1000;  // some 1.6 MB of lines, more than the pipe and what waits for it hold
  std::vector<std::thread> clients;
  std::atomic<int> answered{0};
  for (int i = 0; i < kClients; ++i)
    clients.emplace_back([&] {
      ApiClient client(port, customer());
      for (int j = 0; j < kEach; ++j) answered += client.post(kDeposits, "{}").status == 422 ? 1 : 0;
    });
  for (auto& client : clients) client.join();
  EXPECT_EQ(answered.load(), kClients * kEach);
  process.send_signal(SIGTERM);
  EXPECT_EQ(process.wait_for(Milliseconds(30'000)), ExitStatus{});
  WrittenLog written{.name = "serve", .secrets = secrets_of(settings(), {})};
  add_log_files(written, directory_.path());
  keep(written);
  const std::string text = content(log_file());
  EXPECT_EQ(raw_tokens(text, "logger").size(), lines_of(text).size());
  EXPECT_GE(lines_of(text).size(), size_t{kClients} * kEach);
  EXPECT_THAT(text, HasSubstr("Log lines were dropped"));
}

// What is secret, sent in every place that a client could think of.
TEST_F(LogContract, NoPinTokenOrPasswordIsEverLogged) {
  constexpr const char* kPin = "739184";
  constexpr const char* kWrongPin = "518263";
  const std::string password = "database-password-of-this-test";
  const std::string role = "logs_" + bank().database().name();
  bank().database().query("CREATE ROLE \"" + role + "\" SUPERUSER LOGIN PASSWORD '" + password + "'");
  const std::string token = customer(5);
  const std::string signature = token.substr(token.rfind('.') + 1);
  std::string text;
  {
    ServiceProcess service(settings(
        {{"ACCESS_LOG", "all"},
         {"LOG_LEVEL", "DEBUG"},
         {"DATABASE_URL", bank().database().conninfo() + " user='" + role + "' password='" + password + "'"}}));
    const int64_t account = bank().open_account({.owner_id = 5, .pin = kPin});
    ApiClient client(service.port(), token);
    const auto pin = [](const char* digits) { return std::string(R"(,"pin":")") + digits + '"'; };
    EXPECT_EQ(client.post(kWithdrawals, deposit_body(account, "1.00", pin(kPin))).status, 200);
    EXPECT_EQ(client.post(kWithdrawals, deposit_body(account, "1.00", pin(kWrongPin))).error_code(), "INVALID_PIN");
    client.post(kWithdrawals, deposit_body(account, "1.00", pin(kPin) + R"(,"unknown":1)"));
    client.post(kWithdrawals, deposit_body(account, "1.00", pin(kPin)) + "}");
    client.post(kWithdrawals, deposit_body(account, "1.00", pin(kPin) + pin(kPin)));
    client.post(kDeposits, deposit_body(account, "1.00", pin(kPin)));
    client.post(kWithdrawals, deposit_body(account, kPin + std::string("0000"), pin(kPin)));
    client.post(kWithdrawals, deposit_body(account, "1.00", R"(,"description":")" + token + R"(")"));
    client.post(kWithdrawals, deposit_body(account, "1.00", pin("739184000")));
    client.get("/transaction-logs/" + token);
    client.get("/" + token);
    client.get("/health?access_token=" + token);
    client.get("/health?pin=" + std::string(kPin));
    client.get("/health", {{"Cookie", token}, {"Referer", "https://bank.example/?token=" + token}});
    client.get("/health", {{"X-Request-ID", "fine"}, {"traceparent", token}, {"tracestate", "a=" + signature}});
    client.post(kDeposits, deposit_body(account, "1.00"), {{"Idempotency-Key", token.substr(0, 250)}});
    ApiClient(service.port(), token + "x").get("/api/v1/transfer-limits/rules/all");
    RawClient raw(service.port());
    raw.exchange("GET /" + token + " HTTP/9.9\r\nAuthorization: Bearer " + token + "\r\n\r\n");
    EXPECT_EQ(service.terminate(), ExitStatus{});
    text = service.log_text() + content(log_file());
  }
  for (const std::string& secret :
       {std::string(kPin), std::string(kWrongPin), signature, token.substr(0, 40), password, std::string(kJwtKey)})
    EXPECT_THAT(text, Not(HasSubstr(secret)));
  EXPECT_GT(lines_of(text).size(), 30u);
}

}  // namespace
}  // namespace txn::test
