// Opens connections to Redis on a thread of its own, because it blocks: name resolution, and the exchanges that prove
// that the connection is of use (AUTH, SELECT, loading a script, running it once). What it hands over is a connected
// socket on which nothing is under way.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/blocking_thread.h"
#include "core/config.h"
#include "core/error.h"
#include "core/loop.h"

namespace txn {

struct OpenedRedis {
  int socket = -1;         // blocking mode, as the ring wants it; belongs to the receiver
  std::string script_sha;  // what EVALSHA calls the script
};

struct RedisOptions {
  RedisAddress address;
  std::string script;
  // KEYS[1] and ARGV of a run that must succeed. A server that cannot write (full, a replica, loading) is then found
  // out before requests depend on it.
  std::vector<std::string> trial;
  int64_t connect_timeout_ms = 1000;
  int64_t command_timeout_ms = 1000;
};

// Blocking, at most the time-outs per address and command, and what name resolution takes. Errors name the step that
// failed and what the server said; never the password.
Result<OpenedRedis> open_redis(const RedisOptions& options);

class RedisConnector {
 public:
  // Its destructor waits for the connection that is being made.
  explicit RedisConnector(RedisOptions options) : options_(std::move(options)) {}

  // Any thread: requests that wait are answered with an error, now and from here on.
  void stop() { thread_.stop(); }

  const RedisOptions& options() const { return options_; }

  // Awaitable Result<OpenedRedis>.
  auto open(Loop& loop) {
    return thread_.run(loop, [this] { return open_redis(options_); });
  }

 private:
  const RedisOptions options_;
  BlockingThread thread_;
};

}  // namespace txn
