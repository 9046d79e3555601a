#include "net/http_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/http_response.h"
#include "net/listen.h"

namespace txn {
namespace {

// After accept has failed for want of descriptors or memory: long enough not to spin, short enough not to be noticed.
constexpr int64_t kAcceptRetryNs = 100 * kNanosPerMilli;

// Multishot accept cannot report addresses: one buffer would be overwritten by the next connection.
sockaddr_in6 peer_of(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  sockaddr_in6 peer{};
  peer.sin6_family = AF_INET6;
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return peer;
  if (storage.ss_family == AF_INET6) {
    std::memcpy(&peer, &storage, sizeof peer);
  } else if (storage.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &storage, sizeof v4);
    peer.sin6_port = v4.sin_port;
    peer.sin6_addr.s6_addr[10] = peer.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&peer.sin6_addr.s6_addr[12], &v4.sin_addr, 4);
  }
  return peer;
}

}  // namespace

HttpServer::HttpServer(Loop& loop, HttpService& service, HttpServerOptions options)
    : loop_(loop), service_(service), options_(options), accept_(*this), accept_retry_(*this), accept_end_(*this) {}

HttpServer::~HttpServer() {
  CHECK(counters_.connections == 0, "a server is drained before it is destroyed");
  CHECK(exchange_count_ == 0, "a server's exchanges are answered before it is destroyed");
}

void HttpServer::start(int listener) {
  listener_ = listener;
  arm_accept();
}

void HttpServer::arm_accept() {
  if (listener_ >= 0 && !stopped_accepting_ && !accept_.in_flight()) loop_.ring().accept(listener_, accept_);
}

void HttpServer::on_accept(const CompletionEvent& event) {
  if (event.result >= 0) {
    add_connection(event.result);
  } else if (event.result != -ECANCELED && event.result != -EINTR && event.result != -ECONNABORTED) {
    // Out of descriptors (EMFILE, ENFILE) or memory. What is under way frees them; asking at once would spin.
    ++counters_.accept_errors;
    if (!event.more && !stopped_accepting_) {
      loop_.timers().arm(accept_retry_, loop_.clock().now_ns() + kAcceptRetryNs);
      return;
    }
  }
  if (event.more) return;
  if (stopped_accepting_) {
    close_listener();
  } else {
    arm_accept();
  }
}

void HttpServer::add_connection(int socket) {
  ++counters_.accepted;
  const sockaddr_in6 peer = peer_of(socket);
  bool over_limit = counters_.connections - refusing_count_ >= options_.max_connections;
  if (!over_limit && options_.quota != nullptr && !options_.quota->try_take(IpAddress::of(peer))) {
    over_limit = true;
    ++counters_.refused_by_address;
  }
  if (over_limit) {
    ++counters_.refused;
    if (refusing_count_ == options_.max_refusals) {
      ::close(socket);
      return;
    }
    ++refusing_count_;
  }
  if (free_connections_.empty()) {
    connections_.push_back(std::make_unique<Connection>(*this));
    free_connections_.push_back(connections_.back().get());
  }
  Connection& connection = *free_connections_.back();
  free_connections_.pop_back();
  ++counters_.connections;
  open_.push_back(connection);
  connection.open(socket, peer, over_limit);
  if (draining_) connection.begin_drain();
}

void HttpServer::release(Connection& connection) {
  static_cast<ListNode<ConnectionListTag>&>(connection).unlink();
  --counters_.connections;
  if (connection.is_over_limit()) {
    --refusing_count_;
  } else if (options_.quota != nullptr) {
    options_.quota->give_back(IpAddress::of(connection.peer()));
  }
  free_connections_.push_back(&connection);
  check_drained();
}

void HttpServer::on_starved(Connection& connection) {
  ++counters_.starved;
  if (!static_cast<ListNode<StarvedListTag>&>(connection).is_linked()) starved_.push_back(connection);
  loop_.flush_soon(*this, FlushStage::kNetwork);
}

