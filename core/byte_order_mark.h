// The byte order mark that editors of Windows put before a text in UTF-8 (Unicode standard, section 23.8, U+FEFF). It
// says nothing, and whoever looks for the first word of a file does not find it behind one.
#pragma once

#include <string>
#include <string_view>

namespace txn {

inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// `text` behind the mark that it begins with, if it does.
inline std::string_view without_byte_order_mark(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return text;
}

// Takes marks out of PEM, in place: that at the start, and those at the start of later lines, where a file was appended
// to another. Nothing of a PEM block has one within.
inline void drop_byte_order_marks(std::string& pem) {
  for (size_t at = 0; (at = pem.find(kByteOrderMark, at)) != std::string::npos;) {
    if (at == 0 || pem[at - 1] == '\n' || pem[at - 1] == '\r') {
      pem.erase(at, kByteOrderMark.size());
    } else {
      at += kByteOrderMark.size();
    }
  }
}

}  // namespace txn
