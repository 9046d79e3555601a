// Cross-origin requests: which answers a browser shows to pages of other origins (Fetch standard, section 3.2).
//
// The fields are the same for every answer to an origin, so they are written out once, at start. Credentials are never
// allowed: callers are known by their bearer tokens, and there are no cookies that could be used behind their backs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_request.h"

namespace txn {

// Immutable, so any thread may use it.
class CorsPolicy {
 public:
  struct Match {
    std::string_view lines;  // "Name: value\r\n" each, to go with the answer; live as long as the policy
    bool allowed = false;
  };

  // Origins as "scheme://host[:port]" with http or https, or "*" as the only one. Scheme and host are brought to lower
  // case and a port that is the scheme's own is dropped, as browsers write origins (RFC 6454 sections 4 and 6.2).
  explicit CorsPolicy(std::span<const std::string> origins);

  // False: nothing is allowed and no answer says anything about it.
  bool is_enabled() const { return allows_all_ || !origins_.empty(); }

  // What goes with the answer to `request`, errors included. The Origin is compared byte by byte. Answers that depend
  // on it say so to caches (Vary), also when it is not allowed or not there.
  Match match(const HttpRequest& request) const;

 private:
  struct Origin {
    std::string text;
    std::string lines;
  };

  bool allows_all_ = false;
  std::string all_lines_;
  std::vector<Origin> origins_;
};

// A browser's question before a request that is more than a form could send.
bool is_preflight(const HttpRequest& request);

// For the answer to a preflight, whose Access-Control-Allow-Methods and -Headers are for the caller to add.
inline constexpr std::string_view kCorsMaxAgeSeconds = "7200";  // the most that Chromium keeps it for

}  // namespace txn
