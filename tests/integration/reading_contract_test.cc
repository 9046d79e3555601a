// Contract sections 3.2 and 3.3: limits, logs, transactions, and what operators and probes read.

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::UnorderedElementsAre;

constexpr const char* kPrefixes[] = {"", "/api/v1"};

class ReadingContract : public BankTest {};

// --- Transfer limits -------------------------------------------------------------------------------------------------

TEST_F(ReadingContract, LimitsOfEveryPrivilegeOnBothPaths) {
  struct Rule {
    const char* privilege;
    const char* daily_limit;
    int transaction_limit;
  };
  const Rule rules[] = {
      {"PREMIUM", "100000.00", 50}, {"GOLD", "50000.00", 25}, {"SILVER", "25000.00", 10}, {"BASIC", "10000.00", 5}};
  for (const std::string& token : {customer(), teller(), admin()}) {
    ApiClient client = as(token);
    for (const Rule& rule : rules) {
      for (const std::string prefix : kPrefixes) {
        const HttpResponse response = client.get(prefix + "/transfer-limits/" + rule.privilege);
        ASSERT_TRUE(is_json(response)) << prefix << rule.privilege;
        EXPECT_EQ(response.json()["privilege"].text(), rule.privilege);
        EXPECT_EQ(response.raw("daily_limit"), rule.daily_limit);
        EXPECT_EQ(response.json()["transaction_limit"].integer(), rule.transaction_limit);
      }
    }
  }
}

TEST_F(ReadingContract, UnknownPrivilegesHaveNoLimits) {
  for (const char* level : {"PLATINUM", "NONE", "GOLDEN", "GOL", "%00", "GOLD%20"}) {
    const HttpResponse response = as(customer()).get(std::string("/transfer-limits/") + level);
    EXPECT_TRUE(is_problem(response, 404, "TRANSFER_LIMIT_NOT_FOUND")) << level;
  }
}

TEST_F(ReadingContract, AllRulesInOneList) {
  const HttpResponse response = as(teller()).get("/api/v1/transfer-limits/rules/all");
  ASSERT_TRUE(is_json(response));
  std::set<std::string> privileges;
  for (const Json& rule : list_in(response)) {
    privileges.insert(rule["privilege"].text());
    EXPECT_TRUE(rule.has("daily_limit") && rule.has("transaction_limit")) << rule;
  }
  EXPECT_THAT(privileges, ElementsAre("BASIC", "GOLD", "PREMIUM", "SILVER"));
  const auto limits = raw_tokens(response.body, "daily_limit");
  EXPECT_THAT(limits, IsSupersetOf({"100000.00", "50000.00", "25000.00", "10000.00"}));
}

TEST_F(ReadingContract, LimitsComeFromTheTable) {
  Bank other("rules");
  other.database().query(
      "UPDATE transfer_limits SET daily_limit = 7.50, transaction_limit = 2 WHERE privilege = 'BASIC'");
  const auto accounts = other.open_accounts({{.privilege = "BASIC"}, {}});
  ApiClient client(other.service().port(), customer());
  EXPECT_EQ(client.get("/transfer-limits/BASIC").raw("daily_limit"), "7.50");
  EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "7.51")), 400,
                         "TRANSFER_LIMIT_EXCEEDED"));
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1"))));
  EXPECT_TRUE(is_problem(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1")), 400,
                         "DAILY_TRANSACTION_COUNT_EXCEEDED"));
}

// The four numbers of the day, as one line.
std::string usage_line(const HttpResponse& response) {
  if (response.status != 200) return "status " + std::to_string(response.status);
  return response.raw("daily_used") + " of " + response.raw("daily_limit") + ", " + response.raw("daily_remaining") +
         " left; " + response.raw("transactions_today") + " of " + response.raw("transaction_limit") + ", " +
         response.raw("transactions_remaining") + " left";
}

