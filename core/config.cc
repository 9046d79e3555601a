#include "core/config.h"

#include <arpa/inet.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <set>
#include <utility>

#include "core/byte_order_mark.h"
#include "core/check.h"
#include "core/concat.h"
#include "core/cpu.h"

namespace txn {
namespace {

using std::chrono::milliseconds;

constexpr size_t kFileMaxBytes = 1 << 20;
constexpr int kWorkersMax = 256;
// Longest name of a claim or a role, and most names of roles: what is looked through for each new token.
constexpr size_t kClaimNameMaxBytes = 256;
constexpr size_t kRoleNamesMax = 64;
constexpr std::string_view kApplicationName = "transactions-service";

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

template <class Integer>
std::optional<Integer> parse_integer(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Cuts `text` at the first `separator`; what follows it stays in `text`, which is empty at the end.
std::string_view take_until(std::string_view& text, char separator) {
  const size_t at = std::min(text.find(separator), text.size());
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return head;
}

// Comma-separated, blanks and empty elements dropped.
std::vector<std::string_view> split_list(std::string_view text) {
  std::vector<std::string_view> elements;
  while (!text.empty()) {
    const std::string_view element = trim(take_until(text, ','));
    if (!element.empty()) elements.push_back(element);
  }
  return elements;
}

std::optional<bool> parse_boolean(std::string_view text) {
  const std::string word = lower_case(text);
  if (word == "true" || word == "1" || word == "yes" || word == "on") return true;
  if (word == "false" || word == "0" || word == "no" || word == "off") return false;
  return std::nullopt;
}

// "Host or literal" of a URL with an optional port: "cache", "10.0.0.1:80", "[::1]:6379".
struct HostAndPort {
  std::string host;  // without brackets
  std::optional<uint16_t> port;
};

std::optional<HostAndPort> parse_host_and_port(std::string_view text) {
  HostAndPort result;
  if (text.starts_with('[')) {
    const size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    result.host = text.substr(1, bracket - 1);
    in6_addr ignored{};
    if (inet_pton(AF_INET6, result.host.c_str(), &ignored) != 1) return std::nullopt;
    text.remove_prefix(bracket + 1);
    if (!text.empty() && !text.starts_with(':')) return std::nullopt;
  } else {
    result.host = text.substr(0, text.find(':'));
    text.remove_prefix(result.host.size());
    const auto is_host_character = [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '-' || c == '_'; };
    if (result.host.empty() || !std::ranges::all_of(result.host, is_host_character)) return std::nullopt;
  }
  if (text.empty()) return result;
  result.port = parse_integer<uint16_t>(text.substr(1));
  if (!result.port || *result.port == 0) return std::nullopt;
  return result;
}

// Cuts "http://" or "https://" off the front.
bool take_http_scheme(std::string_view& url) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (url.starts_with(scheme)) {
      url.remove_prefix(scheme.size());
      return true;
    }
  }
  return false;
}

bool is_origin(std::string_view origin) { return take_http_scheme(origin) && parse_host_and_port(origin).has_value(); }

// --- The table -----------------------------------------------------------------------------------------------------

// Parses `text` into its member of Settings; false when it is not allowed, with the member unchanged.
using Apply = bool (*)(Settings&, std::string_view text);

struct Row {
  SettingInfo info;
  Apply apply = nullptr;             // null: a *_FILE variant, read before anything is parsed
  std::string_view file_variant_of;  // the setting whose value stands in the file that this one names
};

template <auto kMember, int64_t kMin, int64_t kMax>
Row integer(std::string_view name, std::string_view default_value, std::string_view help) {
  const Apply apply = [](Settings& settings, std::string_view text) {
    const auto value = parse_integer<int64_t>(text);
    if (!value || *value < kMin || *value > kMax) return false;
    using Member = std::remove_reference_t<decltype(settings.*kMember)>;
    settings.*kMember = static_cast<Member>(*value);
    return true;
  };
  return {{name, default_value, concat("an integer from ", kMin, " to ", kMax), help}, apply, {}};
}

std::string duration_text(int64_t ms) { return ms % 1000 == 0 ? concat(ms / 1000, "s") : concat(ms, "ms"); }

template <auto kMember, int64_t kMinMs, int64_t kMaxMs>
Row duration(std::string_view name, std::string_view default_value, std::string_view help) {
  const Apply apply = [](Settings& settings, std::string_view text) {
    const auto value = parse_duration(text);
    if (!value || *value < milliseconds(kMinMs) || *value > milliseconds(kMaxMs)) return false;
    settings.*kMember = *value;
    return true;
  };
  std::string allowed =
      concat("a duration from ", duration_text(kMinMs), " to ", duration_text(kMaxMs), ", like 30, 30s or 500ms");
  return {{name, default_value, std::move(allowed), help}, apply, {}};
}

template <auto kMember>
bool apply_text(Settings& settings, std::string_view value) {
  // A NUL would end the value early for every C library that gets to see it.
  if (value.find('\0') != std::string_view::npos) return false;
  settings.*kMember = value;
  return true;
}

template <auto kMember>
bool apply_key(Settings& settings, std::string_view value) {
  settings.*kMember = value;  // any bytes: it may come from a file
  return true;
}

template <auto kMember>
Row text(std::string_view name, std::string_view default_value, std::string allowed, std::string_view help) {
  return {{name, default_value, std::move(allowed), help}, apply_text<kMember>, {}};
}

Row secret(std::string_view name, std::string allowed, std::string_view help, Apply apply) {
  return {{name, "", std::move(allowed), help, true}, apply, {}};
}

Row secret_file(std::string_view name, std::string_view file_variant_of, std::string_view help) {
  return {{name, "", "the path of a readable file", help}, nullptr, file_variant_of};
}

template <auto kMember>
Row rate_limit(std::string_view name, std::string_view default_value, std::string_view help) {
  const Apply apply = [](Settings& settings, std::string_view value) {
    const auto policy = parse_rate_limit(value);
    if (policy) settings.*kMember = *policy;
    return policy.has_value();
  };
  return {{name, default_value, "N/second, N/minute, N/hour or N/day with N from 1 to 1000000", help}, apply, {}};
}

bool apply_service_host(Settings& settings, std::string_view value) {
  if (value.starts_with('[') && value.ends_with(']')) value = value.substr(1, value.size() - 2);
  const std::string host(value);
  in6_addr ignored{};
  if (inet_pton(AF_INET, host.c_str(), &ignored) != 1 && inet_pton(AF_INET6, host.c_str(), &ignored) != 1) return false;
  settings.service_host = host;
  return true;
}

bool apply_database_url(Settings& settings, std::string_view value) {
  const bool is_uri = value.starts_with("postgresql://") || value.starts_with("postgres://");
  const bool is_conninfo = value.find('=') != std::string_view::npos && value.find("://") > value.find('=');
  if (value.find('\0') != std::string_view::npos) return false;
  if (!value.empty() && !is_uri && !is_conninfo) return false;
  settings.database_url = value;
  return true;
}

bool apply_jwt_algorithm(Settings& settings, std::string_view value) {
  for (const auto algorithm :
       {JwtAlgorithm::kHs256, JwtAlgorithm::kRs256, JwtAlgorithm::kEs256, JwtAlgorithm::kEdDsa}) {
    if (value != to_string(algorithm)) continue;
    settings.jwt_algorithm = algorithm;
    return true;
  }
  return false;
}

// The name of a claim, or a path of names with dots between; either way no dot has nothing beside it.
bool is_claim_name(std::string_view name) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  // RFC 7519 section 4.1: these have a meaning of their own.
  for (const std::string_view taken : {"exp", "nbf", "iat", "iss", "aud"}) {
    if (name == taken) return false;
  }
  return !name.empty() && name.size() <= kClaimNameMaxBytes && name.front() != '.' && name.back() != '.' &&
         name.find("..") == std::string_view::npos && !std::ranges::any_of(name, is_control);
}

