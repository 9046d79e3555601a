#include "net/cors.h"

#include <algorithm>

#include "net/ascii.h"

namespace txn {
namespace {

// What a page may read besides the body; only a handful of fields is open to it otherwise.
constexpr std::string_view kExposed =
    "Access-Control-Expose-Headers: X-Request-ID, Retry-After, RateLimit, RateLimit-Policy, X-RateLimit-Limit, "
    "X-RateLimit-Remaining, X-RateLimit-Reset, Idempotency-Replayed, WWW-Authenticate\r\n";
constexpr std::string_view kVary = "Vary: Origin\r\n";

std::string serialized(std::string_view origin) {
  std::string text(origin);
  std::ranges::transform(text, text.begin(), ascii_lower);
  for (const auto& [scheme, port] : {std::pair<std::string_view, std::string_view>{"http://", ":80"},
                                     std::pair<std::string_view, std::string_view>{"https://", ":443"}}) {
    if (text.starts_with(scheme) && text.ends_with(port)) text.resize(text.size() - port.size());
  }
  return text;
}

std::string allow(std::string_view origin) {
  std::string lines = "Access-Control-Allow-Origin: ";
  lines += origin;
  lines += "\r\n";
  lines += kExposed;
  return lines;
}

}  // namespace

CorsPolicy::CorsPolicy(std::span<const std::string> origins) {
  for (const std::string& origin : origins) {
    if (origin == "*") {
      allows_all_ = true;
      all_lines_ = allow(origin);
      continue;
    }
    const std::string text = serialized(origin);
    std::string lines = allow(text);
    lines += kVary;
    origins_.push_back({.text = text, .lines = std::move(lines)});
  }
}

CorsPolicy::Match CorsPolicy::match(const HttpRequest& request) const {
  if (allows_all_) return {.lines = all_lines_, .allowed = true};  // the same for everybody, so nothing varies
  if (origins_.empty()) return {};
  if (const auto asked = request.find(KnownHeader::kOrigin)) {
    const auto found = std::ranges::find(origins_, *asked, &Origin::text);
    // Two of them would be two different questions.
    if (found != origins_.end() && request.count("origin") == 1) return {.lines = found->lines, .allowed = true};
  }
  return {.lines = kVary};
}

bool is_preflight(const HttpRequest& request) {
  return request.method == Method::kOptions && request.has(KnownHeader::kOrigin) &&
         request.has(KnownHeader::kAccessControlRequestMethod);
}

}  // namespace txn
