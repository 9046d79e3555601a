#include "net/client_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "net/ascii.h"

namespace txn {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr size_t kAddressTextMax = 45;  // INET6_ADDRSTRLEN without the NUL

bool matches(const Cidr& network, const IpAddress& address) {
  if (network.is_ipv6 == address.is_ipv4()) return false;
  const uint8_t* bytes = address.bytes.data() + (network.is_ipv6 ? 0 : kMappedPrefix.size());
  const size_t whole = network.prefix_length / 8;
  if (std::memcmp(bytes, network.address.data(), whole) != 0) return false;
  const unsigned rest = network.prefix_length % 8;
  return rest == 0 || ((bytes[whole] ^ network.address[whole]) >> (8 - rest)) == 0;
}

// RFC 7239 section 6: digits, or an underscore and more.
bool is_port(std::string_view text) {
  if (text.empty()) return false;
  if (text.front() == '_') return true;
  return text.size() <= 5 && std::ranges::all_of(text, is_digit);
}

// "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1]:80", and where `bare` "2001:db8::1".
std::optional<IpAddress> parse_node(std::string_view text, bool bare) {
  if (text.starts_with('[')) {
    const size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    const std::string_view rest = text.substr(bracket + 1);
    if (!rest.empty() && (rest.front() != ':' || !is_port(rest.substr(1)))) return std::nullopt;
    const std::string_view inside = text.substr(1, bracket - 1);
    return inside.find(':') == std::string_view::npos ? std::nullopt : IpAddress::parse(inside);
  }
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return IpAddress::parse(text);
  if (text.find(':', colon + 1) != std::string_view::npos) return bare ? IpAddress::parse(text) : std::nullopt;
  if (!is_port(text.substr(colon + 1))) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  return host.empty() ? std::nullopt : IpAddress::parse(host);
}

// Goes back from the peer over hops that are trusted.
class Walk {
 public:
  Walk(const IpAddress& peer, std::span<const Cidr> trusted) : client_(peer), trusted_(trusted) {}

  // The next hop to the left, nothing where it is no address. Returns whether to go on.
  bool step(const std::optional<IpAddress>& hop) {
    if (!hop) return false;
    client_ = *hop;
    return ++hops_ < kForwardedHopsMax && contains(trusted_, client_);
  }

  const IpAddress& client() const { return client_; }

 private:
  IpAddress client_;
  std::span<const Cidr> trusted_;
  size_t hops_ = 0;
};

IpAddress walk_x_forwarded_for(Walk walk, std::span<const std::string_view> fields) {
  for (size_t i = fields.size(); i-- > 0;) {
    std::string_view field = fields[i];
    while (true) {
      const size_t comma = field.rfind(',');
      const std::string_view element = trim_blanks(comma == std::string_view::npos ? field : field.substr(comma + 1));
      // RFC 9110 section 5.6.1.2: empty elements do not count.
      if (!element.empty() && !walk.step(parse_node(element, true))) return walk.client();
      if (comma == std::string_view::npos) break;
      field = field.substr(0, comma);
    }
  }
  return walk.client();
}

// Reads one Forwarded field from the left, because only so can its quotes be told apart. What a client has put before
// the element of a trusted proxy may make all of the field malformed; then none of it counts.
class ForwardedField {
 public:
  explicit ForwardedField(std::string_view text) : rest_(text) {}

  // The hops, the last ones of them, in order. False when the field is malformed.
  bool parse() {
    skip_blanks();
    while (!rest_.empty()) {
      if (!take(',')) {
        if (!parse_element()) return false;
        if (!rest_.empty() && !take(',')) return false;
      }
      skip_blanks();
    }
    return true;
  }

  // The i-th hop from the right. REQUIRES: i < size().
  const std::optional<IpAddress>& from_right(size_t i) const { return hops_[(count_ - 1 - i) % kForwardedHopsMax]; }
  size_t size() const { return std::min(count_, kForwardedHopsMax); }

 private:
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  std::string_view take_token() {
    size_t size = 0;
    while (size < rest_.size() && is_token_char(rest_[size])) ++size;
    const std::string_view token = rest_.substr(0, size);
    rest_.remove_prefix(token.size());
    return token;
  }

  // forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] ), blanks between them tolerated.
  bool parse_element() {
    std::optional<IpAddress> hop;
    bool has_for = false;
    while (true) {
      skip_blanks();
      if (!rest_.empty() && rest_.front() != ';' && rest_.front() != ',') {
        const std::string_view name = take_token();
        if (name.empty() || !take('=')) return false;
        std::string_view value;
        if (!parse_value(value)) return false;
        if (equals_ignore_case(name, "for")) {
          if (has_for) return false;  // each parameter once in an element
          has_for = true;
          hop = parse_node(value, false);
        }
        skip_blanks();
      }
      if (!take(';')) break;
    }
    hops_[count_++ % kForwardedHopsMax] = hop;
    return true;
  }

