// Whether what answers is a pooler that gives a session to somebody else between two transactions. Settings, prepared
// statements and the backend's identity, which lanes rely on, then belong to nobody.
#pragma once

#include <cstdint>
#include <string>

#include "db/pg_dial.h"

namespace txn {

enum class Pooling : uint8_t {
  kSession,  // a session is one client's for as long as it is connected: PostgreSQL itself, or a pooler that holds it
  kTransaction,  // two clients have been seen in one session, or one in two
  kStatement,    // the same and worse: there are no transactions of several statements
  kCannotTell,   // there was no second connection to be had, or no answer in time
};

// Watches `first`, an idle connection to `target` outside of pipeline mode, and a second one that it makes. Sets
// nothing in any session. A few round trips; some seconds where no answer comes. `first` is of no use afterwards when
// libpq does not call it idle.
Pooling probe_pooling(const PgDial& dial, PGconn* first, const PgTarget& target);

// The same for whichever server of `conninfo` answers first, for subcommands.
Pooling probe_pooling(const std::string& conninfo);

// For kTransaction and kStatement: what is wrong and what to do about it, in one line.
std::string pooling_refusal(Pooling pooling);

}  // namespace txn
