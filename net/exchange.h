// One request and its answer: what net hands to the application and gets back.
#pragma once

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/check.h"
#include "core/intrusive_list.h"
#include "net/byte_buffer.h"
#include "net/cors.h"
#include "net/http_request.h"
#include "net/request_id.h"

namespace txn {

class Connection;
class HttpServer;

// What a handler answers. Borrows; only read during respond().
struct Answer {
  int status = 200;
  std::string_view content_type;
  std::string_view body;
  std::span<const HeaderField> headers = {};  // Allow, WWW-Authenticate, Retry-After ...
};

// What the application keeps with an exchange; net only carries it. An exchange object serves one request after another
// and keeps its data object, which the application therefore clears when a request comes.
class ExchangeData {
 public:
  virtual ~ExchangeData() = default;
};

struct ExchangeListTag;

inline constexpr size_t kExchangeLinesMax = 256;

// Made by a connection for each request, in order; answers leave in that order whenever they come. Lives until
// respond() returns, also when the client has gone meanwhile (the answer is then dropped). Belongs to one worker.
class Exchange : public ListNode<ExchangeListTag> {
 public:
  // The request; valid until on_request() returns, so a handler takes from it what it needs before it first suspends.
  // After hold_request(), valid until respond().
  const HttpRequest& request() const { return *request_; }

  // Lives as long as the exchange.
  std::string_view request_id() const { return request_id_.view(); }
  const sockaddr_in6& peer() const { return peer_; }  // IPv4 as ::ffff:a.b.c.d
  // Whether it came over TLS from the client to this process.
  bool is_over_tls() const { return over_tls_; }
  // The loop's clock when the request was complete.
  int64_t received_ns() const { return received_ns_; }
  Method method() const { return method_; }
  // False for what was never a whole request: see HttpService::on_bad_request and is_settled.
  bool is_complete() const { return complete_; }
  // A number that the application gives the exchange to know it by when it is answered; kNoEndpoint until then.
  static constexpr uint16_t kNoEndpoint = UINT16_MAX;
  uint16_t endpoint() const { return endpoint_; }
  void set_endpoint(uint16_t endpoint) { endpoint_ = endpoint; }
  // REQUIRES: the service makes data.
  ExchangeData& data() const { return *data_; }
  // Whether somebody still waits for the answer.
  bool has_client() const { return connection_ != nullptr; }

  // The answer may be big: until it is with the connection, no further request of that is begun. A client that asks for
  // many such answers and reads none has no more than one kept. To be called from on_request(), before an answer.
  void set_bulky() { is_bulky_ = true; }

  // Copies the request, for somebody who has to wait before a handler can look at it. The client may leave meanwhile.
  void hold_request();

  // No cache may keep the answer, whatever it is (RFC 9111 section 5.2.2.5).
  void set_no_store() { no_store_ = true; }

  // Header fields that go with whatever the answer is: "Name: value\r\n" each, of our own making, at most
  // kExchangeLinesMax bytes. Copied.
  void set_lines(std::string_view lines);
  std::string_view lines() const { return {lines_.data(), lines_size_}; }

  // Whether a browser may show the answer to the page that has asked (net/cors.h).
  bool is_cors_allowed() const { return cors_.allowed; }

  // Answers, exactly once. The exchange is gone when this returns.
  void respond(const Answer& answer);

 private:
  friend class Connection;
  friend class HttpServer;

  HttpServer* server_ = nullptr;
  std::unique_ptr<ExchangeData> data_;
  Connection* connection_ = nullptr;
  const HttpRequest* request_ = nullptr;
  RequestId request_id_;
  sockaddr_in6 peer_{};
  int64_t received_ns_ = 0;
  uint16_t endpoint_ = kNoEndpoint;
  Method method_ = Method::kOther;
  bool complete_ = false;
  uint8_t http_minor_ = 1;
  bool keep_alive_ = true;
  bool head_only_ = false;
  bool over_tls_ = false;
  bool is_safe_ = false;  // RFC 9110 section 9.2.1
  bool is_bulky_ = false;
  bool no_store_ = false;
  bool answered_ = false;  // and waiting in `early_` for the ones before it
  ByteBuffer early_;
  CorsPolicy::Match cors_;
  std::array<char, kExchangeLinesMax> lines_;
  size_t lines_size_ = 0;
  struct HeldRequest {
    ByteBuffer storage;
    HttpRequest request;
  };
  std::unique_ptr<HeldRequest> held_;  // kept for the next one that has to be held
  bool is_held_ = false;
};

inline void Exchange::hold_request() {
  CHECK(request_ != nullptr && !is_held_, "a request is held once, while it is there");
  if (!held_) held_ = std::make_unique<HeldRequest>();
  request_->copy_to(held_->request, held_->storage);
  request_ = &held_->request;
  is_held_ = true;
}

inline void Exchange::set_lines(std::string_view lines) {
  CHECK(lines.size() <= lines_.size(), "an exchange has a handful of lines");
  std::ranges::copy(lines, lines_.begin());
  lines_size_ = lines.size();
}

// The application as net sees it.
class HttpService {
 public:
  // A complete request. respond() may be called before this returns or any time later.
  virtual void on_request(Exchange& exchange) = 0;
  // Whether the answer to a request with this head is certain whatever its body is. Asked when a client waits for "100
  // Continue" (RFC 9110 section 10.1.1): if so, on_request() comes at once, with an empty body, the client is not told
  // to send its own, and the connection closes after the answer, because nobody can say whether a body will follow.
  virtual bool is_settled(const HttpRequest& /*head*/) { return false; }
  // Bytes that are no request, or one that took too long or came at a bad time: `status` is 400, 408, 413, 417, 431,
  // 501, 503 or 505, `detail` a sentence for the client and the log, a literal. The request is not readable; the
  // connection closes after the answer.
  virtual void on_bad_request(Exchange& exchange, int status, std::string_view detail) = 0;
  // `exchange` is being answered with `status`: for those who count or report. Called once for each, also when its
  // client has gone.
  virtual void on_answered(const Exchange& /*exchange*/, int /*status*/) {}
  // For each exchange object, of which there are as many as requests were ever under way at once.
  virtual std::unique_ptr<ExchangeData> make_data() { return nullptr; }

 protected:
  ~HttpService() = default;
};

}  // namespace txn
