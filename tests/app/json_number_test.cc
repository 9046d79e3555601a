#include "app/json_number.h"

#include <gtest/gtest.h>

#include <string>

namespace txn {
namespace {

struct Row {
  std::string number;
  int64_t value;
  bool has_fraction = false;
  bool is_beyond = false;
};

void expect(const Row& row) {
  const WholeNumber whole = whole_number(row.number);
  const std::string what = row.number.substr(0, 60);
  EXPECT_EQ(whole.value, row.value) << what;
  EXPECT_EQ(whole.has_fraction, row.has_fraction) << what;
  EXPECT_EQ(whole.is_beyond, row.is_beyond) << what;
}

TEST(JsonNumber, WholePartIsExact) {
  const Row kTable[] = {
      {"0", 0},
      {"-0", 0},
      {"0.0e0", 0},
      {"0e99999999999999999999", 0},
      {"0.000e-99999999999999999999", 0},
      {"7", 7},
      {"-7", -7},
      {"7.0", 7},
      {"7.5", 7, true},
      {"-7.5", -7, true},
      {"7e0", 7},
      {"7E+2", 700},
      {"7e-1", 0, true},
      {"70e-1", 7},
      {"75e-1", 7, true},
      {"0.07e2", 7},
      {"0.075e2", 7, true},
      {"0.00000000000000000000000000000007e32", 7},
      {"700000000000000000000000000000000e-32", 7},
      {"1.9e9", 1'900'000'000},
      {"1.796053493E+09", 1'796'053'493},
      {"1e-99999999999999999999", 0, true},
      {"-1e-99999999999999999999", 0, true},
      // 2^53 + 1, which a double does not hold.
      {"9007199254740993", 9'007'199'254'740'993},
      {"9.007199254740993e15", 9'007'199'254'740'993},
      {"9223372036854775807", INT64_MAX},
      {"9.223372036854775807e18", INT64_MAX},
      {"9223372036854775807.9", INT64_MAX, true},
      {"9223372036854775808", INT64_MAX, false, true},
      {"-9223372036854775808", INT64_MIN},
      {"-9.223372036854775808e+18", INT64_MIN},
      {"-9223372036854775809", INT64_MIN, false, true},
      {"1e18", 1'000'000'000'000'000'000},
      {"1e19", INT64_MAX, false, true},
      {"1e400", INT64_MAX, false, true},
      {"-1e400", INT64_MIN, false, true},
      {"1e99999999999999999999999999", INT64_MAX, false, true},
      {"0.1e99999999999999999999999999", INT64_MAX, false, true},
  };
  for (const Row& row : kTable) expect(row);
}

TEST(JsonNumber, LengthIsNoObstacle) {
  const std::string zeros(100'000, '0');
  expect({"7" + zeros + "e-100000", 7});
  expect({"7" + zeros, INT64_MAX, false, true});
  expect({"0." + zeros + "7e100001", 7});
  expect({"0." + zeros + "7", 0, true});
  expect({"7." + zeros, 7});
  expect({"7e" + zeros + "2", 700});
}

}  // namespace
}  // namespace txn
