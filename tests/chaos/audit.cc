#include "tests/chaos/audit.h"

#include <algorithm>
#include <map>
#include <utility>

#include "tests/chaos/books.h"

namespace txn::test {

namespace {

// What one SILVER account has transferred in a day. `days`: how many days' limits may have been used.
void audit_limits(const std::vector<BookRow>& books, int64_t account, bool was_set_back, Findings& out) {
  std::map<std::string, std::pair<int64_t, int64_t>> used;  // by day: amount and count
  for (const auto& [entry, day] : books) {
    if (entry.account_number != account || entry.transaction_type != "TRANSFER" || entry.direction != "DEBIT") continue;
    auto& [amount, count] = used[day];
    amount += entry.amount;
    ++count;
  }
  int64_t days = 1;
  if (was_set_back && !used.empty()) {
    // Transfers made after the clock went back count for the day that had begun.
    days = static_cast<int64_t>(used.size()) + 1;
    auto all = std::pair<int64_t, int64_t>();
    for (const auto& [day, use] : used) {
      all.first += use.first;
      all.second += use.second;
    }
    used = {{"all days", all}};
  }
  for (const auto& [day, use] : used) {
    if (use.first > kSilverAmount * days || use.second > kSilverCount * days)
      out.add_books({"account " + std::to_string(account) + ": " + std::to_string(use.second) + " transfers of " +
                     from_minor(use.first) + " on " + day + ", beyond the limit"});
  }
}

void audit_record(const Record& record, const std::vector<LogEntry>& rows, Findings& out) {
  const Attempt& told = record.told;
  const bool may_be_either = record.in_doubt && !record.resolved;
  const std::string fault = fault_of(told, rows, may_be_either);
  if (fault.empty()) return;
  std::map<std::pair<int64_t, std::string>, int> legs;
  for (const LogEntry& row : rows) ++legs[{row.account_number, row.direction}];
  const bool is_doubled = std::ranges::any_of(legs, [](const auto& leg) { return leg.second > 1; });
  if (is_doubled) {
    ++out.doubled;
  } else if (rows.empty()) {
    ++out.lost;
  } else {
    ++out.misreported;
  }
  out.texts.push_back(told.description + (record.has_key ? " (with a key)" : "") + ": " +
                      (is_doubled ? "applied more than once, " : "") + fault + "; first answered " +
                      std::to_string(record.first_status) + ", asked again " + std::to_string(record.retries) +
                      " times, last " + said(told));
}

}  // namespace

void Findings::add(const Findings& other) {
  lost += other.lost;
  doubled += other.doubled;
  misreported += other.misreported;
  books += other.books;
  texts.insert(texts.end(), other.texts.begin(), other.texts.end());
}

void Findings::add_books(const std::vector<std::string>& found) {
  books += static_cast<int64_t>(found.size());
  texts.insert(texts.end(), found.begin(), found.end());
}

Findings audit_episode(Session& session, Clients& clients, const std::vector<int64_t>& accounts, bool was_set_back) {
  Findings findings;
  const std::vector<BookRow> books = read_books(session.bank().database(), accounts);
  for (const int64_t account : accounts)
    findings.add_books(faults_of_account(books, account, kOpeningBalance, session.bank().balance(account)));
  for (const int64_t silver : {accounts[0], accounts[1]}) audit_limits(books, silver, was_set_back, findings);

  std::map<std::string, std::vector<LogEntry>> rows;  // by description, which every operation has its own of
  for (const BookRow& row : books) rows[row.entry.description].push_back(row.entry);
  for (const Record& record : clients.records()) {
    audit_record(record, rows[record.told.description], findings);
    rows.erase(record.told.description);
  }
  for (const auto& [description, entries] : rows)
    findings.add_books({description + ": " + std::to_string(entries.size()) + " rows that nobody has asked for"});
  for (const std::string& complaint : clients.complaints()) {
    ++findings.misreported;
    findings.texts.push_back(complaint);
  }
  findings.add_books(session.forbidden_events());
  const auto verified = session.bank().ledger_verifies();
  if (!verified) findings.add_books({verified.message()});
  return findings;
}

}  // namespace txn::test
