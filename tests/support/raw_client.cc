#include "tests/support/raw_client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "tests/support/kept_logs.h"

namespace txn::test {

namespace {

using Clock = std::chrono::steady_clock;

constexpr Milliseconds kConnectTimeout{5'000};

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

HttpResponse failure(std::string error) {
  HttpResponse response;
  response.error = std::move(error);
  return response;
}

// Status line and header fields, strictly: what the service writes is under test as well.
HttpResponse parse_head(std::string_view head) {
  const size_t line_end = head.find("\r\n");
  const std::string_view status_line = head.substr(0, line_end);
  if (status_line.size() < 12 || status_line.substr(0, 9) != "HTTP/1.1 ") return failure("malformed: status line");
  HttpResponse response;
  const auto digits = status_line.substr(9, 3);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), response.status);
  if (error != std::errc() || end != digits.data() + 3) return failure("malformed: status");
  if (status_line.size() > 13) response.reason = status_line.substr(13);
  for (size_t at = line_end + 2; at < head.size();) {
    const size_t next = head.find("\r\n", at);
    const std::string_view line = head.substr(at, next - at);
    const size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos || line.find_first_of("\r\n") != std::string_view::npos)
      return failure("malformed: header line " + std::string(line));
    response.headers.emplace_back(line.substr(0, colon), trimmed(line.substr(colon + 1)));
    at = next + 2;
  }
  return response;
}

}  // namespace

std::string HttpResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (same_name(key, name)) return value;
  }
  return "";
}

size_t HttpResponse::count(std::string_view name) const {
  return static_cast<size_t>(
      std::count_if(headers.begin(), headers.end(), [&](const auto& field) { return same_name(field.first, name); }));
}

std::string HttpResponse::error_code() const {
  if (header("Content-Type").find("application/problem+json") == std::string::npos || !Json::valid(body)) return "";
  const Json problem = json();
  return problem.has("error_code") && problem["error_code"].is_string() ? problem["error_code"].text() : "";
}

std::ostream& operator<<(std::ostream& out, const HttpResponse& response) {
  if (response.status == 0) return out << "no response (" << response.error << ")";
  out << response.status << " " << response.reason << "\n";
  for (const auto& [name, value] : response.headers) out << name << ": " << value << "\n";
  return out << "\n" << response.body;
}

std::ostream& operator<<(std::ostream& out, RawClient::Ending ending) {
  switch (ending) {
    case RawClient::Ending::kOpen:
      return out << "open";
    case RawClient::Ending::kEndOfStream:
      return out << "end of stream";
    case RawClient::Ending::kReset:
      return out << "reset";
    case RawClient::Ending::kMoreData:
      return out << "more data";
  }
  return out;
}

std::string format_request(std::string_view method, std::string_view target, const Headers& headers,
                           std::string_view body) {
  std::string bytes = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n";
  for (const auto& [name, value] : headers) bytes.append(name).append(": ").append(value).append("\r\n");
  if (!body.empty()) bytes += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return bytes + "\r\n" + std::string(body);
}

RawClient::RawClient(uint16_t port, const Options& options) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* address = nullptr;
  if (::getaddrinfo(options.host.c_str(), std::to_string(port).c_str(), &hints, &address) != 0) return;
  UniqueFd socket(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (options.receive_buffer > 0)
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof options.receive_buffer);
  // SO_SNDTIMEO bounds connect(2) as well.
  const timeval timeout{.tv_sec = kConnectTimeout.count() / 1000, .tv_usec = 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  const int connected = ::connect(socket.get(), address->ai_addr, address->ai_addrlen);
  ::freeaddrinfo(address);
  if (connected == 0) *this = RawClient(std::move(socket));
}

