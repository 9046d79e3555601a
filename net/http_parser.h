// Bytes in, HTTP/1.x requests out. No I/O, no clock: the connection feeds what it received and acts on the answer.
//
// llhttp (strict mode) reads the fields; this class reads the request line and the chunks, adds to the fields what
// llhttp lets through and a service must not (bare LF, obsolete folding), the bounds, and the semantics of RFC 9112
// section 6 (how long is the body?). Whatever two implementations could read differently is refused and ends the
// connection.
//
// A request that lies whole in one chunk is parsed where it is, without a copy. One that is split is gathered in the
// parser's own storage, contiguous from its first byte, at most kMaxHeadBytes + kMaxBodyBytes long. A chunked body is
// always decoded into own storage. The result never depends on how the bytes were cut into chunks.
//
//   feed(chunk) --> kNeedMore: nothing of the chunk is referred to any more; recv again
//               --> kRequest:  handle request(), then next(), which parses on with what is left of the chunk
//               --> kError:    answer http_status(error()), close; the parser accepts nothing more
#pragma once

#include <llhttp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/byte_buffer.h"
#include "net/http_request.h"

namespace txn {

inline constexpr size_t kMaxHeadBytes = 16 * 1024;     // request line and header fields, final empty line included
inline constexpr size_t kMaxBodyBytes = 64 * 1024;     // after removing the transfer coding
inline constexpr size_t kMaxChunkFraming = 16 * 1024;  // chunk size lines, their extensions and trailers of a request
inline constexpr size_t kRetainedParserBytes = 8 * 1024;  // own storage kept from one request to the next

// Why a request was refused. All of them end the connection: where the next request begins is no longer certain.
enum class HttpError : uint8_t {
  kNone,
  kMalformed,           // 400: not HTTP, or ambiguous
  kHeadTooLarge,        // 431: kMaxHeadBytes or kMaxHeaderFields exceeded
  kBodyTooLarge,        // 413: kMaxBodyBytes or kMaxChunkFraming exceeded, or announced to be
  kExpectationFailed,   // 417: Expect with anything but 100-continue
  kUnknownCoding,       // 501: a transfer coding other than chunked
  kUnsupportedVersion,  // 505: a well-formed version whose first number is not 1
};

int http_status(HttpError error);  // 400, 431, ...; REQUIRES: not kNone

// One per connection; belongs to one thread; neither copied nor moved (llhttp and request() point into it).
class HttpParser {
 public:
  enum class Status : uint8_t { kNeedMore, kRequest, kError };

  // What the connection is waiting for, so that it can choose its time-out.
  enum class Phase : uint8_t {
    kIdle,      // between requests: no byte of the next one has come (one empty line does not count)
    kHead,      // some bytes of a request line or header
    kBody,      // head complete and readable through request(), body not
    kComplete,  // request() is waiting to be handled
    kFailed,    // error() says why
  };

  HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  // Parses on with `bytes`. They are borrowed: after kNeedMore not at all; after kRequest until next() has returned
  // kNeedMore, or detach(); after kError until the caller has stopped reading request(). Feeding after kError is
  // harmless and gives kError again. REQUIRES: phase() is not kComplete.
  Status feed(std::span<const char> bytes);

  // Ends the life of request() and its views and parses on with what the last chunk still holds.
  // REQUIRES: phase() is kComplete.
  Status next();

  // Copies into own storage whatever the parser still refers to in the chunk last fed (the present request and the
  // unparsed rest), so that the chunk can be given back. request() stays usable; views taken from it before do not.
  void detach();

  // As new, for the next connection in the same slot; gives large storage back.
  void reset();

  Phase phase() const;

  // The request, when phase() is kComplete. Its head (all but `body`) is also there in kBody, and in kFailed when
  // headers_complete(), so that an error can be answered with the caller's request id.
  const HttpRequest& request() const { return request_; }

  // The head of the present request has been received and understood well enough to read path and header fields.
  bool headers_complete() const { return head_size_ != 0; }

  // True at most once a request: the client waits for "100 Continue" and nothing of the body has come (RFC 9110 section
  // 10.1.1). Ask after each kNeedMore.
  bool take_continue();

