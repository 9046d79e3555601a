// How a request goes through here, by state:
//
//   kStart      skip at most one empty line (RFC 9112 section 2.2), remember where the request begins
//   kHead       llhttp eats up to kMaxHeadBytes and pauses behind the empty line that ends the head; LineScanner
//               checks the same bytes
//   finish_head target, fields and framing are judged on the complete, contiguous head
//   kBody       Content-Length bytes are simply counted
//   kChunks     llhttp decodes into chunked_body_, pausing behind the size line of the last chunk
//   kTrailers   llhttp and LineScanner check them; they are discarded
//   kComplete   llhttp has never seen a byte of the following request
//
// To be independent of how the bytes were cut, every error belongs to one byte and earlier bytes win: llhttp's span
// callbacks, which come whenever a chunk ends, only record; errors come from its *_complete callbacks, from the scan of
// exactly the bytes it has consumed, and from bounds that limit what it is given.
#include "net/http_parser.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>

namespace txn {
namespace {

struct KnownName {
  std::string_view name;  // lower case
  bool singleton;         // a second one makes the request ambiguous
};

// Indexed by KnownHeader.
constexpr std::array<KnownName, kKnownHeaderCount> kKnownNames = {{
    {"accept", false},
    {"access-control-request-headers", false},
    {"access-control-request-method", false},
    {"authorization", true},
    {"connection", false},
    {"content-encoding", false},
    {"content-length", true},
    {"content-type", true},
    {"expect", true},
    {"forwarded", false},
    {"host", true},
    {"idempotency-key", true},
    {"if-none-match", false},
    {"origin", false},
    {"traceparent", false},
    {"transfer-encoding", true},
    {"x-forwarded-for", false},
    {"x-request-id", false},
}};
static_assert(kKnownNames[static_cast<size_t>(KnownHeader::kAuthorization)].name == "authorization");
static_assert(kKnownNames[static_cast<size_t>(KnownHeader::kHost)].name == "host");
static_assert(kKnownNames[static_cast<size_t>(KnownHeader::kTransferEncoding)].name == "transfer-encoding");
static_assert(kKnownNames[static_cast<size_t>(KnownHeader::kXRequestId)].name == "x-request-id");

constexpr size_t kNotKnown = kKnownHeaderCount;

bool same_name(std::string_view name, KnownHeader header) {
  return equals_ignore_case(name, kKnownNames[static_cast<size_t>(header)].name);
}

// The KnownHeader of a field name, or kNotKnown. Length and one letter leave a single candidate.
size_t classify(std::string_view name) {
  auto candidate = [name](KnownHeader header) {
    return same_name(name, header) ? static_cast<size_t>(header) : kNotKnown;
  };
  switch (name.size()) {
    case 4:
      return candidate(KnownHeader::kHost);
    case 6:
      switch (ascii_lower(name[0])) {
        case 'a':
          return candidate(KnownHeader::kAccept);
        case 'e':
          return candidate(KnownHeader::kExpect);
        default:
          return candidate(KnownHeader::kOrigin);
      }
    case 9:
      return candidate(KnownHeader::kForwarded);
    case 10:
      return candidate(KnownHeader::kConnection);
    case 11:
      return candidate(KnownHeader::kTraceparent);
    case 12:
      return candidate(ascii_lower(name[0]) == 'c' ? KnownHeader::kContentType : KnownHeader::kXRequestId);
    case 13:
      return candidate(ascii_lower(name[0]) == 'a' ? KnownHeader::kAuthorization : KnownHeader::kIfNoneMatch);
    case 14:
      return candidate(KnownHeader::kContentLength);
    case 15:
      return candidate(ascii_lower(name[0]) == 'i' ? KnownHeader::kIdempotencyKey : KnownHeader::kXForwardedFor);
    case 16:
      return candidate(KnownHeader::kContentEncoding);
    case 17:
      return candidate(KnownHeader::kTransferEncoding);
    case 29:
      return candidate(KnownHeader::kAccessControlRequestMethod);
    case 30:
      return candidate(KnownHeader::kAccessControlRequestHeaders);
    default:
      return kNotKnown;
  }
}

Method method_of(uint8_t llhttp_method) {
  switch (llhttp_method) {
    case HTTP_GET:
      return Method::kGet;
    case HTTP_HEAD:
      return Method::kHead;
    case HTTP_POST:
      return Method::kPost;
    case HTTP_PUT:
      return Method::kPut;
    case HTTP_DELETE:
      return Method::kDelete;
    case HTTP_OPTIONS:
      return Method::kOptions;
    case HTTP_PATCH:
      return Method::kPatch;
    default:
      return Method::kOther;
  }
}

// Calls `visit` with each element of a comma-separated list, blanks trimmed, empty ones included.
template <class Visit>
void for_each_element(std::string_view list, Visit visit) {
  while (true) {
    const size_t comma = list.find(',');
    visit(trim_blanks(list.substr(0, comma)));
    if (comma == std::string_view::npos) {
      return;
    }
    list.remove_prefix(comma + 1);
  }
}

// uri-host [ ":" port ] of RFC 9110 section 7.2, by its characters: enough that a blank, a list, a path or userinfo
// cannot hide in it.
bool is_authority_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && std::strchr("-._~!$&'()*+;=%:[]", c) != nullptr);
  });
}

