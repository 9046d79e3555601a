#include "db/migrate.h"

#include <thread>
#include <tuple>

#include "core/check.h"
#include "core/concat.h"

namespace txn {
namespace {

// The key of the advisory lock: any number will do that other programs in this database do not use. "txn_migr" in
// ASCII.
constexpr const char* kTakeLock = "SELECT pg_advisory_lock(x'74786e5f6d696772'::bigint)";
constexpr const char* kReleaseLock = "SELECT pg_advisory_unlock(x'74786e5f6d696772'::bigint)";

std::string label(const Migration& migration) { return concat(migration.version, " ", migration.name); }

// Whether a database that is at `version`, which is above `known`, lets releases serve that know only `known`. Written
// such that it can be asked of a table that has no such column yet.
Result<void> check_newer_schema(Session& session, int64_t version, int64_t known) {
  const auto rows = session.exec(
      "SELECT max(coalesce((to_jsonb(m) ->> 'oldest_reader')::integer, m.version)) AS oldest_reader "
      "FROM schema_migrations m");
  if (!rows) return std::unexpected(rows.error());
  const int64_t oldest_reader = rows->integer(0, 0);
  if (auto sound = rows->check(); !sound) return sound;
  if (oldest_reader <= known) return {};
  return fail(ErrorKind::kInvalidArgument, concat("the database is newer than this program: its schema is at version ",
                                                  version, " and fit for releases that know at least ", oldest_reader,
                                                  ", this one knows only ", known, ": run a newer release"));
}

// Compares what the database remembers with what we have. Returns the database's version.
Result<int> check_history(Session& session, std::span<const Migration> migrations) {
  const auto rows = session.exec("SELECT version, name, checksum FROM schema_migrations ORDER BY version");
  if (!rows) return std::unexpected(rows.error());
  const auto known = static_cast<int>(migrations.size());
  for (int row = 0; row < rows->size(); ++row) {
    const auto version = rows->integer(row, 0);
    if (const auto sound = rows->check(); !sound) return std::unexpected(sound.error());
    if (version != row + 1) {
      return fail(ErrorKind::kInvalidArgument,
                  concat("the database has seen migration ", version, " but not ", row + 1));
    }
    if (row >= known) continue;  // what a newer release has applied; the last word on that follows
    const Migration& migration = migrations[static_cast<size_t>(row)];
    if (rows->text(row, 1) != migration.name || rows->text(row, 2) != migration.checksum) {
      return fail(
          ErrorKind::kInvalidArgument,
          concat("migration ", label(migration), " is not the one that the database has seen: its text has changed"));
    }
  }
  if (rows->size() > known) {
    if (const auto fit = check_newer_schema(session, rows->size(), known); !fit) return std::unexpected(fit.error());
  }
  return rows->size();
}

Result<void> apply(Session& session, const Migration& migration, const MigratePatience& patience) {
  return session.transaction([&]() -> Result<void> {
    if (auto set = session.run_script(concat("SET LOCAL lock_timeout = ", patience.lock.count())); !set) return set;
    if (auto done = session.run_script(std::string(migration.sql)); !done) return done;
    const auto recorded =
        session.exec("INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                     {std::to_string(migration.version), std::string(migration.name), std::string(migration.checksum)});
    if (!recorded) return std::unexpected(recorded.error());
    if (migration.oldest_reader == 0) return {};
    const auto told = session.exec("UPDATE schema_migrations SET oldest_reader = $2 WHERE version = $1",
                                   {std::to_string(migration.version), std::to_string(migration.oldest_reader)});
    if (!told) return std::unexpected(told.error());
    return {};
  });
}

// Who is likeliest to be in the way: the oldest transaction that has used a table of ours.
std::string who_is_in_the_way(Session& session) {
  const auto rows = session.exec(
      "SELECT a.pid, a.usename, coalesce(a.state, '?'), c.relname, "
      "coalesce(extract(epoch FROM clock_timestamp() - a.xact_start)::bigint, 0) "
      "FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a USING (pid) "
      "WHERE l.granted AND c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace "
      "AND a.pid <> pg_backend_pid() ORDER BY a.xact_start LIMIT 1");
  if (!rows || rows->size() == 0) return "another session";
  return concat("process ", rows->text(0, 0), " of ", rows->text(0, 1), " (", rows->text(0, 2), ", for ",
                rows->text(0, 4), " s in a transaction that has used ", rows->text(0, 3), ")");
}

// Two that lock the same tables in another order may also end as a deadlock, of which the server ends one.
bool was_in_the_way(std::string_view sqlstate) { return sqlstate == "55P03" || sqlstate == "40P01"; }

Result<void> apply_patiently(Session& session, const Migration& migration, const MigratePatience& patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience.total;
  while (true) {
    auto applied = apply(session, migration, patience);
    if (applied || applied.error().kind != ErrorKind::kDatabase || !was_in_the_way(session.sqlstate())) return applied;
    if (std::chrono::steady_clock::now() >= deadline) return applied;
    if (patience.on_wait)
      patience.on_wait(concat("migration ", label(migration), " waits for ", who_is_in_the_way(session)));
    std::this_thread::sleep_for(patience.pause);
  }
}

// With the lock held.
Result<MigrationReport> migrate_locked(Session& session, std::span<const Migration> migrations,
                                       const MigratePatience& patience) {
  const auto created = session.run_script(
      "CREATE TABLE IF NOT EXISTS schema_migrations ("
      "  version integer PRIMARY KEY CHECK (version > 0),"
      "  name text NOT NULL,"
      "  checksum text NOT NULL,"
      "  applied_at timestamptz NOT NULL DEFAULT now());"
      "COMMENT ON TABLE schema_migrations IS 'Migrations this database has seen; written by the migrate subcommand';");
  if (!created) return std::unexpected(created.error());
  const auto version = check_history(session, migrations);
  if (!version) return std::unexpected(version.error());

  MigrationReport report;
  report.version = *version;
  if (*version >= static_cast<int>(migrations.size())) return report;
  for (const Migration& migration : migrations.subspan(static_cast<size_t>(*version))) {
    if (const auto applied = apply_patiently(session, migration, patience); !applied) {
      return fail(applied.error().kind, concat("migration ", label(migration), ": ", applied.error().message));
    }
    report.version = migration.version;
    report.applied.push_back(label(migration));
  }
  return report;
}

}  // namespace

Result<MigrationReport> migrate(Session& session, std::span<const Migration> migrations,
                                const MigratePatience& patience) {
  for (size_t i = 0; i < migrations.size(); ++i) {
    CHECK(migrations[i].version == static_cast<int>(i) + 1, "migrations are numbered without holes");
  }
  // A server notices a client that was killed only when it talks to it again, and would keep the locks of a long
  // statement until then, unless it is told to look.
  const std::string set_turn =
      concat("SET client_connection_check_interval = '1s'; SET lock_timeout = '", patience.turn.count(), "s'");
  if (const auto set = session.run_script(set_turn); !set) return std::unexpected(set.error());
  if (const auto locked = session.exec(kTakeLock); !locked) {
    return fail(locked.error().kind, "another migration is running: " + locked.error().message);
  }
  auto report = migrate_locked(session, migrations, patience);
  // The lock also ends with the session, so a failure here changes nothing.
  std::ignore = session.exec(kReleaseLock);
  return report;
}

Result<int> schema_version(Session& session) {
  const auto table = session.exec("SELECT to_regclass('schema_migrations') IS NOT NULL");
  if (!table) return std::unexpected(table.error());
  const bool is_there = table->boolean(0, 0);
  if (const auto sound = table->check(); !sound) return std::unexpected(sound.error());
  if (!is_there) return 0;
  const auto version = session.exec("SELECT coalesce(max(version), 0) AS version FROM schema_migrations");
  if (!version) return std::unexpected(version.error());
  const auto number = static_cast<int>(version->integer(0, 0));
  if (const auto sound = version->check(); !sound) return std::unexpected(sound.error());
  return number;
}

Result<int> check_schema_version(Session& session) {
  const auto version = schema_version(session);
  if (!version) return version;
  const auto known = static_cast<int>(embedded_migrations().size());
  if (*version < oldest_schema_served()) {
    return fail(ErrorKind::kInvalidArgument,
                concat("the database schema is at version ", *version, ", this program needs ", oldest_schema_served(),
                       ": run `transactions-service migrate`"));
  }
  if (*version > known) {
    if (const auto fit = check_newer_schema(session, *version, known); !fit) return std::unexpected(fit.error());
  }
  return version;
}

Result<void> check_encoding(Session& session) {
  const auto rows = session.exec("SELECT current_setting('server_encoding')");
  if (!rows) return std::unexpected(rows.error());
  const std::string_view encoding = rows->text(0, 0);
  if (encoding == "UTF8") return {};
  return fail(ErrorKind::kInvalidArgument,
              concat("the database's encoding is ", encoding,
                     ", descriptions need UTF8: make another by CREATE DATABASE name ENCODING 'UTF8' "
                     "TEMPLATE template0, and move the data there"));
}

}  // namespace txn