template <auto kMember>
bool apply_claim(Settings& settings, std::string_view value) {
  if (!is_claim_name(value)) return false;
  settings.*kMember = value;
  return true;
}

bool apply_jwt_role_map(Settings& settings, std::string_view value) {
  auto names = parse_role_map(value);
  if (names) settings.jwt_role_map = std::move(*names);
  return names.has_value();
}

bool apply_auth_missing_status(Settings& settings, std::string_view value) {
  if (value != "401" && value != "403") return false;
  settings.auth_missing_status = value == "401" ? 401 : 403;
  return true;
}

bool apply_rate_limit_enabled(Settings& settings, std::string_view value) {
  const auto enabled = parse_boolean(value);
  if (enabled) settings.rate_limit_enabled = *enabled;
  return enabled.has_value();
}

bool apply_metrics_public(Settings& settings, std::string_view value) {
  const auto is_public = parse_boolean(value);
  if (is_public) settings.metrics_public = *is_public;
  return is_public.has_value();
}

bool apply_core_dumps(Settings& settings, std::string_view value) {
  const auto enabled = parse_boolean(value);
  if (enabled) settings.core_dumps = *enabled;
  return enabled.has_value();
}

bool apply_rate_limit_key(Settings& settings, std::string_view value) {
  if (value == "ip") {
    settings.rate_limit_key = RateLimitKey::kIp;
  } else if (value == "subject") {
    settings.rate_limit_key = RateLimitKey::kSubject;
  } else if (value == "ip+subject") {
    settings.rate_limit_key = RateLimitKey::kIpAndSubject;
  } else {
    return false;
  }
  return true;
}

bool apply_rate_limit_storage(Settings& settings, std::string_view value) {
  if (value == "memory") {
    settings.rate_limit_redis.reset();
    return true;
  }
  auto address = parse_redis_url(value);
  if (!address) return false;
  settings.rate_limit_redis = std::move(address);
  return true;
}

bool apply_trusted_proxies(Settings& settings, std::string_view value) {
  std::vector<Cidr> networks;
  for (const std::string_view element : split_list(value)) {
    const auto network = parse_cidr(element);
    if (!network) return false;
    networks.push_back(*network);
  }
  settings.trusted_proxies = std::move(networks);
  return true;
}

bool apply_log_level(Settings& settings, std::string_view value) {
  for (const auto threshold : {LogThreshold::kDebug, LogThreshold::kInfo, LogThreshold::kWarning, LogThreshold::kError,
                               LogThreshold::kCritical}) {
    if (lower_case(value) != lower_case(to_string(threshold))) continue;
    settings.log_level = threshold;
    return true;
  }
  return false;
}

bool apply_log_dir(Settings& settings, std::string_view value) {
  if (value.find('\0') != std::string_view::npos) return false;
  settings.log_dir = value == "none" ? "" : value;
  return true;
}

bool apply_access_log(Settings& settings, std::string_view value) {
  const auto access_log = parse_access_log(value);
  if (access_log) settings.access_log = *access_log;
  return access_log.has_value();
}

bool apply_otlp_endpoint(Settings& settings, std::string_view value) {
  auto url = parse_http_url(value);
  if (!url && !value.empty()) return false;
  settings.otlp_endpoint = std::move(url);
  return true;
}

bool apply_trace_sample_ratio(Settings& settings, std::string_view value) {
  const auto per_million = parse_ratio(value);
  if (per_million) settings.trace_sample_per_million = *per_million;
  return per_million.has_value();
}

bool apply_log_max_bytes(Settings& settings, std::string_view value) {
  constexpr int64_t kMin = 64 << 10;
  constexpr int64_t kMax = int64_t{16} << 30;
  const auto bytes = parse_byte_count(value);
  if (!bytes || *bytes < kMin || *bytes > kMax) return false;
  settings.log_max_bytes = *bytes;
  return true;
}

bool apply_account_service_url(Settings& settings, std::string_view value) {
  auto url = parse_http_url(value);
  if (!url && !value.empty()) return false;
  settings.account_service = std::move(url);
  return true;
}

bool apply_cors_allowed_origins(Settings& settings, std::string_view value) {
  std::vector<std::string> origins;
  for (const std::string_view element : split_list(value)) {
    if (element != "*" && !is_origin(element)) return false;
    origins.emplace_back(element);
  }
  if (origins.size() > 1 && std::ranges::find(origins, "*") != origins.end()) return false;
  settings.cors_allowed_origins = std::move(origins);
  return true;
}

// Names by RFC 9110 section 5.1. "*" is one, and stands for everything but Authorization (Fetch standard, section
// 3.2.3): a trap, so it is refused.
bool apply_cors_allowed_headers(Settings& settings, std::string_view value) {
  const auto is_token_character = [](unsigned char c) {
    return std::isalnum(c) ||
           (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos);
  };
  std::string names;
  for (const std::string_view element : split_list(value)) {
    if (element == "*" || !std::ranges::all_of(element, is_token_character)) return false;
    if (!names.empty()) names += ", ";
    names += element;
  }
  if (names.empty()) return false;
  settings.cors_allowed_headers = std::move(names);
  return true;
}

