// app.json.log: appended to, rotated by size, reopened when asked to. Blocking file I/O; belongs to the log's writer.
//
// Rotation is that of Python's RotatingFileHandler: a line that would make the file larger than `max_bytes` goes into a
// new one, and app.json.log becomes app.json.log.1, .1 becomes .2, up to `backup_count`. With a count of 0 the file is
// never rotated here (nor is it by Python): logrotate does it, and sends SIGHUP.
//
// Nothing here stops the service: what cannot be written is counted, said once, and tried again a second later. A file
// never holds half a line, also when the disk fills in the middle of one.
//
// One process a directory: two would rotate each other's lines away. The second one is told so, and writes when the
// first has gone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"

namespace txn {

struct LogFileOptions {
  std::string directory;  // made when it is not there; empty: no file
  int64_t max_bytes = 10 << 20;
  int backup_count = 10;
};

struct LogFileCounters {
  uint64_t bytes = 0;
  uint64_t rotations = 0;
  uint64_t errors = 0;         // failed system calls, the retries among them
  uint64_t lines_dropped = 0;  // could not be written; standard error has them
};

class LogFile {
 public:
  static constexpr int64_t kRetryNs = kNanosPerSecond;

  explicit LogFile(LogFileOptions options);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  // Appends whole lines, each ending in '\n' and none longer than max_bytes, rotating in between where they would not
  // fit. `now_ns` is a monotonic clock, for when to try again. Empty `lines` only try what is due.
  void append(std::string_view lines, int64_t now_ns);

  // Opens the file anew, whatever has been done to the old one.
  void reopen();

  const LogFileCounters& counters() const { return counters_; }

 private:
  Result<void> open();
  Result<void> take_directory();
  void close();
  Result<void> write_lines(std::string_view lines);
  void rotate(int64_t now_ns);
  void failed(const Error& error, int64_t now_ns);
  void complain(const Error& error);
  void drop(std::string_view lines);
  std::string backup_path(int number) const;

  const LogFileOptions options_;
  const std::string path_;
  int descriptor_ = -1;
  int directory_ = -1;  // locked for as long as it is open
  int64_t size_ = 0;
  int64_t retry_at_ns_ = INT64_MIN;   // not open: when to try next
  int64_t rotate_at_ns_ = INT64_MIN;  // rotation has failed: when to try next
  bool complained_ = false;           // since it last worked
  LogFileCounters counters_;
};

}  // namespace txn