enum class Coding { kChunked, kUnknown, kMalformed };

// RFC 9112 section 6.1 and 6.3: chunked must be the last coding and stand once; what precedes it is a coding that we do
// not know. Without it at the end the length of the body would be anybody's guess.
Coding judge_transfer_encoding(std::string_view value) {
  if (equals_ignore_case(value, "chunked")) {
    return Coding::kChunked;
  }
  size_t chunked = 0;
  bool chunked_last = false;
  bool tokens = true;
  for_each_element(value, [&](std::string_view element) {
    chunked_last = equals_ignore_case(element, "chunked");
    chunked += chunked_last ? 1 : 0;
    tokens = tokens && !element.empty() && std::all_of(element.begin(), element.end(), is_token_char);
  });
  return tokens && chunked_last && chunked == 1 ? Coding::kUnknown : Coding::kMalformed;
}

}  // namespace

int http_status(HttpError error) {
  switch (error) {
    case HttpError::kMalformed:
      return 400;
    case HttpError::kHeadTooLarge:
      return 431;
    case HttpError::kBodyTooLarge:
      return 413;
    case HttpError::kExpectationFailed:
      return 417;
    case HttpError::kUnknownCoding:
      return 501;
    case HttpError::kUnsupportedVersion:
      return 505;
    case HttpError::kNone:
      break;
  }
  CHECK(false, "no error has no status");
  return 500;
}

std::string_view to_string(HttpError error) {
  switch (error) {
    case HttpError::kNone:
      return "";
    case HttpError::kMalformed:
      return "The request is not well-formed HTTP.";
    case HttpError::kHeadTooLarge:
      return "The request line and headers are too large.";
    case HttpError::kBodyTooLarge:
      return "The request body is too large.";
    case HttpError::kExpectationFailed:
      return "The expectation cannot be met.";
    case HttpError::kUnknownCoding:
      return "The transfer coding is not supported.";
    case HttpError::kUnsupportedVersion:
      return "The HTTP version is not supported.";
  }
  return "";
}

void HttpRequest::copy_to(HttpRequest& to, ByteBuffer& storage) const {
  // The head ends with its last field, or with the target where there is none.
  size_t head_size = 0;
  for (size_t i = 0; i < field_count_; ++i) {
    const FieldRange& field = fields_[i];  // an empty value may be said to begin anywhere
    head_size = std::max<size_t>(
        {head_size, size_t{field.name_begin} + field.name_size, size_t{field.value_begin} + field.value_size});
  }
  const auto offset_in_head = [&](std::string_view part) -> std::optional<size_t> {
    const std::less_equal<const char*> not_after;
    if (part.empty() || !not_after(base_, part.data()) || !not_after(part.data(), base_ + kMaxHeadBytes)) return {};
    return static_cast<size_t>(part.data() - base_);
  };
  const auto path_offset = offset_in_head(path);
  const auto query_offset = offset_in_head(query);
  if (path_offset) head_size = std::max(head_size, *path_offset + path.size());
  if (query_offset) head_size = std::max(head_size, *query_offset + query.size());

  storage.clear();
  storage.reserve(head_size + body.size());
  storage.append({base_, head_size});
  storage.append(body);

  to.method = method;
  to.target_form = target_form;
  to.http_minor = http_minor;
  to.keep_alive = keep_alive;
  to.expect_continue = expect_continue;
  to.base_ = storage.data();
  to.path = path_offset ? std::string_view(storage.data() + *path_offset, path.size()) : path;  // else the literal "/"
  to.query = query_offset ? std::string_view(storage.data() + *query_offset, query.size()) : std::string_view();
  to.body = {storage.data() + head_size, body.size()};
  to.known_ = known_;
  to.field_count_ = field_count_;
  std::copy_n(fields_.begin(), field_count_, to.fields_.begin());
}