Row custom(std::string_view name, std::string_view default_value, std::string allowed, std::string_view help,
           Apply apply) {
  return {{name, default_value, std::move(allowed), help}, apply, {}};
}

std::vector<Row> make_table() {
  constexpr const char* kPath = "a path";
  constexpr const char* kText = "text without NUL";
  using S = Settings;
  std::vector<Row> rows = {
      custom("SERVICE_HOST", "0.0.0.0", "an IPv4 or IPv6 address", "address to listen on", apply_service_host),
      integer<&S::service_port, 0, 65535>("SERVICE_PORT", "8002", "port to listen on; 0 picks one and logs it"),
      integer<&S::operations_port, 0, 65535>(
          "OPERATIONS_PORT", "", "a second port, plain HTTP, for /livez, /readyz, /health and /metrics alone"),
      custom("METRICS_PUBLIC", "true", "true or false",
             "whether /metrics and /health are on SERVICE_PORT too; false: on OPERATIONS_PORT alone",
             apply_metrics_public),
      duration<&S::keepalive_timeout, 1000, 3'600'000>("KEEPALIVE_TIMEOUT", "75s",
                                                       "how long a connection may stay open between two requests"),
      integer<&S::workers, 1, kWorkersMax>("WORKERS", "", "event loops (default: the CPUs this process may use)"),
      integer<&S::max_connections, 1, 1'000'000>("MAX_CONNECTIONS", "10000", "client connections of the whole process"),
      integer<&S::max_connections_per_address, 0, 1'000'000>(
          "MAX_CONNECTIONS_PER_ADDRESS", "1000", "of these, from one address (IPv6: one /64); 0 for no limit"),

      custom("DATABASE_URL", "", "a libpq URI or conninfo string", "the database, instead of the five that follow",
             apply_database_url),
      text<&S::database_host>("DATABASE_HOST", "", "a host name, an address or a socket directory",
                              "database host (default: the local socket)"),
      integer<&S::database_port, 1, 65535>("DATABASE_PORT", "5432", "database port"),
      text<&S::database_user>("DATABASE_USER", "", kText, "database role (default: libpq's)"),
      secret("DATABASE_PASSWORD", kText, "password of the role", apply_text<&S::database_password>),
      secret_file("DATABASE_PASSWORD_FILE", "DATABASE_PASSWORD", "file that holds DATABASE_PASSWORD"),
      text<&S::database_name>("DATABASE_NAME", "gdb_transactions", kText, "database name"),
      integer<&S::database_pool_min, 1, 1000>("DATABASE_POOL_MIN", "10",
                                              "database connections kept open by the whole process"),
      integer<&S::database_pool_max, 1, 1000>("DATABASE_POOL_MAX", "50",
                                              "most database connections of the whole process"),
      duration<&S::database_command_timeout, 100, 600'000>("DATABASE_COMMAND_TIMEOUT", "30s",
                                                           "longest time for one database command"),
      integer<&S::ledger_lanes, 1, 8>("LEDGER_LANES", "1", "database connections that move money, per worker"),
      integer<&S::ledger_queue_max, 1, 1'000'000>("LEDGER_QUEUE_MAX", "4096",
                                                  "operations that may wait, per worker; beyond it 503"),
      integer<&S::ledger_batch_max, 1, kLedgerBatchMaxLimit>("LEDGER_BATCH_MAX", "1024",
                                                             "most operations in one database transaction"),
      duration<&S::ledger_queue_delay_max, 10, 60'000>(
          "LEDGER_QUEUE_DELAY_MAX", "250ms", "once an operation has waited so long for its turn, new ones get 503"),

      secret("JWT_SECRET_KEY", "at least 32 bytes", "key that signs and checks tokens (HS256)",
             apply_key<&S::jwt_secret_key>),
      secret_file("JWT_SECRET_KEY_FILE", "JWT_SECRET_KEY", "file that holds JWT_SECRET_KEY"),
      custom("JWT_ALGORITHM", "HS256", "HS256, RS256, ES256 or EdDSA", "the algorithm of every token accepted",
             apply_jwt_algorithm),
      text<&S::jwt_public_key_file>("JWT_PUBLIC_KEY_FILE", "", kPath, "PEM public key for RS256, ES256, EdDSA"),
      text<&S::jwt_jwks_file>("JWT_JWKS_FILE", "", kPath, "JSON Web Key Set for RS256, ES256, EdDSA"),
      text<&S::jwt_issuer>("JWT_ISSUER", "", kText, "`iss` that tokens must have"),
      text<&S::jwt_audience>("JWT_AUDIENCE", "", kText, "`aud` that tokens must have"),
      duration<&S::jwt_leeway, 0, 300'000>("JWT_LEEWAY", "30s", "clock difference tolerated in `exp` and `nbf`"),
      custom("JWT_SUBJECT_CLAIM", "", "a claim's name or a path like user.id, of at most 256 bytes",
             "claim with the caller's number (default: `user_id`, else `sub`)", apply_claim<&S::jwt_subject_claim>),
      custom("JWT_ROLE_CLAIM", "role", "a claim's name or a path like realm_access.roles, of at most 256 bytes",
             "claim with the caller's role or roles", apply_claim<&S::jwt_role_claim>),
      custom("JWT_ROLE_MAP", "",
             "a comma-separated list of up to 64 NAME=ROLE, each NAME once, ROLE being CUSTOMER, TELLER or ADMIN",
             "what the identity provider calls the roles (default: what they are)", apply_jwt_role_map),
      custom("AUTH_MISSING_STATUS", "403", "401 or 403", "status of an answer to a request without credentials",
             apply_auth_missing_status),
      secret("PIN_SECRET_KEY", "at least 32 bytes",
             "key that PINs are hashed with (default: derived from JWT_SECRET_KEY)", apply_key<&S::pin_secret_key>),
      secret_file("PIN_SECRET_KEY_FILE", "PIN_SECRET_KEY", "file that holds PIN_SECRET_KEY"),

      custom("RATE_LIMIT_ENABLED", "true", "true or false", "whether requests are limited", apply_rate_limit_enabled),
      rate_limit<&S::rate_limit_deposits>("RATE_LIMIT_DEPOSITS", "50/hour", "limit of POST /api/v1/deposits"),
      rate_limit<&S::rate_limit_withdrawals>("RATE_LIMIT_WITHDRAWALS", "30/hour", "limit of POST /api/v1/withdrawals"),
      rate_limit<&S::rate_limit_transfers>("RATE_LIMIT_TRANSFERS", "20/hour", "limit of POST /api/v1/transfers"),
      custom("RATE_LIMIT_KEY", "ip", "ip, subject or ip+subject", "what limits are counted by", apply_rate_limit_key),
      custom("RATE_LIMIT_STORAGE", "memory", "memory or redis://[[USER]:PASSWORD@]HOST:PORT/DB",
             "where limits are counted", apply_rate_limit_storage),
      custom("TRUSTED_PROXIES", "", "a comma-separated list of CIDRs",
             "proxies whose X-Forwarded-For or Forwarded is believed", apply_trusted_proxies),

      text<&S::tls_cert_file>("TLS_CERT_FILE", "", kPath, "PEM certificate chain; with the key: HTTPS only"),
      text<&S::tls_key_file>("TLS_KEY_FILE", "", kPath, "PEM private key"),
      text<&S::tls_client_ca_file>("TLS_CLIENT_CA_FILE", "", kPath, "PEM authorities; clients must show a certificate"),

      custom("LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING, ERROR or CRITICAL", "least level that is logged",
             apply_log_level),
      custom("LOG_DIR", "./logs/transactions", "a path, or none",
             "directory of app.json.log; none: standard error only", apply_log_dir),
      custom("LOG_MAX_BYTES", "10MiB", "a size from 64KiB to 16GiB, like 10485760 or 10MiB",
             "size at which the log file is rotated", apply_log_max_bytes),
      integer<&S::log_backup_count, 0, 1000>("LOG_BACKUP_COUNT", "10",
                                             "rotated log files kept; 0: not rotated by the service"),
      custom("ACCESS_LOG", "errors", "all, errors, none or sample:N with N from 1 to 1000000",
             "requests logged besides those that move money", apply_access_log),

      custom("OTLP_ENDPOINT", "", "an http:// URL, like http://collector:4318/v1/traces",
             "collector that traces are sent to (default: none)", apply_otlp_endpoint),
      custom("TRACE_SAMPLE_RATIO", "0.1", "a number from 0 to 1 with at most six decimals",
             "share of traces recorded among those that begin here", apply_trace_sample_ratio),

      custom("ACCOUNT_SERVICE_URL", "", "an http:// URL (https:// cannot be asked)",
             "accounts service that /health asks and reports on; without a path its /health",
             apply_account_service_url),
      custom("CORS_ALLOWED_ORIGINS", "", "a comma-separated list of origins like https://bank.example, or *",
             "origins whose pages may call the service", apply_cors_allowed_origins),
      custom("CORS_ALLOWED_HEADERS", "Authorization, Content-Type, Idempotency-Key, X-Request-ID, traceparent",
             "a comma-separated list of header names, without *", "headers that these pages may send",
             apply_cors_allowed_headers),
      duration<&S::drain_delay, 0, 300'000>(
          "DRAIN_DELAY", "0s",
          "how long after SIGTERM everything is still served, with /readyz 503, so that balancers see it"),
      duration<&S::drain_timeout, 0, 30'000>("DRAIN_TIMEOUT", "25s", "time for open requests after that"),
      custom("CORE_DUMPS", "false", "true or false", "whether cores may be dumped and debuggers attach, keys and all",
             apply_core_dumps),
  };
  // These may carry a password within them.
  for (Row& row : rows) {
    if (row.info.name == "DATABASE_URL" || row.info.name == "RATE_LIMIT_STORAGE") row.info.is_secret = true;
  }
  return rows;
}

