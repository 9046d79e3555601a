// What is kept of the logs of a test run, and the check of it: that it finds what it is there to find.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/child_process.h"
#include "tests/support/kept_logs.h"

namespace txn::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kNothingToRead = 77;

const std::string kGood =
    R"({"timestamp":"2026-11-22T13:20:07.412345Z","service":"transactions-service","level":"INFO","logger":"audit",)"
    R"("message":"Money movement","module":"request_log","function":"audit","line":83,"request_id":"r-4711",)"
    R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","outcome":"success","transaction_id":12,"account_number":4711,)"
    R"("amount":12.50,"replayed":false,"client_address":"127.0.0.1","status":200,"duration_ms":0.412})"
    "\n";

std::string changed(const std::string& what, const std::string& with) {
  std::string line = kGood;
  const size_t at = line.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return line.replace(at, what.size(), with);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A run with one service, which logged these lines on standard error.
class CheckLogs : public ::testing::Test {
 protected:
  RunResult check(const std::string& log, const std::string& output = "") {
    const TempDirectory run;
    const std::string service = run.path() + "/some_test-1-1-serve";
    std::filesystem::create_directory(service);
    std::ofstream(service + "/stderr.json", std::ios::binary) << log;
    std::ofstream(service + "/stdout.txt", std::ios::binary) << output;
    run.write("some_test-1.secrets", "a-key-of-the-service\ngmYvMhNAhhKDcU2Xc5e1T0\n");
    run.write("some_test-1.pins", "4711\n271828\n");
    return check_folder(run.path());
  }
  static RunResult check_folder(const std::string& folder) {
    return run_program({.argv = {"/bin/bash", TXN_SOURCE_DIR "/cmake/check-logs.sh", folder},
                        .env = {"PATH=/usr/local/bin:/usr/bin:/bin"}},
                       Milliseconds(60'000));
  }
};

TEST_F(CheckLogs, GoodLinesPassAndAreCounted) {
  const RunResult result = check(kGood + kGood, "ready\n");
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_THAT(result.out, HasSubstr("logs: 2 lines in 1 files of 1 services"));
  EXPECT_EQ(result.err, "");
}

TEST_F(CheckLogs, EveryFaultIsFound) {
  for (const auto& [log, named] : std::vector<std::pair<std::string, std::string>>{
           {"Killed\n", "not a JSON object"},
           {kGood.substr(0, 200) + "\n", "not a JSON object"},
           {kGood.substr(0, kGood.size() - 1) + kGood, "not a JSON object"},  // two on a line
           {changed(R"(,"level")", "\n,\"level\""), "not a JSON object"},     // one on two
           {"[1]\n", "not a JSON object"},
           {"\n", "not a JSON object"},
           {kGood.substr(0, kGood.size() - 1), "does not end with the end of a line"},
           {changed("T13", " 13"), "timestamp"},
           {changed("412345Z", "412Z"), "timestamp"},
           {changed("345Z", "345+01:00"), "timestamp"},
           {changed(R"("service":"transactions-service",)", ""), "service"},
           {changed("INFO", "info"), "level"},
           {changed(R"("logger":"audit",)", ""), "logger"},
           {changed("Money movement", ""), "message"},
           {changed(R"("line":83)", R"("line":"83")"), "line"},
           {changed(R"("r-4711")", "4711"), "request_id"},
           {changed("4bf92f", "4BF92F"), "trace_id"},
           {changed(R"("account_number":4711)", R"("account_number":"x")"), "account_number"},
           {changed("0.412}", "-1}"), "duration_ms"},
           {changed("success", "fine"), "audit"},
           {changed(R"("replayed":false,)", ""), "audit"},
           {changed(R"("status":200)", R"("status":200,"exception":{"text":"x"})"), "exception"},
           {changed(R"("status":200)", R"("status":200,"headers":{"a":"x"})"), "no scalar"},
           {changed(R"("status":200)", R"("status":200,"bearer_token":"x")"), "like a secret"},
           {changed(R"("status":200)", R"("status":200,"Cookie":"x")"), "like a secret"},
           {changed("127.0.0.1", "\xff\xfe"), "not UTF-8"},
           {changed("Money movement", "pin 271828 is wrong"), "a PIN"},
           {changed("Money movement", "4711"), "a PIN"},
           {changed("Money movement", "the key is a-key-of-the-service"), "a secret"},
           {changed("Money movement", "signed gmYvMhNAhhKDcU2Xc5e1T0"), "a secret"},
           {changed("r-4711", "eyJhbGciOiJIUzI1NiJ9"), "a secret"}}) {
    const RunResult result = check(kGood + log + (log.back() == '\n' ? kGood : ""));
    EXPECT_EQ(result.status, (ExitStatus{1, 0})) << log << result;
    EXPECT_THAT(result.out, HasSubstr(named)) << log;
    EXPECT_THAT(result.out, HasSubstr("stderr.json:")) << log;
  }
}

TEST_F(CheckLogs, DigitsThatOnlyLookLikeAPinPass) {
  EXPECT_TRUE(check(changed("Money movement", "port 47110")).ok());
  EXPECT_TRUE(check(changed("412345Z", "271828Z")).ok());
}

TEST_F(CheckLogs, SecretsAreFoundInOtherOutputToo) {
  for (const char* output : {"a-key-of-the-service\n", R"({"pin":"0000"})", "-----BEGIN PRIVATE KEY-----\n"}) {
    const RunResult result = check(kGood, output);
    EXPECT_EQ(result.status, (ExitStatus{1, 0})) << output << result;
    EXPECT_THAT(result.out, HasSubstr("stdout.txt:1:")) << output;
  }
}

TEST_F(CheckLogs, NothingToReadIsNotAllWell) {
  const TempDirectory empty;
  EXPECT_EQ(check_folder(empty.path()).status, (ExitStatus{kNothingToRead, 0}));
  EXPECT_NE(check_folder(empty.path() + "/nowhere").status, ExitStatus{});
}

TEST(KeptLogs, AreKeptAsTheyAre) {
  const TempDirectory service;
  const TempDirectory run;
  service.write("app.json.log", kGood);
  service.write("app.json.log.1", kGood);
  service.write("other", "x");
  WrittenLog log{.name = "serve", .text = {{"stderr.json", kGood}}, .secrets = {"a-key-of-the-service"}};
  add_log_files(log, service.path());
  add_log_files(log, service.path() + "/nowhere");
  keep(log, run.path());
  keep(log, run.path());
  std::vector<std::string> kept;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run.path())) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().filename();
    kept.push_back(name);
    if (name.ends_with(".pins")) continue;
    EXPECT_EQ(read_file(entry.path()), name.ends_with(".secrets") ? "a-key-of-the-service\n" : kGood) << name;
  }
  EXPECT_EQ(kept.size(), 3u * 2 + 2) << ::testing::PrintToString(kept);
}

