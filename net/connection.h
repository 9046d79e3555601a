// One client: bytes in, exchanges to the service, answers out in order.
//
// TLS       with it, a TlsStream lies between the socket and everything below; without it there is none. The steps of
//           a handshake are taken in the server's order, a few a turn (HttpServer::flush).
// Reading   one multishot receive; a whole request is parsed in the kernel's buffer and handled before that is given
//           back. Pipelined requests run beside each other only while all of them are safe (RFC 9112 section 9.3.2):
//           one that moves money waits for those before it.
// Writing   answers of a turn are gathered, encrypted and sent once; one send in flight, the next gathers behind it.
// Closing   in steps: stop reading requests, let the answers out, shut down our side and read to the peer's end (or the
//           kernel would reset the connection over unread bytes and the last answer with it), cancel what the kernel
//           still holds, wait for its last event, close the descriptor, give the slot back.
// Leaving   of an idle connection that we want to end: a request may be on its way, and a client may not send one that
//           moves money again when it was cut off (RFC 9110 section 9.2.2). So the receive is cancelled first, and when
//           its last event has come and the socket holds nothing, our side is shut down; otherwise it is served.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "core/completion.h"
#include "core/intrusive_list.h"
#include "core/loop.h"
#include "core/timer_wheel.h"
#include "net/byte_buffer.h"
#include "net/exchange.h"
#include "net/http_parser.h"
#include "net/tls_stream.h"

namespace txn {

struct ConnectionListTag;
struct StarvedListTag;
struct HandshakeListTag;

class Connection final : public ListNode<ConnectionListTag>,
                         public ListNode<StarvedListTag>,
                         public ListNode<HandshakeListTag>,
                         private Flusher,
                         private Timer {
 public:
  explicit Connection(HttpServer& server);

  // Takes over `socket`. `over_limit`: every request is refused and the connection closed.
  void open(int socket, const sockaddr_in6& peer, bool over_limit);

  // The server is going away: idle connections leave now, new ones when they have had time for a request, the others
  // after the answers they owe.
  void begin_drain();
  // Ends it now, whatever is under way.
  void abort();
  // As open() was told; until the slot is opened again.
  bool is_over_limit() const { return over_limit_; }
  const sockaddr_in6& peer() const { return peer_; }
  // After a receive that found no buffer: tries again.
  void rearm_receive();
  // Its turn has come: goes on with the handshake as far as what was received goes.
  void continue_handshake();

 private:
  friend class Exchange;

  enum class State : uint8_t {
    kClosed,       // slot is free
    kHandshaking,  // TLS has to be agreed on before requests are read
    kOpen,         // reads requests
    kFinishing,    // reads no more requests; owes answers
    kLingering,    // all sent, our side shut down, reading to the peer's end
    kClosing,      // waits for the kernel to let go
  };

  class Receive final : public Completion {
   public:
    explicit Receive(Connection& connection) : connection_(connection) {}
    void on_completion(const CompletionEvent& event) override { connection_.on_receive(event); }

   private:
    Connection& connection_;
  };
  class Send final : public Completion {
   public:
    explicit Send(Connection& connection) : connection_(connection) {}
    void on_completion(const CompletionEvent& event) override { connection_.on_send(event); }

   private:
    Connection& connection_;
  };

  void on_receive(const CompletionEvent& event);
  void on_send(const CompletionEvent& event);
  void on_timer() override;
  void flush() override;

  void take_bytes(std::span<const char> bytes);
  void take_encrypted(std::span<const char> bytes);
  void take_plain(std::span<const char> bytes);
  void keep_for_later(std::span<const char> bytes);
  void begin_encrypted();
  void fail_encryption();
  void take_end();
  void advance(HttpParser::Status status);
  void resume_blocked();
  bool may_start(const HttpRequest& request) const;
  void start_exchange(bool is_whole = true);
  void answer_expectation();
  void refuse(int status, std::string_view detail);
  Exchange& new_exchange();
  void on_answer(Exchange& exchange, const Answer& answer);
  void write_answer(const Exchange& exchange, const Answer& answer, ByteBuffer& out) const;
  void stop_reading_requests();
  void finish_if_done();
  void linger();
  bool is_delivered() const;
  bool is_idle() const;
  bool has_unread() const;
  void leave_when_idle();
  void leave();
  void start_closing();
  void abandon_exchanges();
  bool encrypt();
  void update_deadline();
  void set_deadline(int64_t deadline_ns);
  void flush_soon();
  size_t output_bytes() const { return out_.size() + (tls_ ? tls_->output().size() : 0) + sending_.size() - sent_; }

  HttpServer& server_;
  int socket_ = -1;
  State state_ = State::kClosed;
  bool over_limit_ = false;
  bool draining_ = false;
  bool has_asked_ = false;        // a byte of a request has come
  bool leaving_ = false;          // the receive has been cancelled to see whether the connection can end
  bool lingers_briefly_ = false;  // was idle when the drain began
  bool peer_ended_ = false;       // end of stream received
  bool input_ended_ = false;      // that, or TLS's word that there will be no more requests
  bool blocked_ = false;          // the parser holds a request that has to wait
  bool in_advance_ = false;       // advance() is on the stack
  bool receive_paused_ = false;   // cancelled because too much has come ahead of its turn
  bool send_failed_ = false;
  sockaddr_in6 peer_{};
  std::unique_ptr<TlsStream> tls_;  // from the first byte of a TLS client on
  HttpParser parser_;
  HttpParser::Phase timed_phase_ = HttpParser::Phase::kIdle;
  int64_t opened_ns_ = 0;
  int64_t deadline_ns_ = 0;  // the timer may be armed for earlier: it then only looks again
  size_t lingered_bytes_ = 0;
  IntrusiveList<Exchange, ExchangeListTag> exchanges_;  // in order of arrival
  size_t exchange_count_ = 0;
  size_t unsafe_count_ = 0;  // of these, not safe
  ByteBuffer ahead_;         // received while blocked, or while a step of the handshake waits its turn
  ByteBuffer out_;           // answers of this turn
  ByteBuffer sending_;       // what the kernel is sending, from sent_ on
  size_t sent_ = 0;
  int64_t send_began_ns_ = 0;  // of what is in sending_
  Receive receive_;
  Send send_;
};

}  // namespace txn
