// Every error that a client can get, and how it is written: application/problem+json (RFC 9457).
//
// `type` is a place in the service's own documentation page, relative to the API's host: stable, and good to open in a
// browser. `error_code` is what programs should look at. Texts are literals of ours: nothing of the inside (SQL, paths,
// host names) can get into them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "app/token.h"
#include "app/validate.h"
#include "db/ledger_rows.h"

namespace txn {

inline constexpr std::string_view kProblemContentType = "application/problem+json";

enum class Problem : uint8_t {
  // 400: the request
  kMalformedRequest,
  kMalformedJson,
  kInvalidAmount,
  kInvalidTransferMode,
  // 400: the books
  kInsufficientFunds,
  kAccountNotActive,
  kSameAccountTransfer,
  kBalanceOverflow,
  kTransferLimitExceeded,
  kDailyTransactionCountExceeded,
  // 401, 403
  kNotAuthenticated,
  kInvalidToken,
  kTokenExpired,
  kInvalidPin,
  kForbidden,
  // 404 to 431
  kNotFound,
  kAccountNotFound,
  kTransferLimitNotFound,
  kTransactionLogNotFound,
  kMethodNotAllowed,
  kRequestTimeout,
  kIdempotencyConflict,
  kContentTooLarge,
  kUnsupportedMediaType,
  kExpectationFailed,
  kValidationError,
  kIdempotencyKeyReused,
  kPinLocked,
  kRateLimitExceeded,
  kRequestHeaderFieldsTooLarge,
  // 500 to 505
  kInternalError,
  kAccountUnreadable,
  kNotImplemented,
  kServiceUnavailable,
  kOutcomeUnknown,
  kHttpVersionNotSupported,
};
inline constexpr size_t kProblemCount = static_cast<size_t>(Problem::kHttpVersionNotSupported) + 1;

struct ProblemInfo {
  Problem problem;
  uint16_t status;
  std::string_view error_code;
  std::string_view title;
  std::string_view detail;            // for want of a better one
  std::string_view www_authenticate;  // value of the header (RFC 9110 section 11.6.1), empty: none
  bool retry_after;                   // whether the answer must have that header
};

const ProblemInfo& problem_info(Problem problem);

// What a client should do about it, whether to send the request again in the first place. A literal.
std::string_view problem_advice(Problem problem);

// What a client is told. `code` must not be kSuccess.
Problem problem_of(OutcomeCode code);
Problem problem_of(TokenError error);
Problem problem_of(BodyError::Kind kind);

struct ProblemFields {
  std::string_view detail;  // empty: the table's
  std::string_view request_id;
  std::string_view retry_after = {};        // seconds; empty: a moment
  uint16_t status = 0;                      // 0: the table's; NOT_AUTHENTICATED may be 401 or 403 by configuration
  std::string_view location = "body";       // where `errors` are: body, query, path, header
  std::span<const FieldError> errors = {};  // left out when empty
};

// Appends the document to `out`. Whatever the fields hold, the result is valid JSON in valid UTF-8.
void append_problem(std::string& out, Problem problem, const ProblemFields& fields);

}  // namespace txn