std::string_view to_string(Method method) {
  constexpr std::array<std::string_view, kMethodCount> kNames = {"GET",    "HEAD",    "POST",  "PUT",
                                                                 "DELETE", "OPTIONS", "PATCH", "OTHER"};
  return kNames[static_cast<size_t>(method)];
}

// Set up once, handed to every llhttp parser. A callback's result: 0 goes on, kStop becomes an error of llhttp's behind
// which error_ already says what we think, HPE_PAUSED stops cleanly at a known byte.
struct HttpParser::Callbacks {
  static constexpr int kStop = -1;

  static HttpParser& self(llhttp_t* llhttp) { return *static_cast<HttpParser*>(llhttp->data); }

  static size_t offset(const HttpParser& parser, const char* at) {
    return parser.piece_offset_ + static_cast<size_t>(at - parser.piece_);
  }

  // A span comes in as many parts as there were chunks; they are contiguous, so only the end moves on.
  static int on_url(llhttp_t* llhttp, const char* at, size_t size) {
    HttpParser& parser = self(llhttp);
    if (parser.target_size_ == 0) {
      parser.target_begin_ = static_cast<uint16_t>(offset(parser, at));
    }
    parser.target_size_ = static_cast<uint16_t>(offset(parser, at) + size - parser.target_begin_);
    return 0;
  }

  static int on_version(llhttp_t* llhttp, const char* at, size_t size) {
    HttpParser& parser = self(llhttp);
    if (parser.version_size_ == 0) {
      parser.version_begin_ = static_cast<uint16_t>(offset(parser, at));
    }
    parser.version_size_ = static_cast<uint8_t>(parser.version_size_ + size);
    return 0;
  }

  static int on_version_complete(llhttp_t* llhttp) {
    HttpParser& parser = self(llhttp);
    parser.version_complete_ = true;
    if (llhttp->http_major != 1 || llhttp->http_minor > 1) {
      parser.fail(HttpError::kUnsupportedVersion, "version other than 1.0 and 1.1");
      return kStop;
    }
    return 0;
  }

  static int on_header_field(llhttp_t* llhttp, const char* at, size_t size) {
    HttpParser& parser = self(llhttp);
    HttpRequest& request = parser.request_;
    parser.name_bytes_ += size;
    // Trailers are discarded; one field too many is noticed when its name is complete.
    if (parser.head_size_ != 0 || request.field_count_ == kMaxHeaderFields) {
      return 0;
    }
    HttpRequest::FieldRange& field = request.fields_[request.field_count_];
    if (field.name_size == 0) {
      field.name_begin = static_cast<uint16_t>(offset(parser, at));
    }
    field.name_size = static_cast<uint16_t>(offset(parser, at) + size - field.name_begin);
    return 0;
  }

  static int on_header_field_complete(llhttp_t* llhttp) {
    HttpParser& parser = self(llhttp);
    if (std::exchange(parser.name_bytes_, 0) == 0) {
      parser.fail(HttpError::kMalformed, "empty header field name");
      return kStop;
    }
    if (parser.head_size_ == 0 && parser.request_.field_count_ == kMaxHeaderFields) {
      parser.fail(HttpError::kHeadTooLarge, "too many header fields");
      return kStop;
    }
    return 0;
  }

  static int on_header_value(llhttp_t* llhttp, const char* at, size_t size) {
    HttpParser& parser = self(llhttp);
    HttpRequest& request = parser.request_;
    if (parser.head_size_ != 0 || size == 0) {
      return 0;
    }
    HttpRequest::FieldRange& field = request.fields_[request.field_count_];
    if (field.value_size == 0) {
      field.value_begin = static_cast<uint16_t>(offset(parser, at));
    }
    field.value_size = static_cast<uint16_t>(offset(parser, at) + size - field.value_begin);
    return 0;
  }

