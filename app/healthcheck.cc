// The subcommand healthcheck: what a container's runtime asks, for which the image then needs no curl.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "app/commands.h"
#include "app/tls_reload.h"
#include "core/concat.h"

namespace txn {
namespace {

constexpr time_t kPatienceSeconds = 3;

int refuse(std::string_view what, int exit_status = kExitFailure) {
  print_error(std::string(what));
  return exit_status;
}

// Where this process reaches a service that listens on `host`.
std::string reachable(const std::string& host) {
  if (host == "0.0.0.0") return "127.0.0.1";
  if (host == "::") return "::1";
  return host;
}

struct Socket {
  int descriptor = -1;
  ~Socket() {
    if (descriptor >= 0) close(descriptor);
  }
};

// Connects `socket`, with kPatienceSeconds for that, for each send and for each receive.
bool connect_to(Socket& socket, const std::string& host, uint16_t port) {
  sockaddr_storage address{};
  socklen_t length = 0;
  if (auto* ipv4 = reinterpret_cast<sockaddr_in*>(&address); inet_pton(AF_INET, host.c_str(), &ipv4->sin_addr) == 1) {
    ipv4->sin_family = AF_INET;
    ipv4->sin_port = htons(port);
    length = sizeof *ipv4;
  } else {
    auto* ipv6 = reinterpret_cast<sockaddr_in6*>(&address);
    inet_pton(AF_INET6, host.c_str(), &ipv6->sin6_addr);  // settings hold addresses only
    ipv6->sin6_family = AF_INET6;
    ipv6->sin6_port = htons(port);
    length = sizeof *ipv6;
  }
  socket.descriptor = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket.descriptor < 0) return false;
  const timeval patience{.tv_sec = kPatienceSeconds, .tv_usec = 0};
  setsockopt(socket.descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  setsockopt(socket.descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return connect(socket.descriptor, reinterpret_cast<const sockaddr*>(&address), length) == 0;
}

// "HTTP/1.1 200 OK", or what there is of it.
std::string ask_for_status_line(int descriptor, std::string_view path) {
  const std::string request =
      concat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: healthcheck\r\nConnection: close\r\n\r\n");
  if (send(descriptor, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) return {};
  std::string answer;
  char buffer[512];
  while (answer.find('\n') == std::string::npos) {
    const ssize_t count = recv(descriptor, buffer, sizeof buffer, 0);
    if (count <= 0) break;
    answer.append(buffer, static_cast<size_t>(count));
  }
  return answer.substr(0, answer.find_first_of("\r\n"));
}

}  // namespace

int cmd_healthcheck(const Settings& settings, const HealthcheckOptions& options) {
  if (!settings.operations_port && serves_tls(settings))
    return refuse("healthcheck speaks plain HTTP, and the service HTTPS: set OPERATIONS_PORT for both", kExitUsage);
  const uint16_t port = settings.operations_port.value_or(settings.service_port);
  if (port == 0) return refuse("healthcheck needs to know the port: it is 0, so the kernel has picked one", kExitUsage);
  const std::string host = reachable(settings.service_host);
  const std::string_view path = options.ready ? "/readyz" : "/livez";
  const std::string where = concat(host, " port ", port, path);

  Socket socket;
  if (!connect_to(socket, host, port)) return refuse(concat(where, ": ", std::strerror(errno)));
  const std::string status_line = ask_for_status_line(socket.descriptor, path);
  if (status_line.empty()) return refuse(concat(where, ": no answer within ", kPatienceSeconds, " s"));
  if (!status_line.starts_with("HTTP/1.1 200")) return refuse(concat(where, ": ", status_line));
  return 0;
}

}  // namespace txn