const std::vector<Row>& table() {
  static const std::vector<Row> rows = make_table();
  return rows;
}

const Row* find_row(std::string_view name) {
  const auto row = std::ranges::find(table(), name, [](const Row& candidate) { return candidate.info.name; });
  return row == table().end() ? nullptr : &*row;
}

const Row* find_file_variant(std::string_view name) {
  const auto row = std::ranges::find(table(), name, &Row::file_variant_of);
  return row == table().end() ? nullptr : &*row;
}

// --- Sources ---------------------------------------------------------------------------------------------------------

Error invalid(std::string message) { return {ErrorKind::kInvalidArgument, std::move(message)}; }

// `text` fit for one line of a terminal, and not too long for it.
std::string printable(std::string_view text) {
  constexpr size_t kMaxBytes = 80;
  std::string result;
  for (const char c : text.substr(0, kMaxBytes)) {
    const bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    result += is_control ? '?' : c;
  }
  if (text.size() > kMaxBytes) result += "...";
  return result;
}

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail_errno(printable(path).c_str(), errno);
  std::string content(kFileMaxBytes + 1, '\0');
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (file.bad()) return fail(ErrorKind::kSystem, printable(path) + ": cannot be read");
  content.resize(static_cast<size_t>(file.gcount()));
  if (content.size() > kFileMaxBytes) return fail(ErrorKind::kInvalidArgument, printable(path) + ": larger than 1 MiB");
  return content;
}

// A secret out of a file. Editors and `echo` end a file with a newline that is not meant to be part of the secret.
Result<std::string> read_secret_file(const std::string& path) {
  auto content = read_file(path);
  if (!content) return content;
  if (content->ends_with('\n')) content->pop_back();
  if (content->ends_with('\r')) content->pop_back();
  if (content->empty()) return fail(ErrorKind::kInvalidArgument, printable(path) + ": is empty");
  return content;
}

bool is_readable_by_all(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0;
}

std::string exposed(std::string_view what) {
  return concat(what, ": everybody on this machine may read the file; chmod 600 keeps it to its owner");
}

struct Level {
  const SettingValues& values;
  bool is_flags = false;
  std::string_view name;  // "the environment"
};

std::string origin_of(const Level& level, std::string_view name) {
  return level.is_flags ? flag_of_setting(name) : concat(name, " from ", level.name);
}

// A value and the words for where it came from.
struct Given {
  std::string value;
  std::string origin;
  std::string file;         // that it was read from; "" if none
  bool is_exposed = false;  // the file can be read by all
  bool is_marked = false;   // the file begins with a byte order mark
};

