// Role by route by owner, over every route there is, for every algorithm that tokens may have.

#include "tests/integration/access_matrix.h"

#include <gmock/gmock.h>

#include <map>
#include <set>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/signing_key.h"

namespace txn::test {
namespace {

constexpr int64_t kCustomer = 1;
constexpr int64_t kOtherCustomer = 2;

class AccessMatrix : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() { bank_ = std::make_unique<Bank>("matrix"); }
  static void TearDownTestSuite() { bank_.reset(); }
  static Bank& bank() { return *bank_; }

 private:
  static inline std::unique_ptr<Bank> bank_;
};

struct Account {
  std::string number;
  std::string transaction_id;  // one that has moved money on it
};

// `{name}`s of the pattern filled in for `account`.
std::string target_of(const AccessRow& row, const Account& account) {
  const std::map<std::string, std::string> parameters = {
      {"account_number", account.number}, {"transaction_id", account.transaction_id}, {"privilege_level", "GOLD"}};
  std::string target(row.pattern);
  while (true) {
    const size_t open = target.find('{');
    if (open == std::string::npos) return target;
    const size_t close = target.find('}', open);
    const auto value = parameters.find(target.substr(open + 1, close - open - 1));
    if (value == parameters.end()) {
      ADD_FAILURE() << row.pattern << ": this test does not know what to put there";
      return target;
    }
    target.replace(open, close - open + 1, value->second);
  }
}

std::string body_of(const AccessRow& row, const Account& account, const Account& other) {
  if (row.method != "POST") return "";
  if (row.pattern == kTransfers) return transfer_body(std::stoll(account.number), std::stoll(other.number), "1.00");
  if (row.pattern == kDeposits || row.pattern == kWithdrawals) return deposit_body(std::stoll(account.number), "1.00");
  ADD_FAILURE() << row.pattern << ": this test does not know what to post there";
  return "{}";
}

TEST_P(AccessMatrix, EveryRoleOnEveryRoute) {
  const std::string algorithm = GetParam();
  const auto numbers = bank().open_accounts({{.owner_id = kCustomer}, {.owner_id = kOtherCustomer}});
  std::unique_ptr<SigningKey> key;
  const TempDirectory directory;
  Settings changes = {{"JWT_ALGORITHM", algorithm}};
  if (algorithm != "HS256") {
    key = std::make_unique<SigningKey>(algorithm);
    changes["JWT_JWKS_FILE"] = directory.write("jwks.json", jwks({key->jwk("matrix")}));
  }
  ServiceProcess service(bank().settings_with(changes));
  const auto token_of = [&](int64_t subject, const char* role) {
    return key ? key->token(subject, role, "matrix") : make_token(subject, role);
  };
  const std::string customer_token = token_of(kCustomer, "CUSTOMER");
  const std::string teller_token = token_of(9001, "TELLER");
  const std::string admin_token = token_of(9002, "ADMIN");
  const std::string stranger_token =
      key ? SigningKey(algorithm).token(9001, "TELLER", "matrix")
          : make_token(9001, "TELLER", 3600, "another-key-of-more-than-thirty-two-bytes");
  // What holds for the other algorithms holds nothing here: the service's own secret signs this one.
  const std::string confused_token = key ? make_token(9001, "TELLER") : SigningKey("EdDSA").token(9001, "TELLER");

  Account own, others;
  for (const auto& [account, number] : {std::pair(&own, numbers[0]), std::pair(&others, numbers[1])}) {
    const HttpResponse paid = ApiClient(service.port(), teller_token).post(kDeposits, deposit_body(number, "1.00"));
    ASSERT_TRUE(is_json(paid));
    *account = {std::to_string(number), paid.json()["transaction_id"].scalar()};
  }

  for (const AccessRow& row : kAccessMatrix) {
    const Account& account = row.whose == Whose::kOthers ? others : own;
    const std::string target = target_of(row, account);
    const std::string body = body_of(row, account, row.whose == Whose::kOthers ? own : others);
    struct Caller {
      const char* name;
      std::string token;
      int status;
      const char* error_code;
    };
    const bool is_public = row.is_public;
    const Caller callers[] = {
        {"customer", customer_token, row.customer, "FORBIDDEN"},
        {"teller", teller_token, row.teller, "FORBIDDEN"},
        {"admin", admin_token, row.admin, "FORBIDDEN"},
        {"nobody", "", is_public ? 200 : 403, "NOT_AUTHENTICATED"},
        {"a stranger", stranger_token, is_public ? 200 : 401, "INVALID_TOKEN"},
        {"another algorithm's", confused_token, is_public ? 200 : 401, "INVALID_TOKEN"},
    };
    for (const Caller& caller : callers) {
      const std::string before = bank().balance(numbers[0]) + " " + bank().balance(numbers[1]);
      const HttpResponse response =
          ApiClient(service.port(), caller.token)
              .request(row.method, target, body.empty() ? Headers{} : Headers{{"Content-Type", "application/json"}},
                       body);
      const std::string what = algorithm + ", " + caller.name + ": " + std::string(row.method) + " " + target;
      const std::string after = bank().balance(numbers[0]) + " " + bank().balance(numbers[1]);
      if (caller.status == 200) {
        EXPECT_EQ(response.status, 200) << what << "\n" << response;
        EXPECT_EQ(after == before, row.method != "POST") << what;
      } else {
        EXPECT_TRUE(is_problem(response, caller.status, caller.error_code)) << what;
        EXPECT_EQ(after, before) << what;
      }
    }
  }
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

INSTANTIATE_TEST_SUITE_P(Algorithms, AccessMatrix, ::testing::Values("HS256", "RS256", "ES256", "EdDSA"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace txn::test
