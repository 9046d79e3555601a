// Contract section 3.1: deposits, withdrawals and transfers, what they accept, what they refuse, and what they answer
// to the last decimal.

#include <gmock/gmock.h>

#include <set>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

class MoneyContract : public BankTest {
 protected:
  // The two operations on one account with equal bodies.
  static constexpr const char* kSingles[] = {kDeposits, kWithdrawals};
};

// A refusal that left the account as it was.
void expect_refused(Bank& bank, const HttpResponse& response, int status, std::string_view code, int64_t account,
                    std::string_view balance) {
  EXPECT_TRUE(is_problem(response, status, code));
  EXPECT_EQ(bank.balance(account), balance);
}

// --- What a 200 says -------------------------------------------------------------------------------------------------

TEST_F(MoneyContract, DepositAnswersWithEverything) {
  const int64_t account = bank().open_account({.balance = "10.00"});
  const HttpResponse response =
      as(customer()).post(kDeposits, deposit_body(account, "100", R"(,"description":"test")"));
  ASSERT_TRUE(is_json(response));
  const Json json = response.json();
  EXPECT_EQ(json["status"].text(), "SUCCESS");
  EXPECT_EQ(json["transaction_type"].text(), "DEPOSIT");
  EXPECT_EQ(json["account_number"].integer(), account);
  EXPECT_EQ(json["description"].text(), "test");
  EXPECT_TRUE(is_timestamp(json["transaction_date"].text())) << response;
  EXPECT_GT(json["transaction_id"].scalar().size(), 0u);
  EXPECT_EQ(response.raw("amount"), "100.00");
  EXPECT_EQ(response.raw("new_balance"), "110.00");
  EXPECT_EQ(bank().balance(account), "110.00");
}

TEST_F(MoneyContract, WithdrawalAnswersWithEverything) {
  const int64_t account = bank().open_account({.balance = "10.00"});
  const HttpResponse response =
      as(customer()).post(kWithdrawals, deposit_body(account, "2.5", R"(,"description":"cash")"));
  ASSERT_TRUE(is_json(response));
  const Json json = response.json();
  EXPECT_EQ(json["status"].text(), "SUCCESS");
  EXPECT_EQ(json["transaction_type"].text(), "WITHDRAWAL");
  EXPECT_EQ(json["account_number"].integer(), account);
  EXPECT_EQ(json["description"].text(), "cash");
  EXPECT_TRUE(is_timestamp(json["transaction_date"].text())) << response;
  EXPECT_GT(json["transaction_id"].scalar().size(), 0u);
  EXPECT_EQ(response.raw("amount"), "2.50");
  EXPECT_EQ(response.raw("new_balance"), "7.50");
  EXPECT_EQ(bank().balance(account), "7.50");
}

TEST_F(MoneyContract, TransferAnswersWithEverything) {
  const auto accounts = bank().open_accounts({{.owner_id = 1, .balance = "10.00"}, {.owner_id = 2, .balance = "1.00"}});
  const HttpResponse response =
      as(customer()).post(kTransfers, transfer_body(accounts[0], accounts[1], "0.01", R"(,"description":"rent")"));
  ASSERT_TRUE(is_json(response));
  const Json json = response.json();
  EXPECT_EQ(json["status"].text(), "SUCCESS");
  EXPECT_EQ(json["transaction_type"].text(), "TRANSFER");
  EXPECT_EQ(json["from_account"].integer(), accounts[0]);
  EXPECT_EQ(json["to_account"].integer(), accounts[1]);
  EXPECT_EQ(json["transfer_mode"].text(), "NEFT");
  EXPECT_EQ(json["description"].text(), "rent");
  EXPECT_TRUE(is_timestamp(json["transaction_date"].text())) << response;
  EXPECT_GT(json["transaction_id"].scalar().size(), 0u);
  EXPECT_EQ(response.raw("amount"), "0.01");
  EXPECT_EQ(response.raw("from_account_new_balance"), "9.99");
  EXPECT_FALSE(json.has("to_account_new_balance")) << "that account is somebody else's";
  EXPECT_EQ(bank().balance(accounts[0]), "9.99");
  EXPECT_EQ(bank().balance(accounts[1]), "1.01");
}

