#include "tests/support/certificates.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "tests/support/child_process.h"

namespace txn::test {

namespace {

void must(bool worked, const char* what) {
  if (!worked) fatal(std::string("certificates: ") + what);
}

bssl::UniquePtr<EVP_PKEY> make_key(CertificateSpec::Key kind) {
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (kind == CertificateSpec::Key::kEcdsaP256) {
    bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
    must(ec && EC_KEY_generate_key(ec.get()) == 1, "EC key");
    must(EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) == 1, "EC key");
  } else {
    bssl::UniquePtr<RSA> rsa(RSA_new());
    bssl::UniquePtr<BIGNUM> exponent(BN_new());
    must(BN_set_word(exponent.get(), RSA_F4) == 1, "RSA exponent");
    must(RSA_generate_key_ex(rsa.get(), kind == CertificateSpec::Key::kRsa2048 ? 2048 : 1024, exponent.get(),
                             nullptr) == 1,
         "RSA key");
    must(EVP_PKEY_set1_RSA(key.get(), rsa.get()) == 1, "RSA key");
  }
  return key;
}

bssl::UniquePtr<BIO> reader_of(const std::string& pem) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

std::string text_of(BIO* bio) {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  must(BIO_mem_contents(bio, &bytes, &size) == 1, "memory");
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

void add_extension(X509* certificate, X509* issuer, int nid, std::string value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  bssl::UniquePtr<X509_EXTENSION> extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value.data()));
  must(extension && X509_add_ext(certificate, extension.get(), -1) == 1, value.c_str());
}

}  // namespace

Certificate make_certificate(const CertificateSpec& spec, const Certificate* issuer) {
  const bssl::UniquePtr<EVP_PKEY> key = spec.private_key.empty()
                                            ? make_key(spec.key)
                                            : bssl::UniquePtr<EVP_PKEY>(PEM_read_bio_PrivateKey(
                                                  reader_of(spec.private_key).get(), nullptr, nullptr, nullptr));
  must(key != nullptr, "key");
  bssl::UniquePtr<X509> issuer_certificate;
  bssl::UniquePtr<EVP_PKEY> issuer_key;
  if (issuer != nullptr) {
    issuer_certificate.reset(PEM_read_bio_X509(reader_of(issuer->certificate).get(), nullptr, nullptr, nullptr));
    issuer_key.reset(PEM_read_bio_PrivateKey(reader_of(issuer->key).get(), nullptr, nullptr, nullptr));
    must(issuer_certificate && issuer_key, "issuer");
  }

  const bssl::UniquePtr<X509> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<uint8_t*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), spec.not_before_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), spec.not_after_s);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const uint8_t*>(spec.name.data()), static_cast<int>(spec.name.size()), -1,
                             0);
  X509_set_issuer_name(certificate.get(),
                       X509_get_subject_name(issuer_certificate ? issuer_certificate.get() : certificate.get()));
  X509_set_pubkey(certificate.get(), key.get());
  X509* const signer = issuer_certificate ? issuer_certificate.get() : certificate.get();
  add_extension(certificate.get(), signer, NID_basic_constraints,
                spec.is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(certificate.get(), signer, NID_key_usage,
                spec.is_authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  if (!spec.is_authority) {
    add_extension(certificate.get(), signer, NID_ext_key_usage, "serverAuth,clientAuth");
    add_extension(certificate.get(), signer, NID_subject_alt_name, "DNS:" + spec.name + ",IP:127.0.0.1,IP:::1");
  }
  must(X509_sign(certificate.get(), issuer_key ? issuer_key.get() : key.get(), EVP_sha256()) > 0, "signature");

  const bssl::UniquePtr<BIO> certificate_pem(BIO_new(BIO_s_mem()));
  const bssl::UniquePtr<BIO> key_pem(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(certificate_pem.get(), certificate.get()) == 1, "PEM");
  must(PEM_write_bio_PKCS8PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1, "PEM");
  return {.certificate = text_of(certificate_pem.get()), .key = text_of(key_pem.get())};
}

std::string encrypt_key(const std::string& key, const std::string& password) {
  std::string secret = password;
  const bssl::UniquePtr<EVP_PKEY> plain(PEM_read_bio_PrivateKey(reader_of(key).get(), nullptr, nullptr, nullptr));
  const bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PKCS8PrivateKey(out.get(), plain.get(), EVP_aes_256_cbc(), secret.data(),
                                     static_cast<int>(secret.size()), nullptr, nullptr) == 1,
       "encrypted PEM");
  return text_of(out.get());
}

}  // namespace txn::test
