#include "app/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "app/process.h"
#include "app/token_key_source.h"
#include "core/check.h"
#include "core/concat.h"
#include "core/version.h"
#include "db/migrate.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): unistd.h has it only with _GNU_SOURCE

namespace txn {
namespace {

constexpr const char* kProgram = "transactions-service";

// A flag for every setting. They are options of the program, and subcommands let options that are not theirs fall
// through to it, so they may stand on either side of the subcommand.
void add_settings(CLI::App& app, CommandLine& line) {
  app.add_option("--config", line.config_path, "file of NAME=value lines")->type_name("FILE")->take_last();
  for (const SettingInfo& setting : setting_infos()) {
    std::string help(setting.help);
    if (!setting.default_value.empty()) help += concat(" [", setting.default_value, "]");
    const std::string name(setting.name);
    app.add_option_function<std::string>(
           flag_of_setting(setting.name), [&line, name](const std::string& value) { line.flags[name] = value; }, help)
        ->type_name("")
        ->take_last()
        ->group("Settings (each also from the environment or --config, as SERVICE_PORT for --service-port)");
  }
}

// CLI11's own reading of integers takes the nearest one for what does not fit, which for an account number is another
// account. `target` is an int64_t or an optional one.
template <class Target>
CLI::Option* add_integer(CLI::App& app, const char* name, Target& target, const char* help) {
  const auto parse = [&target](const CLI::results_t& values) {
    const std::string& text = values.front();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return false;
    target = value;
    return true;
  };
  return app.add_option(name, parse, help)->type_name("INT");
}

CLI::App* add_command(CLI::App& parent, CommandLine& line, const char* name, const char* help, Command command) {
  CLI::App* subcommand = parent.add_subcommand(name, help);
  subcommand->fallthrough();
  subcommand->footer(concat("Settings have a flag each: see ", kProgram, " --help"));
  subcommand->callback([&line, command] { line.command = command; });
  return subcommand;
}

void add_account_commands(CLI::App& app, CommandLine& line) {
  constexpr const char* kPinHelp = "4 to 6 digits; - reads a line from standard input, out of sight of ps";
  constexpr const char* kPrivilegeHelp = "PREMIUM, GOLD, SILVER or BASIC";
  CLI::App* account = app.add_subcommand("account", "creates, shows, lists, changes and imports accounts");
  account->fallthrough();
  account->require_subcommand(1);

  AccountCreateOptions& create = line.account_create;
  CLI::App* create_command =
      add_command(*account, line, "create", "creates an account, active", Command::kAccountCreate);
  add_integer(*create_command, "--account-number", create.account_number, "above zero")->required();
  add_integer(*create_command, "--owner-id", create.owner_id, "subject of its owner's tokens")->required();
  create_command->add_option("--privilege", create.privilege, kPrivilegeHelp)->required();
  create_command->add_option("--balance", create.balance, "opening balance, like 250.00")->required();
  create_command->add_option("--pin", create.pin, kPinHelp);

  CLI::App* show_command = add_command(*account, line, "show", "shows an account", Command::kAccountShow);
  add_integer(*show_command, "ACCOUNT_NUMBER", line.account_show.account_number, "the account")->required();
  show_command->add_flag("--json", line.account_show.as_json, "as one JSON object");

  AccountListOptions& list = line.account_list;
  CLI::App* list_command =
      add_command(*account, line, "list", "lists accounts by number, a line each", Command::kAccountList);
  add_integer(*list_command, "--owner-id", list.owner_id, "only those of this owner");
  add_integer(*list_command, "--after", list.after, "only accounts with larger numbers");
  add_integer(*list_command, "--limit", list.limit, "at most so many (100); 1 to 10000");
  list_command->add_flag("--json", list.as_json, "as JSON objects, one a line");

  AccountSetOptions& set = line.account_set;
  CLI::App* set_command = add_command(*account, line, "set", "changes an account; balances move through the log only",
                                      Command::kAccountSet);
  add_integer(*set_command, "ACCOUNT_NUMBER", set.account_number, "the account")->required();
  set_command->add_option("--is-active", set.is_active, "true or false");
  set_command->add_option("--privilege", set.privilege, kPrivilegeHelp);
  add_integer(*set_command, "--owner-id", set.owner_id, "subject of its owner's tokens");
  CLI::Option* pin = set_command->add_option("--pin", set.pin, kPinHelp);
  set_command->add_flag("--no-pin", set.no_pin, "debits need no PIN any more")->excludes(pin);
  set_command->add_flag("--unlock-pin", set.unlock_pin, "ends a lock and forgets wrong PINs, as a new PIN does");

  CLI::App* import_command = add_command(
      *account, line, "import",
      "creates accounts from a CSV file, all or none; header account_number,owner_id,privilege,balance,is_active[,pin]",
      Command::kAccountImport);
  import_command->add_option("FILE", line.import_path, "- for standard input")->required();
}

void add_commands(CLI::App& app, CommandLine& line) {
  app.require_subcommand(0, 1);
  add_command(app, line, "serve", "runs the service in the foreground (default)", Command::kServe);
  CLI::App* migrate = add_command(app, line, "migrate", "brings the database to the newest schema", Command::kMigrate);
  migrate->add_option("--grant-to", line.migrate.grant_to,
                      "role that runs the service: gets what that needs, and no more");
  add_command(app, line, "seed-demo", "creates demo accounts 1001 to 1010", Command::kSeedDemo);
  add_account_commands(app, line);

  CLI::App* token = add_command(app, line, "token", "prints a signed token, for development", Command::kToken);
  add_integer(*token, "--sub", line.token.subject, "subject, an integer [1]");
  token->add_option("--role", line.token.role, "CUSTOMER, TELLER or ADMIN [CUSTOMER]");
  add_integer(*token, "--ttl", line.token.ttl_seconds, "seconds until it expires [3600]");
  token->add_option("--private-key-file", line.token.private_key_file,
                    "PEM key that signs for RS256, ES256 or EdDSA, by JWT_ALGORITHM");
  token->add_option("--kid", line.token.kid, "`kid` of its header");
  token->add_option("--issuer", line.token.issuer, "`iss` [JWT_ISSUER]");
  token->add_option("--audience", line.token.audience, "`aud` [JWT_AUDIENCE]");

  add_command(app, line, "check-config", "checks settings and database, one line a finding", Command::kCheckConfig);
  CLI::App* healthcheck =
      add_command(app, line, "healthcheck", "asks the service on this machine whether it lives", Command::kHealthcheck);
  healthcheck->add_flag("--ready", line.healthcheck.ready, "whether it may have requests: /readyz instead of /livez");
  add_command(app, line, "verify-ledger", "audits the books", Command::kVerifyLedger);
}

// The arguments in reverse, as CLI11 wants them. It would give "--flag=" the next argument for a value; whoever writes
// that means the empty one.
std::vector<std::string> reversed_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const bool has_empty_value = argument.starts_with("--") && argument.find('=') == argument.size() - 1;
    arguments.emplace_back(has_empty_value ? argument.substr(0, argument.size() - 1) : argument);
    if (has_empty_value) arguments.emplace_back();
  }
  std::ranges::reverse(arguments);
  return arguments;
}

