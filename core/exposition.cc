#include "core/exposition.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "core/check.h"

namespace txn {
namespace {

constexpr std::string_view kTotal = "_total";

void append_number(std::string& out, uint64_t value) {
  char digits[20];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, end);
}

// `value` with its last `decimals` digits behind the point, without zeros at the end: 1500000 and 6 give "1.5".
// Returns whether there is a point.
bool append_scaled(std::string& out, uint64_t value, unsigned decimals) {
  uint64_t unit = 1;
  for (unsigned i = 0; i < decimals; ++i) unit *= 10;
  append_number(out, value / unit);
  uint64_t rest = value % unit;
  if (rest == 0) return false;
  out += '.';
  while (rest != 0) {
    unit /= 10;
    out += static_cast<char>('0' + rest / unit);
    rest %= unit;
  }
  return true;
}

// `quotes`: whether a quote is escaped as well, as in label values, and in OpenMetrics' help.
void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

std::string_view name_of(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  CHECK(false, "every type has a name");
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Cuts the part before the next `separator` off `rest`. Quoted strings do not matter here: none of what is looked for
// needs them, and an entry that has one with a comma in it falls apart into pieces that match nothing.
std::string_view cut(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view part = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return trim(part);
}

bool equals(std::string_view a, std::string_view lower_case) {
  return a.size() == lower_case.size() && std::equal(a.begin(), a.end(), lower_case.begin(), [](char x, char y) {
           return (x >= 'A' && x <= 'Z' ? static_cast<char>(x - 'A' + 'a') : x) == y;
         });
}

// Thousandths; a malformed weight counts as none at all (RFC 9110 section 12.4.2: 0, 1, up to three decimals).
int parse_weight(std::string_view text) {
  if (text.empty() || (text[0] != '0' && text[0] != '1')) return 0;
  int weight = (text[0] - '0') * 1000;
  if (text.size() == 1) return weight;
  if (text[1] != '.' || text.size() > 5) return 0;
  int unit = 100;
  for (const char c : text.substr(2)) {
    if (c < '0' || c > '9') return 0;
    weight += (c - '0') * unit;
    unit /= 10;
  }
  return weight <= 1000 ? weight : 0;
}

struct MediaRange {
  std::string_view type;
  std::string_view version;  // empty: any
  int weight = 1000;
};

MediaRange parse_range(std::string_view text) {
  MediaRange range;
  range.type = cut(text, ';');
  while (!text.empty()) {
    std::string_view value = cut(text, ';');
    const std::string_view name = cut(value, '=');
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    if (equals(name, "q")) {
      range.weight = parse_weight(value);
    } else if (equals(name, "version")) {
      range.version = value;
    }
  }
  return range;
}

}  // namespace

std::string_view content_type_of(ExpositionFormat format) {
  return format == ExpositionFormat::kText ? "text/plain; version=0.0.4; charset=utf-8"
                                           : "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

void ExpositionWriter::family(std::string_view name, MetricType type, std::string_view help) {
  CHECK((type == MetricType::kCounter) <= name.ends_with(kTotal), "a counter's name ends in _total");
  name_ = name;
  type_ = type;
  const bool open_metrics = format_ == ExpositionFormat::kOpenMetrics;
  if (open_metrics && type == MetricType::kCounter) name_.remove_suffix(kTotal.size());
  out_ += "# HELP ";
  out_ += name_;
  out_ += ' ';
  append_escaped(out_, help, open_metrics);
  out_ += "\n# TYPE ";
  out_ += name_;
  out_ += ' ';
  out_ += name_of(type);
  out_ += '\n';
}

void ExpositionWriter::sample(Labels labels, uint64_t value, unsigned decimals) {
  const bool counter = type_ == MetricType::kCounter;
  CHECK(type_ != MetricType::kHistogram, "a histogram has its own samples");
  line(counter && format_ == ExpositionFormat::kOpenMetrics ? kTotal : "", labels, {}, value, decimals);
  if (counter) created(labels);
}

void ExpositionWriter::histogram(Labels labels, std::span<const uint64_t> bounds, std::span<const uint64_t> buckets,
                                 uint64_t sum, unsigned decimals) {
  CHECK(type_ == MetricType::kHistogram, "the family is a histogram");
  CHECK(buckets.size() == bounds.size() + 1, "a bucket for each bound and one for the rest");
  uint64_t below = 0;
  std::string bound;
  for (size_t i = 0; i < buckets.size(); ++i) {
    below += buckets[i];
    bound.clear();
    if (i == bounds.size()) {
      bound = "+Inf";
    } else if (!append_scaled(bound, bounds[i], decimals) && format_ == ExpositionFormat::kOpenMetrics) {
      bound += ".0";  // the canonical number: bounds are labels, and labels are compared as text
    }
    line("_bucket", labels, bound, below, 0);
  }
  line("_sum", labels, {}, sum, decimals);
  line("_count", labels, {}, below, 0);
  created(labels);
}

void ExpositionWriter::finish() {
  if (format_ == ExpositionFormat::kOpenMetrics) out_ += "# EOF\n";
}

void ExpositionWriter::created(Labels labels) {
  if (format_ == ExpositionFormat::kOpenMetrics)
    line("_created", labels, {}, static_cast<uint64_t>(created_us_), kMicroDecimals);
}

void ExpositionWriter::line(std::string_view suffix, Labels labels, std::string_view bound, uint64_t value,
                            unsigned decimals) {
  out_ += name_;
  out_ += suffix;
  char before = '{';
  for (const Label& label : labels) {
    out_ += before;
    out_ += label.name;
    out_ += "=\"";
    append_escaped(out_, label.value, true);
    out_ += '"';
    before = ',';
  }
  if (!bound.empty()) {
    out_ += before;
    out_ += "le=\"";
    out_ += bound;
    out_ += '"';
    before = ',';
  }
  if (before == ',') out_ += '}';
  out_ += ' ';
  append_scaled(out_, value, decimals);
  out_ += '\n';
}

ExpositionFormat choose_exposition_format(std::span<const std::string_view> accept) {
  int open_metrics = -1;  // by name: who only says "*/*" has not asked for it
  // The most specific range that text/plain is in decides its weight (RFC 9110 section 12.5.1).
  int text = -1;
  int text_specificity = 0;
  for (std::string_view rest : accept) {
    while (!rest.empty()) {
      const MediaRange range = parse_range(cut(rest, ','));
      int specificity = 0;
      if (equals(range.type, "application/openmetrics-text")) {
        if (range.version.empty() || range.version == "1.0.0") open_metrics = std::max(open_metrics, range.weight);
      } else if (equals(range.type, "text/plain")) {
        if (range.version.empty() || range.version == "0.0.4") specificity = range.version.empty() ? 3 : 4;
      } else if (equals(range.type, "text/*")) {
        specificity = 2;
      } else if (range.type == "*/*") {
        specificity = 1;
      }
      if (specificity > text_specificity) {
        text = range.weight;
        text_specificity = specificity;
      }
    }
  }
  if (open_metrics <= 0) return ExpositionFormat::kText;
  const bool text_is_named = text_specificity >= 3;
  return open_metrics > text || (open_metrics == text && !text_is_named) ? ExpositionFormat::kOpenMetrics
                                                                         : ExpositionFormat::kText;
}

}  // namespace txn
