// Reads for one worker: prepared statements, many at once on a few pipelined connections. What is asked for during a
// turn goes out as one group with one Sync; a statement that fails is answered so, its neighbours in the group are
// asked again. Belongs to the worker's thread.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/error.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/pause.h"
#include "core/task.h"
#include "db/pg_connection.h"
#include "db/pg_result.h"
#include "db/statements.h"

namespace txn {

class Connector;

struct ReaderOptions {
  int connections = 2;
  size_t queue_max = 4096;
  size_t group_max = 64;
  int64_t command_timeout_ns = 30 * kNanosPerSecond;
  int64_t queue_wait_ns = 5 * kNanosPerSecond;
};

struct ReaderCounters {
  Gauge queued;     // reads that wait for a connection
  Counter reads;    // asked for
  Counter failed;   // the database refused the statement
  Counter refused;  // answered without the database: it was away, the queue was full, or none was free in time
};

struct ReadListTag;

// A read on its way: lives in the frame of the handler that awaits it.
class PendingRead : public ListNode<ReadListTag> {
 public:
  PendingRead(const Statement& asked, PgParameters& values) : statement(asked), parameters(values) {}
  const Statement& statement;
  PgParameters& parameters;
  Result<PgResult> result = fail(ErrorKind::kUnavailable, "the database is away");
  int64_t queued_ns = 0;
  int attempts = 0;
  std::coroutine_handle<> waiting;
};

class ReadConnection;

class Reader final : private Flusher, private Timer {
 public:
  // All references must outlive the reader.
  Reader(Loop& loop, Connector& connector, DatabaseCounters& connections, ReaderOptions options);
  ~Reader();

  // Awaitable Result<PgResult>; both arguments must live until then. Errors: kUnavailable (database away, overload),
  // kDatabase (the statement failed; the message is for the log).
  auto query(const Statement& statement, PgParameters& parameters) {
    struct Query : PendingRead {
      Reader& reader;
      Query(Reader& owner, const Statement& asked, PgParameters& values) : PendingRead(asked, values), reader(owner) {}
      bool await_ready() const { return !reader.admits(); }
      void await_suspend(std::coroutine_handle<> handle) {
        waiting = handle;
        reader.enqueue(*this);
      }
      Result<PgResult> await_resume() { return std::move(result); }
    };
    return Query(*this, statement, parameters);
  }

  void start(Scope& scope);
  void stop();
  bool is_connected() const;
  const ReaderCounters& counters() const { return counters_; }

 private:
  friend class ReadConnection;
  bool admits();
  void enqueue(PendingRead& pending);
  void requeue(PendingRead& pending);
  Task<void> give_way();
  void answer(PendingRead& pending) { loop_.resume_soon(pending.waiting); }
  void flush() override;
  void on_timer() override;

  Loop& loop_;
  Connector& connector_;
  const ReaderOptions options_;
  Pause give_way_pause_;
  std::vector<std::unique_ptr<ReadConnection>> connections_;
  IntrusiveList<PendingRead, ReadListTag> queue_;
  bool stopping_ = false;
  ReaderCounters counters_;
};

}  // namespace txn
