// How a request goes through here, by state:
//
//   kStart      skip at most one empty line (RFC 9112 section 2.2), remember where the request begins
//   kLine       the request line, byte by byte: one token, one space, visible characters, one space, HTTP/d.d, CR LF
//   kHead       llhttp eats the fields, up to kMaxHeadBytes in all, and pauses behind the empty line that ends the
//   head;
//               LineScanner checks the same bytes
//   finish_head target, fields and framing are judged on the complete, contiguous head
//   kBody       Content-Length bytes are simply counted
//   kChunks     sizes and extensions byte by byte, data to chunked_body_
//   kTrailers   llhttp and LineScanner check them; they are discarded
//   kComplete   llhttp has never seen a byte of the following request
//
// Request line and chunks are read here and not by llhttp, because it takes any number of spaces where one belongs,
// knows methods and versions by a list, and of chunk extensions only some of those that the grammar has. Every one of
// these would be a place where a proxy and we differ.
//
// To be independent of how the bytes were cut, every error belongs to one byte and earlier bytes win: llhttp's span
// callbacks, which come whenever a chunk ends, only record; errors come from its *_complete callbacks, from the scan of
// exactly the bytes it has consumed, and from bounds that limit what it is given.
#include "net/http_parser.h"

#include <arpa/inet.h>

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
    {"expect", false},
    {"forwarded", false},
    {"host", true},
    {"idempotency-key", true},
    {"if-none-match", false},
    {"origin", false},
    {"traceparent", false},
    {"transfer-encoding", true},
    {"x-forwarded-for", false},
    {"x-idempotency-key", false},
    {"x-request-id", false},
}};
static_assert(kKnownNames[static_cast<size_t>(KnownHeader::kAuthorization)].name == "authorization");
static_assert(kKnownNames[static_cast<size_t>(KnownHeader::kHost)].name == "host");
static_assert(kKnownNames[static_cast<size_t>(KnownHeader::kTransferEncoding)].name == "transfer-encoding");
static_assert(kKnownNames[static_cast<size_t>(KnownHeader::kXRequestId)].name == "x-request-id");

constexpr size_t kNotKnown = kKnownHeaderCount;

// RFC 9112 section 2.3, "d" for a digit.
constexpr std::string_view kVersionForm = "HTTP/d.d";
constexpr size_t kMajorAt = 5;
constexpr size_t kMinorAt = 7;

// Reasons that several places have.
constexpr const char* kCrWithoutLf = "A CR without LF";
constexpr const char* kLfWithoutCr = "A LF without CR";
constexpr const char* kHeadTooLarge = "The request line and the headers exceed 16384 bytes";
constexpr const char* kTooManyFields = "More than 100 header fields";
constexpr const char* kBodyTooLarge = "The request body exceeds 65536 bytes";
constexpr const char* kTooMuchFraming = "Chunk sizes, extensions and trailers exceed 16384 bytes";
constexpr const char* kBadLength = "Content-Length is no decimal number";
constexpr const char* kBadChunkSize = "A chunk size that is no hexadecimal number";
constexpr const char* kBadChunkExtension = "A chunk extension that is not well-formed";
constexpr const char* kBadChunkEnd = "A chunk's data does not end where its size says";
static_assert(kMaxHeadBytes == 16384 && kMaxHeaderFields == 100 && kMaxBodyBytes == 65536 && kMaxChunkFraming == 16384,
              "the texts above say so");

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
      return candidate(ascii_lower(name[0]) == 't' ? KnownHeader::kTransferEncoding : KnownHeader::kXIdempotencyKey);
    case 29:
      return candidate(KnownHeader::kAccessControlRequestMethod);
    case 30:
      return candidate(KnownHeader::kAccessControlRequestHeaders);
    default:
      return kNotKnown;
  }
}

// Case matters (RFC 9110 section 9.1).
Method method_of(std::string_view name) {
  for (const Method method :
       {Method::kGet, Method::kPost, Method::kHead, Method::kPut, Method::kDelete, Method::kOptions, Method::kPatch}) {
    if (name == to_string(method)) {
      return method;
    }
  }
  return Method::kOther;
}