  // A token or a quoted string. `value` refers to the field or to unquoted_.
  bool parse_value(std::string_view& value) {
    if (!take('"')) {
      value = take_token();
      return !value.empty();
    }
    size_t size = 0;
    while (!rest_.empty() && rest_.front() != '"') {
      if (rest_.front() == '\\') rest_.remove_prefix(1);
      if (rest_.empty()) return false;
      // What is longer than any address and port is none; it only has to be read past.
      if (size < unquoted_.size()) unquoted_[size] = rest_.front();
      ++size;
      rest_.remove_prefix(1);
    }
    value = size <= unquoted_.size() ? std::string_view(unquoted_.data(), size) : std::string_view();
    return take('"');
  }

  std::string_view rest_;
  std::array<std::optional<IpAddress>, kForwardedHopsMax> hops_;
  size_t count_ = 0;
  std::array<char, 64> unquoted_{};
};

IpAddress walk_forwarded(Walk walk, std::span<const std::string_view> fields) {
  for (size_t i = fields.size(); i-- > 0;) {
    ForwardedField field(fields[i]);
    if (!field.parse()) return walk.client();
    for (size_t hop = 0; hop < field.size(); ++hop) {
      if (!walk.step(field.from_right(hop))) return walk.client();
    }
  }
  return walk.client();
}

}  // namespace

IpAddress IpAddress::of(const sockaddr_in6& peer) {
  IpAddress address;
  std::memcpy(address.bytes.data(), &peer.sin6_addr, address.bytes.size());
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.size() > kAddressTextMax || text.find('\0') != std::string_view::npos) return std::nullopt;
  char terminated[kAddressTextMax + 1];
  terminated[text.copy(terminated, text.size())] = '\0';  // not memcpy: an empty text may point nowhere
  IpAddress address;
  if (inet_pton(AF_INET6, terminated, address.bytes.data()) == 1) return address;
  std::ranges::copy(kMappedPrefix, address.bytes.begin());
  if (inet_pton(AF_INET, terminated, address.bytes.data() + kMappedPrefix.size()) == 1) return address;
  return std::nullopt;
}

bool IpAddress::is_ipv4() const { return std::memcmp(bytes.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0; }

IpAddress IpAddress::network() const {
  if (is_ipv4()) return *this;
  IpAddress prefix;
  std::copy_n(bytes.begin(), 8, prefix.bytes.begin());
  return prefix;
}

bool contains(std::span<const Cidr> networks, const IpAddress& address) {
  return std::ranges::any_of(networks, [&](const Cidr& network) { return matches(network, address); });
}

IpAddress client_address(const IpAddress& peer, std::span<const std::string_view> x_forwarded_for,
                         std::span<const std::string_view> forwarded, std::span<const Cidr> trusted) {
  if (!contains(trusted, peer)) return peer;
  if (forwarded.empty()) return walk_x_forwarded_for({peer, trusted}, x_forwarded_for);
  const IpAddress client = walk_forwarded({peer, trusted}, forwarded);
  if (x_forwarded_for.empty() || walk_x_forwarded_for({peer, trusted}, x_forwarded_for) == client) return client;
  return peer;
}

IpAddress client_address(const IpAddress& peer, const HttpRequest& request, std::span<const Cidr> trusted) {
  const bool is_forwarded = request.has(KnownHeader::kXForwardedFor) || request.has(KnownHeader::kForwarded);
  if (!is_forwarded || !contains(trusted, peer)) return peer;
  std::array<std::string_view, kMaxHeaderFields> x_forwarded_for;
  std::array<std::string_view, kMaxHeaderFields> forwarded;
  size_t x_forwarded_for_count = 0;
  size_t forwarded_count = 0;
  for (size_t i = 0; i < request.header_count(); ++i) {
    const HeaderField field = request.header(i);
    if (equals_ignore_case(field.name, "x-forwarded-for")) x_forwarded_for[x_forwarded_for_count++] = field.value;
    if (equals_ignore_case(field.name, "forwarded")) forwarded[forwarded_count++] = field.value;
  }
  return client_address(peer, std::span(x_forwarded_for).first(x_forwarded_for_count),
                        std::span(forwarded).first(forwarded_count), trusted);
}

}  // namespace txn
