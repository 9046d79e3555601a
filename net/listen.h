// Listening sockets: one a worker on one port.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"

namespace txn {

struct Listeners {
  std::vector<int> sockets;  // owned by the caller, listening, TCP_NODELAY inherited by what they accept
  uint16_t port = 0;         // the one bound, when 0 was asked for
};

// Opens `count` sockets on the address `host` (IPv4 or IPv6 literal, not a name) and `port`, among which the kernel
// shares out connections (SO_REUSEPORT). Another process on the port is an error, although SO_REUSEPORT by itself would
// let two of the same user share it: the first socket is bound without, which fails if anybody is there, and gets it
// afterwards.
Result<Listeners> open_listeners(const std::string& host, uint16_t port, int count);

// From now on no handshake begins on `listener` (the kernel drops SYNs), and those that have begun still succeed: the
// listener can be closed a moment later without resetting a client that had been let in. False when the kernel does not
// do it; then all goes on as before. Source: socket(7), SO_ATTACH_FILTER; a filter on a TCP socket begins at the TCP
// header.
bool refuse_handshakes(int listener);

}  // namespace txn
