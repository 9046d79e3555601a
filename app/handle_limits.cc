// GET transfer limits: by privilege, all of them, and an account's with what is left of the day.
#include <algorithm>

#include "app/path_value.h"
#include "app/respond.h"
#include "app/routes.h"
#include "app/rules.h"
#include "core/json_writer.h"
#include "core/log.h"
#include "db/statements.h"

namespace txn {
namespace {

constexpr int64_t kDayUs = 86'400'000'000;

void append_limit(std::string& out, std::string_view privilege, Money daily_limit, int32_t transaction_limit) {
  out += R"("privilege":)";
  append_json_string(out, privilege);
  out += R"(,"daily_limit":)";
  append_json_money(out, daily_limit);
  out += R"(,"transaction_limit":)";
  append_json_int(out, transaction_limit);
}

Task<void> answer_privilege(Context& context, Exchange& exchange, std::optional<Privilege> privilege) {
  if (!privilege) {
    respond_problem(context, exchange, Problem::kTransferLimitNotFound);
    co_return;
  }
  PgParameters parameters;
  parameters.add_text(to_string(*privilege));
  const auto rows = co_await context.reader.query(sql::kSelectLimit, parameters);
  if (!rows) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  if (rows->rows() == 0) {
    respond_problem(context, exchange, Problem::kTransferLimitNotFound);
    co_return;
  }
  context.scratch = "{";
  append_limit(context.scratch, rows->bytes(0, 0), rows->numeric(0, 1), rows->int4(0, 2));
  context.scratch += '}';
  respond_json(exchange, context.scratch);
}

Task<void> answer_account(Context& context, Exchange& exchange, int64_t account_number, Principal caller) {
  PgParameters parameters;
  parameters.add_int8(account_number);
  const auto rows = co_await context.reader.query(sql::kSelectAccount, parameters);
  if (!rows) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  if (rows->rows() == 0) {
    respond_problem(context, exchange, Problem::kAccountNotFound);
    co_return;
  }
  if (caller.role == Role::kCustomer && rows->int8(0, 0) != caller.subject) {
    respond_problem(context, exchange, Problem::kForbidden);
    co_return;
  }
  const AccountState usage_of{
      .usage_day = rows->date(0, 2), .usage_amount = rows->numeric(0, 3), .usage_count = rows->int4(0, 4)};
  const DailyUsage used = daily_usage(usage_of, rows->date(0, 7) * kDayUs);
  const Money daily_limit = rows->numeric(0, 5);
  const int32_t transaction_limit = rows->int4(0, 6);

  std::string& out = context.scratch;
  out = R"({"account_number":)";
  append_json_int(out, account_number);
  out += ',';
  append_limit(out, rows->bytes(0, 1), daily_limit, transaction_limit);
  out += R"(,"daily_used":)";
  append_json_money(out, used.amount);
  // Not below zero: a limit that an operator lowered may be below what was used by then.
  out += R"(,"daily_remaining":)";
  append_json_money(out, std::max(Money(), daily_limit - used.amount));
  out += R"(,"transactions_today":)";
  append_json_int(out, used.count);
  out += R"(,"transactions_remaining":)";
  append_json_int(out, std::max(0, transaction_limit - used.count));
  out += '}';
  respond_json(exchange, out);
}

}  // namespace

Task<void> handle_privilege_limit(Context& context, Exchange& exchange, RouteMatch match, Principal) {
  return answer_privilege(context, exchange, parse_privilege(match.params[0]));
}

// One place in the path for two things: digits are an account, letters a privilege level.
Task<void> handle_limit(Context& context, Exchange& exchange, RouteMatch match, Principal caller) {
  const std::string_view text = match.params[0];
  if (const auto privilege = parse_privilege(text)) return answer_privilege(context, exchange, privilege);
  const bool is_number = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) return answer_privilege(context, exchange, std::nullopt);
  const auto account_number = parse_number(text, 1);
  if (!account_number) {
    return [](Context& ctx, Exchange& ex) -> Task<void> {
      respond_invalid(ctx, ex, "path", "account_number", "must be an integer from 1 to 9223372036854775807");
      co_return;
    }(context, exchange);
  }
  return answer_account(context, exchange, *account_number, caller);
}

Task<void> handle_limit_rules(Context& context, Exchange& exchange, RouteMatch, Principal) {
  PgParameters none;
  const auto rows = co_await context.reader.query(sql::kSelectLimits, none);
  if (!rows) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  context.scratch = "[";
  for (int row = 0; row < rows->rows(); ++row) {
    context.scratch += row == 0 ? "{" : ",{";
    append_limit(context.scratch, rows->bytes(row, 0), rows->numeric(row, 1), rows->int4(row, 2));
    context.scratch += '}';
  }
  context.scratch += ']';
  respond_json(exchange, context.scratch);
}

}  // namespace txn
