// Holds what the clients were told against the books.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/chaos/session.h"

namespace txn::test {

struct Findings {
  int64_t lost = 0;         // acknowledged, and not in the books
  int64_t doubled = 0;      // in the books more than once
  int64_t misreported = 0;  // told otherwise than it is: refused and applied, another balance, not seen by a read ...
  int64_t books = 0;        // accounts that do not add up, limits exceeded, verify-ledger, deadlocks, aborts
  std::vector<std::string> texts;

  int64_t count() const { return lost + doubled + misreported + books; }
  void add(const Findings& other);
  void add_books(const std::vector<std::string>& found);
};

// `was_set_back`: the clock was, and the rows of a day are then not all that count for it.
Findings audit_episode(Session& session, Clients& clients, const std::vector<int64_t>& accounts, bool was_set_back);

}  // namespace txn::test
