#include "core/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <thread>

#include "core/check.h"
#include "core/json_writer.h"

namespace txn {
namespace {

// Lines that may wait for the writer; beyond it they are dropped.
constexpr size_t kQueueMax = 8192;
constexpr std::array<std::string_view, 5> kLevelNames{"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return;  // nobody reads us; there is no other place to complain
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
}

// Process-wide by nature: every part logs, and there is one standard error.
class Sink {
 public:
  static Sink& instance() {
    static Sink sink;
    return sink;
  }

  void submit(std::string line) {
    {
      const std::lock_guard lock(mutex_);
      if (running_) {
        if (queue_.size() >= kQueueMax) {
          dropped_.fetch_add(1, std::memory_order_relaxed);
        } else {
          queue_.push_back(std::move(line));
          wake_.notify_one();
        }
        return;
      }
    }
    write_all(line);
  }

  void start() {
    const std::lock_guard lock(mutex_);
    CHECK(!running_, "one log writer at a time");
    running_ = true;
    thread_ = std::thread([this] { run(); });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      running_ = false;
    }
    wake_.notify_one();
    thread_.join();
  }

  std::atomic<LogLevel> level{LogLevel::kInfo};
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return !running_ || !queue_.empty(); });
      if (queue_.empty()) return;
      std::deque<std::string> lines;
      lines.swap(queue_);
      lock.unlock();
      for (const std::string& line : lines) write_all(line);
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> queue_;  // guarded by mutex_
  bool running_ = false;           // guarded by mutex_
  std::thread thread_;
  std::atomic<uint64_t> dropped_{0};
};

int64_t wall_clock_us() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
}

// "core/log.cc" to "log".
std::string_view module_of(std::string_view file) {
  file.remove_prefix(file.rfind('/') + 1);
  return file.substr(0, file.find('.'));
}

// "txn::Task<bool> txn::Lane::ensure_connected()" to "ensure_connected". For a coroutine GCC names its resumption, as
// in "void txn::run(txn::Lane::run()::_ZN...Frame*)": the innermost name before the last "(" is not it, the first one
// is.
std::string_view function_of(std::string_view signature) {
  signature = signature.substr(0, signature.find('('));
  const size_t before = signature.find_last_of(": *&");
  return before == std::string_view::npos ? signature : signature.substr(before + 1);
}

}  // namespace

void set_log_level(LogLevel level) { Sink::instance().level.store(level, std::memory_order_relaxed); }
bool log_enabled(LogLevel level) { return level >= Sink::instance().level.load(std::memory_order_relaxed); }
uint64_t log_lines_dropped() { return Sink::instance().dropped(); }

LogWriter::LogWriter() { Sink::instance().start(); }
LogWriter::~LogWriter() { Sink::instance().stop(); }

LogLine::LogLine(LogLevel level, std::string_view logger, std::string_view message, std::source_location where) {
  text_ += R"({"timestamp":)";
  append_json_timestamp(text_, wall_clock_us());
  text_ += R"(,"service":"transactions-service","level":")";
  text_ += kLevelNames[static_cast<size_t>(level)];
  text_ += R"(","logger":)";
  append_json_string(text_, logger);
  text_ += R"(,"message":)";
  append_json_string(text_, message);
  text_ += R"(,"module":)";
  append_json_string(text_, module_of(where.file_name()));
  text_ += R"(,"function":)";
  append_json_string(text_, function_of(where.function_name()));
  int_field("line", where.line());
}

LogLine::~LogLine() {
  text_ += "}\n";
  Sink::instance().submit(std::move(text_));
}

LogLine& LogLine::field(std::string_view name, std::string_view value) {
  text_ += ",\"";
  text_ += name;
  text_ += "\":";
  append_json_string(text_, value);
  return *this;
}

LogLine& LogLine::field(std::string_view name, bool value) {
  text_ += ",\"";
  text_ += name;
  text_ += value ? "\":true" : "\":false";
  return *this;
}

LogLine& LogLine::int_field(std::string_view name, int64_t value) {
  text_ += ",\"";
  text_ += name;
  text_ += "\":";
  append_json_int(text_, value);
  return *this;
}

LogLine& LogLine::duration_field(std::string_view name, int64_t duration_ns) {
  const int64_t micros = duration_ns / 1000;
  int_field(name, micros / 1000);
  text_ += '.';
  const int64_t fraction = micros % 1000;
  text_ += static_cast<char>('0' + fraction / 100);
  text_ += static_cast<char>('0' + fraction / 10 % 10);
  text_ += static_cast<char>('0' + fraction % 10);
  return *this;
}

}  // namespace txn
