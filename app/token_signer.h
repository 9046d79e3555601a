// Makes tokens: for the subcommand `token`, which development and tests use. The service itself only verifies.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "app/hmac_sha256.h"
#include "core/config.h"
#include "core/error.h"
#include "db/ledger_rows.h"

namespace txn {

struct TokenClaims {
  int64_t subject = 0;
  Role role = Role::kCustomer;
  std::string_view subject_claim = "sub";
  std::string_view role_claim = "role";
  std::string_view role_name = {};  // what the role is called there; empty: what it is
  int64_t issued_at = 0;            // unix seconds
  int64_t expires_at = 0;           // unix seconds
  std::string_view issuer;          // empty: left out, as the next two
  std::string_view audience;
  std::string_view login_id;
};

class TokenSigner {
 public:
  // HS256. kInvalidArgument for less than kHmacKeyMinBytes.
  static Result<TokenSigner> with_secret(std::string_view secret);

  // RS256, ES256 or EdDSA, whichever `algorithm` is, with an unencrypted private key in PEM (PKCS #8, or the older
  // forms of RSA and EC keys). kInvalidArgument when it is not of that algorithm or of a size that is not accepted.
  static Result<TokenSigner> with_private_key(JwtAlgorithm algorithm, std::string_view pem);

  // A compact JWS over `claims`; `kid` in its header unless empty.
  std::string sign(const TokenClaims& claims, std::string_view kid = "") const;

  // The same over texts that are taken as they are: whether they are JSON, and good, is the caller's affair.
  std::string sign_text(std::string_view header, std::string_view payload) const;

 private:
  using Key = std::variant<std::unique_ptr<HmacSha256>, bssl::UniquePtr<EVP_PKEY>>;
  TokenSigner(JwtAlgorithm algorithm, Key key) : algorithm_(algorithm), key_(std::move(key)) {}

  JwtAlgorithm algorithm_;
  Key key_;
};

}  // namespace txn
