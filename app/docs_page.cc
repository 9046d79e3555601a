#include "app/docs_page.h"

#include <string>

#include "app/problem.h"

namespace txn {
namespace {

void append_html(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
}

void append_cell(std::string& out, std::string_view text) {
  out += "<td>";
  append_html(out, text);
  out += "</td>";
}

std::string make_page() {
  std::string out =
      "<!DOCTYPE html>\n"
      "<html lang=\"en\">\n"
      "<head><meta charset=\"utf-8\"><title>transactions-service: errors</title></head>\n"
      "<body>\n"
      "<h1>Errors of transactions-service</h1>\n"
      "<p>Errors are <code>application/problem+json</code> (RFC 9457). Programs look at <code>error_code</code>; the "
      "<code>detail</code> of an answer may say more than the meaning here.</p>\n"
      "<table>\n"
      "<thead><tr><th>error_code</th><th>Status</th><th>Title</th><th>Meaning</th><th>What to do</th></tr></thead>\n"
      "<tbody>\n";
  for (size_t i = 0; i < kProblemCount; ++i) {
    const auto problem = static_cast<Problem>(i);
    const ProblemInfo& info = problem_info(problem);
    out += "<tr id=\"";
    append_html(out, info.error_code);
    out += "\"><th scope=\"row\"><code>";
    append_html(out, info.error_code);
    out += "</code></th>";
    append_cell(out, std::to_string(info.status));
    append_cell(out, info.title);
    append_cell(out, info.detail);
    append_cell(out, problem_advice(problem));
    out += "</tr>\n";
  }
  out += "</tbody>\n</table>\n</body>\n</html>\n";
  return out;
}

}  // namespace

std::string_view docs_page() {
  static const std::string page = make_page();
  return page;
}

}  // namespace txn
