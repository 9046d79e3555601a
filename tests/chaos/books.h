// The log as the tables have it, and whether an account's part of it adds up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/integration/bank.h"

namespace txn::test {

struct BookRow {
  LogEntry entry;
  std::string day;  // UTC
};

// The rows of these accounts, by account and then in their order.
std::vector<BookRow> read_books(const Database& database, const std::vector<int64_t>& accounts);

// An account by itself: 1, 2, 3 ..., chained, never below zero, from `opening` to `balance`. What is wrong, a line
// each.
std::vector<std::string> faults_of_account(const std::vector<BookRow>& books, int64_t account, std::string_view opening,
                                           const std::string& balance);

}  // namespace txn::test
