#include "net/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace txn {

// BoringSSL's way to the bytes: it reads what receive() was given and writes into output().
struct TlsStreamBio {
  static int read(BIO* bio, char* out, int size) {
    std::span<const char>& input = static_cast<TlsStream*>(BIO_get_data(bio))->input_;
    BIO_clear_retry_flags(bio);
    if (input.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const size_t count = std::min(input.size(), static_cast<size_t>(size));
    std::memcpy(out, input.data(), count);
    input = input.subspan(count);
    return static_cast<int>(count);
  }

  static int write(BIO* bio, const char* bytes, int size) {
    static_cast<TlsStream*>(BIO_get_data(bio))->output_.append({bytes, static_cast<size_t>(size)});
    return size;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const kMethod = [] {
      BIO_METHOD* method = BIO_meth_new(BIO_TYPE_MEM, "TlsStream");
      BIO_meth_set_read(method, read);
      BIO_meth_set_write(method, write);
      BIO_meth_set_ctrl(method, control);
      return method;
    }();
    return kMethod;
  }
};

TlsStream::TlsStream(std::shared_ptr<const TlsContext> context)
    : context_(std::move(context)), ssl_(SSL_new(context_->ssl_context())) {
  BIO* const bio = BIO_new(TlsStreamBio::method());
  CHECK(ssl_ != nullptr && bio != nullptr, "out of memory");
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_accept_state(ssl_.get());
  SSL_set_shed_handshake_config(ssl_.get(), 1);
}

TlsStream::~TlsStream() = default;

bool TlsStream::is_established() const { return SSL_is_init_finished(ssl_.get()) == 1 && failure_.empty(); }

bool TlsStream::is_resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

TlsStream::Status TlsStream::receive(std::span<const char> received, ByteBuffer& plain) {
  // Errors are queued by thread; what another connection left there must not be taken for ours.
  ERR_clear_error();
  input_ = received;
  bool greets = false;
  if (SSL_is_init_finished(ssl_.get()) == 0) {
    const Status status = handshake();
    if (status != Status::kOpen || SSL_is_init_finished(ssl_.get()) == 0) return status;
    greets = true;
  }
  while (true) {
    char* const room = plain.prepare(SSL3_RT_MAX_PLAIN_LENGTH);
    const int count = SSL_read(ssl_.get(), room, SSL3_RT_MAX_PLAIN_LENGTH);
    if (count > 0) {
      plain.commit(static_cast<size_t>(count));
      continue;
    }
    const Status status = after(count);
    if (greets && plain.empty() && status == Status::kOpen) send_tickets();
    return status;
  }
}

// BoringSSL holds tickets of TLS 1.3 back until something is written. A client that keeps Nagle's algorithm on sends
// its first request only when its last message has been acknowledged, and the kernel waits 40 ms with that unless there
// is something to send. When the request has come along already, the tickets go with its answer.
void TlsStream::send_tickets() {
  SSL_write(ssl_.get(), "", 0);
  ERR_clear_error();
}

TlsStream::Status TlsStream::handshake() {
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) return after(result);
  if (is_resumed() && client_certificate_expired()) {
    SSL_send_fatal_alert(ssl_.get(), SSL_AD_CERTIFICATE_EXPIRED);
    return fail_with("the client's certificate has expired since the session began");
  }
  return Status::kOpen;
}

TlsStream::Status TlsStream::after(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Status::kOpen;
    case SSL_ERROR_ZERO_RETURN:
      return SSL_is_init_finished(ssl_.get()) == 1 ? Status::kEnded : fail_with("closed during the handshake");
    default: {
      const char* const reason = ERR_reason_error_string(ERR_peek_error());
      ERR_clear_error();
      return fail_with(reason != nullptr ? reason : "protocol error");
    }
  }
}

TlsStream::Status TlsStream::fail_with(const char* why) {
  failure_ = why;
  return Status::kFailed;
}

// A resumed session brings the certificate of the handshake it comes from, which nobody has looked at again.
bool TlsStream::client_certificate_expired() const {
  if (!context_->demands_client_certificate()) return false;
  const bssl::UniquePtr<X509> certificate(SSL_get_peer_certificate(ssl_.get()));
  return !certificate || X509_cmp_current_time(X509_get0_notAfter(certificate.get())) <= 0;
}

bool TlsStream::send(std::string_view plain) {
  if (closed_ || !failure_.empty()) return false;
  while (!plain.empty()) {
    ERR_clear_error();
    const size_t part = std::min(plain.size(), size_t{INT_MAX});
    const int written = SSL_write(ssl_.get(), plain.data(), static_cast<int>(part));
    if (written <= 0) {
      fail_with("cannot write");
      return false;
    }
    plain.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

bool TlsStream::close() {
  if (closed_ || !is_established()) return false;
  closed_ = true;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  return !output_.empty();
}

}  // namespace txn
