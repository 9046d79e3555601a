// A TCP port for a server of the tests' own that cannot pick one by itself.
#pragma once

#include <cstdint>
#include <string>

namespace txn::test {

// Free on the IPv4 address `host` a moment ago; that somebody takes it before us is possible, and unlikely. Ends the
// run when there is none.
uint16_t free_port(const std::string& host = "127.0.0.1");

}  // namespace txn::test