// What we have no use for and still know the meaning of: RFC 9110 section 9.3 and RFC 4918 section 9.
bool is_known_method(std::string_view name) {
  constexpr std::string_view kNames[] = {"CONNECT", "TRACE", "PROPFIND", "PROPPATCH", "MKCOL",
                                         "COPY",    "MOVE",  "LOCK",     "UNLOCK"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

// What of a trailer section would have changed how the request is framed, routed or judged, had it come in the head
// (RFC 9110 section 6.5.1), besides all of kKnownNames. Lower case.
constexpr std::string_view kForbiddenTrailers[] = {
    "cache-control",     "content-range", "cookie", "keep-alive", "max-forwards", "pragma", "proxy-authorization",
    "proxy-connection",  "range",         "te",     "trailer",    "upgrade",      "via",    "x-forwarded-host",
    "x-forwarded-proto", "x-real-ip",
};
// Names that are longer are none of these.
constexpr size_t kForbiddenTrailerMax = 30;

bool is_forbidden_trailer(std::string_view name) {
  return classify(name) != kNotKnown || std::ranges::any_of(kForbiddenTrailers, [name](std::string_view forbidden) {
           return equals_ignore_case(name, forbidden);
         });
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

// -1 for what is no hexadecimal digit.
int hex_value(char c) {
  if (is_digit(c)) {
    return c - '0';
  }
  const char lower = ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The inside of the brackets of RFC 3986 section 3.2.2. IPvFuture is left out, there is none.
bool is_ipv6_text(std::string_view text) {
  char terminated[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof terminated || text.find('\0') != std::string_view::npos) {
    return false;
  }
  *std::copy(text.begin(), text.end(), terminated) = '\0';
  in6_addr ignored;
  return inet_pton(AF_INET6, terminated, &ignored) == 1;
}

// reg-name of RFC 3986 section 3.2.2, which IPv4 addresses are as well; the comma is left out, for it makes lists.
bool is_reg_name(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool is_plain = is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c != '\0' && std::strchr("-._~!$&'()*+;=", c) != nullptr);
    const bool is_escape =
        c == '%' && text.size() - i > 2 && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0;
    if (!is_plain && !is_escape) {
      return false;
    }
  }
  return true;
}

// uri-host [ ":" port ] of RFC 9110 section 7.2: no blank, list, path or userinfo can hide in it, and a port is one.
// `has_port`: whether there must be one, with a digit at least (RFC 9112 section 3.2.3).
bool is_authority(std::string_view text, bool has_port = false) {
  size_t host_size = 0;
  if (text.starts_with('[')) {
    const size_t bracket = text.find(']');
    if (bracket == std::string_view::npos || !is_ipv6_text(text.substr(1, bracket - 1))) {
      return false;
    }
    host_size = bracket + 1;
  } else {
    host_size = std::min(text.find(':'), text.size());
    if (host_size == 0 || !is_reg_name(text.substr(0, host_size))) {
      return false;
    }
  }
  std::string_view port = text.substr(host_size);
  if (port.empty()) {
    return !has_port;
  }
  if (port.front() != ':') {
    return false;
  }
  port.remove_prefix(1);
  uint32_t number = 0;
  for (const char c : port) {
    if (!is_digit(c)) {
      return false;
    }
    number = std::min(number * 10 + static_cast<uint32_t>(c - '0'), uint32_t{UINT16_MAX} + 1);
  }
  return number <= UINT16_MAX && !(has_port && port.empty());
}

// What may stand between quotes, and behind a backslash there (RFC 9110 section 5.6.4).
bool is_quotable(char c) { return (static_cast<unsigned char>(c) >= 0x20 && c != '\x7f') || c == '\t'; }

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
  to.is_known_method = is_known_method;
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
  static constexpr uint8_t kGeneralHeader = 0;  // HEADER_STATE of llhttp's generator

  static HttpParser& self(llhttp_t* llhttp) { return *static_cast<HttpParser*>(llhttp->data); }

  static size_t offset(const HttpParser& parser, const char* at) {
    return parser.piece_offset_ + static_cast<size_t>(at - parser.piece_);
  }

  // A span comes in as many parts as there were chunks; they are contiguous, so only the end moves on.
  static int on_header_field(llhttp_t* llhttp, const char* at, size_t size) {
    HttpParser& parser = self(llhttp);
    HttpRequest& request = parser.request_;
    if (parser.head_size_ != 0) {
      // Of a trailer only its name matters, and no more of that than tells whether it is one of ours.
      const size_t room = parser.trailer_name_.size() - std::min(parser.name_bytes_, parser.trailer_name_.size());
      std::copy_n(at, std::min(size, room),
                  parser.trailer_name_.begin() + static_cast<ptrdiff_t>(parser.trailer_name_.size() - room));
    }
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
    // Length, coding and connection are judged in read_framing(). llhttp, told that this is a field like any other,
    // leaves them alone: it would refuse a tab behind a length or a coding, which RFC 9110 section 5.5 allows.
    llhttp->header_state = kGeneralHeader;
    parser.in_value_ = true;
    const size_t name_size = std::exchange(parser.name_bytes_, 0);
    if (name_size == 0) {
      parser.fail(HttpError::kMalformed, "A header field has no name");
      return kStop;
    }
    if (parser.head_size_ != 0) {
      if (name_size <= kForbiddenTrailerMax && is_forbidden_trailer({parser.trailer_name_.data(), name_size})) {
        parser.fail(HttpError::kMalformed, "A field in the trailer section that belongs into the head");
        return kStop;
      }
    } else if (parser.request_.field_count_ == kMaxHeaderFields) {
      parser.fail(HttpError::kHeadTooLarge, kTooManyFields);
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
    parser.in_value_ = false;
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

  static constexpr llhttp_settings_t make_settings() {
    llhttp_settings_t settings{};
    settings.on_header_field = on_header_field;
    settings.on_header_field_complete = on_header_field_complete;
    settings.on_header_value = on_header_value;
    settings.on_header_value_complete = on_header_value_complete;
    settings.on_headers_complete = on_headers_complete;
    return settings;
  }

  static const llhttp_settings_t kSettings;
  static const llhttp_t& at_fields();
};

constinit const llhttp_settings_t HttpParser::Callbacks::kSettings = HttpParser::Callbacks::make_settings();

// llhttp as it stands behind a request line, where fields begin: of the head, and of the trailers.
const llhttp_t& HttpParser::Callbacks::at_fields() {
  static const llhttp_t primed = [] {
    static constexpr std::string_view kLine = "POST / HTTP/1.1\r\n";
    static constexpr llhttp_settings_t kSilent{};
    llhttp_t llhttp;
    llhttp_init(&llhttp, HTTP_REQUEST, &kSilent);
    CHECK(llhttp_execute(&llhttp, kLine.data(), kLine.size()) == HPE_OK, "llhttp takes a request line");
    llhttp.settings = const_cast<llhttp_settings_t*>(&kSettings);  // which llhttp never writes to
    return llhttp;
  }();
  return primed;
}

const char* HttpParser::LineScanner::scan(const char* begin, const char* end) {
  while (begin != end) {
    if (expect_ == Expect::kLf) {
      if (*begin != '\n') {
        return kCrWithoutLf;
      }
      expect_ = Expect::kLineStart;
      ++begin;
      continue;
    }
    if (expect_ == Expect::kLineStart && is_blank(*begin)) {
      return "A header line begins with a blank";
    }
    expect_ = Expect::kText;
    begin = find_control(begin, end);
    if (begin == end) {
      break;
    }
    if (*begin == '\r') {
      expect_ = Expect::kLf;
    } else if (*begin == '\n') {
      return kLfWithoutCr;
    } else if (*begin != '\t') {
      return "A control character in a header field";
    }
    ++begin;
  }
  return nullptr;
}

HttpParser::HttpParser() { begin_fields(); }

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
    case State::kLine:
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
    case State::kLine:
      return parse_line();
    case State::kHead:
      return parse_head();
    case State::kBody:
      return read_body();
    case State::kChunks:
      return parse_chunks();
    case State::kTrailers:
      return parse_trailers();
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
      return fail(HttpError::kMalformed, kCrWithoutLf);
    }
    state_ = State::kStartCrLf;
    ++input_;
    return true;
  }
  if (c == '\n') {
    return fail(HttpError::kMalformed, kLfWithoutCr);
  }
  if (c == '\r') {
    if (state_ == State::kStartCrLf) {
      return fail(HttpError::kMalformed, "More than one empty line before the request");
    }
    state_ = State::kStartCr;
    ++input_;
    return true;
  }
  start_request();
  return true;
}