  static int on_header_value_complete(llhttp_t* llhttp) {
    HttpParser& parser = self(llhttp);
    HttpRequest& request = parser.request_;
    if (parser.head_size_ != 0) {
      return 0;
    }
    ++request.field_count_;
    if (request.field_count_ < kMaxHeaderFields) {
      request.fields_[request.field_count_] = {};
    }
    return 0;
  }

  // The framing is ours to judge, and where the head ends must be known to the byte.
  static int on_headers_complete(llhttp_t* /*llhttp*/) { return HPE_PAUSED; }

  static int on_chunk_header(llhttp_t* llhttp) {
    HttpParser& parser = self(llhttp);
    if (llhttp->content_length == 0) {
      parser.last_chunk_ = true;
      return HPE_PAUSED;
    }
    if (llhttp->content_length > kMaxBodyBytes - parser.chunked_body_.size()) {
      parser.fail(HttpError::kBodyTooLarge, "chunked body too large");
      return kStop;
    }
    return 0;
  }

  static int on_body(llhttp_t* llhttp, const char* at, size_t size) {
    self(llhttp).chunked_body_.append({at, size});
    return 0;
  }

  static int on_message_complete(llhttp_t* /*llhttp*/) { return HPE_PAUSED; }

  static constexpr llhttp_settings_t make_settings() {
    llhttp_settings_t settings{};
    settings.on_url = on_url;
    settings.on_version = on_version;
    settings.on_version_complete = on_version_complete;
    settings.on_header_field = on_header_field;
    settings.on_header_field_complete = on_header_field_complete;
    settings.on_header_value = on_header_value;
    settings.on_header_value_complete = on_header_value_complete;
    settings.on_headers_complete = on_headers_complete;
    settings.on_chunk_header = on_chunk_header;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    return settings;
  }

  static const llhttp_settings_t kSettings;
};

constinit const llhttp_settings_t HttpParser::Callbacks::kSettings = HttpParser::Callbacks::make_settings();

const char* HttpParser::LineScanner::scan(const char* begin, const char* end) {
  while (begin != end) {
    if (expect_ == Expect::kLf) {
      if (*begin != '\n') {
        return "CR without LF";
      }
      expect_ = Expect::kLineStart;
      seen_line_ = true;
      ++begin;
      continue;
    }
    if (expect_ == Expect::kLineStart && is_blank(*begin)) {
      return "line begins with a blank";
    }
    expect_ = Expect::kText;
    begin = find_control(begin, end);
    if (begin == end) {
      break;
    }
    if (*begin == '\r') {
      expect_ = Expect::kLf;
    } else if (*begin == '\n') {
      return "LF without CR";
    } else if (*begin != '\t') {
      return "control character";
    }
    ++begin;
  }
  return nullptr;
}

HttpParser::HttpParser() {
  llhttp_init(&llhttp_, HTTP_REQUEST, &Callbacks::kSettings);
  llhttp_.data = this;
}

HttpParser::Status HttpParser::feed(std::span<const char> bytes) {
  CHECK(state_ != State::kComplete, "fed while a request waits for next()");
  if (state_ == State::kFailed) {
    return Status::kError;
  }
  input_ = bytes.data();
  input_end_ = bytes.data() + bytes.size();
  input_own_ = false;
  return run();
}

HttpParser::Status HttpParser::next() {
  CHECK(state_ == State::kComplete, "next() without a request");
  held_ = false;
  if (!input_own_) {
    storage_.clear();
  }
  state_ = State::kStart;
  head_size_ = 0;
  return run();
}

