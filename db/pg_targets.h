// Which servers a conninfo names: one target for each host and address, so that each can be tried by itself and with a
// deadline of its own. libpq's own way through a list waits for a host that accepts and says nothing for as long as it
// may wait at all.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace txn {

struct PgTarget {
  std::string name;  // for logs: "db.example (192.0.2.7), port 5432"
  // What libpq is given, by keyword. Holds the password: not for logs.
  std::map<std::string, std::string> parameters;
};

struct PgTargets {
  std::vector<PgTarget> targets;
  std::vector<std::string> problems;  // a line for each host whose name means nothing
  std::optional<int> connect_timeout_seconds;
};

// What stands in a conninfo or URI, by libpq's keywords. kInvalidArgument for what libpq cannot make sense of and for a
// host with an '@' in it, which is the tail of a password; the text quotes neither.
Result<std::map<std::string, std::string>> parse_conninfo(const std::string& conninfo);

// Whether it names more than one host and says nothing of target_session_attrs, itself or by libpq's environment
// variables: then only a server that takes writes will do.
bool needs_read_write(const std::map<std::string, std::string>& parameters);

// The addresses of `host`, numeric, in the order to try them. Blocks as long as the system's resolver does.
Result<std::vector<std::string>> resolve_host(const std::string& host);

// The order is that of the conninfo, and of a name's addresses that of `resolve`. What is not said comes from libpq's
// environment variables. One target, to be left to libpq, where the conninfo names a service or its lists do not match.
// Has target_session_attrs=read-write where needs_read_write().
// Blocks like `resolve`. Errors as parse_conninfo().
Result<PgTargets> list_targets(
    const std::string& conninfo,
    const std::function<Result<std::vector<std::string>>(const std::string&)>& resolve = resolve_host);

}  // namespace txn
