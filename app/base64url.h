// base64url without padding (RFC 4648 section 5, RFC 7515 section 2), with one spelling for each string of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace txn {

// Room that `characters` of text need when decoded.
constexpr size_t base64url_bytes_max(size_t characters) { return characters / 4 * 3 + 2; }

// Decodes `text` into `out`, which has room for base64url_bytes_max(text.size()). Returns the number of bytes, or -1
// for any character outside the alphabet (padding and white space too), an impossible length, or spare bits that are
// not zero.
ptrdiff_t decode_base64url(std::string_view text, uint8_t* out);

// The same for what others have written loosely: either alphabet, '-' and '_' or '+' and '/', with the padding that
// belongs there or without. Bytes still have one meaning, and spare bits are still zero. Not for tokens: those have one
// spelling.
ptrdiff_t decode_any_base64(std::string_view text, uint8_t* out);

std::string encode_base64url(std::string_view bytes);

}  // namespace txn
