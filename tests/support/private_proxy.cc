#include "tests/support/private_proxy.h"

#include <unistd.h>

#include "tests/support/free_port.h"
#include "tests/support/raw_client.h"

namespace txn::test {
namespace {

constexpr Milliseconds kStartTimeout{30'000};

void replace_all(std::string& text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

}  // namespace

PrivateProxy::PrivateProxy(Kind kind, std::string configuration) : port_(free_port()) {
  const std::string root = TXN_PROXIES_DIR;
  const std::string program = root + (kind == Kind::kHaproxy ? "/usr/sbin/haproxy" : "/usr/sbin/nginx");
  if (::access(program.c_str(), X_OK) != 0) fatal(program + " is missing; cmake/fetch-proxies.sh gets it");
  replace_all(configuration, "@PORT@", std::to_string(port_));
  replace_all(configuration, "@DIRECTORY@", directory_.path());
  const std::string file = directory_.write("proxy.conf", configuration);

  Pipe pipe = Pipe::create();
  SpawnOptions spawn;
  if (kind == Kind::kHaproxy) {
    spawn.argv = {program, "-db", "-f", file};
  } else {
    spawn.argv = {program, "-p", directory_.path(), "-e", "stderr", "-c", file};
  }
  spawn.env = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "LD_LIBRARY_PATH=" + root + "/lib"};
  spawn.directory = directory_.path();
  spawn.stdout_fd = spawn.stderr_fd = pipe.write_end.get();
  output_ = std::make_unique<OutputCollector>(std::move(pipe.read_end));
  process_ = std::make_unique<ChildProcess>(spawn);
  pipe.write_end.reset();
  const bool up = wait_until([&] { return !process_->running() || RawClient(port_).connected(); }, kStartTimeout);
  if (!up || !process_->running()) fatal(program + " does not start:\n" + output());
}

}  // namespace txn::test
