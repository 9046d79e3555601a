#include "tests/chaos/report.h"

#include <algorithm>
#include <array>
#include <functional>
#include <sstream>

#include "tests/support/json.h"

namespace txn::test {

namespace {

struct Column {
  const char* title;
  const char* key;
  std::function<int64_t(const ReportLine&)> value;
};

const std::vector<Column>& columns() {
  static const std::vector<Column> all{
      {"faults", "faults", [](const ReportLine& l) { return l.faults; }},
      {"hit", "hits", [](const ReportLine& l) { return l.hits; }},
      {"operations", "operations", [](const ReportLine& l) { return l.tally.operations; }},
      {"200", "succeeded", [](const ReportLine& l) { return l.tally.succeeded; }},
      {"refused", "refused", [](const ReportLine& l) { return l.tally.refused; }},
      {"503", "unavailable", [](const ReportLine& l) { return l.tally.unavailable; }},
      {"504", "unknown", [](const ReportLine& l) { return l.tally.unknown; }},
      {"no answer", "unanswered", [](const ReportLine& l) { return l.tally.unanswered; }},
      {"found applied", "found_applied", [](const ReportLine& l) { return l.tally.found_applied; }},
      {"found not", "found_not_applied", [](const ReportLine& l) { return l.tally.found_not_applied; }},
      {"replays", "replays_checked", [](const ReportLine& l) { return l.tally.replays_checked; }},
      {"reads", "reads_checked", [](const ReportLine& l) { return l.tally.reads_checked; }},
      {"doubts yes", "doubts_committed", [](const ReportLine& l) { return l.tally.doubts_committed; }},
      {"no", "doubts_rolled_back", [](const ReportLine& l) { return l.tally.doubts_rolled_back; }},
      {"lost", "lost", [](const ReportLine& l) { return l.findings.lost; }},
      {"doubled", "doubled", [](const ReportLine& l) { return l.findings.doubled; }},
      {"misreported", "misreported", [](const ReportLine& l) { return l.findings.misreported; }},
      {"books", "books", [](const ReportLine& l) { return l.findings.books; }},
  };
  return all;
}

ReportLine total_of(const Report& report) {
  ReportLine total;
  total.name = "all";
  total.faults = report.faults();
  total.tally = report.tally();
  total.findings = report.findings();
  for (const ReportLine& line : report.lines) {
    total.episodes += line.episodes;
    total.hits += line.name == kPairs ? 0 : line.hits;
  }
  return total;
}

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string verdict(const Findings& findings) {
  return findings.count() == 0 ? "audit: passed" : "audit: FAILED, " + std::to_string(findings.count()) + " findings";
}

}  // namespace

// Pairs are counted with their parts.
int64_t Report::faults() const {
  int64_t sum = 0;
  for (const ReportLine& line : lines) sum += line.name == kPairs ? 0 : line.faults;
  return sum;
}

Findings Report::findings() const {
  Findings all;
  for (const ReportLine& line : lines) all.add(line.findings);
  return all;
}

Tally Report::tally() const {
  Tally all;
  for (const ReportLine& line : lines) all.add(line.tally);
  return all;
}

std::string Report::text() const {
  std::ostringstream out;
  std::vector<ReportLine> all = lines;
  all.push_back(total_of(*this));
  size_t name_width = 0;
  for (const ReportLine& line : all) name_width = std::max(name_width, line.name.size());
  const auto cell = [&out](const std::string& value, size_t width) {
    out << "  " << std::string(width - std::min(width, value.size()), ' ') << value;
  };
  out << "seed " << seed << ", " << seconds << " s, " << sessions << " sessions\n\n" << std::string(name_width, ' ');
  for (const Column& column : columns()) cell(column.title, std::max<size_t>(std::string_view(column.title).size(), 5));
  out << "\n";
  for (const ReportLine& line : all) {
    out << line.name << std::string(name_width - line.name.size(), ' ');
    if (!line.left_out.empty()) {
      out << "  left out: " << line.left_out << "\n";
      continue;
    }
    for (const Column& column : columns())
      cell(std::to_string(column.value(line)), std::max<size_t>(std::string_view(column.title).size(), 5));
    out << "\n";
  }
  const Findings found = findings();
  out << "\n" << verdict(found) << "\n";
  for (size_t i = 0; i < std::min<size_t>(found.texts.size(), 20); ++i)
    out << "  " << found.texts[i].substr(0, 800) << "\n";
  if (found.texts.size() > 20) out << "  and " << found.texts.size() - 20 << " more\n";
  return out.str();
}

std::string Report::json() const {
  std::ostringstream out;
  out << "{\"seed\":" << seed << ",\"seconds\":" << seconds << ",\"sessions\":" << sessions
      << ",\"passed\":" << (findings().count() == 0 ? "true" : "false") << ",\"kinds\":[";
  bool first = true;
  std::vector<ReportLine> all = lines;
  all.push_back(total_of(*this));
  for (const ReportLine& line : all) {
    out << (first ? "\n" : ",\n") << "{\"name\":" << json_quoted(line.name) << ",\"what\":" << json_quoted(line.what)
        << ",\"left_out\":" << json_quoted(line.left_out) << ",\"episodes\":" << line.episodes;
    for (const Column& column : columns()) out << ",\"" << column.key << "\":" << column.value(line);
    out << "}";
    first = false;
  }
  out << "],\n\"findings\":[";
  first = true;
  for (const std::string& text : findings().texts) {
    out << (first ? "\n" : ",\n") << json_quoted(text);
    first = false;
  }
  out << "]}\n";
  return out.str();
}

std::string Report::html() const {
  std::ostringstream out;
  out << "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Chaos</title><style>"
         "body{font:15px system-ui,sans-serif;margin:2em}table{border-collapse:collapse}"
         "th,td{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:right}"
         "th:first-child,td:first-child{text-align:left}td.bad{background:#fdd}tr.all{font-weight:bold}"
         "small{color:#666;display:block}</style><h1>Chaos</h1><p>Seed "
      << seed << ", " << seconds << " seconds, " << sessions << " sessions. <b>" << verdict(findings())
      << "</b></p><table><tr><th>fault</th>";
  for (const Column& column : columns()) out << "<th>" << column.title << "</th>";
  out << "</tr>\n";
  std::vector<ReportLine> all = lines;
  all.push_back(total_of(*this));
  for (const ReportLine& line : all) {
    out << (line.name == "all" ? "<tr class=\"all\"><td>" : "<tr><td>") << html_escaped(line.name) << "<small>"
        << html_escaped(line.what) << "</small></td>";
    if (!line.left_out.empty()) {
      out << "<td colspan=\"" << columns().size() << "\">left out: " << html_escaped(line.left_out) << "</td></tr>\n";
      continue;
    }
    size_t index = 0;
    for (const Column& column : columns()) {
      const bool is_bad = index++ >= columns().size() - 4 && column.value(line) > 0;
      out << (is_bad ? "<td class=\"bad\">" : "<td>") << column.value(line) << "</td>";
    }
    out << "</tr>\n";
  }
  out << "</table>\n";
  if (!findings().texts.empty()) {
    out << "<h2>Findings</h2><ul>";
    for (const std::string& text : findings().texts) out << "<li>" << html_escaped(text) << "</li>\n";
    out << "</ul>";
  }
  out << "</html>\n";
  return out.str();
}

}  // namespace txn::test
