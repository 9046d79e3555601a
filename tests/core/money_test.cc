#include "core/money.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <random>
#include <string>

namespace txn {
namespace {

constexpr auto kNot = MoneyError::kNotANumber;
constexpr auto kDecimals = MoneyError::kTooManyDecimals;
constexpr auto kRange = MoneyError::kOutOfRange;

struct Accepted {
  std::string_view text;
  int64_t minor;
};

TEST(ParseMoney, AcceptsWhatIsExactInMinorUnits) {
  constexpr Accepted kTable[] = {
      {"0", 0},
      {"-0", 0},
      {"0.0", 0},
      {"-0.00", 0},
      {"0e0", 0},
      {"0e999999999999999999999", 0},
      {"0e-999999999999999999999", 0},
      {"0.000000000000000000000000000000000000000", 0},
      {"1", 100},
      {"-1", -100},
      {"0.01", 1},
      {"-0.01", -1},
      {"0.1", 10},
      {"0.10", 10},
      {"1.5", 150},
      {"1.500", 150},
      {"1.50000000000000000000000000000000000000000000000", 150},
      {"100.00", 10000},
      {"1e2", 10000},
      {"1E2", 10000},
      {"1e+2", 10000},
      {"1E+12", 100'000'000'000'000},
      {"1e-2", 1},
      {"15e-1", 150},
      {"15e-01", 150},
      {"15e-0000000000000000000000000000001", 150},
      {"1.23e1", 1230},
      {"12345.67e0", 1234567},
      {"0.0000000000000000000000000001e28", 100},
      {"100000000000000000000000000000e-29", 100},
      {"100000000000000000000000000000e-31", 1},
      {"10000000000001e-2", 10'000'000'000'001},
      {"999999999.99", 99'999'999'999},
      {"1000000.00", 100'000'000},
      {"9999999999999.99", 999'999'999'999'999},
      {"-9999999999999.99", -999'999'999'999'999},
      {"9999999999999.990", 999'999'999'999'999},
      {"999999999999999e-2", 999'999'999'999'999},
      {"9.99999999999999e12", 999'999'999'999'999},
      {"9000000000000.09", 900'000'000'000'009},
  };
  for (const auto& [text, minor] : kTable) {
    const auto parsed = parse_money(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(parsed->minor(), minor) << text;
  }
}

struct Refused {
  std::string_view text;
  MoneyError error;
};

TEST(ParseMoney, RefusesTheRestAndSaysWhy) {
  using namespace std::string_view_literals;
  constexpr Refused kTable[] = {
      // Not a numeral of RFC 8259.
      {"", kNot},
      {"-", kNot},
      {"+1", kNot},
      {"--1", kNot},
      {"-+1", kNot},
      {"01", kNot},
      {"00", kNot},
      {"-01", kNot},
      {"00.1", kNot},
      {"1.", kNot},
      {".5", kNot},
      {"-.5", kNot},
      {".", kNot},
      {"1..2", kNot},
      {"1.2.3", kNot},
      {"1e", kNot},
      {"1e+", kNot},
      {"1e-", kNot},
      {"1e1.5", kNot},
      {"1e1e1", kNot},
      {"e1", kNot},
      {"1.e1", kNot},
      {" 1", kNot},
      {"1 ", kNot},
      {"1\n", kNot},
      {"1,000", kNot},
      {"1_000", kNot},
      {"0x10", kNot},
      {"1f", kNot},
      {"NaN", kNot},
      {"nan", kNot},
      {"Infinity", kNot},
      {"-Infinity", kNot},
      {"null", kNot},
      {"1\0"sv, kNot},
      {"\0001"sv, kNot},
      {"\xD9\xA1", kNot},      // ARABIC-INDIC DIGIT ONE
      {"\xEF\xBC\x91", kNot},  // FULLWIDTH DIGIT ONE
      // Finer than a minor unit.
      {"0.005", kDecimals},
      {"0.001", kDecimals},
      {"0.009", kDecimals},
      {"1.001", kDecimals},
      {"-0.005", kDecimals},
      {"1e-3", kDecimals},
      {"15e-3", kDecimals},
      {"1.5e-2", kDecimals},
      {"1e-400", kDecimals},
      {"1e-99999999999999999999999999", kDecimals},
      {"9999999999999.999", kDecimals},
      {"0.0100000000000000000000000000000000001", kDecimals},
      {"12345678901234567890e-15", kDecimals},
      // More than the books can hold.
      {"10000000000000", kRange},
      {"-10000000000000", kRange},
      {"10000000000000.00", kRange},
      {"1e13", kRange},
      {"1E+15", kRange},
      {"1e400", kRange},
      {"-1e400", kRange},
      {"1e999999999999999999999999999", kRange},
      {"9223372036854775807", kRange},
      {"9223372036854775808", kRange},
      {"-9223372036854775808", kRange},
      {"18446744073709551616", kRange},
      {"92233720368547758.08", kRange},
      {"10000000000000.001", kRange},  // both: the range is told first
      {"0.1e14", kRange},
  };
  for (const auto& [text, error] : kTable) {
    const auto parsed = parse_money(text);
    ASSERT_FALSE(parsed.has_value()) << text << " gave " << parsed->minor();
    EXPECT_EQ(parsed.error(), error) << text;
  }
}

TEST(ParseMoney, LongTextsAreNoTrouble) {
  const std::string zeros(1'000'000, '0');
  EXPECT_EQ(parse_money("1." + zeros)->minor(), 100);
  EXPECT_EQ(parse_money("1" + zeros).error(), kRange);
  EXPECT_EQ(parse_money("1" + zeros + "e-1000000")->minor(), 100);
  EXPECT_EQ(parse_money("1" + zeros + "e-1000002")->minor(), 1);
  EXPECT_EQ(parse_money("1" + zeros + "e-1000003").error(), kDecimals);
  EXPECT_EQ(parse_money("0." + zeros + "1").error(), kDecimals);
  EXPECT_EQ(parse_money("0." + zeros + "1e1000001")->minor(), 100);
  EXPECT_EQ(parse_money("1e" + zeros + "2")->minor(), 10000);
  EXPECT_EQ(parse_money(zeros).error(), kNot);
  EXPECT_EQ(parse_money(std::string(1'000'000, '9')).error(), kRange);
  EXPECT_EQ(parse_money("0." + std::string(1'000'000, '9')).error(), kDecimals);
  EXPECT_EQ(parse_money("1e" + std::string(1'000'000, '9')).error(), kRange);
  EXPECT_EQ(parse_money("1e-" + std::string(1'000'000, '9')).error(), kDecimals);
}

TEST(FormatMoney, AlwaysTwoDecimals) {
  constexpr Accepted kTable[] = {
      {"0.00", 0},
      {"0.01", 1},
      {"-0.01", -1},
      {"0.10", 10},
      {"0.99", 99},
      {"1.00", 100},
      {"-1.05", -105},
      {"1000000.00", 100'000'000},
      {"9999999999999.99", 999'999'999'999'999},
      {"92233720368547758.07", std::numeric_limits<int64_t>::max()},
      {"-92233720368547758.08", std::numeric_limits<int64_t>::min()},
  };
  for (const auto& [text, minor] : kTable) {
    EXPECT_EQ(to_string(Money::from_minor(minor)), text);
    EXPECT_LE(text.size(), kMoneyTextMax);
  }
}

TEST(Money, CheckedAddKnowsTheEdgeOf64Bits) {
  constexpr Money kMost = Money::from_minor(std::numeric_limits<int64_t>::max());
  constexpr Money kLeast = Money::from_minor(std::numeric_limits<int64_t>::min());
  EXPECT_EQ(checked_add(kMost, Money()), kMost);
  EXPECT_EQ(checked_add(kMost, Money::from_minor(1)), std::nullopt);
  EXPECT_EQ(checked_add(kLeast, Money::from_minor(-1)), std::nullopt);
  EXPECT_EQ(checked_add(kMost, kLeast), Money::from_minor(-1));
}

// TXN_SEED repeats a run.
uint64_t seed_of_run() {
  const char* text = std::getenv("TXN_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
}

// Every spelling of a random amount reads back as that amount.
TEST(Money, RandomRoundTrips) {
  const uint64_t seed = seed_of_run();
  SCOPED_TRACE("TXN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200'000; ++round) {
    const int bits = static_cast<int>(random() % 50) + 1;
    int64_t minor = static_cast<int64_t>(random() & ((uint64_t{1} << bits) - 1)) % (kMaxBalance.minor() + 1);
    if (random() % 2 == 0) minor = -minor;
    const Money money = Money::from_minor(minor);
    const std::string text = to_string(money);
    ASSERT_EQ(parse_money(text), money) << text;
    ASSERT_EQ(parse_money(text + std::string(random() % 20, '0')), money) << text;

    // The same value with its point moved and the exponent taking it back.
    const std::string sign = minor < 0 ? "-" : "";
    const std::string digits = std::to_string(minor < 0 ? -minor : minor);
    const int exponent = static_cast<int>(random() % 40);
    ASSERT_EQ(parse_money(sign + digits + "e-2"), money) << text;
    const std::string zeros(static_cast<size_t>(exponent), '0');
    std::string shifted = sign;
    shifted.append("0.").append(zeros).append(digits).append("E");
    shifted += std::to_string(exponent + static_cast<int>(digits.size()) - 2);
    ASSERT_EQ(parse_money(shifted), money) << shifted;
    if (minor != 0) {
      shifted = sign;
      shifted.append(digits).append(zeros).append("e-").append(std::to_string(exponent + 2));
      ASSERT_EQ(parse_money(shifted), money) << shifted;
    }
    // One more digit makes it too fine.
    ASSERT_EQ(parse_money(text + "00" + static_cast<char>('1' + random() % 9)).error(), kDecimals) << text;
  }
}

// --- What people write into files -----------------------------------------------------------------------------------

TEST(WrittenMoney, HasTwoDecimalsOrNone) {
  const std::pair<const char*, int64_t> amounts[] = {{"0", 0},           {"0.00", 0},
                                                     {"0.05", 5},        {"250", 250'00},
                                                     {"250.00", 250'00}, {"9999999999999.99", 999'999'999'999'999}};
  for (const auto& [text, minor] : amounts) {
    const auto money = parse_written_money(text);
    ASSERT_TRUE(money.has_value()) << text << ' ' << money.error();
    EXPECT_EQ(money->minor(), minor) << text;
  }
}

TEST(WrittenMoney, IsRefusedWithWhatIsWrong) {
  const std::pair<const char*, std::string_view> refused[] = {
      {"1.000", "has neither two decimals nor none"},
      {"250.000", "has neither two decimals nor none"},
      {"12.5", "has neither two decimals nor none"},
      {"12.345", "has neither two decimals nor none"},
      {"1.23457E+11", "has an exponent"},
      {"1e2", "has an exponent"},
      {"-1", "has a sign"},
      {"-0.00", "has a sign"},
      {"+1.00", "has a sign"},
      {"10000000000000", "is above 9999999999999.99"},
      {"10000000000000.00", "is above 9999999999999.99"},
      {"", "is not a number"},
      {"1.", "is not a number"},
      {".50", "is not a number"},
      {"007.00", "is not a number"},
      {"1,000.00", "is not a number"},
      {"1 000.00", "is not a number"},
      {" 1.00", "is not a number"},
      {"1.00 ", "is not a number"},
      {"NaN", "is not a number"},
  };
  for (const auto& [text, reason] : refused) {
    const auto money = parse_written_money(text);
    ASSERT_FALSE(money.has_value()) << text;
    EXPECT_EQ(money.error(), reason) << text;
  }
}

}  // namespace
}  // namespace txn
