#include "tests/integration/load.h"

#include <algorithm>
#include <random>
#include <set>
#include <sstream>

namespace txn::test {

namespace {

constexpr int64_t kUnknownAccount = 99'999'999;
// Between attempts that found nobody in: enough not to spin.
constexpr Milliseconds kRetryPause{5};

struct Leg {
  int64_t account = 0;
  std::string direction;
  auto operator<=>(const Leg&) const = default;
};

std::set<Leg> legs_of(const Attempt& attempt) {
  switch (attempt.kind) {
    case Kind::kDeposit:
      return {{attempt.account, "CREDIT"}};
    case Kind::kWithdrawal:
      return {{attempt.account, "DEBIT"}};
    case Kind::kTransfer:
      return {{attempt.account, "DEBIT"}, {attempt.payee, "CREDIT"}};
  }
  return {};
}

std::string type_of(Kind kind) {
  switch (kind) {
    case Kind::kDeposit:
      return "DEPOSIT";
    case Kind::kWithdrawal:
      return "WITHDRAWAL";
    case Kind::kTransfer:
      return "TRANSFER";
  }
  return "";
}

Attempt random_attempt(std::mt19937& random, const std::vector<int64_t>& accounts) {
  const auto pick = [&](uint32_t bound) { return static_cast<size_t>(random() % bound); };
  Attempt attempt;
  const size_t from = pick(static_cast<uint32_t>(accounts.size()));
  attempt.account = accounts[from];
  attempt.amount = 1 + static_cast<int64_t>(pick(20'000));
  const size_t dice = pick(100);
  if (dice < 40) {
    attempt.kind = Kind::kDeposit;
  } else if (dice < 60) {
    attempt.kind = Kind::kWithdrawal;
  } else {
    attempt.kind = Kind::kTransfer;
    attempt.payee = accounts[(from + 1 + pick(static_cast<uint32_t>(accounts.size()) - 1)) % accounts.size()];
    if (dice >= 97) attempt.payee = kUnknownAccount;  // refused amid others that are not
  }
  return attempt;
}

}  // namespace

std::string fault_of(const Attempt& attempt, const std::vector<LogEntry>& rows, bool may_be_either) {
  const bool acknowledged = attempt.status == 200;
  if (rows.empty()) return acknowledged ? "acknowledged, but not in the log" : "";
  if (!acknowledged && !may_be_either) return "in the log, but was not acknowledged";

  std::set<Leg> found;
  for (const LogEntry& row : rows) {
    found.insert({row.account_number, row.direction});
    if (row.amount != attempt.amount) return "another amount in the log";
    if (row.transaction_type != type_of(attempt.kind)) return "another type in the log";
    if (row.reference_id != rows.front().reference_id) return "legs with different references";
    if (acknowledged && row.reference_id != attempt.transaction_id) return "another reference in the log";
    if (acknowledged && row.account_number == attempt.account && from_minor(row.balance_after) != attempt.new_balance)
      return "told a balance of " + attempt.new_balance + ", the log says " + from_minor(row.balance_after);
  }
  if (found != legs_of(attempt)) return "not the legs that belong to it";
  if (rows.size() != found.size()) return std::to_string(rows.size()) + " rows for " + std::to_string(found.size());
  return "";
}

void perform(ApiClient& client, Attempt& attempt, const Headers& headers) {
  const std::string extra = ",\"description\":\"" + attempt.description + "\"";
  const std::string amount = from_minor(attempt.amount);
  HttpResponse response;
  if (attempt.kind == Kind::kTransfer) {
    response = client.post(kTransfers, transfer_body(attempt.account, attempt.payee, amount, extra), headers);
  } else {
    response = client.post(attempt.kind == Kind::kDeposit ? kDeposits : kWithdrawals,
                           deposit_body(attempt.account, amount, extra), headers);
  }
  attempt.status = response.status;
  attempt.body = response.body;
  attempt.replayed = response.header("Idempotency-Replayed") == "true";
  attempt.error = response.status == 0 ? response.error : response.error_code();
  if (response.status == 200) {
    attempt.transaction_id = response.json()["transaction_id"].scalar();
    attempt.new_balance = response.raw(attempt.kind == Kind::kTransfer ? "from_account_new_balance" : "new_balance");
  }
  std::ostringstream where;
  where << response;
  attempt.where = where.str();
}

Load::Load(LoadOptions options) : options_(std::move(options)), attempts_(static_cast<size_t>(options_.clients)) {
  for (int index = 0; index < options_.clients; ++index) threads_.emplace_back([this, index] { client_main(index); });
}

void Load::client_main(int index) {
  std::mt19937 random(options_.seed * 1000 + static_cast<uint32_t>(index));
  ApiClient client(options_.ports[static_cast<size_t>(index) % options_.ports.size()], teller());
  client.set_timeout(options_.patience);
  std::vector<Attempt>& mine = attempts_[static_cast<size_t>(index)];
  for (int i = 0; options_.operations == 0 ? !stopping_.load() : i < options_.operations; ++i) {
    Attempt attempt = random_attempt(random, options_.accounts);
    attempt.description = "s" + std::to_string(options_.seed) + "-c" + std::to_string(index) + "-n" + std::to_string(i);
    perform(client, attempt);
    if (attempt.status == 200) ++successes_;
    if (attempt.status == 503) ++unavailable_;
    if (attempt.status == 504) ++unknown_;
    if (attempt.status == 0 || attempt.status == 503) std::this_thread::sleep_for(kRetryPause);
    mine.push_back(std::move(attempt));
  }
}

int64_t Load::answers_with(int status) const {
  if (status == 200) return successes_.load();
  return status == 503 ? unavailable_.load() : unknown_.load();
}

bool Load::wait_for_successes(int64_t more, Milliseconds timeout) {
  const int64_t wanted = successes() + more;
  return wait_until([this, wanted] { return successes() >= wanted; }, timeout);
}

std::vector<Attempt> Load::stop() {
  stopping_ = true;
  return finish();
}

std::vector<Attempt> Load::finish() {
  if (options_.operations == 0) stopping_ = true;
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  std::vector<Attempt> all;
  for (const auto& mine : attempts_) all.insert(all.end(), mine.begin(), mine.end());
  return all;
}

std::vector<std::string> audit(Bank& bank, uint16_t port, const std::map<int64_t, std::string>& openings,
                               const std::vector<Attempt>& attempts, const AuditOptions& options) {
  std::vector<std::string> faults;
  std::map<std::string, std::vector<LogEntry>> rows;  // by description
  for (const auto& [account, opening] : openings) {
    const auto books = bank.books_are_right(account, opening, port);
    if (!books) faults.emplace_back(books.message());
    for (const LogEntry& entry : bank.log_of(account, port)) rows[entry.description].push_back(entry);
  }
  for (const Attempt& attempt : attempts) {
    const bool no_answer = attempt.status == 0 && attempt.error != "cannot connect";
    const bool may_be_either = attempt.status == 504 || (no_answer && options.answers_may_be_lost);
    const std::string fault = fault_of(attempt, rows[attempt.description], may_be_either);
    if (!fault.empty()) faults.push_back(attempt.description + ": " + fault + "; it was answered " + attempt.where);
    rows.erase(attempt.description);
  }
  for (const auto& [description, entries] : rows)
    faults.push_back(description + ": " + std::to_string(entries.size()) + " rows that nobody has asked for");
  return faults;
}

}  // namespace txn::test
