// Key pairs for tests, made when they are asked for: no private key stands in this project.
#pragma once

#include <openssl/base.h>
#include <openssl/evp.h>

#include <string>
#include <string_view>

#include "app/token_signer.h"
#include "core/config.h"

namespace txn::test {

class KeyPair {
 public:
  // Of the kind that `algorithm`, not HS256, needs: RSA with 2048 bits, P-256, Ed25519.
  explicit KeyPair(JwtAlgorithm algorithm);
  static KeyPair rsa(unsigned bits, unsigned long exponent = 65537);
  static KeyPair elliptic(int curve_nid);

  JwtAlgorithm algorithm() const { return algorithm_; }
  const EVP_PKEY* key() const { return key_.get(); }
  std::string public_pem() const;
  std::string public_der() const;   // SubjectPublicKeyInfo
  std::string private_pem() const;  // PKCS #8
  std::string certificate_pem() const;

  // The members of its JWK, without braces: "kty":"OKP","crv":...
  std::string jwk_members() const;
  // {members, more}, where `more` begins with a comma or is empty.
  std::string jwk(std::string_view more = "") const;

  TokenSigner signer() const;

 private:
  KeyPair(JwtAlgorithm algorithm, bssl::UniquePtr<EVP_PKEY> key) : algorithm_(algorithm), key_(std::move(key)) {}

  JwtAlgorithm algorithm_;
  bssl::UniquePtr<EVP_PKEY> key_;
};

// {"keys":[a,b]}
std::string jwks(std::initializer_list<std::string> keys);

}  // namespace txn::test
