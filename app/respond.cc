#include "app/respond.h"

#include <array>

#include "app/request_record.h"
#include "core/check.h"

namespace txn {
namespace {

constexpr size_t kHeadersMax = 4;

}  // namespace

void respond_json(Exchange& exchange, std::string_view json, int status) {
  exchange.respond({.status = status, .content_type = kJsonContentType, .body = json});
}

void respond_problem(Context& context, Exchange& exchange, Problem problem, ProblemFields fields,
                     std::span<const HeaderField> headers) {
  const ProblemInfo& info = problem_info(problem);
  ++context.counters.errors(problem);
  record_of(exchange).problem = problem;
  fields.request_id = exchange.request_id();
  if (problem == Problem::kNotAuthenticated)
    fields.status = static_cast<uint16_t>(context.settings.auth_missing_status);

  std::array<HeaderField, kHeadersMax> all;
  size_t count = 0;
  if (!info.www_authenticate.empty()) all[count++] = {"WWW-Authenticate", info.www_authenticate};
  if (info.retry_after)
    all[count++] = {"Retry-After", fields.retry_after.empty() ? kRetryAfterSeconds : fields.retry_after};
  for (const HeaderField& header : headers) {
    CHECK(count < kHeadersMax, "an error has a handful of headers");
    all[count++] = header;
  }
  context.scratch.clear();
  append_problem(context.scratch, problem, fields);
  exchange.respond({.status = fields.status != 0 ? fields.status : info.status,
                    .content_type = kProblemContentType,
                    .body = context.scratch,
                    .headers = {all.data(), count}});
}

void respond_unreadable(Context& context, Exchange& exchange, std::string_view table, const PgRow& row,
                        int64_t account_number) {
  context.unreadable.note(table, row.unreadable_column(), account_number);
  respond_problem(context, exchange, Problem::kAccountUnreadable);
}

void respond_invalid(Context& context, Exchange& exchange, std::string_view location, std::string_view field,
                     std::string_view message) {
  const FieldError error{.field = std::string(field), .message = message};
  respond_problem(context, exchange, Problem::kValidationError, {.location = location, .errors = {&error, 1}});
}

}  // namespace txn