TEST_F(MoneyContract, PayeesBalanceIsForThoseWhoMaySeeIt) {
  const auto accounts = bank().open_accounts({{.owner_id = 1}, {.owner_id = 1}, {.owner_id = 2}});
  const HttpResponse both_own = as(customer()).post(kTransfers, transfer_body(accounts[0], accounts[1], "1"));
  ASSERT_TRUE(is_json(both_own));
  EXPECT_EQ(both_own.raw("from_account_new_balance"), "999.00");
  EXPECT_EQ(both_own.raw("to_account_new_balance"), "1001.00");
  const HttpResponse by_teller = as(teller()).post(kTransfers, transfer_body(accounts[0], accounts[2], "1"));
  ASSERT_TRUE(is_json(by_teller));
  EXPECT_EQ(by_teller.raw("to_account_new_balance"), "1001.00");
}

TEST_F(MoneyContract, TransactionIdsAreUnique) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  std::set<std::string> ids;
  for (int i = 0; i < 20; ++i) {
    const HttpResponse response = client.post(kSingles[i % 2], deposit_body(account, "1"));
    ASSERT_TRUE(is_json(response));
    EXPECT_TRUE(ids.insert(response.json()["transaction_id"].scalar()).second);
  }
}

TEST_F(MoneyContract, AnAnswerIsVisibleToTheNextReadOnAnyConnection) {
  const int64_t account = bank().open_account({.balance = "0.00"});
  ServiceProcess second(bank().settings());
  ApiClient writer = as(customer());
  for (int i = 1; i <= 20; ++i) {
    ASSERT_TRUE(is_json(writer.post(kDeposits, deposit_body(account, "0.01"))));
    ApiClient reader(i % 2 == 0 ? port() : second.port(), customer());
    const HttpResponse page = reader.get("/transaction-logs/" + std::to_string(account) + "?limit=1");
    ASSERT_TRUE(is_json(page));
    ASSERT_EQ(page.json()["logs"][0]["seq"].integer(), i);
  }
  EXPECT_EQ(second.terminate(), ExitStatus{});
}

// --- Amounts ---------------------------------------------------------------------------------------------------------

TEST_F(MoneyContract, AmountsAreExactHoweverTheyAreWritten) {
  const int64_t account = bank().open_account({.balance = "0.00"});
  ApiClient client = as(customer());
  int64_t expected = 0;
  const std::pair<const char*, const char*> cases[] = {
      {"0.01", "0.01"},
      {"0.1", "0.10"},
      {"0.10", "0.10"},
      {"1", "1.00"},
      {"1.0", "1.00"},
      {"1.10", "1.10"},
      {"4.35", "4.35"},        // 434.99999999999994 cents in binary
      {"1.15", "1.15"},        // 114.99999999999999
      {"1005.29", "1005.29"},  // 100528.99999999999
      {"0.29", "0.29"},
      {"1e2", "100.00"},
      {"1.5E+1", "15.00"},
      {"125e-2", "1.25"},
      {"1.500", "1.50"},  // nothing is lost
      {"\"100.00\"", "100.00"},
      {"\"0.07\"", "0.07"},
      {"\"3\"", "3.00"},
      {"123456789.01", "123456789.01"},
      {"999999999.99", "999999999.99"},
      {"\"999999999.99\"", "999999999.99"},
  };
  for (const auto& [amount, canonical] : cases) {
    const HttpResponse response = client.post(kDeposits, deposit_body(account, amount));
    ASSERT_TRUE(is_json(response)) << amount;
    expected += to_minor(canonical);
    EXPECT_EQ(response.raw("amount"), canonical) << amount;
    EXPECT_EQ(response.raw("new_balance"), from_minor(expected)) << amount;
  }
  EXPECT_EQ(bank().balance(account), from_minor(expected));
}

