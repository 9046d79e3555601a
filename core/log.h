// Structured logging: one JSON object a line, on standard error and in app.json.log.
//
//   LOG(kWarning, "db.lane", "Connection lost").field("lane", 1).field("exception", text);
//
// Every line has timestamp, service, level, logger, message, module, function and line, then the fields in the order
// given. Names of fields that tools look for: request_id, trace_id, transaction_id, account_number, duration_ms,
// exception. Never log a PIN, a token or a password: there is nothing here that would recognise one.
//
// Any thread may log, and none ever waits for a disk, a terminal or another thread's line: a line is made in memory of
// the thread's own and goes into a ring, of its own when the thread has a LogChannel, else a shared one. One thread,
// the LogWriter's, empties the rings every few milliseconds. A ring that is full drops whole lines and counts them.
//
// A line is bounded: a value is cut after kLogValueMaxBytes, what would make the line longer than kLogLineMaxBytes is
// left out, and either way the line says "truncated":true. Whatever the values hold, it is valid JSON in valid UTF-8.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/log_file.h"
#include "core/money.h"

namespace txn {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError, kCritical };

inline constexpr size_t kLogLineMaxBytes = 16 * 1024;  // with its '\n'
inline constexpr size_t kLogValueMaxBytes = 2 * 1024;  // before escaping, which makes at most six of one

// Of a ring: some two thousand lines. A worker at full speed fills it in about 100 ms, the writer comes every 5 ms.
inline constexpr size_t kLogRingBytes = 1 << 20;
// Lines kept for a standard error that is not read, beyond which it misses some.
inline constexpr size_t kStderrPendingMaxBytes = 1 << 20;

// Lines below `level` are not made. Any thread, any time.
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);

// Since the start of the process.
struct LogCounters {
  uint64_t lines = 0;                 // handed to the writer
  uint64_t lines_dropped = 0;         // a ring was full: nobody has them
  uint64_t stderr_lines_dropped = 0;  // standard error was not read in time
  uint64_t stderr_bytes = 0;
  LogFileCounters file;
};

// Any thread.
LogCounters log_counters();

// Waits until all that was logged before has been written, at most `timeout_ns`; false when it was not. Any thread but
// a worker's.
bool log_flush(int64_t timeout_ns);

// Has the file opened anew: somebody has moved it away. Any thread.
void log_reopen_file();

// While one of these lives its thread writes the lines; before and after, they are written to standard error by whoever
// logs. One at a time, made and destroyed by the main thread when no channel is there.
class LogWriter {
 public:
  // How long the destructor waits for a standard error that is not read, or a file that hangs, before it goes on.
  static constexpr int64_t kStopTimeoutNs = 2 * kNanosPerSecond;

  explicit LogWriter(LogFileOptions file = {});
  // Writes what is queued.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;
};

// Gives the thread that makes it a ring of its own, until it is destroyed on that thread. For workers.
class LogChannel {
 public:
  LogChannel();
  ~LogChannel();
  LogChannel(const LogChannel&) = delete;
  LogChannel& operator=(const LogChannel&) = delete;
};

// A line being made; it is handed over when the object goes away, at the end of the statement.
class LogLine {
 public:
  LogLine(LogLevel level, std::string_view logger, std::string_view message,
          std::source_location where = std::source_location::current());
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;

  // `name` is a literal that needs no escaping.
  LogLine& field(std::string_view name, std::string_view value);
  LogLine& field(std::string_view name, const char* value) { return field(name, std::string_view(value)); }
  LogLine& field(std::string_view name, const std::string& value) { return field(name, std::string_view(value)); }
  LogLine& field(std::string_view name, bool value);
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  LogLine& field(std::string_view name, T value) {
    return int_field(name, static_cast<int64_t>(value));
  }
  // A number with two decimals.
  LogLine& field(std::string_view name, Money amount);
  // Milliseconds with three decimals, from nanoseconds.
  LogLine& duration_field(std::string_view name, int64_t duration_ns);

 private:
  LogLine& int_field(std::string_view name, int64_t value);
  void begin_field(std::string_view name);
  void append_text(std::string_view value);
  void keep_or_undo(size_t size_before);

  std::string& text_;  // the thread's, or own_ while that is in use
  std::string own_;
  bool truncated_ = false;
};

}  // namespace txn

namespace txn::internal {
// Turns a LogLine into nothing, so that LOG is one expression and stands anywhere a statement may.
struct LogDiscard {
  void operator&(const LogLine&) const {}
};
}  // namespace txn::internal

#define LOG(level, logger, message)           \
  !::txn::log_enabled(::txn::LogLevel::level) \
      ? (void)0                               \
      : ::txn::internal::LogDiscard() & ::txn::LogLine(::txn::LogLevel::level, logger, message)
