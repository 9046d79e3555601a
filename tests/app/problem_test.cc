#include "app/problem.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <set>
#include <string>

#include "app/docs_page.h"

namespace txn {
namespace {

using namespace std::string_literals;

class ProblemTest : public testing::Test {
 protected:
  simdjson::dom::element parse(const std::string& text) {
    simdjson::dom::element root;
    const auto error = parser_.parse(text).get(root);
    EXPECT_EQ(error, simdjson::SUCCESS) << text;
    return root;
  }
  static std::string_view string_at(simdjson::dom::element root, std::string_view pointer) {
    std::string_view text = "(none)";
    EXPECT_EQ(root.at_pointer(pointer).get(text), simdjson::SUCCESS) << pointer;
    return text;
  }

  simdjson::dom::parser parser_;
};

// The page that errors lead to: a place for each, and what to do about it.
TEST_F(ProblemTest, ThePageHasAPlaceForEachError) {
  const std::string_view page = docs_page();
  std::set<std::string> ids;
  for (size_t at = page.find(" id=\""); at != std::string_view::npos; at = page.find(" id=\"", at + 1))
    EXPECT_TRUE(ids.insert(std::string(page.substr(at + 5, page.find('"', at + 5) - at - 5))).second);
  EXPECT_EQ(ids.size(), kProblemCount);
  for (size_t i = 0; i < kProblemCount; ++i) {
    const auto problem = static_cast<Problem>(i);
    EXPECT_TRUE(ids.contains(std::string(problem_info(problem).error_code)));
    EXPECT_NE(page.find(problem_info(problem).title), std::string_view::npos);
    EXPECT_TRUE(problem_advice(problem).ends_with('.')) << problem_info(problem).error_code;
  }
}

TEST_F(ProblemTest, TheContractsTable) {
  const struct {
    std::string_view error_code;
    int status;
    bool www_authenticate, retry_after;
  } kTable[] = {
      {"MALFORMED_REQUEST", 400, false, false},
      {"MALFORMED_JSON", 400, false, false},
      {"VALIDATION_ERROR", 422, false, false},
      {"INVALID_AMOUNT", 400, false, false},
      {"INSUFFICIENT_FUNDS", 400, false, false},
      {"ACCOUNT_NOT_ACTIVE", 400, false, false},
      {"SAME_ACCOUNT_TRANSFER", 400, false, false},
      {"BALANCE_OVERFLOW", 400, false, false},
      {"TRANSFER_LIMIT_EXCEEDED", 400, false, false},
      {"DAILY_TRANSACTION_COUNT_EXCEEDED", 400, false, false},
      {"INVALID_TRANSFER_MODE", 400, false, false},
      {"NOT_AUTHENTICATED", 403, true, false},
      {"INVALID_TOKEN", 401, true, false},
      {"TOKEN_EXPIRED", 401, true, false},
      {"INVALID_PIN", 401, true, false},
      {"FORBIDDEN", 403, false, false},
      {"NOT_FOUND", 404, false, false},
      {"ACCOUNT_NOT_FOUND", 404, false, false},
      {"TRANSFER_LIMIT_NOT_FOUND", 404, false, false},
      {"TRANSACTION_LOG_NOT_FOUND", 404, false, false},
      {"IDEMPOTENCY_CONFLICT", 409, false, true},
      {"IDEMPOTENCY_KEY_REUSED", 422, false, false},
      {"PIN_LOCKED", 423, false, false},
      {"RATE_LIMIT_EXCEEDED", 429, false, true},
      {"SERVICE_UNAVAILABLE", 503, false, true},
      {"ACCOUNT_UNREADABLE", 500, false, false},
      {"OUTCOME_UNKNOWN", 504, false, true},
      // Of HTTP itself.
      {"METHOD_NOT_ALLOWED", 405, false, false},
      {"REQUEST_TIMEOUT", 408, false, false},
      {"CONTENT_TOO_LARGE", 413, false, false},
      {"UNSUPPORTED_MEDIA_TYPE", 415, false, false},
      {"EXPECTATION_FAILED", 417, false, false},
      {"REQUEST_HEADER_FIELDS_TOO_LARGE", 431, false, false},
      {"INTERNAL_ERROR", 500, false, false},
      {"NOT_IMPLEMENTED", 501, false, false},
      {"HTTP_VERSION_NOT_SUPPORTED", 505, false, false},
  };
  EXPECT_EQ(std::size(kTable), kProblemCount);
  for (const auto& row : kTable) {
    int found = 0;
    for (size_t i = 0; i < kProblemCount; ++i) {
      const ProblemInfo& info = problem_info(static_cast<Problem>(i));
      if (info.error_code != row.error_code) continue;
      ++found;
      EXPECT_EQ(info.status, row.status) << row.error_code;
      EXPECT_EQ(!info.www_authenticate.empty(), row.www_authenticate) << row.error_code;
      EXPECT_EQ(info.retry_after, row.retry_after) << row.error_code;
    }
    EXPECT_EQ(found, 1) << row.error_code;
  }
  EXPECT_EQ(problem_info(Problem::kRateLimitExceeded).detail, "Rate limit exceeded");
}

TEST_F(ProblemTest, EveryProblemReadsBack) {
  for (size_t i = 0; i < kProblemCount; ++i) {
    const auto problem = static_cast<Problem>(i);
    const ProblemInfo& info = problem_info(problem);
    EXPECT_EQ(info.problem, problem);
    std::string text;
    append_problem(text, problem, {.detail = {}, .request_id = "r-1"});
    const auto root = parse(text);
    EXPECT_EQ(string_at(root, "/type"), "/api/v1/docs#" + std::string(info.error_code));
    EXPECT_EQ(string_at(root, "/title"), info.title);
    EXPECT_EQ(string_at(root, "/detail"), info.detail);
    EXPECT_EQ(string_at(root, "/error_code"), info.error_code);
    EXPECT_EQ(string_at(root, "/request_id"), "r-1");
    int64_t status = 0;
    EXPECT_EQ(root["status"].get(status), simdjson::SUCCESS);
    EXPECT_EQ(status, info.status);
    EXPECT_EQ(simdjson::dom::object(root).size(), 6u);
    EXPECT_FALSE(info.title.empty());
    EXPECT_FALSE(info.detail.empty());
  }
}

TEST_F(ProblemTest, WrittenOut) {
  std::string text = "kept:";
  append_problem(text, Problem::kInsufficientFunds, {.detail = {}, .request_id = "7f"});
  EXPECT_EQ(text,
            "kept:{\"type\":\"/api/v1/docs#INSUFFICIENT_FUNDS\",\"title\":\"Insufficient funds\",\"status\":400,"
            "\"detail\":\"The balance of the account does not cover the amount\",\"error_code\":\"INSUFFICIENT_FUNDS\","
            "\"request_id\":\"7f\"}");

  text.clear();
  const FieldError errors[] = {{"amount", "is required"}, {"pin", "must be a string of 4 to 6 digits"}};
  append_problem(text, Problem::kValidationError, {.detail = "No", .request_id = "7f", .errors = errors});
  EXPECT_EQ(
      text,
      "{\"type\":\"/api/v1/docs#VALIDATION_ERROR\",\"title\":\"Validation error\",\"status\":422,\"detail\":\"No\","
      "\"error_code\":\"VALIDATION_ERROR\",\"request_id\":\"7f\",\"errors\":["
      "{\"loc\":[\"body\",\"amount\"],\"msg\":\"is required\"},"
      "{\"loc\":[\"body\",\"pin\"],\"msg\":\"must be a string of 4 to 6 digits\"}]}");

  text.clear();
  append_problem(text, Problem::kNotAuthenticated, {.detail = {}, .request_id = "7f", .status = 401});
  EXPECT_NE(text.find("\"status\":401,"), std::string::npos);
}

TEST_F(ProblemTest, WhatClientsNameIsEscaped) {
  const FieldError errors[] = {{"a\"],\"x\":[\"\\\n\0\xFF\xED\xA0\x80"s, "is not a known field"}};
  std::string text;
  append_problem(text, Problem::kValidationError,
                 {.detail = "\x01\xC3", .request_id = "\"", .location = "query", .errors = errors});
  const auto root = parse(text);
  EXPECT_EQ(string_at(root, "/errors/0/loc/0"), "query");
  EXPECT_EQ(string_at(root, "/errors/0/loc/1"), "a\"],\"x\":[\"\\\n\0\uFFFD\uFFFD\uFFFD\uFFFD"s);
  EXPECT_EQ(string_at(root, "/detail"), "\x01\uFFFD");
  EXPECT_EQ(string_at(root, "/request_id"), "\"");
}

TEST_F(ProblemTest, EveryRefusalHasOne) {
  std::set<Problem> seen;
  for (int code = 1; code <= static_cast<int>(OutcomeCode::kOutcomeUnknown); ++code) {
    if (static_cast<OutcomeCode>(code) == OutcomeCode::kReplayed) continue;  // has its own answer
    EXPECT_TRUE(seen.insert(problem_of(static_cast<OutcomeCode>(code))).second) << code;
  }
  EXPECT_EQ(problem_of(OutcomeCode::kAccountNotFound), Problem::kAccountNotFound);
  EXPECT_EQ(problem_of(OutcomeCode::kUnavailable), Problem::kServiceUnavailable);
  EXPECT_EQ(problem_of(TokenError::kExpired), Problem::kTokenExpired);
  EXPECT_EQ(problem_of(TokenError::kBadSignature), Problem::kInvalidToken);
  EXPECT_EQ(problem_of(TokenError::kNotYetValid), Problem::kInvalidToken);
  EXPECT_EQ(problem_of(BodyError::Kind::kValidation), Problem::kValidationError);
  EXPECT_EQ(problem_of(BodyError::Kind::kInvalidAmount), Problem::kInvalidAmount);
}

TEST(ProblemDeathTest, ASuccessIsNone) { EXPECT_DEATH(problem_of(OutcomeCode::kSuccess), "that has none"); }

}  // namespace
}  // namespace txn