TEST_F(ReadingContract, LimitsOfAnAccountFollowItsTransfers) {
  const auto accounts = bank().open_accounts({{.privilege = "BASIC", .balance = "50000.00"}, {}});
  const std::string path = "/api/v1/transfer-limits/" + std::to_string(accounts[0]);
  ApiClient client = as(customer());
  const auto usage = [&] { return usage_line(client.get(path)); };

  const HttpResponse first = client.get(path);
  ASSERT_TRUE(is_json(first));
  EXPECT_EQ(first.json()["account_number"].integer(), accounts[0]);
  EXPECT_EQ(first.json()["privilege"].text(), "BASIC");
  EXPECT_EQ(usage(), "0.00 of 10000.00, 10000.00 left; 0 of 5, 5 left");

  ASSERT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "1234.56"))));
  EXPECT_EQ(usage(), "1234.56 of 10000.00, 8765.44 left; 1 of 5, 4 left");
  ASSERT_TRUE(is_json(client.post(kWithdrawals, deposit_body(accounts[0], "1"))));
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(accounts[0], "1"))));
  ASSERT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[1], accounts[0], "1"))));
  ASSERT_TRUE(is_problem(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "8765.45")), 400));
  EXPECT_EQ(usage(), "1234.56 of 10000.00, 8765.44 left; 1 of 5, 4 left");
  ASSERT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[0], accounts[1], "8765.44"))));
  EXPECT_EQ(usage(), "10000.00 of 10000.00, 0.00 left; 2 of 5, 3 left");
  EXPECT_EQ(usage_line(as(teller()).get(path)), usage());
  EXPECT_EQ(usage_line(as(admin()).get(path)), usage());
}

TEST_F(ReadingContract, LimitsStartAnewEveryDay) {
  Bank other("days");  // a bank of its own: its books are made to look as if written yesterday
  const auto accounts = other.open_accounts({{.privilege = "BASIC", .balance = "50000.00"}, {}});
  ApiClient client(other.service().port(), customer());
  const std::string path = "/api/v1/transfer-limits/" + std::to_string(accounts[0]);
  const std::string pay_all = transfer_body(accounts[0], accounts[1], "10000.00");
  ASSERT_TRUE(is_json(client.post(kTransfers, pay_all)));
  ASSERT_TRUE(is_problem(client.post(kTransfers, pay_all), 400, "TRANSFER_LIMIT_EXCEEDED"));
  other.database().query("UPDATE accounts SET usage_day = usage_day - 1 WHERE account_number = " +
                         std::to_string(accounts[0]));
  EXPECT_EQ(usage_line(client.get(path)), "0.00 of 10000.00, 10000.00 left; 0 of 5, 5 left");
  EXPECT_TRUE(is_json(client.post(kTransfers, pay_all)));
  EXPECT_EQ(usage_line(client.get(path)), "10000.00 of 10000.00, 0.00 left; 1 of 5, 4 left");
}

TEST_F(ReadingContract, AccountNumbersInPathsAreNumbers) {
  ApiClient client = as(teller());
  for (const char* number : {"0", "-1", "1.5", "9223372036854775808", "1e3", "abc", "%31", "1%00"}) {
    const HttpResponse response = client.get(std::string("/transaction-logs/") + number);
    EXPECT_THAT(response.status, AnyOf(404, 422)) << number << "\n" << response;
    EXPECT_TRUE(is_problem(response, response.status)) << number;
  }
}

// --- Logs ------------------------------------------------------------------------------------------------------------