// The value of `row` at one level, from the setting itself or the file its variant names. An unreadable file is an
// error and counts as given, so that no weaker source takes its place.
std::expected<std::optional<Given>, Error> find_at_level(const Row& row, const Level& level) {
  const std::string_view name = row.info.name;
  if (const auto direct = level.values.find(name); direct != level.values.end()) {
    return Given{.value = direct->second, .origin = origin_of(level, name)};
  }
  const Row* variant = find_file_variant(name);
  if (variant == nullptr) return std::nullopt;
  const auto path = level.values.find(variant->info.name);
  if (path == level.values.end()) return std::nullopt;
  const std::string origin = origin_of(level, variant->info.name);
  auto content = read_secret_file(path->second);
  if (!content) return std::unexpected(invalid(origin + ": " + content.error().message));
  const bool is_marked = content->starts_with(kByteOrderMark);
  return Given{std::move(*content), origin, path->second, is_readable_by_all(path->second), is_marked};
}

bool is_given_at(const Row& row, const Level& level) {
  const Row* variant = find_file_variant(row.info.name);
  return level.values.contains(row.info.name) || (variant != nullptr && level.values.contains(variant->info.name));
}

void report_unknown_names(const Level& level, std::vector<Error>& errors) {
  for (const auto& [name, value] : level.values) {
    if (find_row(name) == nullptr) {
      errors.push_back(invalid(concat(origin_of(level, printable(name)), ": there is no such setting")));
    }
  }
}

// What commonly stands there instead, in a sentence; "" if nothing comes to mind.
std::string_view hint(const Row& row, std::string_view value) {
  // Kubernetes links services into the environment of pods: of one named "database", DATABASE_PORT.
  if (row.info.name.ends_with("_PORT") && value.starts_with("tcp://"))
    return ". Kubernetes sets it for a Service of that name: put enableServiceLinks: false into the pod's spec, or "
           "another value into its env";
  const std::string_view scheme = value.substr(0, std::min(value.find("://"), value.size()));
  if (row.info.name == "DATABASE_URL" && scheme.starts_with("postgres") && scheme.find('+') != std::string_view::npos)
    return ". What stands behind the + names a driver of Python's: write postgresql:// instead";
  return "";
}

std::string explain(const Row& row, const Given& given) {
  const std::string_view more = hint(row, given.value);
  if (row.info.is_secret) return concat(given.origin, ": must be ", row.info.allowed, more);
  return concat(given.origin, ": '", printable(given.value), "' is not ", row.info.allowed, more);
}

// Parts of the database's address, which DATABASE_URL has all of.
bool is_database_part(std::string_view name) {
  return name == "DATABASE_HOST" || name == "DATABASE_PORT" || name == "DATABASE_USER" || name == "DATABASE_PASSWORD" ||
         name == "DATABASE_NAME";
}

// Whether what stands there is looked at, by what has been read so far: what decides it stands before it in the table.
// Limits are held to their form even while they are off: who turns them on again expects them to work.
bool is_used(std::string_view name, const Settings& settings) {
  if (is_database_part(name)) return settings.database_url.empty();
  if (name == "LOG_MAX_BYTES" || name == "LOG_BACKUP_COUNT") return !settings.log_dir.empty();
  if (name == "TRACE_SAMPLE_RATIO") return settings.otlp_endpoint.has_value();
  return true;
}

// Which settings were given, by whatever source.
using GivenNames = std::set<std::string_view>;

// As many workers as CPUs, if the rest of the settings has enough for them: a machine with many is to start on
// defaults.
void choose_workers(Settings& settings, int cpus) {
  const int served = workers_served(settings.ledger_lanes, settings.database_pool_max);
  settings.workers = std::min({cpus, kWorkersMax, std::max(served, 1), settings.max_connections});
  if (settings.workers == cpus) return;
  std::string_view bound = "more are not allowed";
  std::string reason;
  if (settings.workers == served) {
    reason = concat("DATABASE_POOL_MAX (", settings.database_pool_max, ") serves no more, with LEDGER_LANES (",
                    settings.ledger_lanes, ") + 1 connections each");
    bound = reason;
  } else if (settings.workers == settings.max_connections) {
    reason = concat("MAX_CONNECTIONS (", settings.max_connections, ") leaves no client to more");
    bound = reason;
  }
  settings.warnings.push_back(concat("WORKERS: not set, ", settings.workers, " for ", cpus, " CPUs: ", bound));
}

// What contradicts itself is an error.
void find_contradictions(const Settings& settings, std::vector<Error>& errors) {
  const auto report = [&errors](std::string message) { errors.push_back(invalid(std::move(message))); };
  const int workers = settings.workers;
  const int pool_max = settings.database_pool_max;
  if (settings.database_pool_min > pool_max) {
    report(concat("DATABASE_POOL_MIN (", settings.database_pool_min, ") is above DATABASE_POOL_MAX (", pool_max, ")"));
  }
  const int lanes_and_reader = settings.ledger_lanes + 1;
  if (workers * lanes_and_reader > pool_max) {
    report(concat("DATABASE_POOL_MAX (", pool_max, ") is less than WORKERS (", workers, ") x (LEDGER_LANES (",
                  settings.ledger_lanes, ") + 1 to read) = ", workers * lanes_and_reader, " connections"));
  }
  if (settings.max_connections < workers) {
    report(concat("MAX_CONNECTIONS (", settings.max_connections, ") is below WORKERS (", workers,
                  "): each of them takes clients of its own"));
  }
  if (settings.operations_port && *settings.operations_port != 0 &&
      *settings.operations_port == settings.service_port) {
    report(concat("OPERATIONS_PORT and SERVICE_PORT are both ", settings.service_port, ": they are two ports"));
  }
  if (settings.tls_cert_file.empty() != settings.tls_key_file.empty()) {
    report(concat(settings.tls_cert_file.empty() ? "TLS_CERT_FILE" : "TLS_KEY_FILE",
                  " is missing: TLS_CERT_FILE and TLS_KEY_FILE come together"));
  }
  const bool is_default_subject =
      settings.jwt_subject_claim.empty() && (settings.jwt_role_claim == "user_id" || settings.jwt_role_claim == "sub");
  if (is_default_subject || settings.jwt_subject_claim == settings.jwt_role_claim) {
    report(concat("JWT_ROLE_CLAIM is ", settings.jwt_role_claim,
                  ", where the subject is: no claim is a number and a role"));
  }
  if (!settings.tls_client_ca_file.empty() && settings.tls_cert_file.empty()) {
    report("TLS_CLIENT_CA_FILE asks for client certificates, but TLS_CERT_FILE is not set");
  }
}