RawClient::RawClient(UniqueFd socket) : socket_(std::move(socket)) {
  const timeval timeout{.tv_sec = kResponseTimeout.count() / 1000, .tv_usec = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  const int on = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // refused by socket pairs, which need none
}

bool RawClient::wrap(std::shared_ptr<Channel> channel) {
  channel_ = std::move(channel);
  const auto deadline = Clock::now() + kResponseTimeout;
  std::string error;
  while (send_raw(channel_->take_output()) && !channel_->is_ready()) {
    if (!receive_some(deadline, &error)) return false;
  }
  return channel_->is_ready();
}

bool RawClient::send(std::string_view bytes) {
  if (!channel_) return send_raw(bytes);
  channel_->write(bytes);
  return send_raw(channel_->take_output());
}

bool RawClient::send_raw(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

bool RawClient::send_byte_by_byte(std::string_view bytes) {
  std::string encrypted;
  if (channel_) {
    channel_->write(bytes);
    encrypted = channel_->take_output();
    bytes = encrypted;
  }
  return std::all_of(bytes.begin(), bytes.end(), [this](const char& byte) { return send_raw({&byte, 1}); });
}

bool RawClient::receive_some(Clock::time_point deadline, std::string* error) {
  if (!socket_) {
    *error = "not connected";
    return false;
  }
  for (;;) {
    const auto left = std::chrono::ceil<Milliseconds>(deadline - Clock::now());
    pollfd entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      *error = "timeout";
      return false;
    }
    char buffer[16384];
    const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      *error = count == 0 ? "closed" : "reset";
      return false;
    }
    const std::string_view received(buffer, static_cast<size_t>(count));
    if (!channel_) {
      unread_.append(received);
      return true;
    }
    // Handshakes and tickets are no data: on to what comes next. After its end a stream has nothing but the socket's.
    const size_t had = unread_.size();
    const bool was_ready = channel_->is_ready();
    channel_->receive(received, unread_);
    if (unread_.size() > had || !was_ready) return true;
  }
}

HttpResponse RawClient::read_response(Milliseconds timeout, bool to_head) {
  const auto deadline = Clock::now() + timeout;
  std::string error;
  size_t head_end = 0;
  while ((head_end = unread_.find("\r\n\r\n")) == std::string::npos) {
    if (!receive_some(deadline, &error)) {
      if (!unread_.empty()) error += " after " + std::to_string(unread_.size()) + " bytes of a response";
      return failure(error);
    }
  }
  HttpResponse response = parse_head(std::string_view(unread_).substr(0, head_end + 2));
  if (response.status == 0) return response;
  unread_.erase(0, head_end + 4);
  const bool no_body = to_head || response.status < 200 || response.status == 204 || response.status == 304;
  if (no_body) return response;

  const std::string length_text = response.header("Content-Length");
  size_t length = 0;
  const auto [end, parse_error] = std::from_chars(length_text.data(), length_text.data() + length_text.size(), length);
  if (response.count("Content-Length") != 1 || parse_error != std::errc() ||
      end != length_text.data() + length_text.size() || response.has("Transfer-Encoding"))
    return failure("malformed: the length of the body is not plain");
  while (unread_.size() < length) {
    if (!receive_some(deadline, &error)) return failure(error + " in the body");
  }
  response.body = unread_.substr(0, length);
  unread_.erase(0, length);
  return response;
}

HttpResponse RawClient::exchange(std::string_view bytes, Milliseconds timeout) {
  send(bytes);  // a refusal may come before all has been sent; reading tells
  return read_response(timeout);
}

std::string RawClient::receive_raw(Milliseconds timeout) {
  std::string error;
  if (unread_.empty()) receive_some(Clock::now() + timeout, &error);
  return std::exchange(unread_, "");
}

RawClient::Ending RawClient::wait_for_ending(Milliseconds timeout) {
  if (!unread_.empty()) return Ending::kMoreData;
  std::string error;
  if (receive_some(Clock::now() + timeout, &error)) return Ending::kMoreData;
  if (error == "timeout") return Ending::kOpen;
  return error == "closed" ? Ending::kEndOfStream : Ending::kReset;
}

bool RawClient::idle_and_open() { return socket_ && wait_for_ending(Milliseconds(0)) == Ending::kOpen; }

void RawClient::half_close() { ::shutdown(socket_.get(), SHUT_WR); }

void RawClient::reset() {
  const linger abort{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  close();
}

void RawClient::close() {
  socket_.reset();
  channel_.reset();
  unread_.clear();
}

HttpResponse ApiClient::post(std::string_view target, std::string_view json, const Headers& headers) {
  Headers all = headers;
  all.emplace_back("Content-Type", "application/json");
  return request("POST", target, all, json);
}

HttpResponse ApiClient::request(std::string_view method, std::string_view target, const Headers& headers,
                                std::string_view body) {
  if (!connection_.idle_and_open()) connection_ = connect_ ? connect_() : RawClient(port_);
  if (!connection_.connected()) return failure("cannot connect");
  Headers all = headers;
  if (!token_.empty()) all.emplace_back("Authorization", "Bearer " + token_);
  remember_token(token_);
  remember_pins(body);
  connection_.send(format_request(method, target, all, body));
  HttpResponse response = connection_.read_response(timeout_, method == "HEAD");
  if (response.status == 0 || same_name(response.header("Connection"), "close")) connection_.close();
  return response;
}

}  // namespace txn::test
