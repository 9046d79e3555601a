// What every answer of the service must look like, whatever it says (contract section 2), as assertions.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "tests/support/json.h"
#include "tests/support/raw_client.h"

namespace txn::test {

// Six security headers exactly once, Date that is now, X-Request-ID, and nothing internal in the body.
::testing::AssertionResult has_common_headers(const HttpResponse& response);

// A success: `status`, the common headers, a JSON body.
::testing::AssertionResult is_json(const HttpResponse& response, int status = 200);

// An error as application/problem+json with all its members, and the common headers. An empty `error_code` accepts any
// (for those that the contract does not name).
::testing::AssertionResult is_problem(const HttpResponse& response, int status, std::string_view error_code = "");

// A 422 whose `errors` name `field` of `place` ("body" or "query").
::testing::AssertionResult is_validation_error(const HttpResponse& response, std::string_view field,
                                               std::string_view place = "body");

bool is_uuid(std::string_view text);
// RFC 3339, UTC, microseconds.
bool is_timestamp(std::string_view text);
// Digits, a point, two digits; an optional minus.
bool is_money(std::string_view text);

// The list in an answer that is an array, or an object around one array.
std::vector<Json> list_in(const HttpResponse& response);

}  // namespace txn::test