// A setting is never silently without effect. A default is: nobody has asked for it.
//
// No contradictions: DRAIN_TIMEOUT below DATABASE_COMMAND_TIMEOUT (the drain does not wait for the database for ever),
// LEDGER_QUEUE_DELAY_MAX above it (an operation waits behind several commands), DATABASE_POOL_MIN below what the lanes
// take (they come first).
void find_ineffective(const Settings& settings, const GivenNames& given, std::vector<std::string>& warnings) {
  if (!settings.database_url.empty() && std::ranges::any_of(given, is_database_part)) {
    warnings.emplace_back("DATABASE_URL: set, so DATABASE_HOST, _PORT, _USER, _PASSWORD and _NAME are ignored");
  }
  if (settings.jwt_algorithm == JwtAlgorithm::kHs256 &&
      (!settings.jwt_public_key_file.empty() || !settings.jwt_jwks_file.empty())) {
    warnings.emplace_back("JWT_PUBLIC_KEY_FILE, JWT_JWKS_FILE: of no effect, JWT_ALGORITHM is HS256");
  }
  if (given.contains("LEDGER_BATCH_MAX") && settings.ledger_batch_max > settings.ledger_queue_max) {
    warnings.push_back(concat("LEDGER_BATCH_MAX: ", settings.ledger_batch_max, " is of no effect, no more than ",
                              "LEDGER_QUEUE_MAX (", settings.ledger_queue_max, ") operations wait"));
  }
  if (given.contains("MAX_CONNECTIONS_PER_ADDRESS") &&
      settings.max_connections_per_address > settings.max_connections) {
    warnings.push_back(concat("MAX_CONNECTIONS_PER_ADDRESS: ", settings.max_connections_per_address,
                              " is of no effect, MAX_CONNECTIONS is ", settings.max_connections));
  }
  if (!settings.rate_limit_enabled && settings.rate_limit_redis) {
    warnings.emplace_back("RATE_LIMIT_STORAGE: of no effect, RATE_LIMIT_ENABLED is false");
  }
  if (settings.log_dir.empty() && (given.contains("LOG_MAX_BYTES") || given.contains("LOG_BACKUP_COUNT"))) {
    warnings.emplace_back("LOG_MAX_BYTES, LOG_BACKUP_COUNT: ignored, LOG_DIR is none");
  }
  if (!settings.otlp_endpoint && given.contains("TRACE_SAMPLE_RATIO")) {
    warnings.emplace_back("TRACE_SAMPLE_RATIO: ignored, OTLP_ENDPOINT is not set");
  }
  if (!settings.metrics_public && !settings.operations_port) {
    warnings.emplace_back("METRICS_PUBLIC: false without OPERATIONS_PORT, so /metrics and /health are nowhere");
  }
}

// Single quotes and backslashes escaped, in single quotes: a conninfo value, whatever it contains.
std::string quote_conninfo(std::string_view value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

}  // namespace

std::string_view to_string(JwtAlgorithm algorithm) {
  switch (algorithm) {
    case JwtAlgorithm::kHs256:
      return "HS256";
    case JwtAlgorithm::kRs256:
      return "RS256";
    case JwtAlgorithm::kEs256:
      return "ES256";
    case JwtAlgorithm::kEdDsa:
      return "EdDSA";
  }
  CHECK(false, "unknown JwtAlgorithm");
  return "";
}

std::string_view to_string(LogThreshold threshold) {
  switch (threshold) {
    case LogThreshold::kDebug:
      return "DEBUG";
    case LogThreshold::kInfo:
      return "INFO";
    case LogThreshold::kWarning:
      return "WARNING";
    case LogThreshold::kError:
      return "ERROR";
    case LogThreshold::kCritical:
      return "CRITICAL";
  }
  CHECK(false, "unknown LogThreshold");
  return "";
}

std::span<const SettingInfo> setting_infos() {
  static const std::vector<SettingInfo> infos = [] {
    std::vector<SettingInfo> result;
    for (const Row& row : table()) result.push_back(row.info);
    return result;
  }();
  return infos;
}

std::string flag_of_setting(std::string_view name) {
  std::string flag = "--" + lower_case(name);
  std::ranges::replace(flag, '_', '-');
  return flag;
}

SettingValues settings_from_environment(const char* const* environment) {
  SettingValues values;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    std::string_view value = *environment;
    const std::string_view name = take_until(value, '=');
    if (!value.empty() && find_row(name) != nullptr) values.insert_or_assign(std::string(name), std::string(value));
  }
  return values;
}

std::expected<SettingValues, std::vector<Error>> parse_config_text(std::string_view text, std::string_view source) {
  SettingValues values;
  std::vector<Error> errors;
  text = without_byte_order_mark(text);
  for (int line_number = 1; !text.empty(); ++line_number) {
    std::string_view value = trim(take_until(text, '\n'));
    if (value.empty() || value.starts_with('#')) continue;
    const auto report = [&](std::string_view what) {
      errors.push_back(invalid(concat(printable(source), ":", line_number, ": ", what)));
    };
    if (value.find('=') == std::string_view::npos) {
      report("not of the form NAME=value");  // not quoted: it may be half of a secret
      continue;
    }
    const std::string name(trim(take_until(value, '=')));
    value = trim(value);
    const bool is_quoted = value.size() >= 2 && (value.front() == '"' || value.front() == '\'');
    if (is_quoted && value.back() == value.front()) value = value.substr(1, value.size() - 2);
    if (find_row(name) == nullptr) {
      report(concat("there is no setting '", printable(name), "'"));
    } else if (!values.emplace(name, value).second) {
      report(concat(name, " is given a second time"));
    }
  }
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return values;
}

std::expected<SettingValues, std::vector<Error>> read_config_file(const std::string& path) {
  const auto content = read_file(path);
  if (!content) return std::unexpected(std::vector<Error>{content.error()});
  return parse_config_text(*content, path);
}

