#include "tests/integration/answers.h"

#include <cmath>
#include <ctime>
#include <regex>

#include "tests/support/jwt.h"

namespace txn::test {

namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

constexpr std::pair<std::string_view, std::string_view> kSecurityHeaders[] = {
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"X-XSS-Protection", "1; mode=block"},
    {"Content-Security-Policy", "default-src 'self'"},
    {"Referrer-Policy", "strict-origin-when-cross-origin"},
    {"Permissions-Policy", "accelerometer=(), microphone=(), camera=()"},
};

// Words that only somebody who knows the inside could have put into an answer.
constexpr std::string_view kInternals[] = {"SELECT ",    "INSERT ",  "UPDATE ",  "/work", "/tmp", "txn-test-",
                                           "libpq",      "PGRES",    "relation", "psql",  ".cc:", "socket",
                                           "PostgreSQL", "simdjson", "llhttp",   "0x"};

constexpr int64_t kClockTolerance = 5;

bool is_current_date(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return end != nullptr && *end == '\0' && text.size() == 29 &&
         std::llabs(static_cast<long long>(::timegm(&parts)) - unix_now()) <= kClockTolerance;
}

bool matches(std::string_view text, const char* pattern) {
  return std::regex_match(text.begin(), text.end(), std::regex(pattern));
}

AssertionResult wrong(const std::string& what, const HttpResponse& response) {
  return AssertionFailure() << what << "\n" << response;
}

}  // namespace

bool is_uuid(std::string_view text) {
  return matches(text, "[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
}

bool is_timestamp(std::string_view text) {
  return matches(text, R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00))");
}

bool is_money(std::string_view text) { return matches(text, R"(-?(0|[1-9]\d*)\.\d\d)"); }

AssertionResult has_common_headers(const HttpResponse& response) {
  if (response.status == 0) return wrong("no response", response);
  for (const auto& [name, value] : kSecurityHeaders) {
    if (response.count(name) != 1 || response.header(name) != value)
      return wrong("security header " + std::string(name), response);
  }
  if (response.count("Date") != 1 || !is_current_date(response.header("Date"))) return wrong("Date", response);
  if (response.count("X-Request-ID") != 1 || response.header("X-Request-ID").empty())
    return wrong("X-Request-ID", response);
  for (const std::string_view word : kInternals) {
    if (response.body.find(word) != std::string::npos)
      return wrong("'" + std::string(word) + "' is nobody's business", response);
  }
  return AssertionSuccess();
}

AssertionResult is_json(const HttpResponse& response, int status) {
  if (response.status != status) return wrong("expected status " + std::to_string(status), response);
  if (const auto common = has_common_headers(response); !common) return common;
  if (response.header("Content-Type").rfind("application/json", 0) != 0) return wrong("Content-Type", response);
  if (!Json::valid(response.body)) return wrong("the body is not JSON", response);
  return AssertionSuccess();
}

AssertionResult is_problem(const HttpResponse& response, int status, std::string_view error_code) {
  const std::string expected = std::to_string(status) + " " + std::string(error_code);
  if (response.status != status) return wrong("expected " + expected, response);
  if (const auto common = has_common_headers(response); !common) return common;
  if (response.header("Content-Type").rfind("application/problem+json", 0) != 0)
    return wrong("an error without application/problem+json", response);
  if (!Json::valid(response.body)) return wrong("the body is not JSON", response);
  const Json problem = response.json();
  for (const char* member : {"type", "title", "detail", "error_code", "request_id"}) {
    if (!problem.has(member) || !problem[member].is_string() || problem[member].text().empty())
      return wrong(std::string("member ") + member, response);
  }
  if (!problem.has("status") || problem["status"].scalar() != std::to_string(status))
    return wrong("member status", response);
  if (problem["request_id"].text() != response.header("X-Request-ID"))
    return wrong("request_id differs from X-Request-ID", response);
  const std::string code = problem["error_code"].text();
  if (!matches(code, "[A-Z][A-Z_]*[A-Z]")) return wrong("error_code is no code", response);
  if (!error_code.empty() && code != error_code) return wrong("expected " + expected, response);
  // Whoever is to come back is told when.
  if ((code == "IDEMPOTENCY_CONFLICT" || status == 429 || status == 503 || status == 504) &&
      !matches(response.header("Retry-After"), "[1-9][0-9]*"))
    return wrong("no Retry-After", response);
  return AssertionSuccess();
}

AssertionResult is_validation_error(const HttpResponse& response, std::string_view field, std::string_view place) {
  if (const auto problem = is_problem(response, 422, "VALIDATION_ERROR"); !problem) return problem;
  const Json json = response.json();
  if (!json.has("errors") || !json["errors"].is_array() || json["errors"].size() == 0)
    return wrong("no errors", response);
  for (const Json& error : json["errors"].items()) {
    if (!error.has("loc") || !error.has("msg") || !error["loc"].is_array() || error["loc"].size() < 2)
      return wrong("errors without loc and msg", response);
    if (!error["msg"].is_string() || error["msg"].text().empty()) return wrong("an empty msg", response);
    if (error["loc"][size_t{0}].scalar() == place && error["loc"][size_t{1}].scalar() == field)
      return AssertionSuccess();
  }
  return wrong("no error is about " + std::string(place) + "." + std::string(field), response);
}

std::vector<Json> list_in(const HttpResponse& response) {
  const Json json = response.json();
  if (json.is_array()) return json.items();
  for (const auto& key : json.keys()) {
    if (json[key].is_array()) return json[key].items();
  }
  ADD_FAILURE() << "no list in " << response;
  return {};
}

}  // namespace txn::test
