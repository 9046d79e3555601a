// GET transaction logs: an account's, page by page, and those of one transaction.
#include <algorithm>
#include <utility>

#include "app/cursor.h"
#include "app/exchange_client.h"
#include "app/path_value.h"
#include "app/query_names.h"
#include "app/respond.h"
#include "app/routes.h"
#include "app/time_text.h"
#include "core/json_writer.h"
#include "db/statements.h"
#include "net/query.h"

namespace txn {
namespace {

constexpr int64_t kLimitDefault = 50;
constexpr int64_t kLimitMax = 500;
// Beyond it the database would read and drop too many rows for one answer.
constexpr int64_t kSkipMax = 10'000;

struct PageQuery {
  int64_t limit = kLimitDefault;
  int64_t before_seq = INT64_MAX;
  int64_t skip = 0;
  bool has_dates = false;
  int64_t start_us = kTimeMinUs;
  int64_t end_us = kTimeMaxUs;
};

// What one parameter asks for; an error message when it cannot be that.
std::string_view apply(PageQuery& page, std::string_view name, std::string_view value) {
  if (name == "limit") {
    const auto limit = parse_number(value, 1, kLimitMax);
    if (!limit) return "must be an integer from 1 to 500";
    page.limit = *limit;
  } else if (name == "skip") {
    const auto skip = parse_number(value, 0);
    if (!skip) return "must be an integer from 0 to 10000";
    if (*skip > kSkipMax) return "must be at most 10000; follow next_cursor to go further";
    page.skip = *skip;
  } else if (name == "cursor") {
    const auto before_seq = decode_cursor(value);
    if (!before_seq) return "must be the next_cursor of an earlier page";
    page.before_seq = *before_seq;
  } else if (name == "start_date") {
    const auto start_us = parse_time(value, false);
    if (!start_us) return time_error(value);
    page.start_us = *start_us;
    page.has_dates = true;
  } else if (name == "end_date") {
    const auto end_us = parse_time(value, true);
    if (!end_us) return time_error(value);
    page.end_us = *end_us;
    page.has_dates = true;
  }
  return {};
}

// The names have been looked at before (app/query_names.h).
std::expected<PageQuery, QueryError> parse_page(std::string_view text) {
  PageQuery page;
  QueryReader query(text);
  while (query.next() == QueryReader::Status::kParameter) {
    const std::string_view message = apply(page, query.name(), query.value());
    if (!message.empty()) return std::unexpected(QueryError{std::string(query.name()), std::string(message)});
  }
  return page;
}

// The columns of kSelectLogs and kSelectTransaction.
enum Column {
  kId,
  kSeq,
  kCounterparty,
  kAmount,
  kType,
  kDirection,
  kBalanceAfter,
  kTransactionId,
  kMode,
  kDescription,
  kCreatedAt,
  kAccount,  // kSelectTransaction only, as the next
  kOwner,
};

void append_text_or_null(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "null";
  } else {
    append_json_string(out, text);
  }
}

void append_log_row(std::string& out, PgRow& row, int64_t account_number, bool shows_balance) {
  out += R"({"id":)";
  append_json_int(out, row.int8(kId));
  out += R"(,"seq":)";
  append_json_int(out, row.int8(kSeq));
  out += R"(,"account_number":)";
  append_json_int(out, account_number);
  out += R"(,"counterparty":)";
  if (row.is_null(kCounterparty)) {
    out += "null";
  } else {
    append_json_int(out, row.int8(kCounterparty));
  }
  out += R"(,"amount":)";
  append_json_money(out, row.numeric(kAmount));
  out += R"(,"transaction_type":)";
  append_json_string(out, row.bytes(kType));
  out += R"(,"direction":)";
  append_json_string(out, row.bytes(kDirection));
  if (shows_balance) {
    out += R"(,"balance_after":)";
    append_json_money(out, row.numeric(kBalanceAfter));
  }
  out += R"(,"reference_id":)";
  append_json_int(out, row.int8(kTransactionId));
  out += R"(,"transfer_mode":)";
  append_text_or_null(out, row.bytes(kMode));
  out += R"(,"description":)";
  append_json_string(out, row.bytes(kDescription));
  out += R"(,"created_at":)";
  append_json_timestamp(out, row.timestamptz(kCreatedAt));
  out += '}';
}

}  // namespace

