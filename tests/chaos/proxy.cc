#include "tests/chaos/proxy.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace txn::test {

namespace {

constexpr Milliseconds kIdlePoll{1'000};

void abort_connection(UniqueFd& socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);  // a Unix socket just closes
  socket.reset();
}

void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

}  // namespace

Proxy::Proxy(std::string socket_path, uint32_t seed)
    : socket_path_(std::move(socket_path)), wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), random_(seed) {
  if (!wake_fd_) fatal(std::string("proxy: ") + std::strerror(errno));
  placeholder_ = bound_socket();
  open_door();
  thread_ = std::thread([this] { run(); });
}

Proxy::~Proxy() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake();
  thread_.join();
}

// A socket on port_, or on any that is free while that is 0. Two of ours may share it.
UniqueFd Proxy::bound_socket() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port_);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  const int on = 1;
  UniqueFd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!bound || ::setsockopt(bound.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
      ::bind(bound.get(), generic, length) != 0 || ::getsockname(bound.get(), generic, &length) != 0)
    fatal(std::string("proxy: ") + std::strerror(errno));
  port_ = ntohs(address.sin_port);
  return bound;
}

void Proxy::close_door() {
  const std::lock_guard lock(mutex_);
  listener_.reset();
  wake();
}

void Proxy::open_door() {
  const std::lock_guard lock(mutex_);
  if (!listener_) {
    listener_ = bound_socket();
    if (::listen(listener_.get(), 64) != 0) fatal(std::string("proxy: ") + std::strerror(errno));
  }
  wake();
}

void Proxy::wake() const {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_.get(), &one, sizeof one);
}

void Proxy::reset_all() {
  const std::lock_guard lock(mutex_);
  for (Line& line : lines_) line.dead = true;
  wake();
}

void Proxy::delay_up_to(Milliseconds most) {
  const std::lock_guard lock(mutex_);
  delay_ = most;
  wake();
}

void Proxy::fall_silent(Silence silence) {
  const std::lock_guard lock(mutex_);
  for (Line& line : lines_) {
    line.half_open = true;
    line.requests.silent = silence != Silence::kAnswers;
    line.answers.silent = silence != Silence::kRequests;
  }
}

void Proxy::cut_silent() {
  const std::lock_guard lock(mutex_);
  for (Line& line : lines_) line.dead = line.dead || line.half_open;
  wake();
}

void Proxy::accept_one() {
  UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client) return;
  UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path_.copy(address.sun_path, sizeof address.sun_path - 1);
  set_nonblocking(server.get());  // a full backlog refuses instead of holding up the others
  if (!server || ::connect(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    abort_connection(client);
    return;
  }
  const int on = 1;
  ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Line& line = lines_.emplace_back();
  line.client = std::move(client);
  line.server = std::move(server);
}

void Proxy::receive(Way& way, int from) {
  char buffer[16384];
  const ssize_t count = ::recv(from, buffer, sizeof buffer, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    way.ended = true;
    return;
  }
  if (way.silent) return;
  Clock::time_point due = Clock::now();
  if (delay_ > Milliseconds(0)) due += Milliseconds(random_() % static_cast<uint64_t>(delay_.count() + 1));
  if (!way.chunks.empty()) due = std::max(due, way.chunks.back().due);  // late, but in order
  way.chunks.push_back({due, std::string(buffer, static_cast<size_t>(count))});
}

void Proxy::deliver(Line& line, Way& way, int to) {
  if (way.silent) way.chunks.clear();
  while (!way.chunks.empty() && way.chunks.front().due <= Clock::now()) {
    std::string& bytes = way.chunks.front().bytes;
    const ssize_t count = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count < 0) {
      if (!line.half_open) line.dead = true;
      way.chunks.clear();
      return;
    }
    bytes.erase(0, static_cast<size_t>(count));
    if (!bytes.empty()) return;
    way.chunks.pop_front();
  }
  if (way.ended && way.chunks.empty() && !line.half_open) line.dead = true;
}

Milliseconds Proxy::time_to_next_chunk() const {
  Clock::time_point next = Clock::now() + kIdlePoll;
  for (const Line& line : lines_) {
    for (const Way* way : {&line.requests, &line.answers}) {
      if (!way->chunks.empty()) next = std::min(next, way->chunks.front().due);
    }
  }
  return std::max(Milliseconds(0), std::chrono::ceil<Milliseconds>(next - Clock::now()));
}

void Proxy::run() {
  std::vector<pollfd> polled;
  for (;;) {
    Milliseconds timeout{0};
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      polled.assign({{wake_fd_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}});
      // A descriptor of -1 is left out by poll(2); a side that has ended would be ready for ever.
      for (const Line& line : lines_) {
        polled.push_back({line.requests.ended ? -1 : line.client.get(), POLLIN, 0});
        polled.push_back({line.answers.ended ? -1 : line.server.get(), POLLIN, 0});
      }
      timeout = time_to_next_chunk();
    }
    // Sockets that do not take what is due are tried again soon; their buffers are larger than any answer here.
    if (timeout == Milliseconds(0)) timeout = Milliseconds(1);
    if (::poll(polled.data(), polled.size(), static_cast<int>(timeout.count())) < 0 && errno != EINTR) return;

    const std::lock_guard lock(mutex_);
    uint64_t ignored = 0;
    [[maybe_unused]] const ssize_t woken = ::read(wake_fd_.get(), &ignored, sizeof ignored);
    size_t next = 2;
    for (Line& line : lines_) {
      if (polled[next++].revents != 0) receive(line.requests, line.client.get());
      if (polled[next++].revents != 0) receive(line.answers, line.server.get());
      deliver(line, line.requests, line.server.get());
      deliver(line, line.answers, line.client.get());
      if (line.dead) {
        abort_connection(line.client);
        abort_connection(line.server);
      }
    }
    std::erase_if(lines_, [](const Line& line) { return line.dead; });
    if (polled[1].revents != 0 && listener_) accept_one();
  }
}

}  // namespace txn::test
