// A small HTTP/1.1 client on the ring, for asking a dependency how it is: GET, one request at a time, a connection for
// each, bounded answers, one time-out over everything, and every failure a value. http only, redirects are not
// followed.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/http_url.h"
#include "core/loop.h"
#include "core/task.h"
#include "net/http_response_parser.h"
#include "net/resolver.h"

namespace txn {

struct HttpClientOptions {
  int64_t timeout_ns = 5 * kNanosPerSecond;  // from the call of get() to the last byte of the answer
  HttpResponseLimits limits = {};
};

struct HttpReply {
  int status = 0;  // 200 to 599
  std::string body;
};

enum class HttpFailure : uint8_t {
  kUnknownHost,  // the name does not resolve
  kUnreachable,  // no address took the connection
  kTimeout,      // the time was over before the answer was complete
  kClosed,       // the peer ended or reset the connection without an answer
  kMalformed,    // what came is no HTTP response, or not all of one
  kTooLarge,     // the answer is over its bounds
  kCancelled,    // cancel() was called
};
std::string_view to_string(HttpFailure failure);  // "cannot connect"

// Belongs to its loop's thread.
class HttpClient final : private Timer, private Resolver::Waiter {
 public:
  HttpClient(Loop& loop, HttpUrl url, HttpClientOptions options = {});
  // REQUIRES: no get() is under way.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  using Outcome = std::expected<HttpReply, HttpFailure>;

  // GET of the URL, "/" when it has no path. One at a time. Of several addresses each gets an equal share of the time
  // that is left to connect, so that one that swallows packets does not hide another that answers.
  Task<Outcome> get();

  // Ends the present get() and all to come with kCancelled, in a later turn.
  void cancel();

 private:
  using Connected = std::expected<int, HttpFailure>;  // a socket

  Task<std::expected<std::vector<SocketAddress>, HttpFailure>> resolve();
  Task<Connected> connect_to_any(const std::vector<SocketAddress>& addresses);
  Task<Connected> connect_to(const SocketAddress& address);
  Task<Outcome> converse(int socket);
  Task<Outcome> receive(int socket);

  void on_timer() override { interrupt(); }
  void on_resolved(Resolver::Answer answer) override;
  void interrupt();
  bool is_over() const { return cancelled_ || loop_.clock().now_ns() >= deadline_ns_; }
  HttpFailure why_over() const { return cancelled_ ? HttpFailure::kCancelled : HttpFailure::kTimeout; }

  Loop& loop_;
  const HttpUrl url_;
  const HttpClientOptions options_;
  const std::string request_;
  Resolver resolver_;
  std::optional<Resolver::Answer> resolved_;
  std::coroutine_handle<> resolving_;  // the get() that waits for the resolver
  AwaitableCompletion operation_;      // what the kernel does for the present get()
  std::array<char, 4096> buffer_{};
  int64_t deadline_ns_ = 0;
  bool busy_ = false;
  bool cancelled_ = false;
};

}  // namespace txn
