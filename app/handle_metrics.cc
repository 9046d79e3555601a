// GET /metrics: no token. Prometheus' text format, or OpenMetrics for those who ask for it.
#include <array>

#include "app/metrics_scraper.h"
#include "app/respond.h"
#include "app/routes.h"

namespace txn {
namespace {

// Accept may come in several fields (RFC 9110 section 5.3); nobody needs more of them.
constexpr size_t kAcceptFieldsMax = 8;

ExpositionFormat format_for(const HttpRequest& request) {
  std::array<std::string_view, kAcceptFieldsMax> accept;
  size_t count = 0;
  for (size_t i = 0; i < request.header_count() && count < kAcceptFieldsMax; ++i) {
    const HeaderField field = request.header(i);
    if (equals_ignore_case(field.name, "accept")) accept[count++] = field.value;
  }
  return choose_exposition_format({accept.data(), count});
}

}  // namespace

Task<void> handle_metrics(Context& context, Exchange& exchange, RouteMatch, Principal) {
  const ExpositionFormat format = format_for(exchange.request());
  const std::string page = co_await context.scraper.scrape(context.loop, format);
  if (page.empty()) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  const HeaderField vary{"Vary", "Accept"};
  exchange.respond({.content_type = content_type_of(format), .body = page, .headers = {&vary, 1}});
}

}  // namespace txn
