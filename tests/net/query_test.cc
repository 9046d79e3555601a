#include "net/query.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

namespace txn {
namespace {

// "name=value;" for each parameter, then how it ended.
std::string read_all(std::string_view text) {
  QueryReader query(text);
  std::string out;
  while (query.next() == QueryReader::Status::kParameter) {
    out += std::string(query.name()) + "=" + std::string(query.value()) + ";";
  }
  EXPECT_EQ(query.next(), query.status()) << "the end is final";
  switch (query.status()) {
    case QueryReader::Status::kEnd:
      return out;
    case QueryReader::Status::kMalformed:
      return out + "malformed";
    case QueryReader::Status::kTooLong:
      return out + "too long";
    case QueryReader::Status::kParameter:
      break;
  }
  return out + "?";
}

TEST(Query, Parameters) {
  EXPECT_EQ(read_all(""), "");
  EXPECT_EQ(read_all("limit=50"), "limit=50;");
  EXPECT_EQ(read_all("limit=50&skip=10&cursor=a_b-c"), "limit=50;skip=10;cursor=a_b-c;");
  EXPECT_EQ(read_all("verbose"), "verbose=;");
  EXPECT_EQ(read_all("verbose="), "verbose=;");
  EXPECT_EQ(read_all("=x"), "=x;");
  EXPECT_EQ(read_all("a=b=c"), "a=b=c;");
  EXPECT_EQ(read_all("&&a=1&&b=2&"), "a=1;b=2;");
  EXPECT_EQ(read_all("a=1&a=2"), "a=1;a=2;");
  EXPECT_EQ(read_all("a=1?b=2"), "a=1?b=2;");
}

TEST(Query, Decoding) {
  EXPECT_EQ(read_all("start%5Fdate=2024-01-01T00%3a00%3A00%2B00:00"), "start_date=2024-01-01T00:00:00+00:00;");
  EXPECT_EQ(read_all("a=b+c%20d"), "a=b c d;");
  EXPECT_EQ(read_all("a=%26%3D%25"), "a=&=%;");
  EXPECT_EQ(read_all("%C3%A4=%ff"), "\xc3\xa4=\xff;");
  EXPECT_EQ(read_all("a=%00"), std::string("a=\0;", 4));
}

TEST(Query, MalformedPercent) {
  for (std::string_view text :
       {"a=%", "a=%1", "a=%1g", "a=%g1", "a=%%41", "%=b", "a=%+1", "a=% 1", "a=%-1", "a=%&b=1"}) {
    EXPECT_EQ(read_all("ok=1&" + std::string(text) + "&next=1"), "ok=1;malformed") << text;
  }
}

TEST(Query, TheBoundIsExact) {
  const std::string fits(QueryReader::kMaxParameterBytes - 1, 'v');
  EXPECT_EQ(read_all("n=" + fits), "n=" + fits + ";");
  EXPECT_EQ(read_all("n=" + fits + "v"), "too long");
  EXPECT_EQ(read_all(fits + "n=v"), "too long");
  // Decoded bytes count, and each parameter has the whole of it.
  std::string encoded;
  for (char c : fits) {
    encoded += c == 'v' ? "%76" : "";
  }
  EXPECT_EQ(read_all("n=" + encoded + "&n=" + fits), "n=" + fits + ";n=" + fits + ";");
}

TEST(Query, Noise) {
  std::minstd_rand random(301);  // NOLINT(cert-msc51-cpp): a failure must come again
  for (int round = 0; round < 100'000; ++round) {
    std::string text(random() % 40, '\0');
    for (char& c : text) {
      c = random() % 2 == 0 ? "%&=+0aF"[random() % 7] : static_cast<char>(random());
    }
    QueryReader query(text);
    size_t count = 0;
    while (query.next() == QueryReader::Status::kParameter) {
      ASSERT_LE(query.name().size() + query.value().size(), text.size());
      ASSERT_LE(++count, text.size());
    }
  }
}

}  // namespace
}  // namespace txn
