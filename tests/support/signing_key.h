// Key pairs of the asymmetric token algorithms, made and used by the openssl command: nothing of the service's own is
// believed about signatures, and no private key stands in this project.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/child_process.h"

namespace txn::test {

class SigningKey {
 public:
  // "RS256" (2048 bits), "ES256" or "EdDSA".
  explicit SigningKey(const std::string& algorithm);

  const std::string& algorithm() const { return algorithm_; }
  const std::string& private_key_file() const { return private_key_file_; }
  std::string public_pem() const;
  // As an element of a JSON Web Key Set, without a `kid` when that is empty.
  std::string jwk(std::string_view kid = "") const;

  // header.payload.signature of exactly these JSON texts.
  std::string sign(std::string_view header_json, std::string_view payload_json) const;
  // A token that expires in `ttl_seconds` (may be negative); with a `kid` unless that is empty.
  std::string token(int64_t subject, std::string_view role, std::string_view kid = "",
                    int64_t ttl_seconds = 3600) const;

 private:
  std::string algorithm_;
  TempDirectory directory_;
  std::string private_key_file_;
};

// {"keys":[a,b]}
std::string jwks(const std::vector<std::string>& keys);

}  // namespace txn::test
