#include "db/pg_connection.h"

#include <poll.h>

#include <utility>

namespace txn {

PgConnection::PgConnection(Loop& loop, Owner& owner, DatabaseCounters& counters)
    : loop_(loop),
      owner_(owner),
      counters_(counters),
      readable_(*this, POLLIN),
      writable_(*this, POLLOUT),
      impatience_(*this),
      deadline_(*this) {}

PgConnection::~PgConnection() { CHECK(handle_ == nullptr, "a connection is closed before it is destroyed"); }

void PgConnection::adopt(OpenedConnection opened) {
  CHECK(handle_ == nullptr, "a connection is closed before another is adopted");
  handle_ = std::move(opened.handle);
  backend_pid_ = opened.backend_pid;
  backend_start_us_ = opened.backend_start_us;
  session_token_ = std::move(opened.session_token);
  timeline_ = opened.timeline;
  lost_ = false;
  closing_ = false;
  ++counters_.connects;
  ++counters_.connections;
  results_.clear();
  collected_ = false;
  PQsetNoticeReceiver(handle_.get(), on_notice, this);
  // Armed also while idle: a server that goes away is noticed then, not by the next batch.
  readable_.arm();
}

void PgConnection::push(const Statement& statement, PgParameters& parameters) {
  CHECK(!in_exchange_, "one exchange at a time");
  if (collected_) {
    results_.clear();
    collected_ = false;
  }
  results_.emplace_back();
  if (!is_open()) return;
  parameters.finish();
  if (PQsendQueryPrepared(handle_.get(), statement.name, parameters.count(), parameters.values(), parameters.lengths(),
                          parameters.formats(), 1) != 1)
    lose(PQerrorMessage(handle_.get()));
}

void PgConnection::push(const Statement& statement) {
  PgParameters none;
  push(statement, none);
}

void PgConnection::on_notice(void* self, const PGresult* notice) {
  const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char* text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  if (severity == nullptr || std::string_view(severity) != "WARNING") return;
  auto& connection = *static_cast<PgConnection*>(self);
  connection.warned_ = true;
  connection.warning_text_ = text == nullptr ? "" : text;
}

bool PgConnection::begin_sync(int64_t timeout_ns) {
  CHECK(!in_exchange_, "one exchange at a time");
  CHECK(!collected_ && !results_.empty(), "an exchange has statements");
  current_ = 0;
  failed_ = false;
  failed_index_ = results_.size();
  warned_ = false;
  if (!is_open()) return false;
  ++counters_.exchanges;
  counters_.statements += results_.size();
  in_exchange_ = true;
  ++counters_.busy;
  // libpq 15 flushes here: the one send of this exchange.
  if (PQpipelineSync(handle_.get()) != 1) {
    in_exchange_ = false;
    --counters_.busy;
    lose(PQerrorMessage(handle_.get()));
    return false;
  }
  loop_.timers().arm(deadline_, loop_.clock().now_ns() + timeout_ns);
  loop_.look_ahead_for(impatience_);
  flush();
  // When that failed, the waiter has been scheduled with the loss.
  return true;
}

ExchangeStatus PgConnection::end_sync() {
  collected_ = true;
  loop_.timers().disarm(deadline_);
  if (lost_ || handle_ == nullptr) return ExchangeStatus::kLost;
  return failed_ ? ExchangeStatus::kFailed : ExchangeStatus::kOk;
}

// PQflush: 0 all sent, 1 the kernel's buffer is full, -1 error. While it is full both directions are waited for: a
// server that blocks on its own output does not read ours.
void PgConnection::flush() {
  const int flushed = PQflush(handle_.get());
  if (flushed < 0) {
    lose(PQerrorMessage(handle_.get()));
  } else if (flushed == 1) {
    writable_.arm();
  }
}

void PgConnection::SocketPoll::arm() {
  if (!in_flight() && connection_.is_open() && !connection_.closing_)
    connection_.loop_.ring().poll(PQsocket(connection_.handle_.get()), events_, *this);
}

void PgConnection::SocketPoll::on_completion(const CompletionEvent&) {
  if (connection_.closing_ || !connection_.is_open()) {
    connection_.on_poll_ended();
    return;
  }
  if (events_ == POLLIN) {
    connection_.on_readable();
    arm();
  } else {
    connection_.flush();
  }
}

void PgConnection::on_readable() {
  // Over TLS a record may lie decrypted inside OpenSSL after a read, with nothing left on the socket to wake us: one
  // record at most, because OpenSSL reads no further ahead, so a second and third look find it.
  const int looks = PQsslInUse(handle_.get()) != 0 ? 3 : 1;
  for (int look = 0; look < looks && is_open(); ++look) {
    if (PQconsumeInput(handle_.get()) == 0) {
      lose(PQerrorMessage(handle_.get()));
      return;
    }
    if (PQstatus(handle_.get()) == CONNECTION_BAD) {
      lose(PQerrorMessage(handle_.get()));
      return;
    }
    if (writable_.in_flight()) flush();
    if (is_open()) read_results();
  }
}

void PgConnection::read_results() {
  while (PGnotify* notification = PQnotifies(handle_.get())) PQfreemem(notification);
  while (in_exchange_ && PQisBusy(handle_.get()) == 0) {
    PgResult result(PQgetResult(handle_.get()));
    if (!result) {
      if (PQstatus(handle_.get()) == CONNECTION_BAD) return lose(PQerrorMessage(handle_.get()));
      // The end of a statement's results. Where only the Sync is due, a null means that nothing has come yet.
      if (current_ == results_.size()) return;
      ++current_;
      continue;
    }
    if (result.status() == PGRES_PIPELINE_SYNC) {
      CHECK(current_ == results_.size(), "the Sync comes after every statement's results");
      return finish_exchange();
    }
    if (PQstatus(handle_.get()) == CONNECTION_BAD) return lose(PQerrorMessage(handle_.get()));
    if (!result.ok() && !failed_) {
      // The first error is the cause; the statements behind it are only reported as skipped. An error may also come
      // with the Sync itself, from an implicit commit.
      failed_ = true;
      failed_index_ = current_;
      error_sqlstate_ = result.sqlstate();
      error_text_ = result.message();
    }
    if (current_ < results_.size()) results_[current_] = std::move(result);
  }
}

void PgConnection::finish_exchange() {
  in_exchange_ = false;
  --counters_.busy;
  loop_.timers().disarm(deadline_);
  impatience_.unlink();
  if (waiting_) loop_.resume_soon(std::exchange(waiting_, nullptr));
}

void PgConnection::lose(std::string why) {
  if (lost_) return;
  lost_ = true;
  ++counters_.losses;
  --counters_.connections;
  while (!why.empty() && why.back() == '\n') why.pop_back();
  error_text_ = std::move(why);
  error_sqlstate_.clear();
  if (in_exchange_) {
    finish_exchange();
  } else if (handle_ != nullptr && !closing_) {
    owner_.on_idle_connection_lost();
  }
}

void PgConnection::Deadline::on_timer() { connection_.lose("no answer in time"); }

void PgConnection::on_poll_ended() {
  if (closer_ && !readable_.in_flight() && !writable_.in_flight()) loop_.resume_soon(std::exchange(closer_, nullptr));
}

Task<void> PgConnection::close() {
  if (handle_ == nullptr) co_return;
  CHECK(!in_exchange_, "an exchange ends before its connection is closed");
  closing_ = true;
  loop_.ring().cancel(readable_);
  loop_.ring().cancel(writable_);
  struct PollsEnded {
    PgConnection& connection;
    bool await_ready() const { return !connection.readable_.in_flight() && !connection.writable_.in_flight(); }
    void await_suspend(std::coroutine_handle<> handle) const { connection.closer_ = handle; }
    void await_resume() const {}
  };
  co_await PollsEnded{*this};
  loop_.timers().disarm(deadline_);
  handle_.reset();
  if (!lost_) --counters_.connections;
  results_.clear();
  collected_ = false;
}

}  // namespace txn
