#include "net/otlp_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "core/log.h"
#include "tests/support/otlp_collector.h"

namespace txn {
namespace {

using test::Milliseconds;
using test::OtlpCollector;
using test::wait_until;

constexpr Milliseconds kTimeout{15'000};

std::string span(int number) {
  return R"({"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","flags":257,"name":"span )" +
         std::to_string(number) +
         R"(","kind":1,"startTimeUnixNano":"1790000000000000000","endTimeUnixNano":"1790000000000000001",)"
         R"("attributes":[{"key":"a","value":{"stringValue":"b"}}]})"
         "\n";
}

OtlpOptions options_for(uint16_t port) {
  return {.endpoint = {.host = "127.0.0.1", .port = port},
          .service_version = "1.2.3",
          .interval_ns = 50 * kNanosPerMilli,
          .retry_first_ns = 50 * kNanosPerMilli};
}

// Logs of expected failures would only be noise.
class OtlpExporterTest : public testing::Test {
 protected:
  OtlpExporterTest() { set_log_level(LogLevel::kCritical); }
  ~OtlpExporterTest() override { set_log_level(LogLevel::kInfo); }
};

TEST_F(OtlpExporterTest, SpansArriveOnceInOrderAndInBatches) {
  OtlpCollector collector;
  OtlpOptions options = options_for(collector.port());
  options.batch_max = 10;
  constexpr int kSpans = 35;
  {
    OtlpExporter exporter(options);
    LineRing& ring = exporter.add_producer();
    for (int i = 0; i < kSpans; ++i) EXPECT_TRUE(ring.push(span(i)));
    ASSERT_TRUE(collector.wait_for_spans(kSpans));
    EXPECT_TRUE(wait_until([&] { return exporter.counters().spans_exported == kSpans; }, kTimeout));
    EXPECT_EQ(exporter.counters().failures, 0u);
  }
  EXPECT_GE(collector.requests(), 4u);
  for (const std::string& body : collector.bodies()) EXPECT_TRUE(test::is_trace_request(body));
  const std::string head = collector.heads().front();
  EXPECT_THAT(head, testing::StartsWith("POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1:"));
  EXPECT_THAT(head, testing::HasSubstr("Content-Type: application/json\r\n"));
  int next = 0;
  for (const test::Json& seen : collector.spans()) EXPECT_EQ(seen["name"].text(), "span " + std::to_string(next++));
  EXPECT_EQ(next, kSpans);
}

TEST_F(OtlpExporterTest, TheEndFlushesWhatIsLeft) {
  OtlpCollector collector;
  OtlpOptions options = options_for(collector.port());
  options.interval_ns = 3600 * kNanosPerSecond;
  {
    OtlpExporter exporter(options);
    exporter.add_producer().push(span(1));
    exporter.add_producer().push(span(2));
  }
  EXPECT_EQ(collector.spans().size(), 2u);
}

TEST_F(OtlpExporterTest, WhatMayPassIsTriedAgain) {
  OtlpCollector collector;
  for (const int status : {429, 502, 503, 504}) {
    collector.answer_status(status);
    OtlpExporter exporter(options_for(collector.port()));
    exporter.add_producer().push(span(status));
    ASSERT_TRUE(wait_until([&] { return exporter.counters().failures >= 1; }, kTimeout)) << status;
    EXPECT_EQ(exporter.counters().spans_failed, 0u);
    collector.answer_status(200);
    ASSERT_TRUE(wait_until([&] { return exporter.counters().spans_exported == 1; }, kTimeout)) << status;
  }
}

TEST_F(OtlpExporterTest, ARefusalIsFinal) {
  OtlpCollector collector;
  const std::string garbage(100'000, 'x');
  for (const std::string& answer : {std::string("HTTP/1.1 400 Bad\r\n\r\n"), std::string("HTTP/1.1 500 Oh\r\n\r\n"),
                                    std::string("HTTP/1.1 301 Moved\r\n\r\n"), std::string("HTTP/1.1 abc\r\n\r\n"),
                                    std::string("\0\1\2", 3), garbage}) {
    collector.answer_with(answer);
    OtlpExporter exporter(options_for(collector.port()));
    exporter.add_producer().push(span(1));
    EXPECT_TRUE(wait_until([&] { return exporter.counters().spans_failed == 1; }, kTimeout)) << answer.substr(0, 20);
    EXPECT_EQ(exporter.counters().failures, 1u);
  }
}

TEST_F(OtlpExporterTest, ACollectorThatIsAwayIsGivenUpOn) {
  uint16_t port = 0;
  {
    port = OtlpCollector().port();
  }
  OtlpOptions options = options_for(port);
  options.attempts_max = 3;
  OtlpExporter exporter(options);
  LineRing& ring = exporter.add_producer();
  ring.push(span(1));
  EXPECT_TRUE(wait_until([&] { return exporter.counters().spans_failed == 1; }, kTimeout));
  EXPECT_EQ(exporter.counters().failures, 3u);
}

TEST_F(OtlpExporterTest, ACollectorThatClosesWithoutAWordIsTriedAgain) {
  OtlpCollector collector;
  collector.answer_with("");
  OtlpExporter exporter(options_for(collector.port()));
  exporter.add_producer().push(span(1));
  ASSERT_TRUE(wait_until([&] { return exporter.counters().failures >= 1; }, kTimeout));
  collector.answer_status(200);
  EXPECT_TRUE(wait_until([&] { return exporter.counters().spans_exported == 1; }, kTimeout));
}

// Producers never wait: what does not fit the ring meanwhile is dropped and counted. And the end is bounded.
TEST_F(OtlpExporterTest, ACollectorThatHangsCostsNothingButSpans) {
  OtlpCollector collector;
  collector.hang(true);
  OtlpOptions options = options_for(collector.port());
  options.ring_bytes = 4096;
  options.flush_timeout_ns = 100 * kNanosPerMilli;
  OtlpCounters counters;
  constexpr uint64_t kSpans = 1000;
  {
    OtlpExporter exporter(options);
    LineRing& ring = exporter.add_producer();
    ring.push(span(0));
    ASSERT_TRUE(wait_until([&] { return collector.requests() == 1; }, kTimeout));  // there it hangs
    uint64_t taken = 1;
    for (uint64_t i = 1; i < kSpans; ++i) taken += ring.push(span(static_cast<int>(i))) ? 1 : 0;
    EXPECT_LT(taken, kSpans / 10);
    counters = exporter.counters();
    EXPECT_EQ(counters.spans_dropped, kSpans - taken);
  }
  EXPECT_EQ(collector.requests(), 1u);
}

TEST_F(OtlpExporterTest, AnAnswerThatTakesTooLongIsNone) {
  OtlpCollector collector;
  collector.hang(true);
  OtlpOptions options = options_for(collector.port());
  options.timeout_ns = 50 * kNanosPerMilli;
  OtlpExporter exporter(options);
  exporter.add_producer().push(span(0));
  ASSERT_TRUE(wait_until([&] { return exporter.counters().failures >= 1; }, kTimeout));
  collector.hang(false);
  EXPECT_TRUE(wait_until([&] { return exporter.counters().spans_exported == 1; }, kTimeout));
}

TEST_F(OtlpExporterTest, ANameThatDoesNotExistIsAFailureLikeOthers) {
  OtlpOptions options = options_for(4318);
  options.endpoint.host = "collector.invalid";  // RFC 6761 section 6.4
  options.attempts_max = 1;
  OtlpExporter exporter(options);
  exporter.add_producer().push(span(0));
  EXPECT_TRUE(wait_until([&] { return exporter.counters().spans_failed == 1; }, kTimeout));
}

}  // namespace
}  // namespace txn
