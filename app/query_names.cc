#include "app/query_names.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "app/validate.h"
#include "core/check.h"
#include "net/ascii.h"
#include "net/query.h"

namespace txn {
namespace {

constexpr size_t kComparedMax = BodyError::kFieldNameMax;

// How many letters have to be added, left out, replaced or swapped with their neighbour to make one of the other
// (optimal string alignment), whatever their case. Of longer texts the beginnings count.
size_t distance(std::string_view a, std::string_view b) {
  a = a.substr(0, kComparedMax);
  b = b.substr(0, kComparedMax);
  std::array<std::array<size_t, kComparedMax + 1>, 3> rows{};  // of i - 2, i - 1 and i, in turn
  for (size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i + 2) % 3];
    const auto& two_above = rows[(i + 1) % 3];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const auto same = [&](size_t in_a, size_t in_b) { return ascii_lower(a[in_a]) == ascii_lower(b[in_b]); };
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same(i - 1, j - 1) ? 0U : 1U)});
      if (i > 1 && j > 1 && same(i - 1, j - 2) && same(i - 2, j - 1)) row[j] = std::min(row[j], two_above[j - 2] + 1);
    }
  }
  return rows[a.size() % 3][b.size()];
}

std::string message_for(std::string_view name, std::span<const std::string_view> known) {
  if (known.empty()) return "is not known; this path takes no query parameters";
  const auto nearest =
      std::ranges::min_element(known, {}, [name](std::string_view candidate) { return distance(name, candidate); });
  std::string message = "is not known; the nearest that is: ";
  message += *nearest;
  if (known.size() > 1) {
    message += " (of";
    for (const std::string_view candidate : known) {
      message += candidate == known.front() ? " " : ", ";
      message += candidate;
    }
    message += ')';
  }
  return message;
}

}  // namespace

std::optional<QueryError> find_query_error(std::string_view query, std::span<const std::string_view> known) {
  if (query.empty()) return std::nullopt;
  CHECK(known.size() <= 32, "there is a bit for each known name");
  const auto error = [](std::string_view name, std::string message) {
    return QueryError{std::string(name.substr(0, BodyError::kFieldNameMax)), std::move(message)};
  };
  uint32_t seen = 0;
  QueryReader reader(query);
  while (reader.next() == QueryReader::Status::kParameter) {
    const auto found = std::ranges::find(known, reader.name());
    if (found == known.end()) return error(reader.name(), message_for(reader.name(), known));
    const uint32_t bit = uint32_t{1} << static_cast<size_t>(found - known.begin());
    if ((seen & bit) != 0) return error(reader.name(), "is there twice");
    seen |= bit;
  }
  if (reader.status() == QueryReader::Status::kTooLong && std::ranges::find(known, reader.name()) != known.end())
    return error(reader.name(), "is too long");
  if (reader.status() != QueryReader::Status::kEnd) return error("query", "is not a well-formed query string");
  return std::nullopt;
}

}  // namespace txn
