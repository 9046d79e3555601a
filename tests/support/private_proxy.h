// An HAProxy or nginx of the tests' own on a free port of loopback, with a configuration of the test's. `make test`
// puts the programs under build/deps (cmake/fetch-proxies.sh).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/child_process.h"

namespace txn::test {

class PrivateProxy {
 public:
  enum class Kind { kHaproxy, kNginx };

  // `configuration` is the program's own, with @PORT@ where it is to listen and @DIRECTORY@ for a folder it may write
  // to. Returns when it accepts connections; aborts the run with its output when it does not.
  PrivateProxy(Kind kind, std::string configuration);
  PrivateProxy(const PrivateProxy&) = delete;

  uint16_t port() const { return port_; }
  // What it has written to its output so far.
  std::string output() const { return output_->text(); }

 private:
  TempDirectory directory_;
  uint16_t port_ = 0;
  std::unique_ptr<OutputCollector> output_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace txn::test
