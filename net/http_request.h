// One HTTP request as the parser found it: nothing decoded, nothing copied, everything a view.
//
// Every view (path, query, body, header names and values) points into the receive buffer the bytes came in, or into
// the parser's own storage when the request was split over buffers. All of them live until HttpParser::next(),
// HttpParser::reset() or HttpParser::detach(): after detach() the request is still there, but only views taken from it
// afterwards are good. Whoever needs a value longer copies it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "net/ascii.h"
#include "net/byte_buffer.h"

namespace txn {

enum class Method : uint8_t { kGet, kHead, kPost, kPut, kDelete, kOptions, kPatch, kOther };
inline constexpr size_t kMethodCount = 8;

// "GET", ...; "OTHER" for everything this service has no use for (CONNECT, TRACE, PROPFIND, ...), known or not.
std::string_view to_string(Method method);

// RFC 9112 section 3.2. Absolute-form is already reduced to its path, so handlers rarely look at this.
enum class TargetForm : uint8_t {
  kOrigin,     // "/path?query"
  kAbsolute,   // "http://host/path?query"; path is "/" when there was none
  kAsterisk,   // "*", only with OPTIONS; path is "*"
  kAuthority,  // "host:port", only with CONNECT; path is the authority, which no route matches
};

// Header fields found without a search. The order is that of the table in http_parser.cc.
enum class KnownHeader : uint8_t {
  kAccept,
  kAccessControlRequestHeaders,
  kAccessControlRequestMethod,
  kAuthorization,
  kConnection,
  kContentEncoding,
  kContentLength,
  kContentType,
  kExpect,
  kForwarded,
  kHost,
  kIdempotencyKey,
  kIfNoneMatch,
  kOrigin,
  kTraceparent,
  kTransferEncoding,
  kXForwardedFor,
  kXIdempotencyKey,
  kXRequestId,
};
inline constexpr size_t kKnownHeaderCount = 19;

struct HeaderField {
  std::string_view name;   // as sent, a token
  std::string_view value;  // without surrounding blanks; no control characters except HTAB; bytes above 0x7f possible
};

// More fields than this are answered 431.
inline constexpr size_t kMaxHeaderFields = 100;

// Written by HttpParser, read by everybody else. Belongs to its parser and to one thread.
class HttpRequest {
 public:
  HttpRequest() = default;
  HttpRequest(const HttpRequest&) = delete;
  HttpRequest& operator=(const HttpRequest&) = delete;

  Method method = Method::kOther;
  bool is_known_method = true;  // false: kOther, and a word that no method of RFC 9110 or RFC 4918 has
  TargetForm target_form = TargetForm::kOrigin;
  uint8_t http_minor = 1;        // 0 or 1: HTTP/1.2 and later are served as 1.1
  bool keep_alive = false;       // what the client wants: RFC 9112 section 9.3
  bool expect_continue = false;  // 100-continue in Expect, in HTTP/1.1
  std::string_view path;         // undecoded, without the query
  std::string_view query;        // undecoded, behind the first "?"; empty when there is none
  std::string_view body;         // transfer coding removed; ByteBuffer::kPadding readable bytes follow it when it lives
                                 // in the parser's storage, else what the caller's buffer has behind it

  // Fields in the order they came; `index` < header_count().
  size_t header_count() const { return field_count_; }
  HeaderField header(size_t index) const { return field_at(fields_[index]); }

  // Value of the first field of that name; nullopt when it was not sent. "" means sent and empty. The parser has
  // refused requests that repeat Host, Content-Length, Transfer-Encoding, Authorization, Content-Type or
  // Idempotency-Key; for others use count() where a second one would matter.
  std::optional<std::string_view> find(KnownHeader header) const {
    const uint8_t index = known_[static_cast<size_t>(header)];
    return index == kAbsent ? std::nullopt : std::optional(field_at(fields_[index]).value);
  }
  std::optional<std::string_view> find(std::string_view name) const {
    for (size_t i = 0; i < field_count_; ++i) {
      const HeaderField field = field_at(fields_[i]);
      if (equals_ignore_case(field.name, name)) {
        return field.value;
      }
    }
    return std::nullopt;
  }
  bool has(KnownHeader header) const { return known_[static_cast<size_t>(header)] != kAbsent; }

  // Makes `to` a request of its own: what this one refers to is copied into `storage`, which must live as long as `to`
  // and not change. (ByteBuffer::kPadding readable bytes follow the body there.)
  void copy_to(HttpRequest& to, ByteBuffer& storage) const;

  // How many fields carry that name: a search over all of them.
  size_t count(std::string_view name) const {
    size_t found = 0;
    for (size_t i = 0; i < field_count_; ++i) {
      found += equals_ignore_case(field_at(fields_[i]).name, name) ? 1 : 0;
    }
    return found;
  }

 private:
  friend class HttpParser;

  static constexpr uint8_t kAbsent = 0xff;
  static_assert(kMaxHeaderFields < kAbsent);

  // Offsets from the first byte of the request. They survive a move of the bytes, and they are a quarter of the size of
  // two views, which counts with a hundred fields for each of many thousand connections.
  struct FieldRange {
    uint16_t name_begin;
    uint16_t name_size;
    uint16_t value_begin;
    uint16_t value_size;
  };

  HeaderField field_at(const FieldRange& range) const {
    return {{base_ + range.name_begin, range.name_size}, {base_ + range.value_begin, range.value_size}};
  }

  const char* base_ = nullptr;  // first byte of the request line
  std::array<uint8_t, kKnownHeaderCount> known_;
  uint8_t field_count_ = 0;
  std::array<FieldRange, kMaxHeaderFields> fields_;
};

}  // namespace txn
