// Header values that are taken over into answers, logs and the database: request ids and idempotency keys. What is
// accepted can stand in a header and in a log line as it is.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "app/idempotency.h"
#include "app/path_value.h"
#include "core/check.h"
#include "core/json_writer.h"
#include "net/ascii.h"
#include "net/http_parser.h"
#include "net/http_response.h"
#include "net/request_id.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool is_plain = std::ranges::all_of(text, is_visible) && !text.empty();
  if (const auto key = parse_idempotency_key(text)) {
    CHECK(!key->empty() && key->size() <= kIdempotencyKeyMax, "a key has its bounds");
    CHECK(key->front() != ' ' && key->back() != ' ', "blanks are inside");
    for (const char c : *key) CHECK(is_visible(c) || c == ' ', "a key can stand in a log");
    CHECK(text.starts_with('"') || *key == text, "a key without quotes is kept as it is");
    std::string quoted = "\"";
    for (const char c : *key) quoted += (c == '"' || c == '\\' ? "\\" : "") + std::string(1, c);
    CHECK(parse_idempotency_key(quoted + "\"") == *key, "in quotes it is the same");
  } else {
    CHECK(!is_plain || text.size() > kIdempotencyKeyMax || text.starts_with('"'), "plain characters are a key");
  }
  CHECK(RequestId::is_valid(text) == (is_plain && text.size() <= kMaxRequestIdSize), "what a request id is");
  if (RequestId::is_valid(text)) CHECK(RequestId(text).view() == text, "an id is kept as it is");

  // Through the parser: the caller's id comes back only when it is valid as it arrived, else it is a new one.
  static RequestIdGenerator generator;
  const std::string request = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: " + std::string(text) + "\r\n\r\n";
  HttpParser parser;
  if (parser.feed({request.data(), request.size()}) == HttpParser::Status::kRequest) {
    const RequestId id = generator.choose(parser.request());
    CHECK(RequestId::is_valid(id.view()), "every id is valid");
    const auto sent = parser.request().find(KnownHeader::kXRequestId);
    if (sent && RequestId::is_valid(*sent) && parser.request().count("x-request-id") == 1)
      CHECK(id.view() == *sent, "a good id is the caller's");
  }

  // Numbers in paths.
  const auto number = parse_number(text, 1);
  if (number) {
    std::string_view digits = text;
    digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
    CHECK(*number >= 1 && std::to_string(*number) == digits, "digits and nothing else");
  }
  return 0;
}
