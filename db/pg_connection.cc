#include "db/pg_connection.h"

#include <poll.h>

#include <string_view>
#include <utility>

namespace txn {
namespace {

constexpr const char* kOutOfStep = "the database's answers do not fit what was asked";

std::string_view field(const PGresult* notice, int code) {
  const char* text = PQresultErrorField(notice, code);
  return text == nullptr ? std::string_view() : text;
}

// Whether a notice may say that a commit is not on the synchronous standbys. PostgreSQL has such warnings in one
// function only, which it names in every language (src/backend/replication/syncrep.c). A warning that does not say
// where it comes from has been through a pooler, or is a fork's: it may be that one.
bool is_doubt_about_standbys(const PGresult* notice) {
  const std::string_view source = field(notice, PG_DIAG_SOURCE_FUNCTION);
  if (!source.empty()) return source == "SyncRepWaitForLSN";
  // libpq's own notices are of the kind that is told apart here.
  const std::string_view severity = field(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity.empty() || severity == "WARNING";
}

}  // namespace

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
  loss_text_.clear();
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
  if (!is_doubt_about_standbys(notice)) return;
  auto& connection = *static_cast<PgConnection*>(self);
  connection.doubts_standbys_ = true;
  connection.doubt_text_ = field(notice, PG_DIAG_MESSAGE_PRIMARY);
}

bool PgConnection::begin_sync(int64_t timeout_ns) {
  CHECK(!in_exchange_, "one exchange at a time");
  CHECK(!collected_ && !results_.empty(), "an exchange has statements");
  current_ = 0;
  failed_ = false;
  failed_index_ = results_.size();
  doubts_standbys_ = false;
  status_ = ExchangeStatus::kLost;
  error_text_ = loss_text_;
  error_sqlstate_.clear();
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
    error_text_ = loss_text_;
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
  return status_;
}

// PQflush: 0 all sent, 1 the kernel's buffer is full, -1 error. While it is full both directions are waited for: a
// server that blocks on its own output does not read ours.
void PgConnection::flush() {
  const int flushed = PQflush(handle_.get());
  if (flushed < 0) {
    on_broken();
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
    if (PQconsumeInput(handle_.get()) == 0 || PQstatus(handle_.get()) == CONNECTION_BAD) return on_broken();
    if (writable_.in_flight()) flush();
    if (is_open()) read_results();
  }
}

// Takes all there is. Only PQisBusy knows when that is: a null says nothing about what is in libpq's buffer behind it.
void PgConnection::read_results() {
  while (PGnotify* notification = PQnotifies(handle_.get())) PQfreemem(notification);
  bool null_is_due = false;
  while (in_exchange_ && PQisBusy(handle_.get()) == 0) {
    PgResult result(PQgetResult(handle_.get()));
    if (!result) {
      // Each ends something. A second in a row means that libpq expects no more, and it would go on like that for ever.
      if (!null_is_due) return lose(kOutOfStep);
      null_is_due = false;
      if (current_ < results_.size()) ++current_;
      continue;
    }
    if (result.status() == PGRES_PIPELINE_SYNC) {
      if (current_ < results_.size()) return lose(kOutOfStep);
      return finish_exchange(failed_ ? ExchangeStatus::kFailed : ExchangeStatus::kOk);
    }
    null_is_due = true;
    if (!take(std::move(result))) return;
  }
}

// One result of the current statement, or what has come in place of the Sync. False when the connection is lost by it.
bool PgConnection::take(PgResult result) {
  const bool is_of_statement = current_ < results_.size();
  if (result.ok()) {
    if (!is_of_statement) {
      lose(kOutOfStep);
      return false;
    }
  } else if (result.status() == PGRES_FATAL_ERROR && !result.sqlstate().empty()) {
    // The first error is the cause; the statements behind it are only reported as skipped. An error may also come with
    // the Sync itself: from an implicit commit, or because a time-out fired behind the last statement.
    if (!failed_) {
      failed_ = true;
      failed_index_ = current_;
      error_sqlstate_ = result.sqlstate();
      error_text_ = result.message();
    }
  } else if (result.status() != PGRES_PIPELINE_ABORTED || !failed_) {
    // Not the server's word but libpq's own, about the connection, memory, or bytes that it cannot make sense of: what
    // the server has done is not known. Or the start of a COPY, which would never end.
    const std::string_view why = result.message();
    lose(std::string(why.empty() ? kOutOfStep : why));
    return false;
  }
  if (is_of_statement) results_[current_] = std::move(result);
  return true;
}

// The socket is dead. What has come through it before stands: a COMMIT that was acknowledged with the server's last
// breath is one.
void PgConnection::on_broken() {
  loss_text_ = PQerrorMessage(handle_.get());
  read_results();
  lose("");
}

void PgConnection::finish_exchange(ExchangeStatus status) {
  in_exchange_ = false;
  status_ = status;
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
  if (loss_text_.empty()) loss_text_ = std::move(why);
  while (!loss_text_.empty() && loss_text_.back() == '\n') loss_text_.pop_back();
  if (in_exchange_) {
    error_text_ = loss_text_;
    error_sqlstate_.clear();
    finish_exchange(ExchangeStatus::kLost);
  } else if (handle_ != nullptr && !closing_) {
    // An exchange that has just ended, and whose owner has not looked yet, keeps its own error.
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
