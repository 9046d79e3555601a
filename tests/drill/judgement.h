// What a rescue has brought back, held against what clients were told before the disaster.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/chaos/clients.h"

namespace txn::test {

// Clients' operations, by when they were acknowledged or begun, and what a rescue owes them.
struct Owed {
  using Moment = std::chrono::steady_clock::time_point;
  Moment all_until;                  // acknowledged before this: in the books
  std::optional<Moment> none_after;  // begun after this: not in the books
};

struct Judgement {
  int64_t acknowledged = 0;         // by clients, in all
  int64_t owed = 0;                 // of these, acknowledged in time
  int64_t there = 0;                // acknowledged and in the books
  std::vector<const Record*> lost;  // acknowledged and not in the books, oldest first
  std::vector<const Record*> kept;  // the others
  double last_seconds_lost = 0;     // from the first lost acknowledgement to the disaster
  std::vector<std::string> faults;  // what must not be, a line each

  // "2 of 5 acknowledged are not there, from 3.2 s before the disaster on"
  std::string text() const;
  // The list for whoever has to set it right: transaction id, what, accounts, amount, the client's own description.
  std::string lost_csv() const;
};

// Reads the books of `database`. `accounts` belong to these clients alone and opened with `opening`.
Judgement judge(const Database& database, const Clients& clients, const std::string& opening, const Owed& owed,
                Owed::Moment disaster);

}  // namespace txn::test
