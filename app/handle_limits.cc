// GET transfer limits: by privilege, all of them, and an account's with what is left of the day.
#include <algorithm>

#include "app/exchange_client.h"
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

// The columns of kSelectAccount.
enum AccountColumn {
  kOwner,
  kPrivilege,
  kDailyLimit,
  kTransactionLimit,
  kUsageDay,
  kUsageAmount,
  kUsageCount,
  kToday,
};

// The columns of kSelectLimit and kSelectLimits, which kSelectAccount has from kPrivilege on.
void append_limit(std::string& out, PgRow& row, int first = 0) {
  out += R"("privilege":)";
  append_json_string(out, row.bytes(first));
  out += R"(,"daily_limit":)";
  append_json_money(out, row.numeric(first + 1));
  out += R"(,"transaction_limit":)";
  append_json_int(out, row.int4(first + 2));
}

Task<void> answer_privilege(Context& context, Exchange& exchange, std::optional<Privilege> privilege,
                            Principal caller) {
  if (!privilege) {
    respond_problem(context, exchange, Problem::kTransferLimitNotFound);
    co_return;
  }
  PgParameters parameters;
  parameters.add_text(to_string(*privilege));
  const ExchangeClient client(exchange);
  const auto rows = co_await context.reader.query(sql::kSelectLimit, parameters, {caller.subject, &client});
  if (!rows) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  if (rows->rows() == 0) {
    respond_problem(context, exchange, Problem::kTransferLimitNotFound);
    co_return;
  }
  context.scratch = "{";
  PgRow row(*rows, 0);
  append_limit(context.scratch, row);
  context.scratch += '}';
  if (!row.ok()) {
    respond_unreadable(context, exchange, "transfer_limits", row, 0);
    co_return;
  }
  respond_json(exchange, context.scratch);
}

Task<void> answer_account(Context& context, Exchange& exchange, int64_t account_number, Principal caller) {
  PgParameters parameters;
  parameters.add_int8(account_number);
  const ExchangeClient client(exchange);
  const auto rows = co_await context.reader.query(sql::kSelectAccount, parameters, {caller.subject, &client});
  if (!rows) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  if (rows->rows() == 0) {
    respond_problem(context, exchange, Problem::kAccountNotFound);
    co_return;
  }
  PgRow row(*rows, 0);
  const int64_t owner_id = row.int8(kOwner);
  if (row.ok() && caller.role == Role::kCustomer && owner_id != caller.subject) {
    respond_problem(context, exchange, Problem::kForbidden);
    co_return;
  }
  std::string& out = context.scratch;
  out = R"({"account_number":)";
  append_json_int(out, account_number);
  out += ',';
  append_limit(out, row, kPrivilege);
  const AccountState usage_of{.usage_day = row.date(kUsageDay),
                              .usage_amount = row.numeric(kUsageAmount),
                              .usage_count = row.int4(kUsageCount)};
  row.expect(usage_of.usage_amount >= Money() && usage_of.usage_amount <= kMaxBalance, kUsageAmount);
  row.expect(usage_of.usage_count >= 0, kUsageCount);
  const Money daily_limit = row.numeric(kDailyLimit);
  const int32_t transaction_limit = row.int4(kTransactionLimit);
  row.expect(daily_limit >= Money() && daily_limit <= kMaxBalance, kDailyLimit);
  row.expect(transaction_limit >= 0, kTransactionLimit);
  const int64_t today = row.date(kToday);
  if (!row.ok()) {
    respond_unreadable(context, exchange, "accounts", row, account_number);
    co_return;
  }
  const DailyUsage used = daily_usage(usage_of, today * kDayUs);
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

Task<void> handle_privilege_limit(Context& context, Exchange& exchange, RouteMatch match, Principal caller) {
  return answer_privilege(context, exchange, parse_privilege(match.params[0]), caller);
}

// One place in the path for two things: digits are an account, letters a privilege level.
Task<void> handle_limit(Context& context, Exchange& exchange, RouteMatch match, Principal caller) {
  const std::string_view text = match.params[0];
  if (const auto privilege = parse_privilege(text)) return answer_privilege(context, exchange, privilege, caller);
  const bool is_number = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) return answer_privilege(context, exchange, std::nullopt, caller);
  const auto account_number = parse_number(text, 1);
  if (!account_number) {
    return [](Context& ctx, Exchange& ex) -> Task<void> {
      respond_invalid(ctx, ex, "path", "account_number", "must be an integer from 1 to 9223372036854775807");
      co_return;
    }(context, exchange);
  }
  return answer_account(context, exchange, *account_number, caller);
}

Task<void> handle_limit_rules(Context& context, Exchange& exchange, RouteMatch, Principal caller) {
  PgParameters none;
  const ExchangeClient client(exchange);
  const auto rows = co_await context.reader.query(sql::kSelectLimits, none, {caller.subject, &client});
  if (!rows) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  context.scratch = "[";
  for (int i = 0; i < rows->rows(); ++i) {
    PgRow row(*rows, i);
    context.scratch += i == 0 ? "{" : ",{";
    append_limit(context.scratch, row);
    context.scratch += '}';
    if (!row.ok()) {
      respond_unreadable(context, exchange, "transfer_limits", row, 0);
      co_return;
    }
  }
  context.scratch += ']';
  respond_json(exchange, context.scratch);
}

}  // namespace txn
