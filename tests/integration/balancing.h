// What tests put between clients and replicas: the balancers of deploy/balancers, with the tests' own addresses in
// them.
#pragma once

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "tests/support/raw_client.h"
#include "tests/support/service_process.h"

namespace txn::test {

inline std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  if (at == std::string::npos) throw std::runtime_error("not found: " + what);
  return text.replace(at, what.size(), by);
}

// A file below deploy/ as it is.
inline std::string deployed(const std::string& name) {
  std::ifstream file(std::string(TXN_SOURCE_DIR) + "/deploy/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  if (text.str().empty()) throw std::runtime_error("deploy/" + name + " is missing");
  return text.str();
}

// deploy/balancers/haproxy.cfg before two replicas, for PrivateProxy.
inline std::string deployed_haproxy(const std::string& one, const std::string& two) {
  const std::string listening = replaced(deployed("balancers/haproxy.cfg"), "bind :8000", "bind 127.0.0.1:@PORT@");
  return replaced(replaced(listening, "10.0.0.11:8002", one), "10.0.0.12:8002", two);
}

inline std::string address(const ServiceProcess& replica) { return "127.0.0.1:" + std::to_string(replica.port()); }

// Whether a deposit has succeeded there.
inline bool is_served_from(const ServiceProcess& replica) {
  const std::string metrics = ApiClient(replica.port()).get("/metrics").body;
  return metrics.find("http_requests_total{method=\"POST\",endpoint=\"/api/v1/deposits\",status=\"200\"}") !=
         std::string::npos;
}

}  // namespace txn::test
