// Three wrong PINs in a row lock an account's PIN for 15 minutes: exactly three, whatever comes at once and wherever,
// and no money moves by any of it.

#include <gmock/gmock.h>

#include <latch>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kClients = 50;

std::string pin(const std::string& digits) { return R"(,"pin":")" + digits + "\""; }
Headers key(const std::string& text) { return {{"Idempotency-Key", text}}; }

::testing::AssertionResult is_locked(const HttpResponse& response, int64_t at_least_s = 880) {
  if (const auto problem = is_problem(response, 423, "PIN_LOCKED"); !problem) return problem;
  const std::string retry_after = response.header("Retry-After");
  if (retry_after.empty() || std::stoll(retry_after) > 900 || std::stoll(retry_after) < at_least_s)
    return ::testing::AssertionFailure() << "Retry-After: " << retry_after;
  return ::testing::AssertionSuccess();
}

class PinLock : public BankTest {
 protected:
  static HttpResponse withdraw(int64_t account, const std::string& digits, const Headers& headers = {}) {
    return as(customer()).post(kWithdrawals, deposit_body(account, "1.00", digits.empty() ? "" : pin(digits)), headers);
  }
  static void try_wrong_pins(int64_t account, int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(is_problem(withdraw(account, "965813"), 401, "INVALID_PIN"));
  }
  static std::string pin_state(int64_t account) {
    return bank().database().value(
        "SELECT pin_failures || coalesce(' ' || (pin_locked_until > now()), '') FROM accounts WHERE account_number = " +
        std::to_string(account));
  }
  // Nothing has come of it: opening balance, no row.
  static void expect_untouched(int64_t account, const std::string& opening = "1000.00") {
    EXPECT_EQ(bank().balance(account), opening);
    EXPECT_EQ(bank().database().value("SELECT count(*) FROM transaction_logs WHERE account_number = " +
                                      std::to_string(account)),
              "0");
  }
  // As if so much time had passed.
  static void let_pass(int64_t account, const std::string& interval) {
    bank().database().query("UPDATE accounts SET pin_locked_until = pin_locked_until - interval '" + interval +
                            "' WHERE account_number = " + std::to_string(account));
  }
};

TEST_F(PinLock, ThreeWrongOnesLockIt) {
  const int64_t account = bank().open_account({.pin = "1234"});
  const int64_t other = bank().open_account({.pin = "1234"});
  try_wrong_pins(account, 3);
  EXPECT_EQ(pin_state(account), "3 true");
  for (const char* digits : {"965813", "1234", ""}) EXPECT_TRUE(is_locked(withdraw(account, digits))) << digits;
  // Whoever debits it, by whatever route; and nobody else's.
  EXPECT_TRUE(is_locked(as(teller()).post(kTransfers, transfer_body(account, other, "1.00", pin("1234")))));
  EXPECT_TRUE(is_json(withdraw(other, "1234")));
  expect_untouched(account);
  // Money may come in.
  EXPECT_TRUE(is_json(as(customer()).post(kDeposits, deposit_body(account, "1.00"))));
  EXPECT_TRUE(is_json(as(customer()).post(kTransfers, transfer_body(other, account, "1.00", pin("1234")))));
  EXPECT_EQ(bank().balance(account), "1002.00");
  EXPECT_EQ(pin_state(account), "3 true");
  EXPECT_THAT(bank().service().log_text(), HasSubstr("the PIN is locked"));
  EXPECT_THAT(ApiClient(port()).get("/metrics").body, HasSubstr("\npins_locked_total 1\n"));
  EXPECT_THAT(bank().service().log_text(), Not(HasSubstr("965813")));
}

TEST_F(PinLock, ARightOneStartsTheCountAnew) {
  const int64_t account = bank().open_account({.pin = "1234"});
  try_wrong_pins(account, 2);
  EXPECT_EQ(pin_state(account), "2");
  EXPECT_TRUE(is_json(withdraw(account, "1234")));
  EXPECT_EQ(pin_state(account), "0");
  try_wrong_pins(account, 2);
  // Also one whose operation is refused for another reason.
  EXPECT_TRUE(is_problem(as(customer()).post(kWithdrawals, deposit_body(account, "5000.00", pin("1234"))), 400,
                         "INSUFFICIENT_FUNDS"));
  EXPECT_EQ(pin_state(account), "0");
  try_wrong_pins(account, 3);
  EXPECT_TRUE(is_locked(withdraw(account, "1234")));
  EXPECT_EQ(bank().balance(account), "999.00");
}

