#include "app/time_text.h"

#include <gtest/gtest.h>

#include "app/cursor.h"
#include "core/json_writer.h"

namespace txn {
namespace {

std::string shown(std::optional<int64_t> us) {
  if (!us) return "-";
  char text[kTimestampLength];
  format_timestamp(*us, text);
  return {text, sizeof text};
}

TEST(TimeText, ReadsDaysAndInstants) {
  struct Row {
    const char* text;
    const char* start;
    const char* end;
  };
  const Row rows[] = {
      {"2026-11-22", "2026-11-22T00:00:00.000000Z", "2026-11-22T23:59:59.999999Z"},
      {"2024-02-29", "2024-02-29T00:00:00.000000Z", "2024-02-29T23:59:59.999999Z"},
      {"2026-11-22T10:15:30Z", "2026-11-22T10:15:30.000000Z", "2026-11-22T10:15:30.000000Z"},
      {"2026-11-22t10:15:30z", "2026-11-22T10:15:30.000000Z", "2026-11-22T10:15:30.000000Z"},
      {"2026-11-22 10:15:30Z", "2026-11-22T10:15:30.000000Z", "2026-11-22T10:15:30.000000Z"},
      {"2026-11-22T10:15:30.1Z", "2026-11-22T10:15:30.100000Z", "2026-11-22T10:15:30.100000Z"},
      {"2026-11-22T10:15:30.123456789Z", "2026-11-22T10:15:30.123456Z", "2026-11-22T10:15:30.123456Z"},
      {"2026-11-22T00:15:30+05:30", "2026-11-21T18:45:30.000000Z", "2026-11-21T18:45:30.000000Z"},
      {"2026-11-22T00:15:30 05:30", "2026-11-21T18:45:30.000000Z", "2026-11-21T18:45:30.000000Z"},
      {"2026-11-22T23:15:30-01:00", "2026-11-23T00:15:30.000000Z", "2026-11-23T00:15:30.000000Z"},
      {"2026-11-22T10:15Z", "2026-11-22T10:15:00.000000Z", "2026-11-22T10:15:00.000000Z"},
      {"2026-11-22T10:15+05:30", "2026-11-22T04:45:00.000000Z", "2026-11-22T04:45:00.000000Z"},
      {"1969-12-31", "1969-12-31T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z"},
      {"1970-01-01", "1970-01-01T00:00:00.000000Z", "1970-01-01T23:59:59.999999Z"},
      {"9999-12-31", "9999-12-31T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(shown(parse_time(row.text, false)), row.start) << row.text;
    EXPECT_EQ(shown(parse_time(row.text, true)), row.end) << row.text;
  }
}

TEST(TimeText, RefusesEverythingElse) {
  for (const char* text : {"",
                           "2026",
                           "2026-11",
                           "2026-13-01",
                           "2026-02-29",
                           "2026-11-31",
                           "2026-00-10",
                           "10000-01-01",
                           "-0001-01-01",
                           "2026-11-22T10:15:Z",
                           "2026-11-22T10Z",
                           "2026-11-22T10:15.5Z",
                           "26-11-22",
                           "2026-11-22T",
                           "2026-11-22T10:15",
                           "2026-11-22T10:15:30",
                           "2026-11-22T24:00:00Z",
                           "2026-11-22T10:60:00Z",
                           "2026-11-22T10:15:61Z",
                           "2026-11-22T10:15:30.Z",
                           "2026-11-22T10:15:30+0530",
                           "2026-11-22T10:15:30+24:00",
                           "2026-11-22T10:15:30Zz",
                           " 2026-11-22",
                           "2026-11-22 ",
                           "2026/11/22",
                           "today",
                           "20261122"})
    EXPECT_FALSE(parse_time(text, false).has_value()) << text;
}

TEST(TimeText, TakesEveryYearThatHasFourDigits) {
  EXPECT_EQ(parse_time("0000-01-01", false), kTimeMinUs);
  EXPECT_EQ(parse_time("0000-01-01T00:00:00Z", true), kTimeMinUs);
  EXPECT_EQ(parse_time("0000-01-01T00:00:00+23:59", false), kTimeMinUs) << "what is before is as good as the first";
  EXPECT_EQ(parse_time("0000-02-29", false), kTimeMinUs + 59 * int64_t{86'400'000'000}) << "a leap year";
  EXPECT_EQ(parse_time("0001-01-01T00:00:00Z", false), -62'135'596'800'000'000) << "Go's zero time";
  EXPECT_EQ(parse_time("9999-12-31", true), kTimeMaxUs);
  EXPECT_EQ(parse_time("9999-12-31T23:59:59.999999-23:59", true), kTimeMaxUs);
  EXPECT_EQ(parse_time("9999-12-31T23:59:60Z", true), kTimeMaxUs);
}

TEST(TimeText, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> kRows[] = {
      {"", "must be a day"},
      {"today", "must be a day"},
      {"2026-11", "must be a day"},
      {"2026-02-29", "is no day of the calendar"},
      {"2026-11-31T10:00:00Z", "is no day of the calendar"},
      {"10000-01-01", "must have a year from 0000 to 9999"},
      {"2026-11-22T10:15", "must end with Z or an offset"},
      {"2026-11-22T10:15:30", "must end with Z or an offset"},
      {"2026-11-22T24:00:00Z", "has an hour, minute, second or offset that is none"},
      {"2026-11-22T10:15:30+0530", "has an hour, minute, second or offset that is none"},
      {"2026-11-22T99:99Z", "has an hour, minute, second or offset that is none"},
      {"2026-11-22x", "must be a day"},
  };
  for (const auto& [text, error] : kRows) {
    EXPECT_FALSE(parse_time(text, false).has_value()) << text;
    EXPECT_TRUE(time_error(text).starts_with(error)) << text << ": " << time_error(text);
  }
}

TEST(Cursor, ComesBackAsItWasAndNothingElseDoes) {
  for (const int64_t seq : {int64_t{1}, int64_t{255}, int64_t{256}, int64_t{1} << 40, INT64_MAX})
    EXPECT_EQ(decode_cursor(encode_cursor(seq)), seq);
  const std::string good = encode_cursor(77);
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(decode_cursor(good.substr(0, length)).has_value());
  EXPECT_FALSE(decode_cursor(good + "A").has_value());
  EXPECT_FALSE(decode_cursor(encode_cursor(0)).has_value());
  EXPECT_FALSE(decode_cursor(encode_cursor(-5)).has_value());
  EXPECT_FALSE(decode_cursor("AgAAAAAAAAAC").has_value());  // another version
  EXPECT_FALSE(decode_cursor("AQAAAAAAAA=C").has_value());
}

}  // namespace
}  // namespace txn
