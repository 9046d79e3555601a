#include "core/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/cpu.h"

namespace txn {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kKey = "0123456789abcdef0123456789abcdef";  // 32 bytes

std::vector<std::string> messages(const std::vector<Error>& errors) {
  std::vector<std::string> result;
  result.reserve(errors.size());
  for (const Error& error : errors) result.push_back(error.message);
  return result;
}

Settings load_flags(const SettingValues& flags) {
  const auto settings = load_settings({flags, {}, {}});
  EXPECT_TRUE(settings.has_value()) << (settings ? "" : settings.error().front().message);
  return settings.value_or(Settings());
}

std::vector<std::string> errors_of(const SettingValues& environment) {
  const auto settings = load_settings({{}, environment, {}});
  return settings ? std::vector<std::string>() : messages(settings.error());
}

class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view content) {
    path_ = (std::filesystem::temp_directory_path() / "txn-config-XXXXXX").string();
    const int fd = mkstemp(path_.data());
    EXPECT_GE(fd, 0);
    EXPECT_EQ(write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    close(fd);
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// --- Table and defaults ----------------------------------------------------------------------------------------------

TEST(SettingTable, NamesAreUniqueAndHaveFlags) {
  std::set<std::string_view> names;
  for (const SettingInfo& info : setting_infos()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.help.empty()) << info.name;
    EXPECT_FALSE(info.allowed.empty()) << info.name;
  }
  EXPECT_EQ(flag_of_setting("DATABASE_POOL_MAX"), "--database-pool-max");
}

TEST(LoadSettings, DefaultsAreThoseOfTheContract) {
  const Settings settings = load_flags({});
  EXPECT_EQ(settings.service_host, "0.0.0.0");
  EXPECT_EQ(settings.service_port, 8002);
  EXPECT_EQ(settings.workers, usable_cpus());
  EXPECT_EQ(settings.max_connections, 10000);
  EXPECT_EQ(settings.max_connections_per_address, 1000);
  EXPECT_EQ(settings.database_url, "");
  EXPECT_EQ(settings.database_host, "");
  EXPECT_EQ(settings.database_port, 5432);
  EXPECT_EQ(settings.database_name, "gdb_transactions");
  EXPECT_EQ(settings.database_pool_min, 10);
  EXPECT_EQ(settings.database_pool_max, 50);
  EXPECT_EQ(settings.database_command_timeout, seconds(30));
  EXPECT_EQ(settings.ledger_lanes, 1);
  EXPECT_EQ(settings.ledger_queue_max, 4096);
  EXPECT_EQ(settings.ledger_queue_delay_max, milliseconds(250));
  EXPECT_EQ(settings.ledger_batch_max, 1024);
  EXPECT_EQ(settings.jwt_algorithm, JwtAlgorithm::kHs256);
  EXPECT_EQ(settings.jwt_leeway, seconds(30));
  EXPECT_EQ(settings.auth_missing_status, 403);
  EXPECT_TRUE(settings.rate_limit_enabled);
  EXPECT_EQ(settings.rate_limit_deposits, (RateLimitPolicy{50, seconds(3600)}));
  EXPECT_EQ(settings.rate_limit_withdrawals, (RateLimitPolicy{30, seconds(3600)}));
  EXPECT_EQ(settings.rate_limit_transfers, (RateLimitPolicy{20, seconds(3600)}));
  EXPECT_EQ(settings.rate_limit_key, RateLimitKey::kIp);
  EXPECT_EQ(settings.rate_limit_redis, std::nullopt);
  EXPECT_THAT(settings.trusted_proxies, IsEmpty());
  EXPECT_EQ(settings.log_level, LogThreshold::kInfo);
  EXPECT_EQ(settings.log_dir, "./logs/transactions");
  EXPECT_EQ(settings.log_max_bytes, 10 * 1024 * 1024);
  EXPECT_EQ(settings.log_backup_count, 10);
  EXPECT_THAT(settings.cors_allowed_origins, IsEmpty());
  EXPECT_EQ(settings.cors_allowed_headers, "Authorization, Content-Type, Idempotency-Key, X-Request-ID, traceparent");
  EXPECT_EQ(settings.drain_timeout, seconds(25));
  EXPECT_FALSE(settings.core_dumps);
}

// --- Precedence ------------------------------------------------------------------------------------------------------

TEST(LoadSettings, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const SettingValues file = {{"SERVICE_PORT", "1"}, {"WORKERS", "1"}, {"LEDGER_LANES", "2"}};
  const SettingValues environment = {{"SERVICE_PORT", "2"}, {"WORKERS", "2"}};
  const SettingValues flags = {{"SERVICE_PORT", "3"}};
  const auto settings = load_settings({flags, environment, file});
  ASSERT_TRUE(settings.has_value());
  EXPECT_EQ(settings->service_port, 3);
  EXPECT_EQ(settings->workers, 2);
  EXPECT_EQ(settings->ledger_lanes, 2);
}

TEST(LoadSettings, AnInvalidValueIsReportedEvenIfAWeakerSourceHasAGoodOne) {
  const auto settings = load_settings({{{"WORKERS", "none"}}, {{"WORKERS", "2"}}, {}});
  ASSERT_FALSE(settings.has_value());
  EXPECT_THAT(messages(settings.error()), ElementsAre("--workers: 'none' is not an integer from 1 to 256"));
}

TEST(Environment, OnlySettingsAreTakenAndEmptyOnesAreNotSet) {
  const char* environment[] = {"PATH=/bin", "SERVICE_PORT=9000", "WORKERS=", "JWT_ISSUER=a=b", "ODD", nullptr};
  const SettingValues expected = {{"SERVICE_PORT", "9000"}, {"JWT_ISSUER", "a=b"}};
  EXPECT_EQ(settings_from_environment(environment), expected);
}

// --- The file of --config --------------------------------------------------------------------------------------------

TEST(ConfigFile, ReadsLinesOfNameAndValue) {
  const auto values = parse_config_text(
      "# a comment\n"
      "\n"
      "SERVICE_PORT=9000\r\n"
      "  LOG_DIR = /var/log/bank # not a comment \n"
      "JWT_ISSUER=\"with blanks \"\n"
      "JWT_AUDIENCE='it''s'\n"
      "DATABASE_PASSWORD=a=b#c\n"
      "TLS_KEY_FILE=",
      "test.conf");
  ASSERT_TRUE(values.has_value());
  const SettingValues expected = {{"SERVICE_PORT", "9000"},       {"LOG_DIR", "/var/log/bank # not a comment"},
                                  {"JWT_ISSUER", "with blanks "}, {"JWT_AUDIENCE", "it''s"},
                                  {"DATABASE_PASSWORD", "a=b#c"}, {"TLS_KEY_FILE", ""}};
  EXPECT_EQ(*values, expected);
}

TEST(ConfigFile, ReportsEveryBadLineByNumberAndNoSecret) {
  const auto values = parse_config_text("SERVICE_PROT=1\nhunter2\nWORKERS=1\nWORKERS=2\n", "test.conf");
  ASSERT_FALSE(values.has_value());
  EXPECT_THAT(messages(values.error()),
              ElementsAre("test.conf:1: there is no setting 'SERVICE_PROT'", "test.conf:2: not of the form NAME=value",
                          "test.conf:4: WORKERS is given a second time"));
}

TEST(ConfigFile, AMissingFileIsNamed) {
  const auto values = read_config_file("/nonexistent/service.conf");
  ASSERT_FALSE(values.has_value());
  EXPECT_THAT(messages(values.error()), ElementsAre("/nonexistent/service.conf: No such file or directory"));
}

// --- Secrets from files ----------------------------------------------------------------------------------------------

TEST(SecretFiles, OneTrailingNewlineIsNotPartOfTheSecret) {
  const TemporaryFile one("secret with blanks \n");
  const TemporaryFile two("secret\n\n");
  const TemporaryFile windows("secret\r\n");
  EXPECT_EQ(load_flags({{"DATABASE_PASSWORD_FILE", one.path()}}).database_password, "secret with blanks ");
  EXPECT_EQ(load_flags({{"PIN_SECRET_KEY_FILE", two.path()}}).pin_secret_key, "secret\n");
  EXPECT_EQ(load_flags({{"JWT_SECRET_KEY_FILE", windows.path()}}).jwt_secret_key, "secret");
}

TEST(SecretFiles, TheDirectSettingWinsAtTheSameLevelOnly) {
  const TemporaryFile file("from file");
  const SettingValues both = {{"JWT_SECRET_KEY", "direct"}, {"JWT_SECRET_KEY_FILE", file.path()}};
  EXPECT_EQ(load_settings({{}, both, {}})->jwt_secret_key, "direct");
  EXPECT_EQ(load_settings({{{"JWT_SECRET_KEY_FILE", file.path()}}, {{"JWT_SECRET_KEY", "direct"}}, {}})->jwt_secret_key,
            "from file");
  EXPECT_EQ(load_settings({{}, {{"JWT_SECRET_KEY", "direct"}}, {{"JWT_SECRET_KEY_FILE", file.path()}}})->jwt_secret_key,
            "direct");
}

TEST(SecretFiles, AnUnreadableOrEmptyFileIsAnError) {
  const TemporaryFile empty("\n");
  EXPECT_THAT(errors_of({{"JWT_SECRET_KEY_FILE", "/nonexistent/key"}}),
              ElementsAre("JWT_SECRET_KEY_FILE from the environment: /nonexistent/key: No such file or directory"));
  EXPECT_THAT(errors_of({{"JWT_SECRET_KEY_FILE", empty.path()}}), ElementsAre(HasSubstr("is empty")));
}

TEST(SecretFiles, BytesOfAnyKindMakeAKeyButNotAPassword) {
  const TemporaryFile binary(std::string_view("a\0b", 3));
  EXPECT_EQ(load_flags({{"JWT_SECRET_KEY_FILE", binary.path()}}).jwt_secret_key, std::string_view("a\0b", 3));
  EXPECT_THAT(errors_of({{"DATABASE_PASSWORD_FILE", binary.path()}}),
              ElementsAre("DATABASE_PASSWORD_FILE from the environment: must be text without NUL"));
}

// --- Values ----------------------------------------------------------------------------------------------------------

TEST(LoadSettings, ReportsAllErrorsWithWhatIsAllowed) {
  EXPECT_THAT(
      errors_of({{"SERVICE_PORT", "70000"}, {"JWT_ALGORITHM", "none"}, {"RATE_LIMIT_DEPOSITS", "many"}}),
      ElementsAre("SERVICE_PORT from the environment: '70000' is not an integer from 0 to 65535",
                  "JWT_ALGORITHM from the environment: 'none' is not HS256, RS256, ES256 or EdDSA",
                  "RATE_LIMIT_DEPOSITS from the environment: 'many' is not N/second, N/minute, N/hour or N/day with N "
                  "from 1 to 1000000"));
  EXPECT_THAT(errors_of({{"SERVICE_PROT", "1"}}),
              ElementsAre("SERVICE_PROT from the environment: there is no such setting"));
}

TEST(LoadSettings, ErrorsNeverShowValuesThatMayHoldSecrets) {
  for (const auto& [name, value] :
       {std::pair("DATABASE_URL", "mysql:hunter2"), std::pair("RATE_LIMIT_STORAGE", "redis://:hunter2@:x/")}) {
    const auto errors = errors_of({{name, value}});
    ASSERT_EQ(errors.size(), 1u) << name;
    EXPECT_THAT(errors[0], Not(HasSubstr("hunter2")));
    EXPECT_THAT(errors[0], HasSubstr(name));
  }
}

struct Case {
  const char* name;
  const char* value;
};

class AllowedValue : public testing::TestWithParam<Case> {};
class RefusedValue : public testing::TestWithParam<Case> {};

TEST_P(AllowedValue, IsTaken) { EXPECT_THAT(errors_of({{GetParam().name, GetParam().value}}), IsEmpty()); }
TEST_P(RefusedValue, IsReportedByName) {
  SettingValues environment{{GetParam().name, GetParam().value}};
  // Looked at only where traces go somewhere.
  environment.emplace("OTLP_ENDPOINT", "http://collector:4318");
  const auto errors = errors_of(environment);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0], HasSubstr(GetParam().name));
}

