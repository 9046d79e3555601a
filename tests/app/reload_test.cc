#include "app/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace txn {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kKey = "a key of at least thirty-two bytes";

ReadSettings reading(const SettingValues& file) {
  return [file] { return load_settings({.flags = {}, .environment = {}, .file = file}); };
}

std::string log_of(Reload& reload) {
  testing::internal::CaptureStderr();
  reload.run();
  return testing::internal::GetCapturedStderr();
}

TEST(Reload, EveryPartIsGivenTheNewSettings) {
  Reload reload(reading({{"JWT_SECRET_KEY", kKey}, {"LOG_LEVEL", "ERROR"}}));
  std::vector<LogThreshold> seen;
  for (const char* part : {"one", "two"})
    reload.add(part, [&](const Settings& settings) -> Result<void> {
      seen.push_back(settings.log_level);
      return {};
    });
  EXPECT_THAT(log_of(reload), HasSubstr(R"("parts":"one, two")"));
  EXPECT_EQ(seen, (std::vector{LogThreshold::kError, LogThreshold::kError}));
}

TEST(Reload, APartThatRefusesDoesNotHoldUpTheOthers) {
  Reload reload(reading({{"JWT_SECRET_KEY", kKey}}));
  bool asked = false;
  reload.add("certificates", [](const Settings&) -> Result<void> { return fail(ErrorKind::kSystem, "no such file"); });
  reload.add("log level", [&](const Settings&) -> Result<void> {
    asked = true;
    return {};
  });
  EXPECT_THAT(log_of(reload), testing::AllOf(HasSubstr(R"("part":"certificates")"), HasSubstr("no such file"),
                                             HasSubstr(R"("parts":"log level")")));
  EXPECT_TRUE(asked);
}

TEST(Reload, SettingsThatAreNotValidChangeNothing) {
  // The second is well-formed, but nothing that `serve` would have started with.
  for (const SettingValues& file : {SettingValues{{"JWT_SECRET_KEY", kKey}, {"WORKERS", "many"}},
                                    SettingValues{{"JWT_SECRET_KEY", "short-and-secret"}}}) {
    Reload reload(reading(file));
    bool asked = false;
    reload.add("log level", [&](const Settings&) -> Result<void> {
      asked = true;
      return {};
    });
    EXPECT_THAT(log_of(reload), testing::AllOf(HasSubstr("nothing has changed"), Not(HasSubstr("short-and-secret"))));
    EXPECT_FALSE(asked);
  }
}

}  // namespace
}  // namespace txn
