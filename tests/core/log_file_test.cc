#include "core/log_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace txn {
namespace {

namespace fs = std::filesystem;

class LogFileTest : public testing::Test {
 protected:
  LogFileTest() {
    std::string pattern = testing::TempDir() + "log-file-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~LogFileTest() override { fs::remove_all(directory_); }

  std::string path(int backup = 0) const {
    return directory_.string() + "/logs/app.json.log" + (backup == 0 ? "" : "." + std::to_string(backup));
  }
  LogFileOptions options(int64_t max_bytes, int backup_count) const {
    return {.directory = directory_.string() + "/logs", .max_bytes = max_bytes, .backup_count = backup_count};
  }
  static std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static std::string line(int number, size_t size) {
    std::string text = std::to_string(number) + " ";
    return text + std::string(size - text.size() - 1, 'x') + "\n";
  }

  fs::path directory_;
};

TEST_F(LogFileTest, RotatesLikePythonWithoutLosingOrTearingALine) {
  constexpr int64_t kMaxBytes = 1000;
  constexpr int kBackups = 50;
  std::string all;
  {
    LogFile file(options(kMaxBytes, kBackups));
    std::string chunk;
    for (int i = 0; i < 300; ++i) {
      chunk += line(i, 20 + static_cast<size_t>(i * 37 % 200));
      if (i % 7 != 0) continue;  // what is written at once is many lines, or one
      all += chunk;
      file.append(chunk, 0);
      chunk.clear();
    }
    EXPECT_GT(file.counters().rotations, 20u);
    EXPECT_EQ(file.counters().bytes, all.size());
    EXPECT_EQ(file.counters().lines_dropped, 0u);
  }
  std::string seen;
  for (int number = kBackups; number >= 0; --number) {
    const std::string text = content(path(number));
    if (text.empty()) continue;
    EXPECT_LE(text.size(), static_cast<size_t>(kMaxBytes));
    EXPECT_EQ(text.back(), '\n');
    // Only a line that would not have fitted went into the next file.
    if (number > 0) {
      const std::string next = content(path(number - 1));
      EXPECT_GT(text.size() + next.find('\n') + 1, static_cast<size_t>(kMaxBytes)) << number;
    }
    seen += text;
  }
  EXPECT_EQ(seen, all);
}

TEST_F(LogFileTest, KeepsAsManyFilesAsItIsToldTo) {
  LogFile file(options(100, 2));
  for (int i = 0; i < 10; ++i) file.append(line(i, 100), 0);
  EXPECT_EQ(content(path()), line(9, 100));
  EXPECT_EQ(content(path(1)), line(8, 100));
  EXPECT_EQ(content(path(2)), line(7, 100));
  EXPECT_FALSE(fs::exists(path(3)));
  EXPECT_EQ(file.counters().rotations, 9u);
}

TEST_F(LogFileTest, WithoutBackupsNothingIsRotated) {
  LogFile file(options(100, 0));
  std::string all;
  for (int i = 0; i < 10; ++i) {
    file.append(line(i, 80), 0);
    all += line(i, 80);
  }
  EXPECT_EQ(content(path()), all);
  EXPECT_FALSE(fs::exists(path(1)));
}

TEST_F(LogFileTest, GoesOnWhereAnEarlierProcessStopped) {
  {
    LogFile(options(100, 2)).append(line(0, 60), 0);
  }
  LogFile file(options(100, 2));
  file.append(line(1, 60), 0);
  EXPECT_EQ(content(path(1)), line(0, 60));
  EXPECT_EQ(content(path()), line(1, 60));
}

TEST_F(LogFileTest, ALineThatAnEarlierProcessDidNotFinishStaysAlone) {
  fs::create_directories(fs::path(path()).parent_path());
  std::ofstream(path()) << "{\"half\":";
  LogFile(options(1000, 2)).append(line(1, 20), 0);
  EXPECT_EQ(content(path()), "{\"half\":\n" + line(1, 20));
}

TEST_F(LogFileTest, ReopensAFileThatWasMovedAway) {
  LogFile file(options(1000, 2));
  file.append(line(0, 20), 0);
  fs::rename(path(), directory_ / "moved");
  file.append(line(1, 20), 0);
  file.reopen();
  file.append(line(2, 20), 0);
  EXPECT_EQ(content(directory_ / "moved"), line(0, 20) + line(1, 20));
  EXPECT_EQ(content(path()), line(2, 20));
}

TEST_F(LogFileTest, OthersMayNotReadIt) {
  LogFile(options(1000, 2)).append(line(0, 20), 0);
  struct stat status{};
  ASSERT_EQ(stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0007u, 0u);
}

TEST_F(LogFileTest, ADirectoryThatCannotBeMadeIsSaidOnceAndTriedAgain) {
  std::ofstream(directory_ / "logs") << "in the way";
  LogFile file(options(1000, 2));
  testing::internal::CaptureStderr();
  file.append(line(0, 20), 0);
  file.append(line(1, 20) + line(2, 20), 1);
  file.append(line(3, 20), LogFile::kRetryNs);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_THAT(said, testing::HasSubstr("The log file cannot be written"));
  EXPECT_EQ(file.counters().lines_dropped, 4u);
  EXPECT_EQ(file.counters().errors, 2u);  // the second came too early to try

  fs::remove(directory_ / "logs");
  file.append(line(4, 20), LogFile::kRetryNs + 1);
  EXPECT_EQ(file.counters().lines_dropped, 5u);
  testing::internal::CaptureStderr();
  file.append(line(5, 20), 2 * LogFile::kRetryNs);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("written again"));
  EXPECT_EQ(content(path()), line(5, 20));
}

TEST_F(LogFileTest, TwoDoNotShareADirectory) {
  auto first = std::make_unique<LogFile>(options(1000, 2));
  first->append(line(0, 20), 0);
  LogFile second(options(1000, 2));
  testing::internal::CaptureStderr();
  second.append(line(1, 20), 0);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("is another process's LOG_DIR"));
  EXPECT_EQ(second.counters().lines_dropped, 1u);
  EXPECT_EQ(content(path()), line(0, 20));
  // A process that takes the place of another writes on when that has gone.
  first.reset();
  second.append(line(2, 20), LogFile::kRetryNs);
  EXPECT_EQ(content(path()), line(0, 20) + line(2, 20));
}