INSTANTIATE_TEST_SUITE_P(
    All, AllowedValue,
    testing::Values(Case{"SERVICE_HOST", "::"}, Case{"SERVICE_HOST", "[::1]"}, Case{"SERVICE_HOST", "10.0.0.1"},
                    Case{"SERVICE_PORT", "0"}, Case{"WORKERS", "25"}, Case{"LEDGER_LANES", "8"},
                    Case{"LEDGER_BATCH_MAX", "1024"}, Case{"DATABASE_URL", "postgresql://a:b@c/d"},
                    Case{"DATABASE_URL", "postgres:///db?host=/tmp"}, Case{"DATABASE_URL", "host=/tmp dbname=x"},
                    Case{"DATABASE_COMMAND_TIMEOUT", "500ms"}, Case{"DATABASE_COMMAND_TIMEOUT", "30"},
                    Case{"JWT_ALGORITHM", "EdDSA"}, Case{"AUTH_MISSING_STATUS", "401"},
                    Case{"RATE_LIMIT_ENABLED", "False"}, Case{"RATE_LIMIT_KEY", "ip+subject"},
                    Case{"RATE_LIMIT_STORAGE", "redis://cache:6379/1"}, Case{"TRUSTED_PROXIES", "10.0.0.0/8, ::1"},
                    Case{"LOG_LEVEL", "debug"}, Case{"LOG_MAX_BYTES", "64KiB"}, Case{"LOG_BACKUP_COUNT", "0"},
                    Case{"LOG_DIR", "none"}, Case{"OTLP_ENDPOINT", "http://collector:4318/v1/traces"},
                    Case{"OTLP_ENDPOINT", "http://[::1]"}, Case{"TRACE_SAMPLE_RATIO", "0"},
                    Case{"TRACE_SAMPLE_RATIO", "1"}, Case{"ACCESS_LOG", "all"}, Case{"ACCESS_LOG", "sample:1000000"},
                    Case{"ACCOUNT_SERVICE_URL", "http://accounts:8001"},
                    Case{"ACCOUNT_SERVICE_URL", "http://[::1]:8001/health"},
                    Case{"CORS_ALLOWED_ORIGINS", "https://a.example, http://localhost:3000"},
                    Case{"CORS_ALLOWED_HEADERS", "Authorization,baggage , tracestate,,sentry-trace"},
                    Case{"CORS_ALLOWED_ORIGINS", "*"}, Case{"DRAIN_TIMEOUT", "30s"}, Case{"DRAIN_TIMEOUT", "0"},
                    Case{"DRAIN_DELAY", "0"}, Case{"DRAIN_DELAY", "300s"}, Case{"KEEPALIVE_TIMEOUT", "1"},
                    Case{"KEEPALIVE_TIMEOUT", "3600s"}, Case{"OPERATIONS_PORT", "65535"}, Case{"CORE_DUMPS", "true"}));

