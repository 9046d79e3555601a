// GET /health, /livez, /readyz: no token, and no question to the database of their own.
#include "app/respond.h"
#include "app/routes.h"
#include "core/json_writer.h"
#include "core/version.h"
#include "net/query.h"

namespace txn {
namespace {

bool is_verbose(std::string_view text) {
  QueryReader query(text);
  while (query.next() == QueryReader::Status::kParameter) {
    if (query.name() == "verbose") return true;
  }
  return false;
}

}  // namespace

Task<void> handle_health(Context& context, Exchange& exchange, RouteMatch, Principal) {
  const bool database_up = context.health.is_database_up();
  std::string& out = context.scratch;
  out = database_up ? R"({"status":"healthy","timestamp":)" : R"({"status":"degraded","timestamp":)";
  append_json_timestamp(out, context.clock.wall_us());
  out += R"(,"components":{"database":)";
  out += database_up ? R"("healthy")" : R"("unhealthy: no answer from the database")";
  out += R"(,"accounts_service":"not configured","version":)";
  append_json_string(out, version());
  out += "}}";
  respond_json(exchange, out);
  co_return;
}

Task<void> handle_livez(Context& context, Exchange& exchange, RouteMatch, Principal) {
  // That this runs is the answer: the loop turns.
  context.scratch =
      is_verbose(exchange.request().query) ? R"({"status":"ok","checks":{"loop":"ok"}})" : R"({"status":"ok"})";
  respond_json(exchange, context.scratch);
  co_return;
}

Task<void> handle_readyz(Context& context, Exchange& exchange, RouteMatch, Principal) {
  const bool database_up = context.health.is_database_up();
  const bool draining = context.health.is_draining();
  const bool ready = context.health.is_ready() && !draining;
  std::string& out = context.scratch;
  out = ready ? R"({"status":"ok")" : R"({"status":"unavailable")";
  if (is_verbose(exchange.request().query)) {
    out += R"(,"checks":{"loop":"ok","database":)";
    out += database_up ? R"("ok")" : R"("away")";
    out += R"(,"draining":)";
    out += draining ? "true" : "false";
    out += '}';
  }
  out += '}';
  const HeaderField retry{"Retry-After", kRetryAfterSeconds};
  exchange.respond({.status = ready ? 200 : 503,
                    .content_type = kJsonContentType,
                    .body = out,
                    .headers = ready ? std::span<const HeaderField>() : std::span<const HeaderField>(&retry, 1)});
  co_return;
}

}  // namespace txn
