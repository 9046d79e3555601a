#include "net/listen.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

namespace txn {
namespace {

constexpr int kBacklog = 4096;

Result<std::pair<sockaddr_storage, socklen_t>> parse_address(const std::string& host, uint16_t port) {
  sockaddr_storage storage{};
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&storage, &v4, sizeof v4);
    return std::pair{storage, static_cast<socklen_t>(sizeof v4)};
  }
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&storage, &v6, sizeof v6);
    return std::pair{storage, static_cast<socklen_t>(sizeof v6)};
  }
  return fail(ErrorKind::kInvalidArgument, "SERVICE_HOST=" + host + " is neither an IPv4 nor an IPv6 address");
}

void set_option(int socket, int level, int name, int value) {
  // Each is an improvement, none a condition: a kernel that refuses one still listens.
  setsockopt(socket, level, name, &value, sizeof value);
}

}  // namespace

Result<Listeners> open_listeners(const std::string& host, uint16_t port, int count) {
  auto address = parse_address(host, port);
  if (!address) return std::unexpected(address.error());
  auto& [storage, length] = *address;
  Listeners listeners;
  const auto give_up = [&](const char* what, int socket) -> Result<Listeners> {
    const int error = errno;
    if (socket >= 0) close(socket);
    for (const int opened : listeners.sockets) close(opened);
    const std::string where = host + " port " + std::to_string(port);
    if (error == EADDRINUSE)
      return fail(ErrorKind::kUnavailable, where + " is in use by another process; stop it or set SERVICE_PORT");
    if (error == EACCES && port > 0 && port < 1024)
      return fail(ErrorKind::kUnavailable,
                  where +
                      " is below 1024: that takes the capability CAP_NET_BIND_SERVICE (systemd: "
                      "AmbientCapabilities=CAP_NET_BIND_SERVICE), or set SERVICE_PORT to another");
    return fail_errno((std::string(what) + " on " + where).c_str(), error);
  };

  for (int i = 0; i < count; ++i) {
    const int socket = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket < 0) return give_up("socket", socket);
    set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    if (i > 0) set_option(socket, SOL_SOCKET, SO_REUSEPORT, 1);
    if (bind(socket, reinterpret_cast<sockaddr*>(&storage), length) != 0) return give_up("bind", socket);
    if (i == 0) {
      set_option(socket, SOL_SOCKET, SO_REUSEPORT, 1);
      // A picked port is the same for all workers.
      if (getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0)
        return give_up("getsockname", socket);
      listeners.port = ntohs(storage.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port
                                                           : reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
    }
    listeners.sockets.push_back(socket);
  }
  // Listening only when all are bound: connections are not shared out to a part of the workers first. A port taken by a
  // listener that was bound meanwhile shows here.
  for (const int socket : listeners.sockets) {
    if (listen(socket, kBacklog) != 0) return give_up("listen", -1);
  }
  return listeners;
}

bool refuse_handshakes(int listener) {
  constexpr uint32_t kFlagsOffset = 13;  // in the TCP header (RFC 9293 section 3.1)
  constexpr uint32_t kSyn = 0x02;
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlagsOffset),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kSyn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),  // drop
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  return setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
}

}  // namespace txn
