#include "core/log.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace txn {
namespace {

TEST(Log, ALineIsOneJsonObjectWithTheStandardFields) {
  testing::internal::CaptureStderr();
  LOG(kWarning, "test.logger", "Something \"odd\"\n")
      .field("request_id", "a\tb")
      .field("account_number", 1001)
      .field("ok", true)
      .duration_field("duration_ms", 1'234'567);
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_EQ(line.find(R"({"timestamp":"20)"), 0u) << line;
  for (const char* part :
       {R"("service":"transactions-service")", R"("level":"WARNING")", R"("logger":"test.logger")",
        R"("message":"Something \"odd\"\n")", R"("module":"log_test")", R"("function":"TestBody")", R"("line":)",
        R"("request_id":"a\tb")", R"("account_number":1001)", R"("ok":true)", R"("duration_ms":1.234)"})
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
  EXPECT_EQ(line.back(), '\n');
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(Log, LinesBelowTheLevelAreNotMade) {
  set_log_level(LogLevel::kError);
  testing::internal::CaptureStderr();
  bool evaluated = false;
  const auto text = [&] {
    evaluated = true;
    return "never";
  };
  LOG(kInfo, "test.logger", text());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_FALSE(evaluated);
  set_log_level(LogLevel::kInfo);
}

TEST(Log, ThreadsDoNotTearEachOthersLines) {
  testing::internal::CaptureStderr();
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  {
    const LogWriter writer;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([] {
        for (int j = 0; j < kEach; ++j) LOG(kInfo, "test.logger", std::string(100, 'x'));
      });
    for (auto& thread : threads) thread.join();
  }
  const std::string text = testing::internal::GetCapturedStderr();
  size_t lines = 0;
  for (size_t start = 0; start < text.size(); ++lines) {
    const size_t end = text.find('\n', start);
    ASSERT_NE(end, std::string::npos);
    EXPECT_EQ(text[start], '{');
    EXPECT_EQ(text[end - 1], '}');
    EXPECT_NE(text.substr(start, end - start).find(std::string(100, 'x')), std::string::npos);
    start = end + 1;
  }
  EXPECT_EQ(lines + log_lines_dropped(), size_t{kThreads} * kEach);
}

}  // namespace
}  // namespace txn