TEST_F(ReadingContract, LogRowsSayEverything) {
  const auto accounts = bank().open_accounts({{.balance = "10.00"}, {.balance = "20.00"}});
  const std::string path = "/transaction-logs/" + std::to_string(accounts[0]);
  ApiClient client = as(customer());
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(accounts[0], "5.25", R"(,"description":"in")"))));
  ASSERT_TRUE(is_json(client.post(kWithdrawals, deposit_body(accounts[0], "0.25", R"(,"description":"out")"))));
  const HttpResponse transfer = client.post(
      kTransfers, transfer_body(accounts[0], accounts[1], "5", R"(,"transfer_mode":"UPI","description":"rent")"));
  ASSERT_TRUE(is_json(transfer));
  ASSERT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[1], accounts[0], "2.50"))));

  const HttpResponse response = client.get(path);
  ASSERT_TRUE(is_json(response));
  const Json page = response.json();
  EXPECT_EQ(page["account_number"].integer(), accounts[0]);
  EXPECT_EQ(page["limit"].integer(), 50);
  EXPECT_FALSE(page["has_more"].boolean());
  EXPECT_TRUE(!page.has("next_cursor") || page["next_cursor"].is_null()) << response;

  EXPECT_THAT(raw_tokens(response.body, "amount"), ElementsAre("2.50", "5.00", "0.25", "5.25"));
  EXPECT_THAT(raw_tokens(response.body, "balance_after"), ElementsAre("12.50", "10.00", "15.00", "15.25"));
  EXPECT_THAT(raw_tokens(response.body, "seq"), ElementsAre("4", "3", "2", "1"));
  EXPECT_THAT(raw_tokens(response.body, "direction"),
              ElementsAre("\"CREDIT\"", "\"DEBIT\"", "\"DEBIT\"", "\"CREDIT\""));
  EXPECT_THAT(raw_tokens(response.body, "transaction_type"),
              ElementsAre("\"TRANSFER\"", "\"TRANSFER\"", "\"WITHDRAWAL\"", "\"DEPOSIT\""));
  const std::string other = std::to_string(accounts[1]);
  EXPECT_THAT(raw_tokens(response.body, "counterparty"), ElementsAre(other, other, "null", "null"));
  EXPECT_THAT(raw_tokens(response.body, "transfer_mode"), ElementsAre("\"NEFT\"", "\"UPI\"", "null", "null"));
  std::set<std::string> ids;
  for (const Json& row : page["logs"].items()) {
    EXPECT_THAT(row.keys(),
                IsSupersetOf({"id", "seq", "account_number", "counterparty", "amount", "transaction_type", "direction",
                              "balance_after", "reference_id", "transfer_mode", "description", "created_at"}));
    EXPECT_EQ(row["account_number"].integer(), accounts[0]);
    EXPECT_TRUE(is_timestamp(row["created_at"].text())) << row;
    EXPECT_TRUE(ids.insert(row["id"].scalar()).second) << row;
  }
  EXPECT_EQ(page["logs"][1]["description"].text(), "rent");
  EXPECT_EQ(page["logs"][1]["created_at"].text(), transfer.json()["transaction_date"].text());

  // The payee's side of the same transaction.
  const Json payee = client.get("/transaction-logs/" + other).json()["logs"];
  ASSERT_EQ(payee.size(), 2u);
  EXPECT_EQ(payee[1]["direction"].text(), "CREDIT");
  EXPECT_EQ(payee[1]["counterparty"].integer(), accounts[0]);
  EXPECT_EQ(payee[1]["reference_id"].scalar(), page["logs"][1]["reference_id"].scalar());
  EXPECT_EQ(payee[1]["reference_id"].scalar(), transfer.json()["transaction_id"].scalar());
}

TEST_F(ReadingContract, AnAccountWithoutMovementsHasAnEmptyLog) {
  const int64_t account = bank().open_account();
  for (const std::string prefix : kPrefixes) {
    const HttpResponse response = as(customer()).get(prefix + "/transaction-logs/" + std::to_string(account));
    ASSERT_TRUE(is_json(response));
    EXPECT_EQ(response.json()["logs"].size(), 0u);
    EXPECT_FALSE(response.json()["has_more"].boolean());
  }
}

// An account with 120 deposits of 0.01, 0.02, ...
class LogPaging : public BankTest {
 protected:
  static constexpr int kRows = 120;

