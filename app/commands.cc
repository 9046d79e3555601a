#include "app/commands.h"

#include <openssl/mem.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "app/pin.h"
#include "app/token_keys.h"
#include "app/token_signer.h"
#include "core/concat.h"
#include "core/json_writer.h"
#include "core/money.h"
#include "db/accounts.h"
#include "db/grants.h"
#include "db/id_sequence.h"
#include "db/ledger_rows.h"
#include "db/migrate.h"
#include "db/session.h"
#include "db/verify.h"

namespace txn {
namespace {

using std::chrono::steady_clock;

void print(std::string line) {
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stdout);
}

int fail_command(const Error& error, int exit_status = kExitFailure) {
  print_error(error.message);
  return exit_status;
}

// A session on a database whose schema we can work with.
Result<Session> open_ledger(const Settings& settings) {
  auto session = Session::connect(database_conninfo(settings));
  if (!session) return session;
  if (const auto checked = check_schema_version(*session); !checked) return std::unexpected(checked.error());
  return session;
}

// --- PINs ------------------------------------------------------------------------------------------------------------

// With the key that the service will check them with.
Result<std::unique_ptr<PinHasher>> make_pin_hasher(const Settings& settings) {
  const std::string& secret = settings.pin_secret_key.empty() ? settings.jwt_secret_key : settings.pin_secret_key;
  if (secret.size() < kHmacKeyMinBytes) {
    return fail(
        ErrorKind::kInvalidArgument,
        concat("a PIN needs the service's PIN_SECRET_KEY or JWT_SECRET_KEY, of at least ", kHmacKeyMinBytes, " bytes"));
  }
  return std::make_unique<PinHasher>(std::span(reinterpret_cast<const uint8_t*>(secret.data()), secret.size()));
}

// The hash of a PIN given as an option, or nothing when none was given.
Result<std::optional<PinHash>> hash_pin_option(const Settings& settings, int64_t account_number,
                                               const std::optional<std::string>& option) {
  if (!option) return std::nullopt;
  std::string pin = *option;
  if (pin == "-" && !std::getline(std::cin, pin)) {
    return fail(ErrorKind::kInvalidArgument, "--pin: standard input has no line");
  }
  if (!is_valid_pin_format(pin)) return fail(ErrorKind::kInvalidArgument, "--pin: must be 4 to 6 digits");
  const auto hasher = make_pin_hasher(settings);
  if (!hasher) return std::unexpected(hasher.error());
  return (*hasher)->hash(account_number, pin);
}

Result<Privilege> parse_privilege_option(std::string_view text) {
  const auto privilege = parse_privilege(text);
  if (!privilege) return fail(ErrorKind::kInvalidArgument, "--privilege: must be PREMIUM, GOLD, SILVER or BASIC");
  return *privilege;
}

// --- Import's progress -----------------------------------------------------------------------------------------------

// "importing [#####.....]  50 %" on standard error, redrawn in place; only on a terminal, and only when it takes longer
// than a person would wonder about.
class ProgressBar {
 public:
  explicit ProgressBar(int64_t total_bytes) : total_bytes_(total_bytes), is_shown_(isatty(STDERR_FILENO) == 1) {}
  ~ProgressBar() {
    if (is_drawn_) std::fputs("\r\x1b[K", stderr);
  }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(int64_t done_bytes) {
    constexpr auto kPatience = std::chrono::milliseconds(400);
    constexpr auto kRedraw = std::chrono::milliseconds(100);
    constexpr int kWidth = 40;
    const auto now = steady_clock::now();
    if (!is_shown_ || now - started_ < kPatience || now - drawn_ < kRedraw) return;
    drawn_ = now;
    is_drawn_ = true;
    if (total_bytes_ <= 0) {  // standard input
      std::fputs(concat("\rimporting ", done_bytes >> 10, " KiB").c_str(), stderr);
      return;
    }
    const auto filled = static_cast<size_t>(done_bytes * kWidth / total_bytes_);
    const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
    std::fputs(concat("\rimporting [", bar, "] ", done_bytes * 100 / total_bytes_, " %").c_str(), stderr);
  }