void HttpParser::start_request() {
  state_ = State::kLine;
  line_part_ = LinePart::kMethod;
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
  chunked_body_.clear();
  request_.field_count_ = 0;
  request_.fields_[0] = {};
}

// Fields follow: the head's or the trailers'.
void HttpParser::begin_fields() {
  llhttp_ = Callbacks::at_fields();
  llhttp_.data = this;
  name_bytes_ = 0;
  in_value_ = false;
  lines_.restart();
}

// Moves `count` bytes of input to the request: in place they only have to be counted.
void HttpParser::consume(size_t count) {
  if (held_) {
    storage_.append({input_, count});
  }
  input_ += count;
  size_ += count;
}

// The request line of RFC 9112 section 3, without any of the leniences that its last paragraph allows.
bool HttpParser::parse_line() {
  const char* const begin = input_;
  const char* const end = input_ + std::min(unparsed_bytes(), kMaxHeadBytes - size_);
  const char* p = begin;
  const auto position = [&] { return static_cast<uint16_t>(size_ + static_cast<size_t>(p - begin)); };
  while (p != end && state_ == State::kLine) {
    switch (line_part_) {
      case LinePart::kMethod:
        while (p != end && is_token_char(*p)) {
          ++p;
        }
        if (p == end) {
          break;
        }
        if (*p != ' ' || position() == 0) {
          // The first byte of a TLS record with a ClientHello: RFC 8446 section 5.1.
          return fail(HttpError::kMalformed, *p == '\x16' && position() == 0
                                                 ? "A TLS handshake, and this port speaks plain HTTP"
                                                 : "The request does not begin with a method and a space");
        }
        method_size_ = position();
        ++p;
        target_begin_ = position();
        line_part_ = LinePart::kTarget;
        break;
      case LinePart::kTarget:
        while (p != end && is_visible(*p) && *p != '#') {
          ++p;
        }
        if (p == end) {
          break;
        }
        if (*p != ' ') {
          return fail(HttpError::kMalformed, *p == '#' ? "A fragment in the request target"
                                             : *p == '\r' || *p == '\n'
                                                 ? "The request line has no version"
                                                 : "A character in the request target that has to be percent-encoded");
        }
        if (position() == target_begin_) {
          return fail(HttpError::kMalformed, "More than one space before the request target");
        }
        target_size_ = static_cast<uint16_t>(position() - target_begin_);
        ++p;
        line_part_ = LinePart::kVersion;
        break;
      case LinePart::kVersion: {
        const size_t index = size_t{position()} - target_begin_ - target_size_ - 1;
        if (index == kVersionForm.size()) {
          if (*p != '\r') {
            return fail(HttpError::kMalformed, "Something behind the version in the request line");
          }
          // RFC 9110 section 2.5: a later minor version is served as the one that we know.
          if (version_major_ != 1) {
            return fail(HttpError::kUnsupportedVersion, "Only HTTP/1.0 and HTTP/1.1 are supported");
          }
          line_part_ = LinePart::kLf;
        } else if (kVersionForm[index] == 'd' ? !is_digit(*p) : *p != kVersionForm[index]) {
          return fail(HttpError::kMalformed, index == 0 && *p == ' '
                                                 ? "More than one space before the version"
                                                 : "The request line does not end with a version of HTTP");
        } else if (index == kMajorAt) {
          version_major_ = static_cast<uint8_t>(*p - '0');
        } else if (index == kMinorAt) {
          request_.http_minor = *p == '0' ? 0 : 1;
        }
        ++p;
        break;
      }
      case LinePart::kLf:
        if (*p != '\n') {
          return fail(HttpError::kMalformed, kCrWithoutLf);
        }
        ++p;
        state_ = State::kHead;
        begin_fields();
        break;
    }
  }
  consume(static_cast<size_t>(p - begin));
  return size_ == kMaxHeadBytes ? fail(HttpError::kHeadTooLarge, kHeadTooLarge) : true;
}

