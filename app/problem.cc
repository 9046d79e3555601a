#include "app/problem.h"

#include <utility>

#include "core/check.h"
#include "core/json_writer.h"

namespace txn {
namespace {

// RFC 6750 section 3: with no credentials at all there is no error to name.
constexpr std::string_view kBearer = "Bearer";
constexpr std::string_view kBearerInvalid = R"(Bearer error="invalid_token")";
constexpr std::string_view kBearerExpired =
    R"(Bearer error="invalid_token", error_description="The token has expired")";
// RFC 9470: the token is good, but the caller has to prove more.
constexpr std::string_view kBearerPin =
    R"(Bearer error="insufficient_user_authentication", error_description="The PIN is missing or wrong")";

constexpr ProblemInfo kProblems[] = {
    {Problem::kMalformedRequest, 400, "MALFORMED_REQUEST", "Malformed request", "The request is not valid HTTP", "",
     false},
    {Problem::kMalformedJson, 400, "MALFORMED_JSON", "Malformed JSON",
     "The request body is not one JSON object in valid UTF-8", "", false},
    {Problem::kInvalidAmount, 400, "INVALID_AMOUNT", "Invalid amount",
     "The amount must be above zero, have at most two decimals and be within the limit of the operation", "", false},
    {Problem::kInvalidTransferMode, 400, "INVALID_TRANSFER_MODE", "Invalid transfer mode",
     "The transfer mode must be one of NEFT, RTGS, IMPS, UPI, CHEQUE", "", false},

    {Problem::kInsufficientFunds, 400, "INSUFFICIENT_FUNDS", "Insufficient funds",
     "The balance of the account does not cover the amount", "", false},
    {Problem::kAccountNotActive, 400, "ACCOUNT_NOT_ACTIVE", "Account not active", "The account is not active", "",
     false},
    {Problem::kSameAccountTransfer, 400, "SAME_ACCOUNT_TRANSFER", "Transfer to the same account",
     "The two accounts of a transfer must differ", "", false},
    {Problem::kBalanceOverflow, 400, "BALANCE_OVERFLOW", "Balance overflow",
     "The balance of the account would exceed 9999999999999.99", "", false},
    {Problem::kTransferLimitExceeded, 400, "TRANSFER_LIMIT_EXCEEDED", "Transfer limit exceeded",
     "The transfer would exceed the daily limit of the account", "", false},
    {Problem::kDailyTransactionCountExceeded, 400, "DAILY_TRANSACTION_COUNT_EXCEEDED",
     "Daily transaction count exceeded", "The account has made as many transfers today as it may", "", false},

    {Problem::kNotAuthenticated, 403, "NOT_AUTHENTICATED", "Not authenticated", "Not authenticated", kBearer, false},
    {Problem::kInvalidToken, 401, "INVALID_TOKEN", "Invalid token", "The token is not valid", kBearerInvalid, false},
    {Problem::kTokenExpired, 401, "TOKEN_EXPIRED", "Token expired", "The token has expired", kBearerExpired, false},
    {Problem::kInvalidPin, 401, "INVALID_PIN", "Invalid PIN", "The PIN of the account is missing or wrong", kBearerPin,
     false},
    {Problem::kForbidden, 403, "FORBIDDEN", "Forbidden", "The caller may not do this", "", false},

    {Problem::kNotFound, 404, "NOT_FOUND", "Not found", "There is nothing at this path", "", false},
    {Problem::kAccountNotFound, 404, "ACCOUNT_NOT_FOUND", "Account not found", "The account does not exist", "", false},
    {Problem::kTransferLimitNotFound, 404, "TRANSFER_LIMIT_NOT_FOUND", "Transfer limit not found",
     "There is no transfer limit for this privilege level", "", false},
    {Problem::kTransactionLogNotFound, 404, "TRANSACTION_LOG_NOT_FOUND", "Transaction log not found",
     "There is no such transaction", "", false},
    {Problem::kMethodNotAllowed, 405, "METHOD_NOT_ALLOWED", "Method not allowed",
     "The path does not support this method", "", false},
    {Problem::kRequestTimeout, 408, "REQUEST_TIMEOUT", "Request timeout", "The request did not arrive in time", "",
     false},
    {Problem::kIdempotencyConflict, 409, "IDEMPOTENCY_CONFLICT", "Idempotency conflict",
     "A request with this Idempotency-Key is still being processed", "", true},
    {Problem::kContentTooLarge, 413, "CONTENT_TOO_LARGE", "Content too large", "The request body exceeds 65536 bytes",
     "", false},
    {Problem::kUnsupportedMediaType, 415, "UNSUPPORTED_MEDIA_TYPE", "Unsupported media type",
     "The request body must be application/json", "", false},
    {Problem::kExpectationFailed, 417, "EXPECTATION_FAILED", "Expectation failed",
     "The only expectation supported is 100-continue", "", false},
    {Problem::kValidationError, 422, "VALIDATION_ERROR", "Validation error", "The request is not valid", "", false},
    {Problem::kIdempotencyKeyReused, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency key reused",
     "This Idempotency-Key was used with another request", "", false},
    {Problem::kPinLocked, 423, "PIN_LOCKED", "PIN locked",
     "The PIN is locked for 15 minutes after three wrong ones in a row", "", false},
    {Problem::kRateLimitExceeded, 429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded", "Rate limit exceeded", "", true},
    {Problem::kRequestHeaderFieldsTooLarge, 431, "REQUEST_HEADER_FIELDS_TOO_LARGE", "Request header fields too large",
     "The request line and the headers exceed 16384 bytes", "", false},

    {Problem::kInternalError, 500, "INTERNAL_ERROR", "Internal error", "The request could not be processed", "", false},
    {Problem::kAccountUnreadable, 500, "ACCOUNT_UNREADABLE", "Account unreadable",
     "What the database holds about the account cannot be read; nothing has been applied", "", false},
    {Problem::kNotImplemented, 501, "NOT_IMPLEMENTED", "Not implemented", "The request asks for what is not supported",
     "", false},
    {Problem::kServiceUnavailable, 503, "SERVICE_UNAVAILABLE", "Service unavailable",
     "The service is temporarily unavailable; the operation has not been applied", "", true},
    {Problem::kOutcomeUnknown, 504, "OUTCOME_UNKNOWN", "Outcome unknown",
     "Whether the operation has been applied is not known; retry with the same Idempotency-Key", "", true},
    {Problem::kHttpVersionNotSupported, 505, "HTTP_VERSION_NOT_SUPPORTED", "HTTP version not supported",
     "Only HTTP/1.0 and HTTP/1.1 are supported", "", false},
};

constexpr bool is_in_order_of_the_enum() {
  for (size_t i = 0; i < std::size(kProblems); ++i) {
    if (std::to_underlying(kProblems[i].problem) != i) return false;
  }
  return std::size(kProblems) == kProblemCount;
}
static_assert(is_in_order_of_the_enum());

}  // namespace

const ProblemInfo& problem_info(Problem problem) { return kProblems[std::to_underlying(problem)]; }

std::string_view problem_advice(Problem problem) {
  switch (problem) {
    case Problem::kMalformedRequest:
      return "Do not retry. The detail says what of the request breaks HTTP; the connection has been closed.";
    case Problem::kMalformedJson:
      return "Do not retry. The detail says what is wrong with the JSON.";
    case Problem::kInvalidAmount:
    case Problem::kInvalidTransferMode:
    case Problem::kSameAccountTransfer:
    case Problem::kValidationError:
      return "Do not retry. Correct what the answer names, and send it with a new Idempotency-Key.";
    case Problem::kInsufficientFunds:
    case Problem::kBalanceOverflow:
      return "Do not retry at once. When the balance or the amount has changed, send it with a new Idempotency-Key.";
    case Problem::kAccountNotActive:
      return "Do not retry. The bank has to activate the account.";
    case Problem::kTransferLimitExceeded:
    case Problem::kDailyTransactionCountExceeded:
      return "Retry after midnight UTC, with a new Idempotency-Key. GET /api/v1/transfer-limits/{account_number} says "
             "what is left of the day.";
    case Problem::kNotAuthenticated:
      return "Send a token: Authorization: Bearer, a space and the token.";
    case Problem::kInvalidToken:
      return "Do not retry with this token. Get a new one.";
    case Problem::kTokenExpired:
      return "Get a new token, then retry with the same Idempotency-Key.";
    case Problem::kInvalidPin:
      return "Ask for the PIN and send it with a new Idempotency-Key. Three wrong ones in a row lock it.";
    case Problem::kForbidden:
      return "Do not retry. Another caller, or one with another role, may.";
    case Problem::kNotFound:
    case Problem::kAccountNotFound:
    case Problem::kTransferLimitNotFound:
    case Problem::kTransactionLogNotFound:
      return "Do not retry. Check the path and the number or name in it or in the body.";
    case Problem::kMethodNotAllowed:
      return "Do not retry. The header Allow names the methods of the path.";
    case Problem::kRequestTimeout:
      return "Retry, with the same Idempotency-Key; nothing has been applied.";
    case Problem::kIdempotencyConflict:
      return "Retry shortly with the same Idempotency-Key: the answer will be that of the request under way.";
    case Problem::kContentTooLarge:
    case Problem::kRequestHeaderFieldsTooLarge:
      return "Do not retry. Send less.";
    case Problem::kUnsupportedMediaType:
      return "Do not retry. Send JSON, not compressed, with Content-Type: application/json.";
    case Problem::kExpectationFailed:
      return "Retry without the header Expect.";
    case Problem::kIdempotencyKeyReused:
      return "Do not retry. The key belongs to a request with another content; a new request needs a new key.";
    case Problem::kPinLocked:
      return "Retry after as many seconds as Retry-After says, with a new Idempotency-Key, or have the bank unlock the "
             "PIN.";
    case Problem::kRateLimitExceeded:
      return "Retry after as many seconds as Retry-After says, with the same Idempotency-Key.";
    case Problem::kInternalError:
      return "A fault of the service: report the request_id. With the same Idempotency-Key a retry does no harm.";
    case Problem::kAccountUnreadable:
      return "Do not retry before the bank has put the account right: report the request_id. Nothing has been applied.";
    case Problem::kNotImplemented:
      return "Do not retry. Use another method or transfer coding.";
    case Problem::kServiceUnavailable:
      return "Retry after as many seconds as Retry-After says. Nothing has been applied.";
    case Problem::kOutcomeUnknown:
      return "Retry with the same Idempotency-Key: the answer will say what became of it. Without a key look into the "
             "transaction log first.";
    case Problem::kHttpVersionNotSupported:
      return "Do not retry. Use HTTP/1.1.";
  }
  std::unreachable();
}

Problem problem_of(OutcomeCode code) {
  switch (code) {
    case OutcomeCode::kSuccess:
    case OutcomeCode::kReplayed:
      break;  // no problem, or one that has been written before
    case OutcomeCode::kAccountNotFound:
      return Problem::kAccountNotFound;
    case OutcomeCode::kForbidden:
      return Problem::kForbidden;
    case OutcomeCode::kAccountNotActive:
      return Problem::kAccountNotActive;
    case OutcomeCode::kSameAccountTransfer:
      return Problem::kSameAccountTransfer;
    case OutcomeCode::kInvalidPin:
      return Problem::kInvalidPin;
    case OutcomeCode::kPinLocked:
      return Problem::kPinLocked;
    case OutcomeCode::kInsufficientFunds:
      return Problem::kInsufficientFunds;
    case OutcomeCode::kBalanceOverflow:
      return Problem::kBalanceOverflow;
    case OutcomeCode::kTransferLimitExceeded:
      return Problem::kTransferLimitExceeded;
    case OutcomeCode::kDailyTransactionCountExceeded:
      return Problem::kDailyTransactionCountExceeded;
    case OutcomeCode::kAccountUnreadable:
      return Problem::kAccountUnreadable;
    case OutcomeCode::kKeyUnreadable:
      return Problem::kInternalError;
    case OutcomeCode::kIdempotencyConflict:
      return Problem::kIdempotencyConflict;
    case OutcomeCode::kIdempotencyKeyReused:
      return Problem::kIdempotencyKeyReused;
    case OutcomeCode::kUnavailable:
      return Problem::kServiceUnavailable;
    case OutcomeCode::kOutcomeUnknown:
      return Problem::kOutcomeUnknown;
  }
  CHECK(false, "asked for the problem of an outcome that has none");
}

Problem problem_of(TokenError error) {
  return kind_of(error) == TokenErrorKind::kExpired ? Problem::kTokenExpired : Problem::kInvalidToken;
}

Problem problem_of(BodyError::Kind kind) {
  switch (kind) {
    case BodyError::Kind::kMalformedJson:
      return Problem::kMalformedJson;
    case BodyError::Kind::kValidation:
      return Problem::kValidationError;
    case BodyError::Kind::kInvalidAmount:
      return Problem::kInvalidAmount;
    case BodyError::Kind::kInvalidTransferMode:
      return Problem::kInvalidTransferMode;
  }
  std::unreachable();
}

void append_problem(std::string& out, Problem problem, const ProblemFields& fields) {
  const ProblemInfo& info = problem_info(problem);
  out += R"({"type":"/api/v1/docs#)";
  out += info.error_code;
  out += R"(","title":")";
  out += info.title;
  out += R"(","status":)";
  append_json_int(out, fields.status != 0 ? fields.status : info.status);
  out += R"(,"detail":)";
  append_json_string(out, fields.detail.empty() ? info.detail : fields.detail);
  out += R"(,"error_code":")";
  out += info.error_code;
  out += R"(","request_id":)";
  append_json_string(out, fields.request_id);
  if (!fields.errors.empty()) {
    out += R"(,"errors":[)";
    for (const FieldError& error : fields.errors) {
      out += R"({"loc":[)";
      append_json_string(out, fields.location);
      out += ',';
      append_json_string(out, error.field);
      out += R"(],"msg":)";
      append_json_string(out, error.message);
      out += R"(},)";
    }
    out.back() = ']';
  }
  out += '}';
}

}  // namespace txn
