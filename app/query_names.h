// The names in a query string, held to those that a route knows: a name that nobody looks at would be a filter that
// silently does not filter.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace txn {

struct QueryError {
  std::string field;    // as the client spelt it, hence of any content; at most BodyError::kFieldNameMax bytes of it
  std::string message;  // of what clients send, it has nothing
};

// What is wrong with the names in `query` (without its "?"): one that is not among `known`, one that is there twice, or
// no well-formed query at all (net/query.h); the first that is. Nothing when all is well, as it is with an empty query,
// at no cost. At most 32 `known` ones.
std::optional<QueryError> find_query_error(std::string_view query, std::span<const std::string_view> known);

}  // namespace txn
