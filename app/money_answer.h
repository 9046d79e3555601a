// What a client is told about a movement of money, for every outcome: written by the lane for requests with an
// Idempotency-Key, which keep it, and by the handler for all others.
#pragma once

#include <string>
#include <string_view>

#include "app/problem.h"
#include "db/ledger_rows.h"

namespace txn {

// Appends the body and returns the status: 200, or the problem's.
int append_money_answer(std::string& out, const Operation& operation, const Outcome& outcome,
                        std::string_view request_id);

// The transaction that a stored answer of ours is about; 0 for a refusal.
int64_t transaction_id_of(std::string_view answer);

}  // namespace txn