INSTANTIATE_TEST_SUITE_P(
    All, RefusedValue,
    testing::Values(
        Case{"SERVICE_HOST", "localhost"}, Case{"SERVICE_HOST", "300.0.0.1"}, Case{"SERVICE_HOST", "[]"},
        Case{"SERVICE_PORT", "-1"}, Case{"SERVICE_PORT", "80 "}, Case{"SERVICE_PORT", "0x50"},
        Case{"SERVICE_PORT", "+80"}, Case{"WORKERS", "0"}, Case{"LEDGER_LANES", "9"}, Case{"LEDGER_BATCH_MAX", "1025"},
        Case{"LEDGER_QUEUE_MAX", "99999999999999999999"}, Case{"DATABASE_PORT", "0"}, Case{"DATABASE_URL", "mysql://a"},
        Case{"DATABASE_URL", "bank"}, Case{"DATABASE_COMMAND_TIMEOUT", "0"}, Case{"DATABASE_COMMAND_TIMEOUT", "1.5s"},
        Case{"JWT_ALGORITHM", "hs256"}, Case{"JWT_ALGORITHM", "none"}, Case{"AUTH_MISSING_STATUS", "404"},
        Case{"RATE_LIMIT_ENABLED", "maybe"}, Case{"RATE_LIMIT_TRANSFERS", "0/hour"},
        Case{"RATE_LIMIT_TRANSFERS", "20/week"}, Case{"RATE_LIMIT_TRANSFERS", "20"}, Case{"RATE_LIMIT_KEY", "account"},
        Case{"RATE_LIMIT_STORAGE", "disk"}, Case{"RATE_LIMIT_STORAGE", "redis://:6379/0"},
        Case{"TRUSTED_PROXIES", "10.0.0.0/33"}, Case{"TRUSTED_PROXIES", "proxy.example"}, Case{"LOG_LEVEL", "LOUD"},
        Case{"LOG_MAX_BYTES", "1"}, Case{"OTLP_ENDPOINT", "collector:4318"},
        Case{"OTLP_ENDPOINT", "https://collector:4318"}, Case{"TRACE_SAMPLE_RATIO", "1.1"},
        Case{"TRACE_SAMPLE_RATIO", "10%"}, Case{"ACCESS_LOG", "ALL"}, Case{"ACCESS_LOG", "sample"},
        Case{"ACCESS_LOG", "sample:0"}, Case{"LOG_MAX_BYTES", "10MB"}, Case{"ACCOUNT_SERVICE_URL", "accounts:8001"},
        Case{"ACCOUNT_SERVICE_URL", "ftp://accounts"}, Case{"ACCOUNT_SERVICE_URL", "http://a b/"},
        Case{"ACCOUNT_SERVICE_URL", "http://a:0"}, Case{"ACCOUNT_SERVICE_URL", "https://accounts:8001"},
        Case{"ACCOUNT_SERVICE_URL", "http://user:word@a/"}, Case{"ACCOUNT_SERVICE_URL", "http://a/#health"},
        Case{"CORS_ALLOWED_HEADERS", "*"}, Case{"CORS_ALLOWED_HEADERS", "Authorization, *"},
        Case{"CORS_ALLOWED_HEADERS", "two words"}, Case{"CORS_ALLOWED_HEADERS", "a: b"},
        Case{"CORS_ALLOWED_HEADERS", " , "}, Case{"CORS_ALLOWED_HEADERS", "caf\xc3\xa9"},
        Case{"CORS_ALLOWED_ORIGINS", "https://a.example/path"}, Case{"CORS_ALLOWED_ORIGINS", "*, https://a.example"},
        Case{"CORS_ALLOWED_ORIGINS", "a.example"}, Case{"DRAIN_TIMEOUT", "31"}, Case{"DRAIN_DELAY", "301s"},
        Case{"KEEPALIVE_TIMEOUT", "999ms"}, Case{"KEEPALIVE_TIMEOUT", "3601s"}, Case{"OPERATIONS_PORT", "65536"},
        Case{"METRICS_PUBLIC", "some"}, Case{"CORE_DUMPS", "perhaps"}, Case{"JWT_LEEWAY", "-1"},
        Case{"JWT_SUBJECT_CLAIM", "user..id"}, Case{"JWT_SUBJECT_CLAIM", ".id"}, Case{"JWT_SUBJECT_CLAIM", "exp"},
        Case{"JWT_ROLE_CLAIM", "realm_access."}, Case{"JWT_ROLE_CLAIM", "aud"}, Case{"JWT_ROLE_CLAIM", "a\nb"},
        Case{"JWT_ROLE_MAP", "bank-teller"}, Case{"JWT_ROLE_MAP", "bank-teller=teller"},
        Case{"JWT_ROLE_MAP", "bank-teller=ROOT"}, Case{"JWT_ROLE_MAP", "=TELLER"},
        Case{"JWT_ROLE_MAP", "a=TELLER,a=CUSTOMER"}));