std::expected<Settings, std::vector<Error>> load_settings(const SettingSources& sources) {
  const Level levels[] = {
      {sources.flags, true, "the command line"},
      {sources.environment, false, "the environment"},
      {sources.file, false, "the configuration file"},
  };
  Settings settings;
  std::vector<Error> errors;
  GivenNames given_names;

  for (const Level& level : levels) report_unknown_names(level, errors);
  for (const Row& row : table()) {
    if (row.apply == nullptr) continue;
    if (!row.info.default_value.empty()) {
      CHECK(row.apply(settings, row.info.default_value), "a default is not allowed by its own setting");
    }
    for (const Level& level : levels) {
      if (!is_used(row.info.name, settings)) {
        if (is_given_at(row, level)) given_names.insert(row.info.name);
        continue;
      }
      const auto given = find_at_level(row, level);
      if (!given) {
        errors.push_back(given.error());
        break;
      }
      if (!*given) continue;
      given_names.insert(row.info.name);
      if ((*given)->is_exposed) settings.warnings.push_back(exposed((*given)->origin));
      // Not dropped: a key is any bytes, and one that is in use must not become another.
      if ((*given)->is_marked) {
        settings.warnings.push_back(
            concat((*given)->origin, ": the file begins with a byte order mark, which counts as part of the secret"));
      }
      if (!row.apply(settings, (*given)->value)) errors.push_back(invalid(explain(row, **given)));
      if (row.info.name == "DATABASE_PASSWORD") settings.database_password_file = (*given)->file;
      break;
    }
  }

  // Whoever sets only DATABASE_POOL_MAX=5 means it.
  if (!given_names.contains("DATABASE_POOL_MIN")) {
    settings.database_pool_min = std::min(settings.database_pool_min, settings.database_pool_max);
  }
  if (!given_names.contains("WORKERS")) choose_workers(settings, sources.cpus > 0 ? sources.cpus : usable_cpus());
  // What could not be parsed is a default here, which may contradict the rest by no fault of anybody's.
  if (errors.empty()) find_contradictions(settings, errors);
  find_ineffective(settings, given_names, settings.warnings);
  if (!settings.tls_key_file.empty() && is_readable_by_all(settings.tls_key_file))
    settings.warnings.push_back(exposed("TLS_KEY_FILE"));
  const auto is_secret = [](const auto& given) { return find_row(given.first)->info.is_secret; };
  if (errors.empty() && std::ranges::any_of(sources.file, is_secret) && is_readable_by_all(sources.file_path))
    settings.warnings.push_back(exposed("--config"));
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return settings;
}

std::vector<Error> validate_for_serve(const Settings& settings) {
  std::vector<Error> errors;
  const bool is_hmac = settings.jwt_algorithm == JwtAlgorithm::kHs256;
  const bool has_public_key = !settings.jwt_public_key_file.empty() || !settings.jwt_jwks_file.empty();
  if (is_hmac && settings.jwt_secret_key.empty()) {
    errors.push_back(invalid("JWT_SECRET_KEY is not set: HS256 tokens cannot be checked without it"));
  }
  if (!is_hmac && !has_public_key) {
    errors.push_back(invalid(
        concat("JWT_ALGORITHM is ", to_string(settings.jwt_algorithm), ": set JWT_PUBLIC_KEY_FILE or JWT_JWKS_FILE")));
  }
  if (!settings.jwt_public_key_file.empty() && !settings.jwt_jwks_file.empty()) {
    errors.push_back(invalid("JWT_PUBLIC_KEY_FILE and JWT_JWKS_FILE are both set: one of them holds the keys"));
  }
  if (!settings.jwt_secret_key.empty() && settings.jwt_secret_key.size() < kHmacKeyMinBytes) {
    errors.push_back(invalid(concat("JWT_SECRET_KEY has ", settings.jwt_secret_key.size(), " bytes, at least ",
                                    kHmacKeyMinBytes, " are needed")));
  }
  if (!settings.pin_secret_key.empty() && settings.pin_secret_key.size() < kHmacKeyMinBytes) {
    errors.push_back(invalid(concat("PIN_SECRET_KEY has ", settings.pin_secret_key.size(), " bytes, at least ",
                                    kHmacKeyMinBytes, " are needed")));
  }
  if (!is_hmac && settings.pin_secret_key.empty() && settings.jwt_secret_key.empty()) {
    errors.push_back(invalid("PIN_SECRET_KEY is not set, and there is no JWT_SECRET_KEY to derive it from"));
  }
  return errors;
}

std::string database_conninfo(const Settings& settings) {
  if (!settings.database_url.empty()) {
    // A fallback, so that an application_name in the URL or in PGAPPNAME stays what it is.
    const std::string& url = settings.database_url;
    if (url.find("fallback_application_name") != std::string::npos) return url;
    const bool is_uri = url.starts_with("postgresql://") || url.starts_with("postgres://");
    if (!is_uri) return concat(url, " fallback_application_name=", kApplicationName);
    const size_t query = url.find('?');
    const char* separator = query == std::string::npos ? "?" : (url.ends_with('?') || url.ends_with('&') ? "" : "&");
    return concat(url, separator, "fallback_application_name=", kApplicationName);
  }

  std::string conninfo;
  const auto append = [&conninfo](std::string_view key, std::string_view value) {
    if (value.empty()) return;
    conninfo += concat(key, "=", quote_conninfo(value), " ");
  };
  append("host", settings.database_host);
  append("port", std::to_string(settings.database_port));
  append("user", settings.database_user);
  append("password", settings.database_password);
  append("dbname", settings.database_name);
  append("fallback_application_name", kApplicationName);
  conninfo.pop_back();
  return conninfo;
}

ConnectionShare connection_share(int workers, int lanes, int pool_min) {
  CHECK(workers > 0, "a process has a worker");
  return {.lanes = lanes, .readers = std::max(1, pool_min / workers - lanes)};
}

int workers_served(int lanes, int pool_max) { return pool_max / (lanes + 1); }

Result<std::string> fresh_database_conninfo(const Settings& settings) {
  if (settings.database_password_file.empty() || !settings.database_url.empty()) return database_conninfo(settings);
  const auto password = read_secret_file(settings.database_password_file);
  if (!password) return fail(password.error().kind, "DATABASE_PASSWORD_FILE: " + password.error().message);
  Settings now = settings;
  if (!apply_text<&Settings::database_password>(now, *password))
    return fail(ErrorKind::kInvalidArgument, "DATABASE_PASSWORD_FILE: holds a NUL");
  return database_conninfo(now);
}

std::optional<RateLimitPolicy> parse_rate_limit(std::string_view text) {
  constexpr int64_t kCountMax = 1'000'000;
  constexpr std::pair<std::string_view, int> kUnits[] = {
      {"second", 1}, {"minute", 60}, {"hour", 60 * 60}, {"day", 24 * 60 * 60}};
  const auto count = parse_integer<int64_t>(trim(take_until(text, '/')));
  if (!count || *count < 1 || *count > kCountMax) return std::nullopt;
  for (const auto& [unit, seconds] : kUnits) {
    if (trim(text) == unit) return RateLimitPolicy{*count, std::chrono::seconds(seconds)};
  }
  return std::nullopt;
}

