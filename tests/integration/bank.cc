#include "tests/integration/bank.h"

#include <algorithm>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "tests/support/json.h"

namespace txn::test {
namespace {

constexpr int kReadTriesMax = 100;
constexpr std::chrono::milliseconds kReadPause{100};

}  // namespace

int64_t to_minor(std::string_view money) {
  if (money.size() < 4 || money[money.size() - 3] != '.') throw std::runtime_error("not money: " + std::string(money));
  std::string digits(money);
  digits.erase(digits.size() - 3, 1);
  size_t used = 0;
  const int64_t minor = std::stoll(digits, &used);
  if (used != digits.size()) throw std::runtime_error("not money: " + std::string(money));
  return minor;
}

std::string from_minor(int64_t minor) {
  const std::string sign = minor < 0 ? "-" : "";
  std::string digits = std::to_string(minor < 0 ? -minor : minor);
  if (digits.size() < 3) digits.insert(0, 3 - digits.size(), '0');
  return sign + digits.insert(digits.size() - 2, ".");
}

std::string deposit_body(int64_t account, std::string_view amount, std::string_view extra) {
  return "{\"account_number\":" + std::to_string(account) + ",\"amount\":" + std::string(amount) + std::string(extra) +
         "}";
}

std::string transfer_body(int64_t from, int64_t to, std::string_view amount, std::string_view extra) {
  return "{\"from_account\":" + std::to_string(from) + ",\"to_account\":" + std::to_string(to) +
         ",\"amount\":" + std::string(amount) + std::string(extra) + "}";
}

Bank::Bank(const std::string& name, const Settings& extra) : Bank(postgres().create_database(name), extra) {}

Bank::Bank(const Database& database, const Settings& extra, const std::string& migrating_binary)
    : database_(database), settings_(settings_for(database)) {
  for (const auto& [key, value] : extra) settings_[key] = value;
  if (migrating_binary.empty()) return;
  const RunResult result = run_service({"migrate"}, settings_, Milliseconds(60'000), migrating_binary);
  if (!result.ok()) {
    std::ostringstream why;
    why << "migrate: " << result;
    throw std::runtime_error(why.str());
  }
}

Settings Bank::settings_with(const Settings& changes) const {
  Settings all = settings_;
  for (const auto& [key, value] : changes) all[key] = value;
  return all;
}

ServiceProcess& Bank::service() {
  if (!service_) service_ = std::make_unique<ServiceProcess>(settings_);
  return *service_;
}

std::vector<int64_t> Bank::open_accounts(const std::vector<AccountSpec>& specs) {
  std::vector<int64_t> numbers;
  std::string csv = "account_number,owner_id,privilege,balance,is_active,pin\n";
  for (const AccountSpec& spec : specs) {
    numbers.push_back(next_account_++);
    csv += std::to_string(numbers.back()) + "," + std::to_string(spec.owner_id) + "," + spec.privilege + "," +
           spec.balance + "," + (spec.is_active ? "true" : "false") + "," + spec.pin + "\n";
  }
  const TempDirectory directory;
  const RunResult result = run_service({"account", "import", directory.write("accounts.csv", csv)}, settings_);
  if (!result.ok()) {
    std::ostringstream why;
    why << "account import: " << result << "\n" << csv;
    throw std::runtime_error(why.str());
  }
  return numbers;
}

std::string Bank::balance(int64_t account) const {
  return database_.value("SELECT balance FROM accounts WHERE account_number = " + std::to_string(account));
}

std::vector<LogEntry> Bank::log_of(int64_t account, uint16_t port) {
  ApiClient client(port, teller());
  std::vector<LogEntry> entries;
  const std::string first_page = "/transaction-logs/" + std::to_string(account) + "?limit=500";
  for (std::string target = first_page;;) {
    HttpResponse response = client.get(target);
    // Lanes and readers reconnect each on their own: money may move again while reading has to wait a moment.
    for (int tries = 0; response.status == 503 && tries < kReadTriesMax; ++tries) {
      std::this_thread::sleep_for(kReadPause);
      response = client.get(target);
    }
    if (response.status != 200) {
      std::ostringstream why;
      why << "log of account " << account << ": " << response;
      throw std::runtime_error(why.str());
    }
    const Json page = response.json();
    const auto amounts = raw_tokens(response.body, "amount");
    const auto balances = raw_tokens(response.body, "balance_after");
    size_t row = 0;
    for (const Json& log : page["logs"].items()) {
      entries.push_back(LogEntry{
          .seq = log["seq"].integer(),
          .account_number = log["account_number"].integer(),
          .amount = to_minor(amounts.at(row)),
          .balance_after = to_minor(balances.at(row)),
          .transaction_type = log["transaction_type"].text(),
          .direction = log["direction"].text(),
          .reference_id = log["reference_id"].scalar(),
          .description = log["description"].is_string() ? log["description"].text() : "",
      });
      ++row;
    }
    if (!page["has_more"].boolean()) break;
    target = first_page + "&cursor=" + page["next_cursor"].text();
  }
  std::reverse(entries.begin(), entries.end());
  return entries;
}

::testing::AssertionResult Bank::books_are_right(int64_t account, std::string_view opening, uint16_t port) {
  int64_t balance_now = to_minor(opening);
  int64_t seq = 0;
  for (const LogEntry& entry : log_of(account, port)) {
    ++seq;
    balance_now += entry.signed_amount();
    if (entry.seq != seq)
      return ::testing::AssertionFailure()
             << "account " << account << ": seq " << entry.seq << " where " << seq << " belongs";
    if (entry.balance_after != balance_now)
      return ::testing::AssertionFailure()
             << "account " << account << ", seq " << seq << ": balance_after " << from_minor(entry.balance_after)
             << " where the rows add up to " << from_minor(balance_now);
    if (balance_now < 0) return ::testing::AssertionFailure() << "account " << account << " was below zero";
  }
  if (balance(account) != from_minor(balance_now))
    return ::testing::AssertionFailure() << "account " << account << ": balance " << balance(account)
                                         << " where the log adds up to " << from_minor(balance_now);
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult Bank::ledger_verifies() {
  const RunResult result = run_service({"verify-ledger"}, settings_);
  if (result.ok()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "verify-ledger: " << result;
}

}  // namespace txn::test