TEST(LoadSettings, ClaimsOfIdentityProviders) {
  const Settings settings =
      load_flags({{"JWT_SUBJECT_CLAIM", "https://bank.example/user_id"},
                  {"JWT_ROLE_CLAIM", "realm_access.roles"},
                  {"JWT_ROLE_MAP", " bank-teller = TELLER,, cn=clerk=TELLER ,Customer=CUSTOMER"}});
  EXPECT_EQ(settings.jwt_subject_claim, "https://bank.example/user_id");
  EXPECT_EQ(settings.jwt_role_claim, "realm_access.roles");
  EXPECT_THAT(settings.jwt_role_map, ElementsAre(RoleName{"bank-teller", "TELLER"}, RoleName{"cn=clerk", "TELLER"},
                                                 RoleName{"Customer", "CUSTOMER"}));
  const Settings defaults = load_flags({});
  EXPECT_EQ(defaults.jwt_subject_claim, "");
  EXPECT_EQ(defaults.jwt_role_claim, "role");
  EXPECT_TRUE(defaults.jwt_role_map.empty());
  EXPECT_THAT(errors_of({{"JWT_ROLE_MAP", "bank-teller=ROOT"}}),
              ElementsAre("JWT_ROLE_MAP from the environment: 'bank-teller=ROOT' is not a comma-separated list of up "
                          "to 64 NAME=ROLE, each "
                          "NAME once, ROLE being CUSTOMER, TELLER or ADMIN"));
  EXPECT_THAT(errors_of({{"JWT_ROLE_CLAIM", std::string(256, 'r')}}), IsEmpty());
  EXPECT_EQ(errors_of({{"JWT_ROLE_CLAIM", std::string(257, 'r')}}).size(), 1u);
  EXPECT_THAT(errors_of({{"JWT_ROLE_CLAIM", "sub"}}),
              ElementsAre("JWT_ROLE_CLAIM is sub, where the subject is: no claim is a number and a role"));
  EXPECT_THAT(errors_of({{"JWT_SUBJECT_CLAIM", "who"}, {"JWT_ROLE_CLAIM", "who"}}),
              ElementsAre("JWT_ROLE_CLAIM is who, where the subject is: no claim is a number and a role"));
}

TEST(ConfigText, AByteOrderMarkHidesNothing) {
  const auto values = parse_config_text("\xEF\xBB\xBFSERVICE_PORT=80\n", "f");
  ASSERT_TRUE(values.has_value());
  EXPECT_EQ(values->at("SERVICE_PORT"), "80");
}

TEST(LoadSettings, BracketsOfAnIpv6AddressAreDropped) {
  EXPECT_EQ(load_flags({{"SERVICE_HOST", "[::1]"}}).service_host, "::1");
}

