#include "core/json_writer.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <cstdlib>
#include <ctime>
#include <limits>
#include <random>
#include <string>

namespace txn {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

std::string written(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

// What a parser makes of it.
std::string read_back(const std::string& json) {
  simdjson::dom::parser parser;
  std::string_view text;
  EXPECT_EQ(parser.parse(json).get(text), simdjson::SUCCESS) << json;
  return std::string(text);
}

TEST(JsonString, EveryByteOfAscii) {
  for (int c = 0; c < 0x80; ++c) {
    const std::string text = "a" + std::string(1, static_cast<char>(c)) + "b";
    EXPECT_EQ(read_back(written(text)), text) << c;
    // Wherever it stands among eight others.
    for (size_t at = 0; at < 20; ++at) {
      std::string run(20, 'x');
      run[at] = static_cast<char>(c);
      ASSERT_EQ(read_back(written(run)), run) << c << " at " << at;
    }
  }
}

TEST(JsonString, Escapes) {
  EXPECT_EQ(written(""), "\"\"");
  EXPECT_EQ(written("plain text / and 'quotes' \x7f"), "\"plain text / and 'quotes' \x7f\"");
  EXPECT_EQ(written("\"\\\b\f\n\r\t"), "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
  EXPECT_EQ(written("\0\x01\x1f"sv), "\"\\u0000\\u0001\\u001f\"");
  EXPECT_EQ(written("aé😀z"), "\"aé😀z\"");
  std::string out = "before";
  append_json_string(out, "x");
  EXPECT_EQ(out, "before\"x\"");
}

// Unicode 15, section 3.9: one replacement for each maximal subpart.
TEST(JsonString, BrokenUtf8IsReplaced) {
  const struct {
    std::string_view text, expected;
  } kTable[] = {
      {"\x80", "\uFFFD"},
      {"\xBF\x80", "\uFFFD\uFFFD"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},
      {"\xC1\x81", "\uFFFD\uFFFD"},
      {"\xC3", "\uFFFD"},
      {"\xC3"
       "a",
       "\uFFFD"
       "a"},
      {"\xE0\x80\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xE2\x82", "\uFFFD"},
      {"\xE2\x82"
       "a",
       "\uFFFD"
       "a"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xF0\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"\xF0\x9F\x98\"", "\uFFFD\""},
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF5\x80", "\uFFFD\uFFFD"},
      {"\xFF", "\uFFFD"},
      {"12345678\xFF"
       "12345678\xC3",
       "12345678\uFFFD12345678\uFFFD"},
      {"a\xF1\x80\x80\xE1\x80\xC2"
       "b\x80"
       "c\x80\xBF"
       "d",
       "a\uFFFD\uFFFD\uFFFD"
       "b\uFFFD"
       "c\uFFFD\uFFFD"
       "d"},
      // The edges of what is good.
      {"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF",
       "\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
  };
  for (const auto& [text, expected] : kTable)
    EXPECT_EQ(read_back(written(text)), expected) << testing::PrintToString(text);
}

// TXN_SEED repeats a run.
uint64_t seed_of_run() {
  const char* text = std::getenv("TXN_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
}

TEST(JsonString, WhateverComesInIsValidAndWhatIsValidStays) {
  const uint64_t seed = seed_of_run();
  SCOPED_TRACE("TXN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 100'000; ++round) {
    std::string text(random() % 40, '\0');
    for (char& c : text) c = static_cast<char>(random() % 3 == 0 ? random() : 0x20 + random() % 0x5F);
    const std::string json = written(text);
    ASSERT_TRUE(simdjson::validate_utf8(json)) << testing::PrintToString(text);
    const std::string back = read_back(json);
    if (simdjson::validate_utf8(text)) {
      ASSERT_EQ(back, text);
    }
  }
}

TEST(JsonNumbers, IntegersAndMoney) {
  std::string out;
  append_json_int(out, 0);
  out += ' ';
  append_json_int(out, std::numeric_limits<int64_t>::max());
  out += ' ';
  append_json_int(out, std::numeric_limits<int64_t>::min());
  out += ' ';
  append_json_money(out, Money::from_minor(10000));
  out += ' ';
  append_json_money(out, Money::from_minor(-1));
  out += ' ';
  append_json_money(out, kMaxBalance);
  EXPECT_EQ(out, "0 9223372036854775807 -9223372036854775808 100.00 -0.01 9999999999999.99");
}

std::string timestamp(int64_t us) {
  std::string text(kTimestampLength, '\0');
  format_timestamp(us, text.data());
  return text;
}

TEST(Timestamp, KnownInstants) {
  constexpr int64_t kSecond = 1'000'000;
  EXPECT_EQ(timestamp(0), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(timestamp(1), "1970-01-01T00:00:00.000001Z");
  EXPECT_EQ(timestamp(-1), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(timestamp(951'782'400 * kSecond), "2000-02-29T00:00:00.000000Z");
  EXPECT_EQ(timestamp(951'868'799 * kSecond + 123'456), "2000-02-29T23:59:59.123456Z");
  EXPECT_EQ(timestamp(4'107'542'400 * kSecond), "2100-03-01T00:00:00.000000Z");
  EXPECT_EQ(timestamp(4'107'542'399 * kSecond), "2100-02-28T23:59:59.000000Z");
  EXPECT_EQ(timestamp(253'402'300'799 * kSecond + 999'999), "9999-12-31T23:59:59.999999Z");
  EXPECT_EQ(timestamp(253'402'300'800 * kSecond), "9999-12-31T23:59:59.999999Z");
  EXPECT_EQ(timestamp(std::numeric_limits<int64_t>::max()), "9999-12-31T23:59:59.999999Z");
  EXPECT_EQ(timestamp(-62'167'219'200 * kSecond), "0000-01-01T00:00:00.000000Z");
  EXPECT_EQ(timestamp(-62'167'219'200 * kSecond - 1), "0000-01-01T00:00:00.000000Z");
  EXPECT_EQ(timestamp(std::numeric_limits<int64_t>::min()), "0000-01-01T00:00:00.000000Z");
  EXPECT_EQ(timestamp(-62'162'035'200 * kSecond), "0000-03-01T00:00:00.000000Z");

  std::string out = "x";
  append_json_timestamp(out, 0);
  EXPECT_EQ(out, "x\"1970-01-01T00:00:00.000000Z\"");
}

// Every day of ten thousand years, against the C library.
TEST(Timestamp, EveryDay) {
  for (int64_t day = -719'528; day < 2'932'897; ++day) {
    const time_t seconds = day * 86'400 + (day + 719'528) % 86'400;
    std::tm broken{};
    ASSERT_NE(gmtime_r(&seconds, &broken), nullptr);
    char expected[64];
    std::snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.000042Z", broken.tm_year + 1900,
                  broken.tm_mon + 1, broken.tm_mday, broken.tm_hour, broken.tm_min, broken.tm_sec);
    ASSERT_EQ(timestamp(int64_t{seconds} * 1'000'000 + 42), expected);
  }
}

}  // namespace
}  // namespace txn
