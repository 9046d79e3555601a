#include "db/pg_targets.h"

#include <libpq-fe.h>
#include <netdb.h>
#include <sys/socket.h>

#include <charconv>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "core/concat.h"

namespace txn {
namespace {

using Parameters = std::map<std::string, std::string>;
using Options = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;

Parameters to_map(const Options& options) {
  Parameters parameters;
  if (options == nullptr) return parameters;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    // An empty value is as if it were not there, for libpq too.
    if (option->val != nullptr && option->val[0] != '\0') parameters.emplace(option->keyword, option->val);
  }
  return parameters;
}

// Without those that `parameters` say: what PGHOST, PGPORT ... and the service that PGSERVICE names do.
void add_defaults(Parameters& parameters) {
  Parameters defaults = to_map(Options(PQconndefaults(), &PQconninfoFree));
  for (const char* keyword : {"host", "hostaddr", "port", "target_session_attrs", "connect_timeout"}) {
    if (auto node = defaults.extract(keyword)) parameters.insert(std::move(node));
  }
}

// "a,,b" are three; nothing is none.
std::vector<std::string> split(const Parameters& parameters, const char* keyword) {
  std::vector<std::string> parts;
  const auto found = parameters.find(keyword);
  if (found == parameters.end()) return parts;
  std::string_view rest = found->second;
  while (true) {
    const size_t comma = rest.find(',');
    parts.emplace_back(rest.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    rest.remove_prefix(comma + 1);
  }
}

bool is_socket(const std::string& host) { return host.empty() || host.front() == '/' || host.front() == '@'; }

std::string name_of(const std::string& host, const std::string& address, const std::string& port) {
  const std::string where = host.empty() && address.empty()      ? "the local socket"
                            : address.empty() || host == address ? host
                            : host.empty()                       ? address
                                                                 : concat(host, " (", address, ")");
  return port.empty() ? where : concat(where, ", port ", port);
}

}  // namespace

Result<Parameters> parse_conninfo(const std::string& conninfo) {
  char* message = nullptr;
  const Options options(PQconninfoParse(conninfo.c_str(), &message), &PQconninfoFree);
  // Quotes what it could not parse, which may be a part of a password.
  PQfreemem(message);
  if (options == nullptr) {
    return fail(ErrorKind::kInvalidArgument,
                "DATABASE_URL is neither a well-formed URI nor \"key=value ...\" that libpq knows");
  }
  Parameters parameters = to_map(options);
  // An '@' in a password makes the rest of it a "host" that error messages would name. In front it is a socket's.
  for (const std::string& host : split(parameters, "host")) {
    if (host.find('@', 1) != std::string::npos) {
      return fail(ErrorKind::kInvalidArgument,
                  "the host in DATABASE_URL contains '@'; an '@' in the user or password is written %40");
    }
  }
  return parameters;
}

bool needs_read_write(const Parameters& parameters) {
  Parameters all = parameters;
  add_defaults(all);
  const auto attributes = all.find("target_session_attrs");
  const bool is_said = parameters.contains("target_session_attrs") || std::getenv("PGTARGETSESSIONATTRS") != nullptr ||
                       (attributes != all.end() && attributes->second != "any");  // which is what libpq has built in
  return !is_said && (split(all, "host").size() > 1 || split(all, "hostaddr").size() > 1);
}

Result<std::vector<std::string>> resolve_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    return fail(ErrorKind::kUnavailable,
                concat("could not translate host name \"", host, "\" to address: ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, &freeaddrinfo);
  std::vector<std::string> texts;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(address->ai_addr, address->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
      texts.emplace_back(text);
  }
  return texts;
}

Result<PgTargets> list_targets(const std::string& conninfo,
                               const std::function<Result<std::vector<std::string>>(const std::string&)>& resolve) {
  auto parsed = parse_conninfo(conninfo);
  if (!parsed) return std::unexpected(parsed.error());
  const bool has_service = parsed->contains("service");
  Parameters all = *parsed;
  if (!has_service) add_defaults(all);

  PgTargets out;
  if (const auto timeout = all.find("connect_timeout"); timeout != all.end()) {
    int seconds = 0;
    const std::string& text = timeout->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error == std::errc() && seconds > 0) out.connect_timeout_seconds = seconds;  // 0 and less: no end
  }
  const std::vector<std::string> hosts = split(all, "host");
  const std::vector<std::string> addresses = split(all, "hostaddr");
  const std::vector<std::string> ports = split(all, "port");
  const size_t count = !addresses.empty() ? addresses.size() : !hosts.empty() ? hosts.size() : 1;
  const bool lists_match = (addresses.empty() || hosts.empty() || addresses.size() == hosts.size()) &&
                           (ports.size() <= 1 || ports.size() == count);
  if (has_service || !lists_match) {
    out.targets.push_back({.name = has_service ? concat("service ", parsed->at("service")) : "the database",
                           .parameters = std::move(*parsed)});
    return out;
  }

  const bool read_write = needs_read_write(*parsed);
  Parameters common = std::move(*parsed);
  for (const char* keyword : {"host", "hostaddr", "port"}) common.erase(keyword);
  if (read_write) common.emplace("target_session_attrs", "read-write");
  const auto add = [&](const std::string& host, const std::string& address, const std::string& port) {
    PgTarget target{.name = name_of(host, address, port), .parameters = common};
    if (!host.empty()) target.parameters.emplace("host", host);
    if (!address.empty()) target.parameters.emplace("hostaddr", address);
    if (!port.empty()) target.parameters.emplace("port", port);
    out.targets.push_back(std::move(target));
  };
  for (size_t i = 0; i < count; ++i) {
    const std::string host = hosts.empty() ? "" : hosts[i];
    const std::string address = addresses.empty() ? "" : addresses[i];
    const std::string port = ports.empty() ? "" : ports.size() == 1 ? ports[0] : ports[i];
    if (!address.empty() || is_socket(host)) {
      add(host, address, port);
      continue;
    }
    const auto resolved = resolve(host);
    if (!resolved) out.problems.push_back(resolved.error().message);
    if (resolved)
      for (const std::string& found : *resolved) add(host, found, port);
  }
  return out;
}

}  // namespace txn
