// A Redis server of the test's own on a loopback address that no other process of this run uses, without persistence,
// ended by its PID when the object goes away.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/child_process.h"

namespace txn::test {

class PrivateRedis {
 public:
  // Starts it; `arguments` as redis-server takes them: {"--requirepass", "secret"}. Throws when it does not come up.
  explicit PrivateRedis(std::vector<std::string> arguments = {});
  PrivateRedis(const PrivateRedis&) = delete;
  ~PrivateRedis() { kill9(); }

  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  // "redis://HOST:PORT/DATABASE", with "USER:PASSWORD" before the host when given.
  std::string url(int database = 0, const std::string& credentials = "") const;

  // What redis-cli prints for a command; "" when the server does not answer within `timeout`.
  std::string command(const std::vector<std::string>& words, Milliseconds timeout = Milliseconds(5'000)) const;

  // Again after kill9(), on the same port, empty.
  void start();
  void kill9();
  void send_signal(int signal) { process_->send_signal(signal); }

 private:
  const std::vector<std::string> arguments_;
  TempDirectory directory_;
  std::string host_;
  uint16_t port_ = 0;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace txn::test
