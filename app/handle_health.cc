// GET /health, /livez, /readyz: no token, and no question of their own to the database or the accounts service.
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
  const AccountsState::Reading accounts = co_await context.health.accounts_service();
  const bool database_up = context.health.is_database_up();
  const bool accounts_up = accounts.verdict == AccountsState::Verdict::kHealthy ||
                           accounts.verdict == AccountsState::Verdict::kNotConfigured;
  std::string& out = context.scratch;
  out = database_up && accounts_up ? R"({"status":"healthy","timestamp":)" : R"({"status":"degraded","timestamp":)";
  append_json_timestamp(out, context.clock.wall_us());
  out += R"(,"components":{"database":)";
  out += database_up ? R"("healthy")" : R"("unhealthy: no answer from the database")";
  out += R"(,"accounts_service":)";
  append_json_string(out, describe(accounts));
  out += R"(,"version":)";
  append_json_string(out, version());
  out += "}}";
  respond_json(exchange, out);
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
    out += R"(,"started":)";
    out += context.health.has_started() ? "true" : "false";
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
