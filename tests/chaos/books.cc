#include "tests/chaos/books.h"

namespace txn::test {

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

std::vector<std::string> faults_of_account(const std::vector<BookRow>& books, int64_t account, std::string_view opening,
                                           const std::string& balance) {
  const std::string name = "account " + std::to_string(account);
  int64_t seq = 0;
  int64_t sum = to_minor(opening);
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
  return found;
}

}  // namespace txn::test