TEST_F(MoneyContract, AmountsThatAreNotAllowedAreInvalid) {
  const auto accounts = bank().open_accounts({{.balance = "5000000.00"}, {.balance = "0.00"}});
  ApiClient client = as(customer());
  const std::string common[] = {"0",
                                "0.00",
                                "-0",
                                "-0.01",
                                "-1",
                                "\"0\"",
                                "\"-5.00\"",
                                "0.001",
                                "1.005",
                                "0.019",
                                "\"1.999\"",
                                "1e-3",
                                "0.0000000000000000000000001",
                                "1e30",
                                "1e400",
                                "-1e400",
                                "9223372036854775808",
                                "18446744073709551616",
                                "1" + std::string(400, '0')};
  for (const std::string& amount : common) {
    for (const char* path : kSingles)
      EXPECT_TRUE(is_problem(client.post(path, deposit_body(accounts[0], amount)), 400, "INVALID_AMOUNT")) << amount;
    EXPECT_TRUE(
        is_problem(client.post(kTransfers, transfer_body(accounts[0], accounts[1], amount)), 400, "INVALID_AMOUNT"))
        << amount;
  }
  // Each operation has a limit of its own.
  for (const char* amount : {"1000000000", "1000000000.00", "999999999.991", "\"1000000000.00\"", "9999999999999.99"})
    EXPECT_TRUE(is_problem(client.post(kDeposits, deposit_body(accounts[0], amount)), 400, "INVALID_AMOUNT")) << amount;
  for (const char* amount : {"1000000.01", "\"1000000.01\"", "999999999.99"}) {
    EXPECT_TRUE(is_problem(client.post(kWithdrawals, deposit_body(accounts[0], amount)), 400, "INVALID_AMOUNT"))
        << amount;
    EXPECT_TRUE(
        is_problem(client.post(kTransfers, transfer_body(accounts[0], accounts[1], amount)), 400, "INVALID_AMOUNT"))
        << amount;
  }
  EXPECT_EQ(bank().balance(accounts[0]), "5000000.00");
  // At the limit is not beyond it; what refuses the transfer is another limit.
  EXPECT_TRUE(is_json(client.post(kWithdrawals, deposit_body(accounts[0], "1000000.00"))));
  EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1000000.00")), 400,
                         "TRANSFER_LIMIT_EXCEEDED"));
}

TEST_F(MoneyContract, AmountsThatAreNoNumbersAreValidationErrors) {
  const auto accounts = bank().open_accounts({{}, {}});
  ApiClient client = as(customer());
  for (const char* amount :
       {"null",   "true",    "false",        "[]",        "[1]",      "{}",          "\"\"",         "\" 1\"",
        "\"1 \"", "\"abc\"", "\"1,000.00\"", "\"1.0.0\"", "\"0x10\"", "\"NaN\"",     "\"Infinity\"", "\"+1\"",
        "\"1.\"", "\".5\"",  "\"01\"",       "\"--1\"",   "\"$1\"",   "\"1\\u0000\""}) {
    for (const char* path : kSingles)
      EXPECT_TRUE(is_validation_error(client.post(path, deposit_body(accounts[0], amount)), "amount")) << amount;
    EXPECT_TRUE(is_validation_error(client.post(kTransfers, transfer_body(accounts[0], accounts[1], amount)), "amount"))
        << amount;
  }
  EXPECT_EQ(bank().balance(accounts[0]), "1000.00");
}

TEST_F(MoneyContract, TheLargestBalanceIsExactAndTheNextCentOverflows) {
  const auto accounts = bank().open_accounts({{.balance = "9999999999998.98"}, {.balance = "1000.00"}});
  ApiClient client = as(customer());
  const std::string largest = "9999999999999.99";
  const HttpResponse response = client.post(kDeposits, deposit_body(accounts[0], "1.01"));
  ASSERT_TRUE(is_json(response));
  EXPECT_EQ(response.raw("new_balance"), largest);
  expect_refused(bank(), client.post(kDeposits, deposit_body(accounts[0], "0.01")), 400, "BALANCE_OVERFLOW",
                 accounts[0], largest);
  expect_refused(bank(), client.post(kDeposits, deposit_body(accounts[0], "999999999.99")), 400, "BALANCE_OVERFLOW",
                 accounts[0], largest);
  expect_refused(bank(), client.post(kTransfers, transfer_body(accounts[1], accounts[0], "0.01")), 400,
                 "BALANCE_OVERFLOW", accounts[0], largest);
  EXPECT_EQ(bank().balance(accounts[1]), "1000.00") << "the payer keeps what could not be paid";
  const HttpResponse log = client.get("/transaction-logs/" + std::to_string(accounts[0]));
  EXPECT_EQ(log.raw("balance_after"), largest) << "one row, and exact";
}

// --- Fields ----------------------------------------------------------------------------------------------------------

TEST_F(MoneyContract, FieldsThatAreMissingAreNamed) {
  ApiClient client = as(customer());
  for (const char* path : kSingles) {
    EXPECT_TRUE(is_validation_error(client.post(path, R"({"amount":1})"), "account_number"));
    EXPECT_TRUE(is_validation_error(client.post(path, R"({"account_number":1})"), "amount"));
    EXPECT_TRUE(is_validation_error(client.post(path, "{}"), "account_number"));
  }
  EXPECT_TRUE(is_validation_error(client.post(kTransfers, R"({"to_account":2,"amount":1})"), "from_account"));
  EXPECT_TRUE(is_validation_error(client.post(kTransfers, R"({"from_account":1,"amount":1})"), "to_account"));
  EXPECT_TRUE(is_validation_error(client.post(kTransfers, R"({"from_account":1,"to_account":2})"), "amount"));
}