  HttpError error() const { return error_; }
  // What exactly was wrong: a literal of ours, fit for clients and logs. "" without an error.
  const char* error_reason() const { return reason_; }

  // Bytes of later requests that were fed but not looked at. Not 0 only in kComplete.
  size_t unparsed_bytes() const { return static_cast<size_t>(input_end_ - input_); }

 private:
  struct Callbacks;  // llhttp's, in http_parser.cc

  enum class State : uint8_t {
    kStart,      // before the first byte of a request
    kStartCr,    // the CR of an empty line before it
    kStartCrLf,  // the empty line before it; a second one is an error
    kLine,
    kHead,
    kBody,
    kChunks,
    kTrailers,
    kComplete,
    kFailed,
  };

  // What of the request line comes next.
  enum class LinePart : uint8_t { kMethod, kTarget, kVersion, kLf };

  // What of a chunked body comes next. Between kSize and kSizeLf: the extensions.
  enum class ChunkPart : uint8_t {
    kSizeStart,
    kSize,
    kNameStart,
    kName,
    kValueStart,
    kValue,
    kQuoted,
    kEscape,
    kQuotedEnd,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
  };

  // Refuses control characters: CR must come before LF and only there, LF only behind CR and not before a blank (that
  // would be obsolete folding), no other but HTAB at all. Keeps its place between two pieces of the same text.
  class LineScanner {
   public:
    // A text starts like a line: no blank first.
    void restart() { *this = {}; }
    // nullptr when all is well, else what is wrong.
    const char* scan(const char* begin, const char* end);

   private:
    enum class Expect : uint8_t { kText, kLf, kLineStart };
    Expect expect_ = Expect::kLineStart;
  };

  Status run();
  bool step();
  bool skip_empty_line();
  bool parse_line();
  void begin_fields();
  bool parse_head();
  bool finish_head();
  bool read_target();
  bool read_fields();
  bool read_framing();
  bool read_expectations();
  bool read_body();
  bool parse_chunks();
  bool end_chunk_item(char c);
  bool parse_trailers();

  bool fail(HttpError error, const char* reason);
  bool fail_from_llhttp();
  void consume(size_t count);
  void publish();
  void save();
  void start_request();
  void drop_storage();
  const char* request_base() const { return held_ ? storage_.data() : in_place_; }

  State state_ = State::kStart;
  HttpError error_ = HttpError::kNone;
  const char* reason_ = "";

  // Where the bytes are. The present request starts at in_place_, directly before the input, or, when `held_`, at the
  // front of storage_ and the input is elsewhere. After detach() the input is itself in storage_ (`input_own_`).
  const char* input_ = nullptr;
  const char* input_end_ = nullptr;
  bool input_own_ = false;
  const char* in_place_ = nullptr;
  bool held_ = false;
  ByteBuffer storage_;
  ByteBuffer chunked_body_;

  // The present request. Offsets count from its first byte.
  size_t size_ = 0;       // bytes of it kept so far: head and identity body, or head alone when chunked
  size_t head_size_ = 0;  // 0 until the head is complete
  size_t content_length_ = 0;
  size_t framing_bytes_ = 0;  // of a chunked body, all that is not data
  bool continue_taken_ = false;
  bool body_started_ = false;
  uint16_t target_begin_ = 0;
  uint16_t target_size_ = 0;
  uint16_t path_begin_ = 0;
  uint16_t path_size_ = 0;
  uint16_t query_begin_ = 0;
  uint16_t query_size_ = 0;
  uint16_t method_size_ = 0;
  LinePart line_part_ = LinePart::kMethod;
  uint8_t version_major_ = 0;
  ChunkPart chunk_part_ = ChunkPart::kSizeStart;
  uint64_t chunk_size_ = 0;            // of the present chunk; while its data comes, what is left of it
  size_t name_bytes_ = 0;              // of the header field or trailer whose name is being read
  bool in_value_ = false;              // of a field: its colon has been read
  std::array<char, 32> trailer_name_;  // the beginning of the present trailer's name

  // The piece that llhttp is looking at, to turn its pointers into offsets.
  const char* piece_ = nullptr;
  size_t piece_offset_ = 0;

  LineScanner lines_;
  llhttp_t llhttp_;
  HttpRequest request_;
};

}  // namespace txn
