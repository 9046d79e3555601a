// traceparent and tracestate: what is accepted can stand in a log line, in a span and in a header as it is, and says
// the same when it is read again.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/check.h"
#include "net/http_parser.h"
#include "net/trace_context.h"

namespace {

bool is_id(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
         text.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto parent = parse_traceparent(text)) {
    CHECK(is_id(view_of(parent->trace_id)), "what a trace id is");
    CHECK(is_id(view_of(parent->span_id)), "what a span id is");
    CHECK(randomness_of(parent->trace_id) < uint64_t{1} << 56, "56 bits of it");
    std::string again = "00-";
    again.append(view_of(parent->trace_id)).append("-").append(view_of(parent->span_id));
    again += parent->sampled ? "-01" : "-00";
    CHECK(parse_traceparent(again) == parent, "it says the same when it is written again");
    CHECK(text.size() == again.size() || !text.starts_with("00"), "version 00 has one length");
  }

  // Cut at the first line feed into the two header values.
  const size_t cut = std::min(text.find('\n'), text.size());
  const std::string request = "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: " + std::string(text.substr(0, cut)) +
                              "\r\ntracestate: " + std::string(text.substr(std::min(cut + 1, text.size()))) +
                              "\r\n\r\n";
  HttpParser parser;
  if (parser.feed({request.data(), request.size()}) != HttpParser::Status::kRequest) return 0;
  if (find_traceparent(parser.request())) CHECK(parser.request().count("traceparent") == 1, "of two, none is believed");
  std::string tracestate;
  copy_tracestate(parser.request(), tracestate);
  CHECK(tracestate.size() <= kTracestateMaxBytes, "it is bounded");
  for (const char c : tracestate) CHECK(c == '\t' || (c >= 0x20 && c <= 0x7e), "it can stand in a header");
  return 0;
}
