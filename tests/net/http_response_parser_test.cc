// Responses as bytes, whole and cut at every place: the outcome must not depend on how they come in.
#include "net/http_response_parser.h"

#include <gtest/gtest.h>

#include <string>

namespace txn {
namespace {

using Status = HttpResponseParser::Status;

std::string outcome_of(HttpResponseParser& parser, Status status) {
  switch (status) {
    case Status::kNeedMore:
      return "more";
    case Status::kMalformed:
      return "malformed";
    case Status::kTooLarge:
      return "too large";
    case Status::kComplete:
      return std::to_string(parser.status_code()) + " " + parser.body();
  }
  return "";
}

// Fed in pieces of `step` bytes, then ended when that is needed to know.
std::string parse(const std::string& bytes, size_t step, HttpResponseLimits limits = {}) {
  HttpResponseParser parser(limits);
  Status status = Status::kNeedMore;
  for (size_t at = 0; at < bytes.size() && status == Status::kNeedMore; at += step)
    status = parser.feed({bytes.data() + at, std::min(step, bytes.size() - at)});
  if (status == Status::kNeedMore) status = parser.end_of_stream();
  return outcome_of(parser, status);
}

struct Example {
  const char* name;
  std::string bytes;
  std::string outcome;
};

class Response : public testing::TestWithParam<Example> {};

TEST_P(Response, IsTheSameHoweverItIsCut) {
  const Example& example = GetParam();
  for (size_t step = 1; step <= example.bytes.size(); ++step)
    ASSERT_EQ(parse(example.bytes, step), example.outcome) << "in steps of " << step;
}

INSTANTIATE_TEST_SUITE_P(
    All, Response,
    testing::Values(
        Example{"Length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok"},
        Example{"NoBody", "HTTP/1.1 204 No Content\r\n\r\n", "204 "},
        Example{"ToTheEnd", "HTTP/1.1 200 OK\r\n\r\nall there is", "200 all there is"},
        Example{"Old", "HTTP/1.0 500 Oh\r\n\r\nno", "500 no"},
        Example{"NoReason", "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", "503 "},
        Example{"Chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                "200 abcde"},
        Example{"Interim", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny",
                "200 y"},
        Example{"MoreBehind", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nyHTTP/1.1 500 Not looked at", "200 y"},
        Example{"Switch", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "malformed"},
        Example{"CutInTheHead", "HTTP/1.1 200 OK\r\nContent-Le", "malformed"},
        Example{"CutInTheBody", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "malformed"},
        Example{"CutInTheChunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "malformed"},
        Example{"Garbage", "SSH-2.0-OpenSSH_9.2\r\n", "malformed"},
        Example{"Request", "GET / HTTP/1.1\r\n\r\n", "malformed"},
        Example{"Version2", "HTTP/2.0 200 OK\r\n\r\n", "malformed"},
        Example{"StatusTooLow", "HTTP/1.1 099 Odd\r\n\r\n", "malformed"},
        Example{"TwoLengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "malformed"},
        Example{"NulByte", std::string("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 27), "malformed"}),
    [](const auto& example) { return example.param.name; });

TEST(ResponseBounds, TheHeadMayBeThatLongAndNoLonger) {
  const std::string end = "\r\nContent-Length: 0\r\n\r\n";
  const std::string begin = "HTTP/1.1 200 OK\r\nX: ";
  const HttpResponseLimits limits{.head_bytes = 1024, .body_bytes = 16};
  const size_t room = limits.head_bytes - begin.size() - end.size();
  for (const size_t step : {size_t{1}, size_t{7}, size_t{4096}}) {
    EXPECT_EQ(parse(begin + std::string(room, 'x') + end, step, limits), "200 ");
    EXPECT_EQ(parse(begin + std::string(room + 1, 'x') + end, step, limits), "too large");
  }
}

TEST(ResponseBounds, InterimResponsesCountAsHead) {
  std::string bytes;
  while (bytes.size() <= HttpResponseLimits{}.head_bytes) bytes += "HTTP/1.1 102 Processing\r\n\r\n";
  EXPECT_EQ(parse(bytes + "HTTP/1.1 200 OK\r\n\r\n", 4096), "too large");
}

TEST(ResponseBounds, TheBodyMayBeThatLongAndNoLonger) {
  const HttpResponseLimits limits{.head_bytes = 1024, .body_bytes = 10};
  for (const size_t step : {size_t{1}, size_t{4096}}) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", step, limits), "200 0123456789");
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789a", step, limits), "too large");
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\n\r\n0123456789a", step, limits), "too large");
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n", step, limits),
              "too large");
  }
}

TEST(ResponseBounds, ChunkExtensionsAndTrailersAreNotForEver) {
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const HttpResponseLimits limits{.head_bytes = 128, .body_bytes = 16};
  const std::string much(kResponseFramingMaxBytes + 1024, 'e');  // complete only in a later piece
  EXPECT_EQ(parse(head + "1;" + much + "\r\na\r\n0\r\n\r\n", 100, limits), "too large");
  EXPECT_EQ(parse(head + "1\r\na\r\n0\r\nX: " + much + "\r\n\r\n", 100, limits), "too large");
}

}  // namespace
}  // namespace txn
