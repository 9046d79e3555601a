// The server side of TLS under any bytes: before a handshake, where everything is a stranger's, and after a real one,
// where a client that knows the keys sends records whole, cut, forged or out of place.
//
// Held to: nothing decrypted comes out before the handshake is done, and after it nothing but what the client wrote, in
// its order; what goes out is records; a stream that has failed says why and takes no more to send.
//
// Input: a byte that chooses the mode and the size of the pieces; then the bytes, or steps of the client.
#include <openssl/bio.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/check.h"
#include "net/tls_context.h"
#include "net/tls_stream.h"
#include "tests/fuzz/fuzz_input.h"

namespace txn {
namespace {

std::string content_of(BIO* bio) {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  CHECK(BIO_mem_contents(bio, &bytes, &size) == 1, "a memory BIO");
  std::string content(reinterpret_cast<const char*>(bytes), size);
  BIO_reset(bio);
  return content;
}

std::shared_ptr<const TlsContext> make_context() {
  const bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  const bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  const bssl::UniquePtr<X509> certificate(X509_new());
  bool made = EC_KEY_generate_key(ec.get()) == 1 && EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) == 1;
  X509_set_version(certificate.get(), 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 365L * 86400);
  X509_set_pubkey(certificate.get(), key.get());
  made = made && X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0;
  const bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  TlsPem pem;
  made = made && PEM_write_bio_X509(out.get(), certificate.get()) == 1;
  pem.chain = content_of(out.get());
  made = made && PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1;
  pem.key = content_of(out.get());
  CHECK(made, "a certificate");
  auto context = TlsContext::create(pem, std::make_shared<TlsTicketKeys>());
  CHECK(context.has_value(), "a certificate that can be served");
  return std::move(*context);
}

const std::shared_ptr<const TlsContext>& context() {
  static const std::shared_ptr<const TlsContext> made = make_context();
  return made;
}

// Type 20 to 23, version 3.x, a length that is there: RFC 8446 section 5.1.
void check_records(std::string_view bytes) {
  while (!bytes.empty()) {
    CHECK(bytes.size() >= 5, "a record's head");
    CHECK(bytes[0] >= 20 && bytes[0] <= 23 && bytes[1] == 3, "a record's type and version");
    const size_t size = static_cast<size_t>(static_cast<uint8_t>(bytes[3])) << 8 | static_cast<uint8_t>(bytes[4]);
    CHECK(size <= 16384 + 256 && bytes.size() >= 5 + size, "a record's length");
    bytes.remove_prefix(5 + size);
  }
}

class Server {
 public:
  explicit Server(size_t piece) : piece_(piece) {}

  void receive(std::string_view bytes) {
    for (; !bytes.empty() && status_ == TlsStream::Status::kOpen; bytes.remove_prefix(std::min(piece_, bytes.size()))) {
      const std::string_view part = bytes.substr(0, piece_);
      status_ = stream_.receive({part.data(), part.size()}, plain_);
      if (status_ == TlsStream::Status::kFailed) {
        CHECK(!stream_.failure().empty(), "a failure has a reason");
        CHECK(!stream_.send("x") && !stream_.close() && !stream_.is_established(), "and is final");
      }
    }
  }
  std::string take_output() {
    std::string output(stream_.output().view());
    stream_.output().clear();
    check_records(output);
    return output;
  }
  bool is_open() const { return status_ == TlsStream::Status::kOpen; }
  TlsStream& stream() { return stream_; }
  std::string_view plain() const { return plain_.view(); }

 private:
  const size_t piece_;
  TlsStream stream_{context()};
  TlsStream::Status status_ = TlsStream::Status::kOpen;
  ByteBuffer plain_;
};

class Client {
 public:
  explicit Client(bool tls12) : context_(SSL_CTX_new(TLS_method())), ssl_(SSL_new(context_.get())) {
    SSL_set_max_proto_version(ssl_.get(), tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_connect_state(ssl_.get());
  }
  void receive(std::string_view bytes) {
    BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
    char sink[1024];
    if (SSL_do_handshake(ssl_.get()) != 1) return;
    while (SSL_read(ssl_.get(), sink, sizeof sink) > 0) {
    }
  }
  void write(std::string_view plain) {
    if (!plain.empty()) SSL_write(ssl_.get(), plain.data(), static_cast<int>(plain.size()));
  }
  void update_keys(bool ask) {
    SSL_key_update(ssl_.get(), ask ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
  }
  void close() { SSL_shutdown(ssl_.get()); }
  bool is_ready() const { return SSL_is_init_finished(ssl_.get()) == 1; }
  std::string take_output() { return content_of(out_); }

 private:
  bssl::UniquePtr<SSL_CTX> context_;
  bssl::UniquePtr<SSL> ssl_;
  BIO* const in_ = BIO_new(BIO_s_mem());  // both owned by ssl_
  BIO* const out_ = BIO_new(BIO_s_mem());
};

void from_a_stranger(fuzz::FuzzInput& input, size_t piece) {
  Server server(piece);
  server.receive(input.rest());
  CHECK(server.plain().empty(), "nobody can have encrypted anything");
  CHECK(server.take_output().size() <= 8192, "a flight is a few kilobytes");
}

void from_a_client(fuzz::FuzzInput& input, size_t piece, bool tls12) {
  Server server(piece);
  Client client(tls12);
  client.receive("");
  for (int flights = 0; flights < 4 && !(client.is_ready() && server.stream().is_established()); ++flights) {
    server.receive(client.take_output());
    client.receive(server.take_output());
  }
  CHECK(client.is_ready() && server.stream().is_established(), "a handshake between well-behaved sides");
  std::string written;
  while (!input.empty() && server.is_open()) {
    const uint8_t step = input.byte();
    switch (step % 8) {
      case 0:
      case 1: {
        const std::string_view plain = input.text(input.byte());
        client.write(plain);
        written += plain;
        break;
      }
      case 2:
        client.update_keys(step >= 128);
        break;
      case 3:
        client.close();
        break;
      case 4: {
        const bool sent = server.stream().send(std::string(input.number(2), 's'));
        CHECK(sent, "an open stream can be written to");
        break;
      }
      case 5:
        server.receive(input.text(input.byte()));  // forged: with no key at all
        break;
      default: {
        std::string bytes = client.take_output();
        if (step >= 128 && !bytes.empty()) bytes[input.number(2) % bytes.size()] ^= static_cast<char>(input.byte());
        server.receive(bytes);
        client.receive(server.take_output());
        break;
      }
    }
  }
  if (server.is_open()) server.receive(client.take_output());
  CHECK(std::string_view(written).starts_with(server.plain()), "what comes out was put in");
  server.take_output();
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  txn::fuzz::FuzzInput input(data, size);
  const uint8_t mode = input.byte();
  const size_t piece = (mode & 0x3c) == 0 ? SIZE_MAX : size_t{1} << ((mode >> 2 & 15) - 1);
  if ((mode & 1) == 0) {
    txn::from_a_stranger(input, piece);
  } else {
    txn::from_a_client(input, piece, (mode & 2) != 0);
  }
  return 0;
}
