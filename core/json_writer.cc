#include "core/json_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

namespace txn {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Whether a byte can be copied as it is: printable ASCII but for the quote and the backslash.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x80; ++c) plain[static_cast<size_t>(c)] = c != '"' && c != '\\';
  return plain;
}();

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// Where the first byte that is not plain stands, from `i` on; text.size() when all are.
size_t skip_plain(std::string_view text, size_t i) {
  // Eight at a time: a byte has its high bit set in `special` when it is no ASCII, below 0x20, a quote or a backslash.
  // (x - lows) borrows into the next byte only out of one that is special itself, so the lowest set bit is always true.
  constexpr uint64_t kLows = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  while (i + 8 <= text.size()) {
    uint64_t eight;
    std::memcpy(&eight, text.data() + i, 8);
    if constexpr (std::endian::native == std::endian::big) eight = __builtin_bswap64(eight);
    const uint64_t quotes = eight ^ (kLows * '"');
    const uint64_t backslashes = eight ^ (kLows * '\\');
    const uint64_t special = (eight | (eight - kLows * 0x20) | (quotes - kLows) | (backslashes - kLows)) & kHighs;
    if (special != 0) return i + static_cast<size_t>(std::countr_zero(special)) / 8;
    i += 8;
  }
  while (i < text.size() && kPlain[byte_at(text, i)]) ++i;
  return i;
}

// What the bytes from some place on are: a whole character of `length` bytes, or a broken one of `length` bytes.
struct Sequence {
  size_t length;
  bool valid;
};

// Table 3-7 of the Unicode standard: how many bytes follow a lead, and what the first of them may be.
Sequence next_sequence(std::string_view text, size_t i) {
  const uint8_t lead = byte_at(text, i);
  size_t length = 0;
  uint8_t lowest = 0x80, highest = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) lowest = 0xA0;   // shorter would do
    if (lead == 0xED) highest = 0x9F;  // surrogates
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) lowest = 0x90;   // shorter would do
    if (lead == 0xF4) highest = 0x8F;  // beyond U+10FFFF
  } else {
    return {1, false};
  }
  for (size_t k = 1; k < length; ++k) {
    if (i + k >= text.size() || byte_at(text, i + k) < lowest || byte_at(text, i + k) > highest) return {k, false};
    lowest = 0x80;
    highest = 0xBF;
  }
  return {length, true};
}

void append_escape(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  constexpr char kHex[] = "0123456789abcdef";
  const auto code = static_cast<uint8_t>(c);
  const char escape[] = {'\\', 'u', '0', '0', kHex[code >> 4], kHex[code & 15]};
  out.append(escape, sizeof(escape));
}

// Two digits of 0..99.
void put_2(char* out, uint32_t value) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
}

struct Date {
  uint32_t year, month, day;
};

// Howard Hinnant's civil_from_days, for days since 0000-03-01: years that begin in March put the leap day last, so
// lengths of months follow one linear formula.
Date civil_from_days(uint32_t days_since_march_0) {
  const uint32_t era = days_since_march_0 / 146'097;
  const uint32_t day_of_era = days_since_march_0 % 146'097;
  const uint32_t year_of_era = (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const uint32_t month_from_march = (5 * day_of_year + 2) / 153;
  const uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {.year = era * 400 + year_of_era + (month <= 2),
          .month = month,
          .day = day_of_year - (153 * month_from_march + 2) / 5 + 1};
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  size_t copied = 0;  // all before this stands in `out`
  for (size_t i = skip_plain(text, 0); i < text.size(); i = skip_plain(text, i)) {
    if (byte_at(text, i) >= 0x80) {
      const Sequence sequence = next_sequence(text, i);
      i += sequence.length;
      if (sequence.valid) continue;  // copied with the run that it is part of
      out.append(text, copied, i - sequence.length - copied);
      out += kReplacement;
    } else {
      out.append(text, copied, i - copied);
      append_escape(out, text[i]);
      ++i;
    }
    copied = i;
  }
  out.append(text, copied);
  out.push_back('"');
}

void append_json_int(std::string& out, int64_t value) {
  char text[20];
  const char* const end = std::to_chars(text, text + sizeof(text), value).ptr;
  out.append(text, static_cast<size_t>(end - text));
}

void append_json_money(std::string& out, Money amount) {
  char text[kMoneyTextMax];
  out.append(text, format_money(amount, text));
}

void format_timestamp(int64_t us, char* out) {
  constexpr int64_t kUsPerDay = int64_t{86'400} * 1'000'000;
  constexpr int64_t kDaysBeforeEpoch = 719'528;  // 0000-01-01 to 1970-01-01
  constexpr int64_t kDaysToYear10000 = 2'932'897;
  us = std::clamp(us, -kDaysBeforeEpoch * kUsPerDay, kDaysToYear10000 * kUsPerDay - 1);

  const auto since_year_0 = static_cast<uint64_t>(us + kDaysBeforeEpoch * kUsPerDay);
  const uint64_t of_day = since_year_0 % kUsPerDay;
  // The formula's days begin on 0000-03-01, the 60th day of a leap year. One era of 400 years more keeps the sum above
  // zero for the two months before.
  const Date date = civil_from_days(static_cast<uint32_t>(since_year_0 / kUsPerDay + 146'097 - 60));
  const uint32_t year = date.year - 400;
  const auto second_of_day = static_cast<uint32_t>(of_day / 1'000'000);
  const auto fraction = static_cast<uint32_t>(of_day % 1'000'000);

  put_2(out, year / 100);
  put_2(out + 2, year % 100);
  out[4] = '-';
  put_2(out + 5, date.month);
  out[7] = '-';
  put_2(out + 8, date.day);
  out[10] = 'T';
  put_2(out + 11, second_of_day / 3600);
  out[13] = ':';
  put_2(out + 14, second_of_day / 60 % 60);
  out[16] = ':';
  put_2(out + 17, second_of_day % 60);
  out[19] = '.';
  put_2(out + 20, fraction / 10'000);
  put_2(out + 22, fraction / 100 % 100);
  put_2(out + 24, fraction % 100);
  out[26] = 'Z';
}

void append_json_timestamp(std::string& out, int64_t us) {
  char text[kTimestampLength + 2];
  text[0] = text[kTimestampLength + 1] = '"';
  format_timestamp(us, text + 1);
  out.append(text, sizeof(text));
}

}  // namespace txn
