#include "app/idempotency.h"

#include <openssl/mem.h>
#include <openssl/sha.h>

#include <algorithm>
#include <string>

namespace txn {
namespace {

constexpr std::string_view kLabel = "transactions-service idempotency v1";
constexpr std::string_view kPinLabel = "transactions-service request digest v1";
constexpr std::string_view kKeyIdLabel = "transactions-service request digest key id v1";

std::span<const uint8_t> span_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Numbers in eight bytes and texts behind their length: no two operations give the same bytes.
void append_number(std::string& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}

void append_text(std::string& out, std::string_view text) {
  append_number(out, text.size());
  out += text;
}

// All of it but the PIN.
std::string request_bytes(const Operation& operation) {
  std::string bytes;
  append_number(bytes, static_cast<uint64_t>(operation.type));
  append_number(bytes, static_cast<uint64_t>(operation.transfer_mode));
  append_number(bytes, static_cast<uint64_t>(operation.account_number));
  append_number(bytes, static_cast<uint64_t>(operation.to_account));
  append_number(bytes, static_cast<uint64_t>(operation.amount.minor()));
  append_text(bytes, operation.description);
  return bytes;
}

}  // namespace

std::expected<std::string, std::string_view> parse_idempotency_key(std::string_view value) {
  static_assert(kIdempotencyKeyMax == 255, "the text below says so");
  constexpr std::string_view kForm = "must be 1 to 255 visible ASCII characters, spaces inside allowed";
  constexpr std::string_view kQuotes =
      "begins with a quote, and is no string in quotes (a quote or backslash inside stands behind a backslash)";
  std::string key;
  if (!value.starts_with('"')) {
    if (value.size() > kIdempotencyKeyMax) return std::unexpected(kForm);
    key = value;
  } else {
    if (value.size() > 2 * kIdempotencyKeyMax + 2) return std::unexpected(kForm);
    size_t at = 1;
    for (; at < value.size() && value[at] != '"'; ++at) {
      if (value[at] == '\\') {
        ++at;
        if (at == value.size() || (value[at] != '"' && value[at] != '\\')) return std::unexpected(kQuotes);
      }
      key += value[at];
    }
    if (at + 1 != value.size()) return std::unexpected(kQuotes);
  }
  const bool is_plain = std::ranges::all_of(key, [](char c) { return c >= ' ' && c < '\x7f'; });
  if (key.empty() || key.size() > kIdempotencyKeyMax || !is_plain || key.front() == ' ' || key.back() == ' ')
    return std::unexpected(kForm);
  return key;
}

RequestFingerprinter::RequestFingerprinter(std::span<const uint8_t> secret)
    : hmac_(DerivedKey(secret, kLabel).bytes()), pin_hmac_(DerivedKey(secret, kPinLabel).bytes()) {
  // Of a key of its own, so that it tells nothing about the others.
  const auto id = HmacSha256(DerivedKey(secret, kKeyIdLabel).bytes()).sign({});
  std::copy_n(id.begin(), key_id_.size(), key_id_.begin());
}

Fingerprint RequestFingerprinter::fingerprint(const Operation& operation) const {
  std::string bytes = request_bytes(operation);
  append_text(bytes, operation.pin.value_or(""));
  const Fingerprint result = hmac_.sign(span_of(bytes));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return result;
}

RequestDigest RequestFingerprinter::digest(const Operation& operation) const {
  const std::string bytes = request_bytes(operation);
  std::array<uint8_t, SHA256_DIGEST_LENGTH> request;
  SHA256(span_of(bytes).data(), bytes.size(), request.data());
  RequestDigest digest{};
  auto end = std::copy_n(request.begin(), kDigestRequestBytes, digest.begin());
  end = std::ranges::copy(key_id_, end).out;
  if (operation.pin) {
    // With the request in front, or equal PINs could be seen to be equal in the table.
    const auto pin = pin_hmac_.sign(request, span_of(*operation.pin));
    std::copy_n(pin.begin(), kDigestPinBytes, end);
  }
  return digest;
}

}  // namespace txn