bool HttpParser::parse_head() {
  const size_t offered = std::min(unparsed_bytes(), kMaxHeadBytes - size_);
  piece_ = input_;
  piece_offset_ = size_;
  const llhttp_errno_t result = llhttp_execute(&llhttp_, input_, offered);
  const size_t taken = result == HPE_OK ? offered : static_cast<size_t>(llhttp_get_error_pos(&llhttp_) - input_);
  CHECK(taken <= offered, "llhttp stopped outside its input");
  if (const char* wrong = lines_.scan(input_, input_ + taken); wrong != nullptr) {
    return fail(HttpError::kMalformed, wrong);
  }
  if (result != HPE_OK && result != HPE_PAUSED) {
    return fail_from_llhttp();
  }
  consume(taken);
  if (result == HPE_PAUSED) {
    return finish_head();
  }
  return size_ == kMaxHeadBytes ? fail(HttpError::kHeadTooLarge, kHeadTooLarge) : true;
}

// llhttp's verdict in our words, unless one of our callbacks caused it.
bool HttpParser::fail_from_llhttp() {
  if (error_ != HttpError::kNone) {
    return false;
  }
  switch (llhttp_get_errno(&llhttp_)) {
    case HPE_LF_EXPECTED:
    case HPE_CR_EXPECTED:
    case HPE_STRICT:
      return fail(HttpError::kMalformed, kCrWithoutLf);
    default:
      return fail(HttpError::kMalformed,
                  in_value_ ? "A control character in a header field, or a line that does not end with CR LF"
                            : "A character in a header field's name that is not allowed");
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
  const std::string_view method(request_.base_, method_size_);
  request_.method = method_of(method);
  request_.is_known_method = request_.method != Method::kOther || is_known_method(method);
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

// RFC 9112 section 3.2. parse_line() has already refused blanks, control characters, bytes above 0x7f and fragments.
bool HttpParser::read_target() {
  const std::string_view target(request_.base_ + target_begin_, target_size_);
  size_t path_begin = 0;
  request_.target_form = TargetForm::kOrigin;
  if (std::string_view(request_.base_, method_size_) == "CONNECT") {
    request_.target_form = TargetForm::kAuthority;
    path_begin_ = target_begin_;
    path_size_ = target_size_;
    return is_authority(target, true) ? true : fail(HttpError::kMalformed, "CONNECT without a host and a port");
  }
  if (target == "*") {
    if (request_.method != Method::kOptions) {
      return fail(HttpError::kMalformed, "The request target * with another method than OPTIONS");
    }
    request_.target_form = TargetForm::kAsterisk;
  } else if (target.front() != '/') {
    const size_t scheme_end = target.find("://");
    const std::string_view scheme = target.substr(0, scheme_end);
    if (scheme_end == std::string_view::npos ||
        (!equals_ignore_case(scheme, "http") && !equals_ignore_case(scheme, "https"))) {
      return fail(HttpError::kMalformed, "The request target is neither a path nor an http URI");
    }
    const size_t authority_begin = scheme_end + 3;
    path_begin = std::min(target.find_first_of("/?", authority_begin), target.size());
    if (!is_authority(target.substr(authority_begin, path_begin - authority_begin))) {
      return fail(HttpError::kMalformed, "The request target names no host, or a port that is none");
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
      repeated = "A header field twice that may be there once";
    }
  }
  return repeated == nullptr ? true : fail(HttpError::kMalformed, repeated);
}

// What the head says about the connection and the body. Leaves kHead when there is a body to come.
bool HttpParser::read_framing() {
  const bool minor_one = request_.http_minor == 1;
  const auto host = request_.find(KnownHeader::kHost);
  if (!host && minor_one) {
    return fail(HttpError::kMalformed, "A request of HTTP/1.1 without Host");
  }
  // Empty where the target has no authority (RFC 9112 section 3.2).
  if (host && !host->empty() && !is_authority(*host)) {
    return fail(HttpError::kMalformed, "Host is neither a name nor an address, or its port is none");
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
                  length ? "Content-Length and Transfer-Encoding together" : "Transfer-Encoding in HTTP/1.0");
    }
    switch (judge_transfer_encoding(*coding)) {
      case Coding::kChunked:
        break;
      case Coding::kUnknown:
        return fail(HttpError::kUnknownCoding, "The only transfer coding supported is chunked");
      case Coding::kMalformed:
        return fail(HttpError::kMalformed, "Transfer-Encoding does not end with one chunked");
    }
  }
  if (length) {
    uint64_t value = 0;
    for (char c : *length) {
      if (c < '0' || c > '9') {
        return fail(HttpError::kMalformed, kBadLength);
      }
      value = std::min<uint64_t>(value * 10 + static_cast<uint64_t>(c - '0'), kMaxBodyBytes + 1);
    }
    if (length->empty()) {
      return fail(HttpError::kMalformed, kBadLength);
    }
    if (value > kMaxBodyBytes) {
      return fail(HttpError::kBodyTooLarge, kBodyTooLarge);
    }
    content_length_ = static_cast<size_t>(value);
  }

  if (!read_expectations()) {
    return false;
  }
  if (coding) {
    chunk_part_ = ChunkPart::kSizeStart;
    state_ = State::kChunks;
  } else if (content_length_ != 0) {
    state_ = State::kBody;
  }
  return true;
}

