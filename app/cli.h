// The command line: subcommands, their options, and a flag for every setting.
#pragma once

#include <expected>
#include <string>

#include "app/commands.h"
#include "app/reload.h"
#include "core/config.h"

namespace txn {

enum class Command {
  kServe,
  kMigrate,
  kSeedDemo,
  kAccountCreate,
  kAccountShow,
  kAccountList,
  kAccountSet,
  kAccountImport,
  kToken,
  kCheckConfig,
  kHealthcheck,
  kVerifyLedger,
};

// What was typed. Only the options of `command` mean anything.
struct CommandLine {
  Command command = Command::kServe;
  MigrateOptions migrate;
  AccountCreateOptions account_create;
  AccountShowOptions account_show;
  AccountListOptions account_list;
  AccountSetOptions account_set;
  std::string import_path;
  TokenOptions token;
  HealthcheckOptions healthcheck;
  std::string config_path;  // of --config; "" for none
  SettingValues flags;
};

// The end of the matter: a help text or version for standard output (exit 0), or what is wrong with the command line,
// for standard error (exit kExitUsage).
struct EarlyExit {
  int exit_status = 0;
  std::string text;
};

std::expected<CommandLine, EarlyExit> parse_command_line(int argc, const char* const* argv);

// All of main() but for the service itself: parses, reads the settings, and runs the subcommand. `serve` is called with
// settings that are fit for it and with what reads them again; what it returns is the exit status.
using Serve = int (*)(const Settings& settings, const ReadSettings& read_settings);
int run_cli(int argc, char** argv, Serve serve);

}  // namespace txn
