// Idempotency-Key: a request is carried out once however often it is sent, to whichever replica, before and after
// restarts, and the first answer is given again byte for byte.

#include <gmock/gmock.h>

#include <future>
#include <latch>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

constexpr int kClients = 32;

Headers key(const std::string& text) { return {{"Idempotency-Key", text}}; }

bool is_replay(const HttpResponse& response) { return response.header("Idempotency-Replayed") == "true"; }

class Idempotency : public BankTest {
 protected:
  static int64_t logged(int64_t account) {
    return std::stoll(bank().database().value("SELECT count(*) FROM transaction_logs WHERE account_number = " +
                                              std::to_string(account)));
  }
  // The database's commits wait for a standby, which there is not, until this ends.
  class CommitsThatWait {
   public:
    CommitsThatWait() { set("nobody"); }
    ~CommitsThatWait() { set(""); }
    static bool one_waits() {
      return wait_until(
          [] {
            return bank().database().value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0";
          },
          Milliseconds(10'000));
    }

   private:
    static void set(const std::string& standby) {
      bank().database().query("ALTER SYSTEM SET synchronous_standby_names = '" + standby + "'");
      bank().database().query("SELECT pg_reload_conf()");
      const bool is_set = wait_until(
          [&] { return bank().database().value("SHOW synchronous_standby_names") == standby; }, Milliseconds(10'000));
      if (!is_set) fatal("the database does not read its settings again");
    }
  };
};

TEST_F(Idempotency, ARepeatGetsTheFirstAnswerByteForByte) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  const HttpResponse first = client.post(kDeposits, deposit_body(account, "10.00"), key("first"));
  ASSERT_TRUE(is_json(first));
  EXPECT_FALSE(first.has("Idempotency-Replayed"));
  // Another spelling of the same request is the same request.
  const std::string respelt = R"({ "amount": "10", "account_number": )" + std::to_string(account) + " }";
  for (const std::string& body : {deposit_body(account, "10.00"), respelt}) {
    const HttpResponse again = client.post(kDeposits, body, key("first"));
    ASSERT_TRUE(is_json(again));
    EXPECT_TRUE(is_replay(again));
    EXPECT_EQ(again.body, first.body);
  }
  EXPECT_EQ(bank().balance(account), "1010.00");
  EXPECT_EQ(logged(account), 1);
}

TEST_F(Idempotency, RefusalsAreRepeatedToo) {
  const int64_t account = bank().open_account({.balance = "5.00", .pin = "1234"});
  ApiClient client = as(customer());
  const std::string too_much = deposit_body(account, "6.00", R"(,"pin":"1234")");
  const HttpResponse first = client.post(kWithdrawals, too_much, key("refused"));
  ASSERT_TRUE(is_problem(first, 400, "INSUFFICIENT_FUNDS"));
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "100.00"))));
  // By now it would succeed; but the caller has been told that it did not.
  const HttpResponse again = client.post(kWithdrawals, too_much, key("refused"));
  EXPECT_EQ(again.status, 400);
  EXPECT_TRUE(is_replay(again));
  EXPECT_EQ(again.body, first.body);  // with the request id of the first; the header has the repeat's
  EXPECT_NE(again.header("X-Request-ID"), first.header("X-Request-ID"));

  const std::string wrong_pin = deposit_body(account, "1.00", R"(,"pin":"9999")");
  const HttpResponse denied = client.post(kWithdrawals, wrong_pin, key("pin"));
  ASSERT_TRUE(is_problem(denied, 401, "INVALID_PIN"));
  const HttpResponse denied_again = client.post(kWithdrawals, wrong_pin, key("pin"));
  EXPECT_EQ(denied_again.body, denied.body);
  EXPECT_EQ(denied_again.header("WWW-Authenticate"), denied.header("WWW-Authenticate"));
  EXPECT_EQ(bank().balance(account), "105.00");
}

