// The subcommand check-config: everything that can be found out before the service runs, a line a finding.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

#include "app/accounts_service.h"
#include "app/commands.h"
#include "app/rate_limit.h"
#include "app/tls_reload.h"
#include "app/token_key_source.h"
#include "core/concat.h"
#include "db/id_sequence.h"
#include "db/migrate.h"
#include "db/pooling.h"
#include "db/session.h"

namespace txn {
namespace {

class Findings {
 public:
  void ok(std::string_view text) { print("ok      ", text); }
  void warning(std::string_view text) { print("warning ", text); }
  void error(std::string_view text) {
    print("error   ", text);
    has_error_ = true;
  }
  bool has_error() const { return has_error_; }

 private:
  // A message of several lines is several findings.
  static void print(std::string_view level, std::string_view text) {
    while (!text.empty()) {
      const size_t line_end = std::min(text.find('\n'), text.size());
      std::fputs(concat(level, text.substr(0, line_end), '\n').c_str(), stdout);
      text.remove_prefix(std::min(line_end + 1, text.size()));
    }
  }

  bool has_error_ = false;
};

// What `serve` makes of it: without its file it still has a log.
constexpr std::string_view kStandardErrorOnly = "; the log goes to standard error alone";

// The directory may have to be made, so what counts is the nearest one that exists.
void check_log_dir(const std::string& log_dir, Findings& findings) {
  if (log_dir.empty()) return findings.ok("LOG_DIR: none, logs go to standard error only");
  std::error_code error;
  std::filesystem::path directory = std::filesystem::absolute(log_dir, error);
  while (!std::filesystem::exists(directory, error) && directory.has_relative_path()) {
    directory = directory.parent_path();
  }
  if (!std::filesystem::is_directory(directory, error)) {
    findings.warning(concat("LOG_DIR: ", directory.string(), " is not a directory", kStandardErrorOnly));
  } else if (access(directory.c_str(), W_OK | X_OK) != 0) {
    findings.warning(concat("LOG_DIR: ", directory.string(), " is not writable", kStandardErrorOnly));
  } else {
    findings.ok("LOG_DIR: writable");
  }
}

// The public keys of tokens, read as the service would.
void check_token_keys(const Settings& settings, Findings& findings) {
  const bool has_file = !settings.jwt_public_key_file.empty() || !settings.jwt_jwks_file.empty();
  if (!has_file || settings.jwt_algorithm == JwtAlgorithm::kHs256) return;
  TokenKeySource source(settings);
  if (const auto loaded = source.load(); !loaded) return findings.error(loaded.error().message);
  const auto keys = source.make_keys();
  const char* const name = settings.jwt_jwks_file.empty() ? "JWT_PUBLIC_KEY_FILE" : "JWT_JWKS_FILE";
  for (const std::string& reason : keys->skipped()) findings.warning(concat(name, ": passed over ", reason));
  for (const std::string& which : keys->shared_ids())
    findings.warning(concat(name, ": ", which, " have the same kid and differ; each is tried"));
  findings.ok(concat(name, ": ", keys->size(), keys->size() == 1 ? " key for " : " keys for ",
                     to_string(settings.jwt_algorithm)));
}

// What serve would load, and what it would not complain of.
void check_tls(const Settings& settings, Findings& findings) {
  if (!serves_tls(settings)) return;
  struct stat key{};
  if (stat(settings.tls_key_file.c_str(), &key) == 0 && (key.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    findings.warning("TLS_KEY_FILE: others than its owner have access to the key; chmod 600");
  }
  const auto context = TlsContext::load(tls_files(settings), std::make_shared<TlsTicketKeys>());
  if (!context) return findings.error(context.error().message);
  findings.ok("TLS_CERT_FILE, TLS_KEY_FILE: the key belongs to the certificate");
  for (const std::string& warning : (*context)->warnings()) findings.warning(warning);
  const int64_t days_left = ((*context)->certificate_not_after() - std::time(nullptr)) / 86400;
  if ((*context)->certificate_not_after() - std::time(nullptr) < kExpiryWarningSeconds) {
    findings.warning(concat("TLS_CERT_FILE: expires in ", days_left, " days"));
  } else {
    findings.ok(concat("TLS_CERT_FILE: valid for ", days_left, " days"));
  }
  if ((*context)->demands_client_certificate()) findings.ok("TLS_CLIENT_CA_FILE: clients must show a certificate");
}

void check_settings(const Settings& settings, Findings& findings) {
  findings.ok("settings: well-formed");
  const std::vector<Error> serve_errors = validate_for_serve(settings);
  for (const Error& error : serve_errors) findings.error(error.message);
  if (serve_errors.empty()) findings.ok("keys: present and long enough");
  if (settings.pin_secret_key.empty() && !settings.jwt_secret_key.empty()) {
    findings.warning("PIN_SECRET_KEY: not set, derived from JWT_SECRET_KEY; a change of that key voids every PIN");
  }
  if (const auto& accounts = settings.account_service) {
    findings.ok(concat("ACCOUNT_SERVICE_URL: /health asks ", accounts->host, " port ", accounts->port, " for ",
                       accounts->target.empty() ? kAccountsDefaultTarget : accounts->target));
  }
  if (!settings.rate_limit_enabled) findings.warning("RATE_LIMIT_ENABLED: false, requests are not limited");
  for (const Cidr& network : settings.trusted_proxies) {
    if (network.prefix_length == 0) findings.warning("TRUSTED_PROXIES: every address may claim to be another one");
  }
  for (const std::string& warning : settings.warnings) findings.warning(warning);
  if (settings.core_dumps) findings.warning("CORE_DUMPS: true, a crash writes keys to disk");
  check_token_keys(settings, findings);
  check_tls(settings, findings);
  check_log_dir(settings.log_dir, findings);
}

// What a committed transaction is worth. Without these three a crash may take back what was answered 200.
Result<void> check_durability(Session& session, Findings& findings) {
  const auto rows = session.exec(
      "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), "
      "current_setting('synchronous_standby_names') <> '', pg_is_in_recovery()");
  if (!rows) return std::unexpected(rows.error());
  bool is_durable = rows->text(0, 2) != "off";
  for (int column = 0; column < 2; ++column) {
    const std::string_view name = column == 0 ? "fsync" : "full_page_writes";
    if (rows->text(0, column) != "on") {
      is_durable = false;
      findings.error(concat("database: ", name, " is off, a power failure may destroy the books"));
    }
  }
  const std::string_view commit = rows->text(0, 2);
  const bool has_standby = rows->boolean(0, 3);
  if (commit == "off") {
    findings.error("database: synchronous_commit is off, a crash may lose what was answered with success");
  } else if (has_standby && commit != "on" && commit != "remote_apply") {
    findings.warning(concat("database: synchronous_commit is ", commit,
                            ", a failover may lose what was answered with "
                            "success"));
  }
  if (rows->boolean(0, 4)) findings.error("database: is a standby in recovery, nothing can be written");
  if (auto sound = rows->check(); !sound) return sound;
  if (is_durable) findings.ok("database: fsync, full_page_writes and synchronous_commit keep what is committed");
  return {};
}

Result<void> check_server(Session& session, const Settings& settings, Findings& findings) {
  constexpr int kOldestVersion = 14'00'00;
  const auto rows = session.exec(
      "SELECT current_setting('server_version'), current_setting('server_version_num'), "
      "current_setting('max_connections')::int - "
      "current_setting('superuser_reserved_connections')::int, rolsuper FROM pg_roles WHERE rolname = current_user");
  if (!rows) return std::unexpected(rows.error());
  if (rows->size() == 0) return {};
  findings.ok(concat("database: reachable, PostgreSQL ", rows->text(0, 0)));
  if (rows->integer(0, 1) < kOldestVersion) findings.error("database: older than PostgreSQL 14");
  if (const auto fits = check_encoding(session); !fits) findings.error("database: " + fits.error().message);
  if (settings.database_pool_max > rows->integer(0, 2)) {
    findings.warning(concat("DATABASE_POOL_MAX: ", settings.database_pool_max, ", the server admits ",
                            rows->integer(0, 2), " connections of all its clients"));
  }
  if (rows->boolean(0, 3)) findings.warning("database: the role is a superuser; the service needs a plain one");
  return rows->check();
}

Result<void> check_privileges(Session& session, Findings& findings) {
  const auto rows = session.exec(
      "SELECT table_name, privilege FROM (VALUES ('accounts', 'SELECT'), ('schema_migrations', 'SELECT'), "
      "('idempotency_keys', 'SELECT'), ('idempotency_keys', 'INSERT'), ('idempotency_keys', 'DELETE'), "
      "('transaction_logs', 'SELECT'), ('transaction_logs', 'INSERT'), ('transfer_limits', 'SELECT')) "
      "needed (table_name, privilege) WHERE NOT has_table_privilege(table_name, privilege) "
      "UNION ALL SELECT 'accounts.' || name, 'UPDATE' FROM unnest('{balance,log_seq,usage_day,usage_amount,usage_count,"
      "pin_failures,pin_locked_until}'::text[]) AS c (name) WHERE NOT has_column_privilege('accounts', name, 'UPDATE') "
      "UNION ALL SELECT 'idempotency_keys', 'UPDATE' WHERE NOT has_table_privilege('idempotency_keys', 'UPDATE') "
      "UNION ALL SELECT 'transaction_id_blocks', 'USAGE' "
      "WHERE NOT has_sequence_privilege('transaction_id_blocks', 'USAGE')");
  if (!rows) return std::unexpected(rows.error());
  for (int row = 0; row < rows->size(); ++row) {
    findings.error(concat("database: the role lacks ", rows->text(row, 1), " on ", rows->text(row, 0)));
  }
  if (rows->size() == 0) findings.ok("database: the role may do what the service does");
  const auto excess = session.exec(
      "SELECT has_table_privilege('transaction_logs', 'UPDATE') OR has_table_privilege('transaction_logs', 'DELETE') "
      "OR has_table_privilege('transaction_logs', 'TRUNCATE')");
  if (!excess) return std::unexpected(excess.error());
  if (excess->boolean(0, 0)) {
    findings.warning("database: the role may change or empty transaction_logs; serve with one that may only add to it");
  }
  return excess->check();
}

void describe_schema(int version, Findings& findings) {
  const auto known = static_cast<int>(embedded_migrations().size());
  if (version < known) {
    findings.warning(
        concat("database: schema version ", version, ", this release serves on it; `migrate` brings it to ", known));
  } else if (version > known) {
    findings.warning(concat("database: schema version ", version, ", of a newer release; this one knows ", known,
                            " and may serve on it"));
  } else {
    findings.ok(concat("database: schema version ", version));
  }
}

Result<void> check_database(const std::string& conninfo, const Settings& settings, Findings& findings) {
  auto session = Session::connect(conninfo);
  if (!session) return std::unexpected(session.error());
  if (auto checked = check_server(*session, settings, findings); !checked) return checked;
  if (auto checked = check_durability(*session, findings); !checked) return checked;
  const auto version = check_schema_version(*session);
  if (!version) return std::unexpected(version.error());
  describe_schema(*version, findings);
  if (auto checked = check_id_sequence(*session); !checked) {
    if (checked.error().kind != ErrorKind::kInvalidArgument) return checked;
    findings.error("database: " + checked.error().message);
  } else {
    findings.ok("database: transaction_id_blocks is ahead of the log");
  }
  return check_privileges(*session, findings);
}

// On connections of its own, when no other is open: a pooler may have one session only.
void check_pooling(const std::string& conninfo, Findings& findings) {
  const Pooling pooling = probe_pooling(conninfo);
  switch (pooling) {
    case Pooling::kSession:
      return findings.ok("database: a session stays with its client");
    case Pooling::kTransaction:
    case Pooling::kStatement:
      return findings.error("database: " + pooling_refusal(pooling));
    case Pooling::kCannotTell:
      return findings.warning(
          "database: whether a pooler shares sessions cannot be told, there was no second connection");
  }
}

// The service goes on without Redis, each replica by itself; so that is a warning.
void check_redis(const Settings& settings, Findings& findings) {
  if (!settings.rate_limit_enabled || !settings.rate_limit_redis) return;
  const auto opened = open_redis(rate_limit_redis_options(*settings.rate_limit_redis));
  if (!opened) {
    findings.warning(concat("RATE_LIMIT_STORAGE: Redis is of no use, limits would hold for each replica by itself: ",
                            opened.error().message));
    return;
  }
  close(opened->socket);
  findings.ok("RATE_LIMIT_STORAGE: Redis is reachable and runs what limits need");
}

}  // namespace

int cmd_check_config(const std::expected<Settings, std::vector<Error>>& loaded) {
  Findings findings;
  if (!loaded) {
    for (const Error& error : loaded.error()) findings.error(error.message);
    return kExitFailure;
  }
  check_settings(*loaded, findings);
  const std::string conninfo = database_conninfo(*loaded);
  const auto checked = check_database(conninfo, *loaded, findings);
  if (!checked) findings.error("database: " + checked.error().message);
  if (checked || checked.error().kind != ErrorKind::kUnavailable) check_pooling(conninfo, findings);
  check_redis(*loaded, findings);
  return findings.has_error() ? kExitFailure : 0;
}

}  // namespace txn
