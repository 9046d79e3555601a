#include "net/connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/log.h"
#include "net/http_response.h"
#include "net/http_server.h"

namespace txn {
namespace {

// Once the last answer is out, a peer that keeps sending is listened to no longer than this.
constexpr size_t kLingerMaxBytes = 1 << 20;

// Methods begin so, and no TLS record does (RFC 8446 section 5.1: 20 to 23).
bool begins_like_http(char first) { return first >= 'A' && first <= 'Z'; }

bool is_safe_method(Method method) {
  return method == Method::kGet || method == Method::kHead || method == Method::kOptions;
}

}  // namespace

Connection::Connection(HttpServer& server) : server_(server), receive_(*this), send_(*this) {}

void Connection::open(int socket, const sockaddr_in6& peer, bool over_limit) {
  CHECK(state_ == State::kClosed, "a connection's slot is reused after its last event");
  socket_ = socket;
  peer_ = peer;
  over_limit_ = over_limit;
  state_ = server_.tls_ ? State::kHandshaking : State::kOpen;
  draining_ = has_asked_ = leaving_ = lingers_briefly_ = false;
  peer_ended_ = input_ended_ = blocked_ = receive_paused_ = send_failed_ = false;
  lingered_bytes_ = 0;
  parser_.reset();
  timed_phase_ = HttpParser::Phase::kIdle;
  // A connection that will be refused is waited for no longer than for a request's head.
  const HttpServerOptions& options = server_.options_;
  opened_ns_ = server_.loop_.clock().now_ns();
  set_deadline(opened_ns_ + (state_ == State::kHandshaking ? options.handshake_timeout_ns
                             : over_limit                  ? options.head_timeout_ns
                                                           : options.idle_timeout_ns));
  rearm_receive();
}

void Connection::rearm_receive() {
  const bool wants = state_ == State::kHandshaking || state_ == State::kOpen || state_ == State::kFinishing ||
                     state_ == State::kLingering;
  if (wants && !peer_ended_ && !receive_paused_ && !leaving_ && !receive_.in_flight())
    server_.loop_.ring().receive(socket_, receive_);
}

void Connection::on_receive(const CompletionEvent& event) {
  if (state_ == State::kClosing) {
    if (!event.more) flush_soon();
    return;
  }
  if (leaving_ && !event.more) {
    leaving_ = false;
    if (event.result == -ECANCELED) return leave();
  }
  if (event.result > 0) {
    take_bytes(event.data);
    if (!event.more) rearm_receive();
  } else if (event.result == 0) {
    peer_ended_ = true;
    if (state_ == State::kLingering) {
      start_closing();
    } else if (state_ == State::kHandshaking) {
      // What is left of the handshake, and a request behind it, may still wait their turn.
      if (ahead_.empty()) fail_encryption();
    } else {
      take_end();
    }
  } else if (event.result == -ENOBUFS) {
    server_.on_starved(*this);
  } else if (event.result == -ECANCELED) {
    // Paused on purpose; resume_blocked() arms it again, unless there is room already.
    if (receive_paused_ && ahead_.size() > kAheadMaxBytes) return;
    receive_paused_ = false;
    rearm_receive();
  } else if (event.result == -EINTR || event.result == -EAGAIN) {
    if (!event.more) rearm_receive();
  } else {
    start_closing();  // reset by the peer, timed out in the kernel ...
  }
}

void Connection::take_bytes(std::span<const char> bytes) {
  switch (state_) {
    case State::kHandshaking:
      keep_for_later(bytes);
      server_.queue_handshake(*this);
      return;
    case State::kOpen:
      if (tls_) {
        take_encrypted(bytes);
      } else {
        take_plain(bytes);
      }
      return;
    case State::kFinishing:
    case State::kLingering:
      lingered_bytes_ += bytes.size();
      if (state_ == State::kLingering && lingered_bytes_ > kLingerMaxBytes) start_closing();
      return;
    case State::kClosed:
    case State::kClosing:
      return;
  }
}

void Connection::take_plain(std::span<const char> bytes) {
  has_asked_ = true;
  if (blocked_) return keep_for_later(bytes);
  advance(parser_.feed(bytes));
  // The kernel gets its buffer back when this returns.
  if (state_ == State::kOpen) parser_.detach();
}

void Connection::keep_for_later(std::span<const char> bytes) {
  ahead_.append({bytes.data(), bytes.size()});
  if (ahead_.size() > kAheadMaxBytes && !receive_paused_) {
    receive_paused_ = true;
    server_.loop_.ring().cancel(receive_);
  }
}

void Connection::continue_handshake() {
  const ByteBuffer received = std::exchange(ahead_, ByteBuffer());
  if (!tls_ && begins_like_http(received.view().front())) {
    ++server_.tls_counters_.plain_http_refused;
    state_ = State::kOpen;
    refuse(400, "This port speaks HTTPS only.");
    flush();
    return;
  }
  if (!tls_) tls_ = std::make_unique<TlsStream>(server_.tls_);
  take_encrypted({received.data(), received.size()});
  if (state_ == State::kHandshaking && peer_ended_) fail_encryption();
  if (state_ == State::kOpen && peer_ended_) take_end();
  if (receive_paused_ && ahead_.size() <= kAheadMaxBytes && !receive_.in_flight()) {
    receive_paused_ = false;
    rearm_receive();
  }
  flush();  // in this turn still: the peer waits for it
}

void Connection::take_encrypted(std::span<const char> bytes) {
  if (input_ended_) return;  // close_notify was the last that counts
  ByteBuffer& plain = server_.decrypted_;
  plain.clear();
  const TlsStream::Status status = tls_->receive(bytes, plain);
  if (state_ == State::kHandshaking && tls_->is_established()) begin_encrypted();
  if (!plain.empty()) take_plain({plain.data(), plain.size()});
  if (!tls_->output().empty()) flush_soon();
  if (status == TlsStream::Status::kFailed) {
    fail_encryption();
  } else if (status == TlsStream::Status::kEnded) {
    take_end();
  }
}

void Connection::begin_encrypted() {
  ++server_.tls_counters_.handshakes;
  if (tls_->is_resumed()) ++server_.tls_counters_.handshakes_resumed;
  state_ = State::kOpen;
  // The server may have begun to leave meanwhile: the request that the client came with is all that it waits for.
  const HttpServerOptions& options = server_.options_;
  opened_ns_ = server_.loop_.clock().now_ns();
  set_deadline(opened_ns_ + (draining_ ? options.head_timeout_ns : options.idle_timeout_ns));
}

// Nothing can be said to the peer any more but the alert. Requests under way finish; what was done stands.
void Connection::fail_encryption() {
  if (state_ == State::kLingering || state_ == State::kClosing || state_ == State::kClosed) return;
  if (state_ == State::kHandshaking && tls_) {
    ++server_.tls_counters_.handshakes_failed;
    LOG(kDebug, "net.tls", "Handshake failed")
        .field("exception", tls_->failure().empty() ? "the client has gone" : tls_->failure());
  }
  state_ = State::kFinishing;
  abandon_exchanges();
  out_.clear();
  if (output_bytes() > 0) flush_soon();
  finish_if_done();
}

// A client may end its side after its last request and still wait for the answers.
void Connection::take_end() {
  input_ended_ = true;
  if (state_ == State::kOpen && !blocked_) stop_reading_requests();
  finish_if_done();
}

// Handles what the parser has found, request by request, until it needs more bytes or a request has to wait.
void Connection::advance(HttpParser::Status status) {
  in_advance_ = true;
  while (state_ == State::kOpen) {
    if (status == HttpParser::Status::kNeedMore) {
      if (ahead_.empty()) break;
      // The parser refers to what it is fed until next() has asked for more, so the bytes stay where they are.
      const ByteBuffer ahead = std::exchange(ahead_, ByteBuffer());
      status = parser_.feed({ahead.data(), ahead.size()});
      while (status == HttpParser::Status::kRequest && may_start(parser_.request()) && state_ == State::kOpen) {
        start_exchange();
        if (state_ == State::kOpen) status = parser_.next();
      }
      if (state_ == State::kOpen) parser_.detach();
      continue;
    }
    if (status == HttpParser::Status::kError) {
      refuse(http_status(parser_.error()), parser_.error_reason());
      break;
    }
    if (!may_start(parser_.request())) {
      blocked_ = true;
      break;
    }
    start_exchange();
    if (state_ == State::kOpen) status = parser_.next();
  }
  in_advance_ = false;
  if (state_ != State::kOpen) return;
  if (!blocked_ && input_ended_) stop_reading_requests();
  answer_expectation();
  update_deadline();
}

// The client has sent a head and waits to hear whether it should go on. Behind requests that are not answered yet an
// interim answer would be taken for one of theirs, so it comes when the last of these has left.
void Connection::answer_expectation() {
  if (state_ != State::kOpen || exchange_count_ != 0 || !parser_.take_continue()) return;
  if (over_limit_ || server_.service_.is_settled(parser_.request())) return start_exchange(false);
  append_continue(out_);
  flush_soon();
}

// An answer has left or a slow reader has caught up: goes on with the request that had to wait.
void Connection::resume_blocked() {
  if (!blocked_ || in_advance_ || state_ != State::kOpen || !may_start(parser_.request())) return;
  blocked_ = false;
  advance(HttpParser::Status::kRequest);
  if (receive_paused_ && ahead_.size() <= kAheadMaxBytes && !receive_.in_flight()) {
    receive_paused_ = false;
    rearm_receive();
  }
}

bool Connection::may_start(const HttpRequest& request) const {
  if (output_bytes() > kOutputMaxBytes) return false;
  const Exchange* last = exchanges_.back();
  // Behind a bulky one nothing is begun, so that one can only be the last.
  return last == nullptr ||
         (is_safe_method(request.method) && unsafe_count_ == 0 && !last->is_bulky_ && exchange_count_ < kPipelineMax);
}

Exchange& Connection::new_exchange() {
  Exchange& exchange = server_.acquire_exchange();
  exchange.connection_ = this;
  exchange.request_ = &parser_.request();
  exchange.peer_ = peer_;
  exchange.received_ns_ = server_.loop_.clock().now_ns();
  exchange.over_tls_ = tls_ != nullptr;
  exchange.answered_ = false;
  exchange.is_bulky_ = false;
  exchange.no_store_ = false;
  exchange.lines_size_ = 0;
  exchange.endpoint_ = Exchange::kNoEndpoint;
  exchange.method_ = Method::kOther;
  exchange.complete_ = false;
  exchange.is_held_ = false;
  exchange.cors_ = {};
  exchanges_.push_back(exchange);
  ++exchange_count_;
  return exchange;
}

// `is_whole`: false for a head alone, whose body will not be read.
void Connection::start_exchange(bool is_whole) {
  const HttpRequest& request = parser_.request();
  Exchange& exchange = new_exchange();
  exchange.request_id_ = server_.request_ids_.choose(request);
  exchange.method_ = request.method;
  exchange.complete_ = is_whole;
  exchange.http_minor_ = request.http_minor;
  exchange.keep_alive_ = request.keep_alive && !over_limit_ && is_whole;
  exchange.head_only_ = request.method == Method::kHead;
  exchange.is_safe_ = is_safe_method(request.method);
  if (server_.options_.cors != nullptr) exchange.cors_ = server_.options_.cors->match(request);
  if (!exchange.is_safe_) ++unsafe_count_;
  if (!exchange.keep_alive_) stop_reading_requests();
  if (over_limit_) {
    server_.service_.on_bad_request(exchange, 503, "Too many connections.");
    return;
  }
  server_.service_.on_request(exchange);
}

void Connection::refuse(int status, std::string_view detail) {
  Exchange& exchange = new_exchange();
  exchange.request_id_ =
      parser_.headers_complete() ? server_.request_ids_.choose(parser_.request()) : server_.request_ids_.generate();
  if (parser_.headers_complete()) exchange.method_ = parser_.request().method;
  exchange.http_minor_ = 1;
  exchange.keep_alive_ = false;
  exchange.head_only_ = parser_.headers_complete() && parser_.request().method == Method::kHead;
  exchange.is_safe_ = true;
  if (server_.options_.cors != nullptr && parser_.headers_complete())
    exchange.cors_ = server_.options_.cors->match(parser_.request());
  stop_reading_requests();
  server_.service_.on_bad_request(exchange, status, detail);
}

void Exchange::respond(const Answer& answer) {
  CHECK(!answered_, "an exchange is answered once");
  server_->service_.on_answered(*this, answer.status);
  if (connection_ == nullptr) {
    server_->release_exchange(*this);  // the client has gone; what was done stands
    return;
  }
  connection_->on_answer(*this, answer);
}

void Connection::on_answer(Exchange& exchange, const Answer& answer) {
  // Only the last answer of a connection says that it closes.
  if ((draining_ || server_.announces_drain_) && exchange_count_ == 1 && !blocked_) exchange.keep_alive_ = false;
  if (!exchange.keep_alive_ && state_ == State::kOpen) stop_reading_requests();
  if (exchanges_.front() != &exchange) {
    write_answer(exchange, answer, exchange.early_);
    exchange.answered_ = true;
    return;
  }
  write_answer(exchange, answer, out_);
  Exchange* done = &exchange;
  while (done != nullptr) {
    done->unlink();
    --exchange_count_;
    if (!done->is_safe_) --unsafe_count_;
    server_.release_exchange(*done);
    done = exchanges_.front();
    if (done == nullptr || !done->answered_) break;
    out_.append(done->early_.view());
  }
  flush_soon();
  if (blocked_) {
    resume_blocked();
  } else if (state_ == State::kOpen && exchange_count_ == 0) {
    answer_expectation();
    update_deadline();
  }
  if (draining_) begin_drain();
  finish_if_done();
}

void Connection::write_answer(const Exchange& exchange, const Answer& answer, ByteBuffer& out) const {
  append_response(out,
                  {.status = answer.status,
                   .request_id = exchange.request_id(),
                   .date = server_.http_date(),
                   .content_type = answer.content_type,
                   .keep_alive = exchange.keep_alive_,
                   .http_minor = exchange.http_minor_,
                   .head_only = exchange.head_only_,
                   .strict_transport = exchange.over_tls_,
                   .no_store = exchange.no_store_,
                   .extra = answer.headers,
                   .cors_lines = exchange.cors_.lines,
                   .lines = exchange.lines()},
                  answer.body);
}

void Connection::stop_reading_requests() {
  if (state_ != State::kOpen) return;
  state_ = State::kFinishing;
  blocked_ = false;
  ahead_.clear();
}

void Connection::finish_if_done() {
  if (state_ != State::kFinishing || exchange_count_ != 0 || in_advance_) return;
  if (tls_ && out_.empty() && tls_->close()) flush_soon();
  if (output_bytes() == 0) linger();
}

void Connection::linger() {
  if (peer_ended_ || send_failed_) {
    start_closing();
    return;
  }
  state_ = State::kLingering;
  // shutdown(2), not the ring's: that one always takes a detour through a kernel worker thread.
  ::shutdown(socket_, SHUT_WR);
  set_deadline(server_.loop_.clock().now_ns() +
               (lingers_briefly_ ? server_.options_.drain_linger_timeout_ns : server_.options_.linger_timeout_ns));
  receive_paused_ = false;
  rearm_receive();
}

void Connection::start_closing() {
  if (state_ == State::kClosing || state_ == State::kClosed) return;
  state_ = State::kClosing;
  abandon_exchanges();
  server_.loop_.timers().disarm(*this);
  static_cast<ListNode<StarvedListTag>*>(this)->unlink();
  static_cast<ListNode<HandshakeListTag>*>(this)->unlink();
  ::shutdown(socket_, SHUT_RDWR);
  server_.loop_.ring().cancel(receive_);
  server_.loop_.ring().cancel(send_);
  flush_soon();
}

// Whoever is still being served finishes without us.
void Connection::abandon_exchanges() {
  blocked_ = false;
  ahead_.clear();
  while (Exchange* exchange = exchanges_.pop_front()) {
    exchange->connection_ = nullptr;
    if (!exchange->is_held_) exchange->request_ = nullptr;
    if (exchange->answered_) server_.release_exchange(*exchange);
  }
  exchange_count_ = unsafe_count_ = 0;
}

void Connection::begin_drain() {
  draining_ = true;
  if (!is_idle()) return;
  // Whoever has just connected is about to ask for something.
  const int64_t patience_end_ns = opened_ns_ + server_.options_.drain_first_request_timeout_ns;
  if (!has_asked_ && patience_end_ns > server_.loop_.clock().now_ns()) return set_deadline(patience_end_ns);
  leave_when_idle();
}

// Nothing has come that has not been answered: between requests, or not a byte of a handshake yet.
bool Connection::is_idle() const {
  if (state_ == State::kHandshaking) return !tls_ && ahead_.empty();
  return state_ == State::kOpen && exchange_count_ == 0 && !blocked_ && !in_advance_ &&
         parser_.phase() == HttpParser::Phase::kIdle;
}

// Whether the socket holds bytes that no receive has taken.
bool Connection::has_unread() const {
  int unread = 0;
  return ::ioctl(socket_, SIOCINQ, &unread) == 0 && unread > 0;
}

void Connection::leave_when_idle() {
  if (leaving_) return;
  if (!receive_.in_flight()) return leave();
  leaving_ = true;
  server_.loop_.ring().cancel(receive_);
}

// Nothing is being received, so what a client has sent since lies in the socket.
void Connection::leave() {
  receive_paused_ = false;
  if (!is_idle() || has_unread()) {
    rearm_receive();
    if (state_ == State::kHandshaking) {
      set_deadline(server_.loop_.clock().now_ns() + server_.options_.handshake_timeout_ns);
    } else {
      update_deadline();
    }
    return;
  }
  // When its last answer has long arrived there is nothing that a reset could take away.
  lingers_briefly_ = draining_ && is_delivered();
  state_ = State::kFinishing;
  finish_if_done();
}

// Whether the peer's kernel has all that we ever sent.
bool Connection::is_delivered() const {
  int unacknowledged = 0;
  return output_bytes() == 0 && ::ioctl(socket_, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0;
}

void Connection::abort() { start_closing(); }

void Connection::flush_soon() { server_.loop_.flush_soon(*this, FlushStage::kNetwork); }

void Connection::flush() {
  if (state_ == State::kClosing) {
    if (receive_.in_flight() || send_.in_flight()) return;  // their last events bring us back here
    ::close(socket_);
    socket_ = -1;
    state_ = State::kClosed;
    tls_.reset();
    parser_.reset();
    out_.release();
    sending_.release();
    ahead_.release();
    sent_ = 0;
    server_.release(*this);
    return;
  }
  if (state_ == State::kClosed || send_.in_flight()) return;
  if (tls_ && !encrypt()) return start_closing();
  ByteBuffer& output = tls_ ? tls_->output() : out_;
  if (output.empty()) return;
  std::swap(output, sending_);
  sent_ = 0;
  send_began_ns_ = server_.loop_.clock().now_ns();
  server_.loop_.ring().send(socket_, {sending_.data(), sending_.size()}, send_);
  if (exchange_count_ == 0 || output_bytes() > kOutputMaxBytes) update_deadline();
}

// What the turn has gathered, as records; the last ones with the word that they are.
bool Connection::encrypt() {
  if (!out_.empty()) {
    if (!tls_->send(out_.view())) return false;
    out_.clear();
    if (out_.capacity() > kRetainedOutputBytes) out_.release();
  }
  if (state_ == State::kFinishing && exchange_count_ == 0) tls_->close();
  return true;
}

void Connection::on_send(const CompletionEvent& event) {
  if (state_ == State::kClosing) {
    flush_soon();
    return;
  }
  if (event.result < 0 && event.result != -EINTR && event.result != -EAGAIN) {
    send_failed_ = true;
    start_closing();
    return;
  }
  if (event.result > 0) sent_ += static_cast<size_t>(event.result);
  if (sent_ < sending_.size()) {
    server_.loop_.ring().send(socket_, {sending_.data() + sent_, sending_.size() - sent_}, send_);
    if (event.result > 0) update_deadline();
    return;
  }
  sending_.clear();
  sent_ = 0;
  if (sending_.capacity() > kRetainedOutputBytes) sending_.release();
  if (output_bytes() > 0) flush_soon();
  resume_blocked();
  if (state_ == State::kOpen && exchange_count_ == 0) update_deadline();
  finish_if_done();
}

// What the connection waits for decides how long it may take. Times of a head or a body count from its beginning, not
// from its last byte: a client that sends a byte now and then gets no further.
void Connection::update_deadline() {
  if (state_ == State::kHandshaking) return;  // that has one deadline for all of it
  const int64_t now_ns = server_.loop_.clock().now_ns();
  const HttpServerOptions& options = server_.options_;
  if (send_.in_flight() && state_ != State::kLingering) {
    set_deadline(std::min(now_ns + options.send_timeout_ns, send_began_ns_ + options.answer_timeout_ns));
    timed_phase_ = HttpParser::Phase::kIdle;
    return;
  }
  if (state_ != State::kOpen) return;
  const HttpParser::Phase phase = parser_.phase();
  const bool began = phase != timed_phase_;
  timed_phase_ = phase;
  if (phase == HttpParser::Phase::kHead) {
    if (began) set_deadline(now_ns + options.head_timeout_ns);
  } else if (phase == HttpParser::Phase::kBody) {
    if (began) set_deadline(now_ns + options.body_timeout_ns);
  } else {
    set_deadline(now_ns + (over_limit_ || draining_ ? options.head_timeout_ns : options.idle_timeout_ns));
  }
}

// The wheel is touched only when the deadline comes nearer; a later one is noticed when the timer fires.
void Connection::set_deadline(int64_t deadline_ns) {
  deadline_ns_ = deadline_ns;
  if (!is_armed() || Timer::deadline_ns() > deadline_ns) server_.loop_.timers().arm(*this, deadline_ns);
}

void Connection::on_timer() {
  const int64_t now_ns = server_.loop_.clock().now_ns();
  if (now_ns < deadline_ns_) {
    server_.loop_.timers().arm(*this, deadline_ns_);
    return;
  }
  if (draining_ && is_idle()) return leave_when_idle();
  if (state_ == State::kHandshaking) {
    ++server_.tls_counters_.handshakes_timed_out;
    start_closing();
    return;
  }
  if (state_ == State::kLingering || send_.in_flight()) {
    ++server_.counters_.timeouts;
    start_closing();
    return;
  }
  const HttpParser::Phase phase = parser_.phase();
  if (state_ == State::kOpen && (phase == HttpParser::Phase::kHead || phase == HttpParser::Phase::kBody)) {
    ++server_.counters_.timeouts;
    refuse(408, phase == HttpParser::Phase::kHead ? "The request head took too long to arrive."
                                                  : "The request body took too long to arrive.");
    return;
  }
  if (exchange_count_ > 0 || blocked_) {
    // The service is at work; it has bounds of its own.
    set_deadline(now_ns + server_.options_.idle_timeout_ns);
    return;
  }
  if (is_idle()) leave_when_idle();
}

}  // namespace txn
