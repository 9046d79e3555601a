// Keys of session tickets: one ring of them for all workers, so that a client resumes wherever the kernel puts it, kept
// when certificates are loaded again, and rotated here (BoringSSL rotates only keys of its own, which are per SSL_CTX).
//
// A ticket is: key's name (16 bytes), nonce (12), then the session under AES-256-GCM with the name as additional data.
// A key seals for kTicketKeyIssueSeconds and opens for as long as a ticket of its last second is valid; then it is
// forgotten, and with it every secret of the sessions it sealed (RFC 8446 appendix F.1, RFC 5077 section 5.5).
#pragma once

#include <openssl/aead.h>
#include <openssl/base.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>

namespace txn {

inline constexpr int64_t kTicketLifetimeSeconds = 2 * 3600;
inline constexpr int64_t kTicketKeyIssueSeconds = 3600;

class TlsTicketKey {
 public:
  static constexpr size_t kNameBytes = 16;
  static constexpr size_t kNonceBytes = 12;
  static constexpr size_t kTagBytes = 16;
  static constexpr size_t kOverheadBytes = kNameBytes + kNonceBytes + kTagBytes;
  using Name = std::array<uint8_t, kNameBytes>;

  // Random; `made_s` in the ring's time.
  explicit TlsTicketKey(int64_t made_s);

  const Name& name() const { return name_; }
  int64_t made_s() const { return made_s_; }

  // The bytes of the ticket or of the session written to `out`; 0 when they do not fit, or when the ticket is not one
  // of this key. `out` and `in` are the same or do not overlap. Any thread.
  size_t seal(std::span<uint8_t> out, std::span<const uint8_t> in) const;
  size_t open(std::span<uint8_t> out, std::span<const uint8_t> in) const;

 private:
  Name name_{};
  int64_t made_s_;
  bssl::ScopedEVP_AEAD_CTX aead_;
};

// Any thread: a mutex held for a few instructions, once a handshake and ticket and never for a request.
class TlsTicketKeys {
 public:
  // `now_s`: seconds that never go back; the machine's monotonic clock unless a test has its own.
  explicit TlsTicketKeys(std::function<int64_t()> now_s = {});

  // The key that seals now.
  std::shared_ptr<const TlsTicketKey> current();
  // The key of that name, unless it is too old or was never here.
  std::shared_ptr<const TlsTicketKey> find(std::span<const uint8_t> name);

 private:
  // The one that seals, and those whose tickets may still be valid.
  static constexpr size_t kKeys = 1 + (kTicketLifetimeSeconds + kTicketKeyIssueSeconds - 1) / kTicketKeyIssueSeconds;

  void rotate();

  const std::function<int64_t()> now_s_;
  std::mutex mutex_;
  std::array<std::shared_ptr<const TlsTicketKey>, kKeys> keys_;  // newest first
};

}  // namespace txn
