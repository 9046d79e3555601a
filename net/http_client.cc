#include "net/http_client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "core/check.h"
#include "core/concat.h"
#include "core/version.h"

namespace txn {
namespace {

std::string format_get(const HttpUrl& url) {
  const bool is_ipv6 = url.host.find(':') != std::string::npos;
  const std::string host = is_ipv6 ? concat('[', url.host, ']') : url.host;
  const std::string port = url.port == 80 ? "" : concat(':', url.port);
  return concat("GET ", url.target.empty() ? "/" : url.target, " HTTP/1.1\r\nHost: ", host, port,
                "\r\nUser-Agent: transactions-service/", version(), "\r\nAccept: */*\r\nConnection: close\r\n\r\n");
}

}  // namespace

std::string_view to_string(HttpFailure failure) {
  switch (failure) {
    case HttpFailure::kUnknownHost:
      return "the host name is not known";
    case HttpFailure::kUnreachable:
      return "cannot connect";
    case HttpFailure::kTimeout:
      return "no answer in time";
    case HttpFailure::kClosed:
      return "the connection was closed without an answer";
    case HttpFailure::kMalformed:
      return "the answer is not HTTP";
    case HttpFailure::kTooLarge:
      return "the answer is too large";
    case HttpFailure::kCancelled:
      return "cancelled";
  }
  return "";
}

HttpClient::HttpClient(Loop& loop, HttpUrl url, HttpClientOptions options)
    : loop_(loop), url_(std::move(url)), options_(options), request_(format_get(url_)), resolver_(loop) {}

HttpClient::~HttpClient() { CHECK(!busy_, "a client is destroyed while a get() is under way"); }

Task<HttpClient::Outcome> HttpClient::get() {
  CHECK(!busy_, "one get() at a time");
  if (cancelled_) co_return std::unexpected(HttpFailure::kCancelled);
  busy_ = true;
  deadline_ns_ = loop_.clock().now_ns() + options_.timeout_ns;
  loop_.timers().arm(*this, deadline_ns_);
  Outcome outcome = std::unexpected(HttpFailure::kUnknownHost);
  const auto addresses = co_await resolve();
  if (addresses) {
    const Connected socket = co_await connect_to_any(*addresses);
    if (socket) {
      outcome = co_await converse(*socket);
      ::close(*socket);
    } else {
      outcome = std::unexpected(socket.error());
    }
  } else {
    outcome = std::unexpected(addresses.error());
  }
  loop_.timers().disarm(*this);
  busy_ = false;
  co_return outcome;
}

void HttpClient::cancel() {
  cancelled_ = true;
  if (busy_) interrupt();
}

// Ends what the present get() waits for; the coroutine sees by is_over() why.
void HttpClient::interrupt() {
  loop_.ring().cancel(operation_);
  if (resolving_) {
    resolver_.forget();
    loop_.resume_soon(std::exchange(resolving_, nullptr));
  }
}

void HttpClient::on_resolved(Resolver::Answer answer) {
  resolved_ = std::move(answer);
  loop_.resume_soon(std::exchange(resolving_, nullptr));
}

Task<std::expected<std::vector<SocketAddress>, HttpFailure>> HttpClient::resolve() {
  if (const auto literal = parse_socket_address(url_.host, url_.port)) co_return std::vector{*literal};
  struct Resolved {
    HttpClient& client;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) const {
      client.resolving_ = handle;
      client.resolver_.resolve(client.url_.host, client.url_.port, client);
    }
    void await_resume() const {}
  };
  resolved_.reset();
  co_await Resolved{*this};
  if (!resolved_) co_return std::unexpected(why_over());
  if (!*resolved_) co_return std::unexpected(HttpFailure::kUnknownHost);
  co_return std::move(**resolved_);
}

Task<HttpClient::Connected> HttpClient::connect_to_any(const std::vector<SocketAddress>& addresses) {
  Connected connected = std::unexpected(HttpFailure::kUnreachable);
  for (size_t i = 0; i < addresses.size() && !connected && !is_over(); ++i) {
    const int64_t now = loop_.clock().now_ns();
    const auto untried = static_cast<int64_t>(addresses.size() - i);
    loop_.timers().arm(*this, now + (deadline_ns_ - now) / untried);
    connected = co_await connect_to(addresses[i]);
  }
  if (!connected && is_over()) co_return std::unexpected(why_over());
  if (connected) loop_.timers().arm(*this, deadline_ns_);
  co_return connected;
}

Task<HttpClient::Connected> HttpClient::connect_to(const SocketAddress& address) {
  const int socket = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) co_return std::unexpected(HttpFailure::kUnreachable);
  operation_.reset();
  loop_.ring().connect(socket, address.get(), address.length, operation_);
  const int result = co_await operation_;
  if (result < 0) {
    ::close(socket);
    co_return std::unexpected(HttpFailure::kUnreachable);
  }
  co_return socket;
}

Task<HttpClient::Outcome> HttpClient::converse(int socket) {
  std::span<const char> unsent(request_);
  while (!unsent.empty()) {
    if (is_over()) co_return std::unexpected(why_over());
    operation_.reset();
    loop_.ring().send(socket, unsent, operation_);
    const int sent = co_await operation_;
    if (sent < 0) co_return std::unexpected(is_over() ? why_over() : HttpFailure::kClosed);
    unsent = unsent.subspan(static_cast<size_t>(sent));
  }
  auto outcome = co_await receive(socket);
  co_return outcome;
}

Task<HttpClient::Outcome> HttpClient::receive(int socket) {
  using Status = HttpResponseParser::Status;
  HttpResponseParser parser(options_.limits);
  Status status = Status::kNeedMore;
  while (status == Status::kNeedMore) {
    if (is_over()) co_return std::unexpected(why_over());
    operation_.reset();
    loop_.ring().receive_into(socket, buffer_, operation_);
    const int received = co_await operation_;
    if (received < 0) co_return std::unexpected(is_over() ? why_over() : HttpFailure::kClosed);
    if (received == 0 && !parser.has_begun()) co_return std::unexpected(HttpFailure::kClosed);
    status =
        received == 0 ? parser.end_of_stream() : parser.feed(std::span(buffer_).first(static_cast<size_t>(received)));
  }
  if (status == Status::kTooLarge) co_return std::unexpected(HttpFailure::kTooLarge);
  if (status == Status::kMalformed) co_return std::unexpected(HttpFailure::kMalformed);
  co_return HttpReply{.status = parser.status_code(), .body = parser.body()};
}

}  // namespace txn
