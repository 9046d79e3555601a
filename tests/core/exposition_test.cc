#include "core/exposition.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace txn {
namespace {

constexpr int64_t kCreatedUs = 1'700'000'000'250'000;

std::string write(ExpositionFormat format, const auto& body) {
  std::string out;
  ExpositionWriter writer(out, format, kCreatedUs);
  body(writer);
  writer.finish();
  return out;
}

void write_everything(ExpositionWriter& writer) {
  constexpr std::array<uint64_t, 3> kBounds{500'000, 1'000'000'000, 10'000'000'000};
  constexpr std::array<uint64_t, 4> kBuckets{1, 2, 0, 4};
  writer.family("things_total", MetricType::kCounter, "Things \\ of\nall \"kinds\".");
  writer.sample({{"kind", "a\"b\\c\nd"}, {"size", "big"}}, 18'446'744'073'709'551'615u);
  writer.sample({{"kind", ""}, {"size", "small"}}, 0);
  writer.family("level_seconds", MetricType::kGauge, "A level.");
  writer.sample({}, 1'500'000, kMicroDecimals);
  writer.family("wait_seconds", MetricType::kHistogram, "Waiting.");
  writer.histogram({{"who", "x"}}, kBounds, kBuckets, 5'000'000'001, kNanoDecimals);
}

TEST(Exposition, TextFormat) {
  EXPECT_EQ(write(ExpositionFormat::kText, write_everything),
            "# HELP things_total Things \\\\ of\\nall \"kinds\".\n"
            "# TYPE things_total counter\n"
            "things_total{kind=\"a\\\"b\\\\c\\nd\",size=\"big\"} 18446744073709551615\n"
            "things_total{kind=\"\",size=\"small\"} 0\n"
            "# HELP level_seconds A level.\n"
            "# TYPE level_seconds gauge\n"
            "level_seconds 1.5\n"
            "# HELP wait_seconds Waiting.\n"
            "# TYPE wait_seconds histogram\n"
            "wait_seconds_bucket{who=\"x\",le=\"0.0005\"} 1\n"
            "wait_seconds_bucket{who=\"x\",le=\"1\"} 3\n"
            "wait_seconds_bucket{who=\"x\",le=\"10\"} 3\n"
            "wait_seconds_bucket{who=\"x\",le=\"+Inf\"} 7\n"
            "wait_seconds_sum{who=\"x\"} 5.000000001\n"
            "wait_seconds_count{who=\"x\"} 7\n");
}

TEST(Exposition, OpenMetrics) {
  EXPECT_EQ(write(ExpositionFormat::kOpenMetrics, write_everything),
            "# HELP things Things \\\\ of\\nall \\\"kinds\\\".\n"
            "# TYPE things counter\n"
            "things_total{kind=\"a\\\"b\\\\c\\nd\",size=\"big\"} 18446744073709551615\n"
            "things_created{kind=\"a\\\"b\\\\c\\nd\",size=\"big\"} 1700000000.25\n"
            "things_total{kind=\"\",size=\"small\"} 0\n"
            "things_created{kind=\"\",size=\"small\"} 1700000000.25\n"
            "# HELP level_seconds A level.\n"
            "# TYPE level_seconds gauge\n"
            "level_seconds 1.5\n"
            "# HELP wait_seconds Waiting.\n"
            "# TYPE wait_seconds histogram\n"
            "wait_seconds_bucket{who=\"x\",le=\"0.0005\"} 1\n"
            "wait_seconds_bucket{who=\"x\",le=\"1.0\"} 3\n"
            "wait_seconds_bucket{who=\"x\",le=\"10.0\"} 3\n"
            "wait_seconds_bucket{who=\"x\",le=\"+Inf\"} 7\n"
            "wait_seconds_sum{who=\"x\"} 5.000000001\n"
            "wait_seconds_count{who=\"x\"} 7\n"
            "wait_seconds_created{who=\"x\"} 1700000000.25\n"
            "# EOF\n");
}

TEST(ExpositionDeathTest, CountersAreNamedTotal) {
  std::string out;
  ExpositionWriter writer(out, ExpositionFormat::kText, 0);
  EXPECT_DEATH(writer.family("things", MetricType::kCounter, "Things."), "_total");
}

TEST(Exposition, AcceptChoosesTheFormat) {
  constexpr auto kText = ExpositionFormat::kText;
  constexpr auto kOpen = ExpositionFormat::kOpenMetrics;
  struct Case {
    std::vector<std::string_view> accept;
    ExpositionFormat format;
  };
  const Case cases[] = {
      {{}, kText},
      {{""}, kText},
      {{"*/*"}, kText},
      {{"text/plain"}, kText},
      {{"text/html, application/json;q=0.9"}, kText},
      {{"application/*"}, kText},
      {{"application/openmetrics-text"}, kOpen},
      {{"Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8"}, kOpen},
      {{"application/openmetrics-text;version=\"1.0.0\""}, kOpen},
      {{"application/openmetrics-text;version=0.0.1"}, kText},
      {{"application/openmetrics-text;version=2.0.0"}, kText},
      // Prometheus 2.42, and what it says when told to scrape text.
      {{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"},
       kOpen},
      {{"text/plain;version=0.0.4;q=1,*/*;q=0.1"}, kText},
      // Weights.
      {{"application/openmetrics-text;q=0.5, text/plain;q=0.6"}, kText},
      {{"application/openmetrics-text;q=0.6, text/plain;q=0.5"}, kOpen},
      {{"text/plain;q=0.5;version=0.0.4, application/openmetrics-text; q=0.501 ;version=1.0.0"}, kOpen},
      {{"application/openmetrics-text, text/plain"}, kText},
      {{"application/openmetrics-text, */*"}, kOpen},
      {{"application/openmetrics-text;q=0.4, */*;q=0.5"}, kText},
      {{"application/openmetrics-text;q=0.4, text/*;q=0.5, */*;q=0.1"}, kText},
      {{"application/openmetrics-text;q=0.4, text/plain;q=0.3, */*"}, kOpen},
      {{"application/openmetrics-text;q=0"}, kText},
      {{"application/openmetrics-text;q=0.000, text/plain;q=0"}, kText},
      {{"application/openmetrics-text;q=1.000"}, kOpen},
      {{"application/openmetrics-text;q=1.5"}, kText},
      {{"application/openmetrics-text;q="}, kText},
      {{"application/openmetrics-text;q=high"}, kText},
      {{"application/openmetrics-text;q=0.12345"}, kText},
      // Several fields are one list; pieces of any shape do no harm.
      {{"text/plain;q=0.5", "application/openmetrics-text"}, kOpen},
      {{",,;;=,\"a,b\";q=1, application/openmetrics-text ,"}, kOpen},
  };
  for (const Case& item : cases) {
    std::string text;
    for (const std::string_view field : item.accept) text += "[" + std::string(field) + "]";
    EXPECT_EQ(choose_exposition_format(item.accept), item.format) << text;
  }
}

}  // namespace
}  // namespace txn
