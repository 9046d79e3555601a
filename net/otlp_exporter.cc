#include "net/otlp_exporter.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/concat.h"
#include "core/error.h"
#include "core/json_writer.h"
#include "core/log.h"

namespace txn {
namespace {

constexpr int kTickMs = 200;
// Spans taken out of the rings and not yet posted, beyond which they stay there.
constexpr size_t kPendingMaxBytes = 4 << 20;
// A collector's answer is a line and a small document; of a longer one only the beginning is read.
constexpr size_t kAnswerMaxBytes = 64 * 1024;
constexpr int64_t kRetryMostNs = 30 * kNanosPerSecond;
// How often a wait on a socket looks whether the process is ending.
constexpr int64_t kSliceNs = 100 * kNanosPerMilli;

int64_t monotonic_ns() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// OTLP/HTTP, "Failures": what may succeed when tried again.
bool is_retryable(int status) { return status == 429 || status == 502 || status == 503 || status == 504; }

// The status of "HTTP/1.1 200 OK\r\n"; 0 for anything else.
int status_of(std::string_view answer) {
  if (answer.size() < 12 || !answer.starts_with("HTTP/1.") || answer[8] != ' ') return 0;
  int status = 0;
  for (const char c : answer.substr(9, 3)) {
    if (c < '0' || c > '9') return 0;
    status = status * 10 + (c - '0');
  }
  return status;
}

std::string string_attribute(std::string_view key, std::string_view value) {
  std::string text = concat(R"({"key":")", key, R"(","value":{"stringValue":)");
  append_json_string(text, value);
  return text + "}}";
}

}  // namespace

class OtlpExporter::State {
 public:
  explicit State(OtlpOptions options)
      : options_(std::move(options)),
        target_(options_.endpoint.target.empty() ? "/v1/traces" : options_.endpoint.target),
        envelope_(concat(R"({"resourceSpans":[{"resource":{"attributes":[)",
                         string_attribute("service.name", "transactions-service"), ",",
                         string_attribute("service.version", options_.service_version),
                         R"(]},"scopeSpans":[{"scope":{"name":"transactions-service"},"spans":[)")) {}

  LineRing& add_producer() {
    const std::lock_guard lock(mutex_);
    rings_.push_back(std::make_unique<LineRing>(options_.ring_bytes));
    return *rings_.back();
  }

  OtlpCounters counters() const {
    const std::lock_guard lock(mutex_);
    OtlpCounters sum = counters_;
    for (const auto& ring : rings_) sum.spans_dropped += ring->dropped();
    return sum;
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stop_deadline_ns_.store(monotonic_ns() + options_.flush_timeout_ns);
    }
    changed_.notify_all();
  }
  // False when it has not ended `grace_ns` after the flush's own bound.
  bool wait_until_ended(int64_t grace_ns) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::nanoseconds(options_.flush_timeout_ns + grace_ns),
                             [this] { return ended_; });
  }

  void run();

 private:
  enum class Posted { kTaken, kRefused, kTryAgain };

  bool is_stopping() const { return stop_deadline_ns_.load() != INT64_MAX; }
  void take_spans();
  void post_pending();
  Posted post(std::string_view spans_json, std::string& why);
  Result<std::string> exchange(const std::string& request);
  Result<int> connect(int64_t deadline_ns);
  bool wait_for(int socket, short events, int64_t deadline_ns) const;
  void count(uint64_t OtlpCounters::* counter, uint64_t by) {
    const std::lock_guard lock(mutex_);
    counters_.*counter += by;
  }

  const OtlpOptions options_;
  const std::string target_;
  const std::string envelope_;  // of a request, up to the first span

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<std::unique_ptr<LineRing>> rings_;
  OtlpCounters counters_;
  bool ended_ = false;

  std::atomic<int64_t> stop_deadline_ns_{INT64_MAX};  // set by stop()

  // The thread's own.
  std::string pending_;  // spans, a line each
  int64_t post_at_ns_ = 0;
  int attempts_ = 0;  // for the first batch of pending_
  bool is_away_ = false;
};

void OtlpExporter::State::run() {
  post_at_ns_ = monotonic_ns() + options_.interval_ns;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(kTickMs), [this] { return is_stopping(); });
    }
    const bool last = is_stopping();
    take_spans();
    const auto spans = static_cast<size_t>(std::count(pending_.begin(), pending_.end(), '\n'));
    if (last || monotonic_ns() >= post_at_ns_ || (spans >= options_.batch_max && attempts_ == 0)) post_pending();
    if (last) break;
  }
  count(&OtlpCounters::spans_failed, static_cast<uint64_t>(std::count(pending_.begin(), pending_.end(), '\n')));
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

void OtlpExporter::State::take_spans() {
  const std::lock_guard lock(mutex_);
  for (const auto& ring : rings_) {
    if (pending_.size() >= kPendingMaxBytes) return;
    ring->pop_all(pending_);
  }
}

// Batch by batch, until all is posted or one has to wait.
void OtlpExporter::State::post_pending() {
  post_at_ns_ = monotonic_ns() + options_.interval_ns;
  while (!pending_.empty() && monotonic_ns() < stop_deadline_ns_.load()) {
    std::string spans_json;
    size_t spans = 0;
    size_t end = 0;
    while (end < pending_.size() && spans < options_.batch_max) {
      const size_t line_end = pending_.find('\n', end);
      if (spans++ > 0) spans_json += ',';
      spans_json.append(pending_, end, line_end - end);
      end = line_end + 1;
    }
    std::string why;
    const Posted posted = post(spans_json, why);
    if (posted == Posted::kTaken) {
      count(&OtlpCounters::spans_exported, spans);
      if (std::exchange(is_away_, false)) LOG(kInfo, "net.otlp", "Spans are exported again");
    } else {
      count(&OtlpCounters::failures, 1);
      if (!std::exchange(is_away_, true))
        LOG(kWarning, "net.otlp", "Spans cannot be exported; trying on").field("exception", why);
      if (posted == Posted::kTryAgain && ++attempts_ < options_.attempts_max) {
        const int64_t pause_ns = std::min(options_.retry_first_ns << (attempts_ - 1), kRetryMostNs);
        post_at_ns_ = monotonic_ns() + pause_ns;
        return;
      }
      count(&OtlpCounters::spans_failed, spans);
    }
    attempts_ = 0;
    pending_.erase(0, end);
  }
}

