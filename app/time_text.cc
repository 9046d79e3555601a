#include "app/time_text.h"

#include <algorithm>
#include <chrono>

namespace txn {
namespace {

constexpr int64_t kDayUs = 86'400'000'000;

// Takes exactly `count` digits from the front.
std::optional<int> take_digits(std::string_view& text, size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<int64_t> take_date(std::string_view& text) {
  const auto year = take_digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch().count() * kDayUs;
}

// What is behind the seconds' point: at least one digit, the first six count.
std::optional<int64_t> take_fraction(std::string_view& text) {
  int64_t us = 0;
  size_t digits = 0;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    if (digits < 6) us = us * 10 + (text.front() - '0');
    ++digits;
    text.remove_prefix(1);
  }
  if (digits == 0) return std::nullopt;
  for (; digits < 6; ++digits) us *= 10;
  return us;
}

// "Z", "+05:30" or "-05:30", in microseconds east of UTC.
std::optional<int64_t> take_offset(std::string_view& text) {
  if (take(text, 'Z') || take(text, 'z')) return 0;
  // A "+" that nobody percent-encoded arrives from a query as a blank.
  const bool east = take(text, '+') || take(text, ' ');
  if (!east && !take(text, '-')) return std::nullopt;
  const auto hours = take_digits(text, 2);
  if (!hours || *hours > 23 || !take(text, ':')) return std::nullopt;
  const auto minutes = take_digits(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const int64_t us = (*hours * 60 + *minutes) * int64_t{60'000'000};
  return east ? us : -us;
}

}  // namespace

std::optional<int64_t> parse_time(std::string_view text, bool day_ends) {
  const auto date_us = take_date(text);
  if (!date_us) return std::nullopt;
  if (text.empty()) return day_ends ? *date_us + kDayUs - 1 : *date_us;
  if (!take(text, 'T') && !take(text, 't') && !take(text, ' ')) return std::nullopt;
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  int64_t us = *date_us + (*hour * 60 + *minute) * int64_t{60'000'000};
  if (take(text, ':')) {
    const auto second = take_digits(text, 2);
    if (!second || *second > 60) return std::nullopt;  // 60: a leap second, which is the next minute's first
    us += *second * int64_t{1'000'000};
    if (take(text, '.')) {
      const auto fraction = take_fraction(text);
      if (!fraction) return std::nullopt;
      us += *fraction;
    }
  }
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  return std::clamp(us - *offset, kTimeMinUs, kTimeMaxUs);
}

std::string_view time_error(std::string_view text) {
  constexpr std::string_view kForm = "must be a day (2026-01-31) or a time (2026-01-31T10:15:30Z)";
  const auto looks_like = [&text](std::string_view form) {
    return text.size() >= form.size() && std::equal(form.begin(), form.end(), text.begin(), [](char wanted, char c) {
             return wanted == 'd'   ? c >= '0' && c <= '9'
                    : wanted == 'T' ? c == 'T' || c == 't' || c == ' '
                                    : c == wanted;
           });
  };
  if (!looks_like("dddd-dd-dd"))
    return looks_like("ddddd") && text.find('-') != std::string_view::npos ? "must have a year from 0000 to 9999"
                                                                           : kForm;
  std::string_view rest = text;
  if (!take_date(rest)) return "is no day of the calendar";
  if (looks_like("dddd-dd-ddTdd:dd")) {
    const size_t zone = text.find_first_of("Zz+- ", std::string_view("dddd-dd-ddTdd:dd").size());
    if (zone == std::string_view::npos) return "must end with Z or an offset like +05:30";
    if (looks_like("dddd-dd-ddTdd:dd:dd") || zone == std::string_view("dddd-dd-ddTdd:dd").size())
      return "has an hour, minute, second or offset that is none; offsets are like +05:30";
  }
  return kForm;
}

}  // namespace txn
