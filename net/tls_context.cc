#include "net/tls_context.h"

#include <fcntl.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/byte_order_mark.h"
#include "core/check.h"
#include "core/concat.h"

namespace txn {
namespace {

constexpr std::string_view kChainSetting = "TLS_CERT_FILE: ";
constexpr std::string_view kKeySetting = "TLS_KEY_FILE: ";
constexpr std::string_view kAuthoritiesSetting = "TLS_CLIENT_CA_FILE: ";

constexpr size_t kPemMaxBytes = 1 << 20;
constexpr size_t kChainMax = 10;  // certificates
constexpr int kRsaMinBits = 2048;
// Certificates that a client may send, together; more is no chain of anybody's.
constexpr size_t kClientChainMaxBytes = 32 * 1024;
constexpr int kClientChainMaxDepth = 5;

// In each group the client's preference decides: phones without AES instructions ask for ChaCha20.
constexpr const char* kTls12Suites =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305|"
    "ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
    "[ECDHE-ECDSA-AES256-GCM-SHA384|ECDHE-RSA-AES256-GCM-SHA384]";
constexpr const char* kCurves = "X25519:P-256:P-384";
// No SHA-1, which BoringSSL of this age would still accept last.
constexpr std::array<uint16_t, 10> kSignatures{
    SSL_SIGN_ED25519,          SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384,
    SSL_SIGN_RSA_PKCS1_SHA384, SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_RSA_PSS_RSAE_SHA512,
    SSL_SIGN_RSA_PKCS1_SHA512,
};

constexpr std::string_view kProtocol = "http/1.1";

std::unexpected<Error> invalid(std::string_view setting, std::string_view why) {
  ERR_clear_error();
  return fail(ErrorKind::kInvalidArgument, concat(setting, why));
}

struct Closed {
  int descriptor;
  ~Closed() { ::close(descriptor); }
};

struct WipedAtEnd {
  std::string& secret;
  ~WipedAtEnd() { OPENSSL_cleanse(secret.data(), secret.size()); }
};

Result<std::string> read_pem_file(std::string_view setting, const std::string& path) {
  const Closed file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.descriptor < 0) return fail_errno(concat(setting, path).c_str(), errno);
  std::string text(kPemMaxBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = ::read(file.descriptor, text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(concat(setting, path).c_str(), errno);
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  if (size > kPemMaxBytes) return invalid(setting, concat(path, ": more than 1 MiB, which is no PEM file"));
  text.resize(size);
  return text;
}

// Of `pem`, which has to stay until the end.
bssl::UniquePtr<BIO> reader_of(const std::string& pem) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

Result<std::vector<bssl::UniquePtr<X509>>> read_certificates(std::string_view setting, const std::string& pem) {
  const bssl::UniquePtr<BIO> reader = reader_of(pem);
  std::vector<bssl::UniquePtr<X509>> certificates;
  while (true) {
    ERR_clear_error();
    bssl::UniquePtr<X509> certificate(PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr));
    if (!certificate) break;
    certificates.push_back(std::move(certificate));
  }
  const uint32_t error = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (!at_end) return invalid(setting, concat("certificate ", certificates.size() + 1, " cannot be read"));
  if (certificates.empty()) return invalid(setting, "holds no certificate in PEM");
  ERR_clear_error();
  return certificates;
}

// Unix seconds; nothing for a time that is none.
Result<int64_t> seconds_of(const ASN1_TIME* time) {
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0;
  int seconds = 0;
  if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1)
    return invalid(kChainSetting, "a certificate's time of validity cannot be read");
  return int64_t{days} * 86400 + seconds;
}

// One certificate of the file.
struct ChainLink {
  X509* certificate = nullptr;
  size_t position = 0;  // in the file, from 1
  int64_t not_before_s = 0;
  int64_t not_after_s = 0;
  bool is_sent = false;

  bool is_over(int64_t now_s) const { return not_after_s <= now_s; }
  bool is_in_date(int64_t now_s) const { return not_before_s <= now_s && !is_over(now_s); }
  // "certificate 2 has expired"
  std::string out_of_date_text(int64_t now_s) const {
    return concat("certificate ", position, is_over(now_s) ? " has expired" : " is not valid yet");
  }
};

// Names alone do not do: an authority that renews its key keeps its name.
bool has_issued(X509* issuer, X509* certificate) {
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(issuer));
  const bool issued =
      X509_check_issued(issuer, certificate) == X509_V_OK && key != nullptr && X509_verify(certificate, key.get()) == 1;
  ERR_clear_error();
  return issued;
}

