// Bytes in, one HTTP/1.x response out: the reading half of the client. No I/O, no clock.
//
// llhttp does the grammar. What a broken or hostile server could grow without bound is bounded: the head, the body, and
// what a chunked body has besides its data. Interim responses (1xx, RFC 9110 section 15.2) are skipped; a switch of
// protocols was not asked for and is an error.
#pragma once

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace txn {

struct HttpResponseLimits {
  size_t head_bytes = 16 << 10;  // status line and headers, interim responses included
  size_t body_bytes = 64 << 10;  // decoded
};

// What a chunked body may have besides its data: sizes, extensions, trailers.
inline constexpr size_t kResponseFramingMaxBytes = 16 << 10;

// One response per object; neither copied nor moved, because llhttp points back to it.
class HttpResponseParser {
 public:
  enum class Status : uint8_t {
    kNeedMore,
    kComplete,   // status_code() and body() hold; bytes behind the response were not looked at
    kMalformed,  // not HTTP/1.x, cut off in the middle, or an answer to something that was not asked
    kTooLarge,   // over one of the limits
  };

  explicit HttpResponseParser(HttpResponseLimits limits);
  HttpResponseParser(const HttpResponseParser&) = delete;
  HttpResponseParser& operator=(const HttpResponseParser&) = delete;

  // REQUIRES: the last status was kNeedMore.
  Status feed(std::span<const char> bytes);

  // The peer has ended the stream: that completes a body without length, and cuts any other. Same requirement.
  Status end_of_stream();

  // Whether anything at all has come.
  bool has_begun() const { return received_ > 0; }

  // REQUIRES: kComplete.
  int status_code() const { return llhttp_.status_code; }
  const std::string& body() const { return body_; }

 private:
  struct Callbacks;

  Status execute(std::span<const char> bytes);
  Status judge(llhttp_errno_t error) const;

  const HttpResponseLimits limits_;
  llhttp_t llhttp_;
  std::string body_;
  size_t received_ = 0;
  bool head_complete_ = false;
  bool complete_ = false;
  bool too_large_ = false;
};

}  // namespace txn
