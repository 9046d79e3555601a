// A line to PostgreSQL that can break: a TCP port of loopback whose connections are carried on to a Unix socket, late,
// in silence or not at all when told so.
//
// One thread carries everything; the faults may be switched from any other.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "tests/support/child_process.h"

namespace txn::test {

class Proxy {
 public:
  // Which way of a half-open line swallows what is sent.
  enum class Silence { kRequests, kAnswers, kBoth };

  Proxy(std::string socket_path, uint32_t seed);
  Proxy(const Proxy&) = delete;
  ~Proxy();

  uint16_t port() const { return port_; }

  // Nobody is let in any more: connecting is refused, as by a machine whose server is not there (and not accepted and
  // ended, after which libpq would not go on to its next host). What is connected stays.
  void close_door();
  void open_door();
  // Ends every connection there is at once, the service's with RST; new ones are carried.
  void reset_all();
  // From now on every chunk, either way, arrives up to `most` later; zero: at once again.
  void delay_up_to(Milliseconds most);
  // The connections there are become half-open for good: what is sent into a silent way is acknowledged and lost, and
  // neither side hears that the other has closed. New ones are carried.
  void fall_silent(Silence silence);
  // The ends of half-open connections are told at last.
  void cut_silent();

 private:
  using Clock = std::chrono::steady_clock;

  // One way of a connection.
  struct Way {
    struct Chunk {
      Clock::time_point due;
      std::string bytes;
    };
    std::deque<Chunk> chunks;
    bool ended = false;   // the sender has closed
    bool silent = false;  // swallow
  };
  struct Line {
    UniqueFd client;
    UniqueFd server;
    Way requests;  // to the server
    Way answers;   // to the client
    bool half_open = false;
    bool dead = false;
  };

  UniqueFd bound_socket();
  void run();
  void accept_one();
  void receive(Way& way, int from);
  void deliver(Line& line, Way& way, int to);
  Milliseconds time_to_next_chunk() const;
  void wake() const;

  const std::string socket_path_;
  uint16_t port_ = 0;
  UniqueFd placeholder_;  // bound and never listening, so that the port stays ours while the door is closed
  UniqueFd wake_fd_;
  std::mutex mutex_;   // guards what follows
  UniqueFd listener_;  // none: the door is closed
  std::mt19937 random_;
  std::list<Line> lines_;
  Milliseconds delay_{0};
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace txn::test