// RFC 9110 section 10.1.1: a list, over as many fields as there are; empty elements count for nothing
// (section 5.6.1.2).
bool HttpParser::read_expectations() {
  request_.expect_continue = false;
  if (!request_.has(KnownHeader::kExpect) || request_.http_minor == 0) {
    return true;
  }
  bool others = false;
  for (size_t i = 0; i < request_.header_count(); ++i) {
    const HeaderField field = request_.header(i);
    if (!same_name(field.name, KnownHeader::kExpect)) {
      continue;
    }
    for_each_element(field.value, [&](std::string_view element) {
      const bool is_continue = equals_ignore_case(element, "100-continue");
      request_.expect_continue = request_.expect_continue || is_continue;
      others = others || !(is_continue || element.empty());
    });
  }
  return others ? fail(HttpError::kExpectationFailed, "The only expectation supported is 100-continue") : true;
}

bool HttpParser::read_body() {
  body_started_ = true;
  consume(std::min(unparsed_bytes(), head_size_ + content_length_ - size_));
  if (size_ == head_size_ + content_length_) {
    state_ = State::kComplete;
  }
  return state_ != State::kComplete;
}

// RFC 9112 section 7.1. Extensions are read by their grammar (section 7.1.1, blanks included) and mean nothing;
// whatever is not of it is refused. Framing is judged at the byte that breaks its bound.
bool HttpParser::parse_chunks() {
  using Part = ChunkPart;
  body_started_ = true;
  const auto malformed = [this](const char* reason) { return fail(HttpError::kMalformed, reason); };
  while (input_ != input_end_) {
    if (chunk_part_ == Part::kData) {
      const size_t count = std::min<size_t>(unparsed_bytes(), static_cast<size_t>(chunk_size_));
      chunked_body_.append({input_, count});
      input_ += count;
      chunk_size_ -= count;
      if (chunk_size_ == 0) {
        chunk_part_ = Part::kDataCr;
      }
      continue;
    }
    if (++framing_bytes_ > kMaxChunkFraming) {
      return fail(HttpError::kBodyTooLarge, kTooMuchFraming);
    }
    const char c = *input_++;
    switch (chunk_part_) {
      case Part::kSizeStart:
        if (hex_value(c) < 0) {
          return malformed(kBadChunkSize);
        }
        chunk_size_ = static_cast<uint64_t>(hex_value(c));
        chunk_part_ = Part::kSize;
        break;
      case Part::kSize:
        if (const int digit = hex_value(c); digit >= 0) {
          if (chunk_size_ >> 60 != 0) {
            return malformed("A chunk size of more than 64 bits");
          }
          chunk_size_ = chunk_size_ << 4 | static_cast<uint64_t>(digit);
        } else if (!end_chunk_item(c)) {
          return malformed(kBadChunkSize);
        }
        break;
      case Part::kNameStart:
        if (!is_token_char(c)) {
          return malformed(kBadChunkExtension);
        }
        chunk_part_ = Part::kName;
        break;
      case Part::kName:
        if (c == '=') {
          chunk_part_ = Part::kValueStart;
        } else if (!is_token_char(c) && !end_chunk_item(c)) {
          return malformed(kBadChunkExtension);
        }
        break;
      case Part::kValueStart:
        if (c == '"') {
          chunk_part_ = Part::kQuoted;
        } else if (is_token_char(c)) {
          chunk_part_ = Part::kValue;
        } else {
          return malformed(kBadChunkExtension);
        }
        break;
      case Part::kValue:
        if (!is_token_char(c) && !end_chunk_item(c)) {
          return malformed(kBadChunkExtension);
        }
        break;
      case Part::kQuoted:
        if (c == '"') {
          chunk_part_ = Part::kQuotedEnd;
        } else if (c == '\\') {
          chunk_part_ = Part::kEscape;
        } else if (!is_quotable(c)) {
          return malformed(kBadChunkExtension);
        }
        break;
      case Part::kEscape:
        if (!is_quotable(c)) {
          return malformed(kBadChunkExtension);
        }
        chunk_part_ = Part::kQuoted;
        break;
      case Part::kQuotedEnd:
        if (!end_chunk_item(c)) {
          return malformed(kBadChunkExtension);
        }
        break;
      case Part::kSizeLf:
        if (c != '\n') {
          return malformed(kCrWithoutLf);
        }
        if (chunk_size_ == 0) {
          state_ = State::kTrailers;
          begin_fields();
          return true;
        }
        if (chunk_size_ > kMaxBodyBytes - chunked_body_.size()) {
          return fail(HttpError::kBodyTooLarge, kBodyTooLarge);
        }
        chunk_part_ = Part::kData;
        break;
      case Part::kData:
        break;
      case Part::kDataCr:
        if (c != '\r') {
          return malformed(kBadChunkEnd);
        }
        chunk_part_ = Part::kDataLf;
        break;
      case Part::kDataLf:
        if (c != '\n') {
          return malformed(kBadChunkEnd);
        }
        chunk_part_ = Part::kSizeStart;
        break;
    }
  }
  return true;
}

// What may follow a size or a whole extension. False for anything else.
bool HttpParser::end_chunk_item(char c) {
  if (c == '\r') {
    chunk_part_ = ChunkPart::kSizeLf;
  } else if (c == ';') {
    chunk_part_ = ChunkPart::kNameStart;
  } else {
    return false;
  }
  return true;
}

// llhttp gets them only as far as the framing bound reaches, so that this is judged at the byte that breaks it.
bool HttpParser::parse_trailers() {
  const size_t offered = std::min(unparsed_bytes(), kMaxChunkFraming + 1 - framing_bytes_);
  const llhttp_errno_t result = llhttp_execute(&llhttp_, input_, offered);
  const size_t taken = result == HPE_OK ? offered : static_cast<size_t>(llhttp_get_error_pos(&llhttp_) - input_);
  CHECK(taken <= offered, "llhttp stopped outside its input");
  if (const char* wrong = lines_.scan(input_, input_ + taken); wrong != nullptr) {
    return fail(HttpError::kMalformed, wrong);
  }
  input_ += taken;
  framing_bytes_ += taken;
  if (framing_bytes_ > kMaxChunkFraming) {
    return fail(HttpError::kBodyTooLarge, kTooMuchFraming);
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