void HttpParser::detach() {
  if (state_ != State::kComplete && state_ != State::kFailed) {
    return;  // nothing is borrowed while more is needed
  }
  if (input_own_) {
    return;
  }
  if (state_ == State::kFailed && !headers_complete()) {
    input_ = input_end_ = in_place_ = nullptr;
    return;
  }
  const size_t rest_size = unparsed_bytes();
  if (held_) {
    const size_t rest_begin = storage_.size();
    storage_.append({input_, rest_size});
    input_ = storage_.data() + rest_begin;
  } else {
    const size_t rest_begin = static_cast<size_t>(input_ - in_place_);
    storage_.clear();
    storage_.append({in_place_, rest_begin + rest_size});
    in_place_ = storage_.data();
    input_ = in_place_ + rest_begin;
  }
  input_end_ = input_ + rest_size;
  input_own_ = true;
  publish();
}

void HttpParser::reset() {
  state_ = State::kStart;
  error_ = HttpError::kNone;
  reason_ = "";
  input_ = input_end_ = in_place_ = nullptr;
  input_own_ = false;
  held_ = false;
  head_size_ = 0;
  drop_storage();
}

// Empties the own storage; what an unusually large request needed is given back, so that a connection that has been
// busy once is as cheap as any other while it idles.
void HttpParser::drop_storage() {
  for (ByteBuffer* buffer : {&storage_, &chunked_body_}) {
    buffer->clear();
    if (buffer->capacity() > kRetainedParserBytes) {
      buffer->release();
    }
  }
}

HttpParser::Phase HttpParser::phase() const {
  switch (state_) {
    case State::kStart:
    case State::kStartCr:
    case State::kStartCrLf:
      return Phase::kIdle;
    case State::kHead:
      return Phase::kHead;
    case State::kBody:
    case State::kChunks:
    case State::kTrailers:
      return Phase::kBody;
    case State::kComplete:
      return Phase::kComplete;
    case State::kFailed:
      break;
  }
  return Phase::kFailed;
}

bool HttpParser::take_continue() {
  if (phase() != Phase::kBody || !request_.expect_continue || body_started_ || continue_taken_) {
    return false;
  }
  continue_taken_ = true;
  return true;
}

// Steps until the input is used up, a request is complete or refused.
HttpParser::Status HttpParser::run() {
  while (input_ != input_end_ && step()) {
  }
  if (state_ == State::kComplete) {
    publish();
    return Status::kRequest;
  }
  if (state_ == State::kFailed) {
    input_end_ = input_;  // nothing will be parsed any more
    if (headers_complete()) {
      publish();
    }
    return Status::kError;
  }
  save();
  return Status::kNeedMore;
}

// One state's share of the input. False when run() must stop.
bool HttpParser::step() {
  switch (state_) {
    case State::kStart:
    case State::kStartCr:
    case State::kStartCrLf:
      return skip_empty_line();
    case State::kHead:
      return parse_head();
    case State::kBody:
      return read_body();
    case State::kChunks:
    case State::kTrailers:
      return parse_chunks();
    case State::kComplete:
    case State::kFailed:
      break;
  }
  return false;
}

bool HttpParser::skip_empty_line() {
  const char c = *input_;
  if (state_ == State::kStartCr) {
    if (c != '\n') {
      return fail(HttpError::kMalformed, "CR without LF");
    }
    state_ = State::kStartCrLf;
    ++input_;
    return true;
  }
  if (c == '\n') {
    return fail(HttpError::kMalformed, "LF without CR");
  }
  if (c == '\r') {
    if (state_ == State::kStartCrLf) {
      return fail(HttpError::kMalformed, "more than one empty line before the request");
    }
    state_ = State::kStartCr;
    ++input_;
    return true;
  }
  start_request();
  return true;
}

void HttpParser::start_request() {
  state_ = State::kHead;
  in_place_ = input_;
  size_ = 0;
  head_size_ = 0;
  content_length_ = 0;
  framing_bytes_ = 0;
  continue_taken_ = false;
  body_started_ = false;
  target_size_ = 0;
  path_size_ = 0;
  query_begin_ = 0;
  query_size_ = 0;
  version_size_ = 0;
  version_complete_ = false;
  name_bytes_ = 0;
  last_chunk_ = false;
  chunked_body_.clear();
  lines_.restart();
  llhttp_reset(&llhttp_);
  request_.field_count_ = 0;
  request_.fields_[0] = {};
}

// Moves `count` bytes of input to the request: in place they only have to be counted.
void HttpParser::consume(size_t count) {
  if (held_) {
    storage_.append({input_, count});
  }
  input_ += count;
  size_ += count;
}

