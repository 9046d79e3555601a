// Every setting of the service: read once, validated once, plain values from then on.
//
// One table (core/config.cc) says for each setting its name, default, what is allowed and what it is for. A setting has
// the same name everywhere: SERVICE_PORT in the environment, --service-port on the command line, SERVICE_PORT=8002 in
// the file of --config. A flag beats the environment, the environment beats the file, the file beats the default.
//
// Nothing here knows the command line library, prints, or keeps state.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/http_url.h"

namespace txn {

inline constexpr size_t kHmacKeyMinBytes = 32;  // RFC 7518 section 3.2: as long as the hash of HS256

enum class JwtAlgorithm { kHs256, kRs256, kEs256, kEdDsa };
enum class RateLimitKey { kIp, kSubject, kIpAndSubject };
enum class LogThreshold { kDebug, kInfo, kWarning, kError, kCritical };

std::string_view to_string(JwtAlgorithm algorithm);  // "HS256", "RS256", "ES256", "EdDSA"
std::string_view to_string(LogThreshold threshold);  // "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"

// `count` requests in every `window`: "20/hour".
struct RateLimitPolicy {
  int64_t count = 0;
  std::chrono::seconds window{0};
  friend bool operator==(const RateLimitPolicy&, const RateLimitPolicy&) = default;
};

// A network address prefix. IPv4 takes the first 4 bytes of `address`; bits beyond the prefix are zero.
struct Cidr {
  bool is_ipv6 = false;
  uint8_t prefix_length = 0;
  std::array<uint8_t, 16> address{};
  friend bool operator==(const Cidr&, const Cidr&) = default;
};

// redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]
struct RedisAddress {
  std::string host;
  uint16_t port = 6379;
  int database = 0;
  std::string user;
  std::string password;
  friend bool operator==(const RedisAddress&, const RedisAddress&) = default;
};

// Which requests get a line of their own in the log, besides those that move money, which all do.
struct AccessLog {
  enum class Kind : uint8_t { kNone, kErrors, kAll, kSample };
  Kind kind = Kind::kErrors;
  int64_t every = 1;  // kSample: of those that are no errors, one in so many
  friend bool operator==(const AccessLog&, const AccessLog&) = default;
};

// What an identity provider calls a role: "bank-teller=TELLER".
struct RoleName {
  std::string name;
  std::string role;  // CUSTOMER, TELLER or ADMIN
  friend bool operator==(const RoleName&, const RoleName&) = default;
};

// What load_settings makes of all sources. An empty string means "not set". The secrets among these are marked; they
// must not reach a log, an error or a client. Immutable after start, so any thread may read it.
struct Settings {
  std::string service_host = "0.0.0.0";     // an IPv4 or IPv6 address without brackets
  uint16_t service_port = 8002;             // 0: the kernel picks one
  int workers = 1;                          // the default is the CPUs that this process may use
  std::optional<uint16_t> operations_port;  // unset: probes and metrics are on the service's port alone; 0 as above
  bool metrics_public = true;               // whether /metrics and /health are on the service's port
  std::chrono::milliseconds keepalive_timeout{75'000};
  int max_connections = 10000;             // whole process
  int max_connections_per_address = 1000;  // whole process; 0: no limit

  std::string database_url;  // secret: may hold a password
  std::string database_host;
  uint16_t database_port = 5432;
  std::string database_user;
  std::string database_password;       // secret
  std::string database_password_file;  // where database_password was read from; "" if it was given as it is
  std::string database_name = "gdb_transactions";
  int database_pool_min = 10;  // whole process, as is the next
  int database_pool_max = 50;
  std::chrono::milliseconds database_command_timeout{30'000};
  int ledger_lanes = 1;         // per worker
  int ledger_queue_max = 4096;  // operations that wait, per worker
  int ledger_batch_max = 1024;
  std::chrono::milliseconds ledger_queue_delay_max{250};

  std::string jwt_secret_key;  // secret
  JwtAlgorithm jwt_algorithm = JwtAlgorithm::kHs256;
  std::string jwt_public_key_file;
  std::string jwt_jwks_file;
  std::string jwt_issuer;
  std::string jwt_audience;
  std::chrono::milliseconds jwt_leeway{30'000};
  std::string jwt_subject_claim;  // a claim's name or a dotted path; empty: `user_id`, else `sub`
  std::string jwt_role_claim = "role";
  std::vector<RoleName> jwt_role_map;  // no name twice; empty: roles are called what they are
  int auth_missing_status = 403;       // or 401
  std::string pin_secret_key;          // secret; empty: derived from jwt_secret_key

  bool rate_limit_enabled = true;
  RateLimitPolicy rate_limit_deposits;
  RateLimitPolicy rate_limit_withdrawals;
  RateLimitPolicy rate_limit_transfers;
  RateLimitKey rate_limit_key = RateLimitKey::kIp;
  std::optional<RedisAddress> rate_limit_redis;  // unset: in memory. Secret: may hold a password
  std::vector<Cidr> trusted_proxies;

  std::string tls_cert_file;
  std::string tls_key_file;
  std::string tls_client_ca_file;

  LogThreshold log_level = LogThreshold::kInfo;
  std::string log_dir = "./logs/transactions";  // empty: no file
  int64_t log_max_bytes = 10 << 20;
  int log_backup_count = 10;
  AccessLog access_log;

  std::optional<HttpUrl> otlp_endpoint;  // unset: no traces are exported
  int64_t trace_sample_per_million = 100'000;

  std::optional<HttpUrl> account_service;
  std::vector<std::string> cors_allowed_origins;  // each "scheme://host[:port]", or the only one is "*"
  std::string cors_allowed_headers;  // as Access-Control-Allow-Headers has them: "Authorization, Content-Type"
  std::chrono::milliseconds drain_delay{0};
  std::chrono::milliseconds drain_timeout{25'000};
  bool core_dumps = false;

  std::vector<std::string> warnings;  // what is not wrong and not wise, a line each; no secrets
};

// LEDGER_BATCH_MAX goes up to this: no batch is larger than a block of ids (db/lane_store.h).
inline constexpr int kLedgerBatchMaxLimit = 1024;

// Database connections of one worker.
struct ConnectionShare {
  int lanes = 1;
  int readers = 1;
  int total() const { return lanes + readers; }
  friend bool operator==(const ConnectionShare&, const ConnectionShare&) = default;
};

// What each of `workers` (1 or more) opens. The lanes come first, and at least one connection reads; of what the
// process keeps open, DATABASE_POOL_MIN, the lanes leave the rest to the readers. Settings out of load_settings() have
// workers * total() <= DATABASE_POOL_MAX.
ConnectionShare connection_share(int workers, int lanes, int pool_min);

// How many workers a pool of `pool_max` serves, each with its lanes and one connection that reads; 0 if not one.
int workers_served(int lanes, int pool_max);

// One row of the table, for help texts and documentation.
struct SettingInfo {
  std::string_view name;           // SERVICE_PORT
  std::string_view default_value;  // as a person would write it; "" for none
  std::string allowed;             // "an integer from 0 to 65535"
  std::string_view help;           // one line
  bool is_secret = false;
};

// All settings in the order of the documentation.
std::span<const SettingInfo> setting_infos();

// "--service-port" of "SERVICE_PORT".
std::string flag_of_setting(std::string_view name);

// Values by setting name, as text, from one source.
using SettingValues = std::map<std::string, std::string, std::less<>>;

// The variables of `environment` (as environ(7): "NAME=value" strings, ended by a null pointer) that name a setting.
// An empty value counts as not given: that is what compose files make of a variable nobody has set.
SettingValues settings_from_environment(const char* const* environment);

// Lines of NAME=value. Blank lines and lines that start with '#' are skipped, blanks around NAME and value are dropped,
// and so is one pair of quotes, ' or ", around the whole value. All findings are reported, each naming `source` and its
// line: a line of another shape, a name that is no setting, a name given twice.
std::expected<SettingValues, std::vector<Error>> parse_config_text(std::string_view text, std::string_view source);

// The same from a file, which may be at most 1 MiB. Blocking.
std::expected<SettingValues, std::vector<Error>> read_config_file(const std::string& path);

struct SettingSources {
  SettingValues flags;
  SettingValues environment;
  SettingValues file;
  std::string file_path = {};  // where `file` comes from; "" when it is no file
  int cpus = 0;                // that there are workers for; 0: usable_cpus()
};

// Merges the sources by precedence, reads the files that *_FILE names (content minus one trailing newline; at the same
// level the direct setting beats its *_FILE), parses and validates, each setting and all of them together. All findings
// are reported, one Error each, naming the setting, where it was given and what is allowed, and never a secret value.
// Unknown names in a source are reported. The parts of a database's address are not looked at beside DATABASE_URL.
// Where WORKERS is not given there are as many as CPUs, or fewer if other settings serve no more, which is a warning.
// So is a file with secrets that everybody on the machine may read, and a setting that another leaves without effect.
// Blocking file reads.
std::expected<Settings, std::vector<Error>> load_settings(const SettingSources& sources);

// What `serve` asks for beyond well-formed settings: keys to check tokens with, and to hash PINs with. Empty: all well.
std::vector<Error> validate_for_serve(const Settings& settings);

// What libpq should be given: DATABASE_URL as it is, or else a conninfo string of the parts (no host: the local
// socket). Either way the connections call themselves "transactions-service" unless the URL or PGAPPNAME says
// otherwise. Contains the password: not for logs.
std::string database_conninfo(const Settings& settings);

// The same with the password that DATABASE_PASSWORD_FILE holds now: passwords are rotated while the service runs.
// Without such a file what database_conninfo() says. Fails with what is wrong with the file, without what is in it. Any
// thread; reads a file, so not on a worker's.
Result<std::string> fresh_database_conninfo(const Settings& settings);

// The parsers of single values that are of use elsewhere. Nothing when the text is not of that shape.
std::optional<RateLimitPolicy> parse_rate_limit(std::string_view text);          // "20/hour"
std::optional<Cidr> parse_cidr(std::string_view text);                           // "10.0.0.0/8", "::1"
std::optional<RedisAddress> parse_redis_url(std::string_view text);              // "redis://cache:6379/0"
std::optional<HttpUrl> parse_http_url(std::string_view text);                    // "http://accounts:8001/health"
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);  // "30", "30s", "500ms"
std::optional<int64_t> parse_ratio(std::string_view text);                       // "0.1" as 100000 millionths
std::optional<int64_t> parse_byte_count(std::string_view text);                  // "1048576", "10MiB"
std::optional<AccessLog> parse_access_log(std::string_view text);                // "errors", "sample:100"
std::optional<std::vector<RoleName>> parse_role_map(std::string_view text);      // "bank-teller=TELLER,clerk=TELLER"

}  // namespace txn
