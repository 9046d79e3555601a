// The server side of TLS as bytes, without sockets: versions, suites, ALPN, resumption, client certificates, and what
// must be refused. Over sockets it is tested in tls_server_test.cc, in the product in tests/integration/tls_test.cc.
#include "net/tls_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/aead.h>
#include <openssl/digest.h>
#include <openssl/hkdf.h>

#include <string>
#include <vector>

#include "net/tls_context.h"
#include "tests/support/certificates.h"
#include "tests/support/tls_client.h"

namespace txn {
namespace {

using test::Certificate;
using test::make_certificate;
using test::TlsClient;
using test::TlsClientOptions;
using ::testing::HasSubstr;
using Key = test::CertificateSpec::Key;
using Status = TlsStream::Status;

constexpr uint16_t kTls10 = 0x0301;
constexpr uint16_t kTls11 = 0x0302;
constexpr uint16_t kTls12 = 0x0303;
constexpr uint16_t kTls13 = 0x0304;

// Made once: the keys are what takes time.
const Certificate& authority() {
  static const Certificate made = make_certificate({.name = "authority", .is_authority = true});
  return made;
}
const Certificate& server_certificate() {
  static const Certificate made = make_certificate({}, &authority());
  return made;
}
const Certificate& rsa_certificate() {
  static const Certificate made = make_certificate({.key = Key::kRsa2048});
  return made;
}

using Context = std::shared_ptr<const TlsContext>;

Context context_of(const Certificate& certificate, const std::string& client_authorities = "",
                   std::shared_ptr<TlsTicketKeys> tickets = std::make_shared<TlsTicketKeys>()) {
  auto context = TlsContext::create(
      {.chain = certificate.certificate, .key = certificate.key, .client_authorities = client_authorities},
      std::move(tickets));
  EXPECT_TRUE(context.has_value()) << context.error().message;
  return std::move(*context);
}
const Context& usual_context() {
  static const Context made = context_of(server_certificate());
  return made;
}

std::string error_of(const TlsPem& pem) {
  const auto context = TlsContext::create(pem, std::make_shared<TlsTicketKeys>());
  return context ? "" : context.error().message;
}

// A client and a server with nothing between them.
struct Pair {
  explicit Pair(Context context = usual_context(), const TlsClientOptions& options = {})
      : server(std::move(context)), client(options) {}

  // Carries bytes in pieces of at most `piece` until neither side has any; the status of the server's last receive.
  Status pump(size_t piece = SIZE_MAX) {
    while (status == Status::kOpen) {
      const std::string up = client.take_output();
      for (size_t at = 0; at < up.size() && status == Status::kOpen; at += piece)
        status = server.receive({up.data() + at, std::min(piece, up.size() - at)}, received);
      const std::string down(server.output().view());
      server.output().clear();
      for (size_t at = 0; at < down.size(); at += piece)
        client.receive(std::string_view(down).substr(at, piece), answers);
      if (up.empty() && down.empty()) break;
    }
    const std::string alert(server.output().view());
    server.output().clear();
    if (!alert.empty()) client.receive(alert, answers);
    return status;
  }