  static void SetUpTestSuite() {
    BankTest::SetUpTestSuite();
    account_ = bank().open_account({.balance = "0.00"});
    RawClient client(port());
    const std::string token = "Bearer " + customer();
    std::string bytes;
    for (int i = 1; i <= kRows; ++i) {
      bytes = format_request("POST", kDeposits, {{"Authorization", token}, {"Content-Type", "application/json"}},
                             deposit_body(account_, from_minor(i)));
      ASSERT_TRUE(is_json(client.exchange(bytes))) << i;
    }
  }

  static std::string path(const std::string& query = "") {
    return "/transaction-logs/" + std::to_string(account_) + (query.empty() ? "" : "?" + query);
  }
  static HttpResponse page(const std::string& query) { return as(customer()).get(path(query)); }
  static std::vector<int64_t> seqs(const HttpResponse& response) {
    std::vector<int64_t> found;
    if (response.status != 200) return found;
    for (const Json& row : response.json()["logs"].items()) found.push_back(row["seq"].integer());
    return found;
  }
  static std::vector<int64_t> range(int64_t from, int64_t down_to) {
    std::vector<int64_t> expected;
    for (int64_t seq = from; seq >= down_to; --seq) expected.push_back(seq);
    return expected;
  }
  static int64_t account() { return account_; }

 private:
  static inline int64_t account_ = 0;
};

TEST_F(LogPaging, LimitBoundsAPage) {
  EXPECT_EQ(seqs(page("")), range(kRows, kRows - 49));
  EXPECT_EQ(page("").json()["limit"].integer(), 50);
  EXPECT_EQ(seqs(page("limit=1")), range(kRows, kRows));
  EXPECT_EQ(seqs(page("limit=7")), range(kRows, kRows - 6));
  EXPECT_EQ(page("limit=7").json()["limit"].integer(), 7);
  EXPECT_EQ(seqs(page("limit=500")), range(kRows, 1));
  EXPECT_TRUE(page("limit=119").json()["has_more"].boolean());
  EXPECT_FALSE(page("limit=120").json()["has_more"].boolean());
  for (const char* limit : {"0", "501", "-1", "abc", "", "1.5", "99999999999999999999", "+5", "5x"})
    EXPECT_TRUE(is_validation_error(page(std::string("limit=") + limit), "limit", "query")) << limit;
}

TEST_F(LogPaging, CursorWalksTheWholeLog) {
  for (const int limit : {1, 7, 40, 60, 119, 120, 121}) {
    const std::string query = "limit=" + std::to_string(limit);
    std::vector<int64_t> walked;
    std::string next = query;
    for (int pages = 0; pages < kRows + 2; ++pages) {
      const HttpResponse response = page(next);
      ASSERT_TRUE(is_json(response));
      const auto rows = seqs(response);
      EXPECT_LE(rows.size(), static_cast<size_t>(limit));
      walked.insert(walked.end(), rows.begin(), rows.end());
      if (!response.json()["has_more"].boolean()) break;
      next = query + "&cursor=" + response.json()["next_cursor"].text();
    }
    EXPECT_EQ(walked, range(kRows, 1)) << limit;
  }
}

TEST_F(LogPaging, CursorIsNotMovedByNewRows) {
  const int64_t busy = bank().open_account();
  ApiClient client = as(customer());
  const std::string log = "/transaction-logs/" + std::to_string(busy) + "?limit=5";
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(busy, "1"))));
  const HttpResponse first = client.get(log);
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(busy, "1"))));
  const HttpResponse second = client.get(log + "&cursor=" + first.json()["next_cursor"].text());
  EXPECT_EQ(seqs(second), range(7, 3));
}

TEST_F(LogPaging, CursorsAreCheckedAndOpaque) {
  const std::string cursor = page("limit=10").json()["next_cursor"].text();
  EXPECT_THAT(cursor.find_first_of("&=+/% "), AnyOf(std::string::npos)) << "fit for a URL as it is: " << cursor;
  for (const char* bad : {"x", "0", "-1", "!!!", "%00", "%27%3B--", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})
    EXPECT_TRUE(is_validation_error(page(std::string("cursor=") + bad), "cursor", "query")) << bad;
  EXPECT_TRUE(is_validation_error(page("cursor=" + cursor + "x"), "cursor", "query"));
  EXPECT_TRUE(is_validation_error(page("cursor=" + std::string(2000, 'A')), "cursor", "query"));
}

