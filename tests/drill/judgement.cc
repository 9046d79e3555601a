#include "tests/drill/judgement.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "tests/chaos/books.h"

namespace txn::test {

namespace {

constexpr size_t kFaultsMax = 20;

const char* name_of(Kind kind) {
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

double seconds_between(Owed::Moment from, Owed::Moment to) { return std::chrono::duration<double>(to - from).count(); }

void judge_record(const Record& record, const std::vector<LogEntry>& rows, const Owed& owed, Judgement& out) {
  const bool is_acknowledged = record.told.status == 200;
  const bool is_owed = is_acknowledged && !record.in_doubt && record.ended <= owed.all_until;
  out.acknowledged += is_acknowledged;
  out.owed += is_owed;
  if (rows.empty()) {
    if (is_owed) out.faults.push_back(record.told.description + ": acknowledged in time, and not in the books");
    if (is_acknowledged) out.lost.push_back(&record);
    return;
  }
  out.there += is_acknowledged;
  if (is_acknowledged) out.kept.push_back(&record);
  if (owed.none_after && record.began > *owed.none_after)
    out.faults.push_back(record.told.description + ": in the books, and it was asked for later than they go");
  // What is there is as it was told. Without a definite answer either is true.
  const std::string fault = fault_of(record.told, rows, record.in_doubt && !record.resolved);
  if (!fault.empty()) out.faults.push_back(record.told.description + ": " + fault);
}

}  // namespace

std::string Judgement::text() const {
  char line[200];
  if (lost.empty()) {
    std::snprintf(line, sizeof line, "all of %lld acknowledged are there", static_cast<long long>(acknowledged));
  } else {
    std::snprintf(line, sizeof line,
                  "%lld of %lld acknowledged are there, %zu are lost, the first told %.2f s before the disaster",
                  static_cast<long long>(there), static_cast<long long>(acknowledged), lost.size(), last_seconds_lost);
  }
  return line;
}

std::string Judgement::lost_csv() const {
  std::string text = "transaction_id,type,account,other_account,amount,idempotency_key,description\n";
  for (const Record* record : lost) {
    const Attempt& told = record->told;
    text += told.transaction_id + "," + name_of(told.kind) + "," + std::to_string(told.account) + "," +
            (told.payee == 0 ? "" : std::to_string(told.payee)) + "," + from_minor(told.amount) + "," +
            (record->has_key ? told.description : "") + "," + told.description + "\n";
  }
  return text;
}

Judgement judge(const Database& database, const Clients& clients, const std::string& opening, const Owed& owed,
                Owed::Moment disaster) {
  Judgement judgement;
  const std::vector<BookRow> books = read_books(database, clients.accounts());
  for (const int64_t account : clients.accounts()) {
    const std::string balance =
        database.value("SELECT balance FROM accounts WHERE account_number = " + std::to_string(account));
    for (const std::string& fault : faults_of_account(books, account, opening, balance))
      judgement.faults.push_back(fault);
  }
  std::map<std::string, std::vector<LogEntry>> rows;  // by description, which every operation has its own of
  for (const BookRow& row : books) rows[row.entry.description].push_back(row.entry);
  for (const Record& record : clients.records()) {
    judge_record(record, rows[record.told.description], owed, judgement);
    rows.erase(record.told.description);
  }
  for (const auto& [description, entries] : rows)
    judgement.faults.push_back(description + ": " + std::to_string(entries.size()) + " rows that nobody has asked for");
  std::ranges::sort(judgement.lost, {}, [](const Record* record) { return record->ended; });
  if (!judgement.lost.empty()) judgement.last_seconds_lost = seconds_between(judgement.lost.front()->ended, disaster);
  if (judgement.faults.size() > kFaultsMax) judgement.faults.resize(kFaultsMax);
  return judgement;
}

}  // namespace txn::test
