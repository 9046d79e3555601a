// Fuzz target: whatever stands in X-Forwarded-For and Forwarded, nothing may crash or be read outside; an untrusted
// peer is the client; and an element appended by a trusted proxy is the client or nobody is. Fields are separated by
// line feeds; one that starts with 'F' is a Forwarded field. libFuzzer supplies main().
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "net/client_address.h"

namespace txn {
namespace {

IpAddress address(std::string_view text) {
  const auto parsed = IpAddress::parse(text);
  CHECK(parsed.has_value(), "an address");
  return *parsed;
}

void check(std::string_view input) {
  static const std::vector<Cidr> trusted{*parse_cidr("10.0.0.0/8"), *parse_cidr("2001:db8::/32")};
  static const IpAddress peer = address("10.0.0.1");
  static const IpAddress stranger = address("192.0.2.1");
  static const IpAddress client = address("203.0.113.7");

  // Copies of exactly their size: the sanitizer sees every byte read outside.
  std::vector<std::unique_ptr<char[]>> copies;
  std::vector<std::string_view> x_forwarded_for;
  std::vector<std::string_view> forwarded;
  while (!input.empty()) {
    std::string_view line = input.substr(0, input.find('\n'));
    input.remove_prefix(std::min(line.size() + 1, input.size()));
    const bool is_forwarded = line.starts_with('F');
    if (is_forwarded) line.remove_prefix(1);
    copies.push_back(std::make_unique_for_overwrite<char[]>(line.size()));
    line.copy(copies.back().get(), line.size());
    (is_forwarded ? forwarded : x_forwarded_for).emplace_back(copies.back().get(), line.size());
  }

  CHECK(client_address(stranger, x_forwarded_for, forwarded, trusted) == stranger, "an untrusted peer is the client");
  (void)client_address(peer, x_forwarded_for, forwarded, trusted).network();

  std::string field = x_forwarded_for.empty() ? "" : std::string(x_forwarded_for.back()) + ",";
  field += "203.0.113.7";
  if (x_forwarded_for.empty()) x_forwarded_for.emplace_back();
  x_forwarded_for.back() = field;
  CHECK(client_address(peer, x_forwarded_for, {}, trusted) == client, "the proxy's element counts");

  for (const char* element : {"for=203.0.113.7", "for=\"203.0.113.7:80\";proto=https"}) {
    field = forwarded.empty() ? "" : std::string(forwarded.back()) + ",";
    field += element;
    std::vector<std::string_view> fields = forwarded;
    if (fields.empty()) fields.emplace_back();
    fields.back() = field;
    const IpAddress found = client_address(peer, {}, fields, trusted);
    CHECK(found == client || found == peer, "the proxy's element counts, or none does");
  }
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  txn::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
