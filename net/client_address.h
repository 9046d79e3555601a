// Who sent a request: the peer, or, behind proxies that are trusted, what they say in X-Forwarded-For or Forwarded
// (RFC 7239). No I/O, no allocation.
//
// Anybody can write these headers, so they are read from the right: the last element was added by the peer, the one
// before it by the hop that the last one names, and so on. An element counts only while everything to the right of it
// is trusted; the first hop that is not trusted is the client.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/config.h"
#include "net/http_request.h"

namespace txn {

// An address as 16 bytes; IPv4 as ::ffff:a.b.c.d, so that each address has one spelling.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  static IpAddress of(const sockaddr_in6& peer);
  // "192.0.2.1" or "2001:db8::1"; no zone, no port, no brackets.
  static std::optional<IpAddress> parse(std::string_view text);

  bool is_ipv4() const;
  // What one customer is: an IPv4 address, or the /64 that an IPv6 host may choose its addresses from (RFC 4291 section
  // 2.5.4; RFC 8981 has hosts change them by the day).
  IpAddress network() const;

  friend bool operator==(const IpAddress&, const IpAddress&) = default;
};

bool contains(std::span<const Cidr> networks, const IpAddress& address);

// Hops that are looked at, from the right; a longer chain of trusted proxies ends at the last of these.
inline constexpr size_t kForwardedHopsMax = 32;

// The client by header fields, each in the order they came. `peer` when it is not in `trusted`, and when there is
// nothing that can be believed. An element that is no address ("unknown", an obfuscated one, garbage) ends the walk at
// the hop that added it. A proxy appends to one of the two headers and passes the other on as the client sent it; so
// where both are there and name different clients neither is believed.
IpAddress client_address(const IpAddress& peer, std::span<const std::string_view> x_forwarded_for,
                         std::span<const std::string_view> forwarded, std::span<const Cidr> trusted);

// The same for a request.
IpAddress client_address(const IpAddress& peer, const HttpRequest& request, std::span<const Cidr> trusted);

}  // namespace txn
