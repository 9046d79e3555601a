// The least that the service's role needs: it moves balances, adds to the log, and can take nothing back from it.
#pragma once

#include <string>

#include "core/error.h"
#include "db/session.h"

namespace txn {

// Grants `role` (which must exist) what `serve` does, the use of the tables' schema included, and takes from it
// everything else on the service's tables. The session's role must own them. kInvalidArgument, with nothing changed,
// for a role that owns them as well, is a member of one that does, or is a superuser. Idempotent.
Result<void> grant_service_privileges(Session& session, const std::string& role);

}  // namespace txn