// The certificates that clients are sent, the server's first, each behind one that it has issued: from the server's own
// upwards, whichever way there is, over what is in date. `links` is not empty; is_sent is set in those of the result.
Result<std::vector<ChainLink*>> chain_of(std::vector<ChainLink>& links, int64_t now_s) {
  ChainLink& leaf = links.front();
  if (!leaf.is_in_date(now_s)) return invalid(kChainSetting, leaf.out_of_date_text(now_s));
  leaf.is_sent = true;
  std::vector<ChainLink*> sent{&leaf};
  for (size_t i = 0; i < sent.size(); ++i) {
    for (ChainLink& link : links) {
      if (link.is_sent || !link.is_in_date(now_s) || !has_issued(link.certificate, sent[i]->certificate)) continue;
      link.is_sent = true;
      sent.push_back(&link);
    }
  }
  if (sent.size() > 1 || links.size() == 1) return sent;
  // None of the others is of use to the server's own: without one of them no client gets beyond it.
  for (const ChainLink& link : links) {
    if (!link.is_sent && has_issued(link.certificate, leaf.certificate))
      return invalid(kChainSetting, link.out_of_date_text(now_s));
  }
  for (const ChainLink& link : links) {
    if (!link.is_sent && link.is_in_date(now_s))
      return invalid(kChainSetting, concat("certificate ", link.position, " is not the issuer of certificate 1"));
  }
  return sent;
}

// Never asks on a terminal.
int refuse_password(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Result<bssl::UniquePtr<EVP_PKEY>> read_key(const std::string& pem) {
  ERR_clear_error();
  const bssl::UniquePtr<BIO> reader = reader_of(pem);
  bool is_encrypted = false;
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(reader.get(), nullptr, refuse_password, &is_encrypted));
  if (is_encrypted) return invalid(kKeySetting, "the key is encrypted; it has to be readable without a password");
  if (!key) return invalid(kKeySetting, "holds no private key in PEM");
  if (EVP_PKEY_id(key.get()) == EVP_PKEY_RSA && EVP_PKEY_bits(key.get()) < kRsaMinBits)
    return invalid(kKeySetting, concat("an RSA key of ", EVP_PKEY_bits(key.get()), " bits; 2048 are the least"));
  return key;
}

int select_protocol(SSL*, const uint8_t** chosen, uint8_t* chosen_size, const uint8_t* offered, unsigned offered_size,
                    void*) {
  // A list of names, each behind a byte that says how long it is; BoringSSL has checked its form.
  for (unsigned at = 0; at < offered_size; at += 1u + offered[at]) {
    const std::string_view name(reinterpret_cast<const char*>(offered) + at + 1, offered[at]);
    if (name != kProtocol) continue;
    *chosen = offered + at + 1;
    *chosen_size = offered[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol
}

int context_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

TlsTicketKeys& tickets_of(SSL* ssl) {
  return static_cast<const TlsContext*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index()))->tickets();
}

size_t ticket_overhead(SSL*) { return TlsTicketKey::kOverheadBytes; }

int seal_ticket(SSL* ssl, uint8_t* out, size_t* out_size, size_t out_max, const uint8_t* in, size_t in_size) {
  *out_size = tickets_of(ssl).current()->seal({out, out_max}, {in, in_size});
  return *out_size != 0 ? 1 : 0;
}

// Whatever is wrong with a ticket, the handshake goes on as if there were none.
ssl_ticket_aead_result_t open_ticket(SSL* ssl, uint8_t* out, size_t* out_size, size_t out_max, const uint8_t* in,
                                     size_t in_size) {
  if (in_size <= TlsTicketKey::kOverheadBytes) return ssl_ticket_aead_ignore_ticket;
  const auto key = tickets_of(ssl).find({in, TlsTicketKey::kNameBytes});
  *out_size = key ? key->open({out, out_max}, {in, in_size}) : 0;
  return *out_size != 0 ? ssl_ticket_aead_success : ssl_ticket_aead_ignore_ticket;
}

constexpr SSL_TICKET_AEAD_METHOD kTicketMethod{ticket_overhead, seal_ticket, open_ticket};

bssl::UniquePtr<SSL_CTX> new_context() {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  CHECK(context != nullptr, "out of memory");
  SSL_CTX* const ssl = context.get();
  const bool configured = SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
                          SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
                          SSL_CTX_set_strict_cipher_list(ssl, kTls12Suites) == 1 &&
                          SSL_CTX_set1_curves_list(ssl, kCurves) == 1 &&
                          SSL_CTX_set_signing_algorithm_prefs(ssl, kSignatures.data(), kSignatures.size()) == 1 &&
                          SSL_CTX_set_verify_algorithm_prefs(ssl, kSignatures.data(), kSignatures.size()) == 1;
  CHECK(configured, "the names of suites and curves are BoringSSL's");
  SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_early_data_enabled(ssl, 0);
  SSL_CTX_set_alpn_select_cb(ssl, select_protocol, nullptr);
  // Sessions live in tickets alone: nothing is kept for a client that has gone.
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(ssl, kTicketLifetimeSeconds);
  SSL_CTX_set_session_psk_dhe_timeout(ssl, kTicketLifetimeSeconds);
  SSL_CTX_set_ticket_aead_method(ssl, &kTicketMethod);
  return context;
}

}  // namespace