TEST_F(Idempotency, AnotherRequestUnderTheSameKeyIsRefused) {
  const int64_t account = bank().open_account({.pin = "1234"});
  const int64_t other = bank().open_account();
  ApiClient client = as(customer());
  ASSERT_TRUE(is_json(client.post(kTransfers, transfer_body(account, other, "1.00", R"(,"pin":"1234")"), key("used"))));
  for (const std::string& body : {
           transfer_body(account, other, "1.01", R"(,"pin":"1234")"),
           transfer_body(other, account, "1.00", R"(,"pin":"1234")"),
           transfer_body(account, other, "1.00", R"(,"pin":"1235")"),
           transfer_body(account, other, "1.00"),
           transfer_body(account, other, "1.00", R"(,"pin":"1234","description":"x")"),
           transfer_body(account, other, "1.00", R"(,"pin":"1234","transfer_mode":"UPI")"),
       })
    EXPECT_TRUE(is_problem(client.post(kTransfers, body, key("used")), 422, "IDEMPOTENCY_KEY_REUSED")) << body;
  EXPECT_EQ(bank().balance(account), "999.00");
}

TEST_F(Idempotency, KeysBelongToACallerAndARoute) {
  const int64_t mine = bank().open_account({.owner_id = 1});
  const int64_t theirs = bank().open_account({.owner_id = 2});
  EXPECT_FALSE(is_replay(as(customer(1)).post(kDeposits, deposit_body(mine, "1.00"), key("scope"))));
  EXPECT_FALSE(is_replay(as(customer(2)).post(kDeposits, deposit_body(theirs, "1.00"), key("scope"))));
  EXPECT_FALSE(is_replay(as(teller()).post(kDeposits, deposit_body(mine, "1.00"), key("scope"))));
  EXPECT_FALSE(is_replay(as(customer(1)).post(kWithdrawals, deposit_body(mine, "1.00"), key("scope"))));
  EXPECT_EQ(bank().balance(mine), "1001.00");
  EXPECT_EQ(bank().balance(theirs), "1001.00");
}

TEST_F(Idempotency, WhatNeverReachedTheBooksIsNotKept) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  EXPECT_TRUE(is_problem(client.post(kDeposits, deposit_body(account, "0"), key("late")), 400, "INVALID_AMOUNT"));
  const HttpResponse then = client.post(kDeposits, deposit_body(account, "1.00"), key("late"));
  EXPECT_TRUE(is_json(then));
  EXPECT_FALSE(is_replay(then));
}

TEST_F(Idempotency, KeysHaveOneTo255VisibleCharacters) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"), key(std::string(255, '~')))));
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"), key("!"))));
  for (const std::string& bad :
       {std::string(256, 'k'), std::string("a\tb"), std::string("\xC3\xA9"), std::string(), std::string("\""),
        std::string("\"\""), std::string("\"open"), std::string("\"a\"b"), std::string("\"a\\b\""),
        std::string("\"a\\\""), std::string("\"a\";p=1"), std::string("\" a\""), "\"" + std::string(256, 'k') + "\""})
    EXPECT_TRUE(is_validation_error(client.post(kDeposits, deposit_body(account, "1.00"), key(bad)), "Idempotency-Key",
                                    "header"))
        << bad;
  EXPECT_EQ(bank().balance(account), "1002.00");
}

// A key in quotes, as the IETF's draft has it, is the key without them.
TEST_F(Idempotency, AKeyIsTheSameInQuotesAndWithout) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  const std::string long_key(255, '\\');
  std::string long_quoted = "\"";
  for (const char c : long_key) long_quoted += std::string("\\") + c;
  const std::pair<std::string, std::string> keys[] = {
      {"8e03978e-40d5-43dd-bc93-6894a57f9324", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""},
      {"two words", "\"two words\""},
      {R"(a"b\c)", R"("a\"b\\c")"},
      {long_key, long_quoted + "\""},
  };
  int64_t balance = 100000;
  for (const auto& [plain, quoted] : keys) {
    const HttpResponse first = client.post(kDeposits, deposit_body(account, "1.00"), key(plain));
    ASSERT_TRUE(is_json(first)) << plain;
    EXPECT_FALSE(is_replay(first)) << plain;
    const HttpResponse second = client.post(kDeposits, deposit_body(account, "1.00"), key(quoted));
    EXPECT_TRUE(is_replay(second)) << quoted << second;
    EXPECT_EQ(second.body, first.body);
    balance += 100;
  }
  EXPECT_EQ(bank().balance(account), from_minor(balance));
}

TEST_F(Idempotency, TheNameThatIsOftenMistakenIsRefused) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  const HttpResponse response = client.post(kDeposits, deposit_body(account, "1.00"), {{"X-Idempotency-Key", "k"}});
  EXPECT_TRUE(is_validation_error(response, "X-Idempotency-Key", "header"));
  EXPECT_THAT(response.body, ::testing::HasSubstr("the header is Idempotency-Key"));
  EXPECT_EQ(bank().balance(account), "1000.00");
  EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"),
                                  {{"X-Idempotency-Key", "k"}, {"Idempotency-Key", "both"}})));
}

