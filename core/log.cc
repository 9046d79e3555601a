#include "core/log.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <ctime>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/json_writer.h"
#include "core/line_ring.h"

namespace txn {
namespace {

constexpr std::array<std::string_view, 5> kLevelNames{"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
// Room that every line keeps for its end: ,"truncated":true}\n
constexpr size_t kLineEndBytes = 20;
// What the writer gathers before it writes, unless there is no more.
constexpr size_t kChunkBytes = 1 << 20;
// Between two looks at the rings while lines come: how late a line may be, and how many share a write.
constexpr int kNapMs = 5;
// Looks without a line, after which the writer sleeps until the next one wakes it.
constexpr int kIdleLooks = 20;
// How often lost lines are spoken of.
constexpr int64_t kComplainEveryNs = kNanosPerSecond;
constexpr int64_t kPauseNs = kNanosPerMilli;
constexpr int64_t kFatalFlushNs = kNanosPerSecond;

int64_t now_of(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * kNanosPerSecond + now.tv_nsec;
}

void pause_briefly() {
  const timespec pause{0, kPauseNs};
  nanosleep(&pause, nullptr);
}

size_t count_lines(std::string_view lines) { return static_cast<size_t>(std::count(lines.begin(), lines.end(), '\n')); }

// For when there is no writer.
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

// Standard error, which may be a pipe that nobody reads: never waited for. It is shared with other processes, so
// O_NONBLOCK is not ours to set; instead a pipe that poll(2) calls writable takes PIPE_BUF bytes without blocking
// (pipe(7)), and as one piece. Belongs to the writer.
class StandardError {
 public:
  StandardError() {
    struct stat status{};
    if (fstat(STDERR_FILENO, &status) != 0) return;
    is_socket_ = S_ISSOCK(status.st_mode);
    may_block_ = is_socket_ || S_ISFIFO(status.st_mode) || isatty(STDERR_FILENO) == 1;
  }

  // Takes over whole lines, or counts them as dropped.
  void offer(std::string_view lines) {
    if (pending_.size() - written_ + lines.size() > kStderrPendingMaxBytes && !pending_.empty()) {
      dropped_ += count_lines(lines);
      return;
    }
    if (written_ > kStderrPendingMaxBytes / 2) {  // a reader that is always a little behind
      pending_.erase(0, written_);
      written_ = 0;
    }
    pending_.append(lines);
  }

  // Writes what can be written without waiting.
  void write_some() {
    while (written_ < pending_.size()) {
      if (may_block_ && !is_writable()) return;
      const std::string_view piece = next_piece();
      const ssize_t written = is_socket_
                                  ? ::send(STDERR_FILENO, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : ::write(STDERR_FILENO, piece.data(), piece.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (written <= 0) {
        // Closed, or a file on a full disk: what waits will not get any fresher.
        give_up();
        return;
      }
      written_ += static_cast<size_t>(written);
      bytes_ += static_cast<uint64_t>(written);
    }
    pending_.clear();
    written_ = 0;
  }

  void give_up() {
    dropped_ += count_lines(std::string_view(pending_).substr(written_));
    pending_.clear();
    written_ = 0;
  }

  bool is_waiting() const { return written_ < pending_.size(); }
  uint64_t bytes() const { return bytes_; }
  uint64_t lines_dropped() const { return dropped_; }

 private:
  static bool is_writable() {
    pollfd poll_for{STDERR_FILENO, POLLOUT, 0};
    return ::poll(&poll_for, 1, 0) == 1;
  }

  // As many whole lines as one write takes; the rest of a longer one in pieces.
  std::string_view next_piece() const {
    std::string_view piece = std::string_view(pending_).substr(written_);
    if (!may_block_ || is_socket_ || piece.size() <= PIPE_BUF) return piece;
    const size_t last = piece.substr(0, PIPE_BUF).rfind('\n');
    return piece.substr(0, last == std::string_view::npos ? PIPE_BUF : last + 1);
  }

  bool is_socket_ = false;
  bool may_block_ = false;
  std::string pending_;
  size_t written_ = 0;  // of it
  uint64_t bytes_ = 0;
  uint64_t dropped_ = 0;
};

struct ChannelRing {
  LineRing ring{kLogRingBytes};
  std::atomic<bool> closed{false};  // its thread will not push any more
  bool drained = false;             // and everything has been taken out; the writer's
};

// The rings and what empties them. Process-wide by nature: every part logs, and there is one standard error.
class Sink {
 public:
  // Never destroyed: a writer that hangs in a system call may outlive main().
  static Sink& instance() {
    static Sink& sink = *new Sink;
    return sink;
  }

  void submit(std::string_view line);
  void start(LogFileOptions file);
  void stop();
  bool flush(int64_t timeout_ns);
  void reopen_file() {
    reopen_.store(true);
    wake();
  }
  LogCounters counters();

  void open_channel();
  void close_channel();

  std::atomic<LogLevel> level{LogLevel::kInfo};

 private:
  enum State : uint8_t { kAwake, kNapping, kSleeping };

  void run(LogFileOptions file);
  bool drain(StandardError& standard_error, LogFile& file);
  void publish(const StandardError& standard_error, const LogFile& file);
  void wait(bool until_woken, bool standard_error_waits);
  bool all_empty();
  void wake() const { eventfd_write(wake_, 1); }
  void wake_for(LineRing& ring);

  static thread_local ChannelRing* channel_;

  const int wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::atomic<State> state_{kAwake};
  std::atomic<bool> running_{false};   // lines go into rings; changes under shared_mutex_
  std::atomic<bool> stopping_{false};  // the writer is to finish
  std::atomic<bool> ended_{false};     // and has
  std::atomic<bool> reopen_{false};
  std::atomic<uint64_t> flushes_wanted_{0};
  std::atomic<uint64_t> flushes_done_{0};
  std::thread thread_;

  std::mutex shared_mutex_;  // makes all threads without a channel one producer
  LineRing shared_{kLogRingBytes};

  std::mutex channels_mutex_;  // guards what follows
  std::vector<std::unique_ptr<ChannelRing>> channels_;
  uint64_t past_lines_ = 0;  // of channels that are gone
  uint64_t past_dropped_ = 0;
  LogCounters published_;  // the writer's part of the counters, and what came of earlier writers
  LogCounters earlier_;

  // The writer's own.
  std::string chunk_;
  std::vector<ChannelRing*> seen_;
  int64_t complained_at_ns_ = 0;
  uint64_t complained_of_ = 0;
};

thread_local ChannelRing* Sink::channel_ = nullptr;

void Sink::submit(std::string_view line) {
  if (channel_ != nullptr && running_.load(std::memory_order_acquire)) {
    channel_->ring.push(line);
    wake_for(channel_->ring);
    return;
  }
  {
    const std::lock_guard lock(shared_mutex_);
    if (running_.load(std::memory_order_relaxed)) {
      shared_.push(line);
      wake_for(shared_);
      return;
    }
  }
  write_all(line);
}

// A system call only for the first line after a while, and when the writer's naps turn out too long.
void Sink::wake_for(LineRing& ring) {
  State state = state_.load(std::memory_order_seq_cst);
  if (state == kAwake || (state == kNapping && !ring.is_half_full())) return;
  if (state_.compare_exchange_strong(state, kAwake)) wake();
}

// A last word of a process that cannot go on. From then on the file and standard error have all there is.
bool report_broken_invariant(const char* condition, const char* file, int line, const char* why) {
  LOG(kCritical, "core.check", "Invariant broken; the process ends")
      .field("exception", std::string(file) + ":" + std::to_string(line) + ": " + why + " (" + condition + ")");
  return log_flush(kFatalFlushNs);
}

void Sink::start(LogFileOptions file) {
  CHECK(!thread_.joinable(), "one log writer at a time");
  stopping_.store(false);
  ended_.store(false);
  thread_ = std::thread([this, options = std::move(file)]() mutable { run(std::move(options)); });
  {
    const std::lock_guard lock(shared_mutex_);
    running_.store(true);
  }
  check_reporter.store(report_broken_invariant);
}

void Sink::stop() {
  check_reporter.store(nullptr);
  {
    const std::lock_guard lock(shared_mutex_);
    running_.store(false);
  }
  stopping_.store(true);
  wake();
  const int64_t deadline_ns = now_of(CLOCK_MONOTONIC) + LogWriter::kStopTimeoutNs;
  while (!ended_.load()) {
    if (now_of(CLOCK_MONOTONIC) > deadline_ns) {
      thread_.detach();  // it hangs in a write, and the process is about to end
      return;
    }
    pause_briefly();
  }
  thread_.join();
}

bool Sink::flush(int64_t timeout_ns) {
  if (!running_.load()) return true;
  if (std::this_thread::get_id() == thread_.get_id()) return false;
  const uint64_t wanted = flushes_wanted_.fetch_add(1) + 1;
  wake();
  const int64_t deadline_ns = now_of(CLOCK_MONOTONIC) + timeout_ns;
  while (flushes_done_.load() < wanted) {
    if (now_of(CLOCK_MONOTONIC) > deadline_ns) return false;
    pause_briefly();
  }
  return true;
}

void Sink::run(LogFileOptions options) {
  pthread_setname_np(pthread_self(), "log");
  StandardError standard_error;
  LogFile file(std::move(options));
  file.append({}, now_of(CLOCK_MONOTONIC));  // says at the start what is wrong with it
  int idle_looks = 0;
  while (true) {
    const bool stopping = stopping_.load();
    const uint64_t flushes = flushes_wanted_.load();
    if (reopen_.exchange(false)) file.reopen();
    const bool found = drain(standard_error, file);
    publish(standard_error, file);
    if (!standard_error.is_waiting()) flushes_done_.store(flushes);
    if (stopping && !found) break;
    idle_looks = found ? 0 : idle_looks + 1;
    if (!stopping) wait(idle_looks >= kIdleLooks, standard_error.is_waiting());
  }
  const int64_t deadline_ns = now_of(CLOCK_MONOTONIC) + LogWriter::kStopTimeoutNs / 2;
  while (standard_error.is_waiting() && now_of(CLOCK_MONOTONIC) < deadline_ns) {
    pause_briefly();
    standard_error.write_some();
  }
  standard_error.give_up();
  publish(standard_error, file);
  {
    const std::lock_guard lock(channels_mutex_);
    earlier_ = published_;
  }
  ended_.store(true);
}

// Everything that is in the rings by now, and what standard error takes of it. False when there was nothing.
bool Sink::drain(StandardError& standard_error, LogFile& file) {
  bool found = false;
  bool any_closed = false;
  const auto deliver = [&] {
    standard_error.offer(chunk_);
    standard_error.write_some();
    file.append(chunk_, now_of(CLOCK_MONOTONIC));
    chunk_.clear();
  };
  {
    // Only the writer takes channels away, so those it has seen stay where they are while it works on them unlocked.
    const std::lock_guard lock(channels_mutex_);
    seen_.clear();
    for (const auto& channel : channels_) seen_.push_back(channel.get());
  }
  for (ChannelRing* channel : seen_) {
    channel->drained = channel->closed.load(std::memory_order_acquire);
    any_closed = any_closed || channel->drained;
    found = channel->ring.pop_all(chunk_) || found;
    if (chunk_.size() >= kChunkBytes) deliver();
  }
  found = shared_.pop_all(chunk_) || found;
  if (chunk_.empty()) {
    standard_error.write_some();
  } else {
    deliver();
  }
  if (any_closed) {
    const std::lock_guard lock(channels_mutex_);
    std::erase_if(channels_, [this](const std::unique_ptr<ChannelRing>& channel) {
      if (!channel->drained) return false;
      past_lines_ += channel->ring.lines();
      past_dropped_ += channel->ring.dropped();
      return true;
    });
  }
  return found;
}

void Sink::publish(const StandardError& standard_error, const LogFile& file) {
  {
    const std::lock_guard lock(channels_mutex_);
    published_ = earlier_;
    published_.stderr_lines_dropped += standard_error.lines_dropped();
    published_.stderr_bytes += standard_error.bytes();
    published_.file.bytes += file.counters().bytes;
    published_.file.rotations += file.counters().rotations;
    published_.file.errors += file.counters().errors;
    published_.file.lines_dropped += file.counters().lines_dropped;
  }
  const LogCounters now = counters();
  const uint64_t lost = now.lines_dropped + now.stderr_lines_dropped;
  const int64_t now_ns = now_of(CLOCK_MONOTONIC);
  if (lost == complained_of_ || now_ns < complained_at_ns_ + kComplainEveryNs) return;
  complained_of_ = lost;
  complained_at_ns_ = now_ns;
  LOG(kWarning, "core.log", "Log lines were dropped")
      .field("lines_dropped", now.lines_dropped)
      .field("stderr_lines_dropped", now.stderr_lines_dropped);
}

void Sink::wait(bool until_woken, bool standard_error_waits) {
  state_.store(until_woken ? kSleeping : kNapping, std::memory_order_seq_cst);
  if (!until_woken || all_empty()) {
    pollfd events[] = {{wake_, POLLIN, 0}, {standard_error_waits ? STDERR_FILENO : -1, POLLOUT, 0}};
    ::poll(events, 2, until_woken ? -1 : kNapMs);
  }
  state_.store(kAwake, std::memory_order_seq_cst);
  eventfd_t ignored = 0;
  eventfd_read(wake_, &ignored);
}

bool Sink::all_empty() {
  const std::lock_guard lock(channels_mutex_);
  return shared_.is_empty() && std::ranges::all_of(channels_, [](const auto& c) { return c->ring.is_empty(); });
}

void Sink::open_channel() {
  CHECK(channel_ == nullptr, "one channel a thread");
  auto channel = std::make_unique<ChannelRing>();
  channel_ = channel.get();
  const std::lock_guard lock(channels_mutex_);
  channels_.push_back(std::move(channel));
}

void Sink::close_channel() { std::exchange(channel_, nullptr)->closed.store(true, std::memory_order_release); }

LogCounters Sink::counters() {
  const std::lock_guard lock(channels_mutex_);
  LogCounters sum = published_;
  sum.lines = past_lines_ + shared_.lines();
  sum.lines_dropped = past_dropped_ + shared_.dropped();
  for (const auto& channel : channels_) {
    sum.lines += channel->ring.lines();
    sum.lines_dropped += channel->ring.dropped();
  }
  return sum;
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
  // Clang has "txn::(anonymous namespace)::f()" where GCC has braces.
  constexpr std::string_view kUnnamed = "(anonymous namespace)";
  size_t end = signature.find('(');
  while (end != std::string_view::npos && signature.substr(end).starts_with(kUnnamed))
    end = signature.find('(', end + kUnnamed.size());
  signature = signature.substr(0, end);
  const size_t before = signature.find_last_of(": *&");
  return before == std::string_view::npos ? signature : signature.substr(before + 1);
}

// The first `max_bytes` of `text`, less what would be the beginning of a character.
std::string_view cut(std::string_view text, size_t max_bytes) {
  for (int back = 0; back < 3 && (static_cast<uint8_t>(text[max_bytes]) & 0xC0) == 0x80; ++back) --max_bytes;
  return text.substr(0, max_bytes);
}

// A thread's line in the making. Seldom a second one begins before the first has ended: a value that logs.
struct LineBuffer {
  LineBuffer() { text.reserve(kLogLineMaxBytes + 6 * kLogValueMaxBytes); }  // a field too much, before it is undone
  std::string text;
  bool in_use = false;
};
thread_local LineBuffer line_buffer;

// What is the same in every line of one place in the code, as it was last made: under load almost all lines come from
// one place, and escaping and taking names apart is half of what a line costs.
struct PlaceCache {
  const char* function = nullptr;
  uint_least32_t line = 0;
  LogLevel level = LogLevel::kDebug;
  std::string logger;
  std::string message;
  std::string text;
};
thread_local PlaceCache place_cache;

}  // namespace

void set_log_level(LogLevel level) { Sink::instance().level.store(level, std::memory_order_relaxed); }
bool log_enabled(LogLevel level) { return level >= Sink::instance().level.load(std::memory_order_relaxed); }
LogCounters log_counters() { return Sink::instance().counters(); }
bool log_flush(int64_t timeout_ns) { return Sink::instance().flush(timeout_ns); }
void log_reopen_file() { Sink::instance().reopen_file(); }

LogWriter::LogWriter(LogFileOptions file) { Sink::instance().start(std::move(file)); }
LogWriter::~LogWriter() { Sink::instance().stop(); }

LogChannel::LogChannel() { Sink::instance().open_channel(); }
LogChannel::~LogChannel() { Sink::instance().close_channel(); }

LogLine::LogLine(LogLevel level, std::string_view logger, std::string_view message, std::source_location where)
    : text_(line_buffer.in_use ? own_ : line_buffer.text) {
  if (&text_ != &own_) line_buffer.in_use = true;
  text_ = R"({"timestamp":)";
  append_json_timestamp(text_, now_of(CLOCK_REALTIME) / 1000);
  PlaceCache& place = place_cache;
  if (place.function == where.function_name() && place.line == where.line() && place.level == level &&
      place.logger == logger && place.message == message) {
    text_ += place.text;
    return;
  }
  const size_t begin = text_.size();
  text_ += R"(,"service":"transactions-service","level":")";
  text_ += kLevelNames[static_cast<size_t>(level)];
  text_ += R"(","logger":)";
  append_text(logger);
  text_ += R"(,"message":)";
  append_text(message);
  text_ += R"(,"module":)";
  append_text(module_of(where.file_name()));
  text_ += R"(,"function":)";
  append_text(function_of(where.function_name()));
  int_field("line", where.line());
  if (truncated_ || &text_ == &own_) return;
  place.function = where.function_name();
  place.line = where.line();
  place.level = level;
  place.logger = logger;
  place.message = message;
  place.text = std::string_view(text_).substr(begin);
}

LogLine::~LogLine() {
  if (truncated_) text_ += R"(,"truncated":true)";
  text_ += "}\n";
  Sink::instance().submit(text_);
  if (&text_ != &own_) line_buffer.in_use = false;
}

LogLine& LogLine::field(std::string_view name, std::string_view value) {
  const size_t before = text_.size();
  begin_field(name);
  append_text(value);
  keep_or_undo(before);
  return *this;
}

LogLine& LogLine::field(std::string_view name, bool value) {
  const size_t before = text_.size();
  begin_field(name);
  text_ += value ? "true" : "false";
  keep_or_undo(before);
  return *this;
}

LogLine& LogLine::field(std::string_view name, Money amount) {
  const size_t before = text_.size();
  begin_field(name);
  append_json_money(text_, amount);
  keep_or_undo(before);
  return *this;
}

LogLine& LogLine::int_field(std::string_view name, int64_t value) {
  const size_t before = text_.size();
  begin_field(name);
  append_json_int(text_, value);
  keep_or_undo(before);
  return *this;
}

LogLine& LogLine::duration_field(std::string_view name, int64_t duration_ns) {
  const size_t before = text_.size();
  const int64_t micros = std::max<int64_t>(0, duration_ns) / 1000;
  const auto fraction = static_cast<int>(micros % 1000);
  begin_field(name);
  append_json_int(text_, micros / 1000);
  const char decimals[] = {'.', static_cast<char>('0' + fraction / 100), static_cast<char>('0' + fraction / 10 % 10),
                           static_cast<char>('0' + fraction % 10)};
  text_.append(decimals, sizeof decimals);
  keep_or_undo(before);
  return *this;
}

void LogLine::begin_field(std::string_view name) {
  text_ += ",\"";
  text_ += name;
  text_ += "\":";
}

void LogLine::append_text(std::string_view value) {
  if (value.size() > kLogValueMaxBytes) {
    value = cut(value, kLogValueMaxBytes);
    truncated_ = true;
  }
  append_json_string(text_, value);
}

void LogLine::keep_or_undo(size_t size_before) {
  if (text_.size() + kLineEndBytes <= kLogLineMaxBytes) return;
  text_.resize(size_before);
  truncated_ = true;
}

}  // namespace txn