TlsContext::TlsContext(bssl::UniquePtr<SSL_CTX> context, std::shared_ptr<TlsTicketKeys> tickets)
    : context_(std::move(context)), tickets_(std::move(tickets)) {
  SSL_CTX_set_ex_data(context_.get(), context_index(), this);
}

TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const TlsFiles& files,
                                                           std::shared_ptr<TlsTicketKeys> tickets) {
  TlsPem pem;
  const WipedAtEnd wipe{pem.key};
  auto chain = read_pem_file(kChainSetting, files.chain);
  if (!chain) return std::unexpected(chain.error());
  auto key = read_pem_file(kKeySetting, files.key);
  if (!key) return std::unexpected(key.error());
  pem.chain = std::move(*chain);
  pem.key = std::move(*key);
  if (!files.client_authorities.empty()) {
    auto authorities = read_pem_file(kAuthoritiesSetting, files.client_authorities);
    if (!authorities) return std::unexpected(authorities.error());
    if (authorities->empty()) return invalid(kAuthoritiesSetting, "holds no certificate in PEM");
    pem.client_authorities = std::move(*authorities);
  }
  return create(pem, std::move(tickets));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::create(const TlsPem& given,
                                                             std::shared_ptr<TlsTicketKeys> tickets) {
  TlsPem pem = given;
  const WipedAtEnd wipe{pem.key};
  for (std::string* const text : {&pem.chain, &pem.key, &pem.client_authorities}) drop_byte_order_marks(*text);
  std::shared_ptr<TlsContext> context(new TlsContext(new_context(), std::move(tickets)));
  if (auto used = context->use_certificate(pem); !used) return std::unexpected(used.error());
  if (!pem.client_authorities.empty()) {
    if (auto used = context->use_client_authorities(pem.client_authorities); !used)
      return std::unexpected(used.error());
  }
  return context;
}

Result<void> TlsContext::use_certificate(const TlsPem& pem) {
  auto chain = read_certificates(kChainSetting, pem.chain);
  if (!chain) return std::unexpected(chain.error());
  if (chain->size() > kChainMax) return invalid(kChainSetting, concat("more than ", kChainMax, " certificates"));
  const int64_t now_s = std::time(nullptr);
  std::vector<ChainLink> links;
  for (const auto& certificate : *chain) {
    const auto not_before = seconds_of(X509_get0_notBefore(certificate.get()));
    if (!not_before) return std::unexpected(not_before.error());
    const auto not_after = seconds_of(X509_get0_notAfter(certificate.get()));
    if (!not_after) return std::unexpected(not_after.error());
    links.push_back({.certificate = certificate.get(),
                     .position = links.size() + 1,
                     .not_before_s = *not_before,
                     .not_after_s = *not_after});
  }
  const auto sent = chain_of(links, now_s);
  if (!sent) return std::unexpected(sent.error());
  for (const ChainLink* link : *sent) not_after_s_ = std::min(not_after_s_, link->not_after_s);
  for (const ChainLink& link : links) {
    if (link.is_sent) continue;
    warnings_.push_back(link.is_in_date(now_s)
                            ? concat(kChainSetting, "certificate ", link.position,
                                     " is left out: it has issued none of those that are sent")
                            : concat(kChainSetting, link.out_of_date_text(now_s),
                                     " and is left out: clients that know its issuer otherwise do without"));
  }
  const auto key = read_key(pem.key);
  if (!key) return std::unexpected(key.error());
  X509* const leaf = chain->front().get();
  if (X509_check_private_key(leaf, key->get()) != 1)
    return invalid(kKeySetting, "the key does not belong to the certificate of TLS_CERT_FILE");
  if (SSL_CTX_use_certificate(context_.get(), leaf) != 1 || SSL_CTX_use_PrivateKey(context_.get(), key->get()) != 1)
    return invalid(kChainSetting, "a kind of key that TLS servers do not have; use ECDSA (P-256) or RSA");
  for (const ChainLink* link : std::span(*sent).subspan(1)) SSL_CTX_add1_chain_cert(context_.get(), link->certificate);
  return {};
}

Result<void> TlsContext::use_client_authorities(const std::string& pem) {
  const auto authorities = read_certificates(kAuthoritiesSetting, pem);
  if (!authorities) return std::unexpected(authorities.error());
  X509_STORE* const store = SSL_CTX_get_cert_store(context_.get());
  for (const auto& authority : *authorities) {
    X509_STORE_add_cert(store, authority.get());
    SSL_CTX_add_client_CA(context_.get(), authority.get());
  }
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(context_.get(), kClientChainMaxDepth);
  SSL_CTX_set_max_cert_list(context_.get(), kClientChainMaxBytes);
  demands_client_certificate_ = true;
  // Resuming skips the certificate, so a session counts only under the authorities that it began under.
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const uint8_t*>(pem.data()), pem.size(), digest.data());
  SSL_CTX_set_session_id_context(context_.get(), digest.data(), digest.size());
  return {};
}

}  // namespace txn