TEST_F(LogPaging, SkipLeavesOutTheNewest) {
  EXPECT_EQ(seqs(page("skip=0&limit=3")), range(kRows, kRows - 2));
  EXPECT_EQ(seqs(page("skip=100&limit=5")), range(20, 16));
  EXPECT_EQ(seqs(page("skip=118")), range(2, 1));
  EXPECT_FALSE(page("skip=118").json()["has_more"].boolean());
  EXPECT_THAT(seqs(page("skip=120")), IsEmpty());
  EXPECT_TRUE(is_json(page("skip=10000")));
  const HttpResponse beyond = page("skip=10001");
  EXPECT_TRUE(is_validation_error(beyond, "skip", "query"));
  EXPECT_THAT(beyond.body, HasSubstr("cursor"));
  for (const char* skip : {"-1", "abc", "1.5", "", "99999999999999999999"})
    EXPECT_TRUE(is_validation_error(page(std::string("skip=") + skip), "skip", "query")) << skip;
}

TEST_F(LogPaging, DatesBoundTheRows) {
  const Json rows = page("limit=500").json()["logs"];
  const std::string middle = rows[60]["created_at"].text();  // seq 60
  const std::string today = middle.substr(0, 10);
  EXPECT_EQ(seqs(page("limit=500&start_date=" + today)), range(kRows, 1));
  EXPECT_EQ(seqs(page("limit=500&end_date=" + today)), range(kRows, 1)) << "a day without a time is all of it";
  EXPECT_EQ(seqs(page("limit=500&start_date=" + today + "&end_date=" + today)), range(kRows, 1));
  EXPECT_THAT(seqs(page("end_date=2001-02-03")), IsEmpty());
  EXPECT_THAT(seqs(page("start_date=2999-12-31")), IsEmpty());
  EXPECT_EQ(seqs(page("limit=500&start_date=2001-02-03&end_date=2999-12-31")), range(kRows, 1));

  // Rows of one batch share their time, so only those on either side of it are compared.
  std::vector<int64_t> before;
  std::vector<int64_t> after;
  for (const Json& row : rows.items()) {
    if (row["created_at"].text() < middle) before.push_back(row["seq"].integer());
    if (row["created_at"].text() > middle) after.push_back(row["seq"].integer());
  }
  const auto from_middle = seqs(page("limit=500&start_date=" + middle));
  const auto to_middle = seqs(page("limit=500&end_date=" + middle));
  EXPECT_TRUE(std::equal(after.begin(), after.end(), from_middle.begin()));
  EXPECT_EQ(from_middle.back(), before.empty() ? 1 : before.front() + 1) << "start_date is within its range";
  EXPECT_EQ(to_middle.front(), after.empty() ? kRows : after.back() - 1) << "end_date is within its range";
  EXPECT_EQ(to_middle.back(), 1);
  EXPECT_EQ(from_middle.size() + to_middle.size() - (static_cast<size_t>(kRows) - before.size() - after.size()),
            static_cast<size_t>(kRows));

  for (const char* date : {"yesterday", "2024-13-01", "2024-02-30", "2024-1-1", "20240101", "", "2024-01-01T25:00:00Z",
                           "2024-01-01T00:00:00", "1704067200", "%27"}) {
    EXPECT_TRUE(is_validation_error(page(std::string("start_date=") + date), "start_date", "query")) << date;
    EXPECT_TRUE(is_validation_error(page(std::string("end_date=") + date), "end_date", "query")) << date;
  }
}

