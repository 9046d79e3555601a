#include "net/trace_context.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

#include "net/http_parser.h"

namespace txn {
namespace {

constexpr std::string_view kTraceId = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr std::string_view kSpanId = "00f067aa0ba902b7";

std::string header(std::string_view version = "00", std::string_view trace_id = kTraceId,
                   std::string_view span_id = kSpanId, std::string_view flags = "01", std::string_view more = "") {
  return std::string(version) + "-" + std::string(trace_id) + "-" + std::string(span_id) + "-" + std::string(flags) +
         std::string(more);
}

TEST(Traceparent, TheExampleOfTheSpecification) {
  const auto parent = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  ASSERT_TRUE(parent.has_value());
  EXPECT_EQ(view_of(parent->trace_id), kTraceId);
  EXPECT_EQ(view_of(parent->span_id), kSpanId);
  EXPECT_TRUE(parent->sampled);
}

TEST(Traceparent, OnlyTheLowestFlagMeansSampled) {
  for (const char* flags : {"01", "03", "ff", "0f", "f1"})
    EXPECT_TRUE(parse_traceparent(header("00", kTraceId, kSpanId, flags))->sampled) << flags;
  for (const char* flags : {"00", "02", "fe", "f0"})
    EXPECT_FALSE(parse_traceparent(header("00", kTraceId, kSpanId, flags))->sampled) << flags;
}

TEST(Traceparent, LaterVersionsAreReadAsFarAsTheyAreLikeThisOne) {
  for (const char* version : {"01", "cc", "fe"}) {
    EXPECT_TRUE(parse_traceparent(header(version)).has_value()) << version;
    EXPECT_TRUE(parse_traceparent(header(version, kTraceId, kSpanId, "01", "-what-the-future-brings")).has_value());
    EXPECT_TRUE(parse_traceparent(header(version, kTraceId, kSpanId, "01", "-")).has_value());
    EXPECT_FALSE(parse_traceparent(header(version, kTraceId, kSpanId, "01", ".more")).has_value());
    EXPECT_FALSE(parse_traceparent(header(version, kTraceId, kSpanId, "01", "0")).has_value());
  }
}

TEST(Traceparent, AnythingElseIsIgnored) {
  const std::string zeros(32, '0');
  std::string upper(kTraceId);
  upper[1] = 'B';
  for (const std::string& text : {std::string(),
                                  std::string("00"),
                                  header("ff"),
                                  header("0"),
                                  header("000"),
                                  header("0g"),
                                  header("0A"),
                                  header("00", zeros),
                                  header("00", upper),
                                  header("00", kTraceId.substr(1)),
                                  header("00", "g" + zeros.substr(1)),
                                  header("00", kTraceId, zeros.substr(16)),
                                  header("00", kTraceId, "00F067AA0BA902B7"),
                                  header("00", kTraceId, kSpanId.substr(1)),
                                  header("00", kTraceId, kSpanId, "1"),
                                  header("00", kTraceId, kSpanId, "0x"),
                                  header("00", kTraceId, kSpanId, "0A"),
                                  header("00", kTraceId, kSpanId, "01", "-"),
                                  header("00", kTraceId, kSpanId, "01", "-00"),
                                  header("00", kTraceId, kSpanId, "01", " "),
                                  " " + header(),
                                  header() + "," + header()})
    EXPECT_EQ(parse_traceparent(text), std::nullopt) << text;
  // Every byte but the flags' four bits decides; a wrong one anywhere is found.
  const std::string good = header();
  for (size_t i = 0; i < good.size(); ++i)
    for (const char wrong : {'\0', 'G', '/', ':', '`', '\xff'}) {
      std::string text = good;
      text[i] = wrong;
      EXPECT_EQ(parse_traceparent(text), std::nullopt) << i;
    }
  for (size_t size = 0; size < good.size(); ++size) EXPECT_EQ(parse_traceparent(good.substr(0, size)), std::nullopt);
}

class RequestWith {
 public:
  explicit RequestWith(const std::string& headers) : text_("GET / HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n") {
    text_.append(64, '\0');
    EXPECT_EQ(parser_.feed({text_.data(), text_.size() - 64}), HttpParser::Status::kRequest);
  }
  const HttpRequest& get() const { return parser_.request(); }
  std::string tracestate() const {
    std::string out = "what was there before";
    copy_tracestate(get(), out);
    return out;
  }

