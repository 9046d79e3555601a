#include "app/token_signer.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <span>
#include <utility>

#include "app/base64url.h"
#include "app/token_keys.h"
#include "core/byte_order_mark.h"
#include "core/check.h"
#include "core/concat.h"
#include "core/json_writer.h"

namespace txn {
namespace {

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// An encrypted key is refused, not asked about on the terminal.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*context*/) { return 0; }

bool is_key_for(JwtAlgorithm algorithm, const EVP_PKEY* key) {
  switch (algorithm) {
    case JwtAlgorithm::kHs256:
      return false;
    case JwtAlgorithm::kRs256:
      return EVP_PKEY_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) >= static_cast<int>(kRsaBitsMin) &&
             EVP_PKEY_bits(key) <= static_cast<int>(kRsaBitsMax);
    case JwtAlgorithm::kEs256:
      return EVP_PKEY_id(key) == EVP_PKEY_EC &&
             EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key))) == NID_X9_62_prime256v1;
    case JwtAlgorithm::kEdDsa:
      return EVP_PKEY_id(key) == EVP_PKEY_ED25519;
  }
  std::unreachable();
}

std::string signature_by(const std::unique_ptr<HmacSha256>& key, std::string_view text) {
  return text_of(key->sign(bytes_of(text)));
}

// JWS wants r and s with 32 bytes each where everybody else has a DER sequence of them.
std::string raw_of(std::span<const uint8_t> der) {
  const bssl::UniquePtr<ECDSA_SIG> pair(ECDSA_SIG_from_bytes(der.data(), der.size()));
  CHECK(pair != nullptr, "the library reads its own signatures");
  std::array<uint8_t, 64> raw;
  const bool fits = BN_bn2bin_padded(raw.data(), 32, ECDSA_SIG_get0_r(pair.get())) == 1 &&
                    BN_bn2bin_padded(raw.data() + 32, 32, ECDSA_SIG_get0_s(pair.get())) == 1;
  CHECK(fits, "r and s are below the order of P-256");
  return text_of(raw);
}

std::string signature_by(const bssl::UniquePtr<EVP_PKEY>& key, std::string_view text) {
  const EVP_MD* const digest = EVP_PKEY_id(key.get()) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  bssl::ScopedEVP_MD_CTX context;
  std::array<uint8_t, kSignatureBytesMax> signature;
  size_t length = signature.size();
  const bool is_signed =
      EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key.get()) == 1 &&
      EVP_DigestSign(context.get(), signature.data(), &length, bytes_of(text).data(), text.size()) == 1;
  CHECK(is_signed, "a checked key signs any text");
  const std::span<const uint8_t> made(signature.data(), length);
  return EVP_PKEY_id(key.get()) == EVP_PKEY_EC ? raw_of(made) : text_of(made);
}

}  // namespace

Result<TokenSigner> TokenSigner::with_secret(std::string_view secret) {
  // The verifier's bound: what it would not accept is not signed either.
  if (auto checked = TokenKeys::from_secret(secret); !checked) return std::unexpected(std::move(checked.error()));
  return TokenSigner(JwtAlgorithm::kHs256, std::make_unique<HmacSha256>(bytes_of(secret)));
}

Result<TokenSigner> TokenSigner::with_private_key(JwtAlgorithm algorithm, std::string_view pem) {
  pem = without_byte_order_mark(pem);
  if (pem.size() > kKeyFileBytesMax) return fail(ErrorKind::kInvalidArgument, "too long for a key");
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  bssl::UniquePtr<EVP_PKEY> key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr);
  ERR_clear_error();
  if (!key) return fail(ErrorKind::kInvalidArgument, "no unencrypted private key in PEM");
  if (!is_key_for(algorithm, key.get())) {
    return fail(ErrorKind::kInvalidArgument, concat("not a key that ", to_string(algorithm), " may be signed with"));
  }
  return TokenSigner(algorithm, std::move(key));
}

std::string TokenSigner::sign_text(std::string_view header, std::string_view payload) const {
  std::string token = encode_base64url(header) + '.' + encode_base64url(payload);
  const std::string signature = std::visit([&](const auto& key) { return signature_by(key, token); }, key_);
  return token + '.' + encode_base64url(signature);
}

std::string TokenSigner::sign(const TokenClaims& claims, std::string_view kid) const {
  std::string payload = "{";
  append_json_string(payload, claims.subject_claim);
  payload += ":\"";
  append_json_int(payload, claims.subject);  // a StringOrURI, RFC 7519 section 4.1.2
  payload += "\",";
  append_json_string(payload, claims.role_claim);
  payload += ':';
  append_json_string(payload, claims.role_name.empty() ? to_string(claims.role) : claims.role_name);
  payload += ",\"iat\":";
  append_json_int(payload, claims.issued_at);
  payload += ",\"exp\":";
  append_json_int(payload, claims.expires_at);
  const std::pair<std::string_view, std::string_view> optional_claims[] = {
      {",\"iss\":", claims.issuer}, {",\"aud\":", claims.audience}, {",\"login_id\":", claims.login_id}};
  for (const auto& [name, value] : optional_claims) {
    if (value.empty()) continue;
    payload += name;
    append_json_string(payload, value);
  }
  payload += '}';

  std::string header = "{\"alg\":";
  append_json_string(header, to_string(algorithm_));
  header += ",\"typ\":\"JWT\"";
  if (!kid.empty()) {
    header += ",\"kid\":";
    append_json_string(header, kid);
  }
  header += '}';
  return sign_text(header, payload);
}

}  // namespace txn