TEST_F(MoneyContract, AccountNumbersArePositiveIntegers) {
  const int64_t account = bank().open_account();
  ApiClient client = as(teller());
  for (const char* number : {"0", "-1", "1.5", R"("1001")", "null", "true", "[]", "{}", "9223372036854775808",
                             "18446744073709551617", "1e400", "-9223372036854775809"}) {
    const std::string text(number);
    for (const char* path : kSingles)
      EXPECT_TRUE(
          is_validation_error(client.post(path, "{\"account_number\":" + text + ",\"amount\":1}"), "account_number"))
          << text;
    EXPECT_TRUE(is_validation_error(client.post(kTransfers, "{\"from_account\":" + text + ",\"to_account\":" +
                                                                std::to_string(account) + ",\"amount\":1}"),
                                    "from_account"))
        << text;
    EXPECT_TRUE(is_validation_error(client.post(kTransfers, "{\"from_account\":" + std::to_string(account) +
                                                                ",\"to_account\":" + text + ",\"amount\":1}"),
                                    "to_account"))
        << text;
  }
  EXPECT_EQ(bank().balance(account), "1000.00");
}

TEST_F(MoneyContract, UnknownFieldsAreNamed) {
  const auto accounts = bank().open_accounts({{}, {}});
  ApiClient client = as(customer());
  const std::string extra = R"(,"ammount":5)";
  for (const char* path : kSingles)
    EXPECT_TRUE(is_validation_error(client.post(path, deposit_body(accounts[0], "1", extra)), "ammount"));
  EXPECT_TRUE(
      is_validation_error(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1", extra)), "ammount"));
  // A field of another operation is unknown as well.
  EXPECT_TRUE(is_validation_error(client.post(kDeposits, deposit_body(accounts[0], "1", R"(,"pin":"1234")")), "pin"));
  EXPECT_TRUE(is_validation_error(
      client.post(kWithdrawals, deposit_body(accounts[0], "1", R"(,"transfer_mode":"UPI")")), "transfer_mode"));
  // Names have a case, and no paths of the parser's.
  EXPECT_TRUE(is_validation_error(client.post(kDeposits, deposit_body(accounts[0], "1", R"(,"Amount":1)")), "Amount"));
  EXPECT_TRUE(is_validation_error(client.post(kDeposits, deposit_body(accounts[0], "1", R"(,"":1)")), ""));
  EXPECT_TRUE(
      is_validation_error(client.post(kDeposits, deposit_body(accounts[0], "1", R"(,"a\"b\\c":1)")), "a\"b\\c"));
  EXPECT_EQ(bank().balance(accounts[0]), "1000.00");
}

TEST_F(MoneyContract, FieldsMayComeInAnyOrderAndWithEscapes) {
  const int64_t account = bank().open_account();
  const std::string number = std::to_string(account);
  ApiClient client = as(customer());
  EXPECT_TRUE(
      is_json(client.post(kDeposits, R"({"description":"x","amount":"1.00","account_number":)" + number + "}")));
  EXPECT_TRUE(
      is_json(client.post(kDeposits, "\r\n\t { \"am\\u006funt\" : 1 ,\n \"account_number\" : " + number + " } \n")));
  EXPECT_EQ(bank().balance(account), "1002.00");
}

TEST_F(MoneyContract, DescriptionsComeBackAsTheyWere) {
  const auto accounts = bank().open_accounts({{}, {}});
  ApiClient client = as(customer());
  const std::string path = "/transaction-logs/" + std::to_string(accounts[0]) + "?limit=1";
  const std::string descriptions[] = {
      "plain",
      "",
      "quote \" backslash \\ slash / tab \t line \n return \r",
      "'; DROP TABLE accounts; --",
      "<script>alert(1)</script> & {curly} {\"amount\": 5}, NULL, %s %n",
      "caf\xc3\xa9 \xe2\x82\xac \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x92\xb8 \xef\xbf\xbf",
      "\x01\x1f\x7f",
      std::string(255, 'd'),
  };
  for (const std::string& description : descriptions) {
    const std::string extra = ",\"description\":" + json_quoted(description);
    for (const char* operation : kSingles) {
      const HttpResponse response = client.post(operation, deposit_body(accounts[0], "1", extra));
      ASSERT_TRUE(is_json(response)) << description;
      EXPECT_EQ(response.json()["description"].text(), description);
      EXPECT_EQ(client.get(path).json()["logs"][0]["description"].text(), description);
    }
  }
  const HttpResponse response = client.post(
      kTransfers, transfer_body(accounts[0], accounts[1], "1", R"(,"description":"\ud83d\udcb8 \u0041\/")"));
  ASSERT_TRUE(is_json(response));
  EXPECT_EQ(response.json()["description"].text(), "\xf0\x9f\x92\xb8 A/");
}

TEST_F(MoneyContract, DescriptionsAreCountedInCharacters) {
  const int64_t account = bank().open_account();
  ApiClient client = as(customer());
  const auto with = [&](const std::string& json) {
    return client.post(kDeposits, deposit_body(account, "1", ",\"description\":" + json));
  };
  std::string two_bytes;
  std::string four_bytes;
  for (int i = 0; i < 255; ++i) {
    two_bytes += "\xc3\xa9";
    four_bytes += "\xf0\x9f\x92\xb8";
  }
  EXPECT_TRUE(is_json(with(json_quoted(two_bytes))));
  EXPECT_TRUE(is_json(with(json_quoted(four_bytes))));
  EXPECT_TRUE(is_validation_error(with(json_quoted(std::string(256, 'd'))), "description"));
  EXPECT_TRUE(is_validation_error(with(json_quoted(two_bytes + "e")), "description"));
  EXPECT_TRUE(is_validation_error(with(json_quoted(four_bytes + "\xf0\x9f\x92\xb8")), "description"));
  for (const char* other : {"1", "true", "[]", "{}", "[\"text\"]"})
    EXPECT_TRUE(is_validation_error(with(other), "description")) << other;
  // PostgreSQL's text holds no NUL, so nobody's may.
  EXPECT_TRUE(is_validation_error(with("\"a\\u0000b\""), "description"));
}

TEST_F(MoneyContract, DescriptionMayBeLeftOut) {
  const auto accounts = bank().open_accounts({{}, {}});
  ApiClient client = as(customer());
  for (const char* path : kSingles) {
    const HttpResponse response = client.post(path, deposit_body(accounts[0], "1"));
    ASSERT_TRUE(is_json(response));
    EXPECT_THAT(response.raw("description"), AnyOf("\"\"", "null"));
  }
  EXPECT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1"))));
}

// --- What the books say ----------------------------------------------------------------------------------------------

TEST_F(MoneyContract, UnknownAccountsAreNotFound) {
  const int64_t account = bank().open_account();
  ApiClient client = as(teller());
  for (const char* path : kSingles)
    EXPECT_TRUE(is_problem(client.post(path, deposit_body(99'999'999, "1")), 404, "ACCOUNT_NOT_FOUND"));
  EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(99'999'999, account, "1")), 404, "ACCOUNT_NOT_FOUND"));
  EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(account, 99'999'999, "1")), 404, "ACCOUNT_NOT_FOUND"));
  EXPECT_TRUE(is_problem(client.post(kDeposits, deposit_body(INT64_MAX, "1")), 404, "ACCOUNT_NOT_FOUND"));
  EXPECT_TRUE(
      is_problem(as(customer()).post(kTransfers, transfer_body(account, 99'999'999, "1")), 404, "ACCOUNT_NOT_FOUND"));
  EXPECT_EQ(bank().balance(account), "1000.00");
}

