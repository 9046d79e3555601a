// Keys that tokens are verified with, and how they are read: a shared secret, a public key in PEM, a JSON Web Key Set.
// Only texts here; app/token_key_source.h knows where they come from.
//
// Every key belongs to exactly one algorithm (RFC 8725 section 3.1), the one that is configured: what a token's header
// says about algorithms can only make it be refused.
#pragma once

#include <openssl/ec_key.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "app/hmac_sha256.h"
#include "core/config.h"
#include "core/error.h"

namespace txn {

inline constexpr size_t kKeyFileBytesMax = 256 * 1024;
inline constexpr size_t kJwksKeysMax = 64;
inline constexpr size_t kKidBytesMax = 256;
inline constexpr size_t kKeysOfOneKidMax = 4;  // what a verification may cost
inline constexpr unsigned kRsaBitsMin = 2048;  // RFC 7518 section 3.3
inline constexpr unsigned kRsaBitsMax = 4096;  // what a verification may cost
inline constexpr size_t kSignatureBytesMax = kRsaBitsMax / 8;

// Belongs to one thread at a time.
class TokenKey {
 public:
  using Ed25519PublicKey = std::array<uint8_t, 32>;
  using Material =
      std::variant<std::unique_ptr<HmacSha256>, bssl::UniquePtr<RSA>, bssl::UniquePtr<EC_KEY>, Ed25519PublicKey>;

  TokenKey(Material material, std::optional<std::string> id) : id_(std::move(id)) {
    materials_.push_back(std::move(material));
  }

  // Its `kid`; keys that do not come from a set have none.
  const std::optional<std::string>& id() const { return id_; }

  // Whether `signature` is one of `signing_input` in the form that RFC 7518 section 3 and RFC 8037 section 3.1 give it:
  // HS256 32 bytes, RS256 as long as the modulus, ES256 r and s with 32 bytes each, EdDSA 64 bytes.
  bool verifies(std::string_view signing_input, std::span<const uint8_t> signature) const;

  // Several keys may stand under one id: any of them will do.
  const std::vector<Material>& materials() const { return materials_; }
  void take_materials_of(TokenKey other) { std::ranges::move(other.materials_, std::back_inserter(materials_)); }

 private:
  std::vector<Material> materials_;  // at least one
  std::optional<std::string> id_;
};

// All keys of one algorithm that tokens may be signed with: at least one, several only with an id each, all different.
class TokenKeys {
 public:
  // HS256. kInvalidArgument for less than kHmacKeyMinBytes.
  static Result<std::unique_ptr<TokenKeys>> from_secret(std::string_view secret);

  // One PEM block, a byte order mark before it or not: PUBLIC KEY (SubjectPublicKeyInfo, RFC 7468 section 13), or
  // CERTIFICATE, of which only the key counts: neither its dates nor its issuer are looked at. kInvalidArgument for
  // anything else, for a key of another algorithm than `algorithm` (not HS256), and for RSA outside kRsaBitsMin to
  // kRsaBitsMax or with an exponent below 65537.
  static Result<std::unique_ptr<TokenKeys>> from_pem(JwtAlgorithm algorithm, std::string_view text);

  // A JSON Web Key Set (RFC 7517) of at most kJwksKeysMax keys. As section 5 there asks for, keys that are of no use
  // here are passed over, which skipped() tells: another `kty`, `crv`, `alg`, `use` or `key_ops`, sizes as above.
  //
  // A key counts by what it is, not by how it is spelt, lest a withdrawn one stay good because the file without it was
  // refused: numbers with leading zeros or without, base64 of either alphabet, padded or not, a byte order mark before
  // the file. A key that is listed twice is there once. Different keys of one `kid`, up to kKeysOfOneKidMax, are all
  // tried, since the issuer vouches for each of them; shared_ids() tells.
  //
  // kInvalidArgument when no key is left, when one of several has no `kid`, when a private or secret part is among
  // them, of whatever kind of key, and for a text that is no such set or names a member twice.
  static Result<std::unique_ptr<TokenKeys>> from_jwks(JwtAlgorithm algorithm, std::string_view text);

  JwtAlgorithm algorithm() const { return algorithm_; }
  size_t size() const { return keys_.size(); }

  // The key for a token whose header has this `kid`, or none. A key without an id is the only one and answers to any; a
  // token without a `kid` gets the only key there is. nullptr: none.
  const TokenKey* find(std::optional<std::string_view> kid) const;

  // Why keys of the set were passed over, a line each: "key 2: alg is another".
  std::span<const std::string> skipped() const { return skipped_; }

  // Different keys that have the same `kid`, a line each: "keys 1 and 2".
  std::span<const std::string> shared_ids() const { return shared_ids_; }

 private:
  explicit TokenKeys(JwtAlgorithm algorithm) : algorithm_(algorithm) {}
  TokenKeys(JwtAlgorithm algorithm, TokenKey key);

  JwtAlgorithm algorithm_;
  std::vector<TokenKey> keys_;
  std::vector<std::string> skipped_;
  std::vector<std::string> shared_ids_;
};

}  // namespace txn
