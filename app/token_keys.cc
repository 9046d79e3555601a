#include "app/token_keys.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/curve25519.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <expected>
#include <tuple>
#include <utility>

#include "app/base64url.h"
#include "app/json_reader.h"
#include "core/byte_order_mark.h"
#include "core/concat.h"

namespace txn {
namespace {

// What is wrong with a key, as the end of a sentence about it.
template <class T>
using Made = std::expected<T, std::string>;
using Unfit = std::unexpected<std::string>;

constexpr size_t kP256FieldBytes = 32;
constexpr size_t kEd25519SignatureBytes = 64;
// As many reasons as an error can list and still be read.
constexpr size_t kReasonsListedMax = 5;

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

using Sha256Digest = std::array<uint8_t, SHA256_DIGEST_LENGTH>;

Sha256Digest sha256(std::string_view text) {
  Sha256Digest digest;
  SHA256(bytes_of(text).data(), text.size(), digest.data());
  return digest;
}

// --- Signatures ------------------------------------------------------------------------------------------------------

bool holds(const std::unique_ptr<HmacSha256>& key, std::string_view input, std::span<const uint8_t> signature) {
  const HmacSha256::Tag tag = key->sign(bytes_of(input));
  return signature.size() == tag.size() && CRYPTO_memcmp(tag.data(), signature.data(), tag.size()) == 0;
}

bool holds(const bssl::UniquePtr<RSA>& key, std::string_view input, std::span<const uint8_t> signature) {
  if (signature.size() != RSA_size(key.get())) return false;
  const Sha256Digest digest = sha256(input);
  return RSA_verify(NID_sha256, digest.data(), digest.size(), signature.data(), signature.size(), key.get()) == 1;
}

bool holds(const bssl::UniquePtr<EC_KEY>& key, std::string_view input, std::span<const uint8_t> signature) {
  if (signature.size() != 2 * kP256FieldBytes) return false;
  const bssl::UniquePtr<ECDSA_SIG> pair(ECDSA_SIG_new());
  bssl::UniquePtr<BIGNUM> r(BN_bin2bn(signature.data(), kP256FieldBytes, nullptr));
  bssl::UniquePtr<BIGNUM> s(BN_bin2bn(signature.data() + kP256FieldBytes, kP256FieldBytes, nullptr));
  if (!pair || !r || !s) return false;
  // A verifier that lets zeros through accepts them for every message (CVE-2022-21449). The library looks as well.
  if (BN_is_zero(r.get()) == 1 || BN_is_zero(s.get()) == 1) return false;
  ECDSA_SIG_set0(pair.get(), r.release(), s.release());
  const Sha256Digest digest = sha256(input);
  return ECDSA_do_verify(digest.data(), digest.size(), pair.get(), key.get()) == 1;
}

bool holds(const TokenKey::Ed25519PublicKey& key, std::string_view input, std::span<const uint8_t> signature) {
  if (signature.size() != kEd25519SignatureBytes) return false;
  return ED25519_verify(bytes_of(input).data(), input.size(), signature.data(), key.data()) == 1;
}

// --- Keys and what they must be --------------------------------------------------------------------------------------

Made<TokenKey::Material> checked_rsa(bssl::UniquePtr<RSA> key) {
  const unsigned bits = RSA_bits(key.get());
  if (bits < kRsaBitsMin || bits > kRsaBitsMax) {
    return Unfit(concat("an RSA modulus of ", bits, " bits; it must have ", kRsaBitsMin, " to ", kRsaBitsMax));
  }
  // FIPS 186-5 appendix A.1.1: odd, and above 2^16. An exponent of 1 would make every text its own signature.
  const BIGNUM* const exponent = RSA_get0_e(key.get());
  if (BN_num_bits(exponent) <= 16 || BN_num_bits(exponent) > 32 || BN_is_odd(exponent) == 0) {
    return Unfit("an RSA exponent that is not an odd number from 65537 to 32 bits");
  }
  if (BN_is_odd(RSA_get0_n(key.get())) == 0) return Unfit("an even RSA modulus");
  return key;
}

Made<TokenKey::Material> checked_ec(bssl::UniquePtr<EC_KEY> key) {
  if (EC_GROUP_get_curve_name(EC_KEY_get0_group(key.get())) != NID_X9_62_prime256v1) {
    return Unfit("an elliptic curve other than P-256");
  }
  if (EC_KEY_check_key(key.get()) != 1) return Unfit("a point that is not on P-256");
  return key;
}

// Points of small order: under such a "key" anybody can sign. These are the values of y (RFC 8032 section 5.1.2) whose
// order divides 8, in every spelling of 255 bits; the sign of x, the top bit, does not matter.
bool has_small_order(const TokenKey::Ed25519PublicKey& key) {
  const auto ends_of_field = [](uint8_t first) {  // 2^255 - 256 + first
    TokenKey::Ed25519PublicKey y;
    y.fill(0xFF);
    y.front() = first;
    y.back() = 0x7F;
    return y;
  };
  static const TokenKey::Ed25519PublicKey kSmall[] = {
      {0},
      {1},
      {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
       0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
      {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
       0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
      ends_of_field(0xEC),  // -1
      ends_of_field(0xED),  // 0 again
      ends_of_field(0xEE),  // 1 again
  };
  TokenKey::Ed25519PublicKey y = key;
  y.back() &= 0x7F;
  return std::ranges::find(kSmall, y) != std::end(kSmall);
}

Made<TokenKey::Material> checked_ed25519(std::span<const uint8_t> bytes) {
  TokenKey::Ed25519PublicKey key;
  if (bytes.size() != key.size()) return Unfit("an Ed25519 key that is not of 32 bytes");
  std::ranges::copy(bytes, key.begin());
  if (has_small_order(key)) return Unfit("an Ed25519 point of small order, under which anybody can sign");
  return key;
}

// --- PEM -------------------------------------------------------------------------------------------------------------

struct PemBlock {
  std::string name;
  bssl::UniquePtr<uint8_t> der;
  size_t length = 0;
  ~PemBlock() {
    if (der) OPENSSL_cleanse(der.get(), length);  // it may be a private key, put there by mistake
  }
};

// Whether there was another block in `bio`.
bool read_pem_block(BIO* bio, PemBlock& block) {
  char* name = nullptr;
  char* header = nullptr;
  uint8_t* data = nullptr;
  long length = 0;
  if (PEM_read_bio(bio, &name, &header, &data, &length) != 1) return false;
  block.name = name;
  block.der.reset(data);
  block.length = static_cast<size_t>(length);
  OPENSSL_free(name);
  OPENSSL_free(header);
  return true;
}

bssl::UniquePtr<EVP_PKEY> parse_public_key(const PemBlock& block) {
  if (block.name == "CERTIFICATE") {
    const uint8_t* at = block.der.get();
    const bssl::UniquePtr<X509> certificate(d2i_X509(nullptr, &at, static_cast<long>(block.length)));
    if (!certificate || at != block.der.get() + block.length) return nullptr;
    return bssl::UniquePtr<EVP_PKEY>(X509_get_pubkey(certificate.get()));
  }
  CBS der;
  CBS_init(&der, block.der.get(), block.length);
  bssl::UniquePtr<EVP_PKEY> key(EVP_parse_public_key(&der));
  return CBS_len(&der) == 0 ? std::move(key) : nullptr;
}

Made<TokenKey::Material> material_of(JwtAlgorithm algorithm, const EVP_PKEY* key) {
  const auto unfit = Unfit(concat("not a key for ", to_string(algorithm)));
  switch (algorithm) {
    case JwtAlgorithm::kHs256:
      return unfit;
    case JwtAlgorithm::kRs256:
      if (EVP_PKEY_id(key) != EVP_PKEY_RSA) return unfit;
      return checked_rsa(bssl::UniquePtr<RSA>(EVP_PKEY_get1_RSA(key)));
    case JwtAlgorithm::kEs256:
      if (EVP_PKEY_id(key) != EVP_PKEY_EC) return unfit;
      return checked_ec(bssl::UniquePtr<EC_KEY>(EVP_PKEY_get1_EC_KEY(key)));
    case JwtAlgorithm::kEdDsa: {
      if (EVP_PKEY_id(key) != EVP_PKEY_ED25519) return unfit;
      TokenKey::Ed25519PublicKey bytes;
      size_t length = bytes.size();
      if (EVP_PKEY_get_raw_public_key(key, bytes.data(), &length) != 1) return unfit;
      return checked_ed25519({bytes.data(), length});
    }
  }
  std::unreachable();
}

Made<TokenKey::Material> read_pem(JwtAlgorithm algorithm, std::string_view text) {
  text = without_byte_order_mark(text);
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  PemBlock block, another;
  if (!bio || !read_pem_block(bio.get(), block)) return Unfit("no PEM block");
  if (read_pem_block(bio.get(), another)) return Unfit("more than one PEM block; several keys make a JWT_JWKS_FILE");
  if (block.name.ends_with("PRIVATE KEY")) return Unfit("a private key; the service is to have the public one only");
  if (block.name != "PUBLIC KEY" && block.name != "CERTIFICATE") return Unfit("neither a PUBLIC KEY nor a CERTIFICATE");
  const bssl::UniquePtr<EVP_PKEY> key = parse_public_key(block);
  if (!key) return Unfit("a damaged " + block.name + ", or one of an unknown kind");
  return material_of(algorithm, key.get());
}

// --- JSON Web Keys ---------------------------------------------------------------------------------------------------

// The members of one key.
class Jwk {
 public:
  explicit Jwk(std::span<const JsonMember> members) : members_(members) {}

  const JsonValue* find(std::string_view name) const {
    const auto member = std::ranges::find(members_, name, &JsonMember::key);
    return member == members_.end() ? nullptr : &member->value;
  }

  // Nothing when it is missing or no string.
  std::optional<std::string> text(std::string_view name) const {
    const JsonValue* const value = find(name);
    if (value == nullptr || value->kind != JsonKind::kString) return std::nullopt;
    return unescaped(*value);
  }

  // The octets of a member in base64, url or not, padded or not; nothing when it is missing or not that.
  std::optional<std::vector<uint8_t>> octets(std::string_view name) const {
    const auto encoded = text(name);
    if (!encoded) return std::nullopt;
    std::vector<uint8_t> decoded(base64url_bytes_max(encoded->size()));
    const ptrdiff_t length = decode_any_base64(*encoded, decoded.data());
    if (length <= 0) return std::nullopt;
    decoded.resize(static_cast<size_t>(length));
    return decoded;
  }

  // A number of at most `octets_max` octets. RFC 7518 section 2 wants the fewest octets for a Base64urlUInt, and
  // section 6.2.1.2 the full size of a coordinate; the zeros that some leave before it and others leave out make it no
  // other number.
  bssl::UniquePtr<BIGNUM> number(std::string_view name, size_t octets_max) const {
    const auto bytes = octets(name);
    if (!bytes) return nullptr;
    const auto first = std::ranges::find_if(*bytes, [](uint8_t octet) { return octet != 0; });
    const std::span<const uint8_t> digits(first, bytes->end());
    if (digits.size() > octets_max) return nullptr;
    return bssl::UniquePtr<BIGNUM>(BN_bin2bn(digits.data(), digits.size(), nullptr));
  }

  // Whether a list of strings has `wanted` among them.
  static bool lists(const JsonValue& value, std::string_view wanted) {
    if (value.kind != JsonKind::kArray) return false;
    bool found = false;
    JsonElements elements(value.text);
    while (const auto element = elements.next()) {
      if (element->kind != JsonKind::kString) return false;
      found = found || unescaped(*element) == wanted;
    }
    return found;
  }

 private:
  static std::string unescaped(const JsonValue& value) {
    std::string text(value.text);
    text.resize(unescape_json(text, text.data()).length);
    return text;
  }

  std::span<const JsonMember> members_;
};

Made<TokenKey::Material> read_rsa_jwk(const Jwk& jwk) {
  bssl::UniquePtr<BIGNUM> n = jwk.number("n", kSignatureBytesMax);
  bssl::UniquePtr<BIGNUM> e = jwk.number("e", kSignatureBytesMax);
  if (!n || !e) return Unfit(concat(n ? "e" : "n", " is not a Base64urlUInt within bounds"));
  bssl::UniquePtr<RSA> key(RSA_new());
  if (!key || RSA_set0_key(key.get(), n.get(), e.get(), nullptr) != 1) return Unfit("n and e make no RSA key");
  std::ignore = n.release();  // the key has them now
  std::ignore = e.release();
  return checked_rsa(std::move(key));
}

Made<TokenKey::Material> read_ec_jwk(const Jwk& jwk) {
  if (jwk.text("crv") != "P-256") return Unfit("crv is not P-256");
  const bssl::UniquePtr<BIGNUM> x = jwk.number("x", kP256FieldBytes);
  const bssl::UniquePtr<BIGNUM> y = jwk.number("y", kP256FieldBytes);
  if (!x || !y) return Unfit("x and y are not coordinates of up to 32 octets of base64url each");
  bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  if (!key || EC_KEY_set_public_key_affine_coordinates(key.get(), x.get(), y.get()) != 1) {
    return Unfit("a point that is not on P-256");
  }
  return checked_ec(std::move(key));
}

Made<TokenKey::Material> read_okp_jwk(const Jwk& jwk) {
  if (jwk.text("crv") != "Ed25519") return Unfit("crv is not Ed25519");
  const auto x = jwk.octets("x");
  if (!x) return Unfit("x is not base64url");
  return checked_ed25519(*x);
}

// Why a key is none that verifies tokens of `algorithm`; "" when it may be one.
std::string unfit_for(JwtAlgorithm algorithm, const Jwk& jwk) {
  std::string_view kty = "RSA";
  if (algorithm == JwtAlgorithm::kEs256) kty = "EC";
  if (algorithm == JwtAlgorithm::kEdDsa) kty = "OKP";
  if (jwk.text("kty") != kty) return concat("kty is not ", kty);
  if (jwk.find("use") != nullptr && jwk.text("use") != "sig") return "use is not sig";
  if (const JsonValue* ops = jwk.find("key_ops"); ops != nullptr && !Jwk::lists(*ops, "verify")) {
    return "key_ops does not list verify";
  }
  if (jwk.find("alg") != nullptr && jwk.text("alg") != to_string(algorithm)) {
    return concat("alg is not ", to_string(algorithm));
  }
  return "";
}

Made<TokenKey> read_jwk(JwtAlgorithm algorithm, const Jwk& jwk) {
  if (std::string why = unfit_for(algorithm, jwk); !why.empty()) return Unfit(std::move(why));
  auto kid = jwk.text("kid");
  if (jwk.find("kid") != nullptr && (!kid || kid->empty() || kid->size() > kKidBytesMax)) {
    return Unfit(concat("kid is not a string of 1 to ", kKidBytesMax, " bytes"));
  }
  auto material = algorithm == JwtAlgorithm::kRs256   ? read_rsa_jwk(jwk)
                  : algorithm == JwtAlgorithm::kEs256 ? read_ec_jwk(jwk)
                                                      : read_okp_jwk(jwk);
  if (!material) return Unfit(std::move(material.error()));
  return TokenKey(std::move(*material), std::move(kid));
}

std::unexpected<Error> unusable(std::string why) { return fail(ErrorKind::kInvalidArgument, std::move(why)); }

// The member of a key that only its owner may know (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037 section 2); ""
// for none. `priv` is where newer kinds of keys have it.
std::string_view secret_part_of(const Jwk& jwk) {
  for (const std::string_view name : {"d", "priv"}) {
    if (jwk.find(name) != nullptr) return name;
  }
  if (jwk.find("k") != nullptr && jwk.text("kty") == "oct") return "k";
  for (const std::string_view name : {"p", "q", "dp", "dq", "qi", "oth"}) {
    if (jwk.find(name) != nullptr && jwk.text("kty") == "RSA") return name;
  }
  return "";
}

bool is_same(const TokenKey::Material& a, const TokenKey::Material& b) {
  if (const auto* rsa = std::get_if<bssl::UniquePtr<RSA>>(&a)) {
    const auto* other = std::get_if<bssl::UniquePtr<RSA>>(&b);
    return other != nullptr && BN_cmp(RSA_get0_n(rsa->get()), RSA_get0_n(other->get())) == 0 &&
           BN_cmp(RSA_get0_e(rsa->get()), RSA_get0_e(other->get())) == 0;
  }
  if (const auto* ec = std::get_if<bssl::UniquePtr<EC_KEY>>(&a)) {
    const auto* other = std::get_if<bssl::UniquePtr<EC_KEY>>(&b);
    return other != nullptr && EC_POINT_cmp(EC_KEY_get0_group(ec->get()), EC_KEY_get0_public_key(ec->get()),
                                            EC_KEY_get0_public_key(other->get()), nullptr) == 0;
  }
  if (const auto* ed = std::get_if<TokenKey::Ed25519PublicKey>(&a)) {
    const auto* other = std::get_if<TokenKey::Ed25519PublicKey>(&b);
    return other != nullptr && *ed == *other;
  }
  return false;
}

bool has(const TokenKey& key, const TokenKey::Material& material) {
  return std::ranges::any_of(key.materials(), [&](const auto& own) { return is_same(own, material); });
}

// Keys of a set as they are taken: each once, and those of one id together.
class KeysById {
 public:
  Result<void> take(TokenKey key, size_t position, std::vector<std::string>& shared_ids) {
    for (Taken& taken : taken_) {
      if (taken.key.id() != key.id()) continue;
      if (has(taken.key, key.materials().front())) return {};
      if (!key.id()) continue;
      if (taken.key.materials().size() == kKeysOfOneKidMax) {
        return unusable(concat("more than ", kKeysOfOneKidMax, " different keys have the kid of key ", taken.position));
      }
      shared_ids.push_back(concat("keys ", taken.position, " and ", position));
      taken.key.take_materials_of(std::move(key));
      return {};
    }
    taken_.push_back({std::move(key), position});
    return {};
  }

  // Keys must be told apart by their ids.
  Result<std::vector<TokenKey>> finish() {
    std::vector<TokenKey> keys;
    for (Taken& taken : taken_) {
      if (taken_.size() > 1 && !taken.key.id())
        return unusable(concat("key ", taken.position, " has no kid, which each of several keys needs"));
      keys.push_back(std::move(taken.key));
    }
    return keys;
  }

 private:
  struct Taken {
    TokenKey key;
    size_t position = 0;  // in the set, from 1
  };
  std::vector<Taken> taken_;
};

}  // namespace

bool TokenKey::verifies(std::string_view signing_input, std::span<const uint8_t> signature) const {
  const bool good = std::ranges::any_of(materials_, [&](const Material& material) {
    return std::visit([&](const auto& key) { return holds(key, signing_input, signature); }, material);
  });
  // What a failure has left in the thread's queue would be taken for the next caller's.
  if (!good || materials_.size() > 1) ERR_clear_error();
  return good;
}

TokenKeys::TokenKeys(JwtAlgorithm algorithm, TokenKey key) : algorithm_(algorithm) { keys_.push_back(std::move(key)); }

Result<std::unique_ptr<TokenKeys>> TokenKeys::from_secret(std::string_view secret) {
  if (secret.size() < kHmacKeyMinBytes) {
    return unusable(
        concat("a key for HS256 must have at least ", kHmacKeyMinBytes, " bytes, this one has ", secret.size()));
  }
  return std::unique_ptr<TokenKeys>(
      new TokenKeys(JwtAlgorithm::kHs256, {std::make_unique<HmacSha256>(bytes_of(secret)), std::nullopt}));
}

Result<std::unique_ptr<TokenKeys>> TokenKeys::from_pem(JwtAlgorithm algorithm, std::string_view text) {
  if (text.size() > kKeyFileBytesMax) return unusable(concat("more than ", kKeyFileBytesMax, " bytes"));
  auto material = read_pem(algorithm, text);
  ERR_clear_error();
  if (!material) return unusable(std::move(material.error()));
  return std::unique_ptr<TokenKeys>(new TokenKeys(algorithm, {std::move(*material), std::nullopt}));
}

Result<std::unique_ptr<TokenKeys>> TokenKeys::from_jwks(JwtAlgorithm algorithm, std::string_view text) {
  if (algorithm == JwtAlgorithm::kHs256) return unusable("a set of public keys is of no use to HS256");
  if (text.size() > kKeyFileBytesMax) return unusable(concat("more than ", kKeyFileBytesMax, " bytes"));
  JsonReader set_reader(kKeyFileBytesMax), key_reader(kKeyFileBytesMax);
  const auto members = set_reader.read(without_byte_order_mark(text));
  if (!members) return unusable("not one JSON object without a member named twice");
  const JsonValue* const list = Jwk(*members).find("keys");
  if (list == nullptr || list->kind != JsonKind::kArray) return unusable("has no array `keys`");

  std::unique_ptr<TokenKeys> result(new TokenKeys(algorithm));
  KeysById taken;
  JsonElements elements(list->text);
  size_t position = 0;
  while (const auto element = elements.next()) {
    if (++position > kJwksKeysMax) return unusable(concat("more than ", kJwksKeysMax, " keys"));
    const auto key_members = element->kind == JsonKind::kObject ? key_reader.read(element->text) : std::nullopt;
    if (!key_members) return unusable(concat("key ", position, " is not an object without a member named twice"));
    const Jwk jwk(*key_members);
    if (const std::string_view part = secret_part_of(jwk); !part.empty()) {
      return unusable(concat("key ", position, " has a private or secret part, `", part,
                             "`; take it out and change that key: whoever has read the file can sign tokens"));
    }
    if (auto key = read_jwk(algorithm, jwk)) {
      if (auto added = taken.take(std::move(*key), position, result->shared_ids_); !added)
        return std::unexpected(std::move(added.error()));
    } else {
      result->skipped_.push_back(concat("key ", position, ": ", key.error()));
    }
  }
  ERR_clear_error();

  auto keys = taken.finish();
  if (!keys) return std::unexpected(std::move(keys.error()));
  result->keys_ = std::move(*keys);
  if (result->keys_.empty()) {
    std::string why = concat("no key for ", to_string(algorithm), " among ", position);
    for (const std::string& reason : std::span(result->skipped_).first(std::min(position, kReasonsListedMax))) {
      why += "; " + reason;
    }
    return unusable(std::move(why));
  }
  return result;
}

const TokenKey* TokenKeys::find(std::optional<std::string_view> kid) const {
  if (keys_.size() == 1 && (!kid || !keys_.front().id())) return &keys_.front();
  if (!kid) return nullptr;
  const auto key = std::ranges::find_if(keys_, [&](const TokenKey& candidate) { return candidate.id() == *kid; });
  return key == keys_.end() ? nullptr : &*key;
}

}  // namespace txn
