#include "app/pin.h"

#include <gtest/gtest.h>

#include <string>

namespace txn {
namespace {

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

template <class Bytes>
std::string hex(const Bytes& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

TEST(HmacSha256, Rfc4231Vectors) {
  EXPECT_EQ(hex(HmacSha256(bytes_of(std::string(20, '\x0b'))).sign(bytes_of("Hi There"))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex(HmacSha256(bytes_of("Jefe")).sign(bytes_of("what do ya want "), bytes_of("for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  // A key longer than a block.
  EXPECT_EQ(hex(HmacSha256(bytes_of(std::string(131, '\xaa')))
                    .sign(bytes_of("Test Using Larger Than Block-Size Key - Hash Key First"))),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HmacSha256, IsTheSameHoweverTheMessageIsCut) {
  const HmacSha256 hmac(bytes_of("key"));
  const std::string message(200, 'm');
  const auto whole = hmac.sign(bytes_of(message));
  for (size_t cut = 0; cut <= message.size(); ++cut) {
    EXPECT_EQ(hmac.sign(bytes_of(message).first(cut), bytes_of(message).subspan(cut)), whole) << cut;
  }
}

TEST(Pin, Format) {
  using namespace std::string_view_literals;
  for (const auto pin : {"0000"sv, "1234"sv, "12345"sv, "999999"sv}) EXPECT_TRUE(is_valid_pin_format(pin)) << pin;
  for (const auto pin : {""sv, "1"sv, "123"sv, "1234567"sv, "12a4"sv, " 1234"sv, "1234 "sv, "-123"sv, "+123"sv,
                         "12.4"sv, "123\0"sv, "\xD9\xA1\xD9\xA2"sv}) {
    EXPECT_FALSE(is_valid_pin_format(pin)) << pin;
  }
}

// Computed with another implementation: what is stored must stay readable for ever.
TEST(Pin, StoredFormIsStable) {
  const PinHasher pins(bytes_of("0123456789abcdef0123456789abcdef"));
  EXPECT_EQ(hex(pins.hash(1001, "1234")), "b418343bb0e24f46b99873cc2482b61ec783aa53e11c923029094c9ab1aef5ed");
  EXPECT_EQ(hex(pins.hash(INT64_MAX, "000000")), "8b833ec8d5a1af16651100ec2818a4ae64f8d823754206a3169c766aad1dc8b2");
}

TEST(Pin, DependsOnPinAccountAndSecret) {
  const PinHasher pins(bytes_of("a secret"));
  const PinHasher others(bytes_of("another secret"));
  const PinHash stored = pins.hash(1001, "1234");
  EXPECT_TRUE(pins.matches(1001, "1234", stored));
  EXPECT_FALSE(pins.matches(1001, "1235", stored));
  EXPECT_FALSE(pins.matches(1001, "12340", stored));
  EXPECT_FALSE(pins.matches(1001, "", stored));
  EXPECT_FALSE(pins.matches(1002, "1234", stored));
  EXPECT_FALSE(others.matches(1001, "1234", stored));
}

TEST(Pin, EveryBitOfTheHashCounts) {
  const PinHasher pins(bytes_of("a secret"));
  const PinHash stored = pins.hash(1, "4711");
  for (size_t bit = 0; bit < stored.size() * 8; ++bit) {
    PinHash other = stored;
    other[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_FALSE(pins.matches(1, "4711", other)) << bit;
  }
}

}  // namespace
}  // namespace txn