TEST_F(Idempotency, HoldsAcrossReplicasAndRestarts) {
  const int64_t account = bank().open_account();
  const HttpResponse first = as(customer()).post(kDeposits, deposit_body(account, "7.00"), key("everywhere"));
  ASSERT_TRUE(is_json(first));
  {
    ServiceProcess second(bank().settings());
    const HttpResponse again =
        ApiClient(second.port(), customer()).post(kDeposits, deposit_body(account, "7.00"), key("everywhere"));
    EXPECT_TRUE(is_replay(again));
    EXPECT_EQ(again.body, first.body);
    EXPECT_EQ(second.terminate(), ExitStatus{});
  }
  bank().stop_service();
  const HttpResponse after = as(customer()).post(kDeposits, deposit_body(account, "7.00"), key("everywhere"));
  EXPECT_TRUE(is_replay(after));
  EXPECT_EQ(after.body, first.body);
  EXPECT_EQ(logged(account), 1);
}

// "Used for another request" would read as "not done".
TEST_F(Idempotency, HoldsWhateverSecretHasChangedSince) {
  constexpr const char* kNewKey = "another-key-for-tokens-0123456789abcdef";
  constexpr const char* kPinKey = "a-key-of-its-own-for-pins-0123456789abcdef";
  const int64_t account = bank().open_account();
  const int64_t guarded = bank().open_account({.pin = "1234"});
  const std::string deposit = deposit_body(account, "7.00");
  const std::string withdrawal = deposit_body(guarded, "7.00", R"(,"pin":"1234")");
  const HttpResponse deposited = as(customer()).post(kDeposits, deposit, key("rotated"));
  const HttpResponse withdrawn = as(customer()).post(kWithdrawals, withdrawal, key("rotated"));
  ASSERT_TRUE(is_json(deposited));
  ASSERT_TRUE(is_json(withdrawn));
  struct Change {
    Settings settings;
    std::string token;
  };
  const Change changes[] = {
      {{{"JWT_SECRET_KEY", kNewKey}}, make_token(1, "CUSTOMER", 3600, kNewKey)},
      {{{"PIN_SECRET_KEY", kPinKey}}, customer()},
      {{{"JWT_SECRET_KEY", kNewKey}, {"PIN_SECRET_KEY", kPinKey}}, make_token(1, "CUSTOMER", 3600, kNewKey)},
      {{}, customer()},
  };
  for (const Change& change : changes) {
    ServiceProcess changed(bank().settings_with(change.settings));
    ApiClient client(changed.port(), change.token);
    const HttpResponse deposited_again = client.post(kDeposits, deposit, key("rotated"));
    EXPECT_TRUE(is_json(deposited_again));
    EXPECT_TRUE(is_replay(deposited_again));
    EXPECT_EQ(deposited_again.body, deposited.body);
    const HttpResponse withdrawn_again = client.post(kWithdrawals, withdrawal, key("rotated"));
    EXPECT_TRUE(is_json(withdrawn_again));
    EXPECT_TRUE(is_replay(withdrawn_again));
    EXPECT_EQ(withdrawn_again.body, withdrawn.body);
    EXPECT_TRUE(is_problem(client.post(kDeposits, deposit_body(account, "7.01"), key("rotated")), 422,
                           "IDEMPOTENCY_KEY_REUSED"));
    EXPECT_TRUE(is_problem(client.post(kWithdrawals, deposit_body(guarded, "7.01", R"(,"pin":"1234")"), key("rotated")),
                           422, "IDEMPOTENCY_KEY_REUSED"));
    EXPECT_EQ(changed.terminate(), ExitStatus{});
  }
  EXPECT_EQ(bank().balance(account), "1007.00");
  EXPECT_EQ(bank().balance(guarded), "993.00");
}

