#include "net/http_response.h"

#include <algorithm>
#include <charconv>

#include "core/check.h"

namespace txn {
namespace {

// The six headers on every answer, the last one left open because the documentation page widens it.
constexpr std::string_view kSecurityHeaders =
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "X-XSS-Protection: 1; mode=block\r\n"
    "Referrer-Policy: strict-origin-when-cross-origin\r\n"
    "Permissions-Policy: accelerometer=(), microphone=(), camera=()\r\n"
    "Content-Security-Policy: ";
constexpr std::string_view kDefaultPolicy = "default-src 'self'";
constexpr std::string_view kStrictTransport = "Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n";

struct StatusLine {
  int status;
  std::string_view line;
};

// In order of status.
constexpr StatusLine kStatusLines[] = {
    {200, "HTTP/1.1 200 OK\r\n"},
    {201, "HTTP/1.1 201 Created\r\n"},
    {202, "HTTP/1.1 202 Accepted\r\n"},
    {204, "HTTP/1.1 204 No Content\r\n"},
    {304, "HTTP/1.1 304 Not Modified\r\n"},
    {307, "HTTP/1.1 307 Temporary Redirect\r\n"},
    {308, "HTTP/1.1 308 Permanent Redirect\r\n"},
    {400, "HTTP/1.1 400 Bad Request\r\n"},
    {401, "HTTP/1.1 401 Unauthorized\r\n"},
    {403, "HTTP/1.1 403 Forbidden\r\n"},
    {404, "HTTP/1.1 404 Not Found\r\n"},
    {405, "HTTP/1.1 405 Method Not Allowed\r\n"},
    {406, "HTTP/1.1 406 Not Acceptable\r\n"},
    {408, "HTTP/1.1 408 Request Timeout\r\n"},
    {409, "HTTP/1.1 409 Conflict\r\n"},
    {413, "HTTP/1.1 413 Content Too Large\r\n"},
    {414, "HTTP/1.1 414 URI Too Long\r\n"},
    {415, "HTTP/1.1 415 Unsupported Media Type\r\n"},
    {417, "HTTP/1.1 417 Expectation Failed\r\n"},
    {421, "HTTP/1.1 421 Misdirected Request\r\n"},
    {422, "HTTP/1.1 422 Unprocessable Content\r\n"},
    {423, "HTTP/1.1 423 Locked\r\n"},
    {429, "HTTP/1.1 429 Too Many Requests\r\n"},
    {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
    {500, "HTTP/1.1 500 Internal Server Error\r\n"},
    {501, "HTTP/1.1 501 Not Implemented\r\n"},
    {502, "HTTP/1.1 502 Bad Gateway\r\n"},
    {503, "HTTP/1.1 503 Service Unavailable\r\n"},
    {504, "HTTP/1.1 504 Gateway Timeout\r\n"},
    {505, "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
};
static_assert(std::is_sorted(std::begin(kStatusLines), std::end(kStatusLines),
                             [](const StatusLine& a, const StatusLine& b) { return a.status < b.status; }));

constexpr size_t kStatusPrefix = std::string_view("HTTP/1.1 200 ").size();

// Empty when the status is not in the table.
std::string_view find_status_line(int status) {
  if (status == 200) {
    return kStatusLines[0].line;
  }
  const auto* found = std::lower_bound(std::begin(kStatusLines), std::end(kStatusLines), status,
                                       [](const StatusLine& entry, int wanted) { return entry.status < wanted; });
  return found != std::end(kStatusLines) && found->status == status ? found->line : std::string_view{};
}

bool is_clean_value(std::string_view value) {
  const char* const begin = value.data();
  const char* const end = begin + value.size();
  return find_control(begin, end) == end;
}

bool is_clean_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), is_token_char);
}

char* put(char* out, std::string_view text) {
  return out + text.copy(out, text.size());  // not memcpy: an empty text may point nowhere
}

char* put_header(char* out, std::string_view name_colon, std::string_view value) {
  if (value.empty() || !is_clean_value(value)) {
    return out;
  }
  out = put(out, name_colon);
  out = put(out, value);
  return put(out, "\r\n");
}

char* put_decimal(char* out, uint64_t value) { return std::to_chars(out, out + 20, value).ptr; }

char* put_two(char* out, int value) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
  return out + 2;
}

bool has_content_length(int status) { return status != 204 && status != 304; }

// All constant text of a head together, rounded up.
constexpr size_t kFixedHeadBytes = 768;
static_assert(kSecurityHeaders.size() + kStrictTransport.size() + 256 < kFixedHeadBytes);

size_t head_bound(const ResponseHead& head) {
  size_t bound = kFixedHeadBytes + head.request_id.size() + head.date.size() + head.content_type.size() +
                 head.content_security_policy.size() + head.cors_lines.size() + head.lines.size();
  for (const HeaderField& field : head.extra) {
    bound += field.name.size() + field.value.size() + 4;
  }
  return bound;
}

