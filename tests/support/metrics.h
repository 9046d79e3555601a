// Reads a metrics page the way a strict scraper does.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace txn::test {

struct MetricFamily {
  std::string name;
  std::string type;
  std::string help;
  std::vector<std::string> label_names;  // of all its samples, sorted, without "le"
};

class MetricsText {
 public:
  // Holds the page against the rules of its format: each metric's HELP and TYPE before its samples and all of it in one
  // place, no series twice, values that are numbers, histograms that add up, and for OpenMetrics the names of samples
  // and "# EOF". Throws std::runtime_error naming the line.
  static MetricsText parse(std::string_view text, bool open_metrics = false);

  // By series as it stands on the page: R"(transactions_total{type="deposit",status="success"})". 0 when it is not
  // there.
  double operator[](const std::string& series) const;
  bool has(const std::string& series) const { return samples_.contains(series); }
  // Of all series of that name.
  double sum(const std::string& name) const;
  size_t series_count() const { return samples_.size(); }
  const std::map<std::string, double>& samples() const { return samples_; }
  const std::vector<MetricFamily>& families() const { return families_; }

 private:
  std::map<std::string, double> samples_;
  std::vector<MetricFamily> families_;
};

// GET /metrics of the service on that port, as text, parsed.
MetricsText scrape(uint16_t port);

}  // namespace txn::test
