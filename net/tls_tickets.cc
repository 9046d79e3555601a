#include "net/tls_tickets.h"

#include <openssl/mem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include "core/check.h"

namespace txn {
namespace {

// Time in suspension counts: a key must not outlive its hours because the machine slept.
int64_t boot_seconds() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec;
}

}  // namespace

TlsTicketKey::TlsTicketKey(int64_t made_s) : made_s_(made_s) {
  const EVP_AEAD* const aead = EVP_aead_aes_256_gcm();
  std::array<uint8_t, 32> secret{};
  RAND_bytes(name_.data(), name_.size());
  RAND_bytes(secret.data(), secret.size());
  CHECK(EVP_AEAD_key_length(aead) == secret.size() && EVP_AEAD_nonce_length(aead) == kNonceBytes, "AES-256-GCM");
  const int ready = EVP_AEAD_CTX_init(aead_.get(), aead, secret.data(), secret.size(), kTagBytes, nullptr);
  CHECK(ready == 1, "a key of the right length is a key");
  OPENSSL_cleanse(secret.data(), secret.size());
}

size_t TlsTicketKey::seal(std::span<uint8_t> out, std::span<const uint8_t> in) const {
  if (out.size() < in.size() + kOverheadBytes) return 0;
  // The input may be where the output goes: it is moved to its place first.
  uint8_t* const sealed = out.data() + kNameBytes + kNonceBytes;
  std::memmove(sealed, in.data(), in.size());
  std::memcpy(out.data(), name_.data(), kNameBytes);
  uint8_t* const nonce = out.data() + kNameBytes;
  RAND_bytes(nonce, kNonceBytes);
  size_t written = 0;
  if (EVP_AEAD_CTX_seal(aead_.get(), sealed, &written, out.size() - kNameBytes - kNonceBytes, nonce, kNonceBytes,
                        sealed, in.size(), name_.data(), kNameBytes) != 1)
    return 0;
  return kNameBytes + kNonceBytes + written;
}

size_t TlsTicketKey::open(std::span<uint8_t> out, std::span<const uint8_t> in) const {
  if (in.size() <= kOverheadBytes || !std::equal(name_.begin(), name_.end(), in.begin())) return 0;
  std::array<uint8_t, kNonceBytes> nonce{};
  std::memcpy(nonce.data(), in.data() + kNameBytes, kNonceBytes);
  const std::span<const uint8_t> sealed = in.subspan(kNameBytes + kNonceBytes);
  if (out.size() < sealed.size()) return 0;
  std::memmove(out.data(), sealed.data(), sealed.size());
  size_t written = 0;
  if (EVP_AEAD_CTX_open(aead_.get(), out.data(), &written, out.size(), nonce.data(), nonce.size(), out.data(),
                        sealed.size(), name_.data(), kNameBytes) != 1)
    return 0;
  return written;
}

TlsTicketKeys::TlsTicketKeys(std::function<int64_t()> now_s) : now_s_(now_s ? std::move(now_s) : boot_seconds) {}

std::shared_ptr<const TlsTicketKey> TlsTicketKeys::current() {
  const std::lock_guard lock(mutex_);
  rotate();
  return keys_.front();
}

std::shared_ptr<const TlsTicketKey> TlsTicketKeys::find(std::span<const uint8_t> name) {
  const std::lock_guard lock(mutex_);
  rotate();
  for (const auto& key : keys_) {
    if (key && std::equal(name.begin(), name.end(), key->name().begin(), key->name().end())) return key;
  }
  return nullptr;
}

void TlsTicketKeys::rotate() {
  const int64_t now_s = now_s_();
  for (auto& key : keys_) {
    if (key && now_s - key->made_s() >= kTicketKeyIssueSeconds + kTicketLifetimeSeconds) key.reset();
  }
  if (keys_.front() && now_s - keys_.front()->made_s() < kTicketKeyIssueSeconds) return;
  std::rotate(keys_.rbegin(), keys_.rbegin() + 1, keys_.rend());
  keys_.front() = std::make_shared<const TlsTicketKey>(now_s);
}

}  // namespace txn
