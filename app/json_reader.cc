#include "app/json_reader.h"

#include <simdjson.h>

#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "core/byte_order_mark.h"
#include "core/check.h"

namespace txn {
namespace {

using simdjson::ondemand::array;
using simdjson::ondemand::document;
using simdjson::ondemand::field;
using simdjson::ondemand::object;
using simdjson::ondemand::raw_json_string;
using simdjson::ondemand::value;

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The value of a hexadecimal digit, -1 for anything else.
constexpr int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

uint32_t four_hex_digits(const char* p) {
  uint32_t code = 0;
  for (int i = 0; i < 4; ++i) code = code << 4 | static_cast<uint32_t>(hex_digit(p[i]));
  return code;
}

std::string_view without_trailing_space(std::string_view text) {
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// RFC 8259 section 6.
bool is_number(std::string_view text) {
  const char* p = text.data();
  const char* const end = p + text.size();
  const auto digits = [&] {
    const char* const first = p;
    while (p != end && is_digit(*p)) ++p;
    return p - first;
  };
  if (p != end && *p == '-') ++p;
  const bool leading_zero = p != end && *p == '0';
  const auto integer_digits = digits();
  if (integer_digits == 0 || (leading_zero && integer_digits > 1)) return false;
  if (p != end && *p == '.') {
    ++p;
    if (digits() == 0) return false;
  }
  if (p != end && (*p == 'e' || *p == 'E')) {
    ++p;
    if (p != end && (*p == '+' || *p == '-')) ++p;
    if (digits() == 0) return false;
  }
  return p == end;
}

// The inside of the string whose opening quote is just before `p`, when its escapes are those of RFC 8259 section 7.
// That it is closed before `end` and free of raw control characters, simdjson has made sure of.
std::optional<JsonValue> string_from(const char* p, const char* end) {
  const auto* quote = static_cast<const char*>(std::memchr(p, '"', static_cast<size_t>(end - p)));
  if (quote == nullptr) return std::nullopt;
  const auto* backslash = static_cast<const char*>(std::memchr(p, '\\', static_cast<size_t>(quote - p)));
  if (backslash == nullptr) {
    return JsonValue{.kind = JsonKind::kString, .escaped = false, .text = {p, static_cast<size_t>(quote - p)}};
  }
  const char* q = backslash;
  while (q != end && *q != '"') {
    if (*q++ != '\\') continue;
    if (q == end) return std::nullopt;
    const char escape = *q++;
    if (escape == 'u') {
      if (end - q < 4) return std::nullopt;
      for (int i = 0; i < 4; ++i) {
        if (hex_digit(*q++) < 0) return std::nullopt;
      }
    } else if (std::strchr("\"\\/bfnrt", escape) == nullptr || escape == '\0') {
      return std::nullopt;
    }
  }
  if (q == end) return std::nullopt;
  return JsonValue{.kind = JsonKind::kString, .escaped = true, .text = {p, static_cast<size_t>(q - p)}};
}

// Validates a value that is no container, given its token: everything up to where the next one begins.
std::optional<JsonValue> scalar(std::string_view token) {
  if (token.front() == '"') {
    const char* const end = token.data() + token.size();
    const auto string = string_from(token.data() + 1, end);
    if (!string) return std::nullopt;
    const char* const after = string->text.data() + string->text.size() + 1;
    if (!without_trailing_space({after, static_cast<size_t>(end - after)}).empty()) return std::nullopt;
    return string;
  }
  const std::string_view text = without_trailing_space(token);
  if (text == "true") return JsonValue{.kind = JsonKind::kTrue, .escaped = false, .text = text};
  if (text == "false") return JsonValue{.kind = JsonKind::kFalse, .escaped = false, .text = text};
  if (text == "null") return JsonValue{.kind = JsonKind::kNull, .escaped = false, .text = text};
  if (is_number(text)) return JsonValue{.kind = JsonKind::kNumber, .escaped = false, .text = text};
  return std::nullopt;
}

// Appends the UTF-8 of `code`, of a surrogate what its number would take.
char* put_utf8(char* out, uint32_t code) {
  const auto tail = [code](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    *out++ = static_cast<char>(code);
  } else if (code < 0x800) {
    *out++ = static_cast<char>(0xC0 | code >> 6);
    *out++ = tail(0);
  } else if (code < 0x10000) {
    *out++ = static_cast<char>(0xE0 | code >> 12);
    *out++ = tail(6);
    *out++ = tail(0);
  } else {
    *out++ = static_cast<char>(0xF0 | code >> 18);
    *out++ = tail(12);
    *out++ = tail(6);
    *out++ = tail(0);
  }
  return out;
}

constexpr bool is_high_surrogate(uint32_t code) { return code >= 0xD800 && code < 0xDC00; }
constexpr bool is_low_surrogate(uint32_t code) { return code >= 0xDC00 && code < 0xE000; }

}  // namespace

UnescapedJson unescape_json(std::string_view text, char* out) {
  UnescapedJson result;
  const char* p = text.data();
  const char* const end = p + text.size();
  char* to = out;
  while (p != end) {
    if (*p != '\\') {
      result.characters += (*p & 0xC0) != 0x80;
      *to++ = *p++;
      continue;
    }
    ++result.characters;
    const char escape = p[1];
    p += 2;
    switch (escape) {
      case 'b':
        *to++ = '\b';
        break;
      case 'f':
        *to++ = '\f';
        break;
      case 'n':
        *to++ = '\n';
        break;
      case 'r':
        *to++ = '\r';
        break;
      case 't':
        *to++ = '\t';
        break;
      case 'u': {
        uint32_t code = four_hex_digits(p);
        p += 4;
        if (is_high_surrogate(code) && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
          const uint32_t low = four_hex_digits(p + 2);
          if (is_low_surrogate(low)) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            p += 6;
          }
        }
        result.has_nul |= code == 0;
        result.has_lone_surrogate |= is_high_surrogate(code) || is_low_surrogate(code);
        to = put_utf8(to, code);
        break;
      }
      default:
        *to++ = escape;
        break;  // quote, backslash, slash
    }
  }
  result.length = static_cast<size_t>(to - out);
  return result;
}

std::optional<int64_t> parse_json_int(std::string_view text) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

namespace {

// What a validated string has between its quotes; `text` begins with the first of them.
std::string_view inside_quotes(std::string_view text) {
  size_t end = 1;
  while (text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  return text.substr(1, end - 1);
}

// The array or object that validated `text` begins with.
std::string_view whole_container(std::string_view text) {
  size_t end = 0;
  int depth = 0;
  do {
    const char c = text[end];
    if (c == '"') end += inside_quotes(text.substr(end)).size() + 1;
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    ++end;
  } while (depth > 0);
  return text.substr(0, end);
}

JsonKind kind_of(char first) {
  switch (first) {
    case '"':
      return JsonKind::kString;
    case '[':
      return JsonKind::kArray;
    case '{':
      return JsonKind::kObject;
    case 't':
      return JsonKind::kTrue;
    case 'f':
      return JsonKind::kFalse;
    case 'n':
      return JsonKind::kNull;
    default:
      return JsonKind::kNumber;
  }
}

constexpr std::string_view kBetweenValues = " \t\r\n,:";

// Takes the value that validated `rest` begins with off it.
JsonValue take_value(std::string_view& rest) {
  JsonValue value{.kind = kind_of(rest.front()), .escaped = false, .text = {}};
  if (value.kind == JsonKind::kString) {
    value.text = inside_quotes(rest);
    value.escaped = value.text.find('\\') != std::string_view::npos;
    rest.remove_prefix(value.text.size() + 2);
    return value;
  }
  const bool is_container = value.kind == JsonKind::kArray || value.kind == JsonKind::kObject;
  value.text = is_container ? whole_container(rest) : rest.substr(0, rest.find_first_of(" \t\r\n,]}"));
  rest.remove_prefix(value.text.size());
  return value;
}

}  // namespace

std::optional<JsonValue> JsonElements::next() {
  rest_.remove_prefix(rest_.find_first_not_of(kBetweenValues));
  if (rest_.front() == ']') return std::nullopt;
  return take_value(rest_);
}

std::optional<JsonFields::Field> JsonFields::next() {
  rest_.remove_prefix(rest_.find_first_not_of(kBetweenValues));
  if (rest_.front() == '}') return std::nullopt;
  const JsonValue key = take_value(rest_);
  rest_.remove_prefix(rest_.find_first_not_of(kBetweenValues));
  return Field{.key = key, .value = take_value(rest_)};
}

struct JsonReader::State {
  explicit State(size_t bytes_max) : capacity(bytes_max), buffer(new char[bytes_max + simdjson::SIMDJSON_PADDING]) {
    CHECK(parser.allocate(bytes_max) == simdjson::SUCCESS, "a reader's memory is there at start");
  }

