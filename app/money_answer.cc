#include "app/money_answer.h"

#include <charconv>
#include <string_view>

#include "core/json_writer.h"

namespace txn {
namespace {

constexpr std::string_view kSuccessBegins = R"({"status":"SUCCESS","transaction_id":)";

void append_success(std::string& out, const Operation& operation, const Outcome& outcome) {
  out += kSuccessBegins;
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

}  // namespace

int append_money_answer(std::string& out, const Operation& operation, const Outcome& outcome,
                        std::string_view request_id) {
  if (outcome.code == OutcomeCode::kSuccess) {
    append_success(out, operation, outcome);
    return 200;
  }
  const Problem problem = problem_of(outcome.code);
  append_problem(out, problem, {.request_id = request_id});
  return problem_info(problem).status;
}

int64_t transaction_id_of(std::string_view answer) {
  if (!answer.starts_with(kSuccessBegins)) return 0;
  int64_t id = 0;
  const char* const begin = answer.data() + kSuccessBegins.size();
  return std::from_chars(begin, answer.data() + answer.size(), id).ec == std::errc() ? id : 0;
}

}  // namespace txn