TEST_F(PinLock, NoPinIsNotAWrongOneAndStrangersDoNotCount) {
  const int64_t account = bank().open_account({.pin = "1234"});
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(is_problem(withdraw(account, ""), 401, "INVALID_PIN"));
    EXPECT_TRUE(is_validation_error(withdraw(account, "12x4"), "pin"));
    EXPECT_TRUE(
        is_problem(as(customer(2)).post(kWithdrawals, deposit_body(account, "1.00", pin("9999"))), 403, "FORBIDDEN"));
    EXPECT_TRUE(
        is_problem(as(admin()).post(kWithdrawals, deposit_body(account, "1.00", pin("9999"))), 403, "FORBIDDEN"));
  }
  EXPECT_EQ(pin_state(account), "0");
  EXPECT_TRUE(is_json(withdraw(account, "1234")));
}

TEST_F(PinLock, TheLockEndsAfter15Minutes) {
  const int64_t account = bank().open_account({.pin = "1234"});
  try_wrong_pins(account, 3);
  let_pass(account, "14 minutes 30 seconds");
  EXPECT_TRUE(is_locked(withdraw(account, "1234"), 1));
  let_pass(account, "30 seconds");
  EXPECT_EQ(pin_state(account), "3 false");
  try_wrong_pins(account, 1);
  EXPECT_EQ(pin_state(account), "1") << "counted anew, and no lock any more";
  try_wrong_pins(account, 2);
  EXPECT_TRUE(is_locked(withdraw(account, "1234")));
  let_pass(account, "15 minutes");
  EXPECT_TRUE(is_json(withdraw(account, "1234")));
  EXPECT_EQ(pin_state(account), "0");
  EXPECT_EQ(bank().balance(account), "999.00");
}

// The clock is the database's, so the lock is 15 minutes whatever the replicas think of the time.
TEST_F(PinLock, TheLockIsWrittenByTheDatabasesClock) {
  const int64_t account = bank().open_account({.pin = "1234"});
  const std::string before = bank().database().value("SELECT clock_timestamp()");
  try_wrong_pins(account, 3);
  EXPECT_EQ(bank().database().value("SELECT pin_locked_until BETWEEN '" + before +
                                    "'::timestamptz + interval '15 minutes' AND clock_timestamp() + interval "
                                    "'15 minutes' FROM accounts WHERE account_number = " +
                                    std::to_string(account)),
            "t");
}

TEST_F(PinLock, ARepeatUnderAKeyDoesNotCountAgain) {
  const int64_t account = bank().open_account({.pin = "1234"});
  const HttpResponse first = withdraw(account, "9999", key("wrong"));
  ASSERT_TRUE(is_problem(first, 401, "INVALID_PIN"));
  for (int i = 0; i < 5; ++i) {
    const HttpResponse again = withdraw(account, "9999", key("wrong"));
    EXPECT_EQ(again.status, 401);
    EXPECT_EQ(again.body, first.body);
    EXPECT_EQ(again.header("Idempotency-Replayed"), "true");
  }
  EXPECT_EQ(pin_state(account), "1");
  // Under that key another PIN is another request, and is not even looked at.
  EXPECT_TRUE(is_problem(withdraw(account, "1234", key("wrong")), 422, "IDEMPOTENCY_KEY_REUSED"));
  EXPECT_EQ(pin_state(account), "1");
  try_wrong_pins(account, 2);

  // The refusal by the lock is kept as well, and outlives it: whoever wants another answer takes another key.
  const HttpResponse locked = withdraw(account, "1234", key("locked"));
  EXPECT_TRUE(is_locked(locked));
  let_pass(account, "15 minutes");
  const HttpResponse repeated = withdraw(account, "1234", key("locked"));
  EXPECT_EQ(repeated.status, 423);
  EXPECT_EQ(repeated.body, locked.body);
  EXPECT_FALSE(repeated.has("Retry-After"));
  EXPECT_TRUE(is_json(withdraw(account, "1234", key("unlocked"))));
}

TEST_F(PinLock, ExactlyThreeOfManyAtOnceOverTwoReplicas) {
  const int64_t account = bank().open_account({.pin = "1234"});
  ServiceProcess second(bank().settings());
  std::vector<HttpResponse> responses(kClients);
  std::latch ready(kClients);
  std::vector<std::thread> threads;
  threads.reserve(kClients);
  for (size_t i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      ApiClient client(i % 2 == 0 ? port() : second.port(), customer());
      client.get("/livez");  // connected before it counts
      ready.arrive_and_wait();
      // Half of them under keys of their own, which takes another way through a batch.
      const Headers headers = i % 4 < 2 ? Headers() : key("at-once-" + std::to_string(i));
      responses[i] = client.post(kWithdrawals, deposit_body(account, "1.00", pin("9999")), headers);
    });
  }
  for (std::thread& thread : threads) thread.join();
  int wrong = 0;
  for (const HttpResponse& response : responses) {
    if (response.status == 401) {
      EXPECT_TRUE(is_problem(response, 401, "INVALID_PIN"));
      ++wrong;
    } else {
      EXPECT_TRUE(is_locked(response));
    }
  }
  EXPECT_EQ(wrong, 3);
  EXPECT_EQ(pin_state(account), "3 true");
  expect_untouched(account);
  EXPECT_EQ(second.terminate(), ExitStatus{});
}

