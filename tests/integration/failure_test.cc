// What must stay true when things break: connections cut, PostgreSQL going away in several ways, the service told to
// stop or killed. The clients keep on working through all of it and remember every answer; the audit afterwards holds
// the answers against the books.

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <sstream>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/integration/load.h"
#include "tests/support/sanitized.h"

namespace txn::test {
namespace {

using ::testing::IsEmpty;
using StopMode = PrivatePostgres::StopMode;

constexpr Milliseconds kLoadTimeout{30'000};
constexpr Milliseconds kRecoveryTimeout{30'000};
constexpr Milliseconds kDrainTimeout{30'000};  // the contract's bound for a graceful stop
constexpr int kClients = 16;

class Failure : public ::testing::Test {
 protected:
  static constexpr const char* kOpening = "1000.00";

  void SetUp() override {
    // Short, so that a test need not wait for the default of 30 s.
    bank_ = std::make_unique<Bank>("failure", Settings{{"DATABASE_COMMAND_TIMEOUT", "3"}});
    bank_->database().query("UPDATE transfer_limits SET daily_limit = 9999999999.99, transaction_limit = 1000000");
    accounts_ = bank_->open_accounts(std::vector<AccountSpec>(5, {.balance = kOpening}));
    for (const int64_t account : accounts_) openings_[account] = kOpening;
  }
  void TearDown() override {
    EXPECT_TRUE(bank_->ledger_verifies());
    bank_.reset();
  }

  Bank& bank() { return *bank_; }
  uint16_t port() { return bank_->service().port(); }
  LoadOptions load_options() { return {.ports = {port()}, .accounts = accounts_, .clients = kClients, .seed = 7}; }
  const std::vector<int64_t>& accounts() const { return accounts_; }
  const std::map<int64_t, std::string>& openings() const { return openings_; }

 private:
  std::unique_ptr<Bank> bank_;
  std::vector<int64_t> accounts_;
  std::map<int64_t, std::string> openings_;
};

std::map<std::string, int> tally(const std::vector<Attempt>& attempts) {
  std::map<std::string, int> answers;
  for (const Attempt& attempt : attempts) ++answers[std::to_string(attempt.status) + " " + attempt.error];
  return answers;
}

// User and system time of a process so far.
double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;  // to utime, field 14 of proc(5)
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// --- Connections -----------------------------------------------------------------------------------------------------

TEST_F(Failure, HalfARequestIsNoRequest) {
  Load load(load_options());
  const std::string bytes =
      format_request("POST", kDeposits, {{"Authorization", "Bearer " + teller()}, {"Content-Type", "application/json"}},
                     deposit_body(accounts()[0], "1.00", R"(,"description":"never asked for to the end")"));
  for (size_t i = 0; i < 200; ++i) {
    RawClient client(port());
    client.send(bytes.substr(0, bytes.size() - 1 - i % 100));
    if (i % 2 == 0) client.reset();
  }
  EXPECT_TRUE(load.wait_for_successes(100, kLoadTimeout));
  const auto attempts = load.stop();
  EXPECT_THAT(audit(bank(), port(), openings(), attempts, {.answers_may_be_lost = false}), IsEmpty());
}

TEST_F(Failure, ARequestWhoseClientHasGoneIsAppliedOnceOrNotAtAll) {
  Load load(load_options());
  std::vector<Attempt> abandoned;
  for (int i = 0; i < 200; ++i) {
    Attempt attempt{.kind = Kind::kDeposit, .account = accounts()[0], .amount = 100 + i};
    attempt.description = "abandoned-" + std::to_string(i);
    attempt.error = "gone before the answer";
    RawClient client(port());
    client.send(format_request(
        "POST", kDeposits, {{"Authorization", "Bearer " + teller()}, {"Content-Type", "application/json"}},
        deposit_body(attempt.account, from_minor(attempt.amount), ",\"description\":\"" + attempt.description + "\"")));
    if (i % 2 == 0) client.reset();
    abandoned.push_back(std::move(attempt));
  }
  EXPECT_TRUE(load.wait_for_successes(100, kLoadTimeout));
  auto attempts = load.stop();
  attempts.insert(attempts.end(), abandoned.begin(), abandoned.end());
  // What is in flight is finished before it ends, so afterwards nothing moves any more.
  EXPECT_EQ(bank().service().terminate(), ExitStatus{});
  bank().stop_service();
  EXPECT_THAT(audit(bank(), port(), openings(), attempts), IsEmpty());
}

// Descriptors run out: those who are in are served, everybody else is told to come again, nothing spins, and when some
// leave others may come.
TEST_F(Failure, RunningOutOfDescriptorsPasses) {
  if (kAddressSanitized) GTEST_SKIP() << "UBSan asks a pipe whether memory can be read, and takes no descriptor for no";
  constexpr size_t kOpenFiles = 120;
  ServiceProcess service(bank().settings(), {.max_open_files = static_cast<int>(kOpenFiles)});
  const std::string request = format_request("GET", "/livez");
  RawClient first(service.port());
  ASSERT_EQ(first.exchange(request).status, 200);
  std::vector<RawClient> idle;
  while (idle.size() < 2 * kOpenFiles) idle.emplace_back(service.port());
  // Whoever comes now does not wait for one of them to go.
  const auto is_refused = [&] {
    const HttpResponse answer = RawClient(service.port()).exchange(request);
    EXPECT_TRUE(answer.status == 503 || answer.error == "closed" || answer.error == "reset") << answer;
    return answer.status == 503;
  };
  // Without a word at first: those who are being refused say nothing either, until their time for a request is over.
  EXPECT_TRUE(wait_until(is_refused, Milliseconds(15'000)));

  const double before = cpu_seconds(service.pid());
  std::this_thread::sleep_for(Milliseconds(1'000));
  EXPECT_LT(cpu_seconds(service.pid()) - before, 0.5) << "busy with nothing";

  EXPECT_EQ(first.exchange(request).status, 200);
  idle.clear();
  EXPECT_TRUE(
      wait_until([&] { return RawClient(service.port()).exchange(request).status == 200; }, Milliseconds(10'000)));
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

// --- PostgreSQL ------------------------------------------------------------------------------------------------------

struct Outage {
  const char* name;
  void (*begin)();
  void (*end)();
};

void PrintTo(const Outage& outage, std::ostream* out) { *out << outage.name; }

class DatabaseOutage : public Failure, public ::testing::WithParamInterface<Outage> {};

TEST_P(DatabaseOutage, IsToldAndSurvived) {
  Load load(load_options());
  ASSERT_TRUE(load.wait_for_successes(200, kLoadTimeout));
  ServiceProcess& service = bank().service();

  GetParam().begin();
  // While it is away: probes say so, requests are refused at once and can be retried, the process lives.
  EXPECT_TRUE(wait_until([&] { return !service.ready(); }, kRecoveryTimeout));
  ApiClient client(port(), teller());
  const HttpResponse probe = client.get("/readyz");
  EXPECT_EQ(probe.status, 503);
  EXPECT_TRUE(has_common_headers(probe));
  EXPECT_EQ(client.get("/livez").status, 200);
  const HttpResponse health = client.get("/health");
  ASSERT_TRUE(is_json(health));
  EXPECT_EQ(health.json()["status"].text(), "degraded");
  EXPECT_NE(health.json()["components"]["database"].text(), "healthy");
  for (const HttpResponse& refused :
       {client.post(kDeposits, deposit_body(accounts()[0], "1", R"(,"description":"refused")")),
        client.get("/transaction-logs/" + std::to_string(accounts()[0]))}) {
    EXPECT_TRUE(is_problem(refused, 503, "SERVICE_UNAVAILABLE"));
    EXPECT_TRUE(refused.has("Retry-After")) << refused;
  }
  GetParam().end();

  // It comes back by itself, for everybody.
  EXPECT_TRUE(service.wait_until_ready(kRecoveryTimeout));
  EXPECT_TRUE(load.wait_for_successes(200, kRecoveryTimeout));
  EXPECT_TRUE(wait_until([&] { return client.get("/health").json()["status"].text() == "healthy"; }, kRecoveryTimeout));
  const auto attempts = load.stop();
  for (const auto& [answer, count] : tally(attempts)) {
    EXPECT_TRUE(answer == "200 " || answer == "400 INSUFFICIENT_FUNDS" || answer == "404 ACCOUNT_NOT_FOUND" ||
                answer == "503 SERVICE_UNAVAILABLE" || answer == "504 OUTCOME_UNKNOWN")
        << answer << ", " << count << " times";
  }
  EXPECT_THAT(audit(bank(), port(), openings(), attempts, {.answers_may_be_lost = false}), IsEmpty());
  EXPECT_TRUE(service.running());
}

INSTANTIATE_TEST_SUITE_P(
    Every, DatabaseOutage,
    ::testing::Values(Outage{"FastStop", [] { postgres().stop(StopMode::kFast); }, [] { postgres().start(); }},
                      Outage{"ImmediateStop", [] { postgres().stop(StopMode::kImmediate); },
                             [] { postgres().start(); }},
                      Outage{"KilledPostmaster", [] { postgres().kill_postmaster(); }, [] { postgres().start(); }}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST_F(Failure, AFrozenDatabaseIsWaitedForNoLongerThanConfigured) {
  Load load(load_options());
  ASSERT_TRUE(load.wait_for_successes(200, kLoadTimeout));
  postgres().freeze();
  // 3 s are configured; the answers of all clients in hand must come, one way or the other.
  EXPECT_TRUE(
      wait_until([&] { return load.answers_with(503) + load.answers_with(504) >= kClients; }, kRecoveryTimeout));
  EXPECT_EQ(ApiClient(port()).get("/livez").status, 200);
  postgres().thaw();
  EXPECT_TRUE(load.wait_for_successes(200, kRecoveryTimeout));
  const auto attempts = load.stop();
  EXPECT_THAT(audit(bank(), port(), openings(), attempts, {.answers_may_be_lost = false}), IsEmpty());
}

// One operation is stuck in the frozen database and one waits behind it; whoever comes next need not wait to be told.
void expect_refusal_behind_a_stuck_operation(Bank& bank, int64_t account, const Settings& limit, Milliseconds before) {
  Settings settings = bank.settings_with(limit);
  settings["RATE_LIMIT_ENABLED"] = "true";
  settings["RATE_LIMIT_DEPOSITS"] = "4/hour";
  ServiceProcess service(settings);
  postgres().freeze();
  std::vector<std::future<HttpResponse>> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(std::async(std::launch::async, [&] {
      return ApiClient(service.port(), teller()).post(kDeposits, deposit_body(account, "1"));
    }));
    std::this_thread::sleep_for(Milliseconds(100));
  }
  std::this_thread::sleep_for(before);
  const HttpResponse refused = ApiClient(service.port(), teller()).post(kDeposits, deposit_body(account, "10"));
  const HttpResponse without_token = ApiClient(service.port()).post(kDeposits, deposit_body(account, "10"));
  const HttpResponse health = ApiClient(service.port()).get("/livez");
  for (auto& answer : waiting) EXPECT_EQ(answer.wait_for(Milliseconds(0)), std::future_status::timeout);
  postgres().thaw();
  EXPECT_TRUE(is_problem(refused, 503, "SERVICE_UNAVAILABLE"));
  EXPECT_EQ(refused.header("Retry-After"), "1");
  EXPECT_TRUE(is_problem(without_token, 503, "SERVICE_UNAVAILABLE")) << "before a token is looked at";
  EXPECT_EQ(health.status, 200);
  for (const HttpResponse& one : {refused, without_token})
    EXPECT_EQ(one.header("X-RateLimit-Remaining"), "2") << "told, and not counted";
  for (auto& answer : waiting) EXPECT_EQ(answer.get().status, 200);
  const HttpResponse later = ApiClient(service.port(), teller()).post(kDeposits, deposit_body(account, "1"));
  EXPECT_EQ(later.status, 200) << "it passes";
  EXPECT_EQ(later.header("X-RateLimit-Remaining"), "1");
}

TEST_F(Failure, AFullQueueRefusesAtOnce) {
  expect_refusal_behind_a_stuck_operation(
      bank(), accounts()[0], {{"WORKERS", "1"}, {"LEDGER_QUEUE_MAX", "1"}, {"LEDGER_QUEUE_DELAY_MAX", "60s"}},
      Milliseconds(0));
  EXPECT_EQ(bank().balance(accounts()[0]), "1003.00");
}

TEST_F(Failure, ASlowQueueRefusesAtOnce) {
  expect_refusal_behind_a_stuck_operation(bank(), accounts()[1], {{"WORKERS", "1"}}, Milliseconds(400));
  EXPECT_EQ(bank().balance(accounts()[1]), "1003.00");
}

TEST_F(Failure, BackendsThatAreTerminatedAreReplaced) {
  Load load(load_options());
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(load.wait_for_successes(100, kLoadTimeout)) << round;
    bank().database().query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
        "pid <> pg_backend_pid()");
  }
  EXPECT_TRUE(load.wait_for_successes(100, kLoadTimeout));
  const auto attempts = load.stop();
  EXPECT_THAT(audit(bank(), port(), openings(), attempts, {.answers_may_be_lost = false}), IsEmpty());
}

TEST_F(Failure, TheDatabaseMayComeAfterTheService) {
  postgres().stop(StopMode::kFast);
  ServiceProcess early(bank().settings(), {.wait_for_readiness = false});
  EXPECT_FALSE(early.ready());
  ApiClient client(early.port(), teller());
  EXPECT_TRUE(is_problem(client.post(kDeposits, deposit_body(accounts()[0], "1")), 503, "SERVICE_UNAVAILABLE"));
  postgres().start();
  EXPECT_TRUE(early.wait_until_ready(kRecoveryTimeout));
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(accounts()[0], "1"))));
  EXPECT_EQ(bank().balance(accounts()[0]), "1001.00");
  client.disconnect();
  EXPECT_EQ(early.terminate(), ExitStatus{});
}

TEST_F(Failure, AShortRestartIsAllThatAClientNotices) {
  Load load(load_options());
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(load.wait_for_successes(200, kLoadTimeout));
    postgres().restart(StopMode::kFast);
  }
  EXPECT_TRUE(load.wait_for_successes(200, kRecoveryTimeout));
  const auto attempts = load.stop();
  EXPECT_THAT(audit(bank(), port(), openings(), attempts, {.answers_may_be_lost = false}), IsEmpty());
}

// --- The service -----------------------------------------------------------------------------------------------------

TEST_F(Failure, SigtermUnderLoadLosesNothing) {
  for (int round = 0; round < 3; ++round) {
    LoadOptions options = load_options();
    options.clients = 32;
    options.seed = static_cast<uint32_t>(100 + round);
    const auto fresh = bank().open_accounts(std::vector<AccountSpec>(5, {.balance = kOpening}));
    std::map<int64_t, std::string> fresh_openings;
    for (const int64_t account : fresh) fresh_openings[account] = kOpening;
    options.accounts = fresh;

    Load load(options);
    ASSERT_TRUE(load.wait_for_successes(300, kLoadTimeout));
    EXPECT_EQ(bank().service().terminate(kDrainTimeout), ExitStatus{});
    const auto attempts = load.stop();
    bank().stop_service();
    // Nothing in the books without an answer that says so: what was in flight was finished and answered.
    EXPECT_THAT(audit(bank(), port(), fresh_openings, attempts, {.answers_may_be_lost = false}), IsEmpty());
  }
}

TEST_F(Failure, SigtermFinishesARequestThatIsUnderWay) {
  RawClient client(port());
  const std::string bytes =
      format_request("POST", kDeposits, {{"Authorization", "Bearer " + teller()}, {"Content-Type", "application/json"}},
                     deposit_body(accounts()[0], "1.00"));
  // Ten requests, and the signal before any answer has been read.
  std::string ten;
  for (int i = 0; i < 10; ++i) ten += bytes;
  ASSERT_TRUE(client.send(ten));
  bank().service().send_signal(SIGTERM);
  int answered = 0;
  for (HttpResponse response = client.read_response(); response.status != 0; response = client.read_response()) {
    EXPECT_TRUE(response.status == 200 || response.status == 503) << response;
    if (response.status == 200) ++answered;
  }
  EXPECT_EQ(client.wait_for_ending(Milliseconds(1'000)), RawClient::Ending::kEndOfStream) << "no reset over answers";
  client.close();
  EXPECT_EQ(bank().service().wait_for_exit(kDrainTimeout), ExitStatus{});
  EXPECT_EQ(bank().balance(accounts()[0]), from_minor(100'000 + 100 * answered));
}

TEST_F(Failure, KilledServiceHasKeptItsWord) {
  Load load(load_options());
  ASSERT_TRUE(load.wait_for_successes(300, kLoadTimeout));
  bank().service().kill9();
  const auto attempts = load.stop();
  bank().stop_service();
  EXPECT_THAT(audit(bank(), port(), openings(), attempts), IsEmpty());
}

TEST_F(Failure, OneReplicaDiesTheOtherGoesOn) {
  ServiceProcess second(bank().settings());
  LoadOptions options = load_options();
  options.ports = {port(), second.port()};
  Load load(options);
  ASSERT_TRUE(load.wait_for_successes(200, kLoadTimeout));
  bank().service().kill9();
  EXPECT_TRUE(load.wait_for_successes(200, kLoadTimeout)) << "its locks must not stay";
  const auto attempts = load.stop();
  EXPECT_THAT(audit(bank(), second.port(), openings(), attempts), IsEmpty());
  EXPECT_EQ(second.terminate(), ExitStatus{});
}

}  // namespace
}  // namespace txn::test
