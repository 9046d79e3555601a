#include "net/http_response_parser.h"

#include <algorithm>

#include "core/check.h"

namespace txn {

struct HttpResponseParser::Callbacks {
  static constexpr int kStop = -1;

  static HttpResponseParser& self(llhttp_t* llhttp) { return *static_cast<HttpResponseParser*>(llhttp->data); }

  static int on_headers_complete(llhttp_t* llhttp) {
    const int status = llhttp->status_code;
    if (llhttp->http_major != 1 || status < 100 || status > 599 || status == 101) return kStop;
    self(llhttp).head_complete_ = status >= 200;
    return 0;
  }

  static int on_body(llhttp_t* llhttp, const char* at, size_t size) {
    HttpResponseParser& parser = self(llhttp);
    if (size > parser.limits_.body_bytes - parser.body_.size()) {
      parser.too_large_ = true;
      return kStop;
    }
    parser.body_.append(at, size);
    return 0;
  }

  static int on_message_complete(llhttp_t* llhttp) {
    HttpResponseParser& parser = self(llhttp);
    if (!parser.head_complete_) return 0;  // an interim response: the one that counts is still to come
    parser.complete_ = true;
    return HPE_PAUSED;
  }

  static constexpr llhttp_settings_t make_settings() {
    llhttp_settings_t settings{};
    settings.on_headers_complete = on_headers_complete;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    return settings;
  }

  static const llhttp_settings_t kSettings;
};

constinit const llhttp_settings_t HttpResponseParser::Callbacks::kSettings =
    HttpResponseParser::Callbacks::make_settings();

HttpResponseParser::HttpResponseParser(HttpResponseLimits limits) : limits_(limits) {
  llhttp_init(&llhttp_, HTTP_RESPONSE, &Callbacks::kSettings);
  llhttp_.data = this;
}

HttpResponseParser::Status HttpResponseParser::feed(std::span<const char> bytes) {
  // The head is given to llhttp no further than it may go, so that the bound does not depend on how bytes are cut.
  while (!head_complete_ && !bytes.empty()) {
    const size_t left = limits_.head_bytes - std::min(received_, limits_.head_bytes);
    if (left == 0) return Status::kTooLarge;
    const auto piece = bytes.first(std::min(left, bytes.size()));
    bytes = bytes.subspan(piece.size());
    if (const Status status = execute(piece); status != Status::kNeedMore) return status;
  }
  return bytes.empty() ? Status::kNeedMore : execute(bytes);
}

HttpResponseParser::Status HttpResponseParser::execute(std::span<const char> bytes) {
  received_ += bytes.size();
  const Status status = judge(llhttp_execute(&llhttp_, bytes.data(), bytes.size()));
  if (status == Status::kNeedMore && received_ > limits_.head_bytes + body_.size() + kResponseFramingMaxBytes)
    return Status::kTooLarge;
  return status;
}

HttpResponseParser::Status HttpResponseParser::end_of_stream() {
  const Status status = judge(llhttp_finish(&llhttp_));
  return status == Status::kNeedMore ? Status::kMalformed : status;
}

HttpResponseParser::Status HttpResponseParser::judge(llhttp_errno_t error) const {
  if (complete_) return Status::kComplete;
  if (too_large_) return Status::kTooLarge;
  return error == HPE_OK ? Status::kNeedMore : Status::kMalformed;
}

}  // namespace txn