TEST(LoadSettings, PoolBoundsBelongTogether) {
  EXPECT_EQ(load_flags({{"DATABASE_POOL_MAX", "5"}}).database_pool_min, 5);
  EXPECT_THAT(errors_of({{"DATABASE_POOL_MIN", "6"}, {"DATABASE_POOL_MAX", "5"}}),
              ElementsAre("DATABASE_POOL_MIN (6) is above DATABASE_POOL_MAX (5)"));
}

TEST(LoadSettings, ThePoolBoundsAllConnections) {
  EXPECT_THAT(errors_of({{"WORKERS", "51"}}),
              ElementsAre("DATABASE_POOL_MAX (50) is less than WORKERS (51) x (LEDGER_LANES (1) + 1 to read) = 102 "
                          "connections"));
  EXPECT_THAT(errors_of({{"WORKERS", "4"}, {"LEDGER_LANES", "8"}, {"DATABASE_POOL_MAX", "12"}}),
              ElementsAre("DATABASE_POOL_MAX (12) is less than WORKERS (4) x (LEDGER_LANES (8) + 1 to read) = 36 "
                          "connections"));
  EXPECT_THAT(errors_of({{"DATABASE_POOL_MAX", "1"}}), ElementsAre(HasSubstr("= 2 connections")));
  EXPECT_THAT(errors_of({{"WORKERS", "25"}}), IsEmpty());
  EXPECT_THAT(errors_of({{"WORKERS", "256"}, {"DATABASE_POOL_MAX", "512"}}), IsEmpty());
  // Nothing follows from what could not be read.
  EXPECT_THAT(errors_of({{"WORKERS", "51"}, {"DATABASE_POOL_MAX", "many"}}),
              ElementsAre(HasSubstr("DATABASE_POOL_MAX from the environment: 'many' is not")));
}

TEST(LoadSettings, AnyMachineStartsOnTheDefaults) {
  for (const auto& [cpus, workers] : {std::pair(1, 1), {25, 25}, {26, 25}, {64, 25}, {128, 25}, {1024, 25}}) {
    const auto settings = load_settings({.flags = {}, .environment = {}, .file = {}, .file_path = {}, .cpus = cpus});
    ASSERT_TRUE(settings.has_value()) << cpus;
    EXPECT_EQ(settings->workers, workers) << cpus;
    if (workers == cpus) {
      EXPECT_THAT(settings->warnings, IsEmpty());
    } else {
      EXPECT_THAT(settings->warnings,
                  ElementsAre("WORKERS: not set, 25 for " + std::to_string(cpus) +
                              " CPUs: DATABASE_POOL_MAX (50) serves no more, with LEDGER_LANES (1) + 1 connections "
                              "each"));
    }
  }
  const auto workers = [](const SettingValues& flags) {
    const auto settings = load_settings({.flags = flags, .environment = {}, .file = {}, .file_path = {}, .cpus = 400});
    return settings ? settings->workers : 0;
  };
  EXPECT_EQ(workers({{"LEDGER_LANES", "8"}}), 5);
  EXPECT_EQ(workers({{"MAX_CONNECTIONS", "3"}}), 3);
  EXPECT_EQ(workers({{"DATABASE_POOL_MAX", "1000"}}), 256);
  EXPECT_EQ(workers({{"DATABASE_POOL_MAX", "2"}}), 1);
  EXPECT_EQ(workers({{"DATABASE_POOL_MAX", "1"}}), 0);
  EXPECT_EQ(workers({{"WORKERS", "400"}, {"DATABASE_POOL_MAX", "1000"}}), 0);
}

TEST(ConnectionShare, LanesComeFirstAndTheMinimumLeavesTheRestToReaders) {
  EXPECT_EQ(connection_share(2, 1, 10), (ConnectionShare{.lanes = 1, .readers = 4}));
  EXPECT_EQ(connection_share(4, 8, 12), (ConnectionShare{.lanes = 8, .readers = 1}));
  EXPECT_EQ(connection_share(50, 1, 10), (ConnectionShare{.lanes = 1, .readers = 1}));
  EXPECT_EQ(connection_share(1, 1, 1), (ConnectionShare{.lanes = 1, .readers = 1}));
  // Whatever is admitted stays within the bound.
  for (int lanes = 1; lanes <= 8; ++lanes) {
    for (int pool_max = 1; pool_max <= 300; ++pool_max) {
      for (int workers = 1; workers <= workers_served(lanes, pool_max); ++workers) {
        for (int pool_min = 1; pool_min <= pool_max; ++pool_min) {
          const ConnectionShare share = connection_share(workers, lanes, pool_min);
          ASSERT_LE(workers * share.total(), pool_max);
          ASSERT_GE(share.readers, 1);
          ASSERT_EQ(share.lanes, lanes);
        }
      }
    }
  }
}

TEST(LoadSettings, EveryWorkerHasRoomForAClient) {
  EXPECT_THAT(errors_of({{"WORKERS", "2"}, {"MAX_CONNECTIONS", "1"}}),
              ElementsAre("MAX_CONNECTIONS (1) is below WORKERS (2): each of them takes clients of its own"));
  EXPECT_THAT(errors_of({{"WORKERS", "1"}, {"MAX_CONNECTIONS", "1"}}), IsEmpty());
}

