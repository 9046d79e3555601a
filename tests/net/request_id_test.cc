#include "net/request_id.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <string_view>

#include "net/http_parser.h"

namespace txn {
namespace {

void fill_counting(uint8_t* out, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    out[i] = static_cast<uint8_t>(i);
  }
}

void fill_ones(uint8_t* out, size_t size) { std::memset(out, 0xff, size); }

TEST(RequestId, FormOfAUuid) {
  RequestIdGenerator counting(fill_counting);
  EXPECT_EQ(counting.generate().view(), "00010203-0405-4607-8809-0a0b0c0d0e0f");
  EXPECT_EQ(counting.generate().view(), "10111213-1415-4617-9819-1a1b1c1d1e1f");
  RequestIdGenerator ones(fill_ones);
  EXPECT_EQ(ones.generate().view(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

// x: any hexadecimal digit, y: one of 8, 9, a, b; everything else stands for itself.
bool has_form(std::string_view text, std::string_view form) {
  if (text.size() != form.size()) {
    return false;
  }
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view allowed = form[i] == 'x' ? "0123456789abcdef" : form[i] == 'y' ? "89ab" : form.substr(i, 1);
    if (allowed.find(text[i]) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

TEST(RequestId, RandomOnesAreWellFormedAndDiffer) {
  RequestIdGenerator generator;
  RequestIdGenerator other;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const RequestId id = generator.generate();
    ASSERT_TRUE(has_form(id.view(), "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx")) << id.view();
    ASSERT_TRUE(seen.emplace(id.view()).second);
    ASSERT_TRUE(seen.emplace(other.generate().view()).second);
  }
}

TEST(RequestId, CopiesAreIndependent) {
  RequestId copy;
  EXPECT_EQ(copy.view(), "");
  {
    const RequestId id("abc");
    copy = id;
  }
  EXPECT_EQ(copy.view(), "abc");
}

TEST(RequestId, Validity) {
  EXPECT_TRUE(RequestId::is_valid("!"));
  EXPECT_TRUE(RequestId::is_valid("~abc-123/{}\"<>"));
  EXPECT_TRUE(RequestId::is_valid(std::string(128, 'x')));
  EXPECT_FALSE(RequestId::is_valid(""));
  EXPECT_FALSE(RequestId::is_valid(std::string(129, 'x')));
  EXPECT_FALSE(RequestId::is_valid("a b"));
  EXPECT_FALSE(RequestId::is_valid("a\tb"));
  EXPECT_FALSE(RequestId::is_valid("a\r\nb"));
  EXPECT_FALSE(RequestId::is_valid("a\x7f"));
  EXPECT_FALSE(RequestId::is_valid("\xc3\xa4"));
  EXPECT_FALSE(RequestId::is_valid(std::string_view("\0", 1)));
}

// The id chosen for a request with these header lines.
std::string choose(const std::string& lines) {
  HttpParser parser;
  const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n";
  EXPECT_EQ(parser.feed(bytes), HttpParser::Status::kRequest) << parser.error_reason();
  RequestIdGenerator generator(fill_ones);
  return std::string(generator.choose(parser.request()).view());
}

TEST(RequestId, TheCallersIfItIsFit) {
  const std::string fresh = "ffffffff-ffff-4fff-bfff-ffffffffffff";
  EXPECT_EQ(choose("X-Request-ID: caller-1\r\n"), "caller-1");
  EXPECT_EQ(choose("x-request-id:   caller-1  \r\n"), "caller-1");
  EXPECT_EQ(choose("X-Request-ID: " + std::string(128, 'c') + "\r\n"), std::string(128, 'c'));
  EXPECT_EQ(choose(""), fresh);
  EXPECT_EQ(choose("X-Request-ID:\r\n"), fresh);
  EXPECT_EQ(choose("X-Request-ID: " + std::string(129, 'c') + "\r\n"), fresh);
  EXPECT_EQ(choose("X-Request-ID: two words\r\n"), fresh);
  EXPECT_EQ(choose("X-Request-ID: \xc3\xa4\r\n"), fresh);
  EXPECT_EQ(choose("X-Request-ID: a\r\nX-Request-ID: b\r\n"), fresh);
}

}  // namespace
}  // namespace txn
