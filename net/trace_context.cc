#include "net/trace_context.h"

#include <openssl/rand.h>

#include <algorithm>

#include "core/check.h"
#include "net/ascii.h"

namespace txn {
namespace {

constexpr size_t kMembersMax = 32;  // of a tracestate, section 3.3.1.1
constexpr size_t kKeyMaxBytes = 256;
constexpr size_t kTenantMaxBytes = 241;
constexpr size_t kSystemMaxBytes = 14;
constexpr size_t kValueMaxBytes = 256;

void fill_random(uint8_t* out, size_t size) { CHECK(RAND_bytes(out, size) == 1, "BoringSSL's RAND_bytes cannot fail"); }

// -1 for what is no lower-case hexadecimal digit.
int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Copies an id of lower-case hexadecimal digits that are not all zeros.
template <size_t N>
bool take_id(std::string_view text, std::array<char, N>& out) {
  bool any = false;
  for (size_t i = 0; i < N; ++i) {
    if (hex_value(text[i]) < 0) return false;
    any = any || text[i] != '0';
    out[i] = text[i];
  }
  return any;
}

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }

// Section 3.3.1.3.1: a name that begins with a letter, or tenant@system, of which the tenant may begin with a digit.
bool is_key(std::string_view key) {
  const auto is_name = [](std::string_view name, size_t bytes_max, bool may_begin_with_digit) {
    const auto fits = [](char c) { return is_lower(c) || is_digit(c) || c == '_' || c == '-' || c == '*' || c == '/'; };
    return !name.empty() && name.size() <= bytes_max &&
           (is_lower(name.front()) || (may_begin_with_digit && is_digit(name.front()))) &&
           std::ranges::all_of(name, fits);
  };
  const size_t at = key.find('@');
  if (at == std::string_view::npos) return is_name(key, kKeyMaxBytes, false);
  return is_name(key.substr(0, at), kTenantMaxBytes, true) && is_name(key.substr(at + 1), kSystemMaxBytes, false);
}

bool is_value(std::string_view value) {
  const auto fits = [](char c) { return c >= 0x20 && c <= 0x7e && c != ',' && c != '='; };
  return !value.empty() && value.size() <= kValueMaxBytes && std::ranges::all_of(value, fits);
}

// Empty members are allowed (RFC 9110 section 5.6.1.2).
bool is_tracestate(std::string_view text) {
  size_t members = 0;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view member = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    while (!member.empty() && (member.front() == ' ' || member.front() == '\t')) member.remove_prefix(1);
    while (!member.empty() && (member.back() == ' ' || member.back() == '\t')) member.remove_suffix(1);
    if (member.empty()) continue;
    const size_t equals = member.find('=');
    if (equals == std::string_view::npos || ++members > kMembersMax) return false;
    if (!is_key(member.substr(0, equals)) || !is_value(member.substr(equals + 1))) return false;
  }
  return members > 0;
}

}  // namespace

// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
std::optional<TraceParent> parse_traceparent(std::string_view value) {
  constexpr size_t kTraceIdAt = 3, kSpanIdAt = 36, kFlagsAt = 53, kSize = 55;
  if (value.size() < kSize) return std::nullopt;
  const int version_high = hex_value(value[0]), version_low = hex_value(value[1]);
  if (version_high < 0 || version_low < 0 || (version_high == 15 && version_low == 15)) return std::nullopt;
  const bool is_version_00 = version_high == 0 && version_low == 0;
  if (value.size() > kSize && (is_version_00 || value[kSize] != '-')) return std::nullopt;
  if (value[kTraceIdAt - 1] != '-' || value[kSpanIdAt - 1] != '-' || value[kFlagsAt - 1] != '-') return std::nullopt;
  TraceParent parent;
  if (!take_id(value.substr(kTraceIdAt), parent.trace_id)) return std::nullopt;
  if (!take_id(value.substr(kSpanIdAt), parent.span_id)) return std::nullopt;
  const int flags_high = hex_value(value[kFlagsAt]), flags_low = hex_value(value[kFlagsAt + 1]);
  if (flags_high < 0 || flags_low < 0) return std::nullopt;
  parent.sampled = (flags_low & 1) != 0;  // the only bit that has a meaning here
  return parent;
}

std::optional<TraceParent> find_traceparent(const HttpRequest& request) {
  const auto value = request.find(KnownHeader::kTraceparent);
  if (!value) return std::nullopt;
  auto parent = parse_traceparent(*value);
  if (parent && request.count("traceparent") != 1) return std::nullopt;
  return parent;
}

void copy_tracestate(const HttpRequest& request, std::string& out) {
  out.clear();
  for (size_t i = 0; i < request.header_count(); ++i) {
    const HeaderField field = request.header(i);
    if (!equals_ignore_case(field.name, "tracestate")) continue;
    if (out.size() + 1 + field.value.size() > kTracestateMaxBytes + 1) {
      out.clear();
      return;
    }
    if (!out.empty()) out += ',';
    out += field.value;
  }
  if (out.size() > kTracestateMaxBytes || !is_tracestate(out)) out.clear();
}

TraceIdGenerator::TraceIdGenerator() : TraceIdGenerator(fill_random) {}
TraceIdGenerator::TraceIdGenerator(FillRandom fill) : fill_(fill) {}

template <class Text>
Text TraceIdGenerator::make() {
  constexpr char kHex[] = "0123456789abcdef";
  constexpr size_t kBytes = std::tuple_size_v<Text> / 2;
  Text text;
  bool any = false;
  while (!any) {
    if (used_ + kBytes > kBlockBytes) {
      fill_(block_.data(), block_.size());
      used_ = 0;
    }
    for (size_t i = 0; i < kBytes; ++i) {
      const uint8_t byte = block_[used_ + i];
      any = any || byte != 0;
      text[2 * i] = kHex[byte >> 4];
      text[2 * i + 1] = kHex[byte & 15];
    }
    used_ += kBytes;
  }
  return text;
}

template TraceIdText TraceIdGenerator::make();
template SpanIdText TraceIdGenerator::make();

uint64_t randomness_of(const TraceIdText& trace_id) {
  constexpr size_t kDigits = 14;
  uint64_t value = 0;
  for (size_t i = trace_id.size() - kDigits; i < trace_id.size(); ++i)
    value = value << 4 | static_cast<uint64_t>(hex_value(trace_id[i]));
  return value;
}

}  // namespace txn