 private:
  const int64_t total_bytes_;
  const bool is_shown_;
  const steady_clock::time_point started_ = steady_clock::now();
  steady_clock::time_point drawn_;
  bool is_drawn_ = false;
};

Result<int64_t> import_stream(const Settings& settings, std::istream& csv, int64_t total_bytes) {
  auto session = open_ledger(settings);
  if (!session) return std::unexpected(session.error());
  // Files without PINs can be imported without a key.
  const auto hasher = make_pin_hasher(settings);
  ProgressBar progress(total_bytes);
  ImportOptions options;
  if (hasher) {
    options.hash_pin = [&hasher](int64_t account_number, std::string_view pin) {
      return (*hasher)->hash(account_number, pin);
    };
  } else {
    options.hash_pin_missing = hasher.error().message;
  }
  options.on_progress = [&progress](int64_t done_bytes) { progress.update(done_bytes); };
  return import_accounts(*session, csv, options);
}

// --- Signing tokens
// ---------------------------------------------------------------------------------------------------

Result<TokenSigner> make_signer(const Settings& settings, const TokenOptions& options) {
  const std::string& path = options.private_key_file;
  if (settings.jwt_algorithm == JwtAlgorithm::kHs256) {
    if (!path.empty()) {
      return fail(ErrorKind::kInvalidArgument, "--private-key-file: JWT_ALGORITHM is HS256, which has no such key");
    }
    if (settings.jwt_secret_key.empty()) {
      return fail(ErrorKind::kInvalidArgument, "JWT_SECRET_KEY is not set: there is nothing to sign with");
    }
    return TokenSigner::with_secret(settings.jwt_secret_key);
  }
  if (path.empty()) {
    return fail(ErrorKind::kInvalidArgument, concat("JWT_ALGORITHM is ", to_string(settings.jwt_algorithm),
                                                    ": --private-key-file names the key to sign with"));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail_errno(concat("--private-key-file: ", path).c_str(), errno);
  std::string pem(kKeyFileBytesMax, '\0');
  file.read(pem.data(), static_cast<std::streamsize>(pem.size()));
  pem.resize(static_cast<size_t>(file.gcount()));
  auto signer = TokenSigner::with_private_key(settings.jwt_algorithm, pem);
  OPENSSL_cleanse(pem.data(), pem.size());
  if (!signer) return fail(signer.error().kind, concat("--private-key-file: ", path, ": ", signer.error().message));
  return signer;
}

// --- Showing an account ----------------------------------------------------------------------------------------------

// "2026-05-03" of a count of days since 1970-01-01.
std::string date_text(int32_t day) {
  std::array<char, kTimestampLength> timestamp;
  format_timestamp(int64_t{day} * 24 * 60 * 60 * 1'000'000, timestamp.data());
  return {timestamp.data(), std::string_view("2026-05-03").size()};
}

void show_as_lines(const AccountDetails& details) {
  const AccountState& account = details.state;
  print(concat("account_number   ", account.account_number));
  print(concat("owner_id         ", account.owner_id));
  print(concat("privilege        ", to_string(account.privilege)));
  print(concat("is_active        ", account.is_active ? "true" : "false"));
  print(concat("has_pin          ", account.pin_hash ? "true" : "false"));
  print(concat("pin_failures     ", account.pin_failures));
  print(concat("pin_locked_until ", details.pin_locked_until.empty() ? "not locked" : details.pin_locked_until));
  print(concat("balance          ", to_string(account.balance)));
  print(concat("opening_balance  ", to_string(details.opening_balance)));
  print(concat("log_rows         ", account.log_seq));
  if (account.usage_count > 0) {
    print(concat("last_transfers   ", account.usage_count, " for ", to_string(account.usage_amount), " on ",
                 date_text(account.usage_day), " UTC"));
  } else {
    print("last_transfers   none");
  }
  print(concat("created_at       ", details.created_at));
}

void show_as_json(const AccountDetails& details) {
  const AccountState& account = details.state;
  std::string json =
      concat(R"({"account_number":)", account.account_number, R"(,"owner_id":)", account.owner_id, R"(,"privilege":)");
  append_json_string(json, to_string(account.privilege));
  json += concat(
      R"(,"is_active":)", account.is_active ? "true" : "false", R"(,"has_pin":)", account.pin_hash ? "true" : "false",
      R"(,"pin_failures":)", account.pin_failures, R"(,"pin_locked_until":)",
      details.pin_locked_until.empty() ? "null" : concat('"', details.pin_locked_until, '"'), R"(,"balance":)",
      to_string(account.balance), R"(,"opening_balance":)", to_string(details.opening_balance), R"(,"log_rows":)",
      account.log_seq, R"(,"usage_day":")", date_text(account.usage_day), R"(","usage_amount":)",
      to_string(account.usage_amount), R"(,"usage_count":)", account.usage_count, R"(,"created_at":)");
  append_json_string(json, details.created_at);
  print(json + "}");
}

}  // namespace

void print_error(const std::string& message) {
  std::string_view rest = message;
  while (!rest.empty()) {
    const size_t line_end = std::min(rest.find('\n'), rest.size());
    std::fputs(concat("transactions-service: ", rest.substr(0, line_end), '\n').c_str(), stderr);
    rest.remove_prefix(std::min(line_end + 1, rest.size()));
  }
}

int cmd_migrate(const Settings& settings, const MigrateOptions& options) {
  auto session = Session::connect(database_conninfo(settings));
  if (!session) return fail_command(session.error());
  MigratePatience patience;
  patience.on_wait = [](const std::string& line) { print_error(line + "; trying again"); };
  const auto report = migrate(*session, embedded_migrations(), patience);
  if (!report) return fail_command(report.error());
  if (const auto known = static_cast<int>(embedded_migrations().size()); report->version > known) {
    // Its grants too are that release's: ours would take from it what it needs.
    print(concat("the database schema is at version ", report->version, ", of a newer release; this one knows ", known,
                 " and may serve on it: nothing was changed"));
    return 0;
  }
  const auto repaired = repair_id_sequence(*session);
  if (!repaired) return fail_command(repaired.error());
  for (const std::string& migration : report->applied) print("applied " + migration);
  if (*repaired)
    print(concat("transaction_id_blocks was behind the log: moved from ", (*repaired)->before, " to ",
                 (*repaired)->after));
  if (!options.grant_to.empty()) {
    if (const auto granted = grant_service_privileges(*session, options.grant_to); !granted)
      return fail_command(granted.error());
    print("granted what the service needs, and no more, to " + options.grant_to);
  }
  print(concat("the database schema is at version ", report->version));
  return 0;
}

int cmd_seed_demo(const Settings& settings) {
  auto session = open_ledger(settings);
  if (!session) return fail_command(session.error());
  const auto created = seed_demo_accounts(*session);
  if (!created) return fail_command(created.error());
  print(concat("demo accounts 1001 to 1010: ", *created, " created, ", 10 - *created, " there already"));
  return 0;
}

int cmd_account_create(const Settings& settings, const AccountCreateOptions& options) {
  NewAccount account;
  account.account_number = options.account_number;
  account.owner_id = options.owner_id;
  if (account.account_number <= 0) {
    print_error("--account-number: must be above zero");
    return kExitUsage;
  }
  const auto privilege = parse_privilege_option(options.privilege);
  if (!privilege) return fail_command(privilege.error(), kExitUsage);
  account.privilege = *privilege;
  const auto balance = parse_written_money(options.balance);
  if (!balance) {
    print_error(
        concat("--balance: ", balance.error(), "; must be an amount from 0.00 to 9999999999999.99, like 250.00"));
    return kExitUsage;
  }
  account.balance = *balance;
  const auto pin_hash = hash_pin_option(settings, options.account_number, options.pin);
  if (!pin_hash) return fail_command(pin_hash.error(), kExitUsage);
  account.pin_hash = *pin_hash;

  auto session = open_ledger(settings);
  if (!session) return fail_command(session.error());
  if (const auto created = create_account(*session, account); !created) return fail_command(created.error());
  print(concat("account ", account.account_number, " created with a balance of ", to_string(account.balance)));
  return 0;
}

int cmd_account_show(const Settings& settings, const AccountShowOptions& options) {
  auto session = open_ledger(settings);
  if (!session) return fail_command(session.error());
  const auto details = find_account(*session, options.account_number);
  if (!details) return fail_command(details.error());
  if (options.as_json) {
    show_as_json(*details);
  } else {
    show_as_lines(*details);
  }
  return 0;
}

int cmd_account_list(const Settings& settings, const AccountListOptions& options) {
  if (options.limit < 1 || options.limit > kAccountListMax) {
    print_error(concat("--limit is 1 to ", kAccountListMax));
    return kExitUsage;
  }
  auto session = open_ledger(settings);
  if (!session) return fail_command(session.error());
  const auto accounts =
      list_accounts(*session, {.owner_id = options.owner_id, .after = options.after, .limit = options.limit + 1});
  if (!accounts) return fail_command(accounts.error());
  if (!options.as_json && !accounts->empty())
    print("     account_number             owner_id  privilege  is_active              balance");
  const size_t count = std::min(accounts->size(), static_cast<size_t>(options.limit));
  for (const AccountSummary& account : std::span(*accounts).first(count)) {
    if (options.as_json) {
      print(concat(R"({"account_number":)", account.account_number, R"(,"owner_id":)", account.owner_id,
                   R"(,"privilege":")", to_string(account.privilege), R"(","is_active":)",
                   account.is_active ? "true" : "false", R"(,"balance":)", to_string(account.balance), "}"));
    } else {
      std::printf("%19lld  %19lld  %-9s  %-9s  %19s\n", static_cast<long long>(account.account_number),
                  static_cast<long long>(account.owner_id), std::string(to_string(account.privilege)).c_str(),
                  account.is_active ? "true" : "false", std::string(to_string(account.balance)).c_str());
    }
  }
  if (accounts->size() > count) {
    std::fflush(stdout);
    print_error(concat("there are more: --after ", (*accounts)[count - 1].account_number));
  }
  return 0;
}

int cmd_account_set(const Settings& settings, const AccountSetOptions& options) {
  AccountChanges changes;
  changes.is_active = options.is_active;
  changes.owner_id = options.owner_id;
  if (options.privilege) {
    const auto privilege = parse_privilege_option(*options.privilege);
    if (!privilege) return fail_command(privilege.error(), kExitUsage);
    changes.privilege = *privilege;
  }
  const auto pin_hash = hash_pin_option(settings, options.account_number, options.pin);
  if (!pin_hash) return fail_command(pin_hash.error(), kExitUsage);
  if (*pin_hash || options.no_pin) changes.pin_hash = *pin_hash;
  changes.unlock_pin = options.unlock_pin;
  if (!changes.is_active && !changes.owner_id && !changes.privilege && !changes.pin_hash && !changes.unlock_pin) {
    print_error("nothing to change: give --is-active, --privilege, --owner-id, --pin, --no-pin or --unlock-pin");
    return kExitUsage;
  }

  auto session = open_ledger(settings);
  if (!session) return fail_command(session.error());
  const auto changed = change_account(*session, options.account_number, changes);
  if (!changed) return fail_command(changed.error());
  print(concat("account ", options.account_number, " changed"));
  return 0;
}

int cmd_account_import(const Settings& settings, const std::string& path) {
  Result<int64_t> imported = 0;
  if (path == "-") {
    imported = import_stream(settings, std::cin, 0);
  } else {
    std::ifstream csv(path, std::ios::binary);
    if (!csv) return fail_command(fail_errno(path.c_str(), errno).error());
    std::error_code unknown_size;
    const auto total_bytes = std::filesystem::file_size(path, unknown_size);
    imported = import_stream(settings, csv, unknown_size ? 0 : static_cast<int64_t>(total_bytes));
  }
  if (!imported) return fail_command(imported.error());
  print(concat(*imported, *imported == 1 ? " account" : " accounts", " imported"));
  return 0;
}

int cmd_token(const Settings& settings, const TokenOptions& options) {
  constexpr int64_t kTtlMaxSeconds = int64_t{10} * 365 * 24 * 60 * 60;
  const auto signer = make_signer(settings, options);
  if (!signer) return fail_command(signer.error(), kExitUsage);
  const auto role = parse_role(options.role);
  if (!role) {
    print_error("--role: must be CUSTOMER, TELLER or ADMIN");
    return kExitUsage;
  }
  if (options.subject <= 0) {
    print_error("--sub: must be above zero");
    return kExitUsage;
  }
  // Below zero gives a token that has expired, which tests ask for.
  if (options.ttl_seconds > kTtlMaxSeconds || options.ttl_seconds < -kTtlMaxSeconds) {
    print_error("--ttl: must be less than ten years of seconds");
    return kExitUsage;
  }

  TokenClaims claims;
  claims.subject = options.subject;
  claims.role = *role;
  // As the service would look for them: a claim is first looked for by its whole name, dots and all.
  if (!settings.jwt_subject_claim.empty()) claims.subject_claim = settings.jwt_subject_claim;
  claims.role_claim = settings.jwt_role_claim;
  if (!settings.jwt_role_map.empty()) {
    const auto name = std::ranges::find(settings.jwt_role_map, options.role, &RoleName::role);
    if (name == settings.jwt_role_map.end()) {
      print_error(concat("--role: JWT_ROLE_MAP has no name for ", options.role));
      return kExitUsage;
    }
    claims.role_name = name->name;
  }
  claims.issued_at = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  claims.expires_at = claims.issued_at + options.ttl_seconds;
  claims.issuer = options.issuer ? *options.issuer : settings.jwt_issuer;
  claims.audience = options.audience ? *options.audience : settings.jwt_audience;
  print(signer->sign(claims, options.kid));
  return 0;
}

int cmd_verify_ledger(const Settings& settings) {
  auto session = open_ledger(settings);
  if (!session) return fail_command(session.error());
  const auto report = verify_ledger(*session);
  if (!report) return fail_command(report.error());

  print(concat("accounts      ", report->accounts, ", balances sum up to ", report->total_balance));
  print(concat("log rows      ", report->log_rows));
  print(concat("transactions  ", report->transactions));
  print(concat("differences   ", report->difference_count));
  for (const std::string& difference : report->differences) print("  " + difference);
  const auto shown = static_cast<int64_t>(report->differences.size());
  if (report->difference_count > shown) print(concat("  and ", report->difference_count - shown, " more"));
  return report->difference_count == 0 ? 0 : kExitFailure;
}

}  // namespace txn
