#include "tests/support/tls_client.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "tests/support/child_process.h"

namespace txn::test {

namespace {

bssl::UniquePtr<BIO> reader_of(const std::string& pem) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* sessions = static_cast<std::vector<TlsSession>*>(SSL_get_app_data(ssl));
  sessions->push_back(TlsSession(session, SSL_SESSION_free));
  return 1;  // taken over
}

}  // namespace

TlsClient::TlsClient(const TlsClientOptions& options) : context_(SSL_CTX_new(TLS_method())) {
  SSL_CTX* const context = context_.get();
  SSL_CTX_set_min_proto_version(context, options.min_version);
  SSL_CTX_set_max_proto_version(context, options.max_version);
  if (!options.suites.empty() && SSL_CTX_set_strict_cipher_list(context, options.suites.c_str()) != 1)
    fatal("TlsClient: " + options.suites);
  if (!options.curves.empty() && SSL_CTX_set1_curves_list(context, options.curves.c_str()) != 1)
    fatal("TlsClient: " + options.curves);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, keep_session);
  if (!options.authority.empty()) {
    const bssl::UniquePtr<X509> authority(
        PEM_read_bio_X509(reader_of(options.authority).get(), nullptr, nullptr, nullptr));
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
  if (options.certificate != nullptr) {
    const bssl::UniquePtr<X509> certificate(
        PEM_read_bio_X509(reader_of(options.certificate->certificate).get(), nullptr, nullptr, nullptr));
    const bssl::UniquePtr<EVP_PKEY> key(
        PEM_read_bio_PrivateKey(reader_of(options.certificate->key).get(), nullptr, nullptr, nullptr));
    if (SSL_CTX_use_certificate(context, certificate.get()) != 1 || SSL_CTX_use_PrivateKey(context, key.get()) != 1)
      fatal("TlsClient: the client's certificate");
  }
  ssl_.reset(SSL_new(context));
  SSL_set_app_data(ssl_.get(), &sessions_);
  in_ = BIO_new(BIO_s_mem());
  out_ = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in_, -1);
  SSL_set_bio(ssl_.get(), in_, out_);
  SSL_set_connect_state(ssl_.get());
  if (options.session) SSL_set_session(ssl_.get(), options.session.get());
  if (options.offer_early_data) SSL_set_early_data_enabled(ssl_.get(), 1);
  if (!options.alpn.empty()) {
    std::string list;
    for (const std::string& name : options.alpn) list.append(1, static_cast<char>(name.size())).append(name);
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const uint8_t*>(list.data()), static_cast<unsigned>(list.size()));
  }
  SSL_set_tlsext_host_name(ssl_.get(), "localhost");
  drive();
}

TlsClient::~TlsClient() = default;

bool TlsClient::is_ready() const { return SSL_is_init_finished(ssl_.get()) == 1; }

void TlsClient::drive() {
  ERR_clear_error();
  if (!is_ready() && error_.empty()) note_error(SSL_do_handshake(ssl_.get()));
}

void TlsClient::note_error(int result) {
  if (result > 0) return;
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
  if (error == SSL_ERROR_ZERO_RETURN) {
    close_notify_ = true;
    return;
  }
  const char* const reason = ERR_reason_error_string(ERR_peek_error());
  error_ = reason != nullptr ? reason : "unknown";
  ERR_clear_error();
}

bool TlsClient::receive(std::string_view bytes, std::string& plain) {
  BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
  drive();
  if (!is_ready() || !error_.empty()) return error_.empty();
  while (true) {
    char buffer[16384];
    ERR_clear_error();
    const int count = SSL_read(ssl_.get(), buffer, sizeof buffer);
    if (count <= 0) {
      note_error(count);
      return error_.empty() && !close_notify_;
    }
    plain.append(buffer, static_cast<size_t>(count));
  }
}

void TlsClient::write(std::string_view plain) {
  ERR_clear_error();
  if (!plain.empty()) note_error(SSL_write(ssl_.get(), plain.data(), static_cast<int>(plain.size())));
}

std::string TlsClient::take_output() {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  BIO_mem_contents(out_, &bytes, &size);
  std::string output(reinterpret_cast<const char*>(bytes), size);
  BIO_reset(out_);
  return output;
}

void TlsClient::update_keys() {
  ERR_clear_error();
  if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED) != 1) fatal("TlsClient: key update");
}

std::vector<uint8_t> TlsClient::write_secret() const {
  bssl::Span<const uint8_t> read;
  bssl::Span<const uint8_t> write;
  if (!bssl::SSL_get_traffic_secrets(ssl_.get(), &read, &write)) fatal("TlsClient: no secrets");
  return {write.begin(), write.end()};
}

void TlsClient::close() {
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
}

bool TlsClient::is_resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
bool TlsClient::has_early_data_accepted() const { return SSL_early_data_accepted(ssl_.get()) == 1; }
std::string TlsClient::version() const { return SSL_get_version(ssl_.get()); }
std::string TlsClient::suite() const { return SSL_get_cipher_name(ssl_.get()); }

std::string TlsClient::alpn() const {
  const uint8_t* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return std::string(reinterpret_cast<const char*>(name), size);
}

std::string TlsClient::peer_certificate() const {
  const bssl::UniquePtr<X509> certificate(SSL_get_peer_certificate(ssl_.get()));
  if (!certificate) return "";
  const bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(out.get(), certificate.get());
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  BIO_mem_contents(out.get(), &bytes, &size);
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

size_t TlsClient::chain_length() const { return sk_X509_num(SSL_get_peer_cert_chain(ssl_.get())); }

TlsConnection tls_connect(uint16_t port, const TlsClientOptions& options, const RawClient::Options& socket) {
  TlsConnection connection{.tls = std::make_shared<TlsClient>(options), .http = RawClient(port, socket)};
  connection.http.wrap(connection.tls);
  return connection;
}

}  // namespace txn::test
