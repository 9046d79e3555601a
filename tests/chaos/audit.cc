#include "tests/chaos/audit.h"

#include <algorithm>
#include <map>
#include <utility>

namespace txn::test {

namespace {

struct BookRow {
  LogEntry entry;
  std::string day;
};

std::vector<BookRow> read_books(const Database& database, const std::vector<int64_t>& accounts) {
  std::string list;
  for (const int64_t account : accounts) list += (list.empty() ? "" : ",") + std::to_string(account);
  std::vector<BookRow> books;
  for (const Row& row : database.query(
           "SELECT seq, account_number, amount, balance_after, transaction_type, direction, transaction_id, "
           "description, (created_at AT TIME ZONE 'UTC')::date FROM transaction_logs WHERE account_number IN (" +
           list + ") ORDER BY account_number, seq")) {
    books.push_back({.entry = {.seq = std::stoll(row[0]),
                               .account_number = std::stoll(row[1]),
                               .amount = to_minor(row[2]),
                               .balance_after = to_minor(row[3]),
                               .transaction_type = row[4],
                               .direction = row[5],
                               .reference_id = row[6],
                               .description = row[7]},
                     .day = row[8]});
  }
  return books;
}

// An account by itself: 1, 2, 3 ..., chained, never below zero, ending in its balance.
void audit_account(const std::vector<BookRow>& books, int64_t account, const std::string& balance, Findings& out) {
  const std::string name = "account " + std::to_string(account);
  int64_t seq = 0;
  int64_t sum = to_minor(kOpeningBalance);
  std::vector<std::string> found;
  for (const auto& [entry, day] : books) {
    if (entry.account_number != account) continue;
    sum += entry.signed_amount();
    if (entry.seq != ++seq)
      found.push_back(name + ": seq " + std::to_string(entry.seq) + " where " + std::to_string(seq) + " belongs");
    if (entry.balance_after != sum)
      found.push_back(name + ", seq " + std::to_string(seq) + ": balance_after " + from_minor(entry.balance_after) +
                      " where the rows add up to " + from_minor(sum));
    if (entry.balance_after < 0) found.push_back(name + ", seq " + std::to_string(seq) + ": below zero");
    if (found.size() >= 3) break;  // what follows follows from it
  }
  if (found.empty() && balance != from_minor(sum))
    found.push_back(name + ": balance " + balance + " where the log adds up to " + from_minor(sum));
  out.add_books(found);
}

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
  for (const int64_t account : accounts) audit_account(books, account, session.bank().balance(account), findings);
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
