// Dates and times as clients write them in queries.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace txn {

// A day ("2026-11-22") or an instant of RFC 3339 ("2026-11-22T10:15:30.123456Z", an offset such as +05:30 in place of
// the Z, the fraction optional, further digits cut off) between the years 1970 and 9999, as microseconds since
// 1970-01-01 UTC. A day stands for its first microsecond in UTC, or for its last when `day_ends`. Nothing for other
// texts.
std::optional<int64_t> parse_time(std::string_view text, bool day_ends);

}  // namespace txn