// Whatever RFC 3339 can write, asked of the database: Go's zero time, the year that PostgreSQL calls 1 BC, and what
// offsets bring out of the four digits.
TEST_F(LogPaging, TimesOfAllYearsAreTaken) {
  for (const char* early : {"0001-01-01T00:00:00Z", "0000-01-01", "0000-01-01T00:00:00Z", "0000-01-01T00:00:00%2B23:59",
                            "0000-12-31T23:59:59.999999Z", "1969-12-31", "1582-10-10T12:00Z"}) {
    EXPECT_EQ(seqs(page(std::string("limit=500&start_date=") + early)), range(kRows, 1)) << early;
    EXPECT_EQ(seqs(page(std::string("limit=500&end_date=9999-12-31&start_date=") + early)), range(kRows, 1)) << early;
    const HttpResponse nothing = page(std::string("end_date=") + early);
    EXPECT_TRUE(is_json(nothing)) << early;
    EXPECT_THAT(seqs(nothing), IsEmpty()) << early;
  }
  for (const char* late :
       {"9999-12-31", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999-23:59", "2999-01-01T00:00Z"}) {
    EXPECT_EQ(seqs(page(std::string("limit=500&end_date=") + late)), range(kRows, 1)) << late;
    EXPECT_THAT(seqs(page(std::string("start_date=") + late)), IsEmpty()) << late;
  }
}

TEST_F(LogPaging, ATimeThatIsNoneSaysWhy) {
  const std::pair<const char*, const char*> cases[] = {
      {"2026-02-30", "calendar"},       {"2026-13-01", "calendar"},
      {"2026-11-22T25:00:00Z", "hour"}, {"2026-11-22T10:00", "Z or an offset"},
      {"10000-01-01", "0000 to 9999"},  {"yesterday", "2026-01-31"},
  };
  for (const auto& [date, text] : cases) {
    const HttpResponse response = page(std::string("start_date=") + date);
    EXPECT_TRUE(is_validation_error(response, "start_date", "query")) << date;
    EXPECT_THAT(response.body, HasSubstr(text)) << date;
  }
}

TEST_F(LogPaging, NamesThatNobodyKnowsAreRefusedWithTheNearest) {
  const std::pair<const char*, const char*> cases[] = {
      {"startdate", "start_date"}, {"start-date", "start_date"}, {"endDate", "end_date"}, {"LIMIT", "limit"},
      {"limti", "limit"},          {"curser", "cursor"},         {"offset", "nearest"},   {"verbose", "nearest"},
  };
  for (const auto& [name, nearest] : cases) {
    const HttpResponse response = page(std::string(name) + "=1");
    EXPECT_TRUE(is_validation_error(response, name, "query")) << name;
    EXPECT_THAT(response.body, HasSubstr(std::string("the nearest that is: ") + (nearest[0] == 'n' ? "" : nearest)))
        << name;
  }
  EXPECT_TRUE(is_validation_error(page("limit=1&limit=1"), "limit", "query"));
  EXPECT_TRUE(is_validation_error(page("limit=1&%6Cimit=2"), "limit", "query"));
  EXPECT_TRUE(is_validation_error(page("limit=1&_=1700000000"), "_", "query"));
}

TEST_F(ReadingContract, RoutesWithoutParametersSayThatTheyHaveNone) {
  const int64_t account = bank().open_account();
  const std::string number = std::to_string(account);
  ApiClient client = as(teller());
  for (const std::string& path :
       {std::string("/transfer-limits/GOLD"), std::string("/api/v1/transfer-limits/rules/all"),
        "/api/v1/transfer-limits/" + number, std::string("/api/v1/transaction-logs/transaction/1")}) {
    const HttpResponse response = client.get(path + "?limit=5");
    EXPECT_TRUE(is_validation_error(response, "limit", "query")) << path;
    EXPECT_THAT(response.body, HasSubstr("takes no query parameters")) << path;
    EXPECT_EQ(client.head(path + "?limit=5").status, 422) << path;
    EXPECT_NE(client.get(path + "?").status, 422) << path;
  }
  // Nor is money moved by somebody who has asked for something else.
  EXPECT_TRUE(is_validation_error(client.post(std::string(kDeposits) + "?dry_run=true", deposit_body(account, "1.00")),
                                  "dry_run", "query"));
  EXPECT_EQ(bank().balance(account), "1000.00");
  // Probes are not strict: whoever checks appends what it likes.
  for (const char* path : {"/livez?x=1&x=1", "/readyz?_=1", "/health?probe=a&probe=b", "/metrics?format=x"})
    EXPECT_EQ(ApiClient(port()).get(path).status, 200) << path;
}

TEST_F(LogPaging, DatesAndCursorsGoTogether) {
  const std::string today = page("limit=1").json()["logs"][size_t{0}]["created_at"].text().substr(0, 10);
  const std::string query = "limit=50&start_date=" + today;
  const HttpResponse first = page(query);
  const HttpResponse second = page(query + "&cursor=" + first.json()["next_cursor"].text());
  EXPECT_EQ(seqs(second), range(70, 21));
  // Offsets of a day in another zone, the plus sign escaped as URLs need it.
  EXPECT_EQ(seqs(page("limit=500&start_date=2001-01-01T00:00:00%2B05:30")), range(kRows, 1));
}

// Half a megabyte to a reader whose window is small.
TEST_F(LogPaging, TheLargestPageArrivesWhole) {
  const int64_t busy = bank().open_account();
  std::string description;
  for (int i = 0; i < 255; ++i) description += "\xf0\x9f\x92\xb8";
  const std::string request = format_request(
      "POST", kDeposits, {{"Authorization", "Bearer " + customer()}, {"Content-Type", "application/json"}},
      deposit_body(busy, "1.00", ",\"description\":\"" + description + "\""));
  std::vector<RawClient> clients;
  clients.reserve(20);
  for (int i = 0; i < 20; ++i) clients.emplace_back(port());
  for (int round = 0; round < 25; ++round) {
    for (RawClient& client : clients) ASSERT_TRUE(client.send(request));
    for (RawClient& client : clients) ASSERT_EQ(client.read_response().status, 200);
  }
  RawClient reader(port(), RawClient::Options{.receive_buffer = 4096});
  const HttpResponse response = reader.exchange(format_request(
      "GET", "/transaction-logs/" + std::to_string(busy) + "?limit=500", {{"Authorization", "Bearer " + customer()}}));
  ASSERT_TRUE(is_json(response));
  EXPECT_GT(response.body.size(), 500u * 255u * 4u);
  EXPECT_EQ(seqs(response), range(500, 1));
  for (const Json& row : response.json()["logs"].items()) ASSERT_EQ(row["description"].text(), description);
}

TEST_F(LogPaging, BothPathsAreOne) {
  ApiClient client = as(customer());
  EXPECT_EQ(client.get(path("limit=20")).body, client.get("/api/v1" + path("limit=20")).body);
}

// --- Transactions ----------------------------------------------------------------------------------------------------

// Every balance_after that is told; a row may be left out, or its balance be null.
std::vector<std::string> known_balances(const HttpResponse& response) {
  auto balances = raw_tokens(response.body, "balance_after");
  std::erase(balances, "null");
  return balances;
}

TEST_F(ReadingContract, ATransactionIsSeenByItsParties) {
  const auto accounts =
      bank().open_accounts({{.owner_id = 1, .balance = "100.00"}, {.owner_id = 2, .balance = "7.00"}});
  const HttpResponse transfer = as(customer(1)).post(kTransfers, transfer_body(accounts[0], accounts[1], "3.00"));
  ASSERT_TRUE(is_json(transfer));
  const std::string path = "/api/v1/transaction-logs/transaction/" + transfer.json()["transaction_id"].scalar();

  for (const std::string& token : {teller(), admin()}) {
    const HttpResponse response = as(token).get(path);
    ASSERT_TRUE(is_json(response));
    EXPECT_EQ(list_in(response).size(), 2u) << response;
    EXPECT_THAT(raw_tokens(response.body, "direction"), UnorderedElementsAre("\"DEBIT\"", "\"CREDIT\""));
    EXPECT_THAT(raw_tokens(response.body, "amount"), ElementsAre("3.00", "3.00"));
    EXPECT_THAT(known_balances(response), UnorderedElementsAre("97.00", "10.00"));
  }
  // Each party sees it, but not what the other has.
  const HttpResponse payer = as(customer(1)).get(path);
  ASSERT_TRUE(is_json(payer));
  EXPECT_THAT(known_balances(payer), ElementsAre("97.00")) << payer;
  const HttpResponse payee = as(customer(2)).get(path);
  ASSERT_TRUE(is_json(payee));
  EXPECT_THAT(known_balances(payee), ElementsAre("10.00")) << payee;

  EXPECT_TRUE(is_problem(as(customer(3)).get(path), 403, "FORBIDDEN"));
}

TEST_F(ReadingContract, DepositsAndWithdrawalsAreTransactionsOfOneRow) {
  const int64_t account = bank().open_account();
  for (const char* operation : {kDeposits, kWithdrawals}) {
    const HttpResponse done = as(customer()).post(operation, deposit_body(account, "1"));
    ASSERT_TRUE(is_json(done));
    const HttpResponse response =
        as(customer()).get("/api/v1/transaction-logs/transaction/" + done.json()["transaction_id"].scalar());
    ASSERT_TRUE(is_json(response));
    ASSERT_EQ(list_in(response).size(), 1u) << response;
    EXPECT_EQ(list_in(response)[0]["account_number"].integer(), account);
  }
}

TEST_F(ReadingContract, UnknownTransactionsAreNotFound) {
  for (const char* id : {"999999999999", "1"}) {
    const std::string path = std::string("/api/v1/transaction-logs/transaction/") + id;
    EXPECT_TRUE(is_problem(as(teller()).get(path), 404, "TRANSACTION_LOG_NOT_FOUND")) << id;
    EXPECT_TRUE(is_problem(as(customer()).get(path), 404, "TRANSACTION_LOG_NOT_FOUND")) << id;
  }
  for (const char* id : {"0", "-1", "abc", "9223372036854775807", "9223372036854775808", "1.5", "%27"}) {
    const HttpResponse response = as(teller()).get(std::string("/api/v1/transaction-logs/transaction/") + id);
    EXPECT_THAT(response.status, AnyOf(404, 422)) << id << "\n" << response;
  }
}

// --- Operating -------------------------------------------------------------------------------------------------------

TEST_F(ReadingContract, HealthAsksTheDatabase) {
  const HttpResponse response = ApiClient(port()).get("/health");
  ASSERT_TRUE(is_json(response));
  const Json health = response.json();
  EXPECT_EQ(health["status"].text(), "healthy") << response;
  EXPECT_TRUE(is_timestamp(health["timestamp"].text())) << response;
  EXPECT_EQ(health["components"]["database"].text(), "healthy") << response;
  EXPECT_EQ(health["components"]["accounts_service"].text(), "not configured") << response;
  EXPECT_GT(health["components"]["version"].text().size(), 0u) << response;
}

TEST_F(ReadingContract, ProbesAnswerAndExplainThemselves) {
  ApiClient client(port());
  for (const char* path : {"/livez", "/readyz"}) {
    EXPECT_EQ(client.get(path).status, 200) << path;
    const HttpResponse verbose = client.get(std::string(path) + "?verbose");
    EXPECT_EQ(verbose.status, 200) << path;
    EXPECT_TRUE(has_common_headers(verbose)) << path;
    EXPECT_GT(verbose.body.size(), 0u) << path;
  }
  EXPECT_THAT(client.get("/readyz?verbose").body, HasSubstr("database"));
  EXPECT_GT(client.get("/readyz?verbose").body.size(), client.get("/readyz").body.size());
}

}  // namespace
}  // namespace txn::test
