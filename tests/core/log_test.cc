#include "core/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "core/check.h"

namespace txn {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) {
      ADD_FAILURE() << "the last line has no end: " << text.substr(begin);
      break;
    }
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool is_json(const std::string& line) {
  simdjson::dom::parser parser;
  return parser.parse(simdjson::padded_string(line)).error() == simdjson::SUCCESS;
}

std::string string_in(const std::string& line, const char* name) {
  simdjson::dom::parser parser;
  std::string_view text;
  if (parser.parse(simdjson::padded_string(line))[name].get(text) != simdjson::SUCCESS) return "(none)";
  return std::string(text);
}

int64_t integer_in(const std::string& line, const char* name) {
  simdjson::dom::parser parser;
  int64_t value = -1;
  if (parser.parse(simdjson::padded_string(line))[name].get(value) != simdjson::SUCCESS) return -1;
  return value;
}

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = testing::TempDir() + "log-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string file() const { return path_ + "/app.json.log"; }

 private:
  std::string path_;
};

// Standard error is something else while this lives.
class StderrAs {
 public:
  explicit StderrAs(int descriptor) : saved_(dup(STDERR_FILENO)) { dup2(descriptor, STDERR_FILENO); }
  ~StderrAs() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  StderrAs(const StderrAs&) = delete;
  StderrAs& operator=(const StderrAs&) = delete;

 private:
  int saved_;
};

