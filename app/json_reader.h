// Reads one JSON object strictly: the whole text is validated, also what nobody asked for.
//
// simdjson's on-demand front finds the structure and checks UTF-8; what it leaves unchecked until somebody reads it
// (numbers, literals, escapes, the inside of skipped values) is checked here, on the raw tokens. Raw tokens, because
// money must never pass through binary floating point, and because a numeral such as 1e400 is good JSON whether or not
// a double can hold it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace txn {

enum class JsonKind : uint8_t { kString, kNumber, kTrue, kFalse, kNull, kArray, kObject };

// A value as it stands in the text.
struct JsonValue {
  JsonKind kind = JsonKind::kNull;
  bool escaped = false;   // a string with a backslash in it: `text` has to go through unescape_json
  std::string_view text;  // string: what is between the quotes; anything else: the token, arrays and objects whole
};

struct JsonMember {
  std::string_view key;  // unescaped; may hold NUL, or lone surrogates in the way of unescape_json
  JsonValue value;
};

// What unescape_json made of a string.
struct UnescapedJson {
  size_t length = 0;                // bytes written
  size_t characters = 0;            // Unicode code points
  bool has_nul = false;             // U+0000
  bool has_lone_surrogate = false;  // written as the three bytes its number would take, which is not UTF-8
};

// Resolves the escapes of `text`, the inside of a string that read() has validated, into `out`. There is never more
// output than input, and `out` may be where `text` stands.
UnescapedJson unescape_json(std::string_view text, char* out);

// The integer that all of `text` spells in decimal, a minus sign allowed; nothing for anything else or beyond 64 bits.
std::optional<int64_t> parse_json_int(std::string_view text);

// The elements of an array that read() has validated, one after the other. Valid as long as that text is.
class JsonElements {
 public:
  // `array` is the whole of it, brackets included, as JsonValue::text has it.
  explicit JsonElements(std::string_view array) : rest_(array.substr(1)) {}
  // Nothing after the last.
  std::optional<JsonValue> next();

 private:
  std::string_view rest_;  // what follows the last element, to the closing bracket
};

// The members of an object within what read() has validated, one after the other. Nobody has looked whether one is
// named twice. Valid as long as that text is.
class JsonFields {
 public:
  struct Field {
    JsonValue key;  // a string
    JsonValue value;
  };
  // `object` is the whole of it, braces included, as JsonValue::text has it.
  explicit JsonFields(std::string_view object) : rest_(object.substr(1)) {}
  // Nothing after the last.
  std::optional<Field> next();

 private:
  std::string_view rest_;  // what follows the last member, to the closing brace
};

// Room to unescape one string after the other in. One thread.
class JsonUnescaper {
 public:
  explicit JsonUnescaper(size_t bytes_max) : room_(new char[bytes_max]) {}
  // The text of a string that read() has validated, of at most bytes_max; valid until the next call.
  std::string_view unescaped(const JsonValue& string) {
    if (!string.escaped) return string.text;
    return {room_.get(), unescape_json(string.text, room_.get()).length};
  }

 private:
  std::unique_ptr<char[]> room_;
};

// Why a text was not read. When several things are wrong with it, the first that was come upon.
enum class JsonError : uint8_t {
  kNone,
  kTooLong,        // for the reader
  kEmpty,          // nothing but blanks
  kByteOrderMark,  // which RFC 8259 section 8.1 forbids
  kNotUtf8,
  kNotAnObject,  // something else is, or begins, there
  kSyntax,       // not JSON
  kTrailing,     // something behind the object
  kRepeatedKey,
  kTooDeep,         // beyond kDepthMax
  kTooManyMembers,  // beyond kMembersMax
};

// One per thread: owns the parser and the padded buffer, both allocated once.
class JsonReader {
 public:
  // Containers within containers; RFC 8259 section 9 lets a parser choose.
  static constexpr size_t kDepthMax = 64;
  // Members of the object itself.
  static constexpr size_t kMembersMax = 64;

  // For texts of up to `bytes_max` bytes.
  explicit JsonReader(size_t bytes_max);
  ~JsonReader();
  JsonReader(const JsonReader&) = delete;
  JsonReader& operator=(const JsonReader&) = delete;

  // The members of `text`, in their order, all valid until the next call. Nothing when `text` is not exactly one object
  // in valid UTF-8 (RFC 8259), begins with a byte order mark, names a member of that object twice (in whatever
  // spelling), or goes beyond one of the bounds.
  std::optional<std::span<const JsonMember>> read(std::string_view text);

  // The same for `length` bytes that the caller has written into buffer(), which has room for bytes_max.
  char* buffer();
  std::optional<std::span<const JsonMember>> read_buffer(size_t length);

  // Why the last call gave nothing.
  JsonError error() const;

 private:
  struct State;  // keeps simdjson's header out of everybody's way
  std::unique_ptr<State> state_;
};

}  // namespace txn
