// Opaque cursors of paged answers: base64url of the seq that the next page lies below, with a byte that says so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace txn {

std::string encode_cursor(int64_t before_seq);

// Nothing for what encode_cursor cannot have made. `before_seq` comes out above zero.
std::optional<int64_t> decode_cursor(std::string_view text);

}  // namespace txn
