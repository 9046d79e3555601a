// One connection to PostgreSQL on a worker's ring: statements are pushed into libpq's pipeline, sync() sends them and
// collects their results up to the Sync. One exchange at a time; its owner is a lane or a reader.
//
// Reading is driven by one-shot, level-triggered polls that are armed again with the turn's submit; nothing here
// blocks. Matching results to statements follows libpq's rules for pipeline mode (PostgreSQL 15 manual, section 34.5):
// results of a statement end with a null, and so does an error that comes behind the last of them; the Sync is a result
// without one, and a dead connection never produces it. Answers that do not fit what was asked are a lost connection.
#pragma once

#include <coroutine>
#include <cstdint>
#include <string>
#include <vector>

#include "core/loop.h"
#include "core/metrics.h"
#include "core/task.h"
#include "db/connector.h"
#include "db/pg_result.h"
#include "db/statements.h"

namespace txn {

enum class ExchangeStatus {
  kOk,      // every statement succeeded
  kFailed,  // a statement failed; the ones after it were skipped; the connection is usable (after ROLLBACK, maybe)
  kLost,    // connection gone, out of step or too late: what was sent may or may not have been executed; close() it
};

// Of all connections of a worker together.
struct DatabaseCounters {
  Gauge connections;  // open and, as far as known, alive
  Gauge busy;         // of these, waiting for an answer
  Counter connects;
  Counter losses;      // connections that broke or did not answer in time
  Counter exchanges;   // round trips
  Counter statements;  // in those
};

class PgConnection {
 public:
  // Told when the connection dies while no exchange is under way.
  class Owner {
   public:
    virtual void on_idle_connection_lost() = 0;

   protected:
    ~Owner() = default;
  };

  // All three must outlive the connection.
  PgConnection(Loop& loop, Owner& owner, DatabaseCounters& counters);
  ~PgConnection();
  PgConnection(const PgConnection&) = delete;
  PgConnection& operator=(const PgConnection&) = delete;

  // Takes over what the connector made; must be closed before.
  void adopt(OpenedConnection opened);
  // Open and, as far as known, alive.
  bool is_open() const { return handle_ != nullptr && !lost_; }
  int32_t backend_pid() const { return backend_pid_; }
  int64_t backend_start_us() const { return backend_start_us_; }
  // As OpenedConnection has them.
  const std::string& session_token() const { return session_token_; }
  uint32_t timeline() const { return timeline_; }

  // Adds an execution to the exchange being built. `parameters` is used up during the call.
  void push(const Statement& statement, PgParameters& parameters);
  void push(const Statement& statement);

  // Awaitable ExchangeStatus: sends everything pushed with one Sync and waits for all results, at most `timeout_ns`.
  auto sync(int64_t timeout_ns) {
    struct Sync {
      PgConnection& connection;
      int64_t timeout_ns;
      bool await_ready() const { return false; }
      bool await_suspend(std::coroutine_handle<> handle) {
        connection.waiting_ = handle;
        return connection.begin_sync(timeout_ns);
      }
      ExchangeStatus await_resume() const { return connection.end_sync(); }
    };
    return Sync{*this, timeout_ns};
  }

  // Of the exchange that ended last, until the next push or close(): what the i-th statement pushed returned. ok() when
  // the server has said that it is complete, however the exchange ended; false for a failed or skipped statement and
  // for one without an answer, of which nothing else may be asked.
  PgResult& result(size_t index) { return results_[index]; }
  size_t result_count() const { return results_.size(); }
  // Index of the first statement that failed (kFailed only); result_count() when the failure came with the Sync.
  size_t failed_index() const { return failed_index_; }
  // For the log: what went wrong, and its SQLSTATE ("" when the connection was lost). Both "" when nothing has.
  const std::string& error_text() const { return error_text_; }
  const std::string& error_sqlstate() const { return error_sqlstate_; }
  // Until the next exchange: for an owner that finds something wrong with results that are none.
  void set_error_text(std::string text) { error_text_ = std::move(text); }

  // Lets the ring go of the socket, then closes it. Harmless when closed.
  Task<void> close();

  // Whether the server has warned, during the exchange that ended last, that a commit may not be on the synchronous
  // standbys, and its words. Of the exchange, not of a statement: libpq hands out notices before the results that are
  // ahead of them. Other warnings (a trigger's, an extension's, of something deprecated) are no doubt.
  bool doubts_standbys() const { return doubts_standbys_; }
  const std::string& doubt_text() const { return doubt_text_; }

 private:
  class SocketPoll final : public Completion {
   public:
    SocketPoll(PgConnection& connection, uint32_t events) : connection_(connection), events_(events) {}
    void on_completion(const CompletionEvent& event) override;
    void arm();

   private:
    PgConnection& connection_;
    const uint32_t events_;
  };
  class Impatience final : public LookAhead {
   public:
    explicit Impatience(PgConnection& connection) : connection_(connection) {}
    void look() override { connection_.on_readable(); }

   private:
    PgConnection& connection_;
  };
  class Deadline final : public Timer {
   public:
    explicit Deadline(PgConnection& connection) : connection_(connection) {}
    void on_timer() override;

   private:
    PgConnection& connection_;
  };

  static void on_notice(void* self, const PGresult* notice);
  bool begin_sync(int64_t timeout_ns);
  ExchangeStatus end_sync();
  void on_readable();
  void on_poll_ended();
  void flush();
  void read_results();
  bool take(PgResult result);
  void on_broken();
  void lose(std::string why);
  void finish_exchange(ExchangeStatus status);

  Loop& loop_;
  Owner& owner_;
  DatabaseCounters& counters_;
  PgHandle handle_;
  int32_t backend_pid_ = 0;
  int64_t backend_start_us_ = 0;
  std::string session_token_;
  uint32_t timeline_ = 0;
  bool lost_ = false;
  std::string loss_text_;  // why
  bool closing_ = false;

  // The exchange being built or under way.
  std::vector<PgResult> results_;  // one slot per statement pushed
  size_t current_ = 0;             // the statement whose results come next
  bool in_exchange_ = false;
  bool collected_ = false;  // the last exchange's results may be dropped by the next push
  bool failed_ = false;
  ExchangeStatus status_ = ExchangeStatus::kLost;  // of the exchange that ended last
  size_t failed_index_ = 0;
  std::string error_text_;
  std::string error_sqlstate_;
  bool doubts_standbys_ = false;
  std::string doubt_text_;
  std::coroutine_handle<> waiting_;
  std::coroutine_handle<> closer_;

  SocketPoll readable_;
  SocketPoll writable_;
  Impatience impatience_;
  Deadline deadline_;
};

}  // namespace txn
