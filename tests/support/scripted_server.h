// A server of the tests' own that a client of ours talks to: it behaves as told, well or badly, and counts who came.
//
// One thread, one connection at a time unless it is told to hold them. What it does can be changed while it runs, and
// it can go away and come back on the same port.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/child_process.h"

namespace txn::test {

class ScriptedServer {
 public:
  // What happens on a connection once a request's head has come in.
  struct Script {
    std::string answer = {};  // sent as it is
    int drip_ms = 0;          // > 0: a byte at a time with this pause
    bool reads = true;        // false: answers, or hangs, without waiting for the request
    bool hangs = false;       // then keeps the connection open until the server goes or the script changes
    bool resets = false;      // then RST in place of FIN
    static Script respond(int status, const std::string& body = "{}");
    static Script silence() { return {.reads = false, .hangs = true}; }
  };

  // Listens on 127.0.0.1, or ::1, on a free port.
  explicit ScriptedServer(Script script, int family = AF_INET);
  ScriptedServer(const ScriptedServer&) = delete;
  ~ScriptedServer();

  uint16_t port() const { return port_; }
  std::string url(const std::string& path = "") const;

  void behave(Script script);
  void stop();   // the port refuses connections
  void start();  // listens there again

  int connections() const { return connections_.load(); }
  // The head of the last request that was read.
  std::string last_request() const;

 private:
  UniqueFd bind_to(uint16_t port);
  void serve();
  void handle(int socket);
  bool should_end(int generation) const;

  const int family_;
  uint16_t port_ = 0;
  UniqueFd reserve_;  // bound and not listening: keeps the port from others while nobody listens
  UniqueFd listener_;
  mutable std::mutex mutex_;
  Script script_;             // guarded by mutex_
  std::string last_request_;  // guarded by mutex_
  std::atomic<int> generation_{0};
  std::atomic<int> connections_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace txn::test
