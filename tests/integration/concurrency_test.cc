// Two services on one database, 64 clients at once on a few accounts: whatever the order in which things happen, the
// books must add up, every answer must be true, and limits must hold to the cent.

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <latch>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/integration/load.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kClients = 64;

class Concurrency : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    bank_ = std::make_unique<Bank>("concurrency");
    second_ = std::make_unique<ServiceProcess>(bank_->settings());
    // GOLD is for tests that are not about limits.
    bank_->database().query(
        "UPDATE transfer_limits SET daily_limit = 9999999999.99, transaction_limit = 1000000 WHERE privilege = 'GOLD'");
  }
  static void TearDownTestSuite() {
    // The books of all tests together, and no lock ever taken in the wrong order.
    EXPECT_TRUE(bank_->ledger_verifies());
    EXPECT_THAT(postgres().log(), Not(HasSubstr("deadlock")));
    for (ServiceProcess* service : {&bank_->service(), second_.get()}) {
      expect_no_kernel_workers(service->pid());
      EXPECT_EQ(service->terminate(), ExitStatus{});
    }
    second_.reset();
    bank_.reset();
  }

  static Bank& bank() { return *bank_; }
  static std::vector<uint16_t> ports() { return {bank_->service().port(), second_->port()}; }

  // Sends the same request from kClients clients of both services at the same moment.
  static std::vector<HttpResponse> all_at_once(const char* path, const std::string& body) {
    std::vector<HttpResponse> responses(kClients);
    std::latch ready(kClients);
    std::vector<std::thread> threads;
    threads.reserve(kClients);
    for (size_t i = 0; i < kClients; ++i) {
      threads.emplace_back([&, i] {
        ApiClient client(ports()[i % 2], customer());
        client.get("/livez");  // connected before it counts
        ready.arrive_and_wait();
        responses[i] = client.post(path, body);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return responses;
  }

  // Exactly `successes` of them are 200, and the rest are 400 `code`.
  static void expect_split(const std::vector<HttpResponse>& responses, int successes, std::string_view code) {
    int succeeded = 0;
    for (const HttpResponse& response : responses) {
      if (response.status == 200) {
        ++succeeded;
      } else {
        EXPECT_TRUE(is_problem(response, 400, code));
      }
    }
    EXPECT_EQ(succeeded, successes);
  }

 private:
  // A ring that the kernel serves from threads of its own is one that blocks somewhere.
  static void expect_no_kernel_workers(pid_t pid) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
      std::string name;
      std::getline(std::ifstream(task.path() / "comm"), name);
      EXPECT_THAT(name, Not(HasSubstr("iou-wrk")));
    }
  }

  static inline std::unique_ptr<Bank> bank_;
  static inline std::unique_ptr<ServiceProcess> second_;
};