TEST_F(MoneyContract, TheLastCentMayBeSpentAndNoMore) {
  const auto accounts = bank().open_accounts({{.balance = "10.00"}, {.balance = "10.00"}, {.balance = "0.00"}});
  ApiClient client = as(customer());
  expect_refused(bank(), client.post(kWithdrawals, deposit_body(accounts[0], "10.01")), 400, "INSUFFICIENT_FUNDS",
                 accounts[0], "10.00");
  const HttpResponse all = client.post(kWithdrawals, deposit_body(accounts[0], "10.00"));
  ASSERT_TRUE(is_json(all));
  EXPECT_EQ(all.raw("new_balance"), "0.00");
  expect_refused(bank(), client.post(kWithdrawals, deposit_body(accounts[0], "0.01")), 400, "INSUFFICIENT_FUNDS",
                 accounts[0], "0.00");

  expect_refused(bank(), client.post(kTransfers, transfer_body(accounts[1], accounts[2], "10.01")), 400,
                 "INSUFFICIENT_FUNDS", accounts[1], "10.00");
  const HttpResponse transfer = client.post(kTransfers, transfer_body(accounts[1], accounts[2], "10.00"));
  ASSERT_TRUE(is_json(transfer));
  EXPECT_EQ(transfer.raw("from_account_new_balance"), "0.00");
  EXPECT_EQ(transfer.raw("to_account_new_balance"), "10.00");
}

