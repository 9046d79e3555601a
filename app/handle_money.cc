// POST /api/v1/deposits, /withdrawals, /transfers.
#include <array>
#include <charconv>
#include <optional>

#include "app/exchange_client.h"
#include "app/money_answer.h"
#include "app/problem.h"
#include "app/request_record.h"
#include "app/respond.h"
#include "app/routes.h"
#include "core/log.h"

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

// For the audit.
Movement movement_of(const Operation& operation) {
  return {.type = operation.type,
          .transfer_mode = operation.transfer_mode,
          .account_number = operation.account_number,
          .to_account = operation.to_account,
          .amount = operation.amount};
}

// Seconds as the value of a Retry-After (RFC 9110 section 10.2.3).
class RetryAfter {
 public:
  explicit RetryAfter(int64_t seconds)
      : end_(std::to_chars(digits_.data(), digits_.data() + digits_.size(), seconds).ptr) {}
  HeaderField header() const { return {"Retry-After", {digits_.data(), static_cast<size_t>(end_ - digits_.data())}}; }

 private:
  std::array<char, 20> digits_;
  const char* end_;
};

// An answer as it is kept under a key, and what goes with it besides its body. The repeat of a 423 will be a 423 for as
// long as it is kept, so only the first one says when the PIN can be used again.
void respond_stored(Exchange& exchange, const Outcome& outcome, const StoredAnswer& answer) {
  const RetryAfter retry_after(outcome.pin_locked_s);
  HeaderField headers[2];
  size_t count = 0;
  if (outcome.code == OutcomeCode::kReplayed) headers[count++] = {"Idempotency-Replayed", "true"};
  if (outcome.code == OutcomeCode::kPinLocked) headers[count++] = retry_after.header();
  // Of the books' refusals only a wrong PIN asks for credentials.
  if (answer.status == 401)
    headers[count++] = {"WWW-Authenticate", problem_info(Problem::kInvalidPin).www_authenticate};
  exchange.respond({.status = answer.status,
                    .content_type = answer.status == 200 ? kJsonContentType : kProblemContentType,
                    .body = answer.body,
                    .headers = {headers, count}});
}

// What became of a request to move money. Those that the service refused before this file counts nothing of.
void count(ServiceCounters::Transactions& counters, OutcomeCode code, Money amount) {
  if (code == OutcomeCode::kSuccess) {
    ++counters.successes;
    counters.amount_cents.observe(static_cast<uint64_t>(amount.minor()));
  } else if (code == OutcomeCode::kReplayed) {
    ++counters.replays;
  } else {
    ++counters.errors;
  }
}

Task<void> move_money(OperationType type, Context& context, Exchange& exchange, Principal caller) {
  ServiceCounters::Transactions& counters = context.counters.transactions(type);
  const auto sent_key = exchange.request().find(KnownHeader::kIdempotencyKey);
  std::expected<std::string, std::string_view> key;
  if (sent_key) key = parse_idempotency_key(*sent_key);
  if (!key) {
    ++counters.errors;
    respond_invalid(context, exchange, "header", "Idempotency-Key", key.error());
    co_return;
  }
  if (!sent_key && exchange.request().has(KnownHeader::kXIdempotencyKey)) {
    // Who sends it believes to be safe from doing things twice, and would not be.
    ++counters.errors;
    respond_invalid(context, exchange, "header", "X-Idempotency-Key", "is not known; the header is Idempotency-Key");
    co_return;
  }
  auto operation = parse(context, type, exchange.request().body);
  if (!operation) {
    ++counters.errors;
    const BodyError& error = operation.error();
    if (error.kind != BodyError::Kind::kValidation) record_of(exchange).reason = error.detail;
    respond_problem(context, exchange, problem_of(error.kind), {.detail = error.detail, .errors = error.fields});
    co_return;
  }
  operation->caller_id = caller.subject;
  operation->caller_role = caller.role;
  std::optional<IdempotentRequest> idempotent;
  if (sent_key) {
    idempotent = IdempotentRequest{.caller_id = caller.subject,
                                   .route = type,
                                   .key = std::move(*key),
                                   .fingerprint = context.fingerprints.fingerprint(*operation),
                                   .request_digest = context.fingerprints.digest(*operation),
                                   .request_id = std::string(exchange.request_id())};
  }

  RequestRecord& record = record_of(exchange);
  Movement& movement = record.movement.emplace(movement_of(*operation));
  const ExchangeClient client(exchange);
  record.ledger_begin_ns = context.clock.now_ns();
  const Outcome outcome = co_await context.ledger.submit(*operation, idempotent ? &*idempotent : nullptr, &client);
  count(counters, outcome.code, operation->amount);
  record.ledger_end_ns = context.clock.now_ns();
  movement.transaction_id = outcome.transaction_id;
  movement.replayed = outcome.code == OutcomeCode::kReplayed;
  if (outcome.code == OutcomeCode::kInvalidPin && outcome.pin_locked_s > 0) {
    LOG(kWarning, "app.money", "Three wrong PINs in a row; the PIN is locked")
        .field("request_id", exchange.request_id())
        .field("account_number", outcome.account_number)
        .field("locked_s", outcome.pin_locked_s);
  }
  if (idempotent && idempotent->answer.status != 0 && outcome.code != OutcomeCode::kOutcomeUnknown &&
      outcome.code != OutcomeCode::kUnavailable) {
    if (movement.replayed) {
      movement.transaction_id = transaction_id_of(idempotent->answer.body);
    } else if (outcome.code != OutcomeCode::kSuccess) {
      record.problem = problem_of(outcome.code);
      ++context.counters.errors(*record.problem);
    }
    respond_stored(exchange, outcome, idempotent->answer);
    co_return;
  }
  if (outcome.code == OutcomeCode::kPinLocked) {
    const RetryAfter retry_after(outcome.pin_locked_s);
    const HeaderField header = retry_after.header();
    respond_problem(context, exchange, Problem::kPinLocked, {}, {&header, 1});
    co_return;
  }
  if (outcome.code != OutcomeCode::kSuccess) {
    respond_problem(context, exchange, problem_of(outcome.code));
    co_return;
  }
  context.scratch.clear();
  append_money_answer(context.scratch, *operation, outcome, exchange.request_id());
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
