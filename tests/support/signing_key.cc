#include "tests/support/signing_key.h"

#include <array>
#include <vector>

#include "tests/support/jwt.h"

namespace txn::test {

namespace {

constexpr Milliseconds kOpensslTimeout{30'000};

std::string openssl(std::vector<std::string> args) {
  SpawnOptions options;
  options.argv = {"/usr/bin/openssl"};
  options.argv.insert(options.argv.end(), args.begin(), args.end());
  const RunResult result = run_program(options, kOpensslTimeout);
  if (!result.ok()) fatal("openssl " + args.front() + " failed: " + result.err);
  return result.out;
}

std::vector<std::string> generation(const std::string& algorithm) {
  if (algorithm == "RS256") return {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"};
  if (algorithm == "ES256") return {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"};
  return {"-algorithm", "ED25519"};
}

std::string bytes_of_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

// SEQUENCE of two INTEGERs, each below 2^256, to 32 bytes of each (RFC 7518 section 3.4).
std::string raw_of_der(const std::string& der) {
  std::string raw;
  size_t at = 2;
  for (int i = 0; i < 2; ++i) {
    const size_t length = static_cast<uint8_t>(der.at(at + 1));
    const std::string number = der.substr(at + 2, length);
    at += 2 + length;
    raw += number.size() > 32 ? number.substr(number.size() - 32) : std::string(32 - number.size(), '\0') + number;
  }
  return raw;
}

}  // namespace

SigningKey::SigningKey(const std::string& algorithm)
    : algorithm_(algorithm), private_key_file_(directory_.path() + "/key.pem") {
  std::vector<std::string> args = {"genpkey", "-out", private_key_file_};
  const auto more = generation(algorithm);
  args.insert(args.end(), more.begin(), more.end());
  openssl(args);
}

std::string SigningKey::public_pem() const { return openssl({"pkey", "-in", private_key_file_, "-pubout"}); }

std::string SigningKey::jwk(std::string_view kid) const {
  std::string members;
  if (algorithm_ == "RS256") {
    std::string modulus = openssl({"rsa", "-in", private_key_file_, "-noout", "-modulus"});
    modulus = modulus.substr(modulus.find('=') + 1);
    while (modulus.ends_with('\n')) modulus.pop_back();
    members = R"("kty":"RSA","e":"AQAB","n":")" + base64url(bytes_of_hex(modulus)) + "\"";
  } else {
    // The point stands at the end of a SubjectPublicKeyInfo.
    const std::string der = openssl({"pkey", "-in", private_key_file_, "-pubout", "-outform", "DER"});
    if (algorithm_ == "ES256") {
      members = R"("kty":"EC","crv":"P-256","x":")" + base64url(der.substr(der.size() - 64, 32)) + R"(","y":")" +
                base64url(der.substr(der.size() - 32)) + "\"";
    } else {
      members = R"("kty":"OKP","crv":"Ed25519","x":")" + base64url(der.substr(der.size() - 32)) + "\"";
    }
  }
  if (!kid.empty()) members += R"(,"kid":")" + std::string(kid) + "\"";
  return "{" + members + R"(,"use":"sig","alg":")" + algorithm_ + "\"}";
}

std::string SigningKey::sign(std::string_view header_json, std::string_view payload_json) const {
  const std::string text = base64url(header_json) + "." + base64url(payload_json);
  const std::string file = directory_.write("text", text);
  std::string signature;
  if (algorithm_ == "EdDSA") {
    signature = openssl({"pkeyutl", "-sign", "-inkey", private_key_file_, "-rawin", "-in", file});
  } else {
    signature = openssl({"dgst", "-sha256", "-sign", private_key_file_, "-binary", file});
  }
  return text + "." + base64url(algorithm_ == "ES256" ? raw_of_der(signature) : signature);
}

std::string SigningKey::token(int64_t subject, std::string_view role, std::string_view kid, int64_t ttl_seconds) const {
  std::string header = R"({"alg":")" + algorithm_ + R"(","typ":"JWT")";
  if (!kid.empty()) header += R"(,"kid":")" + std::string(kid) + "\"";
  return sign(header + "}", R"({"sub":")" + std::to_string(subject) + R"(","role":")" + std::string(role) +
                                R"(","exp":)" + std::to_string(unix_now() + ttl_seconds) + "}");
}

std::string jwks(const std::vector<std::string>& keys) {
  std::string set = R"({"keys":[)";
  for (const std::string& key : keys) set += (set.ends_with('[') ? "" : ",") + key;
  return set + "]}";
}

}  // namespace txn::test
