// Opens connections to Redis on a thread of its own, because it blocks: name resolution, and the exchanges that prove
// that the connection is of use (AUTH, SELECT, loading a script, running it once). What it hands over is a connected
// socket on which nothing is under way.
#pragma once

#include <condition_variable>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/config.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/mailbox.h"

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
  explicit RedisConnector(RedisOptions options);
  // Waits for the thread, and so for the connection that is being made.
  ~RedisConnector();
  RedisConnector(const RedisConnector&) = delete;
  RedisConnector& operator=(const RedisConnector&) = delete;

  // Any thread: requests that wait are answered with an error, now and from here on.
  void stop();

  const RedisOptions& options() const { return options_; }

 private:
  struct Request : Message {
    Request(RedisConnector& owner, Loop& loop) : connector(owner), reply_to(loop) {}
    void run() override { waiting.resume(); }

    RedisConnector& connector;
    Loop& reply_to;
    Result<OpenedRedis> result = fail(ErrorKind::kUnavailable, "not connected");
    std::coroutine_handle<> waiting;
  };

 public:
  // Awaitable Result<OpenedRedis>.
  auto open(Loop& loop) {
    struct Open : Request {
      using Request::Request;
      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        this->waiting = handle;
        this->connector.enqueue(*this);
      }
      Result<OpenedRedis> await_resume() { return std::move(this->result); }
    };
    return Open(*this, loop);
  }

 private:
  void enqueue(Request& request);
  void run();

  const RedisOptions options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Request*> queue_;  // guarded by mutex_
  bool stopping_ = false;       // guarded by mutex_
  std::thread thread_;
};

}  // namespace txn
