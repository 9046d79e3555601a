// A TLS client of BoringSSL as a machine from bytes to bytes, and RawClient over it. Unlike command line tools it does
// exactly what a test says: old versions, odd suites, a session from elsewhere, updates of keys.
#pragma once

#include <openssl/base.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/certificates.h"
#include "tests/support/raw_client.h"

namespace txn::test {

using TlsSession = std::shared_ptr<SSL_SESSION>;

struct TlsClientOptions {
  uint16_t min_version = 0x0303;  // TLS 1.2
  uint16_t max_version = 0x0304;
  std::string suites = {};             // of TLS 1.2 and older; BoringSSL's choice when empty
  std::string curves = {};             // likewise
  std::vector<std::string> alpn = {};  // not offered when empty
  std::string authority = {};          // PEM; the server's certificate is not verified when empty
  const Certificate* certificate = nullptr;
  TlsSession session = {};
  bool offer_early_data = false;  // with a session; the bytes are what is written before the handshake is done
};

class TlsClient final : public RawClient::Channel {
 public:
  explicit TlsClient(const TlsClientOptions& options = {});
  ~TlsClient() override;

  // What the peer has sent; plaintext is appended. False when the stream is over, by close_notify or an error.
  bool receive(std::string_view bytes, std::string& plain) override;
  void write(std::string_view plain) override;
  std::string take_output() override;
  bool is_ready() const override;

  // Asks the peer for an update of its keys as well.
  void update_keys();
  // Of TLS 1.3: what the keys of the next record to the server come from.
  std::vector<uint8_t> write_secret() const;
  // close_notify; take_output() has it.
  void close();

  const std::string& error() const { return error_; }  // BoringSSL's, "" when all is well
  bool has_close_notify() const { return close_notify_; }
  bool is_resumed() const;
  bool has_early_data_accepted() const;
  std::string version() const;  // "TLSv1.3"
  std::string suite() const;
  std::string alpn() const;
  std::string peer_certificate() const;  // PEM
  size_t chain_length() const;           // certificates that the server sent
  // Tickets received so far.
  const std::vector<TlsSession>& sessions() const { return sessions_; }

 private:
  void drive();
  void note_error(int result);

  bssl::UniquePtr<SSL_CTX> context_;
  bssl::UniquePtr<SSL> ssl_;
  BIO* in_;   // owned by ssl_
  BIO* out_;  // likewise
  std::string error_;
  bool close_notify_ = false;
  std::vector<TlsSession> sessions_;
};

// Connected, its handshake tried; `client.error()` says whether it worked.
struct TlsConnection {
  std::shared_ptr<TlsClient> tls;
  RawClient http;
};
TlsConnection tls_connect(uint16_t port, const TlsClientOptions& options = {}, const RawClient::Options& socket = {});

}  // namespace txn::test