// The release before writes no digest, and knows nothing of the column.
TEST_F(Idempotency, RowsOfTheReleaseBeforeAreKnownByTheirFingerprint) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  const HttpResponse first = client.post(kDeposits, deposit_body(account, "7.00"), key("before"));
  ASSERT_TRUE(is_json(first));
  bank().database().query("UPDATE idempotency_keys SET request_digest = NULL WHERE key = 'before'");
  const HttpResponse again = client.post(kDeposits, deposit_body(account, "7.00"), key("before"));
  EXPECT_TRUE(is_replay(again));
  EXPECT_EQ(again.body, first.body);
  EXPECT_TRUE(
      is_problem(client.post(kDeposits, deposit_body(account, "7.01"), key("before")), 422, "IDEMPOTENCY_KEY_REUSED"));
}

TEST_F(Idempotency, ManyAtOnceAreCarriedOutOnce) {
  const int64_t account = bank().open_account();
  ServiceProcess second(bank().settings());
  std::vector<HttpResponse> responses(kClients);
  std::latch ready(kClients);
  std::vector<std::thread> threads;
  threads.reserve(kClients);
  for (size_t i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      ApiClient client(i % 2 == 0 ? port() : second.port(), customer());
      client.get("/livez");
      ready.arrive_and_wait();
      responses[i] = client.post(kDeposits, deposit_body(account, "3.00"), key("together"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  int fresh = 0;
  std::string body;
  for (const HttpResponse& response : responses) {
    if (response.status == 409) {
      EXPECT_TRUE(is_problem(response, 409, "IDEMPOTENCY_CONFLICT"));
      continue;
    }
    ASSERT_TRUE(is_json(response));
    if (!is_replay(response)) ++fresh;
    if (body.empty()) body = response.body;
    EXPECT_EQ(response.body, body);
  }
  EXPECT_EQ(fresh, 1);
  EXPECT_EQ(bank().balance(account), "1003.00");
  EXPECT_EQ(second.terminate(), ExitStatus{});
}

// While the first is being committed a second is told so at once, on any replica, whatever its account.
TEST_F(Idempotency, ASecondWhileTheFirstIsUnderWayIsAConflict) {
  const int64_t account = bank().open_account();
  const int64_t elsewhere = bank().open_account();
  ServiceProcess second(bank().settings());
  ApiClient other(second.port(), customer());
  auto waits = std::make_unique<CommitsThatWait>();
  auto first = std::async(std::launch::async,
                          [&] { return as(customer()).post(kDeposits, deposit_body(account, "1.00"), key("busy")); });
  ASSERT_TRUE(CommitsThatWait::one_waits());
  EXPECT_TRUE(
      is_problem(other.post(kDeposits, deposit_body(elsewhere, "1.00"), key("busy")), 409, "IDEMPOTENCY_CONFLICT"));
  EXPECT_TRUE(
      is_problem(other.post(kDeposits, deposit_body(account, "1.00"), key("busy")), 409, "IDEMPOTENCY_CONFLICT"));
  waits.reset();
  EXPECT_TRUE(is_json(first.get()));
  EXPECT_TRUE(is_replay(other.post(kDeposits, deposit_body(account, "1.00"), key("busy"))));
  EXPECT_EQ(bank().balance(account), "1001.00");
  EXPECT_EQ(second.terminate(), ExitStatus{});
}

TEST_F(Idempotency, ExpiresAfterADay) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"), key("old"))));
  const auto age = [&](const char* interval) {
    bank().database().query("UPDATE idempotency_keys SET created_at = now() - interval '" + std::string(interval) +
                            "' WHERE key = 'old'");
  };
  age("23 hours 59 minutes");
  EXPECT_TRUE(is_replay(client.post(kDeposits, deposit_body(account, "1.00"), key("old"))));
  age("24 hours 1 second");
  // The row may still be there: it counts for nothing, not even as another request under the key.
  const HttpResponse anew = client.post(kDeposits, deposit_body(account, "2.00"), key("old"));
  EXPECT_TRUE(is_json(anew));
  EXPECT_FALSE(is_replay(anew));
  EXPECT_EQ(bank().balance(account), "1003.00");
  // A service that starts removes what has expired.
  age("25 hours");
  bank().stop_service();
  bank().service();
  for (int i = 0; i < 500; ++i) {
    if (bank().database().value("SELECT count(*) FROM idempotency_keys WHERE key = 'old'") == "0") break;
    std::this_thread::sleep_for(Milliseconds(10));
  }
  EXPECT_EQ(bank().database().value("SELECT count(*) FROM idempotency_keys WHERE key = 'old'"), "0");
}

TEST_F(Idempotency, TheBooksHold) { EXPECT_TRUE(bank().ledger_verifies()); }

}  // namespace
}  // namespace txn::test