OtlpExporter::State::Posted OtlpExporter::State::post(std::string_view spans_json, std::string& why) {
  constexpr std::string_view kEnvelopeEnd = "]}]}]}";
  const HttpUrl& endpoint = options_.endpoint;
  const bool is_ipv6 = endpoint.host.find(':') != std::string::npos;
  std::string request = concat("POST ", target_, " HTTP/1.1\r\nHost: ", is_ipv6 ? "[" : "", endpoint.host,
                               is_ipv6 ? "]" : "", ":", endpoint.port,
                               "\r\nUser-Agent: transactions-service\r\nContent-Type: application/json\r\n"
                               "Connection: close\r\nContent-Length: ",
                               envelope_.size() + spans_json.size() + kEnvelopeEnd.size(), "\r\n\r\n");
  request += envelope_;
  request += spans_json;
  request += kEnvelopeEnd;
  const Result<std::string> answer = exchange(request);
  if (!answer) {
    why = answer.error().message;
    return Posted::kTryAgain;
  }
  const int status = status_of(*answer);
  if (status >= 200 && status < 300) return Posted::kTaken;
  why = status == 0 ? "the collector's answer is not HTTP" : concat("the collector answers ", status);
  return is_retryable(status) ? Posted::kTryAgain : Posted::kRefused;
}

// The beginning of the answer to `request`.
Result<std::string> OtlpExporter::State::exchange(const std::string& request) {
  const int64_t deadline_ns = monotonic_ns() + options_.timeout_ns;
  const Result<int> connected = connect(deadline_ns);
  if (!connected) return std::unexpected(connected.error());
  const Socket socket(*connected);
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t size = ::send(socket.get(), request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (size >= 0) {
      sent += static_cast<size_t>(size);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for(socket.get(), POLLOUT, deadline_ns))
        return fail(ErrorKind::kTimeout, "the collector does not read");
    } else if (errno != EINTR) {
      return fail_errno("the collector", errno);
    }
  }
  // To the end, so that the collector finds no reset connection; what is behind the status line interests nobody.
  std::string answer;
  char piece[4096];
  while (answer.size() < kAnswerMaxBytes) {
    const ssize_t size = ::recv(socket.get(), piece, sizeof piece, 0);
    if (size > 0) {
      answer.append(piece, static_cast<size_t>(size));
    } else if (size == 0) {
      break;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (wait_for(socket.get(), POLLIN, deadline_ns)) continue;
      if (status_of(answer) != 0) break;  // it has said what matters
      return fail(ErrorKind::kTimeout, "the collector does not answer");
    } else if (errno != EINTR) {
      return fail_errno("the collector", errno);
    }
  }
  if (answer.empty()) return fail(ErrorKind::kUnavailable, "the collector closed the connection");
  return answer;
}

Result<int> OtlpExporter::State::connect(int64_t deadline_ns) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string& host = options_.endpoint.host;
  const int error = getaddrinfo(host.c_str(), std::to_string(options_.endpoint.port).c_str(), &hints, &found);
  if (error != 0) return fail(ErrorKind::kUnavailable, concat(host, ": ", gai_strerror(error)));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  int last_error = 0;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const int descriptor = ::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) {
      last_error = errno;
      continue;
    }
    int result = ::connect(descriptor, address->ai_addr, address->ai_addrlen);
    if (result != 0 && errno == EINPROGRESS) {
      result = -1;
      errno = ETIMEDOUT;
      if (wait_for(descriptor, POLLOUT, deadline_ns)) {
        int outcome = 0;
        socklen_t size = sizeof outcome;
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &outcome, &size);
        result = outcome == 0 ? 0 : -1;
        errno = outcome;
      }
    }
    if (result == 0) return descriptor;
    last_error = errno;
    ::close(descriptor);
  }
  return fail_errno(host.c_str(), last_error);
}

// False when `deadline_ns` has passed, or the process may not wait any longer.
bool OtlpExporter::State::wait_for(int socket, short events, int64_t deadline_ns) const {
  while (true) {
    const int64_t left_ns = std::min(deadline_ns, stop_deadline_ns_.load()) - monotonic_ns();
    if (left_ns <= 0) return false;
    pollfd poll_for{socket, events, 0};
    const int slice_ms = static_cast<int>(std::min(left_ns, kSliceNs) / kNanosPerMilli) + 1;
    if (::poll(&poll_for, 1, slice_ms) > 0) return true;
  }
}

OtlpExporter::OtlpExporter(OtlpOptions options) : state_(std::make_shared<State>(std::move(options))) {
  thread_ = std::thread([state = state_] {
    pthread_setname_np(pthread_self(), "otlp");
    state->run();
  });
}

OtlpExporter::~OtlpExporter() {
  constexpr int64_t kGraceNs = kNanosPerSecond;
  state_->stop();
  if (state_->wait_until_ended(kGraceNs)) {
    thread_.join();
  } else {
    thread_.detach();  // looking up a name, which nothing can interrupt
  }
}

LineRing& OtlpExporter::add_producer() { return state_->add_producer(); }
OtlpCounters OtlpExporter::counters() const { return state_->counters(); }

}  // namespace txn
