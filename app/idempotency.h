// The Idempotency-Key of a request (draft-ietf-httpapi-idempotency-key-header), and what tells two requests apart.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "app/hmac_sha256.h"
#include "db/request_digest.h"

namespace txn {

inline constexpr size_t kIdempotencyKeyMax = 255;

// The key that the value of the header says: 1 to kIdempotencyKeyMax visible ASCII characters, with spaces inside. One
// that begins with a quote is a string as the draft wants it (RFC 9651 section 3.3.3, without parameters), and says
// what is between its quotes: the same key as without them. Else what is wrong, a literal.
std::expected<std::string, std::string_view> parse_idempotency_key(std::string_view value);

// Keyed hashes of requests. Keyed, because a request may hold a PIN, and there are only a million of those.
class RequestFingerprinter {
 public:
  // `secret` may have any length and is not kept. Replicas that share a database must share it.
  explicit RequestFingerprinter(std::span<const uint8_t> secret);

  // The same for the same fields in whatever JSON spelling, different for different fields.
  Fingerprint fingerprint(const Operation& operation) const;

  // The same again, in parts: of two digests one can say whether the requests are the same but for their PINs, whatever
  // the secrets, and with the same secret whether the PINs are as well (db/request_digest.h).
  RequestDigest digest(const Operation& operation) const;

 private:
  HmacSha256 hmac_;
  HmacSha256 pin_hmac_;
  std::array<uint8_t, kDigestKeyIdBytes> key_id_;
};

}  // namespace txn