  TlsStream server;
  TlsClient client;
  ByteBuffer received;
  std::string answers;
  Status status = Status::kOpen;
};

TEST(TlsStream, SpeaksBothVersionsWithBothKindsOfKey) {
  for (const Certificate* certificate : {&server_certificate(), &rsa_certificate()}) {
    for (const uint16_t version : {kTls12, kTls13}) {
      Pair pair(context_of(*certificate), {.min_version = version, .max_version = version, .alpn = {"http/1.1"}});
      ASSERT_EQ(pair.pump(), Status::kOpen) << pair.server.failure();
      ASSERT_TRUE(pair.server.is_established());
      EXPECT_FALSE(pair.server.is_resumed());
      EXPECT_EQ(pair.client.version(), version == kTls12 ? "TLSv1.2" : "TLSv1.3");
      EXPECT_EQ(pair.client.alpn(), "http/1.1");
      EXPECT_THAT(pair.client.suite(), ::testing::AnyOf(HasSubstr("GCM"), HasSubstr("CHACHA20")));
      EXPECT_EQ(pair.client.peer_certificate(), certificate->certificate);
      pair.client.write("ping");
      pair.pump();
      EXPECT_EQ(pair.received.view(), "ping");
      EXPECT_TRUE(pair.server.send("pong"));
      pair.pump();
      EXPECT_EQ(pair.answers, "pong");
    }
  }
}

TEST(TlsStream, OneByteAtATimeIsTheSame) {
  for (const uint16_t version : {kTls12, kTls13}) {
    Pair pair(usual_context(), {.min_version = version, .max_version = version});
    ASSERT_EQ(pair.pump(1), Status::kOpen) << pair.server.failure();
    const std::string question(40'000, 'q');
    const std::string answer(100'000, 'a');
    pair.client.write(question);
    ASSERT_EQ(pair.pump(1), Status::kOpen);
    EXPECT_EQ(pair.received.view(), question);
    ASSERT_TRUE(pair.server.send(answer));
    ASSERT_EQ(pair.pump(1), Status::kOpen);
    EXPECT_EQ(pair.answers, answer);
  }
}

// Type, version and length, then what takes 16 bytes of tag and, in 1.3, one of type.
TEST(TlsStream, WhatIsSentAtOnceIsOneRecordUpTo16KiB) {
  for (const auto& [size, records] : {std::pair<size_t, size_t>{1, 1}, {16'384, 1}, {16'385, 2}, {100'000, 7}}) {
    Pair pair;
    pair.pump();
    ASSERT_TRUE(pair.server.send(std::string(size, 'x')));
    EXPECT_EQ(pair.server.output().size(), size + records * (5 + 16 + 1));
  }
}

TEST(TlsStream, OldVersionsAreRefused) {
  for (const uint16_t version : {kTls10, kTls11}) {
    Pair pair(usual_context(), {.min_version = version, .max_version = version});
    EXPECT_EQ(pair.pump(), Status::kFailed);
    EXPECT_EQ(pair.server.failure(), "UNSUPPORTED_PROTOCOL");
    EXPECT_EQ(pair.client.error(), "TLSV1_ALERT_PROTOCOL_VERSION");
  }
}

TEST(TlsStream, SuitesWithoutForwardSecrecyOrAuthenticatedEncryptionAreRefused) {
  for (const char* suite : {"ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA",
                            "AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "DES-CBC3-SHA"}) {
    const bool is_ecdsa = std::string_view(suite).find("ECDSA") != std::string_view::npos;
    Pair pair(is_ecdsa ? usual_context() : context_of(rsa_certificate()), {.max_version = kTls12, .suites = suite});
    EXPECT_EQ(pair.pump(), Status::kFailed) << suite;
    EXPECT_EQ(pair.server.failure(), "NO_SHARED_CIPHER") << suite;
    EXPECT_EQ(pair.client.error(), "SSLV3_ALERT_HANDSHAKE_FAILURE") << suite;
  }
}

TEST(TlsStream, CurvesAreTheUsualThree) {
  for (const char* curve : {"X25519", "P-256", "P-384"}) {
    Pair pair(usual_context(), {.curves = curve});
    EXPECT_EQ(pair.pump(), Status::kOpen) << curve;
  }
  for (const char* curve : {"P-521", "P-224"}) {
    Pair pair(usual_context(), {.curves = curve});
    EXPECT_EQ(pair.pump(), Status::kFailed) << curve;
  }
}

TEST(TlsStream, ProtocolsOtherThanHttp11AreRefused) {
  for (const uint16_t version : {kTls12, kTls13}) {
    Pair both(usual_context(), {.min_version = version, .max_version = version, .alpn = {"h2", "http/1.1"}});
    EXPECT_EQ(both.pump(), Status::kOpen);
    EXPECT_EQ(both.client.alpn(), "http/1.1");
    Pair none(usual_context(), {.min_version = version, .max_version = version});
    EXPECT_EQ(none.pump(), Status::kOpen);
    EXPECT_EQ(none.client.alpn(), "");
    for (const auto& offered : {std::vector<std::string>{"h2"}, {"http/1.0"}, {"http/1.1x", "http/1."}}) {
      Pair other(usual_context(), {.min_version = version, .max_version = version, .alpn = offered});
      EXPECT_EQ(other.pump(), Status::kFailed);
      EXPECT_EQ(other.client.error(), "TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
    }
  }
}

TEST(TlsStream, TheChainIsSentWhole) {
  const Certificate root = make_certificate({.name = "root", .is_authority = true});
  const Certificate middle = make_certificate({.name = "middle", .is_authority = true}, &root);
  Certificate leaf = make_certificate({}, &middle);
  leaf.certificate += middle.certificate;
  for (const uint16_t version : {kTls12, kTls13}) {
    Pair pair(context_of(leaf), {.min_version = version, .max_version = version, .authority = root.certificate});
    EXPECT_EQ(pair.pump(), Status::kOpen);
    EXPECT_EQ(pair.client.error(), "");
    EXPECT_EQ(pair.client.chain_length(), 2u);
  }
}

TEST(TlsStream, SessionsResumeUnderAnyContextWithTheSameTicketKeys) {
  const auto tickets = std::make_shared<TlsTicketKeys>();
  const Context before = context_of(server_certificate(), "", tickets);
  const Context after = context_of(make_certificate(), "", tickets);  // as after a reload
  for (const uint16_t version : {kTls12, kTls13}) {
    Pair first(before, {.min_version = version, .max_version = version});
    ASSERT_EQ(first.pump(), Status::kOpen);
    ASSERT_FALSE(first.client.sessions().empty());
    for (const Context& context : {before, after}) {
      Pair again(context, {.min_version = version, .max_version = version, .session = first.client.sessions().front()});
      EXPECT_EQ(again.pump(), Status::kOpen);
      EXPECT_TRUE(again.client.is_resumed());
      EXPECT_TRUE(again.server.is_resumed());
    }
    // Keys of another process: a whole handshake, and no error.
    Pair elsewhere(context_of(server_certificate()),
                   {.min_version = version, .max_version = version, .session = first.client.sessions().front()});
    EXPECT_EQ(elsewhere.pump(), Status::kOpen);
    EXPECT_FALSE(elsewhere.server.is_resumed());
  }
}

// In time for whoever waits for a word of the server before the first of its own.
TEST(TlsStream, TicketsDoNotWaitForAnAnswer) {
  for (const uint16_t version : {kTls12, kTls13}) {
    Pair pair(usual_context(), {.min_version = version, .max_version = version});
    ASSERT_EQ(pair.pump(), Status::kOpen);
    EXPECT_FALSE(pair.client.sessions().empty());
    EXPECT_TRUE(pair.answers.empty());
  }
}

TEST(TlsStream, TicketsOutliveTwoRotationsAndNoMore) {
  int64_t now_s = 1'000'000;
  const auto tickets = std::make_shared<TlsTicketKeys>([&now_s] { return now_s; });
  const Context context = context_of(server_certificate(), "", tickets);
  Pair first(context);
  ASSERT_EQ(first.pump(), Status::kOpen);
  const TlsClientOptions with_ticket{.session = first.client.sessions().front()};
  const auto key = tickets->current();
  const auto resumes = [&] {
    Pair again(context, with_ticket);
    EXPECT_EQ(again.pump(), Status::kOpen);
    return again.server.is_resumed();
  };
  now_s += kTicketKeyIssueSeconds - 1;
  EXPECT_EQ(tickets->current(), key);
  now_s += 1;
  EXPECT_NE(tickets->current(), key);
  EXPECT_TRUE(resumes());
  now_s += kTicketLifetimeSeconds - 1;
  EXPECT_TRUE(resumes());
  now_s += 1;
  EXPECT_FALSE(resumes());
  EXPECT_EQ(tickets->find(key->name()), nullptr);
  EXPECT_EQ(key.use_count(), 1) << "the ring has forgotten it";
}

TEST(TlsTicketKey, OpensWhatItSealedAndNothingElse) {
  const TlsTicketKey key(0);
  const TlsTicketKey other(0);
  const std::vector<uint8_t> session{1, 2, 3, 4, 5};
  std::vector<uint8_t> ticket(session.size() + TlsTicketKey::kOverheadBytes);
  ASSERT_EQ(key.seal(ticket, session), ticket.size());
  std::vector<uint8_t> opened(ticket.size());
  ASSERT_EQ(key.open(opened, ticket), session.size());
  EXPECT_TRUE(std::equal(session.begin(), session.end(), opened.begin()));
  EXPECT_EQ(other.open(opened, ticket), 0u);
  for (size_t i = 0; i < ticket.size(); ++i) {
    std::vector<uint8_t> changed = ticket;
    changed[i] ^= 1;
    EXPECT_EQ(key.open(opened, changed), 0u) << i;
    EXPECT_EQ(key.open(opened, {ticket.data(), i}), 0u) << i;
  }
  EXPECT_EQ(key.seal({ticket.data(), ticket.size() - 1}, session), 0u);
}

TEST(TlsStream, EarlyDataIsNeverTaken) {
  Pair first(usual_context(), {.min_version = kTls13});
  ASSERT_EQ(first.pump(), Status::kOpen);
  Pair again(usual_context(),
             {.min_version = kTls13, .session = first.client.sessions().front(), .offer_early_data = true});
  ASSERT_EQ(again.pump(), Status::kOpen);
  EXPECT_TRUE(again.client.is_resumed());
  EXPECT_FALSE(again.client.has_early_data_accepted());
}

TEST(TlsStream, ClientCertificatesAreDemandedAndChecked) {
  const Certificate other_authority = make_certificate({.name = "other", .is_authority = true});
  const Certificate right = make_certificate({.name = "client"}, &authority());
  const Certificate wrong = make_certificate({.name = "client"}, &other_authority);
  const Certificate expired =
      make_certificate({.name = "client", .not_before_s = -7200, .not_after_s = -3600}, &authority());
  const Context context = context_of(server_certificate(), authority().certificate);
  EXPECT_TRUE(context->demands_client_certificate());
  for (const uint16_t version : {kTls12, kTls13}) {
    const auto attempt = [&](const Certificate* certificate) {
      Pair pair(context, {.min_version = version, .max_version = version, .certificate = certificate});
      pair.pump();
      return std::pair(std::string(pair.server.failure()), pair.client.error());
    };
    EXPECT_EQ(attempt(&right), std::pair(std::string(), std::string()));
    EXPECT_EQ(attempt(nullptr).first, "PEER_DID_NOT_RETURN_A_CERTIFICATE");
    EXPECT_EQ(attempt(nullptr).second,
              version == kTls13 ? "TLSV1_ALERT_CERTIFICATE_REQUIRED" : "SSLV3_ALERT_HANDSHAKE_FAILURE");
    EXPECT_EQ(attempt(&wrong).first, "CERTIFICATE_VERIFY_FAILED");
    EXPECT_EQ(attempt(&wrong).second, "TLSV1_ALERT_UNKNOWN_CA");
    EXPECT_EQ(attempt(&expired).first, "CERTIFICATE_VERIFY_FAILED");
    EXPECT_EQ(attempt(&expired).second, "SSLV3_ALERT_CERTIFICATE_EXPIRED");
  }
}

// Resuming skips the certificate, so the session must not survive the authorities that vouched for it.
TEST(TlsStream, ASessionDoesNotResumeUnderOtherClientAuthorities) {
  const Certificate other_authority = make_certificate({.name = "other", .is_authority = true});
  const Certificate client = make_certificate({.name = "client"}, &authority());
  const auto tickets = std::make_shared<TlsTicketKeys>();
  const Context one = context_of(server_certificate(), authority().certificate, tickets);
  const Context both = context_of(server_certificate(), authority().certificate + other_authority.certificate, tickets);
  const Context open = context_of(server_certificate(), "", tickets);
  for (const uint16_t version : {kTls12, kTls13}) {
    Pair first(one, {.min_version = version, .max_version = version, .certificate = &client});
    ASSERT_EQ(first.pump(), Status::kOpen);
    const TlsClientOptions again{.min_version = version,
                                 .max_version = version,
                                 .certificate = &client,
                                 .session = first.client.sessions().front()};
    Pair same(one, again);
    EXPECT_EQ(same.pump(), Status::kOpen);
    EXPECT_TRUE(same.server.is_resumed());
    Pair changed(both, again);
    EXPECT_EQ(changed.pump(), Status::kOpen);
    EXPECT_FALSE(changed.server.is_resumed());
    // And one from when nobody asked for certificates is worth nothing now.
    Pair unknown(open, {.min_version = version, .max_version = version});
    ASSERT_EQ(unknown.pump(), Status::kOpen);
    Pair sneaking(one, {.min_version = version, .max_version = version, .session = unknown.client.sessions().front()});
    EXPECT_EQ(sneaking.pump(), Status::kFailed);
  }
}

TEST(TlsStream, AResumedSessionEndsWithItsClientsCertificate) {
  const Certificate brief = make_certificate({.name = "client", .not_after_s = 2}, &authority());
  const Context context = context_of(server_certificate(), authority().certificate);
  Pair first(context, {.certificate = &brief});
  ASSERT_EQ(first.pump(), Status::kOpen);
  const auto attempt = [&] {
    Pair again(context, {.certificate = &brief, .session = first.client.sessions().front()});
    again.pump();
    return std::string(again.server.failure());
  };
  std::string failure;
  EXPECT_TRUE(test::wait_until([&] { return !(failure = attempt()).empty(); }, test::Milliseconds(10'000)));
  EXPECT_EQ(failure, "the client's certificate has expired since the session began");
}

TEST(TlsStream, CloseNotifyIsSaidOnceAndUnderstood) {
  Pair pair;
  ASSERT_EQ(pair.pump(), Status::kOpen);
  ASSERT_TRUE(pair.server.send("last words"));
  EXPECT_TRUE(pair.server.close());
  EXPECT_FALSE(pair.server.close());
  EXPECT_FALSE(pair.server.send("more"));
  pair.pump();
  EXPECT_EQ(pair.answers, "last words");
  EXPECT_TRUE(pair.client.has_close_notify());
  EXPECT_EQ(pair.client.error(), "");

  Pair other;
  ASSERT_EQ(other.pump(), Status::kOpen);
  other.client.write("a question");
  other.client.close();
  EXPECT_EQ(other.pump(), Status::kEnded);
  EXPECT_EQ(other.received.view(), "a question");
  EXPECT_TRUE(other.server.send("the answer")) << "which the client may still read";
}

TEST(TlsStream, ACloseInTheHandshakeIsAFailure) {
  TlsStream server(usual_context());
  EXPECT_FALSE(server.close());
  ByteBuffer plain;
  constexpr std::string_view kCloseNotify("\x15\x03\x01\x00\x02\x01\x00", 7);
  EXPECT_EQ(server.receive(kCloseNotify, plain), Status::kFailed);
  EXPECT_FALSE(server.close());
}

TEST(TlsStream, ForgedAndCutRecordsFail) {
  for (const uint16_t version : {kTls12, kTls13}) {
    Pair pair(usual_context(), {.min_version = version, .max_version = version});
    ASSERT_EQ(pair.pump(), Status::kOpen);
    pair.client.write("good");
    pair.client.write("forged");
    std::string bytes = pair.client.take_output();
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    EXPECT_EQ(pair.server.receive(bytes, pair.received), Status::kFailed);
    EXPECT_EQ(pair.received.view(), "good");
    EXPECT_EQ(pair.server.failure(), "BAD_DECRYPT");
    EXPECT_FALSE(pair.server.output().empty()) << "an alert";
    EXPECT_FALSE(pair.server.send("anything"));
    EXPECT_FALSE(pair.server.is_established());
  }
  Pair half;
  ASSERT_EQ(half.pump(), Status::kOpen);
  half.client.write("never whole");
  const std::string bytes = half.client.take_output();
  EXPECT_EQ(half.server.receive({bytes.data(), bytes.size() - 1}, half.received), Status::kOpen);
  EXPECT_TRUE(half.received.empty());
}

TEST(TlsStream, GarbageInsteadOfAHelloFails) {
  using namespace std::string_literals;
  for (const std::string& garbage :
       {std::string(64, '\0'), std::string(64, '\xff'), "\x16\x03\x01\xff\xff"s + std::string(70'000, 'x'),
        "\x16\x03\x01\x00\x04\x01\x00\x00\x00"s, "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"s,
        "\x80\x2e\x01\x00\x02"s + std::string(43, 'v'), "\x17\x03\x03\x00\x01x"s}) {
    TlsStream server(usual_context());
    ByteBuffer plain;
    EXPECT_EQ(server.receive(garbage, plain), Status::kFailed);
    EXPECT_TRUE(plain.empty());
    EXPECT_NE(server.failure(), "");
  }
}

// A hello that says it is 16 MiB long is refused at its beginning, not gathered.
TEST(TlsStream, HandshakeMessagesAreBounded) {
  TlsStream server(usual_context());
  ByteBuffer plain;
  const std::string record =
      std::string("\x16\x03\x01\x40\x00", 5) + std::string("\x01\xff\xff\xff", 4) + std::string(16'380, 'x');
  EXPECT_EQ(server.receive(record, plain), Status::kFailed);
  EXPECT_EQ(server.failure(), "EXCESSIVE_MESSAGE_SIZE");
}

TEST(TlsStream, KeyUpdatesAreAnsweredWithTheNextWords) {
  Pair pair(usual_context(), {.min_version = kTls13});
  ASSERT_EQ(pair.pump(), Status::kOpen);
  for (int i = 0; i < 100; ++i) {
    pair.client.update_keys();
    pair.client.write("x");
    ASSERT_EQ(pair.pump(), Status::kOpen) << pair.server.failure();
    EXPECT_TRUE(pair.server.output().empty());
  }
  EXPECT_EQ(pair.received.view(), std::string(100, 'x'));
  ASSERT_TRUE(pair.server.send("still here"));
  EXPECT_LT(pair.server.output().size(), 100u) << "one update for all of theirs";
  pair.pump();
  EXPECT_EQ(pair.answers, "still here");
}

// HKDF-Expand-Label of RFC 8446 section 7.1, without context.
std::vector<uint8_t> expand_label(const std::vector<uint8_t>& secret, std::string_view label, size_t size) {
  std::vector<uint8_t> info{static_cast<uint8_t>(size >> 8), static_cast<uint8_t>(size)};
  info.push_back(static_cast<uint8_t>(6 + label.size()));
  for (const char c : "tls13 " + std::string(label)) info.push_back(static_cast<uint8_t>(c));
  info.push_back(0);
  std::vector<uint8_t> out(size);
  EXPECT_EQ(HKDF_expand(out.data(), size, EVP_sha256(), secret.data(), secret.size(), info.data(), info.size()), 1);
  return out;
}

// Records that hold nothing but an update, each under the key of the one before it: no library sends them.
std::string key_updates(std::vector<uint8_t> secret, int count) {
  std::string records;
  for (int i = 0; i < count; ++i) {
    const std::vector<uint8_t> key = expand_label(secret, "key", 16);
    const std::vector<uint8_t> nonce = expand_label(secret, "iv", 12);  // the sequence number is 0
    const std::vector<uint8_t> inner{24, 0, 0, 1, 0, 22};               // update_not_requested; a handshake message
    const std::vector<uint8_t> header{23, 3, 3, 0, 6 + 16};
    std::vector<uint8_t> sealed(inner.size() + 16);
    size_t size = 0;
    bssl::ScopedEVP_AEAD_CTX aead;
    EXPECT_EQ(EVP_AEAD_CTX_init(aead.get(), EVP_aead_aes_128_gcm(), key.data(), key.size(), 16, nullptr), 1);
    EXPECT_EQ(EVP_AEAD_CTX_seal(aead.get(), sealed.data(), &size, sealed.size(), nonce.data(), nonce.size(),
                                inner.data(), inner.size(), header.data(), header.size()),
              1);
    records.append(header.begin(), header.end()).append(sealed.begin(), sealed.end());
    secret = expand_label(secret, "traffic upd", 32);
  }
  return records;
}

TEST(TlsStream, AFloodOfKeyUpdatesFails) {
  Pair enough(usual_context(), {.min_version = kTls13});
  ASSERT_EQ(enough.pump(), Status::kOpen);
  ASSERT_EQ(enough.client.suite(), "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(enough.server.receive(key_updates(enough.client.write_secret(), 32), enough.received), Status::kOpen)
      << enough.server.failure();
  Pair flood(usual_context(), {.min_version = kTls13});
  ASSERT_EQ(flood.pump(), Status::kOpen);
  EXPECT_EQ(flood.server.receive(key_updates(flood.client.write_secret(), 33), flood.received), Status::kFailed);
  EXPECT_EQ(flood.server.failure(), "TOO_MANY_KEY_UPDATES");
}

TEST(TlsContext, SaysWhatIsWrongWithItsFiles) {
  const std::string& chain = server_certificate().certificate;
  const std::string& key = server_certificate().key;
  EXPECT_EQ(error_of({.chain = chain, .key = key}), "");
  EXPECT_EQ(error_of({.chain = "", .key = key}), "TLS_CERT_FILE: holds no certificate in PEM");
  EXPECT_EQ(error_of({.chain = key, .key = key}), "TLS_CERT_FILE: holds no certificate in PEM");
  EXPECT_EQ(error_of({.chain = chain + chain.substr(0, chain.size() / 2), .key = key}),
            "TLS_CERT_FILE: certificate 2 cannot be read");
  EXPECT_EQ(error_of({.chain = chain, .key = ""}), "TLS_KEY_FILE: holds no private key in PEM");
  EXPECT_EQ(error_of({.chain = chain, .key = chain}), "TLS_KEY_FILE: holds no private key in PEM");
  EXPECT_EQ(error_of({.chain = chain, .key = test::encrypt_key(key, "secret")}),
            "TLS_KEY_FILE: the key is encrypted; it has to be readable without a password");
  EXPECT_EQ(error_of({.chain = chain, .key = rsa_certificate().key}),
            "TLS_KEY_FILE: the key does not belong to the certificate of TLS_CERT_FILE");
  EXPECT_EQ(error_of({.chain = chain, .key = make_certificate().key}),
            "TLS_KEY_FILE: the key does not belong to the certificate of TLS_CERT_FILE");
  const Certificate small = make_certificate({.key = Key::kRsa1024});
  EXPECT_EQ(error_of({.chain = small.certificate, .key = small.key}),
            "TLS_KEY_FILE: an RSA key of 1024 bits; 2048 are the least");
  const Certificate expired = make_certificate({.not_before_s = -7200, .not_after_s = -1});
  EXPECT_EQ(error_of({.chain = expired.certificate, .key = expired.key}), "TLS_CERT_FILE: certificate 1 has expired");
  const Certificate future = make_certificate({.not_before_s = 3600});
  EXPECT_EQ(error_of({.chain = future.certificate, .key = future.key}),
            "TLS_CERT_FILE: certificate 1 is not valid yet");
  EXPECT_EQ(error_of({.chain = chain + rsa_certificate().certificate, .key = key}),
            "TLS_CERT_FILE: certificate 2 is not the issuer of certificate 1");
  EXPECT_EQ(error_of({.chain = chain, .key = key, .client_authorities = "none"}),
            "TLS_CLIENT_CA_FILE: holds no certificate in PEM");
}

// What a client gets of a chain, and what the operator is told.
struct Served {
  std::string error;
  size_t certificates = 0;
  std::vector<std::string> warnings;
};

Served serve(const std::string& chain, const std::string& key) {
  const auto context =
      TlsContext::create({.chain = chain, .key = key, .client_authorities = ""}, std::make_shared<TlsTicketKeys>());
  if (!context) return {.error = context.error().message};
  Pair pair(*context, {});
  EXPECT_EQ(pair.pump(), Status::kOpen);
  return {.error = "", .certificates = pair.client.chain_length(), .warnings = (*context)->warnings()};
}

TEST(TlsContext, OnlyWhatTheLeafNeedsHasToBeInDate) {
  using ::testing::ElementsAre;
  using ::testing::IsEmpty;
  const Certificate old_root = make_certificate({.name = "old root", .is_authority = true});
  const Certificate root = make_certificate({.name = "root", .is_authority = true});
  const auto cross_signed = [&](int64_t not_after_s) {
    return make_certificate({.name = "root", .not_after_s = not_after_s, .is_authority = true, .private_key = root.key},
                            &old_root);
  };
  const Certificate old_cross = cross_signed(-1), cross = cross_signed(86400);
  const Certificate middle = make_certificate({.name = "middle", .is_authority = true}, &root);
  const Certificate old_middle = make_certificate(
      {.name = "middle", .not_before_s = -7200, .not_after_s = -1, .is_authority = true, .private_key = middle.key},
      &root);
  const Certificate leaf = make_certificate({}, &middle);
  const auto of = [&](std::initializer_list<const Certificate*> others) {
    std::string chain = leaf.certificate;
    for (const Certificate* other : others) chain += other->certificate;
    return serve(chain, leaf.key);
  };
  const auto expect_good = [&](const Served& served, size_t certificates, const auto& warnings) {
    EXPECT_EQ(served.error, "");
    EXPECT_EQ(served.certificates, certificates);
    EXPECT_THAT(served.warnings, warnings);
  };
  expect_good(of({}), 1, IsEmpty());
  expect_good(of({&middle}), 2, IsEmpty());
  expect_good(of({&middle, &root}), 3, IsEmpty());
  expect_good(of({&middle, &cross, &old_root}), 4, IsEmpty());
  expect_good(of({&middle, &root, &cross}), 4, IsEmpty());
  const std::string expired = " has expired and is left out: clients that know its issuer otherwise do without";
  expect_good(of({&middle, &old_cross}), 2, ElementsAre("TLS_CERT_FILE: certificate 3" + expired));
  expect_good(of({&middle, &root, &old_cross}), 3, ElementsAre("TLS_CERT_FILE: certificate 4" + expired));
  expect_good(of({&middle, &old_cross, &root}), 3, ElementsAre("TLS_CERT_FILE: certificate 3" + expired));
  expect_good(of({&old_middle, &middle}), 2, ElementsAre("TLS_CERT_FILE: certificate 2" + expired));
  // What only an expired one leads to is of no use either.
  const std::string stranger = " is left out: it has issued none of those that are sent";
  expect_good(of({&middle, &old_cross, &old_root}), 2,
              ElementsAre("TLS_CERT_FILE: certificate 3" + expired, "TLS_CERT_FILE: certificate 4" + stranger));
  expect_good(of({&middle, &rsa_certificate()}), 2, ElementsAre("TLS_CERT_FILE: certificate 3" + stranger));
  expect_good(of({&leaf, &middle}), 2, ElementsAre("TLS_CERT_FILE: certificate 2" + stranger));
  // In whatever order they stand, clients get them in theirs.
  expect_good(of({&root, &middle}), 3, IsEmpty());

  EXPECT_EQ(of({&old_middle}).error, "TLS_CERT_FILE: certificate 2 has expired");
  EXPECT_EQ(of({&old_middle, &root}).error, "TLS_CERT_FILE: certificate 2 has expired");
  EXPECT_EQ(of({&root, &old_middle}).error, "TLS_CERT_FILE: certificate 3 has expired");
  EXPECT_EQ(of({&root}).error, "TLS_CERT_FILE: certificate 2 is not the issuer of certificate 1");
  // The same name is not the same authority.
  const Certificate namesake = make_certificate({.name = "middle", .is_authority = true}, &root);
  EXPECT_EQ(of({&namesake}).error, "TLS_CERT_FILE: certificate 2 is not the issuer of certificate 1");
}

TEST(TlsContext, ByteOrderMarksHideNothing) {
  const std::string mark = "\xEF\xBB\xBF";
  const Certificate authority = make_certificate({.name = "authority", .is_authority = true});
  const Certificate leaf = make_certificate({}, &authority);
  EXPECT_EQ(serve(mark + leaf.certificate, mark + leaf.key).error, "");
  const Served both = serve(mark + leaf.certificate + mark + authority.certificate, leaf.key);
  EXPECT_EQ(both.error, "");
  EXPECT_EQ(both.certificates, 2u);
  EXPECT_EQ(error_of({.chain = mark + leaf.certificate,
                      .key = leaf.key,
                      .client_authorities = mark + authority.certificate + mark + authority.certificate}),
            "");
}

TEST(TlsContext, LoadsFilesAndKnowsWhenTheFirstCertificateExpires) {
  const test::TempDirectory directory;
  const Certificate brief_authority = make_certificate({.name = "a", .not_after_s = 5 * 86400, .is_authority = true});
  const Certificate leaf = make_certificate({.not_after_s = 9 * 86400}, &brief_authority);
  const TlsFiles files{.chain = directory.write("chain.pem", leaf.certificate + brief_authority.certificate),
                       .key = directory.write("key.pem", leaf.key),
                       .client_authorities = ""};
  const auto tickets = std::make_shared<TlsTicketKeys>();
  const auto context = TlsContext::load(files, tickets);
  ASSERT_TRUE(context.has_value()) << context.error().message;
  EXPECT_NEAR(static_cast<double>((*context)->certificate_not_after() - std::time(nullptr)), 5 * 86400, 60);
  EXPECT_FALSE((*context)->demands_client_certificate());

  TlsFiles missing = files;
  missing.key = directory.path() + "/no-such.pem";
  EXPECT_THAT(TlsContext::load(missing, tickets).error().message,
              ::testing::AllOf(HasSubstr("TLS_KEY_FILE: "), HasSubstr("No such file")));
  TlsFiles huge = files;
  huge.chain = directory.write("huge.pem", std::string((1 << 20) + 1, 'x'));
  EXPECT_THAT(TlsContext::load(huge, tickets).error().message, HasSubstr("more than 1 MiB"));
  TlsFiles empty = files;
  empty.client_authorities = directory.write("empty.pem", "");
  EXPECT_EQ(TlsContext::load(empty, tickets).error().message, "TLS_CLIENT_CA_FILE: holds no certificate in PEM");
}

}  // namespace
}  // namespace txn