TEST_F(LogFileTest, AFullDiskCostsLinesButNothingElse) {
  fs::create_directories(fs::path(path()).parent_path());
  fs::create_symlink("/dev/full", path());
  LogFile file(options(1000, 2));
  testing::internal::CaptureStderr();
  file.append(line(0, 20) + line(1, 20), 0);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("No space left on device"));
  EXPECT_EQ(file.counters().lines_dropped, 2u);
  fs::remove(path());
  testing::internal::CaptureStderr();
  file.append(line(2, 20), LogFile::kRetryNs);
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(content(path()), line(2, 20));
}

// A file size limit fills up in the middle of a line, as a disk does.
TEST_F(LogFileTest, NoHalfLineIsLeftWhenTheDiskFillsUpInTheMiddleOfOne) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  LogFile file(options(10'000, 2));
  testing::internal::CaptureStderr();
  rlimit small = before;
  small.rlim_cur = 1000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  file.append(line(0, 300) + line(1, 300) + line(2, 300) + line(3, 300) + line(4, 300), 0);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(content(path()), line(0, 300) + line(1, 300) + line(2, 300));
  EXPECT_EQ(file.counters().bytes, 900u);
  EXPECT_EQ(file.counters().lines_dropped, 2u);
  testing::internal::CaptureStderr();
  file.append(line(5, 300), LogFile::kRetryNs);
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(content(path()), line(0, 300) + line(1, 300) + line(2, 300) + line(5, 300));
  signal(SIGXFSZ, old_handler);
}

TEST_F(LogFileTest, WhatCannotBeRotatedIsWrittenOn) {
  fs::create_directories(path(1) + "/not-empty");
  LogFile file(options(100, 1));
  testing::internal::CaptureStderr();
  for (int i = 0; i < 5; ++i) file.append(line(i, 60), i);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_EQ(content(path()), line(0, 60) + line(1, 60) + line(2, 60) + line(3, 60) + line(4, 60));
  EXPECT_EQ(file.counters().lines_dropped, 0u);

  fs::remove_all(path(1));
  testing::internal::CaptureStderr();
  file.append(line(5, 60), 2 * LogFile::kRetryNs);
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(content(path()), line(5, 60));
  EXPECT_EQ(file.counters().rotations, 1u);
}

}  // namespace
}  // namespace txn