TEST(LoadSettings, WhatAnotherSettingLeavesWithoutEffectIsAWarning) {
  const std::pair<SettingValues, const char*> cases[] = {
      {{{"LEDGER_BATCH_MAX", "64"}, {"LEDGER_QUEUE_MAX", "63"}}, "LEDGER_BATCH_MAX: 64 is of no effect"},
      {{{"MAX_CONNECTIONS_PER_ADDRESS", "21"}, {"MAX_CONNECTIONS", "20"}}, "MAX_CONNECTIONS_PER_ADDRESS: 21"},
      {{{"JWT_JWKS_FILE", "/none"}}, "JWT_PUBLIC_KEY_FILE, JWT_JWKS_FILE: of no effect"},
      {{{"RATE_LIMIT_ENABLED", "false"}, {"RATE_LIMIT_STORAGE", "redis://cache"}}, "RATE_LIMIT_STORAGE: of no effect"},
      {{{"LOG_DIR", "none"}, {"LOG_MAX_BYTES", "much"}}, "LOG_MAX_BYTES, LOG_BACKUP_COUNT: ignored"},
      {{{"LOG_DIR", "none"}, {"LOG_BACKUP_COUNT", "many"}}, "LOG_MAX_BYTES, LOG_BACKUP_COUNT: ignored"},
      {{{"TRACE_SAMPLE_RATIO", "often"}}, "TRACE_SAMPLE_RATIO: ignored"},
      {{{"METRICS_PUBLIC", "false"}}, "METRICS_PUBLIC: false without OPERATIONS_PORT"},
      {{{"DATABASE_URL", "host=a"}, {"DATABASE_NAME", "bank"}}, "DATABASE_URL: set"},
  };
  for (const auto& [flags, warning] : cases) {
    EXPECT_THAT(load_flags(flags).warnings, ElementsAre(HasSubstr(warning)));
  }
  // Nobody has asked for a default.
  EXPECT_THAT(load_flags({{"LEDGER_QUEUE_MAX", "63"}}).warnings, IsEmpty());
  EXPECT_THAT(load_flags({{"WORKERS", "2"}, {"MAX_CONNECTIONS", "20"}}).warnings, IsEmpty());
}

TEST(LoadSettings, PartsOfAnAddressAreNotLookedAtBesideAUrl) {
  // Kubernetes sets DATABASE_PORT for a service of the name `database`.
  const SettingValues environment = {
      {"DATABASE_URL", "host=a"}, {"DATABASE_PORT", "tcp://10.0.0.1:5432"}, {"DATABASE_PASSWORD_FILE", "/missing"}};
  EXPECT_THAT(errors_of(environment), IsEmpty());
  EXPECT_THAT(errors_of({{"DATABASE_PORT", "tcp://10.0.0.1:5432"}}),
              ElementsAre(AllOf(HasSubstr("DATABASE_PORT"), HasSubstr("enableServiceLinks: false"))));
  EXPECT_THAT(errors_of({{"SERVICE_PORT", "tcp://10.0.0.1:8002"}}),
              ElementsAre(HasSubstr("enableServiceLinks: false")));
}

TEST(LoadSettings, AUrlForADriverOfPythonsIsExplained) {
  for (const char* url : {"postgresql+asyncpg://bank:hunter2@db/x", "postgres+psycopg2://bank:hunter2@db/x"}) {
    EXPECT_THAT(errors_of({{"DATABASE_URL", url}}),
                ElementsAre(AllOf(HasSubstr("write postgresql:// instead"), Not(HasSubstr("hunter2")))));
  }
}

TEST(LoadSettings, OperationsHaveAPortOfTheirOwn) {
  EXPECT_EQ(load_flags({}).operations_port, std::nullopt);
  EXPECT_EQ(load_flags({{"OPERATIONS_PORT", "9102"}}).operations_port, 9102);
  EXPECT_THAT(errors_of({{"OPERATIONS_PORT", "8002"}}),
              ElementsAre(HasSubstr("OPERATIONS_PORT and SERVICE_PORT are both 8002")));
  EXPECT_THAT(errors_of({{"OPERATIONS_PORT", "0"}, {"SERVICE_PORT", "0"}}), IsEmpty());  // the kernel picks two
}

TEST(LoadSettings, CertificateAndKeyComeTogether) {
  EXPECT_THAT(errors_of({{"TLS_CERT_FILE", "a"}}), ElementsAre(HasSubstr("TLS_KEY_FILE is missing")));
  EXPECT_THAT(errors_of({{"TLS_KEY_FILE", "a"}}), ElementsAre(HasSubstr("TLS_CERT_FILE is missing")));
  EXPECT_THAT(errors_of({{"TLS_CLIENT_CA_FILE", "a"}}), ElementsAre(HasSubstr("TLS_CERT_FILE is not set")));
  EXPECT_THAT(errors_of({{"TLS_CERT_FILE", "a"}, {"TLS_KEY_FILE", "b"}, {"TLS_CLIENT_CA_FILE", "c"}}), IsEmpty());
}

TEST(LoadSettings, NoLogDirectoryIsNone) { EXPECT_EQ(load_flags({{"LOG_DIR", "none"}}).log_dir, ""); }

