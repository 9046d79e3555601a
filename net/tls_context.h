// What a TLS server is configured with: certificate chain, key, whose client certificates are believed, and the rules
// (versions, suites, curves). Made off the workers, immutable afterwards, shared by all of them and by the connections
// that began under it, so a new one takes effect with the next connection and breaks none.
//
// TLS 1.2 and 1.3 (RFC 8446), suites with forward secrecy and authenticated encryption only (RFC 9325 section 4.2), no
// renegotiation, no early data (RFC 8446 section 8: it can be replayed, and requests move money), ALPN "http/1.1"
// (RFC 7301).
#pragma once

#include <openssl/base.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "net/tls_tickets.h"

namespace txn {

// PEM; byte order marks before blocks are passed over. `client_authorities` is empty when clients need no certificate.
struct TlsPem {
  std::string chain;  // the server's certificate first, then those that lead to its authority, in any order
  std::string key;
  std::string client_authorities;
};

struct TlsFiles {
  std::string chain;               // TLS_CERT_FILE
  std::string key;                 // TLS_KEY_FILE
  std::string client_authorities;  // TLS_CLIENT_CA_FILE; "" for none
};

class TlsContext {
 public:
  // An error is one line that begins with the setting to blame: nothing is to be read or decrypted, the key belongs to
  // another certificate, RSA below 2048 bits, none of the other certificates has issued the server's, or the server's
  // own or each of its issuers in the file is expired or not yet valid. Further up a certificate that is out of date is
  // no error: it may be an old cross-signature, without which clients find a root that they know (RFC 4158
  // section 2.4). It is not sent. Reads files: not on a worker.
  static Result<std::shared_ptr<const TlsContext>> load(const TlsFiles& files, std::shared_ptr<TlsTicketKeys> tickets);
  static Result<std::shared_ptr<const TlsContext>> create(const TlsPem& pem, std::shared_ptr<TlsTicketKeys> tickets);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // What is not wrong and not wise, a line each: certificates of the chain that are left out.
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Unix seconds at which the first certificate of those sent expires.
  int64_t certificate_not_after() const { return not_after_s_; }
  bool demands_client_certificate() const { return demands_client_certificate_; }

  // For TlsStream.
  SSL_CTX* ssl_context() const { return context_.get(); }
  TlsTicketKeys& tickets() const { return *tickets_; }

 private:
  TlsContext(bssl::UniquePtr<SSL_CTX> context, std::shared_ptr<TlsTicketKeys> tickets);

  Result<void> use_certificate(const TlsPem& pem);
  Result<void> use_client_authorities(const std::string& pem);

  bssl::UniquePtr<SSL_CTX> context_;
  std::shared_ptr<TlsTicketKeys> tickets_;
  std::vector<std::string> warnings_;
  int64_t not_after_s_ = INT64_MAX;
  bool demands_client_certificate_ = false;
};

}  // namespace txn