TEST_F(MoneyContract, AccountsThatAreNotActiveDoNotMove) {
  const auto accounts = bank().open_accounts({{.is_active = false}, {}});
  for (const std::string& token : {customer(), teller()}) {
    ApiClient client = as(token);
    for (const char* path : kSingles)
      expect_refused(bank(), client.post(path, deposit_body(accounts[0], "1")), 400, "ACCOUNT_NOT_ACTIVE", accounts[0],
                     "1000.00");
    expect_refused(bank(), client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1")), 400,
                   "ACCOUNT_NOT_ACTIVE", accounts[0], "1000.00");
    expect_refused(bank(), client.post(kTransfers, transfer_body(accounts[1], accounts[0], "1")), 400,
                   "ACCOUNT_NOT_ACTIVE", accounts[1], "1000.00");
  }
  // It can still be looked at.
  EXPECT_EQ(as(customer()).get("/transaction-logs/" + std::to_string(accounts[0])).json()["logs"].size(), 0u);
}

TEST_F(MoneyContract, ATransferNeedsTwoAccounts) {
  const int64_t account = bank().open_account();
  expect_refused(bank(), as(customer()).post(kTransfers, transfer_body(account, account, "1")), 400,
                 "SAME_ACCOUNT_TRANSFER", account, "1000.00");
}

TEST_F(MoneyContract, TransferModesAreThese) {
  const auto accounts = bank().open_accounts({{}, {}});
  ApiClient client = as(customer());
  const std::string log = "/transaction-logs/" + std::to_string(accounts[0]) + "?limit=1";
  for (const char* mode : {"NEFT", "RTGS", "IMPS", "UPI", "CHEQUE"}) {
    const HttpResponse response = client.post(
        kTransfers, transfer_body(accounts[0], accounts[1], "1", std::string(",\"transfer_mode\":\"") + mode + "\""));
    ASSERT_TRUE(is_json(response)) << mode;
    EXPECT_EQ(response.json()["transfer_mode"].text(), mode);
    EXPECT_EQ(client.get(log).json()["logs"][0]["transfer_mode"].text(), mode);
  }
  const std::string before = bank().balance(accounts[0]);
  for (const char* mode : {"SWIFT", "neft", "", "NEFT ", "NONE"})
    expect_refused(bank(),
                   client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1",
                                                         std::string(",\"transfer_mode\":\"") + mode + "\"")),
                   400, "INVALID_TRANSFER_MODE", accounts[0], before);
  for (const char* mode : {"1", "true", "[\"NEFT\"]"})
    EXPECT_TRUE(is_validation_error(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1",
                                                                          std::string(",\"transfer_mode\":") + mode)),
                                    "transfer_mode"))
        << mode;
}

// --- Daily limits ----------------------------------------------------------------------------------------------------

TEST_F(MoneyContract, DailyAmountIsExactForEveryPrivilege) {
  const std::pair<const char*, const char*> limits[] = {
      {"PREMIUM", "100000.00"}, {"GOLD", "50000.00"}, {"SILVER", "25000.00"}, {"BASIC", "10000.00"}};
  ApiClient client = as(customer());
  for (const auto& [privilege, limit] : limits) {
    const auto accounts = bank().open_accounts(
        {{.privilege = privilege, .balance = "200000.00"}, {.privilege = "BASIC", .balance = "0.00"}});
    const auto pay = [&](int64_t minor) {
      return client.post(kTransfers, transfer_body(accounts[0], accounts[1], from_minor(minor)));
    };
    const int64_t all = to_minor(limit);
    EXPECT_TRUE(is_problem(pay(all + 1), 400, "TRANSFER_LIMIT_EXCEEDED")) << privilege;
    EXPECT_TRUE(is_json(pay(all - 1))) << privilege;
    EXPECT_TRUE(is_problem(pay(2), 400, "TRANSFER_LIMIT_EXCEEDED")) << privilege;
    EXPECT_TRUE(is_json(pay(1))) << privilege;
    EXPECT_TRUE(is_problem(pay(1), 400, "TRANSFER_LIMIT_EXCEEDED")) << privilege;
    EXPECT_EQ(bank().balance(accounts[1]), limit);
    // Only transfers count, and only the payer's.
    EXPECT_TRUE(is_json(client.post(kWithdrawals, deposit_body(accounts[0], "1.00")))) << privilege;
    EXPECT_TRUE(is_json(client.post(kDeposits, deposit_body(accounts[0], "1.00")))) << privilege;
    EXPECT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[1], accounts[0], "1.00")))) << privilege;
  }
}

