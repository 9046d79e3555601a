#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "app/cli.h"

namespace txn {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

std::expected<CommandLine, EarlyExit> parse(const std::vector<const char*>& arguments) {
  std::vector<const char*> argv = {"transactions-service"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

TEST(CommandLine, ServeIsTheDefault) {
  const auto line = parse({});
  ASSERT_TRUE(line.has_value());
  EXPECT_EQ(line->command, Command::kServe);
  EXPECT_THAT(line->flags, IsEmpty());
}

TEST(CommandLine, SettingsMayStandOnEitherSideOfTheSubcommand) {
  const auto line = parse({"--workers", "2", "migrate", "--database-host=/tmp", "--config", "service.conf"});
  ASSERT_TRUE(line.has_value()) << line.error().text;
  EXPECT_EQ(line->command, Command::kMigrate);
  EXPECT_EQ(line->flags, (SettingValues{{"WORKERS", "2"}, {"DATABASE_HOST", "/tmp"}}));
  EXPECT_EQ(line->config_path, "service.conf");
}

TEST(CommandLine, EverySettingHasAFlag) {
  for (const SettingInfo& setting : setting_infos()) {
    const std::string flag = flag_of_setting(setting.name);
    const auto line = parse({"account", "show", "7", flag.c_str(), "some value"});
    ASSERT_TRUE(line.has_value()) << flag;
    EXPECT_EQ(line->flags, (SettingValues{{std::string(setting.name), "some value"}}));
    EXPECT_EQ(line->command, Command::kAccountShow);
  }
}

TEST(CommandLine, TheLastOfAFlagWins) {
  EXPECT_EQ(parse({"--workers=1", "--workers=2"})->flags, (SettingValues{{"WORKERS", "2"}}));
}

TEST(CommandLine, ValuesMayBeEmptyOrBeginWithADash) {
  const auto line = parse({"--log-dir=", "--jwt-issuer", "", "account", "set", "5", "--owner-id", "-7", "--pin", "-"});
  ASSERT_TRUE(line.has_value()) << line.error().text;
  EXPECT_EQ(line->flags, (SettingValues{{"JWT_ISSUER", ""}, {"LOG_DIR", ""}}));
  EXPECT_EQ(line->command, Command::kAccountSet);
  EXPECT_EQ(line->account_set.owner_id, -7);
  EXPECT_EQ(line->account_set.pin, "-");
  EXPECT_EQ(line->account_set.is_active, std::nullopt);
}

TEST(CommandLine, AccountOptionsArriveTyped) {
  const auto line = parse({"account", "create", "--account-number", "9223372036854775807", "--owner-id", "1",
                           "--privilege", "GOLD", "--balance", "0.10", "--pin", "0123"});
  ASSERT_TRUE(line.has_value()) << line.error().text;
  EXPECT_EQ(line->account_create.account_number, 9'223'372'036'854'775'807);
  EXPECT_EQ(line->account_create.balance, "0.10");
  EXPECT_EQ(line->account_create.pin, "0123");
  EXPECT_EQ(parse({"account", "set", "1", "--is-active", "false"})->account_set.is_active, false);
  EXPECT_TRUE(parse({"account", "show", "1", "--json"})->account_show.as_json);
}

TEST(CommandLine, HelpAndVersionEndWell) {
  for (const auto& arguments : std::vector<std::vector<const char*>>{{"--help"}, {"account", "create", "--help"}}) {
    const auto line = parse(arguments);
    ASSERT_FALSE(line.has_value());
    EXPECT_EQ(line.error().exit_status, 0);
    EXPECT_THAT(line.error().text, HasSubstr("Usage: transactions-service"));
  }
  EXPECT_EQ(parse({"--version"}).error().text, parse({"verify-ledger", "--version"}).error().text);
}

TEST(CommandLine, WhatCannotBeMeantIsAUsageError) {
  const std::vector<const char*> cases[] = {
      {"sreve"},
      {"--no-such-flag"},
      {"account"},
      {"account", "x"},
      {"account", "show"},
      {"account", "show", "9223372036854775808"},
      {"migrate", "up"},
      {"token", "--sub", "1x"},
      {"token", "--sub", "1.0"},
      {"token", "--ttl", "later"},
      {"account", "set", "1", "--pin", "1234", "--no-pin"},
  };
  for (const auto& arguments : cases) {
    const auto line = parse(arguments);
    ASSERT_FALSE(line.has_value()) << arguments.front();
    EXPECT_EQ(line.error().exit_status, kExitUsage);
    EXPECT_THAT(line.error().text, testing::Not(HasSubstr("\n")));
  }
}

}  // namespace
}  // namespace txn