bool HttpParser::parse_head() {
  const size_t offered = std::min(unparsed_bytes(), kMaxHeadBytes - size_);
  piece_ = input_;
  piece_offset_ = size_;
  const llhttp_errno_t result = llhttp_execute(&llhttp_, input_, offered);
  const size_t taken = result == HPE_OK ? offered : static_cast<size_t>(llhttp_get_error_pos(&llhttp_) - input_);
  CHECK(taken <= offered, "llhttp stopped outside its input");
  const char* wrong = lines_.scan(input_, input_ + taken);
  if (lines_.seen_line() && !version_complete_) {
    return fail(HttpError::kMalformed, "request line without a version");  // HTTP/0.9, which llhttp takes
  }
  if (wrong != nullptr) {
    return fail(HttpError::kMalformed, wrong);
  }
  if (result != HPE_OK && result != HPE_PAUSED) {
    return fail_from_llhttp();
  }
  consume(taken);
  if (result == HPE_PAUSED) {
    return finish_head();
  }
  if (size_ == kMaxHeadBytes) {
    return fail(HttpError::kHeadTooLarge, "head too large");
  }
  return true;
}

// llhttp's verdict, unless one of our callbacks caused it.
bool HttpParser::fail_from_llhttp() {
  if (error_ != HttpError::kNone) {
    return false;
  }
  const char* reason = llhttp_get_error_reason(&llhttp_);
  switch (llhttp_get_errno(&llhttp_)) {
    case HPE_INVALID_VERSION:
      // "d.d" was read and is none that llhttp knows; otherwise the line is broken before or behind the version.
      return fail(version_size_ == 3 && !version_complete_ ? HttpError::kUnsupportedVersion : HttpError::kMalformed,
                  reason);
    case HPE_INVALID_CONTENT_LENGTH:
      return fail(
          std::strcmp(reason, "Content-Length overflow") == 0 ? HttpError::kBodyTooLarge : HttpError::kMalformed,
          reason);
    default:
      return fail(HttpError::kMalformed, reason);
  }
}

// Returns false, for the caller to pass on. A second call replaces the first: what a scan or a bound finds after llhttp
// has run belongs to an earlier byte than what llhttp stopped at.
bool HttpParser::fail(HttpError error, const char* reason) {
  state_ = State::kFailed;
  error_ = error;
  reason_ = reason;
  return false;
}

bool HttpParser::finish_head() {
  request_.base_ = request_base();
  request_.method = method_of(llhttp_.method);
  request_.http_minor = llhttp_.http_minor;
  // llhttp also speaks RTSP and ICE.
  if (version_begin_ < 5 || std::memcmp(request_.base_ + version_begin_ - 5, "HTTP/", 5) != 0) {
    return fail(HttpError::kMalformed, "protocol other than HTTP");
  }
  if (!read_target()) {
    return false;
  }
  // From here on path and fields can be read, also when the request is refused.
  head_size_ = size_;
  if (!read_fields() || !read_framing()) {
    return false;
  }
  if (state_ == State::kHead) {
    state_ = State::kComplete;
  }
  return state_ != State::kComplete;
}