// What a release is, for those who roll out and back.
std::string version_line() {
  return concat(kProgram, " ", version(), " (commit ", commit(), ", schema ", embedded_migrations().size(),
                ", serves on ", oldest_schema_served(), " and newer, as far as the database allows)");
}

EarlyExit explain(const CLI::App& app, const CLI::ParseError& error) {
  // CLI11 reports requests for help through its exceptions as well; exit() has the texts.
  std::ostringstream out;
  std::ostringstream unused;
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    app.exit(error, out, unused);
    return {0, out.str()};
  }
  return {kExitUsage, concat(error.what(), "; see ", kProgram, " --help")};
}

int report(const std::vector<Error>& errors) {
  for (const Error& error : errors) print_error(error.message);
  return kExitUsage;
}

std::expected<Settings, std::vector<Error>> load(const CommandLine& line, const SettingValues& environment) {
  SettingSources sources{.flags = line.flags, .environment = environment, .file = {}, .file_path = line.config_path};
  if (!line.config_path.empty()) {
    auto file = read_config_file(line.config_path);
    if (!file) return std::unexpected(std::move(file.error()));
    sources.file = std::move(*file);
  }
  return load_settings(sources);
}

int run(const CommandLine& line, const SettingValues& environment, const Settings& settings, Serve serve) {
  switch (line.command) {
    case Command::kServe: {
      std::vector<Error> errors = validate_for_serve(settings);
      if (errors.empty()) {
        // What core/config cannot tell: whether the file of keys holds any.
        if (auto loaded = TokenKeySource(settings).load(); !loaded) errors.push_back(std::move(loaded.error()));
      }
      return errors.empty() ? serve(settings, [&] { return load(line, environment); }) : report(errors);
    }
    case Command::kMigrate:
      return cmd_migrate(settings, line.migrate);
    case Command::kSeedDemo:
      return cmd_seed_demo(settings);
    case Command::kAccountCreate:
      return cmd_account_create(settings, line.account_create);
    case Command::kAccountShow:
      return cmd_account_show(settings, line.account_show);
    case Command::kAccountList:
      return cmd_account_list(settings, line.account_list);
    case Command::kAccountSet:
      return cmd_account_set(settings, line.account_set);
    case Command::kAccountImport:
      return cmd_account_import(settings, line.import_path);
    case Command::kToken:
      return cmd_token(settings, line.token);
    case Command::kCheckConfig:
      return cmd_check_config(settings);
    case Command::kHealthcheck:
      return cmd_healthcheck(settings, line.healthcheck);
    case Command::kVerifyLedger:
      return cmd_verify_ledger(settings);
  }
  CHECK(false, "unknown command");
  return kExitFailure;
}

}  // namespace

std::expected<CommandLine, EarlyExit> parse_command_line(int argc, const char* const* argv) {
  CommandLine line;
  CLI::App app("Deposits, withdrawals and transfers over HTTP, durable in PostgreSQL", kProgram);
  app.set_help_flag("-h,--help", "prints this text");
  app.set_version_flag("--version", version_line(), "prints version, commit and schemas");
  add_commands(app, line);
  add_settings(app, line);
  try {
    app.parse(reversed_arguments(argc, argv));
  } catch (const CLI::ParseError& error) {
    return std::unexpected(explain(app, error));
  }
  return line;
}

int run_cli(int argc, char** argv, Serve serve) {
  const auto line = parse_command_line(argc, argv);
  if (!line) {
    if (line.error().exit_status == 0) {
      std::fputs(line.error().text.c_str(), stdout);
    } else {
      print_error(line.error().text);
    }
    return line.error().exit_status;
  }
  // Read once: afterwards the secrets are out of it, and SIGHUP reads the settings again.
  const SettingValues environment = settings_from_environment(environ);
  hide_secrets({argv, static_cast<size_t>(argc)}, environ);
  const auto settings = load(*line, environment);
  if (line->command == Command::kCheckConfig) return cmd_check_config(settings);
  if (!settings) return report(settings.error());
  return run(*line, environment, *settings, serve);
}

}  // namespace txn
