// Keys and certificates made while the tests run: none is ever kept in the repository.
#pragma once

#include <cstdint>
#include <string>

namespace txn::test {

// PEM of both.
struct Certificate {
  std::string certificate;
  std::string key;
};

struct CertificateSpec {
  enum class Key { kEcdsaP256, kRsa1024, kRsa2048 };
  std::string name = "localhost";  // common name, and beside 127.0.0.1 and ::1 a name it is valid for
  Key key = Key::kEcdsaP256;
  int64_t not_before_s = -3600;  // from now
  int64_t not_after_s = 90 * 86400;
  bool is_authority = false;
  std::string private_key = {};  // PEM; a new key of the kind `key` when empty
};

// Signed by `issuer`, or by itself. Aborts the run when BoringSSL refuses.
Certificate make_certificate(const CertificateSpec& spec = {}, const Certificate* issuer = nullptr);

// `key` as a PEM that asks for a password.
std::string encrypt_key(const std::string& key, const std::string& password);

}  // namespace txn::test