// RFC 9112 section 3.2. llhttp has already refused blanks, control characters and bytes above 0x7f.
bool HttpParser::read_target() {
  const std::string_view target(request_.base_ + target_begin_, target_size_);
  if (target.find('#') != std::string_view::npos) {
    return fail(HttpError::kMalformed, "fragment in the request target");
  }
  // llhttp takes any number of spaces before the target; RFC 9112 section 3 has one.
  if (target_begin_ >= 2 && request_.base_[target_begin_ - 2] == ' ') {
    return fail(HttpError::kMalformed, "more than one space before the request target");
  }
  size_t path_begin = 0;
  request_.target_form = TargetForm::kOrigin;
  if (llhttp_.method == HTTP_CONNECT) {
    request_.target_form = TargetForm::kAuthority;
    path_begin_ = target_begin_;
    path_size_ = target_size_;
    return is_authority_text(target) ? true : fail(HttpError::kMalformed, "CONNECT without an authority");
  }
  if (target == "*") {
    if (request_.method != Method::kOptions) {
      return fail(HttpError::kMalformed, "asterisk target without OPTIONS");
    }
    request_.target_form = TargetForm::kAsterisk;
  } else if (target.empty() || target.front() != '/') {
    const size_t scheme_end = target.find("://");
    const std::string_view scheme = target.substr(0, scheme_end);
    if (scheme_end == std::string_view::npos ||
        (!equals_ignore_case(scheme, "http") && !equals_ignore_case(scheme, "https"))) {
      return fail(HttpError::kMalformed, "request target is no path");
    }
    const size_t authority_begin = scheme_end + 3;
    path_begin = std::min(target.find_first_of("/?", authority_begin), target.size());
    const std::string_view authority = target.substr(authority_begin, path_begin - authority_begin);
    if (authority.empty() || !is_authority_text(authority)) {
      return fail(HttpError::kMalformed, "bad authority in the request target");
    }
    request_.target_form = TargetForm::kAbsolute;
  }
  const size_t mark = target.find('?', path_begin);
  const size_t path_end = std::min(mark, target.size());
  const size_t query_begin = mark == std::string_view::npos ? target.size() : mark + 1;
  path_begin_ = static_cast<uint16_t>(target_begin_ + path_begin);
  path_size_ = static_cast<uint16_t>(path_end - path_begin);
  query_begin_ = static_cast<uint16_t>(target_begin_ + query_begin);
  query_size_ = static_cast<uint16_t>(target.size() - query_begin);
  return true;
}

// Trims values, finds the known fields, refuses repeated ones that must be single.
bool HttpParser::read_fields() {
  request_.known_.fill(HttpRequest::kAbsent);
  const char* repeated = nullptr;
  for (uint8_t i = 0; i < request_.field_count_; ++i) {
    HttpRequest::FieldRange& range = request_.fields_[i];
    const char* value = request_.base_ + range.value_begin;
    while (range.value_size != 0 && is_blank(value[range.value_size - 1])) {
      --range.value_size;
    }
    const size_t known = classify(request_.field_at(range).name);
    if (known == kNotKnown) {
      continue;
    }
    if (request_.known_[known] == HttpRequest::kAbsent) {
      request_.known_[known] = i;
    } else if (kKnownNames[known].singleton) {
      repeated = "repeated header field that must be single";
    }
  }
  return repeated == nullptr ? true : fail(HttpError::kMalformed, repeated);
}

// What the head says about the connection and the body. Leaves kHead when there is a body to come.
bool HttpParser::read_framing() {
  const bool minor_one = request_.http_minor == 1;
  const auto host = request_.find(KnownHeader::kHost);
  if (!host && minor_one) {
    return fail(HttpError::kMalformed, "HTTP/1.1 without Host");
  }
  if (host && !is_authority_text(*host)) {
    return fail(HttpError::kMalformed, "bad Host");
  }

  bool close = false;
  bool keep = false;
  if (request_.has(KnownHeader::kConnection)) {
    for (size_t i = 0; i < request_.header_count(); ++i) {
      const HeaderField field = request_.header(i);
      if (same_name(field.name, KnownHeader::kConnection)) {
        for_each_element(field.value, [&](std::string_view option) {
          close = close || equals_ignore_case(option, "close");
          keep = keep || equals_ignore_case(option, "keep-alive");
        });
      }
    }
  }
  request_.keep_alive = !close && (minor_one || keep);

  const auto coding = request_.find(KnownHeader::kTransferEncoding);
  const auto length = request_.find(KnownHeader::kContentLength);
  if (coding) {
    if (length || !minor_one) {
      return fail(HttpError::kMalformed,
                  length ? "both Content-Length and Transfer-Encoding" : "Transfer-Encoding in HTTP/1.0");
    }
    switch (judge_transfer_encoding(*coding)) {
      case Coding::kChunked:
        break;
      case Coding::kUnknown:
        return fail(HttpError::kUnknownCoding, "unknown transfer coding");
      case Coding::kMalformed:
        return fail(HttpError::kMalformed, "bad Transfer-Encoding");
    }
  }
  if (length) {
    // llhttp has read it already; a second opinion on the one number that smuggling turns on costs nothing.
    uint64_t value = 0;
    for (char c : *length) {
      if (c < '0' || c > '9') {
        return fail(HttpError::kMalformed, "bad Content-Length");
      }
      value = std::min<uint64_t>(value * 10 + static_cast<uint64_t>(c - '0'), kMaxBodyBytes + 1);
    }
    if (length->empty()) {
      return fail(HttpError::kMalformed, "bad Content-Length");
    }
    if (value > kMaxBodyBytes) {
      return fail(HttpError::kBodyTooLarge, "Content-Length too large");
    }
    content_length_ = static_cast<size_t>(value);
  }

  request_.expect_continue = false;
  if (const auto expect = request_.find(KnownHeader::kExpect); expect && minor_one) {
    if (!equals_ignore_case(*expect, "100-continue")) {
      return fail(HttpError::kExpectationFailed, "unknown expectation");
    }
    request_.expect_continue = true;
  }

  if (coding) {
    // Otherwise llhttp would stop for another protocol after CONNECT or Upgrade, which we never switch to.
    llhttp_.upgrade = 0;
    llhttp_resume(&llhttp_);
    state_ = State::kChunks;
  } else if (content_length_ != 0) {
    state_ = State::kBody;
  }
  return true;
}