TEST_F(MoneyContract, DailyCountIsExactForEveryPrivilege) {
  const std::pair<const char*, int> limits[] = {{"PREMIUM", 50}, {"GOLD", 25}, {"SILVER", 10}, {"BASIC", 5}};
  ApiClient client = as(customer());
  for (const auto& [privilege, limit] : limits) {
    const auto accounts = bank().open_accounts({{.privilege = privilege}, {.balance = "0.00"}});
    const auto pay = [&](const char* amount) {
      return client.post(kTransfers, transfer_body(accounts[0], accounts[1], amount));
    };
    // Neither withdrawals nor what was refused counts.
    EXPECT_TRUE(is_json(client.post(kWithdrawals, deposit_body(accounts[0], "1.00"))));
    EXPECT_TRUE(is_problem(pay("5000.00"), 400, "INSUFFICIENT_FUNDS"));
    for (int i = 0; i < limit; ++i) ASSERT_TRUE(is_json(pay("0.01"))) << privilege << " " << i;
    EXPECT_TRUE(is_problem(pay("0.01"), 400, "DAILY_TRANSACTION_COUNT_EXCEEDED")) << privilege;
    EXPECT_EQ(bank().balance(accounts[1]), from_minor(limit));
    EXPECT_TRUE(is_json(client.post(kWithdrawals, deposit_body(accounts[0], "1.00")))) << privilege;
  }
}

// --- PIN -------------------------------------------------------------------------------------------------------------

