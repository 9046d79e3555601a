#include "app/pin.h"

#include <openssl/digest.h>
#include <openssl/hkdf.h>
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

// The derived key, wiped when the expression that needed it is over.
class DerivedKey {
 public:
  explicit DerivedKey(std::span<const uint8_t> secret) {
    const auto label = bytes_of(kKeyLabel);
    const int derived = HKDF(bytes_.data(), bytes_.size(), EVP_sha256(), secret.data(), secret.size(), nullptr, 0,
                             label.data(), label.size());
    CHECK(derived == 1, "HKDF gives 32 bytes of any secret");
  }
  ~DerivedKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }
  DerivedKey(const DerivedKey&) = delete;
  DerivedKey& operator=(const DerivedKey&) = delete;
  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  std::array<uint8_t, 32> bytes_;
};

}  // namespace

bool is_valid_pin_format(std::string_view pin) {
  return pin.size() >= 4 && pin.size() <= 6 && std::ranges::all_of(pin, [](char c) { return c >= '0' && c <= '9'; });
}

PinHasher::PinHasher(std::span<const uint8_t> secret) : hmac_(DerivedKey(secret).bytes()) {}

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
