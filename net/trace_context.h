// W3C Trace Context (https://www.w3.org/TR/trace-context/, level 1): which trace a request belongs to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/http_request.h"

namespace txn {

// Ids as they are written everywhere: lower-case hexadecimal, never all zeros.
using TraceIdText = std::array<char, 32>;
using SpanIdText = std::array<char, 16>;

template <size_t N>
std::string_view view_of(const std::array<char, N>& text) {
  return {text.data(), N};
}

// What a traceparent header says.
struct TraceParent {
  TraceIdText trace_id{};
  SpanIdText span_id{};  // of the caller
  bool sampled = false;  // whether the caller records the trace

  friend bool operator==(const TraceParent&, const TraceParent&) = default;
};

// The value of one traceparent header (section 3.2): of version 00, or of a later one as far as it begins like version
// 00 (section 3.2.4). Nothing when it is anything else: upper case, all zeros, another length, version ff.
std::optional<TraceParent> parse_traceparent(std::string_view value);

// The request's, unless it has none, a bad one, or more than one.
std::optional<TraceParent> find_traceparent(const HttpRequest& request);

inline constexpr size_t kTracestateMaxBytes = 512;  // section 3.3.1.5 asks for no more

// Puts the tracestate of `request`, several headers joined by commas (section 3.3.1), into `out`; empty when there is
// none, one is not a list of key=value (section 3.3.1.1) down to the last key, or together they are longer than
// kTracestateMaxBytes.
void copy_tracestate(const HttpRequest& request, std::string& out);

// Random ids from BoringSSL's generator, a block at a time. One a worker.
class TraceIdGenerator {
 public:
  // Fills `size` bytes at `out`; cannot fail.
  using FillRandom = void (*)(uint8_t* out, size_t size);

  TraceIdGenerator();                                  // RAND_bytes
  explicit TraceIdGenerator(FillRandom fill);          // for tests
  TraceIdGenerator(const TraceIdGenerator&) = delete;  // two copies would give the same ids
  TraceIdGenerator& operator=(const TraceIdGenerator&) = delete;

  TraceIdText trace_id() { return make<TraceIdText>(); }
  SpanIdText span_id() { return make<SpanIdText>(); }

 private:
  template <class Text>
  Text make();

  static constexpr size_t kBlockBytes = 2048;

  FillRandom fill_;
  size_t used_ = kBlockBytes;
  std::array<uint8_t, kBlockBytes> block_;
};

// The last 56 bits of a trace id, which are random whoever made it (level 2, section 3.2.2.3.1 says which bits): what
// decisions to sample are made by, so that all services make the same one.
uint64_t randomness_of(const TraceIdText& trace_id);

}  // namespace txn
