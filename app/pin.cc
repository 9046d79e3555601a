#include "app/pin.h"

#include <openssl/mem.h>

#include <algorithm>
#include <array>

#include "core/check.h"

namespace txn {
namespace {

constexpr std::string_view kKeyLabel = "transactions-service pin v1";

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

bool is_valid_pin_format(std::string_view pin) {
  return pin.size() >= 4 && pin.size() <= 6 && std::ranges::all_of(pin, [](char c) { return c >= '0' && c <= '9'; });
}

PinHasher::PinHasher(std::span<const uint8_t> secret) : hmac_(DerivedKey(secret, kKeyLabel).bytes()) {}

PinHash PinHasher::hash(int64_t account_number, std::string_view pin) const {
  std::array<uint8_t, 8> account;
  for (size_t i = 0; i < account.size(); ++i) {
    account[i] = static_cast<uint8_t>(static_cast<uint64_t>(account_number) >> (56 - 8 * i));
  }
  return hmac_.sign(account, bytes_of(pin));
}

bool PinHasher::matches(int64_t account_number, std::string_view pin, const PinHash& expected) const {
  const PinHash actual = hash(account_number, pin);
  return CRYPTO_memcmp(actual.data(), expected.data(), actual.size()) == 0;
}

}  // namespace txn
