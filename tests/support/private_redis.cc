#include "tests/support/private_redis.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "tests/support/free_port.h"

namespace txn::test {
namespace {

// All of Redis is one program that goes by the name it is called. Debian has it in redis-tools as this; the package
// redis-server would add a server of the system's.
constexpr const char* kProgram = "/usr/bin/redis-check-rdb";
constexpr const char* kClient = "/usr/bin/redis-cli";

// All of 127.0.0.0/8 is this machine. An address that follows from the PID keeps ports that other processes are given
// meanwhile (all of them on 127.0.0.1) from being in the way of a restart.
std::string own_loopback_address() {
  const auto pid = static_cast<unsigned>(::getpid());
  const auto part = [](unsigned bits) { return std::to_string(1 + bits % 250); };
  return "127." + part(pid / 62'500) + "." + part(pid / 250) + "." + part(pid);
}

}  // namespace

PrivateRedis::PrivateRedis(std::vector<std::string> arguments)
    : arguments_(std::move(arguments)), host_(own_loopback_address()), port_(free_port(host_)) {
  start();
}

std::string PrivateRedis::url(int database, const std::string& credentials) const {
  const std::string at = credentials.empty() ? "" : credentials + "@";
  return "redis://" + at + host_ + ":" + std::to_string(port_) + "/" + std::to_string(database);
}

std::string PrivateRedis::command(const std::vector<std::string>& words, Milliseconds timeout) const {
  SpawnOptions options;
  options.argv = {kClient, "-h", host_, "-p", std::to_string(port_)};
  options.argv.insert(options.argv.end(), words.begin(), words.end());
  RunResult result = run_program(options, timeout);
  if (!result.ok()) return "";
  while (!result.out.empty() && result.out.back() == '\n') result.out.pop_back();
  return result.out;
}

void PrivateRedis::start() {
  const std::string server = directory_.path() + "/redis-server";
  if (::access(server.c_str(), X_OK) != 0 && ::symlink(kProgram, server.c_str()) != 0)
    throw std::runtime_error("cannot link " + server);
  SpawnOptions options;
  options.argv = {server, "--bind",       host_, "--port", std::to_string(port_), "--save",
                  "",     "--appendonly", "no",  "--dir",  directory_.path()};
  options.argv.insert(options.argv.end(), arguments_.begin(), arguments_.end());
  process_ = std::make_unique<ChildProcess>(options);
  // With a password it answers too, to say so.
  const bool answers =
      wait_until([this] { return !command({"PING"}).empty() || !process_->running(); }, Milliseconds(20'000));
  if (!answers || !process_->running()) throw std::runtime_error("redis-server does not come up");
}

void PrivateRedis::kill9() {
  if (process_) process_->kill_and_wait();
  process_.reset();
}

}  // namespace txn::test
