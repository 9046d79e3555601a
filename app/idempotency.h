// The Idempotency-Key of a request (draft-ietf-httpapi-idempotency-key-header), and what tells two requests apart.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "app/hmac_sha256.h"
#include "db/ledger_rows.h"

namespace txn {

inline constexpr size_t kIdempotencyKeyMax = 255;

// 1 to kIdempotencyKeyMax visible ASCII characters; blanks inside are not allowed.
bool is_valid_idempotency_key(std::string_view text);

// Keyed hashes of requests. Keyed, because a request may hold a PIN, and there are only a million of those.
class RequestFingerprinter {
 public:
  // `secret` may have any length and is not kept. Replicas that share a database must share it.
  explicit RequestFingerprinter(std::span<const uint8_t> secret);

  // The same for the same fields in whatever JSON spelling, different for different fields.
  Fingerprint fingerprint(const Operation& operation) const;

 private:
  HmacSha256 hmac_;
};

}  // namespace txn