TEST(Log, ALineIsOneJsonObjectWithTheStandardFields) {
  testing::internal::CaptureStderr();
  LOG(kWarning, "test.logger", "Something \"odd\"\n")
      .field("request_id", "a\tb")
      .field("account_number", 1001)
      .field("amount", Money::from_minor(7550))
      .field("ok", true)
      .duration_field("duration_ms", 1'234'567);
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_EQ(line.find(R"({"timestamp":"20)"), 0u) << line;
  for (const char* part : {R"("service":"transactions-service")", R"("level":"WARNING")", R"("logger":"test.logger")",
                           R"("message":"Something \"odd\"\n")", R"("module":"log_test")", R"("function":"TestBody")",
                           R"("line":)", R"("request_id":"a\tb")", R"("account_number":1001)", R"("amount":75.50)",
                           R"("ok":true)", R"("duration_ms":1.234})"})
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

TEST(Log, WhateverAValueHoldsTheLineIsBoundedJson) {
  std::vector<std::string> hostile;
  for (int byte = 0; byte < 256; ++byte) {
    hostile.emplace_back(1, static_cast<char>(byte));
    hostile.emplace_back(3000, static_cast<char>(byte));
    hostile.push_back("before\xC3" + std::string(1, static_cast<char>(byte)) + "\xF0\x9F\x92");
  }
  hostile.emplace_back("\",\"level\":\"CRITICAL\",\"x\":\"");
  hostile.emplace_back("line one\nline two\r\n{}");
  hostile.push_back(std::string(kLogValueMaxBytes - 1, 'a') + "\xE2\x82\xAC");  // cut in the middle of a character
  hostile.emplace_back(10 << 20, 'z');
  testing::internal::CaptureStderr();
  for (const std::string& value : hostile) {
    LOG(kInfo, "test.logger", value).field("exception", value).field("request_id", value).field("other", value);
    LOG(kInfo, "test.logger", "message").field("exception", value);
  }
  const auto lines = lines_of(testing::internal::GetCapturedStderr());
  ASSERT_EQ(lines.size(), 2 * hostile.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_LT(lines[i].size(), kLogLineMaxBytes);
    ASSERT_TRUE(is_json(lines[i])) << lines[i];
    EXPECT_EQ(string_in(lines[i], "level"), "INFO");
    const bool is_long = hostile[i / 2].size() > kLogValueMaxBytes;
    EXPECT_EQ(lines[i].ends_with(R"(,"truncated":true})"), is_long) << lines[i].substr(0, 300);
  }
  EXPECT_EQ(string_in(lines[lines.size() - 3], "exception"), std::string(kLogValueMaxBytes - 1, 'a'));
}

TEST(Log, FieldsThatDoNotFitAreLeftOut) {
  testing::internal::CaptureStderr();
  {
    LogLine line(LogLevel::kInfo, "test.logger", "many");
    for (int i = 0; i < 10'000; ++i) line.field("number", i).field("flag", true).field("text", "some text");
    line.duration_field("duration_ms", 1);
  }
  const auto lines = lines_of(testing::internal::GetCapturedStderr());
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_LT(lines[0].size(), kLogLineMaxBytes);
  EXPECT_GT(lines[0].size(), kLogLineMaxBytes - 100);
  EXPECT_TRUE(is_json(lines[0]));
  EXPECT_TRUE(lines[0].ends_with(R"(,"truncated":true})"));
}

TEST(Log, AValueMayItselfLog) {
  testing::internal::CaptureStderr();
  const auto value = [] {
    LOG(kInfo, "inner", "inner message");
    return 7;
  };
  LOG(kInfo, "outer", "outer message").field("before", 6).field("value", value());
  const auto lines = lines_of(testing::internal::GetCapturedStderr());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(string_in(lines[0], "message"), "inner message");
  EXPECT_EQ(string_in(lines[1], "message"), "outer message");
  EXPECT_EQ(integer_in(lines[1], "before"), 6);
  EXPECT_EQ(integer_in(lines[1], "value"), 7);
}

TEST(Log, StandardErrorAndTheFileGetTheSameLines) {
  const TempDirectory directory;
  testing::internal::CaptureStderr();
  {
    const LogWriter writer({.directory = directory.path()});
    LOG(kInfo, "test.logger", "first");
    EXPECT_TRUE(log_flush(10 * kNanosPerSecond));
    EXPECT_THAT(content(directory.file()), testing::HasSubstr("first"));
    LOG(kInfo, "test.logger", "second");
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(lines_of(text).size(), 2u);
  EXPECT_EQ(content(directory.file()), text);
}

// Every line arrives whole, once, and in the order of its thread; threads with and without a channel come and go.
TEST(Log, ManyThreadsLoseTearAndReorderNothing) {
  const TempDirectory directory;
  constexpr int kRounds = 3;
  constexpr int kThreads = 4;
  constexpr int kEach = 400;
  const LogCounters before = log_counters();
  testing::internal::CaptureStderr();
  {
    const LogWriter writer({.directory = directory.path(), .max_bytes = 100'000, .backup_count = 100});
    for (int round = 0; round < kRounds; ++round) {
      std::vector<std::thread> threads;
      for (int i = 0; i < kThreads; ++i)
        threads.emplace_back([name = round * kThreads + i] {
          std::unique_ptr<LogChannel> channel;
          if (name % 2 == 0) channel = std::make_unique<LogChannel>();
          for (int j = 0; j < kEach; ++j)
            LOG(kInfo, "test.logger", std::string(100, 'x')).field("thread", name).field("number", j);
        });
      for (auto& thread : threads) thread.join();
    }
  }
  const std::string on_stderr = testing::internal::GetCapturedStderr();
  std::string in_files;
  for (int number = 100; number > 0; --number) in_files += content(directory.file() + "." + std::to_string(number));
  in_files += content(directory.file());
  EXPECT_EQ(in_files, on_stderr);

  std::map<int64_t, int64_t> next;
  for (const std::string& line : lines_of(on_stderr)) {
    ASSERT_TRUE(is_json(line)) << line;
    EXPECT_EQ(integer_in(line, "number"), next[integer_in(line, "thread")]++);
  }
  EXPECT_EQ(next.size(), size_t{kRounds} * kThreads);
  for (const auto& [thread, count] : next) EXPECT_EQ(count, kEach) << thread;
  const LogCounters after = log_counters();
  EXPECT_EQ(after.lines - before.lines, uint64_t{kRounds} * kThreads * kEach);
  EXPECT_EQ(after.lines_dropped, before.lines_dropped);
  EXPECT_EQ(after.file.bytes - before.file.bytes, in_files.size());
  EXPECT_EQ(after.stderr_bytes - before.stderr_bytes, on_stderr.size());
  EXPECT_GT(after.file.rotations, before.file.rotations);
}

// Standard error is a pipe that nobody reads: nobody waits, the file has all lines, the pipe's reader finds whole ones,
// and what it has missed is counted.
TEST(Log, APipeThatNobodyReadsHoldsNobodyUp) {
  const TempDirectory directory;
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const auto old_handler = signal(SIGPIPE, SIG_IGN);
  const LogCounters before = log_counters();
  constexpr int kLines = 5000;
  std::string in_pipe;
  {
    const StderrAs stderr_as(ends[1]);
    close(ends[1]);
    {
      const LogWriter writer({.directory = directory.path(), .max_bytes = 100 << 20});
      std::thread logger([&before] {
        const LogChannel channel;
        for (int i = 0; i < kLines; ++i) {
          LOG(kInfo, "test.logger", std::string(500, 'x')).field("number", i);
          // At a pace that the ring, which this test is not about, takes in: a line has some 700 bytes.
          while (log_counters().file.bytes - before.file.bytes + kLogRingBytes / 2 < static_cast<uint64_t>(i) * 700)
            std::this_thread::yield();
        }
      });
      logger.join();
      EXPECT_FALSE(log_flush(20 * kNanosPerMilli));  // never gets there
      in_pipe.resize(1 << 20);
      fcntl(ends[0], F_SETFL, O_NONBLOCK);
      const ssize_t size = read(ends[0], in_pipe.data(), in_pipe.size());
      in_pipe.resize(static_cast<size_t>(std::max<ssize_t>(0, size)));
      close(ends[0]);  // a reader that has gone, at last
    }
  }
  signal(SIGPIPE, old_handler);
  const LogCounters after = log_counters();
  EXPECT_EQ(after.lines_dropped, before.lines_dropped);
  EXPECT_GT(after.stderr_lines_dropped, before.stderr_lines_dropped);
  EXPECT_GT(in_pipe.size(), 10'000u);
  for (const std::string& line : lines_of(in_pipe)) EXPECT_TRUE(is_json(line)) << line;
  int64_t next = 0;
  for (const std::string& line : lines_of(content(directory.file()))) {
    if (string_in(line, "logger") != "test.logger") continue;
    EXPECT_EQ(integer_in(line, "number"), next++);
  }
  EXPECT_EQ(next, kLines);
}

// A writer that hangs on its file (a FIFO that nobody reads): the rings fill up, and then lines are dropped, whole and
// counted, while whoever logs goes on.
TEST(Log, FullRingsDropWholeLinesAndCountThem) {
  const TempDirectory directory;
  ASSERT_EQ(mkfifo(directory.file().c_str(), 0600), 0);
  const int reader = open(directory.file().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  const LogCounters before = log_counters();
  constexpr int kLines = 4000;  // of more than a kilobyte: four rings full
  testing::internal::CaptureStderr();
  std::string in_fifo;
  {
    const LogWriter writer({.directory = directory.path(), .max_bytes = 100 << 20, .backup_count = 0});
    for (const bool with_channel : {true, false}) {
      std::thread logger([with_channel] {
        std::unique_ptr<LogChannel> channel;
        if (with_channel) channel = std::make_unique<LogChannel>();
        for (int i = 0; i < kLines; ++i) LOG(kInfo, "test.logger", std::string(1000, 'x')).field("number", i);
      });
      logger.join();
    }
    EXPECT_GT(log_counters().lines_dropped, before.lines_dropped + kLines);
    // Somebody reads again, and all that was taken comes out.
    std::atomic<bool> done{false};
    std::thread drain([&] {
      std::string piece(1 << 16, '\0');
      while (true) {
        const bool last = done.load();
        const ssize_t size = read(reader, piece.data(), piece.size());
        if (size > 0) in_fifo.append(piece, 0, static_cast<size_t>(size));
        if (size <= 0 && last) return;
        if (size <= 0) std::this_thread::yield();
      }
    });
    EXPECT_TRUE(log_flush(30 * kNanosPerSecond));
    done.store(true);
    drain.join();
  }
  close(reader);
  testing::internal::GetCapturedStderr();
  const LogCounters after = log_counters();
  uint64_t whole = 0;
  for (const std::string& line : lines_of(in_fifo)) {
    ASSERT_TRUE(is_json(line)) << line;
    whole += string_in(line, "logger") == "test.logger" ? 1 : 0;
  }
  EXPECT_EQ(whole + (after.lines_dropped - before.lines_dropped), uint64_t{2} * kLines);
  EXPECT_GE(after.lines - before.lines, whole);
  EXPECT_LE(after.lines - before.lines, whole + 2);  // the writer's own, about the dropped ones
}

TEST(LogDeathTest, ABrokenInvariantIsTheLastLineOfTheLog) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TempDirectory directory;
  EXPECT_DEATH(
      {
        const LogWriter writer;
        const LogChannel channel;
        LOG(kInfo, "test.logger", "before the end");
        CHECK(1 + 1 == 3, "sums are right");
      },
      "before the end(.|\n)*\"level\":\"CRITICAL\"(.|\n)*log_test.cc:[0-9]+: sums are right .1 . 1 == 3.");
}

TEST(LogDeathTest, WithoutAWriterABrokenInvariantIsPlainText) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(CHECK(1 + 1 == 3, "sums are right"), "^[^{]*log_test.cc:[0-9]+: invariant broken: sums are right");
}

}  // namespace
}  // namespace txn