Task<void> handle_account_logs(Context& context, Exchange& exchange, RouteMatch match, Principal caller) {
  const auto account_number = parse_number(match.params[0], 1);
  if (!account_number) {
    respond_invalid(context, exchange, "path", "account_number", "must be an integer from 1 to 9223372036854775807");
    co_return;
  }
  const auto page = parse_page(exchange.request().query);
  if (!page) {
    respond_invalid(context, exchange, "query", page.error().field, page.error().message);
    co_return;
  }

  PgParameters parameters;
  parameters.add_int8(*account_number);
  const ExchangeClient client(exchange);
  const ReadCaller reads{.subject = caller.subject, .client = &client};
  const auto account = co_await context.reader.query(sql::kSelectAccount, parameters, reads);
  if (!account) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  if (account->rows() == 0) {
    respond_problem(context, exchange, Problem::kAccountNotFound);
    co_return;
  }
  PgRow owner(*account, 0);
  const int64_t owner_id = owner.int8(0);
  if (!owner.ok()) {
    respond_unreadable(context, exchange, "accounts", owner, *account_number);
    co_return;
  }
  if (caller.role == Role::kCustomer && owner_id != caller.subject) {
    respond_problem(context, exchange, Problem::kForbidden);
    co_return;
  }

  parameters.clear();
  parameters.add_int8(*account_number);
  parameters.add_int8(page->before_seq);
  parameters.add_int8(page->skip);
  parameters.add_int8(page->limit + 1);  // one more than asked for tells whether there is more
  if (page->has_dates) {
    parameters.add_timestamptz(page->start_us);
    parameters.add_timestamptz(page->end_us);
  }
  const auto rows =
      co_await context.reader.query(page->has_dates ? sql::kSelectLogsBetween : sql::kSelectLogs, parameters, reads);
  if (!rows) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }

  const int count = std::min(rows->rows(), static_cast<int>(page->limit));
  const bool has_more = rows->rows() > count;
  std::string& out = context.scratch;
  out = R"({"account_number":)";
  append_json_int(out, *account_number);
  out += R"(,"logs":[)";
  int64_t last_seq = 0;
  bool is_first = true;
  for (int i = 0; i < count; ++i) {
    PgRow row(*rows, i);
    last_seq = row.int8(kSeq);
    // Rows in between that are of other times: the database's clock was set back. The next page goes on behind them.
    const int64_t created_us = row.timestamptz(kCreatedAt);
    if (row.ok() && page->has_dates && (created_us < page->start_us || created_us > page->end_us)) continue;
    if (!std::exchange(is_first, false)) out += ',';
    append_log_row(out, row, *account_number, true);
    if (!row.ok()) {
      respond_unreadable(context, exchange, "transaction_logs", row, *account_number);
      co_return;
    }
  }
  out += R"(],"limit":)";
  append_json_int(out, page->limit);
  out += has_more ? R"(,"has_more":true,"next_cursor":)" : R"(,"has_more":false,"next_cursor":)";
  if (has_more) {
    append_json_string(out, encode_cursor(last_seq));
  } else {
    out += "null";
  }
  out += '}';
  respond_json(exchange, out);
}

Task<void> handle_transaction_logs(Context& context, Exchange& exchange, RouteMatch match, Principal caller) {
  const auto transaction_id = parse_number(match.params[0], 1);
  if (!transaction_id) {
    respond_invalid(context, exchange, "path", "transaction_id", "must be an integer from 1 to 9223372036854775807");
    co_return;
  }
  if (*transaction_id > (INT64_MAX - 1) / 2) {  // twice the id, plus a leg, would not fit the column
    respond_problem(context, exchange, Problem::kTransactionLogNotFound);
    co_return;
  }
  PgParameters parameters;
  parameters.add_int8(*transaction_id);
  const ExchangeClient client(exchange);
  const auto rows = co_await context.reader.query(sql::kSelectTransaction, parameters, {caller.subject, &client});
  if (!rows) {
    respond_problem(context, exchange, Problem::kServiceUnavailable);
    co_return;
  }
  if (rows->rows() == 0) {
    respond_problem(context, exchange, Problem::kTransactionLogNotFound);
    co_return;
  }
  // A party sees both legs, but only its own balance.
  const auto owns = [&](int row) {
    return caller.role != Role::kCustomer || rows->int8(row, kOwner) == caller.subject;
  };
  bool is_party = false;
  for (int row = 0; row < rows->rows(); ++row) is_party = is_party || owns(row);
  if (!is_party) {
    respond_problem(context, exchange, Problem::kForbidden);
    co_return;
  }
  std::string& out = context.scratch;
  out = R"({"transaction_id":)";
  append_json_int(out, *transaction_id);
  out += R"(,"logs":[)";
  for (int i = 0; i < rows->rows(); ++i) {
    PgRow row(*rows, i);
    const int64_t account_number = row.int8(kAccount);
    if (i > 0) out += ',';
    append_log_row(out, row, account_number, owns(i));
    if (!row.ok()) {
      respond_unreadable(context, exchange, "transaction_logs", row, account_number);
      co_return;
    }
  }
  out += "]}";
  respond_json(exchange, out);
}

}  // namespace txn
