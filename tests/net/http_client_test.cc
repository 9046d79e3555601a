// The client on the real ring against a server that behaves well and badly.
#include "net/http_client.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/version.h"
#include "tests/support/scripted_server.h"

namespace txn {
namespace {

using Script = test::ScriptedServer::Script;
using test::ScriptedServer;

HttpUrl url_of(const ScriptedServer& server, const std::string& target = "/health") {
  return {.host = "127.0.0.1", .port = server.port(), .target = target};
}

class HttpClientTest : public testing::Test {
 protected:
  HttpClientTest() : loop_(make_ring(), clock_) {}
  static std::unique_ptr<Ring> make_ring() {
    auto ring = Ring::create({});
    EXPECT_TRUE(ring.has_value()) << ring.error().message;
    return std::move(*ring);
  }

  static Task<void> ask(HttpClient& client, std::optional<HttpClient::Outcome>& outcome) {
    outcome = co_await client.get();
  }

  // Runs the loop until the client has its outcome; `meanwhile` is called every turn.
  std::string get(HttpClient& client, const std::function<void()>& meanwhile = {}) {
    std::optional<HttpClient::Outcome> outcome;
    Scope scope;
    scope.spawn(ask(client, outcome));
    while (!outcome) {
      if (meanwhile) meanwhile();
      loop_.turn();
    }
    if (!*outcome) return std::string(to_string(outcome->error()));
    return std::to_string((*outcome)->status) + " " + (*outcome)->body;
  }
  std::string get(const HttpUrl& url, int64_t timeout_ns = 20 * kNanosPerSecond) {
    HttpClient client(loop_, url, {.timeout_ns = timeout_ns});
    return get(client);
  }

  SystemClock clock_;
  Loop loop_;
};

constexpr int64_t kShortNs = 100 * kNanosPerMilli;

TEST_F(HttpClientTest, GetsAnAnswer) {
  ScriptedServer server(Script::respond(200, R"({"status":"healthy"})"));
  EXPECT_EQ(get(url_of(server)), R"(200 {"status":"healthy"})");
  EXPECT_EQ(server.last_request(), "GET /health HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port()) +
                                       "\r\nUser-Agent: transactions-service/" + std::string(version()) +
                                       "\r\nAccept: */*\r\nConnection: close\r\n\r\n");
}

TEST_F(HttpClientTest, EveryStatusIsAnAnswerAndRedirectsAreNotFollowed) {
  for (const int status : {204, 302, 404, 500, 503}) {
    ScriptedServer server(Script::respond(status, status == 204 ? "" : "x"));
    EXPECT_EQ(get(url_of(server)).substr(0, 3), std::to_string(status));
    EXPECT_EQ(server.connections(), 1);
  }
}

TEST_F(HttpClientTest, AsksAgainAndAgain) {
  ScriptedServer server(Script::respond(200, "a"));
  HttpClient client(loop_, url_of(server));
  for (int i = 0; i < 20; ++i) ASSERT_EQ(get(client), "200 a");
  EXPECT_EQ(server.connections(), 20);
}

TEST_F(HttpClientTest, NobodyListens) {
  ScriptedServer server(Script::respond(200));
  server.stop();
  EXPECT_EQ(get(url_of(server)), "cannot connect");
}

TEST_F(HttpClientTest, ANameThatDoesNotExist) {
  // RFC 6761 section 6.4 keeps it so. Without name servers at all the answer is the same, after their time-out.
  EXPECT_EQ(get({.host = "accounts.invalid", .port = 80, .target = "/"}, 60 * kNanosPerSecond),
            "the host name is not known");
}

TEST_F(HttpClientTest, ANameWithSeveralAddressesOfWhichOneAnswers) {
  // localhost is ::1 and 127.0.0.1 in most places, in that order; the server is on the second only.
  ScriptedServer server(Script::respond(200, "found"));
  EXPECT_EQ(get({.host = "localhost", .port = server.port(), .target = "/"}), "200 found");
}

TEST_F(HttpClientTest, AnIpv6Address) {
  ScriptedServer server(Script::respond(200, "six"), AF_INET6);
  EXPECT_EQ(get({.host = "::1", .port = server.port(), .target = "/"}), "200 six");
  EXPECT_NE(server.last_request().find("Host: [::1]:"), std::string::npos);
}

TEST_F(HttpClientTest, SilenceEndsWithTheTimeout) {
  ScriptedServer server(Script::silence());
  EXPECT_EQ(get(url_of(server), kShortNs), "no answer in time");
}

TEST_F(HttpClientTest, AnAnswerThatDripsEndsWithTheTimeout) {
  Script drip = Script::respond(200, std::string(1000, 'd'));
  drip.drip_ms = 5;
  ScriptedServer server(drip);
  EXPECT_EQ(get(url_of(server), kShortNs), "no answer in time");
}

TEST_F(HttpClientTest, AnAnswerThatDripsButComesIsTaken) {
  Script drip = Script::respond(200, "slow");
  drip.drip_ms = 1;
  ScriptedServer server(drip);
  EXPECT_EQ(get(url_of(server)), "200 slow");
}

TEST_F(HttpClientTest, TheTimeoutHoldsForConnectingToo) {
  // A full backlog swallows connections: the kernel drops their SYN and the client tries again.
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = parse_socket_address("127.0.0.1", 0);
  ASSERT_EQ(::bind(listener, address->get(), address->length), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address->storage), &address->length), 0);
  std::vector<int> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    EXPECT_EQ(::connect(fillers.back(), address->get(), address->length), -1);  // under way
  }
  const uint16_t port = ntohs(reinterpret_cast<sockaddr_in*>(&address->storage)->sin_port);
  EXPECT_EQ(get({.host = "127.0.0.1", .port = port, .target = "/"}, kShortNs), "no answer in time");
  for (const int filler : fillers) ::close(filler);
  ::close(listener);
}