TEST_F(PinLock, CountAndLockOutliveRestarts) {
  const int64_t account = bank().open_account({.pin = "1234"});
  try_wrong_pins(account, 1);
  bank().stop_service();  // by SIGKILL
  try_wrong_pins(account, 1);
  EXPECT_EQ(bank().service().terminate(), ExitStatus{});
  bank().stop_service();
  try_wrong_pins(account, 1);
  bank().stop_service();
  EXPECT_TRUE(is_locked(withdraw(account, "1234")));
  expect_untouched(account);
}

TEST_F(PinLock, OperatorsSeeAndEndIt) {
  const int64_t account = bank().open_account({.pin = "1234"});
  const auto run = [&](std::vector<std::string> args) {
    args.insert(args.begin(), "account");
    args.insert(args.begin() + 2, std::to_string(account));
    const RunResult result = run_service(args, bank().settings());
    EXPECT_TRUE(result.ok()) << result;
    return result.out;
  };
  EXPECT_THAT(run({"show"}), HasSubstr("pin_failures     0\npin_locked_until not locked\n"));
  try_wrong_pins(account, 2);
  EXPECT_THAT(run({"show", "--json"}), HasSubstr(R"("pin_failures":2,"pin_locked_until":null)"));
  try_wrong_pins(account, 1);
  const Json shown = Json::parse(run({"show", "--json"}));
  EXPECT_EQ(shown["pin_failures"].integer(), 3);
  EXPECT_TRUE(is_timestamp(shown["pin_locked_until"].text()));
  EXPECT_THAT(run({"show"}), HasSubstr("pin_locked_until " + shown["pin_locked_until"].text() + "\n"));
  EXPECT_TRUE(is_locked(withdraw(account, "1234")));

  run({"set", "--unlock-pin"});
  EXPECT_EQ(pin_state(account), "0");
  EXPECT_TRUE(is_json(withdraw(account, "1234")));
  // So does a new PIN; and so does none.
  try_wrong_pins(account, 3);
  run({"set", "--pin", "4711"});
  EXPECT_EQ(pin_state(account), "0");
  EXPECT_TRUE(is_json(withdraw(account, "4711")));
  try_wrong_pins(account, 3);
  run({"set", "--no-pin"});
  EXPECT_TRUE(is_json(withdraw(account, "")));
  // What is changed besides leaves it alone.
  run({"set", "--pin", "4711"});
  try_wrong_pins(account, 3);
  run({"set", "--privilege", "BASIC"});
  EXPECT_TRUE(is_locked(withdraw(account, "4711")));
  // A lock that is over is none.
  let_pass(account, "15 minutes");
  EXPECT_THAT(run({"show"}), HasSubstr("pin_failures     0\npin_locked_until not locked\n"));
}

// A wrong PIN in one batch with other people's money: theirs moves, and the attempt is in the same commit.
TEST_F(PinLock, ABatchWritesBoth) {
  const int64_t account = bank().open_account({.pin = "1234"});
  const int64_t other = bank().open_account({.balance = "0.00"});
  std::vector<RawClient> clients;
  for (int i = 0; i < 30; ++i) clients.push_back(connect());
  const auto request = [](const char* path, const std::string& body) {
    return format_request("POST", path,
                          {{"Authorization", "Bearer " + customer()}, {"Content-Type", "application/json"}}, body);
  };
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSERT_TRUE(clients[i].send(i % 10 == 0 ? request(kWithdrawals, deposit_body(account, "1.00", pin("9999")))
                                            : request(kDeposits, deposit_body(other, "1.00"))));
  }
  for (size_t i = 0; i < clients.size(); ++i)
    EXPECT_EQ(clients[i].read_response().status, i % 10 == 0 ? 401 : 200) << i;
  EXPECT_EQ(bank().balance(other), "27.00");
  EXPECT_EQ(pin_state(account), "3 true");
  expect_untouched(account);
}

TEST_F(PinLock, TheBooksHold) { EXPECT_TRUE(bank().ledger_verifies()); }

}  // namespace
}  // namespace txn::test
