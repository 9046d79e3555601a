// Whether the sequence that transaction ids come from is ahead of the log. It is not where the tables were copied
// without it, by logical replication for one; ids would then be given out that the log has already.
#pragma once

#include <cstdint>
#include <optional>

#include "core/error.h"
#include "db/session.h"

namespace txn {

// kInvalidArgument when it is behind: a line for operators with the numbers and what to do. Other errors are those of
// the session. Needs the schema; a service may run meanwhile. A role that may not use the sequence is told that all is
// well: it can give out no ids.
Result<void> check_id_sequence(Session& session);

struct IdSequenceRepair {
  int64_t before = 0;  // blocks, as the sequence counts them
  int64_t after = 0;
};

// Moves it to the block of the log's newest id when it is behind, never back, and returns what it did. As the owner of
// the sequence. Waits for transactions that have taken a value from it.
Result<std::optional<IdSequenceRepair>> repair_id_sequence(Session& session);

}  // namespace txn