TEST(LoadSettings, WhereTracesGo) {
  EXPECT_EQ(load_flags({}).otlp_endpoint, std::nullopt);
  EXPECT_EQ(load_flags({}).trace_sample_per_million, 100'000);
  const Settings settings = load_flags({{"OTLP_ENDPOINT", "http://otel:4318/x"}, {"TRACE_SAMPLE_RATIO", "0.25"}});
  EXPECT_EQ(settings.otlp_endpoint, (HttpUrl{.host = "otel", .port = 4318, .target = "/x"}));
  EXPECT_EQ(settings.trace_sample_per_million, 250'000);
}

TEST(Parsers, Ratio) {
  EXPECT_EQ(parse_ratio("0"), 0);
  EXPECT_EQ(parse_ratio("0.0"), 0);
  EXPECT_EQ(parse_ratio("0.000001"), 1);
  EXPECT_EQ(parse_ratio("0.5"), 500'000);
  EXPECT_EQ(parse_ratio("1"), 1'000'000);
  EXPECT_EQ(parse_ratio("1.000000"), 1'000'000);
  for (const char* text :
       {"", ".", "0.", ".5", "-0.1", "+1", "2", "1.000001", "0.0000001", "1e-1", "0,1", "0.1 ", "00"})
    EXPECT_EQ(parse_ratio(text), std::nullopt) << text;
}

TEST(Parsers, AccessLog) {
  EXPECT_EQ(parse_access_log("none"), AccessLog{AccessLog::Kind::kNone});
  EXPECT_EQ(parse_access_log("errors"), AccessLog{});
  EXPECT_EQ(parse_access_log("all"), AccessLog{AccessLog::Kind::kAll});
  EXPECT_EQ(parse_access_log("sample:100"), (AccessLog{AccessLog::Kind::kSample, 100}));
  for (const char* text : {"", "sample:", "sample:-1", "sample:1000001", "sample:1:2", "samples:1", "all "})
    EXPECT_EQ(parse_access_log(text), std::nullopt) << text;
}

TEST(Parsers, HttpUrl) {
  EXPECT_EQ(parse_http_url("http://accounts"), (HttpUrl{"accounts", 80, ""}));
  EXPECT_EQ(parse_http_url("http://accounts:8001/"), (HttpUrl{"accounts", 8001, ""}));
  EXPECT_EQ(parse_http_url("http://[::1]:8001/ready?deep=1"), (HttpUrl{"::1", 8001, "/ready?deep=1"}));
  EXPECT_EQ(parse_http_url("http://10.0.0.1?deep"), (HttpUrl{"10.0.0.1", 80, "/?deep"}));
  EXPECT_EQ(parse_http_url("https://accounts"), std::nullopt);
  EXPECT_EQ(parse_http_url("http://"), std::nullopt);
  EXPECT_EQ(parse_http_url("http://a/\r\nX: y"), std::nullopt);
}

TEST(Parsers, RateLimit) {
  EXPECT_EQ(parse_rate_limit("5/second"), (RateLimitPolicy{5, seconds(1)}));
  EXPECT_EQ(parse_rate_limit("5 / minute"), (RateLimitPolicy{5, seconds(60)}));
  EXPECT_EQ(parse_rate_limit("1000000/day"), (RateLimitPolicy{1'000'000, seconds(86400)}));
  EXPECT_EQ(parse_rate_limit("1000001/day"), std::nullopt);
  EXPECT_EQ(parse_rate_limit("/day"), std::nullopt);
  EXPECT_EQ(parse_rate_limit("5/hours"), std::nullopt);
}

TEST(Parsers, Cidr) {
  const auto masked = parse_cidr("10.1.2.3/12");
  ASSERT_TRUE(masked.has_value());
  EXPECT_FALSE(masked->is_ipv6);
  EXPECT_EQ(masked->prefix_length, 12);
  EXPECT_EQ(masked->address[0], 10);
  EXPECT_EQ(masked->address[1], 0);
  EXPECT_EQ(masked->address[2], 0);
  EXPECT_EQ(parse_cidr("10.0.0.0/12"), masked);
  EXPECT_EQ(parse_cidr("192.0.2.1")->prefix_length, 32);
  EXPECT_EQ(parse_cidr("2001:db8::/32"), parse_cidr("2001:db8:ffff::/32"));
  EXPECT_EQ(parse_cidr("::/0")->prefix_length, 0);
  EXPECT_EQ(parse_cidr("::1/129"), std::nullopt);
  EXPECT_EQ(parse_cidr("10.0.0.0/"), std::nullopt);
  EXPECT_EQ(parse_cidr(""), std::nullopt);
  EXPECT_EQ(parse_cidr(std::string_view("10.0.0.0\0x/8", 12)), std::nullopt);
}

TEST(Parsers, RedisUrl) {
  EXPECT_EQ(parse_redis_url("redis://cache"), (RedisAddress{"cache", 6379, 0, "", ""}));
  EXPECT_EQ(parse_redis_url("redis://cache:7000/3"), (RedisAddress{"cache", 7000, 3, "", ""}));
  EXPECT_EQ(parse_redis_url("redis://[::1]:7000"), (RedisAddress{"::1", 7000, 0, "", ""}));
  EXPECT_EQ(parse_redis_url("redis://me:se@cret@cache/1"), (RedisAddress{"cache", 6379, 1, "me", "se@cret"}));
  EXPECT_EQ(parse_redis_url("redis://cache/x"), std::nullopt);
  EXPECT_EQ(parse_redis_url("rediss://cache"), std::nullopt);
  EXPECT_EQ(parse_redis_url("redis://[cache]"), std::nullopt);
}

TEST(Parsers, Duration) {
  EXPECT_EQ(parse_duration("30"), seconds(30));
  EXPECT_EQ(parse_duration("30s"), seconds(30));
  EXPECT_EQ(parse_duration("500ms"), milliseconds(500));
  for (const char* text : {"", "s", "ms", "-1", "1m", "1 s", "1e3", "9223372036854775807"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Parsers, ByteCount) {
  EXPECT_EQ(parse_byte_count("1048576"), 1 << 20);
  EXPECT_EQ(parse_byte_count("10MiB"), 10 << 20);
  EXPECT_EQ(parse_byte_count("2 GiB"), int64_t{2} << 30);
  for (const char* text : {"", "MiB", "-1", "1kB", "9223372036854775807KiB"}) {
    EXPECT_EQ(parse_byte_count(text), std::nullopt) << text;
  }
}

// --- What serve asks for ---------------------------------------------------------------------------------------------

TEST(ValidateForServe, WantsAKeyOf32Bytes) {
  EXPECT_THAT(messages(validate_for_serve(load_flags({}))), ElementsAre(HasSubstr("JWT_SECRET_KEY is not set")));
  const auto short_key = messages(validate_for_serve(load_flags({{"JWT_SECRET_KEY", "short key"}})));
  EXPECT_THAT(short_key, ElementsAre("JWT_SECRET_KEY has 9 bytes, at least 32 are needed"));
  EXPECT_THAT(validate_for_serve(load_flags({{"JWT_SECRET_KEY", kKey}})), IsEmpty());
  EXPECT_THAT(messages(validate_for_serve(load_flags({{"JWT_SECRET_KEY", kKey}, {"PIN_SECRET_KEY", "abc"}}))),
              ElementsAre("PIN_SECRET_KEY has 3 bytes, at least 32 are needed"));
}

TEST(ValidateForServe, PublicKeyAlgorithmsWantAPublicKeyAndAPinKey) {
  const SettingValues algorithm = {{"JWT_ALGORITHM", "ES256"}};
  EXPECT_EQ(validate_for_serve(load_flags(algorithm)).size(), 2u);
  EXPECT_THAT(validate_for_serve(load_flags(
                  {{"JWT_ALGORITHM", "ES256"}, {"JWT_PUBLIC_KEY_FILE", "key.pem"}, {"PIN_SECRET_KEY", kKey}})),
              IsEmpty());
}

TEST(ValidateForServe, KeysAreInOneFile) {
  EXPECT_THAT(messages(validate_for_serve(load_flags({{"JWT_ALGORITHM", "RS256"},
                                                      {"JWT_PUBLIC_KEY_FILE", "key.pem"},
                                                      {"JWT_JWKS_FILE", "keys.json"},
                                                      {"PIN_SECRET_KEY", kKey}}))),
              ElementsAre("JWT_PUBLIC_KEY_FILE and JWT_JWKS_FILE are both set: one of them holds the keys"));
}

// --- Conninfo --------------------------------------------------------------------------------------------------------

TEST(DatabaseConninfo, IsBuiltFromThePartsWithQuotes) {
  EXPECT_EQ(database_conninfo(load_flags({})),
            "port='5432' dbname='gdb_transactions' fallback_application_name='transactions-service'");
  EXPECT_EQ(database_conninfo(load_flags({{"DATABASE_HOST", "db.example"},
                                          {"DATABASE_PORT", "6432"},
                                          {"DATABASE_USER", "bank user"},
                                          {"DATABASE_PASSWORD", R"(it's \ secret)"},
                                          {"DATABASE_NAME", "books"}})),
            R"(host='db.example' port='6432' user='bank user' password='it\'s \\ secret' dbname='books' )"
            "fallback_application_name='transactions-service'");
}

TEST(DatabaseConninfo, TakesThePasswordThatIsInItsFileNow) {
  const TemporaryFile file("first\n");
  const auto write_file = [&file](std::string_view content) {
    std::ofstream(file.path(), std::ios::binary | std::ios::trunc) << content;
  };
  const Settings settings = load_flags({{"DATABASE_PASSWORD_FILE", file.path()}});
  EXPECT_EQ(fresh_database_conninfo(settings).value(), database_conninfo(settings));
  write_file("it's 2nd\n");
  EXPECT_THAT(fresh_database_conninfo(settings).value(), HasSubstr(R"(password='it\'s 2nd' )"));
  EXPECT_THAT(database_conninfo(settings), HasSubstr("password='first'"));

  // What is wrong with the file is an error of this attempt, without its content. The next attempt is another.
  write_file(std::string_view("left\0right", 10));
  const auto with_nul = fresh_database_conninfo(settings);
  ASSERT_FALSE(with_nul.has_value());
  EXPECT_EQ(with_nul.error().message, "DATABASE_PASSWORD_FILE: holds a NUL");
  write_file("");
  EXPECT_THAT(fresh_database_conninfo(settings).error().message, HasSubstr("is empty"));
  std::filesystem::remove(file.path());
  EXPECT_THAT(fresh_database_conninfo(settings).error().message, HasSubstr("No such file"));
  write_file("third");
  EXPECT_THAT(fresh_database_conninfo(settings).value(), HasSubstr("password='third'"));
}

TEST(DatabaseConninfo, ReadsNoFileThatHasNoSay) {
  const TemporaryFile file("in the file");
  const Settings direct =
      load_settings({{{"DATABASE_PASSWORD", "direct"}}, {{"DATABASE_PASSWORD_FILE", file.path()}}, {}}).value();
  EXPECT_EQ(fresh_database_conninfo(direct).value(), database_conninfo(direct));
  const Settings url = load_flags({{"DATABASE_URL", "host=db"}, {"DATABASE_PASSWORD_FILE", file.path()}});
  std::filesystem::remove(file.path());
  EXPECT_EQ(fresh_database_conninfo(url).value(), database_conninfo(url));
  EXPECT_EQ(fresh_database_conninfo(load_flags({})).value(), database_conninfo(load_flags({})));
}

TEST(DatabaseConninfo, TakesTheUrlAsItIs) {
  const auto of_url = [](const char* url) {
    return database_conninfo(load_flags({{"DATABASE_URL", url}, {"DATABASE_HOST", "ignored"}}));
  };
  EXPECT_EQ(of_url("postgresql://u@h/d"), "postgresql://u@h/d?fallback_application_name=transactions-service");
  EXPECT_EQ(of_url("postgres:///d?host=/tmp"),
            "postgres:///d?host=/tmp&fallback_application_name=transactions-service");
  EXPECT_EQ(of_url("host=/tmp dbname=d"), "host=/tmp dbname=d fallback_application_name=transactions-service");
}

}  // namespace
}  // namespace txn
