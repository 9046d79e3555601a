#include "app/idempotency.h"

#include <openssl/mem.h>

#include <algorithm>
#include <string>

namespace txn {
namespace {

constexpr std::string_view kLabel = "transactions-service idempotency v1";

// Numbers in eight bytes and texts behind their length: no two operations give the same bytes.
void append_number(std::string& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}

void append_text(std::string& out, std::string_view text) {
  append_number(out, text.size());
  out += text;
}

}  // namespace

bool is_valid_idempotency_key(std::string_view text) {
  return !text.empty() && text.size() <= kIdempotencyKeyMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

RequestFingerprinter::RequestFingerprinter(std::span<const uint8_t> secret)
    : hmac_(DerivedKey(secret, kLabel).bytes()) {}

Fingerprint RequestFingerprinter::fingerprint(const Operation& operation) const {
  std::string bytes;
  append_number(bytes, static_cast<uint64_t>(operation.type));
  append_number(bytes, static_cast<uint64_t>(operation.transfer_mode));
  append_number(bytes, static_cast<uint64_t>(operation.account_number));
  append_number(bytes, static_cast<uint64_t>(operation.to_account));
  append_number(bytes, static_cast<uint64_t>(operation.amount.minor()));
  append_text(bytes, operation.description);
  append_text(bytes, operation.pin.value_or(""));
  const Fingerprint result = hmac_.sign({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return result;
}

}  // namespace txn
