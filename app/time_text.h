// Dates and times as clients write them in queries.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace txn {

// The first and the last microsecond of the years that RFC 3339 can write, 0000 and 9999, since 1970-01-01 UTC. The
// year 0000 is what PostgreSQL calls 1 BC; its timestamps go further, either way.
inline constexpr int64_t kTimeMinUs = -62'167'219'200'000'000;
inline constexpr int64_t kTimeMaxUs = 253'402'300'799'999'999;

// A day ("2026-11-22") or an instant of RFC 3339 ("2026-11-22T10:15:30.123456Z", an offset such as +05:30 in place of
// the Z, the fraction optional, further digits cut off; seconds may be missing, as Java's are when they are zero) of
// the years 0000 to 9999, as microseconds since 1970-01-01 UTC. A day stands for its first microsecond in UTC, or for
// its last when `day_ends`. What an offset brings outside these years is the nearest moment within. Nothing for other
// texts.
std::optional<int64_t> parse_time(std::string_view text, bool day_ends);

// Why parse_time() has nothing for `text`: what it must be, or which part of it is out of range. A literal.
std::string_view time_error(std::string_view text);

}  // namespace txn
