// The HTTP side of one worker: accepts from its own listening socket, owns its connections, drains.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/task.h"
#include "net/connection.h"
#include "net/connection_quota.h"
#include "net/exchange.h"

namespace txn {

struct HttpServerOptions {
  size_t max_connections = 5000;  // of this worker
  size_t max_refusals = 64;       // above that, told so (503) at a time; still more are closed without a word
  int64_t handshake_timeout_ns = 10 * kNanosPerSecond;  // of TLS, from the connection's beginning
  int64_t head_timeout_ns = 5 * kNanosPerSecond;
  int64_t body_timeout_ns = 10 * kNanosPerSecond;
  int64_t idle_timeout_ns = 75 * kNanosPerSecond;
  int64_t send_timeout_ns = 30 * kNanosPerSecond;     // without the peer taking a byte
  int64_t answer_timeout_ns = 120 * kNanosPerSecond;  // for what is sent at once, however slowly it is taken
  int64_t linger_timeout_ns = 2 * kNanosPerSecond;
  int64_t drain_first_request_timeout_ns = kNanosPerSecond;  // of connections that were new when the drain began
  int64_t drain_linger_timeout_ns = 300 * kNanosPerMilli;    // of connections that were idle when the drain began
  const CorsPolicy* cors = nullptr;                          // none: no answer speaks of it. Must outlive the server
  ConnectionQuota* quota = nullptr;  // connections an address, shared by all workers; must outlive the server
};

// Requests of one connection that are under way at once; more wait in its buffers.
inline constexpr size_t kPipelineMax = 32;
// Answers waiting for a slow reader, beyond which its next requests wait.
inline constexpr size_t kOutputMaxBytes = 64 * 1024;
// Buffers of answers that are kept for the next ones; larger ones are given back.
inline constexpr size_t kRetainedOutputBytes = 16 * 1024;
// Bytes taken from a socket ahead of their turn, beyond which receiving pauses.
inline constexpr size_t kAheadMaxBytes = 64 * 1024;
// Steps of TLS handshakes in one turn; more wait for the next. A step may take a signature (ECDSA P-256 a tenth of a
// millisecond, RSA half of one or more), and those who already are connected must not wait for a hundred of them.
inline constexpr size_t kHandshakesPerTurn = 4;
// How long a TCP handshake that has begun is waited for before the listener closes: a few round trips of a network that
// a balancer and its servers share.
inline constexpr int64_t kHandshakesLastNs = 100 * kNanosPerMilli;

struct HttpServerCounters {
  Gauge connections;  // open now
  Counter accepted;
  Counter refused;             // above a limit
  Counter refused_by_address;  // of these, above the address's
  Counter accept_errors;       // EMFILE and the like
  Counter starved;             // receives that found no buffer
  Counter timeouts;
};

// Of this worker's TLS; all zero without it.
struct TlsCounters {
  Counter handshakes;          // completed
  Counter handshakes_resumed;  // of these, by a ticket
  Counter handshakes_failed;
  Counter handshakes_timed_out;
  Counter plain_http_refused;  // answered 400
};

class HttpServer final : private Flusher {
 public:
  // `loop` and `service` must outlive the server.
  HttpServer(Loop& loop, HttpService& service, HttpServerOptions options);
  // REQUIRES: drained.
  ~HttpServer();

  // From the next connection on TLS is served with `context`, and nothing but TLS.
  void set_tls(std::shared_ptr<const TlsContext> context) { tls_ = std::move(context); }

  // Accepts on `listener` (owned from here on, already listening).
  void start(int listener);

  // From here on every answer ends its connection. Otherwise all goes on, new connections too: balancers are to see
  // that this server is about to go before it has gone.
  void announce_drain() { announces_drain_ = true; }

  // Stops accepting, after whoever is already connected, and ends connections as they become idle. When the drain has
  // been announced, nobody who connects until then is cut off: for kHandshakesLastNs handshakes that have begun are let
  // through and no others, whose clients try again a second later (RFC 6298 section 2) and find nobody listening.
  void begin_drain();
  bool is_draining() const { return draining_; }
  // Ends what is still there.
  void abort_all();
  // Resumes when no connection is left and accepting has ended; only after begin_drain().
  auto drained() {
    struct Drained {
      HttpServer& server;
      bool await_ready() const { return server.is_drained(); }
      void await_suspend(std::coroutine_handle<> handle) const { server.drain_waiter_ = handle; }
      void await_resume() const {}
    };
    return Drained{*this};
  }

  size_t connection_count() const { return counters_.connections; }
  size_t exchange_count() const { return exchange_count_; }
  const HttpServerCounters& counters() const { return counters_; }
  const TlsCounters& tls_counters() const { return tls_counters_; }
  // "Sun, 06 Nov 1994 08:49:37 GMT", of this turn.
  std::string_view http_date();

 private:
  friend class Connection;
  friend class Exchange;

  class Accept final : public Completion {
   public:
    explicit Accept(HttpServer& server) : server_(server) {}
    void on_completion(const CompletionEvent& event) override { server_.on_accept(event); }

   private:
    HttpServer& server_;
  };
  class AcceptRetry final : public Timer {
   public:
    explicit AcceptRetry(HttpServer& server) : server_(server) {}
    void on_timer() override { server_.arm_accept(); }

   private:
    HttpServer& server_;
  };
  class AcceptEnd final : public Timer {
   public:
    explicit AcceptEnd(HttpServer& server) : server_(server) {}
    void on_timer() override { server_.stop_accepting(); }

   private:
    HttpServer& server_;
  };

  void arm_accept();
  void on_accept(const CompletionEvent& event);
  void add_connection(int socket);
  void release(Connection& connection);
  void on_starved(Connection& connection);
  void queue_handshake(Connection& connection);
  void continue_handshakes();
  void rearm_starved();
  void flush() override;
  void stop_accepting();
  void close_listener();
  bool is_drained() const { return draining_ && listener_ < 0 && counters_.connections == 0 && exchange_count_ == 0; }
  void check_drained();
  Exchange& acquire_exchange();
  void release_exchange(Exchange& exchange);

  Loop& loop_;
  HttpService& service_;
  const HttpServerOptions options_;
  int listener_ = -1;
  bool announces_drain_ = false;
  bool draining_ = false;
  bool stopped_accepting_ = false;
  size_t refusing_count_ = 0;  // connections above a limit
  size_t exchange_count_ = 0;
  IntrusiveList<Connection, ConnectionListTag> open_;
  IntrusiveList<Connection, StarvedListTag> starved_;
  IntrusiveList<Connection, HandshakeListTag> handshakes_;  // with bytes that wait for their turn
  std::shared_ptr<const TlsContext> tls_;                   // null: plain HTTP
  ByteBuffer decrypted_;                                    // what one receive brought, while it is being handled
  std::vector<std::unique_ptr<Connection>> connections_;    // all ever made; their number is bounded by the limit
  std::vector<Connection*> free_connections_;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::vector<Exchange*> free_exchanges_;
  RequestIdGenerator request_ids_;
  std::coroutine_handle<> drain_waiter_;
  int64_t date_second_ = -1;
  char date_[32] = {};
  HttpServerCounters counters_;
  TlsCounters tls_counters_;
  Accept accept_;
  AcceptRetry accept_retry_;
  AcceptEnd accept_end_;
};

}  // namespace txn
