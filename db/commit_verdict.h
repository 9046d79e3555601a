// What a lane may believe of its COMMIT.
#pragma once

#include <string_view>

#include "db/lane_store.h"
#include "db/pg_connection.h"

namespace txn {

// `exchange`: what became of the whole exchange that ended with COMMIT. `tag`: of COMMIT's own result, "" when none has
// come. The tag decides, whatever follows it: PostgreSQL sends it when the commit is durable, and may send an error or
// end the connection behind it all the same (a statement_timeout that fires between the last look at interrupts and the
// commit, say; postgres.c, finish_xact_command). A COMMIT of a failed transaction answers ROLLBACK.
// `is_unconfirmed`: the server has warned that synchronous standbys may not have it.
inline StoreStatus commit_verdict(ExchangeStatus exchange, std::string_view tag, bool is_unconfirmed) {
#ifdef TXN_PLANTED_COMMIT_ERROR_RETRIED  // a bug for the tests to find
  if (exchange == ExchangeStatus::kFailed) return StoreStatus::kFailed;
#endif
  if (tag == "COMMIT") return is_unconfirmed ? StoreStatus::kUnconfirmed : StoreStatus::kOk;
  return exchange == ExchangeStatus::kLost ? StoreStatus::kLost : StoreStatus::kFailed;
}

}  // namespace txn
