// HTTP/1.1 responses, written straight into the buffer that will be sent: one reserve, then copies. No I/O, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/byte_buffer.h"
#include "net/http_request.h"

namespace txn {

// Length of an IMF-fixdate (RFC 9110 section 5.6.7), "Sun, 06 Nov 1994 08:49:37 GMT".
inline constexpr size_t kHttpDateSize = 29;

// Writes exactly kHttpDateSize bytes, no NUL. `unix_seconds`: UTC, years 0000 to 9999; beyond them the nearest of
// these.
void format_http_date(int64_t unix_seconds, char* out);

// Everything of a response but its body. Views are only read during the call they are handed to.
struct ResponseHead {
  int status = 200;               // 200..999; 1xx are not responses of this kind
  std::string_view request_id;    // X-Request-ID; no such header when empty
  std::string_view date;          // from format_http_date, cached by the caller; no such header when empty
  std::string_view content_type;  // no such header when empty
  bool keep_alive = true;         // false adds "Connection: close"
  uint8_t http_minor = 1;         // of the request: 1.0 needs "Connection: keep-alive" to stay
  bool head_only = false;         // the request was HEAD: same head, no body
  bool strict_transport = false;  // adds Strict-Transport-Security; for connections over TLS
  bool no_store = false;          // adds "Cache-Control: no-store"
  std::string_view content_security_policy =
      {};                                   // in place of "default-src 'self'"; only the documentation page needs it
  std::span<const HeaderField> extra = {};  // Allow, Retry-After, WWW-Authenticate, ...
  std::string_view cors_lines = {};         // of CorsPolicy, as they are
  std::string_view lines = {};              // more of them, "Name: value\r\n" each, of our own making: not looked at
};

// Appends status line, headers and body. Content-Length is always there, except with 204 and 304, which also have no
// body (RFC 9110 section 8.6). A header whose name is not a token or whose value has a control character is left out:
// nothing that came from outside may split the response.
void append_response(ByteBuffer& out, const ResponseHead& head, std::string_view body);

// The same without the body, for one that is sent from elsewhere. `content_length` in bytes.
void append_response_head(ByteBuffer& out, const ResponseHead& head, size_t content_length);

// "100 Continue" (RFC 9110 section 15.2.1).
void append_continue(ByteBuffer& out);

// "OK", "Not Found", ...; "" for a status this service never sends (the phrase may be empty, RFC 9112 section 4).
std::string_view reason_phrase(int status);

}  // namespace txn
