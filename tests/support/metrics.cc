#include "tests/support/metrics.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

#include "tests/support/raw_client.h"

namespace txn::test {
namespace {

[[noreturn]] void refuse(std::string_view line, const std::string& why) {
  throw std::runtime_error(why + ": " + std::string(line));
}

struct Sample {
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;
  double value = 0;
};

bool is_name(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; }) &&
         !std::isdigit(static_cast<unsigned char>(text.front()));
}

Sample parse_sample(std::string_view line) {
  Sample sample;
  const size_t name_end = line.find_first_of("{ ");
  if (name_end == std::string_view::npos) refuse(line, "no value");
  sample.name = line.substr(0, name_end);
  if (!is_name(sample.name)) refuse(line, "no name of a metric");
  size_t at = name_end;
  if (line[at] == '{') {
    ++at;
    while (line[at] != '}') {
      const size_t equals = line.find("=\"", at);
      if (equals == std::string_view::npos) refuse(line, "malformed label");
      std::string name(line.substr(at, equals - at));
      if (!is_name(name)) refuse(line, "no name of a label");
      std::string value;
      for (at = equals + 2; at < line.size() && line[at] != '"'; ++at) {
        if (line[at] == '\\') {
          ++at;
          if (at == line.size() || std::string_view("\\\"n").find(line[at]) == std::string_view::npos)
            refuse(line, "malformed escape");
        }
        value += line[at];
      }
      if (++at >= line.size()) refuse(line, "label without an end");
      sample.labels.emplace_back(std::move(name), std::move(value));
      if (line[at] == ',') ++at;
    }
    ++at;
  }
  if (at >= line.size() || line[at] != ' ') refuse(line, "no value");
  const std::string value(line.substr(at + 1));
  size_t used = 0;
  sample.value = std::stod(value, &used);
  if (used != value.size()) refuse(line, "value is no number");
  return sample;
}

// The bucket counts of one histogram must not fall, end in +Inf, and that must be its count.
struct Buckets {
  double last_bound = -1;
  double last_count = 0;
  bool closed = false;
};

}  // namespace

MetricsText MetricsText::parse(std::string_view text, bool open_metrics) {
  MetricsText metrics;
  std::set<std::string> names;
  std::map<std::string, Buckets> buckets;  // by series without its bound
  bool ended = false;
  if (text.empty() || text.back() != '\n') refuse("", "the page does not end with a line's end");
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() + 1);
    if (ended) refuse(line, "after # EOF");
    if (line == "# EOF") {
      if (!open_metrics) refuse(line, "only OpenMetrics ends so");
      ended = true;
    } else if (line.starts_with("# HELP ")) {
      const std::string_view rest = line.substr(7);
      const std::string name(rest.substr(0, rest.find(' ')));
      if (!names.insert(name).second) refuse(line, "metric twice");
      const std::string help(rest.substr(std::min(rest.size(), name.size() + 1)));
      if (help.empty() || help.back() != '.') refuse(line, "HELP is no sentence");
      metrics.families_.push_back({.name = name, .type = "", .help = help, .label_names = {}});
    } else if (line.starts_with("# TYPE ")) {
      const std::string_view rest = line.substr(7);
      if (metrics.families_.empty() || !rest.starts_with(metrics.families_.back().name + " "))
        refuse(line, "TYPE without its HELP");
      metrics.families_.back().type = rest.substr(metrics.families_.back().name.size() + 1);
    } else if (line.starts_with("#") || line.empty()) {
      refuse(line, "comment");
    } else {
      if (metrics.families_.empty()) refuse(line, "sample without a metric");
      MetricFamily& family = metrics.families_.back();
      Sample sample = parse_sample(line);
      const std::string suffix = sample.name.starts_with(family.name) ? sample.name.substr(family.name.size()) : "?";
      std::set<std::string> suffixes;
      if (family.type == "histogram") {
        suffixes = {"_bucket", "_sum", "_count"};
      } else if (family.type == "counter" && open_metrics) {
        suffixes = {"_total"};
      } else {
        suffixes = {""};
      }
      if (open_metrics && family.type != "gauge") suffixes.insert("_created");
      if (!suffixes.contains(suffix)) refuse(line, "not a sample of the metric above it");
      if (family.type == "counter" && !open_metrics && !family.name.ends_with("_total")) refuse(line, "counter's name");
      if (!std::isfinite(sample.value) || sample.value < 0) refuse(line, "value");

      std::string series_without_bound = family.name;
      std::vector<std::string> label_names;
      std::string bound;
      for (const auto& [name, value] : sample.labels) {
        if (name == "le") {
          bound = value;
          continue;
        }
        series_without_bound += "," + name + "=" + value;
        label_names.push_back(name);
      }
      std::sort(label_names.begin(), label_names.end());
      if (family.label_names.empty()) family.label_names = label_names;
      if (family.label_names != label_names) refuse(line, "other labels than the sample before");
      if (suffix == "_bucket") {
        Buckets& series = buckets[series_without_bound];
        const double upper = bound == "+Inf" ? HUGE_VAL : std::stod(bound);
        if (series.closed || upper <= series.last_bound || sample.value < series.last_count) refuse(line, "bucket");
        if (open_metrics && bound != "+Inf" && bound.find('.') == std::string::npos) refuse(line, "bound");
        series = {upper, sample.value, bound == "+Inf"};
      } else if (suffix == "_count") {
        const Buckets& series = buckets[series_without_bound];
        if (!series.closed || series.last_count != sample.value) refuse(line, "count is not the last bucket");
      }
      if (!metrics.samples_.emplace(line.substr(0, line.rfind(' ')), sample.value).second) refuse(line, "series twice");
    }
  }
  if (open_metrics && !ended) refuse("", "no # EOF");
  return metrics;
}

double MetricsText::operator[](const std::string& series) const {
  const auto found = samples_.find(series);
  return found == samples_.end() ? 0 : found->second;
}

double MetricsText::sum(const std::string& name) const {
  double total = 0;
  for (const auto& [series, value] : samples_)
    if (series == name || series.starts_with(name + "{")) total += value;
  return total;
}

MetricsText scrape(uint16_t port) {
  const HttpResponse response = ApiClient(port).get("/metrics");
  if (response.status != 200) throw std::runtime_error("no metrics: " + response.body + response.error);
  return MetricsText::parse(response.body);
}

}  // namespace txn::test
