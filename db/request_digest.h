// Whether a request under an Idempotency-Key is the one that was answered under it before.
//
// A fingerprint (db/ledger_rows.h) is a hash under the service's secret, so it says nothing any more once the secret
// has changed. A digest has in it what is the same whatever the secret, and which secret the rest is of.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>

#include "db/ledger_rows.h"

namespace txn {

// Bytes of a RequestDigest, in order; app/idempotency.h fills them in.
inline constexpr size_t kDigestRequestBytes = 16;  // SHA-256 of all of the request but the PIN
inline constexpr size_t kDigestKeyIdBytes = 4;     // which secret the PIN is hashed under
inline constexpr size_t kDigestPinBytes = 12;      // keyed hash of the PIN; zeros: the request has none
static_assert(kDigestRequestBytes + kDigestKeyIdBytes + kDigestPinBytes == std::tuple_size_v<RequestDigest>);

// `kept` is of the request that was answered; the release before 005_request_digest.sql leaves no digest of it.
//
// Equal fingerprints are equal requests, whatever the digest says: that release leaves the digest of another request
// behind when it uses a key again after a day. Where the secret has changed since, a PIN cannot be compared, and a
// request that is the same but for it counts as the same: "used for another request" reads as "not done".
inline bool is_same_request(const Fingerprint& kept, const std::optional<RequestDigest>& kept_digest,
                            const Fingerprint& asked, const RequestDigest& asked_digest) {
  if (kept == asked) return true;
  if (!kept_digest) return false;
  const auto is_equal = [&](size_t begin, size_t size) {
    return std::equal(&asked_digest[begin], &asked_digest[begin] + size, &(*kept_digest)[begin]);
  };
  if (!is_equal(0, kDigestRequestBytes)) return false;
  constexpr size_t kPinBegin = kDigestRequestBytes + kDigestKeyIdBytes;
  return !is_equal(kDigestRequestBytes, kDigestKeyIdBytes) || is_equal(kPinBegin, kDigestPinBytes);
}

}  // namespace txn
