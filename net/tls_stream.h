// One connection's TLS, as a machine from bytes to bytes: ciphertext in, plaintext out, and the other way round. No
// sockets, no clock, no thread: Connection feeds it what it receives and sends what stands in output().
//
// Memory: BoringSSL holds at most one record (16 KiB) or one handshake message (16 KiB, or 32 KiB of client
// certificates) that has not come in whole; a connection between requests holds its keys and no buffer.
#pragma once

#include <openssl/base.h>

#include <memory>
#include <span>
#include <string_view>

#include "net/byte_buffer.h"
#include "net/tls_context.h"

namespace txn {

class TlsStream {
 public:
  enum class Status : uint8_t {
    kOpen,    // goes on
    kEnded,   // the peer said close_notify: it sends no more, and may still wait for answers
    kFailed,  // the handshake or a record was refused; what is left in output() is the alert to send
  };

  // Under `context` for as long as it lives.
  explicit TlsStream(std::shared_ptr<const TlsContext> context);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // Takes all of `received`, cut anywhere: goes on with the handshake, then appends what it decrypts to `plain`, also
  // what stands before an end or a failure. Not to be called again after those.
  Status receive(std::span<const char> received, ByteBuffer& plain);

  // Encrypts: as few records as it fits in, 16 KiB each. False when the stream has failed or was closed.
  // REQUIRES: established.
  bool send(std::string_view plain);

  // Says close_notify, once and only when established. Whether that put something into output().
  bool close();

  // What has to go to the peer, in order; the caller takes it away.
  ByteBuffer& output() { return output_; }

  bool is_established() const;
  bool is_resumed() const;
  // Why it failed, in BoringSSL's words; "" when it has not.
  std::string_view failure() const { return failure_; }

 private:
  friend struct TlsStreamBio;

  Status handshake();
  void send_tickets();
  Status after(int result);
  Status fail_with(const char* why);
  bool client_certificate_expired() const;

  std::shared_ptr<const TlsContext> context_;
  bssl::UniquePtr<SSL> ssl_;
  std::span<const char> input_;  // while receive() is on the stack
  ByteBuffer output_;
  std::string_view failure_;
  bool closed_ = false;
};

}  // namespace txn
