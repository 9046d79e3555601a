// Whatever the parser takes as a request ends where every sloppier reader says that it ends: then nothing can be
// smuggled past a proxy to us or past us to somebody else (RFC 9112 section 11.2).
//
// The readers below are written without the parser's code, and each bends the rules in another way, as real ones have:
// lines may end with LF or CR alone, folded lines continue a field, names may have blanks around them, of two lengths
// the first or the last counts, Content-Length beats chunked or is beaten by it, numbers are read as far as they go.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "net/ascii.h"
#include "net/http_parser.h"

namespace txn {
namespace {

struct Sloppiness {
  bool lf_ends_line = false;
  bool cr_ends_line = false;
  bool folds = false;
  bool last_length_counts = false;
  bool length_beats_chunked = false;
  bool chunked_anywhere = false;  // "xchunked, foo" will do
};
constexpr unsigned kReaders = 1U << 6;

Sloppiness reader_of(unsigned bits) {
  return {.lf_ends_line = (bits & 1) != 0,
          .cr_ends_line = (bits & 2) != 0,
          .folds = (bits & 4) != 0,
          .last_length_counts = (bits & 8) != 0,
          .length_beats_chunked = (bits & 16) != 0,
          .chunked_anywhere = (bits & 32) != 0};
}

class SloppyReader {
 public:
  SloppyReader(std::string_view bytes, Sloppiness how) : bytes_(bytes), how_(how) {}

  // Where the message that begins at `at` ends; nothing when it has no end here.
  std::optional<size_t> end_of_message(size_t at) {
    at_ = at;
    while (at_ < bytes_.size() && (bytes_[at_] == '\r' || bytes_[at_] == '\n')) ++at_;
    std::vector<std::string> lines;
    while (true) {
      const auto line = next_line();
      if (!line) return std::nullopt;
      if (line->empty()) break;
      if (how_.folds && lines.size() > 1 && is_blank(line->front())) {
        lines.back() += *line;
      } else {
        lines.emplace_back(*line);
      }
    }
    std::optional<size_t> length;
    bool chunked = false;
    for (size_t i = 1; i < lines.size(); ++i) {
      const std::string_view line = lines[i];
      const size_t colon = line.find(':');
      if (colon == std::string_view::npos) continue;
      const std::string_view name = trim_blanks(line.substr(0, colon));
      const std::string_view value = trim_blanks(line.substr(colon + 1));
      if (equals_ignore_case(name, "content-length") && (!length || how_.last_length_counts))
        length = leading_number(value, 10);
      if (equals_ignore_case(name, "transfer-encoding"))
        chunked = chunked || equals_ignore_case(value, "chunked") ||
                  (how_.chunked_anywhere && value.find("hunked") != std::string_view::npos);
    }
    if (chunked && !(length && how_.length_beats_chunked)) return end_of_chunks();
    at_ += length.value_or(0);
    return at_ <= bytes_.size() ? std::optional(at_) : std::nullopt;
  }

 private:
  std::optional<std::string_view> next_line() {
    for (size_t end = at_; end < bytes_.size(); ++end) {
      const bool crlf = bytes_[end] == '\r' && end + 1 < bytes_.size() && bytes_[end + 1] == '\n';
      const bool alone = (bytes_[end] == '\n' && how_.lf_ends_line) || (bytes_[end] == '\r' && how_.cr_ends_line);
      if (!crlf && !alone) continue;
      const std::string_view line = bytes_.substr(at_, end - at_);
      at_ = end + (crlf ? 2 : 1);
      return line;
    }
    return std::nullopt;
  }

  static size_t leading_number(std::string_view text, unsigned base) {
    size_t value = 0;
    for (const char c : text) {
      const char lower = ascii_lower(c);
      unsigned digit = 99;
      if (lower >= '0' && lower <= '9') digit = static_cast<unsigned>(lower - '0');
      if (lower >= 'a' && lower <= 'f') digit = static_cast<unsigned>(lower - 'a') + 10;
      if (digit >= base || value > (1U << 30)) break;
      value = value * base + digit;
    }
    return value;
  }

  std::optional<size_t> end_of_chunks() {
    while (true) {
      const auto line = next_line();
      if (!line) return std::nullopt;
      const size_t size = leading_number(*line, 16);
      if (size == 0) break;
      at_ += size;
      if (at_ > bytes_.size()) return std::nullopt;
      const auto end = next_line();
      if (!end || !end->empty()) return std::nullopt;
    }
    while (true) {
      const auto line = next_line();
      if (!line) return std::nullopt;
      if (line->empty()) return at_;
    }
  }

  std::string_view bytes_;
  Sloppiness how_;
  size_t at_ = 0;
};

void check_request(const HttpRequest& request) {
  CHECK(request.count("host") == 1 || request.http_minor == 0, "a request of HTTP/1.1 has one Host");
  CHECK(request.count("content-length") + request.count("transfer-encoding") <= 1, "one way to tell the length");
  for (size_t i = 0; i < request.header_count(); ++i) {
    const HeaderField field = request.header(i);
    CHECK(!field.name.empty(), "a field has a name");
    for (const char c : field.name) CHECK(is_token_char(c), "a field's name is a token");
    CHECK(trim_blanks(field.value).size() == field.value.size(), "a value is trimmed");
    for (const char c : field.value)
      CHECK((static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) || c == '\t', "a value has no control characters");
  }
  for (const char c : request.path) CHECK(is_visible(c), "a path has visible characters only");
  for (const char c : request.query) CHECK(is_visible(c), "a query has visible characters only");
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  HttpParser parser;
  HttpParser::Status status = parser.feed({bytes.data(), bytes.size()});
  size_t at = 0;
  while (status == HttpParser::Status::kRequest) {
    check_request(parser.request());
    const size_t end = bytes.size() - parser.unparsed_bytes();
    for (unsigned i = 0; i < kReaders; ++i) {
      const auto theirs = SloppyReader(bytes, reader_of(i)).end_of_message(at);
      CHECK(theirs.has_value(), "another reader waits for more of a request that we have handled");
      CHECK(*theirs == end, "another reader sees the request end elsewhere");
    }
    at = end;
    status = parser.next();
  }
  return 0;
}
