// The HTTP server over TLS on the real ring and real sockets: what a stream of records changes for connections. The
// cryptography itself is tested in tls_stream_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

#include "net/http_server.h"
#include "net/tls_context.h"
#include "tests/net/server_thread.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_client.h"
#include "tests/support/tls_client.h"

namespace txn {
namespace {

using test::Certificate;
using test::format_request;
using test::HttpResponse;
using test::make_certificate;
using test::Milliseconds;
using test::RawClient;
using test::ServerThread;
using test::tls_connect;
using test::TlsClient;
using test::TlsClientOptions;
using test::TlsConnection;

constexpr uint16_t kTls12 = 0x0303;
constexpr uint16_t kTls13 = 0x0304;
constexpr const char* kHsts = "Strict-Transport-Security";

const Certificate& certificate() {
  static const Certificate made = make_certificate();
  return made;
}

std::shared_ptr<const TlsContext> context_of(const Certificate& pair) {
  auto context = TlsContext::create({.chain = pair.certificate, .key = pair.key, .client_authorities = ""},
                                    std::make_shared<TlsTicketKeys>());
  EXPECT_TRUE(context.has_value()) << context.error().message;
  return std::move(*context);
}

struct TlsServerThread : ServerThread {
  explicit TlsServerThread(const HttpServerOptions& options = {}, const RingOptions& ring = {})
      : ServerThread(options, ring, context_of(certificate())) {}
  const TlsCounters& counters() { return server().tls_counters(); }
};

TEST(TlsServer, AnswersWithStrictTransportSecurity) {
  TlsServerThread server;
  for (const uint16_t version : {kTls12, kTls13}) {
    TlsConnection client = tls_connect(server.port(), {.min_version = version, .max_version = version});
    ASSERT_EQ(client.tls->error(), "");
    for (int i = 0; i < 3; ++i) {
      const HttpResponse response = client.http.exchange(format_request("POST", "/now", {}, "body"));
      EXPECT_EQ(response.status, 200);
      EXPECT_EQ(response.body, "/now body");
      EXPECT_EQ(response.header(kHsts), "max-age=63072000; includeSubDomains");
    }
    const HttpResponse bad = client.http.exchange("what?\r\n\r\n");
    EXPECT_EQ(bad.status, 400);
    EXPECT_TRUE(bad.has(kHsts));
    EXPECT_EQ(client.http.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
    EXPECT_TRUE(client.tls->has_close_notify());
  }
  EXPECT_EQ(server.counters().handshakes, 2u);
  ServerThread plain;
  EXPECT_FALSE(RawClient(plain.port()).exchange(format_request("GET", "/now")).has(kHsts));
}

TEST(TlsServer, PipelinedRequestsAreAnsweredInOrder) {
  TlsServerThread server;
  TlsConnection client = tls_connect(server.port());
  std::string requests;
  for (int i = 0; i < 500; ++i) requests += format_request("GET", "/later/" + std::to_string(i % 7 == 0 ? 20 : 0));
  ASSERT_TRUE(client.http.send(requests));
  for (int i = 0; i < 500; ++i) ASSERT_EQ(client.http.read_response().body, i % 7 == 0 ? "/later/20" : "/later/0") << i;
  requests.clear();
  for (int i = 0; i < 5; ++i) requests += format_request("POST", "/now", {}, "byte by byte");
  ASSERT_TRUE(client.http.send_byte_by_byte(requests));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.http.read_response().body, "/now byte by byte");
}

// The handshake's last message and far more requests than may wait ahead of their turn arrive as one.
TEST(TlsServer, RequestsMayComeRightBehindTheHandshake) {
  TlsServerThread server;
  RawClient socket(server.port());
  const auto tls = std::make_shared<TlsClient>(TlsClientOptions{.min_version = kTls13});
  ASSERT_TRUE(socket.send(tls->take_output()));
  while (!tls->is_ready()) {
    const std::string flight = socket.receive_raw(Milliseconds(10'000));
    ASSERT_FALSE(flight.empty());
    std::string none;
    tls->receive(flight, none);
  }
  constexpr int kRequests = 1000;
  for (int i = 0; i < kRequests; ++i) tls->write(format_request("POST", "/now", {}, std::string(200, 'x')));
  ASSERT_TRUE(socket.send(tls->take_output()));
  ASSERT_TRUE(socket.wrap(tls));
  for (int i = 0; i < kRequests; ++i) ASSERT_EQ(socket.read_response().body.size(), 205u) << i;
}

TEST(TlsServer, BigAnswersReachSlowReaders) {
  TlsServerThread server;
  TlsConnection client = tls_connect(server.port(), {}, {.receive_buffer = 4096});
  std::string requests;
  for (int i = 0; i < 10; ++i) requests += format_request("GET", "/big/" + std::to_string(300'000 + i));
  ASSERT_TRUE(client.http.send(requests));
  // The first answers are enough to make the rest wait; others are served meanwhile.
  ASSERT_TRUE(server.eventually([&] { return server.service().requests >= 1; }));
  TlsConnection other = tls_connect(server.port());
  EXPECT_EQ(other.http.exchange(format_request("GET", "/now")).status, 200);
  for (size_t i = 0; i < 10; ++i) {
    const HttpResponse response = client.http.read_response();
    ASSERT_EQ(response.body.size(), 300'000 + i) << response.error;
    ASSERT_EQ(response.body.find_first_not_of('b'), std::string::npos);
  }
}

TEST(TlsServer, AClientMayEndItsSideWithAndWithoutCloseNotify) {
  for (const bool notify : {false, true}) {
    TlsServerThread server;
    TlsConnection client = tls_connect(server.port());
    ASSERT_TRUE(client.http.send(format_request("GET", "/hold")));
    ASSERT_TRUE(server.eventually([&] { return server.service().held() == 1; }));
    if (notify) {
      client.tls->close();
      ASSERT_TRUE(client.http.send(""));
    } else {
      client.http.half_close();
    }
    // Both arrive before the answer is given.
    ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() == 1; }));
    server.do_on_loop([&] { server.service().release_held(); });
    EXPECT_EQ(client.http.read_response().body, "held");
    EXPECT_EQ(client.http.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
    EXPECT_TRUE(client.tls->has_close_notify());
    EXPECT_TRUE(server.eventually([&] { return server.server().connection_count() == 0; }));
  }
}

TEST(TlsServer, AForgedRecordEndsTheConnectionWithAnAlert) {
  TlsServerThread server;
  TlsConnection client = tls_connect(server.port());
  ASSERT_TRUE(client.http.send(format_request("GET", "/hold")));
  ASSERT_TRUE(server.eventually([&] { return server.service().held() == 1; }));
  ASSERT_TRUE(client.http.send_raw(std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'f')));
  EXPECT_EQ(client.http.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
  EXPECT_EQ(client.tls->error(), "SSLV3_ALERT_BAD_RECORD_MAC");
  EXPECT_FALSE(client.tls->has_close_notify());
  // What had begun still ends, with nobody to hear of it.
  server.do_on_loop([&] { server.service().release_held(); });
}

TEST(TlsServer, GarbageIsRefusedWithAnAlertThatCanBeRead) {
  TlsServerThread server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(std::string("\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9) + std::string(20'000, 'g')));
  const std::string alert = client.receive_raw(Milliseconds(10'000));
  ASSERT_EQ(alert.size(), 7u);
  EXPECT_EQ(alert[0], 21);
  EXPECT_EQ(client.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
  EXPECT_EQ(server.counters().handshakes_failed, 1u);
}

TEST(TlsServer, PlainHttpIsAnsweredInPlainText) {
  TlsServerThread server;
  for (const char* method : {"GET", "POST", "DELETE", "OPTIONS", "CONNECT"}) {
    RawClient client(server.port());
    const HttpResponse response = client.exchange(format_request(method, "/now", {}, std::string(50'000, 'p')));
    EXPECT_EQ(response.status, 400) << response.error;
    EXPECT_EQ(response.body, "This port speaks HTTPS only.");
    EXPECT_EQ(response.header("Connection"), "close");
    EXPECT_FALSE(response.has(kHsts));
    EXPECT_EQ(client.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
  }
  EXPECT_EQ(server.counters().plain_http_refused, 5u);
  EXPECT_EQ(server.counters().handshakes_failed, 0u);
  EXPECT_EQ(server.service().requests, 0);
}

TEST(TlsServer, AHandshakeHasADeadline) {
  TlsServerThread server({.handshake_timeout_ns = 200 * kNanosPerMilli});
  RawClient silent(server.port());
  RawClient half(server.port());
  TlsClient tls;
  const std::string hello = tls.take_output();
  ASSERT_TRUE(half.send(hello.substr(0, hello.size() / 2)));
  TlsConnection whole = tls_connect(server.port());
  EXPECT_EQ(silent.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
  EXPECT_EQ(half.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
  ASSERT_TRUE(server.eventually([&] { return server.server().tls_counters().handshakes_timed_out == 2; }));
  EXPECT_EQ(whole.http.exchange(format_request("GET", "/now")).status, 200) << "its handshake is over";
}

TEST(TlsServer, ALostHandshakeIsAFailureAndASilentConnectionIsNone) {
  TlsServerThread server;
  {
    RawClient silent(server.port());
    silent.half_close();
    EXPECT_EQ(silent.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
    RawClient half(server.port());
    TlsClient tls;
    ASSERT_TRUE(half.send(tls.take_output().substr(0, 100)));
    half.half_close();
    EXPECT_EQ(half.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
  }
  EXPECT_EQ(server.counters().handshakes_failed, 1u);
  EXPECT_TRUE(server.eventually([&] { return server.server().connection_count() == 0; }));
}

// Counts handshakes by turns of the loop, on the loop.
struct TurnWatch final : Flusher {
  explicit TurnWatch(ServerThread& thread) : server(thread) {}
  void flush() override {
    const uint64_t now = server.server().tls_counters().handshakes;
    most = std::max(most, now - before);
    before = now;
    if (watching) server.loop().flush_soon(*this, FlushStage::kDatabase);
  }
  ServerThread& server;
  uint64_t before = 0;
  uint64_t most = 0;
  bool watching = true;
};

TEST(TlsServer, AStormOfHandshakesTakesAFewStepsATurn) {
  TlsServerThread server;
  constexpr size_t kClients = 40;
  std::deque<RawClient> sockets;
  std::vector<std::shared_ptr<TlsClient>> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.push_back(std::make_shared<TlsClient>());
    sockets.emplace_back(server.port());
    ASSERT_TRUE(sockets.back().send(clients.back()->take_output()));
  }
  for (size_t i = 0; i < kClients; ++i) {
    std::string none;
    while (!clients[i]->is_ready()) clients[i]->receive(sockets[i].receive_raw(Milliseconds(10'000)), none);
  }
  // All their last messages reach the server between two of its turns.
  TurnWatch watch(server);
  server.do_on_loop([&] {
    watch.flush();
    for (size_t i = 0; i < kClients; ++i) EXPECT_TRUE(sockets[i].send(clients[i]->take_output()));
  });
  ASSERT_TRUE(server.eventually([&] { return server.server().tls_counters().handshakes == kClients; }));
  server.do_on_loop([&] { watch.watching = false; });
  server.do_on_loop([&] { EXPECT_FALSE(watch.is_linked()); });
  EXPECT_EQ(watch.most, kHandshakesPerTurn);
  for (size_t i = 0; i < kClients; ++i) {
    ASSERT_TRUE(sockets[i].wrap(clients[i]));
    EXPECT_EQ(sockets[i].exchange(format_request("GET", "/now")).status, 200);
  }
}

TEST(TlsServer, ANewContextIsForNewConnections) {
  TlsServerThread server;
  TlsConnection old_one = tls_connect(server.port());
  RawClient undecided(server.port());
  EXPECT_EQ(old_one.http.exchange(format_request("GET", "/now")).status, 200);
  const Certificate next = make_certificate();
  server.do_on_loop([&] { server.server().set_tls(context_of(next)); });
  EXPECT_EQ(old_one.http.exchange(format_request("GET", "/now")).status, 200);
  EXPECT_EQ(old_one.tls->peer_certificate(), certificate().certificate);
  TlsConnection new_one = tls_connect(server.port());
  EXPECT_EQ(new_one.tls->peer_certificate(), next.certificate);
  const auto late = std::make_shared<TlsClient>();
  ASSERT_TRUE(undecided.wrap(late));
  EXPECT_EQ(late->peer_certificate(), next.certificate) << "its handshake began after the change";
}

TEST(TlsServer, DrainSaysGoodbye) {
  TlsServerThread server;
  TlsConnection idle = tls_connect(server.port());
  TlsConnection busy = tls_connect(server.port());
  RawClient silent(server.port());
  EXPECT_EQ(idle.http.exchange(format_request("GET", "/now")).status, 200);
  ASSERT_TRUE(busy.http.send(format_request("GET", "/hold")));
  ASSERT_TRUE(server.eventually([&] { return server.service().held() == 1; }));
  ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() == 3; }));
  server.begin_drain();
  const HttpResponse last = busy.http.read_response();
  EXPECT_EQ(last.body, "held");
  for (RawClient* client : {&idle.http, &busy.http, &silent})
    EXPECT_EQ(client->wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
  EXPECT_TRUE(idle.tls->has_close_notify());
  EXPECT_TRUE(busy.tls->has_close_notify());
}

TEST(TlsServer, ConnectionsAboveTheLimitAreToldSoOverTls) {
  TlsServerThread server({.max_connections = 1});
  TlsConnection first = tls_connect(server.port());
  EXPECT_EQ(first.http.exchange(format_request("GET", "/now")).status, 200);
  TlsConnection second = tls_connect(server.port());
  EXPECT_EQ(second.http.exchange(format_request("GET", "/now")).status, 503);
}

// Four buffers for everybody: records arrive in the smallest of pieces, and receives find none free.
TEST(TlsServer, ScarceReceiveBuffersStarveNobody) {
  TlsServerThread server({}, {.buffer_count = 4, .buffer_size = 256});
  std::deque<TlsConnection> clients;
  for (int i = 0; i < 30; ++i) clients.push_back(tls_connect(server.port()));
  for (TlsConnection& client : clients)
    ASSERT_TRUE(client.http.send(format_request("POST", "/now", {}, std::string(20'000, 's'))));
  for (TlsConnection& client : clients) EXPECT_EQ(client.http.read_response().body.size(), 20'005u);
}

}  // namespace
}  // namespace txn
