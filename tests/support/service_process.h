// The real service binary: run to its end for subcommands, or kept running for `serve` on a port that it picks itself.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/private_postgres.h"

namespace txn::test {

// Environment variables by name; the service's configuration.
using Settings = std::map<std::string, std::string>;

// Everything a service on `database` needs, with what makes tests quick and quiet: two workers, any free port of
// loopback, no rate limits. (LOG_DIR points into a temporary directory of each process.)
Settings settings_for(const Database& database);

// Path of the binary under test.
std::string service_binary();

// Runs `transactions-service args...` to its end, in a temporary directory, with `settings` as its whole environment.
// `binary`: another release's.
RunResult run_service(const std::vector<std::string>& args, const Settings& settings,
                      Milliseconds timeout = Milliseconds(60'000), const std::string& binary = service_binary());

// `transactions-service serve` (or other args). Start it from the main thread.
class ServiceProcess {
 public:
  struct Options {
    std::vector<std::string> args = {"serve"};
    std::string host = "127.0.0.1";  // where to ask for readiness
    bool wait_for_readiness = true;
    int max_open_files = 0;
    std::string binary = service_binary();
  };

  // Returns when it has logged its port and, unless told otherwise, /readyz says 200; throws std::runtime_error with
  // its output when that does not happen.
  explicit ServiceProcess(const Settings& settings) : ServiceProcess(settings, Options{}) {}
  ServiceProcess(const Settings& settings, const Options& options);
  ServiceProcess(const ServiceProcess&) = delete;
  // SIGKILL when it still runs. When it has ended without having been told to, that fails the test, with its output; so
  // does a log that is not JSON line by line, and a secret, a token or a PIN anywhere in what it has written, to its
  // output or to files.
  ~ServiceProcess();

  uint16_t port() const { return port_; }
  pid_t pid() const { return process_->pid(); }
  bool running() { return process_->running(); }
  bool ready();  // /readyz says 200 right now
  bool wait_until_ready(Milliseconds timeout);

  void send_signal(int signal);
  std::optional<ExitStatus> wait_for_exit(Milliseconds timeout) { return process_->wait_for(timeout); }
  // SIGTERM, then its exit status; nothing when it does not end within `timeout`.
  std::optional<ExitStatus> terminate(Milliseconds timeout = Milliseconds(35'000));
  void kill9();

  // stderr so far, a JSON object a line.
  std::vector<std::string> log_lines() const { return stderr_->lines(); }
  std::string log_text() const { return stderr_->text(); }
  std::string stdout_text() const { return stdout_->text(); }

 private:
  std::string output() const;
  void check_log() const;
  void expect_no_secrets() const;

  TempDirectory directory_;
  std::string log_directory_;
  std::vector<std::string> secrets_;
  std::string host_;
  // In this order: the process, the only writer, goes first.
  std::unique_ptr<OutputCollector> stdout_;
  std::unique_ptr<OutputCollector> stderr_;
  std::unique_ptr<ChildProcess> process_;
  uint16_t port_ = 0;
  bool told_to_end_ = false;
};

}  // namespace txn::test
