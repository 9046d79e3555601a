// Writes metrics as Prometheus reads them: the text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/) or OpenMetrics 1.0
// (https://github.com/OpenObservability/OpenMetrics/blob/main/specification/OpenMetrics.md).
//
//   writer.family("ledger_batches_total", MetricType::kCounter, "Batches sent to the database.");
//   writer.sample({}, batches);
//   writer.family("http_request_duration_seconds", MetricType::kHistogram, "...");
//   writer.histogram({{"method", "GET"}}, bounds, buckets, sum_ns, kNanoDecimals);
//
// Values are whole numbers in a unit that is a power of ten of what the metric's name says, and are written exactly:
// nanoseconds as seconds with nine decimals, cents as money with two. No floating point.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace txn {

enum class ExpositionFormat : uint8_t { kText, kOpenMetrics };

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram };

struct Label {
  std::string_view name;
  std::string_view value;  // any UTF-8; escaped as needed
};
using Labels = std::span<const Label>;

// Decimals of a number of nanoseconds, microseconds, milliseconds in seconds, and of cents in money.
inline constexpr unsigned kNanoDecimals = 9;
inline constexpr unsigned kMicroDecimals = 6;
inline constexpr unsigned kMilliDecimals = 3;
inline constexpr unsigned kCentDecimals = 2;

// "text/plain; version=0.0.4; charset=utf-8" or that of OpenMetrics.
std::string_view content_type_of(ExpositionFormat format);

class ExpositionWriter {
 public:
  // Appends to `out`. `created_us` is when the counting began, microseconds since 1970-01-01 UTC: OpenMetrics says it
  // with every counter and histogram.
  ExpositionWriter(std::string& out, ExpositionFormat format, int64_t created_us)
      : out_(out), format_(format), created_us_(created_us) {}

  // Begins a metric; its samples follow. `name` as it stands in the text format, so a counter's ends in "_total", which
  // this checks. `help` is a sentence.
  void family(std::string_view name, MetricType type, std::string_view help);

  // One counter or gauge: `value` with the last `decimals` digits behind the point.
  void sample(Labels labels, uint64_t value, unsigned decimals = 0);
  void sample(std::initializer_list<Label> labels, uint64_t value, unsigned decimals = 0) {
    sample(Labels(labels.begin(), labels.size()), value, decimals);
  }

  // One histogram: `buckets` has one more than `bounds`, see HistogramTotals.
  void histogram(Labels labels, std::span<const uint64_t> bounds, std::span<const uint64_t> buckets, uint64_t sum,
                 unsigned decimals = 0);
  void histogram(std::initializer_list<Label> labels, std::span<const uint64_t> bounds,
                 std::span<const uint64_t> buckets, uint64_t sum, unsigned decimals = 0) {
    histogram(Labels(labels.begin(), labels.size()), bounds, buckets, sum, decimals);
  }

  // The last thing written: OpenMetrics ends with "# EOF".
  void finish();

 private:
  void line(std::string_view suffix, Labels labels, std::string_view bound, uint64_t value, unsigned decimals);
  void created(Labels labels);

  std::string& out_;
  const ExpositionFormat format_;
  const int64_t created_us_;
  std::string_view name_;  // of the family at hand, without "_total" where the format has it in the sample only
  MetricType type_ = MetricType::kGauge;
};

// Which format to answer with, by the Accept headers of a request (RFC 9110 section 12.5.1, with q-values): OpenMetrics
// 1.0 for those who name it and do not prefer the text format, everything else gets that.
//
// `accept` has one entry for each header field.
ExpositionFormat choose_exposition_format(std::span<const std::string_view> accept);

}  // namespace txn
