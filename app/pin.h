// PINs are kept as HMAC-SHA-256(key, account number || PIN): who has only the database cannot try the million PINs that
// exist, and two accounts with the same PIN do not look alike.
//
// The key comes out of the configured secret by HKDF-SHA-256 (RFC 5869), so that a tag made for another purpose with
// the same secret is worth nothing here. Another secret means that every PIN must be set anew.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "app/hmac_sha256.h"
#include "db/ledger_rows.h"

namespace txn {

// 4 to 6 ASCII digits.
bool is_valid_pin_format(std::string_view pin);

// Safe to use from several threads at once. The key is wiped at destruction.
class PinHasher {
 public:
  // `secret` may have any length (its strength is checked with the configuration) and is not kept.
  explicit PinHasher(std::span<const uint8_t> secret);

  // What is stored for `pin` on this account. The account number goes in as 8 bytes, big-endian: the PIN begins at a
  // fixed place, so no two pairs give the same message.
  PinHash hash(int64_t account_number, std::string_view pin) const;

  // Whether `pin` is the one behind `expected`, in a time that does not depend on where they differ.
  bool matches(int64_t account_number, std::string_view pin, const PinHash& expected) const;

 private:
  HmacSha256 hmac_;
};

}  // namespace txn
