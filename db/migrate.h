// Brings a database to the schema that this binary was built for.
//
// Migrations are the numbered SQL files of db/migrations, built into the binary. Each runs in a transaction of its own
// together with its row in `schema_migrations` (version, name, checksum, applied_at, oldest_reader). Only objects of
// the connected database are made, in the first schema of the role's search_path: no roles, no databases, no
// extensions.
//
// Releases and schemas need not be of one age, so that releases can be rolled out and back while they serve. A release
// serves on schemas from oldest_schema_served() to its own newest, which it knows; and on newer ones as long as every
// migration there says, by its oldest reader, that it is fit for a release that does not know it. docs/upgrading.md has
// the rules for those who write migrations.
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
  // The oldest schema whose release may serve once this is applied: up to `version`. 0: not told, as before there was a
  // place for it in the database; then only releases that know this migration may.
  int oldest_reader = 0;
};

// Those in the binary, by version. At least one.
std::span<const Migration> embedded_migrations();

// The oldest schema that this binary can serve on; at most the newest migration's number.
int oldest_schema_served();

struct MigrationReport {
  int version = 0;                   // of the database, now
  std::vector<std::string> applied;  // "1 ledger", in order; empty when there was nothing to do
};

// How long migrate() waits, and how it says so.
struct MigratePatience {
  // Whatever asks for a table queues behind a migration that waits for a lock on it. So it waits this long only, lets
  // those pass, and tries again; what it has done is rolled back meanwhile. Well below LEDGER_QUEUE_DELAY_MAX, 250 ms
  // unless set, after which a service refuses.
  std::chrono::milliseconds lock{100};
  std::chrono::milliseconds pause{1'000};  // between tries
  std::chrono::seconds total{120};         // for the locks of one migration
  std::chrono::seconds turn{600};          // for another migration to end
  // Called before each pause with a line for the operator. May be empty.
  std::function<void(const std::string& line)> on_wait;
};

// Applies what is missing. Several may run at once: they take turns, and the later ones find nothing to do. Long
// readers hold it up, and it holds nobody up for longer than `patience.lock`.
//
// A database that is newer than `migrations`, and still fit for a release that knows only these, is left as it is: a
// release that is rolled back to finds nothing to do, and `report.version` is above its own.
//
// kInvalidArgument, with nothing changed, for a database that is too new, or whose past is another: a migration with
// another name or checksum, or one missing in between. When a migration fails, those before it stay. When the program
// dies in the middle of one, the server notices within a second and rolls it back.
Result<MigrationReport> migrate(Session& session, std::span<const Migration> migrations = embedded_migrations(),
                                const MigratePatience& patience = {});

// The newest migration that the database has seen, 0 when it has seen none.
Result<int> schema_version(Session& session);

// Whether this binary may serve on the database's schema; returns its version. kInvalidArgument when it was read and
// does not fit, in a line for operators; another kind when it could not be read. A newer schema has to say that it is
// fit: it may hold rules about money that this binary does not know.
Result<int> check_schema_version(Session& session);

// Whether the database can store every description. kInvalidArgument otherwise, in a line for operators.
Result<void> check_encoding(Session& session);

}  // namespace txn