// The one kept log of that name.
std::string kept_file(const std::string& run, const std::string& name) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run)) {
    if (entry.path().filename() == name) return read_file(entry.path());
  }
  return "(none)";
}

TEST(KeptLogs, OfALongOneBothEndsAreKept) {
  const TempDirectory run;
  std::string text = "first\n";
  while (text.size() < 3 * kKeptLogMaxBytes) text += kGood;
  text += "last\n";
  keep({.name = "serve", .text = {{"stderr.json", text}}}, run.path());
  const std::string kept = kept_file(run.path(), "stderr.json");
  EXPECT_LE(kept.size(), kKeptLogMaxBytes);
  EXPECT_GT(kept.size(), kKeptLogMaxBytes - 2 * kGood.size());
  EXPECT_TRUE(kept.starts_with("first\n" + kGood));
  EXPECT_TRUE(kept.ends_with(kGood + "last\n"));
  EXPECT_EQ((kept.size() - 11) % kGood.size(), 0u) << "not cut in the middle of a line";
  EXPECT_THAT(kept_file(run.path(), "shortened.txt"), HasSubstr("stderr.json had"));
}

// SIGKILL may come in the middle of write(2); nothing else may leave half a line.
TEST(KeptLogs, OnlyAKilledServiceMayLeaveHalfALine) {
  for (const bool was_killed : {true, false}) {
    const TempDirectory run;
    keep({.name = "serve", .text = {{"stderr.json", kGood + "{\"time"}}, .was_killed = was_killed}, run.path());
    EXPECT_EQ(kept_file(run.path(), "stderr.json"), was_killed ? kGood : kGood + "{\"time");
    EXPECT_EQ(kept_file(run.path(), "torn.txt"), was_killed ? "stderr.json\n" : "(none)");
  }
}

TEST(Secrets, AreFoundInSettingsArgumentsUrlsAndFiles) {
  const TempDirectory files;
  EXPECT_THAT(secrets_of({{"JWT_SECRET_KEY", "the-jwt-key"},
                          {"DATABASE_URL", "host=/tmp password='pass word'"},
                          {"PIN_SECRET_KEY_FILE", files.write("pin", "the-pin-key\n")},
                          {"LOG_LEVEL", "a-long-level"}},
                         {}),
              ElementsAre("the-jwt-key", "the-pin-key", "pass word"));
  EXPECT_THAT(
      secrets_of({{"RATE_LIMIT_STORAGE", "redis://:password-1@h:1/0"}},
                 {"serve", "--database-url", "postgresql://bank:password-2@h/db", "--jwt-secret-key=password-3"}),
      ElementsAre("password-3", "password-2", "password-1"));
  EXPECT_THAT(secrets_of({{"JWT_SECRET_KEY", "short"}}, {"serve", "--config"}), IsEmpty());
}

}  // namespace
}  // namespace txn::test