void HttpServer::queue_handshake(Connection& connection) {
  if (!static_cast<ListNode<HandshakeListTag>&>(connection).is_linked()) handshakes_.push_back(connection);
  loop_.flush_soon(*this, FlushStage::kNetwork);
}

void HttpServer::flush() {
  continue_handshakes();
  rearm_starved();
  // The loop turns on without waiting for as long as there is somebody left.
  if (!handshakes_.empty() || !starved_.empty()) loop_.flush_soon(*this, FlushStage::kNetwork);
}

void HttpServer::continue_handshakes() {
  for (size_t steps = 0; steps < kHandshakesPerTurn; ++steps) {
    Connection* connection = handshakes_.pop_front();
    if (connection == nullptr) return;
    connection->continue_handshake();
  }
}

// Only as many receives are armed again as there are buffers: the rest would find none and come straight back. An idle
// connection takes a place without taking a buffer, so several turns may pass until everybody has been armed.
void HttpServer::rearm_starved() {
  const uint32_t free = loop_.ring().free_buffers();
  for (uint32_t armed = 0; armed < free; ++armed) {
    Connection* connection = starved_.pop_front();
    if (connection == nullptr) return;
    connection->rearm_receive();
  }
}

void HttpServer::begin_drain() {
  if (draining_) return;
  draining_ = true;
  if (announces_drain_ && listener_ >= 0 && refuse_handshakes(listener_)) {
    loop_.timers().arm(accept_end_, loop_.clock().now_ns() + kHandshakesLastNs);
  } else {
    stop_accepting();
  }
  for (Connection* connection = open_.front(); connection != nullptr;) {
    Connection* next = open_.next(*connection);
    connection->begin_drain();
    connection = next;
  }
  check_drained();
}

void HttpServer::stop_accepting() {
  stopped_accepting_ = true;
  loop_.timers().disarm(accept_retry_);
  if (accept_.in_flight()) {
    loop_.ring().cancel(accept_);  // its last event closes the listener
  } else {
    close_listener();
  }
}

// Clients whose connections the kernel has already established are taken in first; closing would reset them.
void HttpServer::close_listener() {
  if (listener_ < 0) return;
  while (true) {
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0 && errno == EINTR) continue;
    if (socket < 0) break;
    add_connection(socket);
  }
  ::close(listener_);
  listener_ = -1;
  check_drained();
}

void HttpServer::abort_all() {
  for (Connection* connection = open_.front(); connection != nullptr;) {
    Connection* next = open_.next(*connection);
    connection->abort();
    connection = next;
  }
}

void HttpServer::check_drained() {
  if (is_drained() && drain_waiter_) loop_.resume_soon(std::exchange(drain_waiter_, nullptr));
}

Exchange& HttpServer::acquire_exchange() {
  if (free_exchanges_.empty()) {
    exchanges_.push_back(std::make_unique<Exchange>());
    exchanges_.back()->server_ = this;
    exchanges_.back()->data_ = service_.make_data();
    free_exchanges_.push_back(exchanges_.back().get());
  }
  Exchange& exchange = *free_exchanges_.back();
  free_exchanges_.pop_back();
  ++exchange_count_;
  return exchange;
}

void HttpServer::release_exchange(Exchange& exchange) {
  exchange.connection_ = nullptr;
  exchange.request_ = nullptr;
  exchange.answered_ = false;
  exchange.early_.clear();
  if (exchange.early_.capacity() > kRetainedOutputBytes) exchange.early_.release();
  if (exchange.is_held_ && exchange.held_->storage.capacity() > kRetainedParserBytes) exchange.held_.reset();
  exchange.is_held_ = false;
  --exchange_count_;
  free_exchanges_.push_back(&exchange);
  check_drained();
}

std::string_view HttpServer::http_date() {
  const int64_t second = loop_.clock().wall_us() / 1'000'000;
  if (second != date_second_) {
    format_http_date(second, date_);
    date_second_ = second;
  }
  return {date_, kHttpDateSize};
}

}  // namespace txn
