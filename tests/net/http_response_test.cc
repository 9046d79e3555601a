#include "net/http_response.h"

#include <gtest/gtest.h>

#include <ctime>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace txn {
namespace {

constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";

std::string render(const ResponseHead& head, std::string_view body) {
  ByteBuffer out;
  append_response(out, head, body);
  return std::string(out.view());
}

// What every answer carries, up to the end of the policy.
std::string six_headers(std::string_view policy = "default-src 'self'") {
  return "X-Content-Type-Options: nosniff\r\n"
         "X-Frame-Options: DENY\r\n"
         "X-XSS-Protection: 1; mode=block\r\n"
         "Referrer-Policy: strict-origin-when-cross-origin\r\n"
         "Permissions-Policy: accelerometer=(), microphone=(), camera=()\r\n"
         "Content-Security-Policy: " +
         std::string(policy) + "\r\n";
}

TEST(HttpResponse, Ok) {
  ResponseHead head;
  head.request_id = "r-1";
  head.date = kDate;
  head.content_type = "application/json";
  EXPECT_EQ(render(head, "{\"a\":1}"),
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Request-ID: r-1\r\n" + six_headers() +
                "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
}

TEST(HttpResponse, ExtraHeadersAndClose) {
  const std::vector<HeaderField> extra = {{"Allow", "GET, HEAD"}, {"Retry-After", "3"}};
  ResponseHead head;
  head.status = 405;
  head.keep_alive = false;
  head.strict_transport = true;
  head.extra = extra;
  EXPECT_EQ(render(head, ""),
            "HTTP/1.1 405 Method Not Allowed\r\n" + six_headers() +
                "Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n"
                "Connection: close\r\nAllow: GET, HEAD\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n");
}

TEST(HttpResponse, OneZeroKeepAliveIsSaid) {
  ResponseHead head;
  head.http_minor = 0;
  EXPECT_EQ(render(head, "x"),
            "HTTP/1.1 200 OK\r\n" + six_headers() + "Connection: keep-alive\r\nContent-Length: 1\r\n\r\nx");
  head.keep_alive = false;
  EXPECT_EQ(render(head, "x"),
            "HTTP/1.1 200 OK\r\n" + six_headers() + "Connection: close\r\nContent-Length: 1\r\n\r\nx");
}

TEST(HttpResponse, HeadHasTheLengthButNotTheBody) {
  ResponseHead head;
  head.head_only = true;
  head.content_type = "text/plain";
  EXPECT_EQ(render(head, "12345"),
            "HTTP/1.1 200 OK\r\n" + six_headers() + "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
}

TEST(HttpResponse, NoContentAndNotModifiedHaveNeitherLengthNorBody) {
  ResponseHead head;
  head.status = 204;
  EXPECT_EQ(render(head, "12345"), "HTTP/1.1 204 No Content\r\n" + six_headers() + "\r\n");
  head.status = 304;
  EXPECT_EQ(render(head, "12345"), "HTTP/1.1 304 Not Modified\r\n" + six_headers() + "\r\n");
}

TEST(HttpResponse, OtherPolicyAndUnknownStatus) {
  ResponseHead head;
  head.status = 299;
  head.content_security_policy = "default-src 'self' 'unsafe-inline'";
  EXPECT_EQ(render(head, ""),
            "HTTP/1.1 299 \r\n" + six_headers("default-src 'self' 'unsafe-inline'") + "Content-Length: 0\r\n\r\n");
}

// Nothing from outside may end a line early, wherever it is put.
TEST(HttpResponse, ValuesThatWouldSplitTheResponseAreLeftOut) {
  const std::string evil = "x\r\nSet-Cookie: a=b";
  const std::vector<HeaderField> extra = {
      {"A", evil},      {"B", "lf\nonly"}, {"C", std::string_view("n\0l", 3)}, {"D\r\nE", "value"}, {"", "value"},
      {"F G", "value"}, {"H", "\x7f"},     {"Good", "\xc3\xa4 fine"}};
  ResponseHead head;
  head.request_id = evil;
  head.date = evil;
  head.content_type = evil;
  head.content_security_policy = evil;
  head.extra = extra;
  EXPECT_EQ(render(head, ""),
            "HTTP/1.1 200 OK\r\n" + six_headers() + "Good: \xc3\xa4 fine\r\nContent-Length: 0\r\n\r\n");
}

TEST(HttpResponse, ResponsesFollowOneAnotherInOneBuffer) {
  ByteBuffer out;
  ResponseHead head;
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    const std::string body(static_cast<size_t>(i) * 10, 'b');
    append_response(out, head, body);
    expected += render(head, body);
  }
  append_continue(out);
  append_response_head(out, head, 1'000'000);
  expected += "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + six_headers() + "Content-Length: 1000000\r\n\r\n";
  EXPECT_EQ(out.view(), expected);
}

TEST(HttpResponse, AClearedBufferIsUsedAgain) {
  ByteBuffer out;
  ResponseHead head;
  append_response(out, head, "hello");
  const char* data = out.data();
  const size_t capacity = out.capacity();
  for (int i = 0; i < 100; ++i) {
    out.clear();
    append_response(out, head, "hello");
    ASSERT_EQ(out.data(), data);
    ASSERT_EQ(out.capacity(), capacity);
  }
}

TEST(HttpResponse, ReasonPhrases) {
  // Every status of the contract has one.
  for (int status :
       {200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 417, 422, 423, 429, 431, 500, 501, 503, 504, 505}) {
    EXPECT_NE(reason_phrase(status), "") << status;
    ResponseHead head;
    head.status = status;
    const std::string line = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_phrase(status)) + "\r\n";
    EXPECT_EQ(render(head, "").substr(0, line.size()), line);
  }
  EXPECT_EQ(reason_phrase(422), "Unprocessable Content");
  EXPECT_EQ(reason_phrase(299), "");
}

TEST(HttpResponseDeathTest, OnlyFinalStatuses) {
  ResponseHead head;
  head.status = 100;
  EXPECT_DEATH(render(head, ""), "status of a final response");
}

std::string date_of(int64_t seconds) {
  std::string text(kHttpDateSize, '?');
  format_http_date(seconds, text.data());
  return text;
}

TEST(HttpDate, Examples) {
  EXPECT_EQ(date_of(784111777), kDate);
  EXPECT_EQ(date_of(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(date_of(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
  EXPECT_EQ(date_of(951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(date_of(4107542400), "Mon, 01 Mar 2100 00:00:00 GMT");
  EXPECT_EQ(date_of(std::numeric_limits<int64_t>::max()), "Fri, 31 Dec 9999 23:59:59 GMT");
  EXPECT_EQ(date_of(std::numeric_limits<int64_t>::min()), "Sat, 01 Jan 0000 00:00:00 GMT");
}

TEST(HttpDate, AgreesWithTheCLibrary) {
  std::mt19937_64 random(301);  // NOLINT(cert-msc51-cpp): a failure must come again
  std::uniform_int_distribution<int64_t> seconds(-62167219200, 253402300799);
  for (int i = 0; i < 100'000; ++i) {
    const time_t at = seconds(random);
    struct tm parts;
    ASSERT_NE(gmtime_r(&at, &parts), nullptr);
    char day[16];
    char month[8];
    char rest[40];
    strftime(day, sizeof day, "%a, %d ", &parts);
    strftime(month, sizeof month, "%b", &parts);
    // %Y does not pad to four digits.
    snprintf(rest, sizeof rest, " %04d %02d:%02d:%02d GMT", parts.tm_year + 1900, parts.tm_hour, parts.tm_min,
             parts.tm_sec);
    ASSERT_EQ(date_of(at), std::string(day) + month + rest) << at;
  }
}

TEST(ByteBuffer, KeepsContentWhenGrowingAndMoving) {
  ByteBuffer buffer;
  EXPECT_EQ(buffer.view(), "");
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece = std::to_string(i);
    buffer.append(piece);
    expected += piece;
  }
  EXPECT_EQ(buffer.view(), expected);
  buffer.keep(100, 50);
  EXPECT_EQ(buffer.view(), expected.substr(100, 50));
  ByteBuffer moved = std::move(buffer);
  EXPECT_EQ(moved.view(), expected.substr(100, 50));
  EXPECT_EQ(buffer.size(), 0U);  // NOLINT(bugprone-use-after-move): what moving leaves behind is promised
  buffer = std::move(moved);
  EXPECT_EQ(buffer.view(), expected.substr(100, 50));
  buffer.keep(0, 0);
  EXPECT_TRUE(buffer.empty());
  EXPECT_GT(buffer.capacity(), 0U);
  buffer.release();
  EXPECT_EQ(buffer.capacity(), 0U);
}

TEST(ByteBuffer, PaddingBehindTheCapacityIsReadable) {
  ByteBuffer buffer;
  buffer.reserve(100);
  while (buffer.size() < buffer.capacity()) {
    buffer.append("x");
  }
  volatile char last = 0;
  for (size_t i = 0; i < ByteBuffer::kPadding; ++i) {
    last = buffer.data()[buffer.size() + i];
  }
  static_cast<void>(last);
}

}  // namespace
}  // namespace txn