bool HttpParser::read_body() {
  body_started_ = true;
  consume(std::min(unparsed_bytes(), head_size_ + content_length_ - size_));
  if (size_ == head_size_ + content_length_) {
    state_ = State::kComplete;
  }
  return state_ != State::kComplete;
}

// Chunks and trailers. Trailers are given to llhttp only as far as the framing bound reaches, chunks whole: both ways
// the bound is judged at the byte that breaks it.
bool HttpParser::parse_chunks() {
  body_started_ = true;
  const bool trailers = state_ == State::kTrailers;
  const size_t offered =
      trailers ? std::min(unparsed_bytes(), kMaxChunkFraming + 1 - framing_bytes_) : unparsed_bytes();
  const size_t body_before = chunked_body_.size();
  const llhttp_errno_t result = llhttp_execute(&llhttp_, input_, offered);
  const size_t taken = result == HPE_OK ? offered : static_cast<size_t>(llhttp_get_error_pos(&llhttp_) - input_);
  CHECK(taken <= offered, "llhttp stopped outside its input");
  if (trailers) {
    if (const char* wrong = lines_.scan(input_, input_ + taken); wrong != nullptr) {
      return fail(HttpError::kMalformed, wrong);
    }
  }
  input_ += taken;
  framing_bytes_ += taken - (chunked_body_.size() - body_before);
  if (framing_bytes_ > kMaxChunkFraming) {
    return fail(HttpError::kBodyTooLarge, "too much chunk framing");
  }
  if (result == HPE_PAUSED && !trailers) {
    CHECK(last_chunk_, "llhttp paused in the middle of a chunked body");
    state_ = State::kTrailers;
    lines_.restart();
    llhttp_resume(&llhttp_);
    return true;
  }
  if (result == HPE_PAUSED) {
    state_ = State::kComplete;
    return false;
  }
  return result == HPE_OK ? true : fail_from_llhttp();
}

// Points the request's views at where its bytes are now.
void HttpParser::publish() {
  const char* base = request_base();
  request_.base_ = base;
  // "http://host" has no path: RFC 9110 section 4.2.3 makes it "/".
  request_.path = path_size_ != 0 ? std::string_view(base + path_begin_, path_size_) : std::string_view("/");
  request_.query = {base + query_begin_, query_size_};
  if (state_ != State::kComplete) {
    request_.body = {};
  } else if (content_length_ != 0) {
    request_.body = {base + head_size_, content_length_};
  } else {
    request_.body = chunked_body_.view();
  }
}

// The input is used up; what there is of the present request moves to own storage, so that nothing stays borrowed.
void HttpParser::save() {
  if (phase() == Phase::kIdle) {
    drop_storage();
  } else if (!held_) {
    if (input_own_) {
      storage_.keep(static_cast<size_t>(in_place_ - storage_.data()), size_);
    } else {
      storage_.clear();
      storage_.append({in_place_, size_});
    }
    held_ = true;
  }
  input_ = input_end_ = in_place_ = nullptr;
  input_own_ = false;
  if (headers_complete()) {
    storage_.reserve(head_size_ + content_length_);
    publish();
  }
}

}  // namespace txn