TEST_F(HttpClientTest, Garbage) {
  ScriptedServer server({.answer = "220 mail.example ESMTP\r\n"});
  EXPECT_EQ(get(url_of(server)), "the answer is not HTTP");
}

TEST_F(HttpClientTest, ClosedWithoutAnAnswer) {
  ScriptedServer server(Script{});
  EXPECT_EQ(get(url_of(server)), "the connection was closed without an answer");
  server.behave({.resets = true});
  EXPECT_EQ(get(url_of(server)), "the connection was closed without an answer");
}

TEST_F(HttpClientTest, ClosedInTheMiddle) {
  ScriptedServer server({.answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot that much"});
  EXPECT_EQ(get(url_of(server)), "the answer is not HTTP");
}

TEST_F(HttpClientTest, HugeAnswers) {
  ScriptedServer server(Script::respond(200, std::string(HttpResponseLimits{}.body_bytes, 'b')));
  EXPECT_EQ(get(url_of(server)).size(), 4 + HttpResponseLimits{}.body_bytes);
  server.behave(Script::respond(200, std::string(HttpResponseLimits{}.body_bytes + 1, 'b')));
  EXPECT_EQ(get(url_of(server)), "the answer is too large");
  server.behave({.answer = "HTTP/1.1 200 OK\r\nX: " + std::string(1 << 20, 'h')});
  EXPECT_EQ(get(url_of(server)), "the answer is too large");
}

TEST_F(HttpClientTest, CancelEndsIt) {
  ScriptedServer server(Script::silence());
  HttpClient client(loop_, url_of(server), {.timeout_ns = 60 * kNanosPerSecond});
  EXPECT_EQ(get(client,
                [&] {
                  if (server.connections() == 1) client.cancel();
                  loop_.keep_turning();
                }),
            "cancelled");
  EXPECT_EQ(get(client), "cancelled") << "for good";
}

TEST_F(HttpClientTest, CancelEndsAQuestionToTheNameServers) {
  HttpClient client(loop_, {.host = "accounts.invalid", .port = 80, .target = "/"},
                    {.timeout_ns = 60 * kNanosPerSecond});
  std::optional<HttpClient::Outcome> outcome;
  Scope scope;
  scope.spawn(ask(client, outcome));
  client.cancel();
  while (!outcome) loop_.turn();
  EXPECT_EQ(outcome->error(), HttpFailure::kCancelled);
  // And the client may go while the resolver's thread is still busy.
}

TEST_F(HttpClientTest, NothingIsLeftOpen) {
  const auto open_descriptors = [] {
    int count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
  };
  ScriptedServer server(Script::respond(200));
  get(url_of(server));
  const int before = open_descriptors();
  for (const Script& script :
       {Script::respond(200), Script{}, Script{.answer = "garbage\r\n\r\n"}, Script::silence()}) {
    server.behave(script);
    get(url_of(server), kShortNs);
  }
  server.stop();
  get(url_of(server));
  server.start();
  EXPECT_TRUE(test::wait_until([&] { return open_descriptors() <= before; }, test::Milliseconds(5'000)));
}

}  // namespace
}  // namespace txn
