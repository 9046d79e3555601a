#include "tests/support/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "tests/support/child_process.h"

namespace txn::test {

uint16_t free_port(const std::string& host) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (!socket || ::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 ||
      ::bind(socket.get(), generic, length) != 0 || ::getsockname(socket.get(), generic, &length) != 0)
    fatal("no free port on " + host + ": " + std::strerror(errno));
  return ntohs(address.sin_port);
}

}  // namespace txn::test