  bool read_members(size_t length);
  // False, for the caller to pass on. The first finding stays.
  bool fail(JsonError what) {
    if (error == JsonError::kNone) error = what;
    return false;
  }
  bool add_member(field& next);
  std::optional<JsonValue> read_value(value& next, size_t depth);
  bool validate_elements(array& elements, size_t depth);
  bool validate_fields(object& fields, size_t depth);
  const char* end() const { return buffer.get() + text_length; }

  const size_t capacity;
  std::unique_ptr<char[]> buffer;
  simdjson::ondemand::parser parser;
  document json;
  JsonError error = JsonError::kNone;
  size_t text_length = 0;
  size_t member_count = 0;
  std::array<JsonMember, kMembersMax> members;
};

bool JsonReader::State::read_members(size_t length) {
  text_length = length;
  member_count = 0;
  // simdjson looks a few bytes beyond the text. Were they left from a longer one, a bracket among them could close what
  // the text has left open (simdjson issue 1834).
  std::memset(buffer.get() + length, 0, simdjson::SIMDJSON_PADDING);
  error = JsonError::kNone;
  const std::string_view text(buffer.get(), length);
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return fail(JsonError::kEmpty);
  if (text.starts_with(kByteOrderMark)) return fail(JsonError::kByteOrderMark);
  const auto broken = parser.iterate(buffer.get(), length, length + simdjson::SIMDJSON_PADDING).get(json);
  if (broken == simdjson::UTF8_ERROR) return fail(JsonError::kNotUtf8);
  if (text[first] != '{') return fail(JsonError::kNotAnObject);
  if (broken) return false;

  object top;
  if (json.get_object().get(top)) return false;
  for (auto item : top) {
    field next;
    if (std::move(item).get(next) || !add_member(next)) return false;
  }
  // Asked where it stands, a parser that has used up every token has no answer.
  return json.current_location().error() == simdjson::OUT_OF_BOUNDS || fail(JsonError::kTrailing);
}

bool JsonReader::State::add_member(field& next) {
  if (member_count == members.size()) return fail(JsonError::kTooManyMembers);
  const auto key = string_from(next.key().raw(), end());
  if (!key) return false;
  JsonMember& member = members[member_count];
  member.key = key->text;
  if (key->escaped) {
    // In place: the parser is past it.
    char* const out = buffer.get() + (key->text.data() - buffer.get());
    member.key = {out, unescape_json(key->text, out).length};
  }
  for (size_t i = 0; i < member_count; ++i) {
    if (members[i].key == member.key) return fail(JsonError::kRepeatedKey);
  }

  const auto value = read_value(next.value(), 1);
  if (!value) return false;
  member.value = *value;
  ++member_count;
  return true;
}

std::optional<JsonValue> JsonReader::State::read_value(value& next, size_t depth) {
  const std::string_view token = next.raw_json_token();
  if (token.empty()) return std::nullopt;
  if (token.front() == '"') {
    // Taken here and now: a string left to be skipped would be taken for a key when a colon follows it, and
    // {"a":"b":1}} for an object.
    raw_json_string taken;
    if (next.get_raw_json_string().get(taken)) return std::nullopt;
  }
  if (token.front() != '[' && token.front() != '{') return scalar(token);

  if (depth == kDepthMax) {
    fail(JsonError::kTooDeep);
    return std::nullopt;
  }
  JsonValue result{.kind = JsonKind::kArray, .escaped = false, .text = {}};
  if (token.front() == '[') {
    array elements;
    if (next.get_array().get(elements) || !validate_elements(elements, depth + 1)) return std::nullopt;
  } else {
    result.kind = JsonKind::kObject;
    object fields;
    if (next.get_object().get(fields) || !validate_fields(fields, depth + 1)) return std::nullopt;
  }
  // Within the object something follows, if only its own brace.
  const char* following = nullptr;
  if (json.current_location().get(following)) return std::nullopt;
  const char* const first = token.data();
  result.text = without_trailing_space({first, static_cast<size_t>(following - first)});
  return result;
}

bool JsonReader::State::validate_elements(array& elements, size_t depth) {
  for (auto item : elements) {
    value next;
    if (std::move(item).get(next) || !read_value(next, depth)) return false;
  }
  return true;
}

bool JsonReader::State::validate_fields(object& fields, size_t depth) {
  for (auto item : fields) {
    field next;
    if (std::move(item).get(next) || !string_from(next.key().raw(), end()) || !read_value(next.value(), depth))
      return false;
  }
  return true;
}

JsonReader::JsonReader(size_t bytes_max) : state_(std::make_unique<State>(bytes_max)) {}
JsonReader::~JsonReader() = default;

char* JsonReader::buffer() { return state_->buffer.get(); }

JsonError JsonReader::error() const { return state_->error; }

std::optional<std::span<const JsonMember>> JsonReader::read(std::string_view text) {
  if (text.size() > state_->capacity) {
    state_->error = JsonError::kTooLong;
    return std::nullopt;
  }
  text.copy(state_->buffer.get(), text.size());  // not memcpy: an empty text may point nowhere
  return read_buffer(text.size());
}

std::optional<std::span<const JsonMember>> JsonReader::read_buffer(size_t length) {
  CHECK(length <= state_->capacity, "the text fits the buffer it was written to");
  if (!state_->read_members(length)) {
    state_->fail(JsonError::kSyntax);  // where nothing better was found
    return std::nullopt;
  }
  return std::span<const JsonMember>(state_->members.data(), state_->member_count);
}

}  // namespace txn
