// POST /api/v1/deposits, /withdrawals, /transfers.
#include "app/problem.h"
#include "app/respond.h"
#include "app/routes.h"
#include "core/json_writer.h"

namespace txn {
namespace {

std::expected<Operation, BodyError> parse(Context& context, OperationType type, std::string_view body) {
  switch (type) {
    case OperationType::kDeposit:
      return context.bodies.parse_deposit(body);
    case OperationType::kWithdrawal:
      return context.bodies.parse_withdrawal(body);
    case OperationType::kTransfer:
      return context.bodies.parse_transfer(body);
  }
  CHECK(false, "every operation has a body parser");
}

void append_success(std::string& out, const Operation& operation, const Outcome& outcome) {
  out += R"({"status":"SUCCESS","transaction_id":)";
  append_json_int(out, outcome.transaction_id);
  out += R"(,"transaction_type":")";
  out += to_string(operation.type);
  out += R"(","amount":)";
  append_json_money(out, operation.amount);
  out += R"(,"description":)";
  append_json_string(out, operation.description);
  out += R"(,"transaction_date":)";
  append_json_timestamp(out, outcome.transacted_at_us);
  if (operation.type == OperationType::kTransfer) {
    out += R"(,"from_account":)";
    append_json_int(out, operation.account_number);
    out += R"(,"to_account":)";
    append_json_int(out, operation.to_account);
    out += R"(,"transfer_mode":")";
    out += to_string(operation.transfer_mode);
    out += R"(","from_account_new_balance":)";
    append_json_money(out, outcome.new_balance);
    if (outcome.to_balance_visible) {
      out += R"(,"to_account_new_balance":)";
      append_json_money(out, outcome.to_new_balance);
    }
  } else {
    out += R"(,"account_number":)";
    append_json_int(out, operation.account_number);
    out += R"(,"new_balance":)";
    append_json_money(out, outcome.new_balance);
  }
  out += '}';
}

Task<void> move_money(OperationType type, Context& context, Exchange& exchange, Principal caller) {
  auto operation = parse(context, type, exchange.request().body);
  if (!operation) {
    const BodyError& error = operation.error();
    respond_problem(context, exchange, problem_of(error.kind), {.detail = error.detail, .errors = error.fields});
    co_return;
  }
  operation->caller_id = caller.subject;
  operation->caller_role = caller.role;

  const Outcome outcome = co_await context.ledger.submit(*operation);
  if (outcome.code != OutcomeCode::kSuccess) {
    respond_problem(context, exchange, problem_of(outcome.code));
    co_return;
  }
  context.scratch.clear();
  append_success(context.scratch, *operation, outcome);
  respond_json(exchange, context.scratch);
}

}  // namespace

// Not coroutines themselves: a frame more per request would buy nothing.
Task<void> handle_deposit(Context& context, Exchange& exchange, RouteMatch, Principal caller) {
  return move_money(OperationType::kDeposit, context, exchange, caller);
}

Task<void> handle_withdrawal(Context& context, Exchange& exchange, RouteMatch, Principal caller) {
  return move_money(OperationType::kWithdrawal, context, exchange, caller);
}

Task<void> handle_transfer(Context& context, Exchange& exchange, RouteMatch, Principal caller) {
  return move_money(OperationType::kTransfer, context, exchange, caller);
}

}  // namespace txn
