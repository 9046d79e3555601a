// Structured logging: one JSON object a line on standard error.
//
//   LOG(kWarning, "db.lane", "Connection lost").field("lane", 1).field("exception", text);
//
// Every line has timestamp, service, level, logger, message, module, function and line, then the fields in the order
// given. Names of fields that tools look for: request_id, trace_id, transaction_id, account_number, duration_ms,
// exception. Never log a PIN, a token or a password: there is nothing here that would recognise one.
//
// Any thread may log. A line is handed to one writer thread over a bounded queue: the caller never waits for the disk
// or a terminal, and when the queue is full the line is dropped and counted.
#pragma once

#include <concepts>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>

namespace txn {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError, kCritical };

// Lines below `level` are not made. Any thread, any time.
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);

// Lines that did not fit the queue since the start.
uint64_t log_lines_dropped();

// While one of these lives its thread writes the lines; before and after, they are written by whoever logs. One at a
// time, made and destroyed by the main thread; the destructor writes what is queued.
class LogWriter {
 public:
  LogWriter();
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;
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
  // Milliseconds with three decimals, from nanoseconds.
  LogLine& duration_field(std::string_view name, int64_t duration_ns);

 private:
  LogLine& int_field(std::string_view name, int64_t value);
  std::string text_;
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
