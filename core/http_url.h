// Where an HTTP server is and what to ask it for: a URL taken apart. Read by parse_http_url() of core/config.h.
#pragma once

#include <cstdint>
#include <string>

namespace txn {

struct HttpUrl {
  std::string host;  // a name, or an IPv4 or IPv6 address without brackets
  uint16_t port = 80;
  std::string target = {};  // path and query as they go into the request line; "" when the URL has no path, or just "/"
  friend bool operator==(const HttpUrl&, const HttpUrl&) = default;
};

}  // namespace txn
