// Answers as handlers give them. Each of these ends the exchange.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "app/context.h"
#include "app/problem.h"
#include "net/exchange.h"

namespace txn {

inline constexpr std::string_view kJsonContentType = "application/json";
// Seconds after which a client that was refused for overload or absence of the database may try again.
inline constexpr std::string_view kRetryAfterSeconds = "1";

// 200 with `json`, which may be the context's scratch.
void respond_json(Exchange& exchange, std::string_view json, int status = 200);

// The document of `problem` with the headers that go with it; `fields.request_id` is filled in.
void respond_problem(Context& context, Exchange& exchange, Problem problem, ProblemFields fields = {},
                     std::span<const HeaderField> headers = {});

// 500 ACCOUNT_UNREADABLE for a row of `table` (a literal) that could not be read; counted, and told the operator.
// `account_number`: 0 when it is about no account.
void respond_unreadable(Context& context, Exchange& exchange, std::string_view table, const PgRow& row,
                        int64_t account_number);

// 422 for one value of the path or the query.
void respond_invalid(Context& context, Exchange& exchange, std::string_view location, std::string_view field,
                     std::string_view message);

}  // namespace txn
