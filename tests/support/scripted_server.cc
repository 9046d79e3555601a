#include "tests/support/scripted_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>

namespace txn::test {
namespace {

constexpr int kLookAgainMs = 5;

bool readable(int fd) {
  pollfd descriptor{fd, POLLIN, 0};
  return ::poll(&descriptor, 1, kLookAgainMs) > 0;
}

}  // namespace

ScriptedServer::Script ScriptedServer::Script::respond(int status, const std::string& body) {
  return {.answer = "HTTP/1.1 " + std::to_string(status) +
                    " Whatever\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n" + body};
}

ScriptedServer::ScriptedServer(Script script, int family) : family_(family), script_(std::move(script)) {
  run_directory();  // its helper is forked, not executed: were it made later it would keep our sockets open
  reserve_ = bind_to(0);
  start();
}

ScriptedServer::~ScriptedServer() { stop(); }

std::string ScriptedServer::url(const std::string& path) const {
  return (family_ == AF_INET6 ? "http://[::1]:" : "http://127.0.0.1:") + std::to_string(port_) + path;
}

void ScriptedServer::behave(Script script) {
  const std::lock_guard lock(mutex_);
  script_ = std::move(script);
  ++generation_;
}

std::string ScriptedServer::last_request() const {
  const std::lock_guard lock(mutex_);
  return last_request_;
}

// Several sockets may be bound to a port with SO_REUSEADDR while one of them at most listens (socket(7)).
UniqueFd ScriptedServer::bind_to(uint16_t port) {
  UniqueFd socket(::socket(family_, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v6.sin6_addr = in6addr_loopback;
  auto* address = family_ == AF_INET6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
  socklen_t length = family_ == AF_INET6 ? sizeof v6 : sizeof v4;
  if (::bind(socket.get(), address, length) != 0 || ::getsockname(socket.get(), address, &length) != 0)
    fatal("the scripted server cannot have its port");
  port_ = ntohs(family_ == AF_INET6 ? v6.sin6_port : v4.sin_port);
  return socket;
}

void ScriptedServer::start() {
  listener_ = bind_to(port_);
  if (::listen(listener_.get(), 64) != 0) fatal("the scripted server cannot listen");
  stopping_ = false;
  thread_ = std::thread([this] { serve(); });
}

void ScriptedServer::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  thread_.join();
  listener_.reset();
}

bool ScriptedServer::should_end(int generation) const { return stopping_ || generation_ != generation; }

void ScriptedServer::serve() {
  while (!stopping_) {
    if (!readable(listener_.get())) continue;
    const UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) continue;
    ++connections_;
    handle(socket.get());
  }
}

void ScriptedServer::handle(int socket) {
  const int generation = generation_;
  Script script;
  {
    const std::lock_guard lock(mutex_);
    script = script_;
  }
  std::string request;
  while (script.reads && !request.ends_with("\r\n\r\n") && !should_end(generation)) {
    char bytes[4096];
    if (!readable(socket)) continue;
    const ssize_t count = ::recv(socket, bytes, sizeof bytes, 0);
    if (count <= 0) break;
    request.append(bytes, static_cast<size_t>(count));
  }
  if (script.reads) {
    const std::lock_guard lock(mutex_);
    last_request_ = request;
  }
  const size_t step = script.drip_ms > 0 ? 1 : std::max<size_t>(script.answer.size(), 1);
  for (size_t sent = 0; sent < script.answer.size() && !should_end(generation);) {
    const ssize_t count =
        ::send(socket, script.answer.data() + sent, std::min(step, script.answer.size() - sent), MSG_NOSIGNAL);
    if (count <= 0) return;
    sent += static_cast<size_t>(count);
    if (script.drip_ms > 0) std::this_thread::sleep_for(Milliseconds(script.drip_ms));
  }
  // Whether the client has gone is of interest too: one that hangs must not keep others out for ever.
  while (script.hangs && !should_end(generation)) {
    char byte = 0;
    if (readable(socket) && ::recv(socket, &byte, 1, 0) <= 0) break;
  }
  if (script.resets) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
}

}  // namespace txn::test
