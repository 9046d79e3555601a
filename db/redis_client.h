// One connection to Redis on a worker's ring, on which one script is run, many times at once: commands of a turn are
// sent together, replies come in their order. hiredis parses them; it sees no socket.
//
// Whatever goes wrong (away, slow, an error reply, bytes that are no reply) has one answer: everybody who waits is told
// at once that Redis is of no use, the connection is closed, and another is opened, with growing pauses in between.
// Belongs to the loop's thread.
#pragma once

#include <array>
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/intrusive_list.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/pause.h"
#include "core/task.h"
#include "db/redis_connector.h"

struct redisReader;
struct redisReadTask;

namespace txn {

// Whether the workers' connections are well, so that the log says so once and not once a worker. Any thread.
class RedisHealth {
 public:
  // A worker has to do without from here on; `why` for the log.
  void lost(std::string_view why);
  // That worker has it again.
  void back();

 private:
  std::atomic<int> without_{0};
};

struct RedisCounters {
  Counter runs;         // asked for
  Counter unavailable;  // of these, those told so
  Counter timeouts;     // connections given up for want of an answer in time
  Counter reloads;      // runs that had to bring the script along, because the server had lost it
  Counter connects;
  Counter losses;
};

inline constexpr size_t kRedisReplyValues = 3;
using RedisReply = std::optional<std::array<int64_t, kRedisReplyValues>>;

struct RedisRunListTag;

class RedisClient final : private Flusher, private Timer {
 public:
  // Longest that a run may take. A request waits no longer than that for Redis.
  static constexpr int64_t kTimeoutNs = 200 * kNanosPerMilli;
  // Runs under way; more than this are told that Redis is of no use.
  static constexpr size_t kRunsMax = 4096;
  static constexpr int64_t kPauseMinNs = 50 * kNanosPerMilli;
  static constexpr int64_t kPauseMaxNs = 2 * kNanosPerSecond;

  // All references must outlive the client.
  RedisClient(Loop& loop, RedisConnector& connector, RedisHealth& health);
  ~RedisClient();

  // Keeps a connection open in `scope` until stop().
  void start(Scope& scope);
  // Nobody may be waiting for a run.
  void stop();
  // Whether the first attempt to connect has come to an end.
  bool has_tried() const { return tried_; }
  bool is_connected() const { return socket_ >= 0 && !lost_; }

 private:
  struct Run : public ListNode<RedisRunListTag> {
    Run(RedisClient& owner, std::string_view run_key, std::span<const std::string_view> run_arguments)
        : client(owner), key(run_key), arguments(run_arguments) {}
    RedisClient& client;
    std::string_view key;
    std::span<const std::string_view> arguments;
    bool with_source = false;
    int64_t deadline_ns = 0;
    RedisReply reply;
    std::coroutine_handle<> waiting;
  };

 public:
  // Awaitable RedisReply: runs the script with `key` as KEYS[1] and `arguments` as ARGV, which must stay until then.
  // The script has to return kRedisReplyValues integers. Nothing when Redis is of no use; the script may have run all
  // the same.
  auto run(std::string_view key, std::span<const std::string_view> arguments) {
    struct Awaiter : Run {
      using Run::Run;
      bool await_ready() { return !this->client.admits(); }
      void await_suspend(std::coroutine_handle<> handle) {
        this->waiting = handle;
        this->client.begin(*this);
      }
      RedisReply await_resume() const { return this->reply; }
    };
    return Awaiter(*this, key, arguments);
  }

  const RedisCounters& counters() const { return counters_; }

 private:
  class Receive final : public Completion {
   public:
    explicit Receive(RedisClient& client) : client_(client) {}
    void on_completion(const CompletionEvent& event) override { client_.on_receive(event); }

   private:
    RedisClient& client_;
  };
  class Send final : public Completion {
   public:
    explicit Send(RedisClient& client) : client_(client) {}
    void on_completion(const CompletionEvent& event) override { client_.on_send(event); }

   private:
    RedisClient& client_;
  };
  // What hiredis found, one reply at a time.
  struct Found {
    std::array<int64_t, kRedisReplyValues> values{};
    bool is_result = false;
    bool is_error = false;
    std::string error;
  };
  struct FreeReader {
    void operator()(redisReader* reader) const;
  };

  static void* on_string(const redisReadTask* task, char* text, size_t size);
  static void* on_array(const redisReadTask* task, size_t elements);
  static void* on_integer(const redisReadTask* task, long long value);
  static void* on_nil(const redisReadTask* task);

  Task<void> keep_connected();
  void adopt(OpenedRedis opened);
  bool admits();
  void begin(Run& run);
  void append_command(const Run& run);
  void on_receive(const CompletionEvent& event);
  void on_send(const CompletionEvent& event);
  void on_reply();
  void flush() override;
  void on_timer() override;
  void finish(Run& run);
  void lose(std::string_view why);
  void tell_lost(std::string_view why);
  void resume_keeper_if_idle();

  Loop& loop_;
  RedisConnector& connector_;
  RedisHealth& health_;
  Pause pause_;
  int socket_ = -1;
  bool lost_ = false;
  bool tried_ = false;
  bool told_lost_ = false;
  std::string script_sha_;
  std::unique_ptr<redisReader, FreeReader> reader_;
  Found found_;
  IntrusiveList<Run, RedisRunListTag> runs_;  // in the order of their commands
  size_t run_count_ = 0;
  std::string out_;      // commands of this turn
  std::string sending_;  // what the kernel is sending, from sent_ on
  size_t sent_ = 0;
  std::coroutine_handle<> keeper_;  // keep_connected(), while it waits for the connection to be lost and let go of
  RedisCounters counters_;
  Receive receive_;
  Send send_;
};

}  // namespace txn
