// Reads for one worker: prepared statements, many at once on a few pipelined connections. What is asked for during a
// turn goes out as one group with one Sync; a statement that fails is answered so, its neighbours in the group are
// asked again. Belongs to the worker's thread.
//
// Fair: of one subject at most ReaderOptions::subject_max reads are in the queue or with the database. Its others wait
// beside the queue, each until one of these is answered, and everybody else's pass them. Not asked for any more: a read
// whose client has gone is not sent.
//
// An error that is neither of its time (a time-out, a lock) nor of its data may be the session's: a statement that is
// gone, a plan made before a migration, a server that has become a standby. The connection is made anew then, and the
// read is tried there once more.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <unordered_map>
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
class OperationClient;  // db/pending_operation.h

struct ReaderOptions {
  int connections = 2;
  size_t queue_max = 4096;
  size_t group_max = 64;
  int64_t command_timeout_ns = 30 * kNanosPerSecond;
  int64_t queue_wait_ns = 5 * kNanosPerSecond;
  size_t subject_max = 64;
  // A session younger than this is not replaced for an error: what a new one does not cure costs no more of them.
  int64_t session_age_least_ns = 1 * kNanosPerSecond;
};

// Who asks for a read.
struct ReadCaller {
  int64_t subject = 0;                      // the token's; 0: the service itself, which is not bounded
  const OperationClient* client = nullptr;  // nullptr: somebody who always waits
};

struct ReaderCounters {
  Gauge queued;       // reads that wait for a connection, those beside the queue included
  Counter reads;      // asked for
  Counter failed;     // the database refused the statement
  Counter refused;    // answered without the database: it was away, the queue was full, or none was free in time
  Counter deferred;   // had to wait beside the queue, because their subject had subject_max on the way
  Counter abandoned;  // not sent, because the client had gone
  Counter sessions_replaced;  // after an error that may have been the session's
};

struct ReadListTag;

// A read on its way: lives in the frame of the handler that awaits it.
class PendingRead : public ListNode<ReadListTag> {
 public:
  PendingRead(const Statement& asked, PgParameters& values, ReadCaller who)
      : statement(asked), parameters(values), caller(who) {}
  const Statement& statement;
  PgParameters& parameters;
  const ReadCaller caller;
  Result<PgResult> result = fail(ErrorKind::kUnavailable, "the database is away");
  int64_t queued_ns = 0;
  int attempts = 0;
  bool is_counted = false;       // among its subject's in the queue or with the database
  bool has_new_session = false;  // is tried again, after an error that may have been the session's
  std::coroutine_handle<> waiting;
};

class ReadConnection;

class Reader final : private Flusher, private Timer {
 public:
  // All references must outlive the reader.
  Reader(Loop& loop, Connector& connector, DatabaseCounters& connections, ReaderOptions options);
  ~Reader();

  // Awaitable Result<PgResult>; what the arguments point to must live until then. Errors: kUnavailable (database away,
  // overload, client gone), kDatabase (the statement failed; the message is for the log).
  auto query(const Statement& statement, PgParameters& parameters, ReadCaller caller = {}) {
    struct Query : PendingRead {
      Reader& reader;
      Query(Reader& owner, const Statement& asked, PgParameters& values, ReadCaller who)
          : PendingRead(asked, values, who), reader(owner) {}
      bool await_ready() const { return !reader.admits(); }
      void await_suspend(std::coroutine_handle<> handle) {
        waiting = handle;
        reader.enqueue(*this);
      }
      Result<PgResult> await_resume() { return std::move(result); }
    };
    return Query(*this, statement, parameters, caller);
  }

  void start(Scope& scope);
  void stop();
  bool is_connected() const;
  const ReaderCounters& counters() const { return counters_; }

 private:
  friend class ReadConnection;
  using ReadList = IntrusiveList<PendingRead, ReadListTag>;
  // Of a subject that has reads on the way.
  struct Subject {
    size_t on_the_way = 0;  // in the queue or with the database; at most subject_max
    ReadList waiting;       // beside the queue, in order of arrival; empty while there is room
  };

  bool admits();
  void enqueue(PendingRead& pending);
  void requeue(PendingRead& pending);
  Task<void> give_way();
  void push(PendingRead& pending);
  // Ends a read, which makes room for one that waits beside the queue.
  void answer(PendingRead& pending);
  void refuse(PendingRead& pending);
  static bool has_client(const PendingRead& pending);
  void refuse_late(ReadList& list);
  void flush() override;
  void on_timer() override;

  Loop& loop_;
  Connector& connector_;
  const ReaderOptions options_;
  Pause give_way_pause_;
  std::vector<std::unique_ptr<ReadConnection>> connections_;
  ReadList queue_;
  std::unordered_map<int64_t, Subject> subjects_;
  bool stopping_ = false;
  ReaderCounters counters_;
};

}  // namespace txn
