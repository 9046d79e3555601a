#include "tests/app/key_pair.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/curve25519.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <vector>

#include "app/base64url.h"
#include "core/check.h"

namespace txn::test {
namespace {

std::string text_of(const BIO* bio) {
  const uint8_t* bytes = nullptr;
  size_t length = 0;
  CHECK(BIO_mem_contents(bio, &bytes, &length) == 1, "a memory BIO has contents");
  return {reinterpret_cast<const char*>(bytes), length};
}

std::string base64url_of(const BIGNUM* number, size_t bytes) {
  std::vector<uint8_t> padded(bytes);
  CHECK(BN_bn2bin_padded(padded.data(), bytes, number) == 1, "the number fits");
  return encode_base64url({reinterpret_cast<const char*>(padded.data()), bytes});
}

KeyPair make(JwtAlgorithm algorithm) {
  if (algorithm == JwtAlgorithm::kRs256) return KeyPair::rsa(2048);
  return KeyPair::elliptic(algorithm == JwtAlgorithm::kEs256 ? NID_X9_62_prime256v1 : NID_ED25519);
}

}  // namespace

KeyPair::KeyPair(JwtAlgorithm algorithm) : KeyPair(make(algorithm)) {}

KeyPair KeyPair::rsa(unsigned bits, unsigned long exponent) {
  const bssl::UniquePtr<RSA> rsa(RSA_new());
  const bssl::UniquePtr<BIGNUM> e(BN_new());
  CHECK(BN_set_word(e.get(), exponent) == 1, "memory");
  CHECK(RSA_generate_key_ex(rsa.get(), static_cast<int>(bits), e.get(), nullptr) == 1, "RSA keys can be made");
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  CHECK(EVP_PKEY_set1_RSA(key.get(), rsa.get()) == 1, "memory");
  return {JwtAlgorithm::kRs256, std::move(key)};
}

KeyPair KeyPair::elliptic(int curve_nid) {
  if (curve_nid == NID_ED25519) {
    std::array<uint8_t, 32> public_key;
    std::array<uint8_t, 64> private_key;
    ED25519_keypair(public_key.data(), private_key.data());
    return {JwtAlgorithm::kEdDsa,
            bssl::UniquePtr<EVP_PKEY>(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, private_key.data(), 32))};
  }
  const bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(curve_nid));
  CHECK(EC_KEY_generate_key(ec.get()) == 1, "EC keys can be made");
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  CHECK(EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) == 1, "memory");
  return {JwtAlgorithm::kEs256, std::move(key)};
}

std::string KeyPair::public_pem() const {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PUBKEY(bio.get(), key_.get()) == 1, "a public key has a PEM");
  return text_of(bio.get());
}

std::string KeyPair::public_der() const {
  bssl::ScopedCBB cbb;
  uint8_t* der = nullptr;
  size_t length = 0;
  CHECK(CBB_init(cbb.get(), 512) == 1, "memory");
  CHECK(EVP_marshal_public_key(cbb.get(), key_.get()) == 1, "a public key has a DER");
  CHECK(CBB_finish(cbb.get(), &der, &length) == 1, "memory");
  const bssl::UniquePtr<uint8_t> owner(der);
  return {reinterpret_cast<const char*>(der), length};
}

std::string KeyPair::private_pem() const {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1, "PKCS #8");
  return text_of(bio.get());
}

std::string KeyPair::certificate_pem() const {
  const bssl::UniquePtr<X509> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key_.get());
  const EVP_MD* const digest = algorithm_ == JwtAlgorithm::kEdDsa ? nullptr : EVP_sha256();
  CHECK(X509_sign(certificate.get(), key_.get(), digest) > 0, "a certificate can be signed");
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_X509(bio.get(), certificate.get()) == 1, "a certificate has a PEM");
  return text_of(bio.get());
}

std::string KeyPair::jwk_members() const {
  if (const RSA* const rsa = EVP_PKEY_get0_RSA(key_.get())) {
    return R"("kty":"RSA","n":")" + base64url_of(RSA_get0_n(rsa), RSA_size(rsa)) + R"(","e":")" +
           base64url_of(RSA_get0_e(rsa), BN_num_bytes(RSA_get0_e(rsa))) + "\"";
  }
  if (const EC_KEY* const ec = EVP_PKEY_get0_EC_KEY(key_.get())) {
    const size_t bytes = (EC_GROUP_get_degree(EC_KEY_get0_group(ec)) + 7) / 8;
    const bssl::UniquePtr<BIGNUM> x(BN_new()), y(BN_new());
    CHECK(EC_POINT_get_affine_coordinates_GFp(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), x.get(), y.get(),
                                              nullptr) == 1,
          "a public key is a point");
    return R"("kty":"EC","crv":"P-)" + std::to_string(EC_GROUP_get_degree(EC_KEY_get0_group(ec))) + R"(","x":")" +
           base64url_of(x.get(), bytes) + R"(","y":")" + base64url_of(y.get(), bytes) + "\"";
  }
  std::array<uint8_t, 32> bytes;
  size_t length = bytes.size();
  CHECK(EVP_PKEY_get_raw_public_key(key_.get(), bytes.data(), &length) == 1, "an Ed25519 key");
  return R"("kty":"OKP","crv":"Ed25519","x":")" +
         encode_base64url({reinterpret_cast<const char*>(bytes.data()), length}) + "\"";
}

std::string KeyPair::jwk(std::string_view more) const { return "{" + jwk_members() + std::string(more) + "}"; }

TokenSigner KeyPair::signer() const {
  auto signer = TokenSigner::with_private_key(algorithm_, private_pem());
  CHECK(signer.has_value(), "a key made for the algorithm signs by it");
  return std::move(*signer);
}

std::string jwks(std::initializer_list<std::string> keys) {
  std::string set = R"({"keys":[)";
  for (const std::string& key : keys) set += (set.ends_with('[') ? "" : ",") + key;
  return set + "]}";
}

}  // namespace txn::test
