#include "app/base64url.h"

#include <gtest/gtest.h>

#include <string>

namespace txn {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

TEST(Base64Url, RoundTripsAndIsStrict) {
  const struct {
    std::string_view bytes, text;
  } kTable[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
                {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xFB\xFF\xFE", "-__-"},
                {"\0\0"sv, "AAA"}};
  for (const auto& [bytes, text] : kTable) {
    EXPECT_EQ(encode_base64url(bytes), text);
    std::string out(base64url_bytes_max(text.size()), '\0');
    const ptrdiff_t length = decode_base64url(text, reinterpret_cast<uint8_t*>(out.data()));
    ASSERT_GE(length, 0) << text;
    EXPECT_EQ(out.substr(0, static_cast<size_t>(length)), bytes);
  }
  uint8_t out[64];
  for (const std::string_view text :
       {"A"sv, "AAAAA"sv, "Zg=="sv, "Zm8="sv, "Zm9v="sv, "Zh"sv, "Zm9"sv, "Zm9vYh"sv, "-__+"sv, "/w"sv, "+w"sv,
        "Zm 9v"sv, "Zm9v\n"sv, " Zm9v"sv, "Zm.v"sv, "Zm\0v"sv, "Zm\xC3\xA9"sv, "===="sv, "="sv}) {
    EXPECT_EQ(decode_base64url(text, out), -1) << text;
  }
}

TEST(Base64Url, EveryByteString) {
  // All of one and two bytes, and one spelling each.
  uint8_t out[8];
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const char bytes[] = {static_cast<char>(a), static_cast<char>(b)};
      const std::string text = encode_base64url({bytes, 2});
      ASSERT_EQ(decode_base64url(text, out), 2);
      ASSERT_EQ(std::string_view(reinterpret_cast<char*>(out), 2), std::string_view(bytes, 2));
    }
  }
  int accepted = 0;
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const char text[] = {static_cast<char>(a), static_cast<char>(b)};
      accepted += decode_base64url({text, 2}, out) == 1;
    }
  }
  EXPECT_EQ(accepted, 256);
}

TEST(Base64Url, AnyBase64HasTheSameBytesInEverySpelling) {
  const auto decoded = [](std::string_view text) -> std::string {
    std::string bytes(base64url_bytes_max(text.size()), '\0');
    const ptrdiff_t length = decode_any_base64(text, reinterpret_cast<uint8_t*>(bytes.data()));
    return length < 0 ? "refused" : bytes.substr(0, static_cast<size_t>(length));
  };
  for (const char* text : {"-_8", "+/8", "+_8", "-_8=", "+/8="}) EXPECT_EQ(decoded(text), "\xFB\xFF") << text;
  for (const char* text : {"_w", "/w", "_w==", "/w=="}) EXPECT_EQ(decoded(text), "\xFF") << text;
  EXPECT_EQ(decoded("AQAB"), "\x01\x00\x01"s);
  EXPECT_EQ(decoded(""), "");
  for (const char* text : {"=", "====", "A", "A===", "AQAB=", "AQAB====", "_w=", "_w===", "_8",
                           "_x==", "-_9=", "AQ\n=", " AQAB", "AQ=B", "=AQA", "AQAB,", "\xC3\xA9QA"}) {
    EXPECT_EQ(decoded(text), "refused") << text;
  }
}

}  // namespace
}  // namespace txn
