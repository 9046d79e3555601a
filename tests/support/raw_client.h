// HTTP at the level of bytes: a blocking TCP client that sends exactly what a test says and reads whole responses, with
// a deadline on everything. ApiClient on top of it is for the tests that are about money and not about the wire.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/json.h"

namespace txn::test {

using Headers = std::vector<std::pair<std::string, std::string>>;

inline constexpr Milliseconds kResponseTimeout{15'000};

struct HttpResponse {
  int status = 0;     // 0: none was received, and `error` says why
  std::string error;  // "closed" (end of stream), "reset", "timeout", "malformed: ..."
  std::string reason;
  Headers headers;
  std::string body;

  std::string header(std::string_view name) const;  // the first of that name; "" when there is none
  size_t count(std::string_view name) const;
  bool has(std::string_view name) const { return count(name) > 0; }
  Json json() const { return Json::parse(body); }
  std::string raw(std::string_view key) const { return raw_token(body, key); }
  // error_code of a problem document; "" when it is none.
  std::string error_code() const;
};
std::ostream& operator<<(std::ostream& out, const HttpResponse& response);

// Bytes of an HTTP/1.1 request. Host is added; Content-Length as well when there is a body.
std::string format_request(std::string_view method, std::string_view target, const Headers& headers = {},
                           std::string_view body = {});

class RawClient {
 public:
  enum class Ending { kOpen, kEndOfStream, kReset, kMoreData };

  // What lies between the socket and HTTP: TLS. Bytes in, bytes out, no I/O of its own.
  class Channel {
   public:
    virtual ~Channel() = default;
    // What the peer has sent; plaintext is appended. False when the stream is over.
    virtual bool receive(std::string_view bytes, std::string& plain) = 0;
    virtual void write(std::string_view plain) = 0;
    // What has to be sent.
    virtual std::string take_output() = 0;
    // Whether write() may be called.
    virtual bool is_ready() const = 0;
  };

  struct Options {
    std::string host = "127.0.0.1";
    int receive_buffer = 0;  // SO_RCVBUF; 0: the system's default
  };

  RawClient() = default;  // not connected
  explicit RawClient(uint16_t port) : RawClient(port, Options{}) {}
  RawClient(uint16_t port, const Options& options);
  // Takes over a connected socket.
  explicit RawClient(UniqueFd socket);

  bool connected() const { return static_cast<bool>(socket_); }
  // Speaks through `channel` from now on; false when that does not become ready.
  bool wrap(std::shared_ptr<Channel> channel);
  // False when the peer has closed or reset the connection, or does not read for kResponseTimeout.
  bool send(std::string_view bytes);
  // Past the channel, if there is one.
  bool send_raw(std::string_view bytes);
  // Whatever bytes come next, of no channel; "" when none come within `timeout` or the peer has ended.
  std::string receive_raw(Milliseconds timeout);
  // One segment a byte, as far as the kernel lets us: Nagle's algorithm is off.
  bool send_byte_by_byte(std::string_view bytes);

  // The next response. `to_head`: it answers HEAD and so has no body whatever Content-Length says. Interim (1xx)
  // responses are returned as responses.
  HttpResponse read_response(Milliseconds timeout = kResponseTimeout, bool to_head = false);
  // Sends and reads one response.
  HttpResponse exchange(std::string_view bytes, Milliseconds timeout = kResponseTimeout);

  // What the peer does next within `timeout`; kOpen when nothing.
  Ending wait_for_ending(Milliseconds timeout);
  // Whether the peer has closed or written already; does not wait.
  bool idle_and_open();

  void half_close();  // FIN; we can still read
  void reset();       // RST: whatever is unsent or unread is gone
  void close();

 private:
  bool receive_some(std::chrono::steady_clock::time_point deadline, std::string* error);

  UniqueFd socket_;
  std::shared_ptr<Channel> channel_;
  std::string unread_;
};
std::ostream& operator<<(std::ostream& out, RawClient::Ending ending);

// One keep-alive connection with a token. A request is never sent twice: when the connection breaks in the middle the
// answer has status 0, and the next request opens a new connection.
class ApiClient {
 public:
  explicit ApiClient(uint16_t port, std::string token = "") : port_(port), token_(std::move(token)) {}

  HttpResponse get(std::string_view target, const Headers& headers = {}) { return request("GET", target, headers); }
  HttpResponse head(std::string_view target, const Headers& headers = {}) { return request("HEAD", target, headers); }
  HttpResponse post(std::string_view target, std::string_view json, const Headers& headers = {});
  HttpResponse request(std::string_view method, std::string_view target, const Headers& headers = {},
                       std::string_view body = {});

  void disconnect() { connection_.close(); }
  void set_timeout(Milliseconds timeout) { timeout_ = timeout; }
  void set_token(std::string token) { token_ = std::move(token); }
  // How connections are made, when not by plain TCP.
  void set_connect(std::function<RawClient()> connect) { connect_ = std::move(connect); }
  uint16_t port() const { return port_; }

 private:
  uint16_t port_;
  std::string token_;
  Milliseconds timeout_ = kResponseTimeout;
  std::function<RawClient()> connect_ = {};
  RawClient connection_;
};

}  // namespace txn::test