char* put_head(char* out, const ResponseHead& head, size_t content_length) {
  if (const std::string_view line = find_status_line(head.status); !line.empty()) {
    out = put(out, line);
  } else {
    out = put(out, "HTTP/1.1 ");
    out = put_decimal(out, static_cast<uint64_t>(head.status));
    out = put(out, " \r\n");
  }
  out = put_header(out, "Date: ", head.date);
  out = put_header(out, "X-Request-ID: ", head.request_id);
  out = put(out, kSecurityHeaders);
  const bool own_policy = !head.content_security_policy.empty() && is_clean_value(head.content_security_policy);
  out = put(out, own_policy ? head.content_security_policy : kDefaultPolicy);
  out = put(out, "\r\n");
  if (head.strict_transport) {
    out = put(out, kStrictTransport);
  }
  if (head.no_store) {
    out = put(out, "Cache-Control: no-store\r\n");
  }
  if (!head.keep_alive) {
    out = put(out, "Connection: close\r\n");
  } else if (head.http_minor == 0) {
    out = put(out, "Connection: keep-alive\r\n");
  }
  for (const HeaderField& field : head.extra) {
    if (is_clean_name(field.name) && is_clean_value(field.value)) {
      out = put(out, field.name);
      out = put(out, ": ");
      out = put(out, field.value);
      out = put(out, "\r\n");
    }
  }
  out = put(out, head.cors_lines);
  out = put(out, head.lines);
  out = put_header(out, "Content-Type: ", head.content_type);
  if (has_content_length(head.status)) {
    out = put(out, "Content-Length: ");
    out = put_decimal(out, content_length);
    out = put(out, "\r\n");
  }
  return put(out, "\r\n");
}

void check_head(const ResponseHead& head) {
  CHECK(head.status >= 200, "not the status of a final response");
  CHECK(head.status <= 999, "not the status of a final response");
}

}  // namespace

void append_response(ByteBuffer& out, const ResponseHead& head, std::string_view body) {
  check_head(head);
  char* begin = out.prepare(head_bound(head) + body.size());
  char* end = put_head(begin, head, body.size());
  if (!body.empty() && !head.head_only && has_content_length(head.status)) {
    end = put(end, body);
  }
  out.commit(static_cast<size_t>(end - begin));
}

void append_response_head(ByteBuffer& out, const ResponseHead& head, size_t content_length) {
  check_head(head);
  char* begin = out.prepare(head_bound(head));
  out.commit(static_cast<size_t>(put_head(begin, head, content_length) - begin));
}

void append_continue(ByteBuffer& out) { out.append("HTTP/1.1 100 Continue\r\n\r\n"); }

std::string_view reason_phrase(int status) {
  std::string_view line = find_status_line(status);
  if (line.empty()) {
    return line;
  }
  line.remove_prefix(kStatusPrefix);
  line.remove_suffix(2);
  return line;
}

// Days to a date by eras of 400 years that begin on the first of March, so that the leap day is the last of its year
// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
void format_http_date(int64_t unix_seconds, char* out) {
  constexpr int64_t kYear0 = -62167219200;     // 0000-01-01T00:00:00Z
  constexpr int64_t kYear9999 = 253402300799;  // 9999-12-31T23:59:59Z
  const int64_t seconds = std::clamp(unix_seconds, kYear0, kYear9999);

  constexpr int64_t kDay = 86400;
  int64_t days = seconds / kDay;
  int64_t second_of_day = seconds % kDay;
  if (second_of_day < 0) {
    second_of_day += kDay;
    --days;
  }
  const int64_t shifted = days + 719468;  // since 0000-03-01
  const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const int64_t day_of_era = shifted - era * 146097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  const int64_t weekday = ((days % 7) + 11) % 7;  // 1970-01-01 was a Thursday; 0 is Sunday

  constexpr std::string_view kWeekdays = "SunMonTueWedThuFriSat";
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  out = put(out, kWeekdays.substr(static_cast<size_t>(weekday) * 3, 3));
  out = put(out, ", ");
  out = put_two(out, static_cast<int>(day));
  *out++ = ' ';
  out = put(out, kMonths.substr(static_cast<size_t>(month - 1) * 3, 3));
  *out++ = ' ';
  out = put_two(out, static_cast<int>(year / 100));
  out = put_two(out, static_cast<int>(year % 100));
  *out++ = ' ';
  out = put_two(out, static_cast<int>(second_of_day / 3600));
  *out++ = ':';
  out = put_two(out, static_cast<int>(second_of_day / 60 % 60));
  *out++ = ':';
  out = put_two(out, static_cast<int>(second_of_day % 60));
  put(out, " GMT");
}

}  // namespace txn