TEST_F(Concurrency, MixedOperationsOnFewAccounts) {
  const auto accounts = bank().open_accounts(std::vector<AccountSpec>(6, {.balance = "500.00"}));
  Load load({.ports = ports(), .accounts = accounts, .clients = kClients, .operations = 50, .seed = 1});
  // Operators at work meanwhile take the same locks.
  for (int i = 0; i < 10; ++i) {
    const RunResult result = run_service(
        {"account", "set", std::to_string(accounts[0]), "--owner-id", std::to_string(i + 1)}, bank().settings());
    EXPECT_TRUE(result.ok()) << result;
  }
  const std::vector<Attempt> attempts = load.finish();

  std::map<std::string, int> answers;
  int64_t put_in = 0;
  for (const Attempt& attempt : attempts) {
    ++answers[std::to_string(attempt.status) + " " + attempt.error];
    if (attempt.status != 200) continue;
    if (attempt.kind == Kind::kDeposit) put_in += attempt.amount;
    if (attempt.kind == Kind::kWithdrawal) put_in -= attempt.amount;
  }
  for (const auto& [answer, count] : answers)
    EXPECT_TRUE(answer == "200 " || answer == "400 INSUFFICIENT_FUNDS" || answer == "404 ACCOUNT_NOT_FOUND")
        << answer << ", " << count << " times";
  EXPECT_GT(answers["200 "], kClients);

  std::map<int64_t, std::string> openings;
  int64_t in_the_bank = 0;
  for (const int64_t account : accounts) {
    openings[account] = "500.00";
    in_the_bank += to_minor(bank().balance(account));
  }
  EXPECT_EQ(in_the_bank, 6 * 50'000 + put_in) << "money is conserved";
  for (const uint16_t port : ports())
    EXPECT_THAT(audit(bank(), port, openings, attempts, {.answers_may_be_lost = false}), IsEmpty());
}

// An auditor who finds nothing is worth as much as what it would have found.
TEST_F(Concurrency, TheAuditFindsWhatIsWrong) {
  const auto accounts = bank().open_accounts({{.balance = "500.00"}, {.balance = "500.00"}});
  std::map<int64_t, std::string> openings = {{accounts[0], "500.00"}, {accounts[1], "500.00"}};
  Load load({.ports = ports(), .accounts = accounts, .clients = 4, .operations = 10, .seed = 3});
  const std::vector<Attempt> attempts = load.finish();
  const auto faults = [&](const std::vector<Attempt>& told) {
    return audit(bank(), ports()[0], openings, told, {.answers_may_be_lost = false}).size();
  };
  ASSERT_EQ(faults(attempts), 0u);
  const auto is_success = [](const Attempt& attempt) { return attempt.status == 200; };
  const auto success = static_cast<size_t>(std::ranges::find_if(attempts, is_success) - attempts.begin());
  ASSERT_LT(success, attempts.size());
  const auto with = [&](auto change) {
    std::vector<Attempt> told = attempts;
    change(told[success]);
    return faults(told);
  };
  EXPECT_EQ(with([](Attempt& attempt) { attempt.description = "lost"; }), 2u) << "one lost, one unasked for";
  EXPECT_EQ(with([](Attempt& attempt) { attempt.status = 503; }), 1u);
  EXPECT_EQ(with([](Attempt& attempt) { attempt.status = 400; }), 1u);
  EXPECT_EQ(with([](Attempt& attempt) { attempt.status = 504; }), 0u) << "unknown is either";
  EXPECT_EQ(with([](Attempt& attempt) { attempt.amount += 1; }), 1u);
  EXPECT_EQ(with([](Attempt& attempt) { attempt.transaction_id += "0"; }), 1u);
  EXPECT_EQ(with([](Attempt& attempt) { attempt.new_balance = "0.01"; }), 1u);
  EXPECT_EQ(
      with([](Attempt& attempt) { attempt.kind = attempt.kind == Kind::kTransfer ? Kind::kDeposit : Kind::kTransfer; }),
      1u);
  EXPECT_EQ(with([](Attempt& attempt) { attempt.status = 0; }), 1u) << "applied, and the answer lost";
  openings[accounts[0]] = "500.01";
  EXPECT_EQ(faults(attempts), 1u);
}

TEST_F(Concurrency, TransfersCrossEachOther) {
  const auto accounts = bank().open_accounts({{.balance = "100.00"}, {.balance = "100.00"}});
  Load load({.ports = ports(), .accounts = accounts, .clients = kClients, .operations = 20, .seed = 2});
  const auto attempts = load.finish();
  EXPECT_THAT(audit(bank(), ports()[1], {{accounts[0], "100.00"}, {accounts[1], "100.00"}}, attempts,
                    {.answers_may_be_lost = false}),
              IsEmpty());
}

TEST_F(Concurrency, DailyCountIsExact) {
  const auto accounts = bank().open_accounts({{.privilege = "BASIC"}, {.balance = "0.00"}});
  expect_split(all_at_once(kTransfers, transfer_body(accounts[0], accounts[1], "0.01")), 5,
               "DAILY_TRANSACTION_COUNT_EXCEEDED");
  EXPECT_EQ(bank().balance(accounts[1]), "0.05");
}

TEST_F(Concurrency, DailyAmountIsExact) {
  const auto accounts = bank().open_accounts({{.privilege = "PREMIUM", .balance = "1000000.00"}, {.balance = "0.00"}});
  // 100,000.00 a day is 33 times 3,000.00, and 50 transfers a day are not reached.
  expect_split(all_at_once(kTransfers, transfer_body(accounts[0], accounts[1], "3000.00")), 33,
               "TRANSFER_LIMIT_EXCEEDED");
  EXPECT_EQ(bank().balance(accounts[1]), "99000.00");
  expect_split(all_at_once(kTransfers, transfer_body(accounts[0], accounts[1], "1000.00")), 1,
               "TRANSFER_LIMIT_EXCEEDED");
}

TEST_F(Concurrency, NobodySpendsMoneyTwice) {
  const auto accounts = bank().open_accounts({{.balance = "10.00"}, {.balance = "10.50"}, {.balance = "0.00"}});
  expect_split(all_at_once(kWithdrawals, deposit_body(accounts[0], "1.00")), 10, "INSUFFICIENT_FUNDS");
  EXPECT_EQ(bank().balance(accounts[0]), "0.00");
  expect_split(all_at_once(kTransfers, transfer_body(accounts[1], accounts[2], "1.00")), 10, "INSUFFICIENT_FUNDS");
  EXPECT_EQ(bank().balance(accounts[1]), "0.50");
  EXPECT_EQ(bank().balance(accounts[2]), "10.00");
}

TEST_F(Concurrency, AFullAccountOverflowsForExactlyThoseBeyond) {
  const auto accounts = bank().open_accounts({{.balance = "9999999999989.99"}});
  expect_split(all_at_once(kDeposits, deposit_body(accounts[0], "1.00")), 10, "BALANCE_OVERFLOW");
  EXPECT_EQ(bank().balance(accounts[0]), "9999999999999.99");
}

TEST_F(Concurrency, HundredsOfConnectionsAreServed) {
  const int64_t account = bank().open_account({.balance = "0.00"});
  const std::string request = format_request(
      "POST", kDeposits, {{"Authorization", "Bearer " + customer()}, {"Content-Type", "application/json"}},
      deposit_body(account, "0.01"));
  std::vector<RawClient> clients;
  for (size_t i = 0; i < 600; ++i) {
    clients.emplace_back(ports()[i % 2]);
    ASSERT_TRUE(clients.back().connected()) << i;
  }
  for (RawClient& client : clients) ASSERT_TRUE(client.send(request));
  for (RawClient& client : clients) ASSERT_EQ(client.read_response().status, 200);
  EXPECT_EQ(bank().balance(account), "6.00");
}

}  // namespace
}  // namespace txn::test