std::optional<Cidr> parse_cidr(std::string_view text) {
  const bool has_length = text.find('/') != std::string_view::npos;
  const std::string address(take_until(text, '/'));
  if (address.find('\0') != std::string::npos) return std::nullopt;  // inet_pton would not see what follows
  Cidr network;
  if (inet_pton(AF_INET, address.c_str(), network.address.data()) == 1) {
    network.prefix_length = 32;
  } else if (inet_pton(AF_INET6, address.c_str(), network.address.data()) == 1) {
    network.is_ipv6 = true;
    network.prefix_length = 128;
  } else {
    return std::nullopt;
  }
  if (!has_length) return network;

  const auto length = parse_integer<unsigned>(text);
  if (!length || *length > network.prefix_length) return std::nullopt;
  network.prefix_length = static_cast<uint8_t>(*length);
  for (unsigned bit = *length; bit < network.address.size() * 8; ++bit) {
    network.address[bit / 8] &= static_cast<uint8_t>(~(0x80u >> (bit % 8)));
  }
  return network;
}

std::optional<RedisAddress> parse_redis_url(std::string_view text) {
  constexpr std::string_view kScheme = "redis://";
  constexpr int kDatabaseMax = 1'000'000;
  if (!text.starts_with(kScheme)) return std::nullopt;
  text.remove_prefix(kScheme.size());

  RedisAddress address;
  if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
    std::string_view password = text.substr(0, at);
    if (password.find(':') == std::string_view::npos) return std::nullopt;
    address.user = take_until(password, ':');
    address.password = password;
    text.remove_prefix(at + 1);
  }
  const std::string_view host_and_port = take_until(text, '/');
  const auto host = parse_host_and_port(host_and_port);
  if (!host) return std::nullopt;
  address.host = host->host;
  address.port = host->port.value_or(address.port);
  if (text.empty()) return address;
  const auto database = parse_integer<int>(text);
  if (!database || *database < 0 || *database > kDatabaseMax) return std::nullopt;
  address.database = *database;
  return address;
}

std::optional<HttpUrl> parse_http_url(std::string_view text) {
  constexpr std::string_view kScheme = "http://";
  if (!text.starts_with(kScheme)) return std::nullopt;
  text.remove_prefix(kScheme.size());
  const size_t path = std::min(text.find_first_of("/?"), text.size());
  const auto address = parse_host_and_port(text.substr(0, path));
  // What goes into a request line: RFC 9112 section 3.2.1 knows no fragment there, and a blank would end it.
  const auto is_plain = [](unsigned char c) { return c > 0x20 && c < 0x7f && c != '#'; };
  if (!address || !std::ranges::all_of(text.substr(path), is_plain)) return std::nullopt;
  HttpUrl url{.host = address->host, .port = address->port.value_or(80)};
  if (text.substr(path) != "/") url.target = text.substr(path);
  if (url.target.starts_with('?')) url.target.insert(0, 1, '/');
  return url;
}

std::optional<milliseconds> parse_duration(std::string_view text) {
  constexpr int64_t kMaxSeconds = int64_t{365} * 24 * 60 * 60;
  int64_t unit_ms = 1000;
  if (text.ends_with("ms")) {
    unit_ms = 1;
    text.remove_suffix(2);
  } else if (text.ends_with('s')) {
    text.remove_suffix(1);
  }
  const auto count = parse_integer<int64_t>(text);
  if (!count || *count < 0 || *count > kMaxSeconds * 1000 / unit_ms) return std::nullopt;
  return milliseconds(*count * unit_ms);
}

std::optional<int64_t> parse_ratio(std::string_view text) {
  constexpr size_t kDecimalsMax = 6;
  constexpr int64_t kOne = 1'000'000;
  const size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  std::string digits(point == std::string_view::npos ? std::string_view() : text.substr(point + 1));
  if (point != std::string_view::npos && digits.empty()) return std::nullopt;
  if ((whole != "0" && whole != "1") || digits.size() > kDecimalsMax) return std::nullopt;
  digits.resize(kDecimalsMax, '0');
  if (!std::ranges::all_of(digits, [](unsigned char c) { return std::isdigit(c) != 0; })) return std::nullopt;
  const int64_t millionths = (whole == "1" ? kOne : 0) + *parse_integer<int64_t>(digits);
  return millionths <= kOne ? std::optional(millionths) : std::nullopt;
}

std::optional<AccessLog> parse_access_log(std::string_view text) {
  constexpr int64_t kEveryMax = 1'000'000;
  if (text == "none") return AccessLog{AccessLog::Kind::kNone};
  if (text == "errors") return AccessLog{AccessLog::Kind::kErrors};
  if (text == "all") return AccessLog{AccessLog::Kind::kAll};
  if (take_until(text, ':') != "sample") return std::nullopt;
  const auto every = parse_integer<int64_t>(text);
  if (!every || *every < 1 || *every > kEveryMax) return std::nullopt;
  return AccessLog{AccessLog::Kind::kSample, *every};
}

std::optional<std::vector<RoleName>> parse_role_map(std::string_view text) {
  std::vector<RoleName> names;
  for (const std::string_view element : split_list(text)) {
    const size_t equals = element.rfind('=');  // a name may have one of its own
    if (equals == std::string_view::npos) return std::nullopt;
    RoleName name{.name = std::string(trim(element.substr(0, equals))),
                  .role = std::string(trim(element.substr(equals + 1)))};
    const auto is_known = [&](const RoleName& other) { return other.name == name.name; };
    if (name.name.empty() || name.name.size() > kClaimNameMaxBytes) return std::nullopt;
    if (name.role != "CUSTOMER" && name.role != "TELLER" && name.role != "ADMIN") return std::nullopt;
    if (std::ranges::any_of(names, is_known) || names.size() == kRoleNamesMax) return std::nullopt;
    names.push_back(std::move(name));
  }
  return names;
}

std::optional<int64_t> parse_byte_count(std::string_view text) {
  constexpr std::pair<std::string_view, int> kUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
  constexpr int64_t kMaxBytes = int64_t{1} << 50;
  int shift = 0;
  for (const auto& [unit, unit_shift] : kUnits) {
    if (!text.ends_with(unit)) continue;
    text = trim(text.substr(0, text.size() - unit.size()));
    shift = unit_shift;
    break;
  }
  const auto count = parse_integer<int64_t>(text);
  if (!count || *count < 0 || *count > (kMaxBytes >> shift)) return std::nullopt;
  return *count << shift;
}

}  // namespace txn
