// Brings a database to the schema that this binary was built for.
//
// Migrations are the numbered SQL files of db/migrations, built into the binary. Each runs in a transaction of its own
// together with its row in `schema_migrations` (version, name, checksum, applied_at). Only objects of the connected
// database are made, in the first schema of the role's search_path: no roles, no databases, no extensions.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "db/session.h"

namespace txn {

struct Migration {
  int version = 0;            // 1, 2, 3 ...
  std::string_view name;      // "ledger"
  std::string_view checksum;  // SHA-256 of the file, in hex
  std::string_view sql;
};

// Those in the binary, by version. At least one.
std::span<const Migration> embedded_migrations();

struct MigrationReport {
  int version = 0;                   // of the database, now
  std::vector<std::string> applied;  // "1 ledger", in order; empty when there was nothing to do
};

// How long migrate() waits, and how it says so.
struct MigratePatience {
  // Whatever asks for a table queues behind a migration that waits for a lock on it. So it waits this long only, lets
  // those pass, and tries again; what it has done is rolled back meanwhile.
  std::chrono::milliseconds lock{1'000};
  std::chrono::milliseconds pause{2'000};  // between tries
  std::chrono::seconds total{120};         // for the locks of one migration
  std::chrono::seconds turn{600};          // for another migration to end
  // Called before each pause with a line for the operator. May be empty.
  std::function<void(const std::string& line)> on_wait;
};

// Applies what is missing. Several may run at once: they take turns, and the later ones find nothing to do. Long
// readers hold it up, and it holds nobody up for longer than `patience.lock`.
//
// kInvalidArgument, with nothing changed, for a database that is newer than `migrations` or whose past is another:
// a migration with another name or checksum, or one missing in between. When a migration fails, those before it stay.
Result<MigrationReport> migrate(Session& session, std::span<const Migration> migrations = embedded_migrations(),
                                const MigratePatience& patience = {});

// The newest migration that the database has seen, 0 when it has seen none.
Result<int> schema_version(Session& session);

// Whether the database has exactly the schema of this binary. kInvalidArgument when it was read and does not fit, in a
// line for operators; another kind when it could not be read. Also refuses a newer schema: it may hold rules about
// money that this binary does not know.
Result<void> check_schema_version(Session& session);

// Whether the database can store every description. kInvalidArgument otherwise, in a line for operators.
Result<void> check_encoding(Session& session);

}  // namespace txn