 private:
  std::string text_;
  HttpParser parser_;
};

TEST(Traceparent, TwoOfThemAreNone) {
  const std::string line = "traceparent: " + header() + "\r\n";
  EXPECT_TRUE(find_traceparent(RequestWith(line).get()).has_value());
  EXPECT_TRUE(find_traceparent(RequestWith("TraceParent:" + header() + "\r\n").get()).has_value());
  EXPECT_FALSE(find_traceparent(RequestWith(line + line).get()).has_value());
  EXPECT_FALSE(find_traceparent(RequestWith("").get()).has_value());
}

TEST(Tracestate, HeadersAreJoinedInTheirOrder) {
  EXPECT_EQ(RequestWith("tracestate: a=1,b@c=2\r\n").tracestate(), "a=1,b@c=2");
  EXPECT_EQ(RequestWith("tracestate: a=1\r\nTraceState: , b=2 ,\r\n").tracestate(), "a=1,, b=2 ,");
  EXPECT_EQ(RequestWith("").tracestate(), "");
}

TEST(Tracestate, WhatIsNoListOfMembersIsDropped) {
  for (const char* value : {"", ",", "a", "=1", "a=", "A=1", "a=1=2", "a=1,b", "a b=1", "a=\xc3\xa4", "a=\"\t\""})
    EXPECT_EQ(RequestWith(std::string("tracestate: ") + value + "\r\n").tracestate(), "") << value;
  std::string members;
  for (int i = 0; i < 32; ++i) members += (i == 0 ? "" : ",") + std::string("k") + std::to_string(i) + "=v";
  EXPECT_EQ(RequestWith("tracestate: " + members + "\r\n").tracestate(), members);
  EXPECT_EQ(RequestWith("tracestate: " + members + ",one=more\r\n").tracestate(), "");
}

// One bad key and nothing of it is passed on.
TEST(Tracestate, KeysAreLettersFirstOrATenantsOfASystem) {
  const auto state = [](const std::string& value) { return RequestWith("tracestate: " + value + "\r\n").tracestate(); };
  for (const std::string& good :
       {std::string("a=1"), std::string("a0_-*/=1"), std::string("0tenant@system=1"), std::string("a@b-_*/0=1"),
        std::string(256, 'k') + "=1", std::string(241, 't') + "@" + std::string(14, 's') + "=1"})
    EXPECT_EQ(state(good), good);
  for (const std::string& bad :
       {std::string("0a=1"), std::string("_a=1"), std::string("*=1"), std::string("@a=1"), std::string("a@=1"),
        std::string("a@0b=1"), std::string("a@b@c=1"), std::string("_a@b=1"), std::string(257, 'k') + "=1",
        std::string(242, 't') + "@s=1", "t@" + std::string(15, 's') + "=1"}) {
    EXPECT_EQ(state(bad), "") << bad;
    EXPECT_EQ(state("good=1," + bad), "") << bad;
  }
}

TEST(Tracestate, IsBounded) {
  const std::string half = "a=" + std::string(250, 'x');
  EXPECT_EQ(RequestWith("tracestate: " + half + "," + half + "\r\n").tracestate().size(), 2 * half.size() + 1);
  EXPECT_EQ(RequestWith("tracestate: " + half + "," + half + ",c=12345\r\n").tracestate(), "");
  EXPECT_EQ(RequestWith("tracestate: " + half + "\r\ntracestate: " + half + "\r\ntracestate: b=12345\r\n").tracestate(),
            "");
}

TEST(TraceIds, AreNewAndValid) {
  TraceIdGenerator ids;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const TraceIdText trace_id = ids.trace_id();
    const SpanIdText span_id = ids.span_id();
    EXPECT_TRUE(parse_traceparent(header("00", view_of(trace_id), view_of(span_id))).has_value());
    EXPECT_TRUE(seen.insert(std::string(view_of(trace_id))).second);
    EXPECT_TRUE(seen.insert(std::string(view_of(span_id))).second);
  }
}

TEST(TraceIds, AreNeverAllZeros) {
  // Zeros for a whole block but its end.
  TraceIdGenerator ids([](uint8_t* out, size_t size) {
    std::memset(out, 0, size);
    out[size - 1] = 1;
  });
  EXPECT_EQ(view_of(ids.trace_id()), "00000000000000000000000000000001");
}

TEST(TraceIds, RandomnessIsTheLast56Bits) {
  TraceIdText id;
  std::memcpy(id.data(), kTraceId.data(), id.size());
  EXPECT_EQ(randomness_of(id), 0xce929d0e0e4736u);
}

}  // namespace
}  // namespace txn
