#include "net/http_parser.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/read_fragmenter.h"

namespace txn {
namespace {

using test::for_each_fragmentation;
using test::Pieces;
using Status = HttpParser::Status;
using Phase = HttpParser::Phase;

std::string number(size_t value) { return std::to_string(value); }

// Long bodies and values are told by size and a sum.
std::string shorten(std::string_view text) {
  if (text.size() <= 100) {
    return std::string(text);
  }
  size_t sum = 0;
  for (char c : text) {
    sum = sum * 31 + static_cast<unsigned char>(c);
  }
  return "(" + number(text.size()) + " bytes, " + number(sum) + ")";
}

std::string_view form_name(TargetForm form) {
  switch (form) {
    case TargetForm::kOrigin:
      return "";
    case TargetForm::kAbsolute:
      return " absolute";
    case TargetForm::kAsterisk:
      return " asterisk";
    case TargetForm::kAuthority:
      return " authority";
  }
  return " ?";
}

std::string describe_head(const HttpRequest& request) {
  std::string text = std::string(to_string(request.method)) + (request.is_known_method ? " " : " unknown ");
  text += shorten(request.path);
  if (!request.query.empty()) {
    text += " ?" + shorten(request.query);
  }
  text += form_name(request.target_form);
  text += " 1." + number(request.http_minor) + (request.keep_alive ? " keep" : " close");
  text += request.expect_continue ? " expect" : "";
  for (size_t i = 0; i < request.header_count() && i < 3; ++i) {
    const HeaderField field = request.header(i);
    text += " [" + shorten(field.name) + "=" + shorten(field.value) + "]";
  }
  if (request.header_count() > 3) {
    text += " +" + number(request.header_count() - 3);
  }
  return text;
}

std::string describe(const HttpRequest& request) {
  return describe_head(request) + (request.body.empty() ? "" : " {" + shorten(request.body) + "}") + "\n";
}

enum class Borrow { kKeepChunk, kDetach };

// What a connection would see. Each piece gets memory of exactly its size, freed as soon as the parser's contract
// allows, so that AddressSanitizer catches a view that outlives it.
std::string transcript(const Pieces& pieces, Borrow borrow = Borrow::kKeepChunk) {
  HttpParser parser;
  std::string text;
  for (std::string_view piece : pieces) {
    auto chunk = std::make_unique_for_overwrite<char[]>(piece.size());
    std::memcpy(chunk.get(), piece.data(), piece.size());
    Status status = parser.feed({chunk.get(), piece.size()});
    while (status == Status::kRequest) {
      if (borrow == Borrow::kDetach) {
        parser.detach();
        chunk.reset();
      }
      EXPECT_EQ(parser.phase(), Phase::kComplete);
      HttpRequest copy;
      ByteBuffer storage;
      parser.request().copy_to(copy, storage);
      EXPECT_EQ(describe(copy), describe(parser.request()));
      text += describe(parser.request());
      status = parser.next();
    }
    if (status == Status::kError) {
      EXPECT_EQ(parser.phase(), Phase::kFailed);
      if (borrow == Borrow::kDetach) {
        parser.detach();
        chunk.reset();
      }
      text += "error " + number(static_cast<size_t>(http_status(parser.error()))) + ": " + parser.error_reason();
      if (parser.headers_complete()) {
        text += " after " + describe_head(parser.request());
      }
      return text + "\n";
    }
    EXPECT_EQ(parser.unparsed_bytes(), 0U);
  }
  switch (parser.phase()) {
    case Phase::kIdle:
      return text;
    case Phase::kHead:
      return text + "(head)\n";
    case Phase::kBody:
      return text + "(body) " + describe_head(parser.request()) + "\n";
    default:
      return text + "?\n";
  }
}

// The same however it is cut.
void expect_transcript(std::string_view bytes, const std::string& expected) {
  ASSERT_EQ(transcript({bytes}), expected);
  for_each_fragmentation(bytes, [&](const Pieces& pieces, const std::string& how) {
    ASSERT_EQ(transcript(pieces), expected) << how;
    ASSERT_EQ(transcript(pieces, Borrow::kDetach), expected) << how << ", detached";
  });
}

// The beginning of a transcript's last line, whatever the cut.
void expect_error(std::string_view bytes, int status) {
  const std::string whole = transcript({bytes});
  ASSERT_NE(whole.find("error " + number(static_cast<size_t>(status)) + ":"), std::string::npos) << whole;
  expect_transcript(bytes, whole);
}

struct Example {
  const char* name;
  std::string bytes;
  std::string expected;
};

class Valid : public testing::TestWithParam<Example> {};

TEST_P(Valid, IsReadTheSameHoweverItIsCut) { expect_transcript(GetParam().bytes, GetParam().expected); }

std::string example_name(const testing::TestParamInfo<Example>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(
    HttpParser, Valid,
    testing::Values(
        Example{"Get", "GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "GET /health 1.1 keep [Host=a]\n"},
        Example{"Query", "GET /a/b?x=1&y=%20? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a/b ?x=1&y=%20? 1.1 keep [Host=a]\n"},
        Example{"EmptyQuery", "GET /a? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a 1.1 keep [Host=a]\n"},
        Example{"Post", "POST /d HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
                "POST /d 1.1 keep [Host=a:80] [Content-Length=5] {hello}\n"},
        Example{"EmptyBody", "POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                "POST /d 1.1 keep [Host=a] [Content-Length=0]\n"},
        Example{"LeadingZeros",
                "POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000000000000000000000000003\r\n\r\nabc",
                "POST /d 1.1 keep [Host=a] [Content-Length=0000000000000000000000000000003] {abc}\n"},
        Example{"GetWithBody", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
                "GET / 1.1 keep [Host=a] [Content-Length=1] {x}\n"},
        Example{
            "AllMethods",
            "HEAD / HTTP/1.1\r\nHost:a\r\n\r\nPUT / HTTP/1.1\r\nHost:a\r\n\r\nDELETE / HTTP/1.1\r\nHost:a\r\n\r\n"
            "OPTIONS / HTTP/1.1\r\nHost:a\r\n\r\nPATCH / HTTP/1.1\r\nHost:a\r\n\r\nTRACE / HTTP/1.1\r\nHost:a\r\n\r\n"
            "LOCK / HTTP/1.1\r\nHost:a\r\n\r\n",
            "HEAD / 1.1 keep [Host=a]\nPUT / 1.1 keep [Host=a]\nDELETE / 1.1 keep [Host=a]\n"
            "OPTIONS / 1.1 keep [Host=a]\nPATCH / 1.1 keep [Host=a]\nOTHER / 1.1 keep [Host=a]\n"
            "OTHER / 1.1 keep [Host=a]\n"},
        Example{"Blanks", "GET / HTTP/1.1\r\nHost:a\r\nX: \t b c \t \r\nEmpty:\r\nBlank:   \r\n\r\n",
                "GET / 1.1 keep [Host=a] [X=b c] [Empty=] +1\n"},
        Example{"TabInValue", "GET / HTTP/1.1\r\nHost: a\r\nX: b\tc\r\n\r\n", "GET / 1.1 keep [Host=a] [X=b\tc]\n"},
        Example{"HighBytesInValue", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\xff\r\n\r\n",
                "GET / 1.1 keep [Host=a] [X=\xc3\xa4\xff]\n"},
        Example{"EmptyHost", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / 1.1 keep [Host=]\n"},
        Example{"Ipv6Host", "GET / HTTP/1.1\r\nHost: [::1]:8002\r\n\r\n", "GET / 1.1 keep [Host=[::1]:8002]\n"},
        Example{"AbsoluteForm", "GET http://a:1/p?q HTTP/1.1\r\nHost: a:1\r\n\r\n",
                "GET /p ?q absolute 1.1 keep [Host=a:1]\n"},
        Example{"AbsoluteFormNoPath", "GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET / absolute 1.1 keep [Host=a]\n"},
        Example{"AbsoluteFormQueryOnly", "GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET / ?q absolute 1.1 keep [Host=a]\n"},
        Example{"Asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * asterisk 1.1 keep [Host=a]\n"},
        Example{"ConnectThenNext", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "OTHER a:443 authority 1.1 keep [Host=a]\nGET / 1.1 keep [Host=a]\n"},
        Example{"ConnectChunked",
                "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "OTHER a:443 authority 1.1 keep [Host=a] [Transfer-Encoding=chunked] {x}\nGET / 1.1 keep [Host=a]\n"},
        Example{"UpgradeIsIgnored",
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nGET /2 HTTP/1.1\r\nHost: "
                "a\r\n\r\n",
                "GET / 1.1 keep [Host=a] [Upgrade=h2c] [Connection=upgrade]\nGET /2 1.1 keep [Host=a]\n"},
        Example{"UpgradeWithBodies",
                "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nab"
                "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n"
                "2\r\ncd\r\n0\r\n\r\n",
                "POST / 1.1 keep [Host=a] [Upgrade=x] [Connection=upgrade] +1 {ab}\n"
                "POST / 1.1 keep [Host=a] [Upgrade=x] [Connection=upgrade] +1 {cd}\n"},
        Example{"Close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                "GET / 1.1 close [Host=a] [Connection=close]\n"},
        Example{"CloseInList", "GET / HTTP/1.1\r\nHost: a\r\nConnection: foo , Close,\r\n\r\n",
                "GET / 1.1 close [Host=a] [Connection=foo , Close,]\n"},
        Example{"CloseInSecondField",
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
                "GET / 1.1 close [Host=a] [Connection=keep-alive] [Connection=close]\n"},
        Example{"CloseOnlyAsWord", "GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n",
                "GET / 1.1 keep [Host=a] [Connection=closed]\n"},
        // What follows "close" is parsed as any other request; whether to look at it is the connection's business.
        Example{"OneZero", "GET / HTTP/1.0\r\n\r\n", "GET / 1.0 close\n"},
        Example{"OneZeroKeepAlive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
                "GET / 1.0 keep [Connection=Keep-Alive]\nGET / 1.0 close\n"},
        Example{"OneZeroBoth", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
                "GET / 1.0 close [Connection=keep-alive, close]\n"},
        Example{"OneZeroExpectIgnored", "POST / HTTP/1.0\r\nExpect: tea\r\nContent-Length: 1\r\n\r\nx",
                "POST / 1.0 close [Expect=tea] [Content-Length=1] {x}\n"},
        Example{"Expect", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
                "POST / 1.1 keep expect [Host=a] [Expect=100-Continue] [Content-Length=1] {x}\n"},
        Example{"LeadingEmptyLine", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET / 1.1 keep [Host=a]\nGET / 1.1 keep [Host=a]\n"},
        Example{
            "Chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
            "POST / 1.1 keep [Host=a] [Transfer-Encoding=CHUNKED] {hello world}\n"},
        Example{"ChunkedHexAndExtensions",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                "chunked\r\n\r\n00A;x=y\r\n0123456789\r\n1;q=\"v\";z\r\nx\r\n"
                "000;end\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked] {0123456789x}\nGET / 1.1 keep [Host=a]\n"},
        Example{"SeveralChunkExtensions",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                "1;a\r\nv\r\n1;a=b;c=d\r\nw\r\n1;a;b=c;d\r\nx\r\n1;a=\"b; \t\\\" =c\";d;e=f\r\ny\r\n"
                "1;a=\"\"\r\nz\r\n0;a=b;c\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked] {vwxyz}\nGET / 1.1 keep [Host=a]\n"},
        Example{"TabBehindTheLength", "POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\t\r\n\r\nhello",
                "POST /d 1.1 keep [Host=a] [Content-Length=5] {hello}\n"},
        Example{"BlanksAroundTheLength", "POST /d HTTP/1.1\r\nHost: a\r\nContent-Length:\t 5 \t \r\n\r\nhello",
                "POST /d 1.1 keep [Host=a] [Content-Length=5] {hello}\n"},
        Example{"TabBehindTheCoding",
                "POST /d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\t\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                "POST /d 1.1 keep [Host=a] [Transfer-Encoding=chunked] {x}\n"},
        Example{"LaterMinorVersionsAre11",
                "GET /a HTTP/1.2\r\nHost: a\r\n\r\nPOST /b HTTP/1.9\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                "1\r\nx\r\n0\r\n\r\n",
                "GET /a 1.1 keep [Host=a]\nPOST /b 1.1 keep [Host=a] [Transfer-Encoding=chunked] {x}\n"},
        Example{"UnknownMethods",
                "QUERY /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxget /b HTTP/1.1\r\nHost: a\r\n\r\n"
                "GETX /c HTTP/1.1\r\nHost: a\r\n\r\n!#$%&'*+-.^_`|~09 /d HTTP/1.1\r\nHost: a\r\n\r\n",
                "OTHER unknown /a 1.1 keep [Host=a] [Content-Length=1] {x}\nOTHER unknown /b 1.1 keep [Host=a]\n"
                "OTHER unknown /c 1.1 keep [Host=a]\nOTHER unknown /d 1.1 keep [Host=a]\n"},
        Example{"EmptyExpectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect:\r\nContent-Length: 1\r\n\r\nx",
                "POST / 1.1 keep [Host=a] [Expect=] [Content-Length=1] {x}\n"},
        Example{"ExpectationInAListWithEmptyElements",
                "POST / HTTP/1.1\r\nHost: a\r\nExpect: ,100-continue , ,\r\nContent-Length: 1\r\n\r\nx",
                "POST / 1.1 keep expect [Host=a] [Expect=,100-continue , ,] [Content-Length=1] {x}\n"},
        Example{"ExpectationInSeveralFields",
                "POST / HTTP/1.1\r\nHost: a\r\nExpect: \r\nExpect: 100-continue\r\nExpect: "
                "100-CONTINUE\r\nContent-Length: 1\r\n\r\nx",
                "POST / 1.1 keep expect [Host=a] [Expect=] [Expect=100-continue] +2 {x}\n"},
        Example{"Hosts",
                "GET /a HTTP/1.1\r\nHost: a-b.example:65535\r\n\r\nGET /b HTTP/1.1\r\nHost: 127.0.0.1:\r\n\r\n"
                "GET /c HTTP/1.1\r\nHost: [2001:db8::7.8.9.10]\r\n\r\nGET /d HTTP/1.1\r\nHost: a_b%C3%A9\r\n\r\n",
                "GET /a 1.1 keep [Host=a-b.example:65535]\nGET /b 1.1 keep [Host=127.0.0.1:]\n"
                "GET /c 1.1 keep [Host=[2001:db8::7.8.9.10]]\nGET /d 1.1 keep [Host=a_b%C3%A9]\n"},
        Example{"ChunkedEmpty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked]\n"},
        Example{"TrailersAreDiscarded",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nDigest: abc\r\nX: "
                "\r\nContent-Lengthy: 5\r\n\r\n"
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked] {x}\nGET / 1.1 keep [Host=a]\n"},
        Example{"BodyLooksLikeARequest",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\nGET /x HTTP/1.1\r\n\nGET /y HTTP/1.1\r\nHost: "
                "a\r\n\r\n",
                "POST / 1.1 keep [Host=a] [Content-Length=18] {GET /x HTTP/1.1\r\n\n}\nGET /y 1.1 keep [Host=a]\n"},
        Example{"Unfinished", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
                "(body) POST / 1.1 keep [Host=a] [Content-Length=5]\n"},
        Example{"UnfinishedHead", "POST / HTTP/1.1\r\nHost: a", "(head)\n"},
        Example{"RepeatedHarmlessField", "GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nAccept: y\r\n\r\n",
                "GET / 1.1 keep [Host=a] [Accept=x] [Accept=y]\n"}),
    example_name);

struct Refused {
  const char* name;
  std::string bytes;
  int status;
};

class Invalid : public testing::TestWithParam<Refused> {};

TEST_P(Invalid, IsRefusedTheSameHoweverItIsCut) { expect_error(GetParam().bytes, GetParam().status); }

std::string refused_name(const testing::TestParamInfo<Refused>& info) { return info.param.name; }

// A request with one more header line, and a body that would pass.
std::string with(std::string_view header_line) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(header_line) + "\r\n\r\nhello";
}

std::string with_line(std::string_view request_line) { return std::string(request_line) + "\r\nHost: a\r\n\r\n"; }

std::string chunked(std::string_view body) {
  return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(body);
}

std::string with_nul(std::string_view before, std::string_view after) {
  return std::string(before) + std::string(1, '\0') + std::string(after);
}

INSTANTIATE_TEST_SUITE_P(
    Framing, Invalid,
    testing::Values(
        Refused{"LengthAndCoding", with("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400},
        Refused{"CodingAndLength", with("Transfer-Encoding: chunked\r\nContent-Length: 5"), 400},
        Refused{"TwoLengths", with("Content-Length: 5\r\nContent-Length: 6"), 400},
        Refused{"TwoEqualLengths", with("Content-Length: 5\r\nContent-Length: 5"), 400},
        Refused{"LengthList", with("Content-Length: 5, 5"), 400},
        Refused{"LengthListNoBlank", with("Content-Length: 5,5"), 400},
        Refused{"LengthPlus", with("Content-Length: +5"), 400}, Refused{"LengthMinus", with("Content-Length: -5"), 400},
        Refused{"LengthHex", with("Content-Length: 0x5"), 400}, Refused{"LengthEmpty", with("Content-Length:"), 400},
        Refused{"LengthBlank", with("Content-Length:   "), 400},
        Refused{"LengthTwoNumbers", with("Content-Length: 5 6"), 400},
        Refused{"LengthFraction", with("Content-Length: 5.0"), 400},
        Refused{"LengthVerticalTab", with("Content-Length: \v5"), 400},
        Refused{"LengthLeadingBlank", "POST / HTTP/1.1\r\n Content-Length: 5\r\nHost: a\r\n\r\nhello", 400},
        Refused{"LengthTooLarge", with("Content-Length: 65537"), 413},
        Refused{"LengthHuge", with("Content-Length: 18446744073709551615"), 413},
        Refused{"LengthOverflow", with("Content-Length: 18446744073709551621"), 413},
        Refused{"LengthHugeOverflow", with("Content-Length: 99999999999999999999999999999999"), 413},
        Refused{"LengthUnderscore", with("Content_Length: 5\r\nContent-Length: 1_0"), 400},
        Refused{"CodingTwice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400},
        Refused{"CodingTwiceInList", with("Transfer-Encoding: chunked, chunked"), 400},
        Refused{"CodingIdentitySecond", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), 400},
        Refused{"CodingNotLast", with("Transfer-Encoding: chunked, gzip"), 400},
        Refused{"CodingWithoutChunked", with("Transfer-Encoding: gzip"), 400},
        Refused{"CodingIdentity", with("Transfer-Encoding: identity"), 400},
        Refused{"CodingXchunked", with("Transfer-Encoding: xchunked"), 400},
        Refused{"CodingChunkedX", with("Transfer-Encoding: chunkedx"), 400},
        Refused{"CodingParameter", with("Transfer-Encoding: chunked;q=1"), 400},
        Refused{"CodingQuoted", with("Transfer-Encoding: \"chunked\""), 400},
        Refused{"CodingEmpty", with("Transfer-Encoding:"), 400},
        Refused{"CodingTrailingComma", with("Transfer-Encoding: chunked,"), 400},
        Refused{"CodingLeadingComma", with("Transfer-Encoding: ,chunked"), 400},
        Refused{"CodingSpaceInside", with("Transfer-Encoding: chun ked"), 400},
        Refused{"CodingVerticalTab", with("Transfer-Encoding: \vchunked"), 400},
        Refused{"CodingBeforeChunked", with("Transfer-Encoding: gzip, chunked"), 501},
        Refused{"CodingInOneZero", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400}),
    refused_name);

INSTANTIATE_TEST_SUITE_P(
    Lines, Invalid,
    testing::Values(
        Refused{"TwoSpacesBeforeTarget", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        Refused{"BareLfRequestLine", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
        Refused{"BareLfHeader", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
        Refused{"BareLfLastHeader", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        Refused{"BareLfEnd", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        Refused{"BareLfEverywhere", "GET / HTTP/1.1\nHost: a\n\n", 400},
        Refused{"BareLfEmptyValue", "GET / HTTP/1.1\r\nHost: a\r\nX:\n\r\n", 400},
        Refused{"BareLfInName", "GET / HTTP/1.1\r\nHost: a\r\nX\n: b\r\n\r\n", 400},
        Refused{"BareLfBeforeRequest", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        Refused{"BareCrInValue", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400},
        Refused{"BareCrBeforeValue", "GET / HTTP/1.1\r\nHost: a\r\nX: \rTransfer-Encoding: chunked\r\n\r\n", 400},
        Refused{"BareCrAfterColon", "GET / HTTP/1.1\r\nHost: a\r\nX:\rb\r\n\r\n", 400},
        Refused{"BareCrRequestLine", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400},
        Refused{"BareCrEnd", "GET / HTTP/1.1\r\nHost: a\r\n\rGET / HTTP/1.1\r\n\r\n", 400},
        Refused{"CrCrLf", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400},
        Refused{"CrBeforeRequest", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        Refused{"TwoEmptyLinesFirst", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        Refused{"EmptyLineThenLf", "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        Refused{"FoldBlank", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400},
        Refused{"FoldTab", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", 400},
        Refused{"FoldAfterEmptyValue", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n c\r\n\r\n", 400},
        Refused{"FoldOfLength", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nhello", 400},
        Refused{"FoldOfCoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
        Refused{"FoldBeforeEnd", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", 400},
        Refused{"BlankBeforeFirstHeader", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
        Refused{"TabBeforeFirstHeader", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", 400},
        Refused{"SpaceBeforeColon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        Refused{"TabBeforeColon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", 400},
        Refused{"LengthSpaceBeforeColon", with("Content-Length : 5"), 400},
        Refused{"CodingSpaceBeforeColon", with("Transfer-Encoding : chunked"), 400},
        Refused{"NoColon", "GET / HTTP/1.1\r\nHost: a\r\nXY\r\n\r\n", 400},
        Refused{"EmptyName", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400},
        Refused{"NameParenthesis", "GET / HTTP/1.1\r\nHost: a\r\nX(Y): b\r\n\r\n", 400},
        Refused{"NameAt", "GET / HTTP/1.1\r\nHost: a\r\nX@Y: b\r\n\r\n", 400},
        Refused{"NameHighByte", "GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa4: b\r\n\r\n", 400},
        Refused{"NameSpace", "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400},
        Refused{"NameNul", with_nul("GET / HTTP/1.1\r\nHost: a\r\nX", "Y: b\r\n\r\n"), 400},
        Refused{"ValueNul", with_nul("GET / HTTP/1.1\r\nHost: a\r\nX: a", "b\r\n\r\n"), 400},
        Refused{"ValueEscape", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x1b[0m\r\n\r\n", 400},
        Refused{"ValueDelete", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", 400},
        Refused{"ValueFormFeed", "GET / HTTP/1.1\r\nHost: a\r\nX: a\f\r\n\r\n", 400}),
    refused_name);

INSTANTIATE_TEST_SUITE_P(
    RequestLine, Invalid,
    testing::Values(
        Refused{"NotHttp", "hello\r\n\r\n", 400}, Refused{"TlsHello", std::string("\x16\x03\x01\x02\x00\x01", 6), 400},
        Refused{"MethodWithParenthesis", with_line("G(T / HTTP/1.1"), 400},
        Refused{"MethodHighByte", with_line("G\xc3T / HTTP/1.1"), 400},
        Refused{"LeadingSpace", with_line(" GET / HTTP/1.1"), 400},
        Refused{"TabSeparators", with_line("GET\t/\tHTTP/1.1"), 400},
        Refused{"WordBeforeVersion", with_line("GET / x HTTP/1.1"), 400},
        Refused{"TwoSpacesBeforeVersion", with_line("GET /  HTTP/1.1"), 400},
        Refused{"ManySpacesBeforeVersion", with_line("POST /api/v1/deposits       HTTP/1.1"), 400},
        Refused{"TabBeforeVersion", with_line("GET / \tHTTP/1.1"), 400},
        Refused{"TwoSpacesBehindAsterisk", with_line("OPTIONS *  HTTP/1.1"), 400},
        Refused{"TwoSpacesBehindAuthority", with_line("CONNECT a:443  HTTP/1.1"), 400},
        Refused{"TwoSpacesBehindUnknownMethod", with_line("FOO  / HTTP/1.1"), 400},
        Refused{"SpaceInTarget", with_line("GET /a b HTTP/1.1"), 400},
        Refused{"TabInTarget", with_line("GET /a\tb HTTP/1.1"), 400},
        Refused{"NulInTarget", with_nul("GET /a", "b HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
        Refused{"DeleteInTarget", with_line("GET /a\x7f HTTP/1.1"), 400},
        Refused{"HighByteInTarget", with_line("GET /\xc3\xa4 HTTP/1.1"), 400},
        Refused{"Fragment", with_line("GET /a#b HTTP/1.1"), 400},
        Refused{"FragmentInQuery", with_line("GET /a?b#c HTTP/1.1"), 400},
        Refused{"NoTarget", with_line("GET HTTP/1.1"), 400},
        Refused{"RelativeTarget", with_line("GET a/b HTTP/1.1"), 400},
        Refused{"AsteriskWithGet", with_line("GET * HTTP/1.1"), 400},
        Refused{"AuthorityWithGet", with_line("GET a:80 HTTP/1.1"), 400},
        Refused{"OtherScheme", with_line("GET ftp://a/b HTTP/1.1"), 400},
        Refused{"SchemeWithoutAuthority", with_line("GET http:///b HTTP/1.1"), 400},
        Refused{"Userinfo", with_line("GET http://u@a/b HTTP/1.1"), 400},
        Refused{"ConnectToPath", with_line("CONNECT /a HTTP/1.1"), 400}, Refused{"Http09", "GET /\r\n\r\n", 400},
        Refused{"Http09OneLine", "GET /\r\n", 400}, Refused{"Http09BareLf", "GET /\n", 400},
        Refused{"ConnectWithoutPort", with_line("CONNECT a HTTP/1.1"), 400},
        Refused{"ConnectToPort0Digits", with_line("CONNECT a: HTTP/1.1"), 400},
        Refused{"TargetPortTooLarge", with_line("GET http://a:65536/b HTTP/1.1"), 400},
        Refused{"TargetBracketOpen", with_line("GET http://[::1/b HTTP/1.1"), 400},
        Refused{"Version09", with_line("GET / HTTP/0.9"), 505}, Refused{"Version20", with_line("GET / HTTP/2.0"), 505},
        Refused{"Version30", with_line("GET / HTTP/3.0"), 505},
        Refused{"VersionTwoDigits", with_line("GET / HTTP/1.10"), 400},
        Refused{"VersionNoDot", with_line("GET / HTTP/11"), 400},
        Refused{"VersionNoMinor", with_line("GET / HTTP/1."), 400},
        Refused{"VersionLetter", with_line("GET / HTTP/x.1"), 400},
        Refused{"VersionLowerCase", with_line("GET / http/1.1"), 400},
        Refused{"VersionTrailingSpace", with_line("GET / HTTP/1.1 "), 400},
        Refused{"Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505}, Refused{"Rtsp", with_line("GET / RTSP/1.0"), 400},
        Refused{"RtspMethod", with_line("DESCRIBE / RTSP/1.0"), 400},
        Refused{"Ice", with_line("SOURCE / ICE/1.0"), 400},
        Refused{"Proxy", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", 400}),
    refused_name);

INSTANTIATE_TEST_SUITE_P(
    Fields, Invalid,
    testing::Values(Refused{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400}, Refused{"TwoHosts", with("Host: b"), 400},
                    Refused{"TwoEqualHosts", with("Host: a"), 400},
                    Refused{"TwoHostsInOneZero", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400},
                    Refused{"HostList", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
                    Refused{"HostWithPath", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
                    Refused{"HostWithUser", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
                    Refused{"HostWithSpace", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
                    Refused{"HostBracketOpen", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
                    Refused{"HostBracketInside", "GET / HTTP/1.1\r\nHost: a[::1]\r\n\r\n", 400},
                    Refused{"HostBracketClosed", "GET / HTTP/1.1\r\nHost: a]\r\n\r\n", 400},
                    Refused{"HostBracketTail", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", 400},
                    Refused{"HostNoAddress", "GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", 400},
                    Refused{"HostTwoColons", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400},
                    Refused{"HostBareIpv6", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400},
                    Refused{"HostPortLetters", "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400},
                    Refused{"HostPortTooLarge", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
                    Refused{"HostPortMuchTooLarge", "GET / HTTP/1.1\r\nHost: a:4294967376\r\n\r\n", 400},
                    Refused{"HostPortSigned", "GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", 400},
                    Refused{"HostPortOnly", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
                    Refused{"HostBadEscape", "GET / HTTP/1.1\r\nHost: a%4\r\n\r\n", 400},
                    Refused{"HostHighByte", "GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400},
                    Refused{"TwoAuthorizations", with("Authorization: Bearer a\r\nAuthorization: Bearer b"), 400},
                    Refused{"TwoContentTypes", with("Content-Type: a/b\r\nContent-Type: a/b"), 400},
                    Refused{"TwoIdempotencyKeys", with("Idempotency-Key: a\r\nidempotency-key: b"), 400},
                    Refused{"Expectation", with("Expect: 200-ok"), 417},
                    Refused{"ExpectationInSecondField", with("Expect: 100-continue\r\nExpect: 200-ok"), 417},
                    Refused{"ExpectationWithParameter", with("Expect: 100-continue;a=b"), 417},
                    Refused{"ExpectationList", with("Expect: 100-continue, x"), 417}),
    refused_name);

INSTANTIATE_TEST_SUITE_P(
    Chunks, Invalid,
    testing::Values(Refused{"NoSize", chunked("\r\n0\r\n\r\n"), 400}, Refused{"SizeNotHex", chunked("g\r\n"), 400},
                    Refused{"SizeSigned", chunked("+5\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"SizePrefixed", chunked("0x5\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"SizeLeadingBlank", chunked(" 5\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"SizeTrailingBlank", chunked("5 \r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"SizeOverflow", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"SizeHuge", chunked("FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"), 413},
                    Refused{"SizeBareLf", chunked("5\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"SizeBareCr", chunked("5\rhello\r\n0\r\n\r\n"), 400},
                    Refused{"SizeCrCr", chunked("5\r\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"DataWithoutCrLf", chunked("5\r\nhello0\r\n\r\n"), 400},
                    Refused{"DataBareLf", chunked("5\r\nhello\n0\r\n\r\n"), 400},
                    Refused{"DataBareCr", chunked("5\r\nhello\r0\r\n\r\n"), 400},
                    Refused{"DataTooLong", chunked("5\r\nhello!\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBareLf", chunked("5;a\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionValueBareLf", chunked("5;a=b\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionQuotedBareLf", chunked("5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBareCr", chunked("5;a=b\rc\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionNul", chunked(with_nul("5;a", "\r\nhello\r\n0\r\n\r\n")), 400},
                    Refused{"ExtensionWithoutSemicolon", chunked("5 a\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBlankAtTheEnd", chunked("5;a=b \r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBlankBehindName", chunked("5;a \r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBlankBeforeSemicolon", chunked("5 ;a\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionTabBeforeSemicolon", chunked("5\t;a\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBlankBeforeName", chunked("5; a\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBlankBeforeEquals", chunked("5;a =b\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBlankBeforeValue", chunked("5;a= b\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBlankBetween", chunked("5;a=b ;c\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionBlankBehindQuotes", chunked("5;a=\"b\" ;c\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionWithoutName", chunked("5;\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionValueOnly", chunked("5;=b\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionWithoutValue", chunked("5;a=\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionTwoValues", chunked("5;a=b=c\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionComma", chunked("5;a,b\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionQuoteOpen", chunked("5;a=\"b\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionQuoteTail", chunked("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionQuoteInTheMiddle", chunked("5;a=b\"c\"\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionEscapedCr", chunked("5;a=\"\\\r\n\"\r\nhello\r\n0\r\n\r\n"), 400},
                    Refused{"ExtensionInAnotherSize", chunked("5;a\r\nhello\r\n0 x\r\n\r\n"), 400},
                    Refused{"TrailerLength", chunked("0\r\nContent-Length: 5\r\n\r\n"), 400},
                    Refused{"TrailerCoding", chunked("0\r\nA: b\r\ntransfer-ENCODING: chunked\r\n\r\n"), 400},
                    Refused{"TrailerHost", chunked("0\r\nHost: b\r\n\r\n"), 400},
                    Refused{"TrailerTe", chunked("0\r\nTE: trailers\r\n\r\n"), 400},
                    Refused{"TrailerAuthorization", chunked("0\r\nAuthorization: Bearer x\r\n\r\n"), 400},
                    Refused{"TrailerKey", chunked("0\r\nIdempotency-Key: x\r\n\r\n"), 400},
                    Refused{"TrailerLongest", chunked("0\r\nAccess-Control-Request-Headers: x\r\n\r\n"), 400},
                    Refused{"LastBareLf", chunked("0\n\r\n"), 400}, Refused{"EndBareLf", chunked("0\r\n\n"), 400},
                    Refused{"EndBareCr", chunked("0\r\n\rX"), 400},
                    Refused{"TrailerBareLf", chunked("0\r\nA: b\n\r\n"), 400},
                    Refused{"TrailerFold", chunked("0\r\nA: b\r\n c\r\n\r\n"), 400},
                    Refused{"TrailerLeadingBlank", chunked("0\r\n A: b\r\n\r\n"), 400},
                    Refused{"TrailerSpaceBeforeColon", chunked("0\r\nA : b\r\n\r\n"), 400},
                    Refused{"TrailerControl", chunked("0\r\nA: \x01\r\n\r\n"), 400},
                    Refused{"TrailerEmptyName", chunked("0\r\n: b\r\n\r\n"), 400}),
    refused_name);

// --- bounds, at the last good value and one beyond ---

std::string get_with_head_of(size_t head_size) {
  std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  bytes.append(head_size - bytes.size() - 4, 'x');
  return bytes + "\r\n\r\n";
}

TEST(HttpParserBounds, HeadOfExactlyTheBound) {
  const std::string bytes = get_with_head_of(kMaxHeadBytes);
  ASSERT_EQ(bytes.size(), kMaxHeadBytes);
  const std::string expected = transcript({bytes});
  EXPECT_EQ(expected.substr(0, 27), "GET / 1.1 keep [Host=a] [X=");
  expect_transcript(bytes, expected);
}

TEST(HttpParserBounds, HeadOneByteOver) {
  expect_transcript(get_with_head_of(kMaxHeadBytes + 1),
                    "error 431: The request line and the headers exceed 16384 bytes\n");
}

TEST(HttpParserBounds, HeadThatNeverEnds) {
  expect_transcript("GET /" + std::string(3 * kMaxHeadBytes, 'x'),
                    "error 431: The request line and the headers exceed 16384 bytes\n");
  expect_transcript("GET / HTTP/1.1\r\n" + std::string(3 * kMaxHeadBytes, 'x'),
                    "error 431: The request line and the headers exceed 16384 bytes\n");
}

// The bound comes first, whatever stands behind it.
TEST(HttpParserBounds, ErrorBehindTheBoundIsNotLookedAt) {
  std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  bytes.append(kMaxHeadBytes - bytes.size(), 'x');
  expect_transcript(bytes + "\n", "error 431: The request line and the headers exceed 16384 bytes\n");
  bytes.pop_back();
  expect_error(bytes + "\n", 400);
}

std::string get_with_fields(size_t count) {
  std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (size_t i = 1; i < count; ++i) {
    bytes += "X" + number(i) + ": " + number(i * i) + "\r\n";
  }
  return bytes + "\r\n";
}

TEST(HttpParserBounds, FieldsOfExactlyTheBound) {
  expect_transcript(get_with_fields(kMaxHeaderFields), "GET / 1.1 keep [Host=a] [X1=1] [X2=4] +97\n");
}

TEST(HttpParserBounds, OneFieldOver) {
  expect_transcript(get_with_fields(kMaxHeaderFields + 1), "error 431: More than 100 header fields\n");
}

// A bad name in the field that is one too many comes first in the bytes, so it is the error however they are cut.
TEST(HttpParserBounds, BadNameInTheFieldThatIsOver) {
  std::string bytes = get_with_fields(kMaxHeaderFields);
  bytes.resize(bytes.size() - 2);
  expect_error(bytes + "ab(c: d\r\n\r\n", 400);
}

std::string noise(size_t size) {
  std::string text(size, '\0');
  std::minstd_rand random(7);  // NOLINT(cert-msc51-cpp): a failure must come again
  for (char& c : text) {
    c = static_cast<char>(random());
  }
  return text;
}

std::string post_with_body(std::string_view body) {
  return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + number(body.size()) + "\r\n\r\n" + std::string(body);
}

TEST(HttpParserBounds, BodyOfExactlyTheBound) {
  const std::string body = noise(kMaxBodyBytes);
  const std::string bytes = post_with_body(body) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  expect_transcript(
      bytes, "POST / 1.1 keep [Host=a] [Content-Length=65536] {" + shorten(body) + "}\nGET / 1.1 keep [Host=a]\n");
}

// Refused at the head: not a byte of the body needs to come.
TEST(HttpParserBounds, BodyOneByteOver) {
  const std::string bytes = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n";
  expect_transcript(
      bytes, "error 413: The request body exceeds 65536 bytes after POST / 1.1 keep [Host=a] [Content-Length=65537]\n");
}

std::string in_chunks_of(std::string_view body, size_t chunk_size) {
  std::string bytes;
  for (std::string_view piece : test::cut_into(body, chunk_size)) {
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
    bytes += size + std::string(piece) + "\r\n";
  }
  return bytes + "0\r\n\r\n";
}

TEST(HttpParserBounds, ChunkedBodyOfExactlyTheBound) {
  const std::string body = noise(kMaxBodyBytes);
  for (size_t chunk_size : {size_t{100}, size_t{5000}, kMaxBodyBytes}) {
    const std::string bytes = chunked(in_chunks_of(body, chunk_size)) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    expect_transcript(bytes, "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked] {" + shorten(body) +
                                 "}\nGET / 1.1 keep [Host=a]\n");
  }
}

TEST(HttpParserBounds, ChunkedBodyOneByteOver) {
  const std::string body = noise(kMaxBodyBytes + 1);
  for (size_t chunk_size : {size_t{100}, kMaxBodyBytes, kMaxBodyBytes + 1}) {
    expect_error(chunked(in_chunks_of(body, chunk_size)), 413);
  }
}

TEST(HttpParserBounds, ChunkExtensions) {
  const std::string frame = "1;\r\nx\r\n0\r\n\r\n";
  const std::string fits(kMaxChunkFraming - (frame.size() - 1), 'e');
  expect_transcript(chunked("1;" + fits + "\r\nx\r\n0\r\n\r\n"),
                    "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked] {x}\n");
  expect_error(chunked("1;" + fits + "e\r\nx\r\n0\r\n\r\n"), 413);
}

TEST(HttpParserBounds, ChunkSizeOfNothingButZeros) { expect_error(chunked(std::string(100'000, '0')), 413); }

TEST(HttpParserBounds, Trailers) {
  const std::string frame = "1\r\nx\r\n0\r\nT: \r\n\r\n";
  const std::string fits(kMaxChunkFraming - (frame.size() - 1), 't');
  expect_transcript(chunked("1\r\nx\r\n0\r\nT: " + fits + "\r\n\r\n"),
                    "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked] {x}\n");
  expect_error(chunked("1\r\nx\r\n0\r\nT: " + fits + "t\r\n\r\n"), 413);
  // A bare LF before the bound is found before it.
  expect_error(chunked("1\r\nx\r\n0\r\nT: a\nb" + fits + "ttttttt\r\n\r\n"), 400);
}

// --- what a connection does with it ---

TEST(HttpParser, FiftyPipelinedRequestsInOneChunk) {
  std::string bytes;
  std::string expected;
  for (size_t i = 0; i < 50; ++i) {
    switch (i % 3) {
      case 0:
        bytes += "GET /" + number(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
        expected += "GET /" + number(i) + " 1.1 keep [Host=a]\n";
        break;
      case 1:
        bytes += "POST /" + number(i) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
        expected += "POST /" + number(i) + " 1.1 keep [Host=a] [Content-Length=2] {ab}\n";
        break;
      default:
        bytes += "POST /" + number(i) + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
        expected += "POST /" + number(i) + " 1.1 keep [Host=a] [Transfer-Encoding=chunked] {x}\n";
    }
  }
  expect_transcript(bytes, expected);
}

TEST(HttpParser, AWholeRequestIsParsedInPlace) {
  const std::string bytes =
      "POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: a\r\n\r\n";
  HttpParser parser;
  ASSERT_EQ(parser.feed(bytes), Status::kRequest);
  EXPECT_EQ(parser.request().path.data(), bytes.data() + 5);
  EXPECT_EQ(parser.request().body.data(), bytes.data() + bytes.find("ab"));
  EXPECT_EQ(parser.unparsed_bytes(), 27U);
  ASSERT_EQ(parser.next(), Status::kRequest);
  EXPECT_EQ(parser.request().path.data(), bytes.data() + bytes.find("GET") + 4);
  EXPECT_EQ(parser.next(), Status::kNeedMore);
  EXPECT_EQ(parser.phase(), Phase::kIdle);
}

TEST(HttpParser, ACopyIsIndependentOfTheParser) {
  for (const auto& [text, expected] : {
           std::pair("POST /d?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
                     "POST /d ?a=b 1.1 keep [Host=a] [Content-Length=2] {ab}\n"),
           std::pair("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / absolute 1.1 keep [Host=a]\n"),
           std::pair("GET /none HTTP/1.0\r\n\r\n", "GET /none 1.0 close\n"),
           std::pair("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                     "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked] {ab}\n"),
       }) {
    HttpRequest copy;
    ByteBuffer storage;
    std::string bytes = text;
    {
      HttpParser parser;
      ASSERT_EQ(parser.feed(bytes), Status::kRequest);
      parser.request().copy_to(copy, storage);
      EXPECT_EQ(describe(copy), describe(parser.request()));
    }
    bytes.assign(bytes.size(), '#');
    EXPECT_EQ(describe(copy), expected);
    if (copy.has(KnownHeader::kHost)) {
      EXPECT_EQ(copy.find(KnownHeader::kHost), "a");
    }
  }
}

TEST(HttpParser, DetachedBytesAreIndependentOfTheChunk) {
  std::string bytes =
      "POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT";
  HttpParser parser;
  ASSERT_EQ(parser.feed(bytes), Status::kRequest);
  parser.detach();
  parser.detach();
  bytes.assign(bytes.size(), '#');
  EXPECT_EQ(describe(parser.request()), "POST /d 1.1 keep [Host=a] [Content-Length=2] {ab}\n");
  ASSERT_EQ(parser.next(), Status::kRequest);
  EXPECT_EQ(describe(parser.request()), "GET /2 1.1 keep [Host=a]\n");
  parser.detach();
  ASSERT_EQ(parser.next(), Status::kNeedMore);
  EXPECT_EQ(parser.phase(), Phase::kHead);
  bytes = "TP/1.1\r\nHost: a\r\n\r\nGET /4";
  ASSERT_EQ(parser.feed(bytes), Status::kRequest);
  parser.detach();
  bytes.assign(bytes.size(), '#');
  EXPECT_EQ(describe(parser.request()), "GET /3 1.1 keep [Host=a]\n");
  EXPECT_EQ(parser.next(), Status::kNeedMore);
  ASSERT_EQ(parser.feed(std::string_view(" HTTP/1.0\r\n\r\n")), Status::kRequest);
  EXPECT_EQ(describe(parser.request()), "GET /4 1.0 close\n");
}

TEST(HttpParser, PhasesForTheTimeOuts) {
  HttpParser parser;
  auto feed = [&parser](std::string_view bytes) { return parser.feed(bytes); };
  EXPECT_EQ(parser.phase(), Phase::kIdle);
  EXPECT_EQ(feed(""), Status::kNeedMore);
  EXPECT_EQ(feed("\r\n"), Status::kNeedMore);
  EXPECT_EQ(parser.phase(), Phase::kIdle);
  EXPECT_EQ(feed("P"), Status::kNeedMore);
  EXPECT_EQ(parser.phase(), Phase::kHead);
  EXPECT_EQ(feed("OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r"), Status::kNeedMore);
  EXPECT_EQ(parser.phase(), Phase::kHead);
  EXPECT_FALSE(parser.headers_complete());
  EXPECT_EQ(feed("\n"), Status::kNeedMore);
  EXPECT_EQ(parser.phase(), Phase::kBody);
  EXPECT_TRUE(parser.headers_complete());
  EXPECT_EQ(parser.request().path, "/");
  EXPECT_EQ(feed("ab"), Status::kNeedMore);
  EXPECT_EQ(parser.phase(), Phase::kBody);
  EXPECT_EQ(feed("c"), Status::kRequest);
  EXPECT_EQ(parser.phase(), Phase::kComplete);
  EXPECT_EQ(parser.next(), Status::kNeedMore);
  EXPECT_EQ(parser.phase(), Phase::kIdle);
  EXPECT_FALSE(parser.headers_complete());
  EXPECT_EQ(feed("\n"), Status::kError);
  EXPECT_EQ(parser.phase(), Phase::kFailed);
  EXPECT_EQ(feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Status::kError);
  parser.reset();
  EXPECT_EQ(parser.phase(), Phase::kIdle);
  EXPECT_EQ(parser.error(), HttpError::kNone);
  EXPECT_EQ(feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Status::kRequest);
}

TEST(HttpParser, ContinueIsAskedForOnceAndOnlyBeforeTheBody) {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
  {
    HttpParser parser;
    ASSERT_EQ(parser.feed(head), Status::kNeedMore);
    EXPECT_FALSE(parser.take_continue());
    ASSERT_EQ(parser.feed(std::string_view("Content-Length: 2\r\n\r\n")), Status::kNeedMore);
    EXPECT_TRUE(parser.take_continue());
    EXPECT_FALSE(parser.take_continue());
    ASSERT_EQ(parser.feed(std::string_view("ab")), Status::kRequest);
    EXPECT_FALSE(parser.take_continue());
    // The next request asks anew.
    ASSERT_EQ(parser.next(), Status::kNeedMore);
    ASSERT_EQ(parser.feed(head + "Transfer-Encoding: chunked\r\n\r\n"), Status::kNeedMore);
    EXPECT_TRUE(parser.take_continue());
  }
  {
    HttpParser parser;
    ASSERT_EQ(parser.feed(head + "Content-Length: 2\r\n\r\na"), Status::kNeedMore);
    EXPECT_FALSE(parser.take_continue()) << "the client did not wait";
  }
  {
    HttpParser parser;
    ASSERT_EQ(parser.feed(head + "\r\n"), Status::kRequest);
    EXPECT_FALSE(parser.take_continue()) << "there is no body to wait for";
  }
}

TEST(HttpParser, HeaderLookup) {
  HttpParser parser;
  const std::string bytes =
      "POST / HTTP/1.1\r\nhOST: h\r\nCONTENT-type: application/json\r\nauthorization: Bearer t\r\nX-REQUEST-ID: r\r\n"
      "Idempotency-Key: k\r\nContent-Encoding: gzip\r\nX-Forwarded-For: f\r\nForwarded: for=g\r\nAccept: */*\r\n"
      "Origin: o\r\nTraceparent: p\r\nIf-None-Match: e\r\nAccess-Control-Request-Method: PUT\r\n"
      "Access-Control-Request-Headers: x\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 0\r\n"
      "Origim: no\r\nX-Other: \r\nx-other: second\r\n\r\n";
  ASSERT_EQ(parser.feed(bytes), Status::kRequest);
  const HttpRequest& request = parser.request();
  EXPECT_EQ(request.find(KnownHeader::kHost), "h");
  EXPECT_EQ(request.find(KnownHeader::kContentType), "application/json");
  EXPECT_EQ(request.find(KnownHeader::kAuthorization), "Bearer t");
  EXPECT_EQ(request.find(KnownHeader::kXRequestId), "r");
  EXPECT_EQ(request.find(KnownHeader::kIdempotencyKey), "k");
  EXPECT_EQ(request.find(KnownHeader::kContentEncoding), "gzip");
  EXPECT_EQ(request.find(KnownHeader::kXForwardedFor), "f");
  EXPECT_EQ(request.find(KnownHeader::kForwarded), "for=g");
  EXPECT_EQ(request.find(KnownHeader::kAccept), "*/*");
  EXPECT_EQ(request.find(KnownHeader::kOrigin), "o");
  EXPECT_EQ(request.find(KnownHeader::kTraceparent), "p");
  EXPECT_EQ(request.find(KnownHeader::kIfNoneMatch), "e");
  EXPECT_EQ(request.find(KnownHeader::kAccessControlRequestMethod), "PUT");
  EXPECT_EQ(request.find(KnownHeader::kAccessControlRequestHeaders), "x");
  EXPECT_EQ(request.find(KnownHeader::kConnection), "keep-alive");
  EXPECT_EQ(request.find(KnownHeader::kExpect), "100-continue");
  EXPECT_EQ(request.find(KnownHeader::kContentLength), "0");
  EXPECT_EQ(request.find(KnownHeader::kTransferEncoding), std::nullopt);
  EXPECT_EQ(request.find("x-other"), "");
  EXPECT_EQ(request.find("X-None"), std::nullopt);
  EXPECT_EQ(request.count("X-OTHER"), 2U);
  EXPECT_EQ(request.header(19).value, "second");
  // A new request starts empty.
  ASSERT_EQ(parser.next(), Status::kNeedMore);
  ASSERT_EQ(parser.feed(std::string_view("GET / HTTP/1.0\r\n\r\n")), Status::kRequest);
  EXPECT_EQ(parser.request().find(KnownHeader::kAuthorization), std::nullopt);
  EXPECT_EQ(parser.request().header_count(), 0U);
}

TEST(HttpParser, AnErrorBehindTheHeadLeavesTheHeadReadable) {
  expect_transcript("POST /d HTTP/1.1\r\nHost: a\r\nX-Request-ID: r-1\r\nExpect: x\r\n\r\n",
                    "error 417: The only expectation supported is 100-continue after POST /d 1.1 keep [Host=a] "
                    "[X-Request-ID=r-1] [Expect=x]\n");
  expect_transcript(chunked("zz"),
                    "error 400: A chunk size that is no hexadecimal number after POST / 1.1 keep [Host=a] "
                    "[Transfer-Encoding=chunked]\n");
}

// What a client and the log are told: each reason for itself, in words of ours.
TEST(HttpParser, ReasonsSayWhatIsWrong) {
  const std::pair<std::string, std::string_view> kReasons[] = {
      {with_line("GET /  HTTP/1.1"), "More than one space before the version"},
      {with_line("GET  / HTTP/1.1"), "More than one space before the request target"},
      {with_line("GET / HTTP/1.1 "), "Something behind the version in the request line"},
      {with_line("GET / FTP/1.1"), "The request line does not end with a version of HTTP"},
      {with_line("GET /a\x80"), "A character in the request target that has to be percent-encoded"},
      {with_line("GET /a#b HTTP/1.1"), "A fragment in the request target"},
      {with_line("GET a HTTP/1.1"), "The request target is neither a path nor an http URI"},
      {with_line("GET / HTTP/2.0"), "Only HTTP/1.0 and HTTP/1.1 are supported"},
      {"GET /\r\n", "The request line has no version"},
      {"hello\r\n", "The request does not begin with a method and a space"},
      {std::string("\x16\x03\x01\x02\x00\x01", 6), "A TLS handshake, and this port speaks plain HTTP"},
      {"GET / HTTP/1.1\r\n\r\n", "A request of HTTP/1.1 without Host"},
      {"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", "Host is neither a name nor an address, or its port is none"},
      {with("Host: b"), "A header field twice that may be there once"},
      {with("Content-Length: 5\r\nTransfer-Encoding: chunked"), "Content-Length and Transfer-Encoding together"},
      {with("Content-Length: 5,5"), "Content-Length is no decimal number"},
      {with("Content-Length: 65537"), "The request body exceeds 65536 bytes"},
      {with("Transfer-Encoding: gzip"), "Transfer-Encoding does not end with one chunked"},
      {with("Transfer-Encoding: gzip, chunked"), "The only transfer coding supported is chunked"},
      {with("X : y"), "A character in a header field's name that is not allowed"},
      {with("X: y\r\n z"), "A header line begins with a blank"},
      {with("X: \x01"), "A control character in a header field, or a line that does not end with CR LF"},
      {with("X: a\nb"), "A control character in a header field, or a line that does not end with CR LF"},
      {with("X:\nb"), "A LF without CR"},
      {with("X: a\rb"), "A CR without LF"},
      {with(": y"), "A header field has no name"},
      {chunked("g"), "A chunk size that is no hexadecimal number"},
      {chunked("10000000000000005"), "A chunk size of more than 64 bits"},
      {chunked("5;=\r\n"), "A chunk extension that is not well-formed"},
      {chunked("1\r\nxy"), "A chunk's data does not end where its size says"},
      {chunked("0\r\nHost: b\r\n\r\n"), "A field in the trailer section that belongs into the head"},
  };
  for (const auto& [bytes, reason] : kReasons) {
    HttpParser parser;
    EXPECT_EQ(parser.feed(bytes), Status::kError) << bytes;
    EXPECT_EQ(parser.error_reason(), reason) << bytes;
  }
}

// --- noise ---

// Whatever comes: no crash, no hang, and the same whole as cut at random.
void expect_cut_makes_no_difference(const std::string& bytes, std::minstd_rand& random) {
  const std::string whole = transcript({bytes});
  Pieces pieces;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const size_t size = 1 + random() % rest.size();
    pieces.push_back(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  ASSERT_EQ(transcript(pieces, random() % 2 == 0 ? Borrow::kKeepChunk : Borrow::kDetach), whole)
      << testing::PrintToString(bytes);
}

TEST(HttpParserNoise, RandomBytes) {
  std::minstd_rand random(301);  // NOLINT(cert-msc51-cpp): a failure must come again
  for (int round = 0; round < 30'000; ++round) {
    std::string bytes(1 + random() % 200, '\0');
    for (char& c : bytes) {
      c = static_cast<char>(random());
    }
    expect_cut_makes_no_difference(bytes, random);
  }
}

TEST(HttpParserNoise, RandomTokens) {
  const std::vector<std::string> tokens = {"GET ",
                                           "POST ",
                                           "/",
                                           "/a?b",
                                           " HTTP/1.1",
                                           " HTTP/1.0",
                                           " HTTP/1.2",
                                           "QUERY ",
                                           "[::1]:80",
                                           ";a=\"b\"",
                                           "1;c;d=e\r\nx\r\n",
                                           "\r\n",
                                           "\r\n",
                                           "\r\n",
                                           "\n",
                                           "\r",
                                           "Host: a",
                                           "Content-Length:",
                                           "Transfer-Encoding:",
                                           " chunked",
                                           " 5",
                                           " ",
                                           "\t",
                                           "hello",
                                           "0",
                                           "5\r\nhello\r\n",
                                           "0\r\n\r\n",
                                           "Connection",
                                           ": close",
                                           "Expect",
                                           ": ",
                                           "100-continue",
                                           ";",
                                           "\r\n\r\n",
                                           "X: y\r\n",
                                           "*",
                                           "http://a"};
  std::minstd_rand random(302);  // NOLINT(cert-msc51-cpp): a failure must come again
  for (int round = 0; round < 100'000; ++round) {
    std::string bytes = round % 2 == 0 ? "POST / HTTP/1.1\r\nHost: a\r\n" : "";
    for (size_t i = random() % 12; i > 0; --i) {
      bytes += tokens[random() % tokens.size()];
    }
    expect_cut_makes_no_difference(bytes, random);
  }
}

TEST(HttpParserNoise, MutatedRequests) {
  const std::string seeds[] = {
      "POST /api/v1/deposits HTTP/1.1\r\nHost: a:8002\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n"
      "{\"a\": 1234}GET /health?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
      chunked("5;x=\"y\";z=1;w\r\nhello\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n") + "GET http://a/ HTTP/1.0\r\n\r\n",
      "\r\nPUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
      "Content-Length: 3\r\n\r\nabcOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
  };
  std::minstd_rand random(303);  // NOLINT(cert-msc51-cpp): a failure must come again
  for (int round = 0; round < 100'000; ++round) {
    std::string bytes = seeds[random() % std::size(seeds)];
    for (size_t i = 1 + random() % 3; i > 0; --i) {
      const size_t at = random() % bytes.size();
      switch (random() % 5) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = "\r\n\t :;,05aF"[random() % 11];
          break;
        case 2:
          bytes.erase(at, 1 + random() % 4);
          break;
        case 3:
          bytes.insert(at, bytes.substr(random() % bytes.size(), 1 + random() % 30));
          break;
        default:
          bytes.insert(at, 1, "\r\n\t :;,05aF"[random() % 11]);
      }
      if (bytes.empty()) {
        bytes.assign(1, 'G');
      }
    }
    expect_cut_makes_no_difference(bytes, random);
  }
}

}  // namespace
}  // namespace txn