TEST_F(MoneyContract, DebitsOfAnAccountWithAPinNeedIt) {
  const auto accounts = bank().open_accounts({{.pin = "4711"}, {.pin = "000000"}, {}});
  for (const std::string& token : {customer(), teller()}) {
    ApiClient client = as(token);
    const auto withdraw = [&](int64_t account, const std::string& extra) {
      return client.post(kWithdrawals, deposit_body(account, "1", extra));
    };
    // One wrong one, then the right one: three in a row would lock the account.
    const HttpResponse missing = withdraw(accounts[0], "");
    EXPECT_TRUE(is_problem(missing, 401, "INVALID_PIN"));
    EXPECT_TRUE(missing.has("WWW-Authenticate")) << missing;
    EXPECT_TRUE(is_json(withdraw(accounts[0], R"(,"pin":"4711")")));
    const HttpResponse wrong = withdraw(accounts[0], R"(,"pin":"4712")");
    EXPECT_TRUE(is_problem(wrong, 401, "INVALID_PIN"));
    EXPECT_TRUE(wrong.has("WWW-Authenticate")) << wrong;
    EXPECT_THAT(wrong.json()["detail"].text(), Not(HasSubstr("471")));  // a request id may well have these digits
    EXPECT_TRUE(is_json(withdraw(accounts[0], R"(,"pin":"4711")")));
    EXPECT_TRUE(is_problem(withdraw(accounts[0], R"(,"pin":"47110")"), 401, "INVALID_PIN"));
    EXPECT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[0], accounts[2], "1", R"(,"pin":"4711")"))));
    EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(accounts[0], accounts[2], "1", R"(,"pin":"1111")")),
                           401, "INVALID_PIN"));
    EXPECT_TRUE(is_json(withdraw(accounts[0], R"(,"pin":"4711")")));
    EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(accounts[0], accounts[2], "1")), 401, "INVALID_PIN"));
    EXPECT_TRUE(is_json(withdraw(accounts[0], R"(,"pin":"4711")")));
    // Zeros count: 0000 is not 000000.
    EXPECT_TRUE(is_problem(withdraw(accounts[1], R"(,"pin":"0000")"), 401, "INVALID_PIN"));
    EXPECT_TRUE(is_json(withdraw(accounts[1], R"(,"pin":"000000")")));
  }
  EXPECT_EQ(bank().balance(accounts[0]), from_minor(100'000 - 2 * 500));
}

TEST_F(MoneyContract, CreditsNeedNoPin) {
  const auto accounts = bank().open_accounts({{.pin = "4711"}, {}});
  EXPECT_TRUE(is_json(as(customer()).post(kDeposits, deposit_body(accounts[0], "1"))));
  EXPECT_TRUE(is_json(as(customer()).post(kTransfers, transfer_body(accounts[1], accounts[0], "1"))));
}

TEST_F(MoneyContract, APinIsFourToSixDigits) {
  const auto accounts = bank().open_accounts({{.pin = "4711"}, {}});
  ApiClient client = as(customer());
  for (const char* pin : {"\"\"", "\"123\"", "\"1234567\"", "\"12a4\"", "\" 4711\"", "\"-471\"", "4711", "true",
                          "[\"4711\"]", "\"\xd9\xa1\xd9\xa2\xd9\xa3\xd9\xa4\""}) {
    const std::string extra = std::string(",\"pin\":") + pin;
    EXPECT_TRUE(is_validation_error(client.post(kWithdrawals, deposit_body(accounts[0], "1", extra)), "pin")) << pin;
    EXPECT_TRUE(
        is_validation_error(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1", extra)), "pin"))
        << pin;
  }
  EXPECT_EQ(bank().balance(accounts[0]), "1000.00");
  // Where there is none, any will do.
  for (const char* pin : {"1234", "12345", "123456"})
    EXPECT_TRUE(
        is_json(client.post(kWithdrawals, deposit_body(accounts[1], "1", std::string(",\"pin\":\"") + pin + "\""))));
}

TEST_F(MoneyContract, PinsAreKeptNowhere) {
  const auto accounts = bank().open_accounts({{.pin = "271828"}, {}});
  ApiClient client = as(customer());
  EXPECT_TRUE(is_json(client.post(kWithdrawals, deposit_body(accounts[0], "1", R"(,"pin":"271828")"))));
  EXPECT_TRUE(is_problem(client.post(kWithdrawals, deposit_body(accounts[0], "1", R"(,"pin":"314159")")), 401));
  EXPECT_THAT(client.get("/transaction-logs/" + std::to_string(accounts[0])).body, Not(HasSubstr("271828")));
  EXPECT_THAT(bank().service().log_text(), Not(HasSubstr("271828")));
  EXPECT_THAT(bank().service().log_text(), Not(HasSubstr("314159")));
  const std::string row = bank().database().value(
      "SELECT row_to_json(a)::text FROM accounts a WHERE account_number = " + std::to_string(accounts[0]));
  EXPECT_THAT(row, Not(HasSubstr("271828")));
}

// --- All or nothing --------------------------------------------------------------------------------------------------

TEST_F(MoneyContract, RefusalsLeaveNoTrace) {
  const auto accounts = bank().open_accounts({{.pin = "4711"}, {.balance = "1.00"}});
  ApiClient client = as(customer());
  EXPECT_TRUE(is_problem(client.post(kWithdrawals, deposit_body(accounts[0], "5000", R"(,"pin":"4711")")), 400));
  EXPECT_TRUE(is_problem(client.post(kWithdrawals, deposit_body(accounts[0], "1")), 401));
  EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(accounts[1], accounts[0], "2")), 400));
  EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(accounts[1], 99'999'999, "1")), 404));
  EXPECT_TRUE(is_problem(client.post(kDeposits, deposit_body(accounts[0], "-1")), 400));
  for (const int64_t account : accounts)
    EXPECT_EQ(client.get("/transaction-logs/" + std::to_string(account)).json()["logs"].size(), 0u);
  // The next success continues the numbering as if nothing had been.
  ASSERT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[1], accounts[0], "1.00"))));
  for (const int64_t account : accounts) EXPECT_EQ(bank().log_of(account).front().seq, 1);
}

TEST_F(MoneyContract, TheBooksAgreeAtTheEnd) {
  // A mixed day on three accounts, some of it refused.
  const auto accounts =
      bank().open_accounts({{.balance = "50.00"}, {.privilege = "BASIC", .balance = "20.00"}, {.balance = "0.00"}});
  ApiClient client = as(customer());
  for (int i = 0; i < 60; ++i) {
    const int64_t from = accounts[static_cast<size_t>(i) % 3];
    const int64_t to = accounts[static_cast<size_t>(i + 1) % 3];
    const std::string amount = from_minor(1 + i * 37 % 1500);
    HttpResponse response;
    if (i % 4 == 0) response = client.post(kDeposits, deposit_body(from, amount));
    if (i % 4 == 1) response = client.post(kWithdrawals, deposit_body(from, amount));
    if (i % 4 >= 2) response = client.post(kTransfers, transfer_body(from, to, amount));
    EXPECT_THAT(response.status, AnyOf(200, 400)) << response;
  }
  EXPECT_TRUE(bank().books_are_right(accounts[0], "50.00", port()));
  EXPECT_TRUE(bank().books_are_right(accounts[1], "20.00", port()));
  EXPECT_TRUE(bank().books_are_right(accounts[2], "0.00", port()));
  EXPECT_TRUE(bank().ledger_verifies());
}

}  // namespace
}  // namespace txn::test
