// Appends JSON text (RFC 8259) to a buffer that the caller owns and reuses: nothing is allocated once it has grown.
//
// These write values, not documents: handlers spell out the punctuation between them, which keeps an answer readable
// where it is made and costs nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/money.h"

namespace txn {

// `text` in quotes. Quotes, backslashes and control characters are escaped; what is not UTF-8 (RFC 3629) becomes
// U+FFFD, one for every maximal piece of a broken sequence, so the output is valid UTF-8 whatever comes in.
void append_json_string(std::string& out, std::string_view text);

void append_json_int(std::string& out, int64_t value);

// A JSON number with exactly two decimals: 100.00.
void append_json_money(std::string& out, Money amount);

// Length of "2026-05-03T10:15:30.123456Z".
inline constexpr size_t kTimestampLength = 27;

// The instant as RFC 3339 in UTC with microseconds, kTimestampLength bytes to `out`. `us` counts microseconds since
// 1970-01-01 UTC; what lies outside the years 0000 to 9999, which RFC 3339 cannot write, becomes the nearest it can.
void format_timestamp(int64_t us, char* out);

// The above in quotes.
void append_json_timestamp(std::string& out, int64_t us);

}  // namespace txn
