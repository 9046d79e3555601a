// The HTTP server on the real ring and real sockets, with a service made for the test: what connections do under
// pipelining, cuts, floods, starvation and drain. What the product answers is tested in tests/integration.
#include "net/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "net/listen.h"
#include "tests/net/server_thread.h"
#include "tests/support/raw_client.h"

namespace txn {
namespace {

using std::chrono::milliseconds;
using test::format_request;
using test::HttpResponse;
using test::RawClient;
using test::ServerThread;

TEST(HttpServer, AnswersAndKeepsTheConnection) {
  ServerThread server;
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    const HttpResponse response = client.exchange(format_request("POST", "/now", {}, "body"));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "/now body");
  }
}

// What is left of a request where it came in is soon another's: the connection's buffers go round.
TEST(HttpServer, AHeldRequestIsItsOwn) {
  ServerThread server({}, {.buffer_count = 2});
  std::vector<RawClient> clients;
  std::vector<std::string> bodies;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back(server.port());
    bodies.emplace_back(100, static_cast<char>('a' + i));
    const std::string path = "/keep/" + std::to_string(i) + "?n=" + std::to_string(i);
    ASSERT_TRUE(clients.back().send(format_request("POST", path, {{"X-Number", std::to_string(i)}}, bodies.back())));
    ASSERT_TRUE(server.eventually([&] { return server.service().held() == static_cast<size_t>(i) + 1; }));
  }
  RawClient other(server.port());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(other.exchange(format_request("POST", "/now", {}, std::string(1000, 'x'))).status, 200);
  }
  server.do_on_loop([&] { server.service().release_held(); });
  for (size_t i = 0; i < clients.size(); ++i) {
    const std::string answer = clients[i].read_response().body;
    const std::string number = std::to_string(i);
    EXPECT_TRUE(answer.starts_with("/keep/" + number + "?n=" + number)) << answer;
    EXPECT_NE(answer.find(" X-Number:" + number), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with(" " + bodies[i])) << answer;
  }
}

// Later requests finish first; answers keep the order of the requests.
TEST(HttpServer, PipelinedSafeRequestsRunTogetherAndAnswerInOrder) {
  ServerThread server;
  RawClient client(server.port());
  std::string requests;
  for (int i = 0; i < 50; ++i) requests += format_request("GET", "/later/" + std::to_string(i % 5 == 0 ? 60 : 1));
  ASSERT_TRUE(client.send(requests));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.read_response().body, i % 5 == 0 ? "/later/60" : "/later/1") << i;

  // All under way at once: none has been answered, and each would otherwise wait for the one before it.
  requests.clear();
  for (int i = 0; i < 10; ++i) requests += format_request("GET", "/hold");
  ASSERT_TRUE(client.send(requests));
  ASSERT_TRUE(server.eventually([&] { return server.service().held() == 10; }));
  server.do_on_loop([&] { server.service().release_held(); });
  for (int i = 0; i < 10; ++i) EXPECT_EQ(client.read_response().body, "held");
}

TEST(HttpServer, AnUnsafeRequestWaitsForTheOnesBeforeIt) {
  ServerThread server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(format_request("GET", "/hold") + format_request("POST", "/now", {}, "x") +
                          format_request("GET", "/now")));
  ASSERT_TRUE(server.eventually([&] { return server.service().held() == 1; }));
  EXPECT_EQ(server.service().requests, 1);
  server.do_on_loop([&] { server.service().release_held(); });
  EXPECT_EQ(client.read_response().body, "held");
  EXPECT_EQ(client.read_response().body, "/now x");
  EXPECT_EQ(client.read_response().body, "/now ");
}

TEST(HttpServer, NothingIsBegunBehindARequestWithABulkyAnswer) {
  ServerThread server;
  RawClient client(server.port());
  const std::string bulky = format_request("GET", "/bulky");
  ASSERT_TRUE(client.send(format_request("GET", "/hold") + bulky + bulky + format_request("GET", "/now")));
  ASSERT_TRUE(server.eventually([&] { return server.service().held() == 2; }));
  EXPECT_EQ(server.service().requests, 2);
  server.do_on_loop([&] { server.service().release_held(); });
  ASSERT_TRUE(server.eventually([&] { return server.service().held() == 1; }));
  EXPECT_EQ(server.service().requests, 3);
  server.do_on_loop([&] { server.service().release_held(); });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.read_response().body, "held") << i;
  EXPECT_EQ(client.read_response().body, "/now ");
}

TEST(HttpServer, OneByteASegmentGivesTheSameAnswers) {
  ServerThread server;
  RawClient client(server.port());
  std::string requests;
  for (int i = 0; i < 5; ++i) requests += format_request("POST", "/now", {}, "byte by byte");
  ASSERT_TRUE(client.send_byte_by_byte(requests));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.read_response().body, "/now byte by byte");
}

TEST(HttpServer, AHalfClosedClientStillGetsItsAnswers) {
  ServerThread server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(format_request("GET", "/later/50") + format_request("GET", "/now")));
  client.half_close();
  EXPECT_EQ(client.read_response().body, "/later/50");
  EXPECT_EQ(client.read_response().body, "/now ");
  EXPECT_EQ(client.wait_for_ending(milliseconds(3000)), RawClient::Ending::kEndOfStream);
}

TEST(HttpServer, AClientThatLeavesEarlyLeavesNothingBehind) {
  ServerThread server;
  {
    RawClient client(server.port());
    ASSERT_TRUE(client.send(format_request("GET", "/hold")));
    ASSERT_TRUE(server.eventually([&] { return server.service().held() == 1; }));
    client.reset();
  }
  ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() == 0; }));
  EXPECT_EQ(server.ask<size_t>([&] { return server.server().exchange_count(); }), 1u);
  server.do_on_loop([&] { server.service().release_held(); });
  ASSERT_TRUE(server.eventually([&] { return server.server().exchange_count() == 0; }));
}

// The kernel reuses descriptor numbers at once; nobody may get what was meant for another.
TEST(HttpServer, ManyShortConnectionsGetNoForeignBytes) {
  ServerThread server;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 1000; ++i) {
        RawClient client(server.port());
        const std::string name = std::to_string(t) + "-" + std::to_string(i);
        ASSERT_TRUE(client.send(format_request("POST", "/now", {}, name)));
        if (i % 3 == 0) {
          client.reset();
          continue;
        }
        EXPECT_EQ(client.read_response().body, "/now " + name);
        if (i % 3 == 1) client.reset();
      }
    });
  for (auto& thread : threads) thread.join();
  ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() == 0; }));
}

// Four receive buffers for 200 connections that all talk: nobody starves.
TEST(HttpServer, StarvedReceivesGoOn) {
  ServerThread server({}, {.buffer_count = 4, .buffer_size = 512});
  std::vector<RawClient> clients;
  for (int i = 0; i < 200; ++i) clients.emplace_back(server.port());
  for (int round = 0; round < 5; ++round) {
    for (auto& client : clients) ASSERT_TRUE(client.send(format_request("POST", "/now", {}, std::string(1500, 'x'))));
    for (auto& client : clients) EXPECT_EQ(client.read_response().body.size(), 1505u);
  }
  EXPECT_GT(server.ask<uint64_t>([&] { return server.server().counters().starved.value(); }), 0u);
}

int64_t cpu_time_ns(pthread_t thread) {
  clockid_t clock = 0;
  timespec time{};
  if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return time.tv_sec * kNanosPerSecond + time.tv_nsec;
}

TEST(HttpServer, StarvationAndIdlenessDoNotSpin) {
  ServerThread server({}, {.buffer_count = 4, .buffer_size = 512});
  std::vector<RawClient> clients;
  for (int i = 0; i < 50; ++i) clients.emplace_back(server.port());
  for (auto& client : clients) ASSERT_TRUE(client.send(format_request("POST", "/now", {}, std::string(3000, 'x'))));
  for (auto& client : clients) EXPECT_EQ(client.read_response().status, 200);
  const int64_t before = cpu_time_ns(server.handle());
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LT(cpu_time_ns(server.handle()) - before, 50 * kNanosPerMilli);
}

// A reader that does not read is not answered into memory without end, and does not hold up others.
TEST(HttpServer, ASlowReaderIsPausedAndGetsEverythingInTheEnd) {
  ServerThread server;
  RawClient slow(server.port(), {.receive_buffer = 4096});
  constexpr int kRequests = 200;
  std::thread writer([&] {
    std::string requests;
    for (int i = 0; i < kRequests; ++i) requests += format_request("GET", "/big/65536");
    EXPECT_TRUE(slow.send(requests));
  });
  RawClient other(server.port());
  EXPECT_EQ(other.exchange(format_request("GET", "/now")).status, 200);
  writer.join();
  std::this_thread::sleep_for(milliseconds(100));
  // The socket takes some megabytes at most; the rest has not even been asked for.
  EXPECT_LT(server.service().requests, kRequests);
  for (int i = 0; i < kRequests; ++i) ASSERT_EQ(slow.read_response().body.size(), 65536u) << i;
}

// Bytes that came while an answer was awaited, more than is taken ahead.
TEST(HttpServer, AFloodBehindASlowRequestIsTakenPieceByPiece) {
  ServerThread server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send(format_request("POST", "/hold", {}, "x")));
  constexpr int kRequests = 3000;
  std::thread writer([&] {
    std::string requests;
    for (int i = 0; i < kRequests; ++i) requests += format_request("POST", "/now", {}, std::string(500, 'y'));
    EXPECT_TRUE(client.send(requests));
  });
  ASSERT_TRUE(server.eventually([&] { return server.service().held() == 1; }));
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(server.service().requests, 1);
  server.do_on_loop([&] { server.service().release_held(); });
  EXPECT_EQ(client.read_response().body, "held");
  for (int i = 0; i < kRequests; ++i) ASSERT_EQ(client.read_response().body.size(), 505u) << i;
  writer.join();
}

TEST(HttpServer, SlowHeadsAndBodiesAreTimedOutAndIdleConnectionsClosed) {
  const HttpServerOptions options{.head_timeout_ns = 200 * kNanosPerMilli,
                                  .body_timeout_ns = 300 * kNanosPerMilli,
                                  .idle_timeout_ns = 600 * kNanosPerMilli};
  ServerThread server(options);
  RawClient head(server.port()), body(server.port()), idle(server.port()), drip(server.port());
  ASSERT_TRUE(head.send("GET /now HTTP/1.1\r\nHost: a\r\nX-"));
  ASSERT_TRUE(body.send("POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123"));
  std::thread dripping([&] {
    // A byte now and then does not buy time.
    for (int i = 0; i < 20 && drip.send(i == 0 ? "GET / HTTP/1.1\r\nX: " : "y"); ++i)
      std::this_thread::sleep_for(milliseconds(50));
  });
  EXPECT_EQ(head.read_response().status, 408);
  EXPECT_EQ(head.wait_for_ending(milliseconds(3000)), RawClient::Ending::kEndOfStream);
  EXPECT_EQ(body.read_response().status, 408);
  EXPECT_EQ(drip.read_response().status, 408);
  dripping.join();
  EXPECT_EQ(idle.wait_for_ending(milliseconds(5000)), RawClient::Ending::kEndOfStream);
}

// An error that closes is readable although more bytes were on their way: no reset over unread data.
TEST(HttpServer, AClosingErrorReachesAClientThatKeepsSending) {
  ServerThread server;
  RawClient client(server.port());
  ASSERT_TRUE(client.send("POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + std::string(70'000, 'z')));
  EXPECT_EQ(client.read_response().status, 413);
  EXPECT_EQ(client.wait_for_ending(milliseconds(5000)), RawClient::Ending::kEndOfStream);
}

TEST(HttpServer, ConnectionsAboveTheLimitAreToldSo) {
  ServerThread server({.max_connections = 2});
  RawClient first(server.port()), second(server.port());
  EXPECT_EQ(first.exchange(format_request("GET", "/now")).status, 200);
  EXPECT_EQ(second.exchange(format_request("GET", "/now")).status, 200);
  RawClient third(server.port());
  const HttpResponse refused = third.exchange(format_request("GET", "/now"));
  EXPECT_EQ(refused.status, 503);
  first.close();
  ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() < 2; }));
  RawClient fourth(server.port());
  EXPECT_EQ(fourth.exchange(format_request("GET", "/now")).status, 200);
}

TEST(HttpServer, AcceptingRecoversWhenDescriptorsComeFree) {
  ServerThread server;
  RawClient before(server.port());
  EXPECT_EQ(before.exchange(format_request("GET", "/now")).status, 200);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  // A client whose own descriptor is there, while the process may open no further one for the server.
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  rlimit none = limit;
  none.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &none);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const int64_t cpu_before = cpu_time_ns(server.handle());
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LT(cpu_time_ns(server.handle()) - cpu_before, 100 * kNanosPerMilli);
  setrlimit(RLIMIT_NOFILE, &limit);
  RawClient waiting{test::UniqueFd(client)};
  EXPECT_EQ(waiting.exchange(format_request("GET", "/now")).status, 200);
}

TEST(HttpServer, DrainFinishesWhatIsUnderWayAndClosesTheRest) {
  ServerThread server;
  RawClient busy(server.port()), idle(server.port()), pipelined(server.port());
  EXPECT_EQ(idle.exchange(format_request("GET", "/now")).status, 200);
  ASSERT_TRUE(busy.send(format_request("POST", "/later/200", {}, "x")));
  ASSERT_TRUE(pipelined.send(format_request("GET", "/later/100") + format_request("GET", "/later/10")));
  ASSERT_TRUE(server.eventually([&] { return server.service().requests == 4; }));
  server.begin_drain();
  EXPECT_EQ(idle.wait_for_ending(milliseconds(3000)), RawClient::Ending::kEndOfStream);
  const HttpResponse answer = busy.read_response();
  EXPECT_EQ(answer.body, "/later/200");
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_EQ(pipelined.read_response().body, "/later/100");
  EXPECT_EQ(pipelined.read_response().body, "/later/10");
  EXPECT_EQ(busy.wait_for_ending(milliseconds(3000)), RawClient::Ending::kEndOfStream);
  RawClient late(server.port());
  EXPECT_FALSE(late.connected() && late.exchange(format_request("GET", "/now")).status == 200);
}

// A client that comes from another of loopback's addresses; not connected when it was refused at once.
int connect_from(const char* source, uint16_t port) {
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  EXPECT_EQ(inet_pton(AF_INET, source, &address.sin_addr), 1);
  EXPECT_EQ(bind(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return client;
}

TEST(HttpServer, ConnectionsOfOneAddressAreLimitedOverAllWorkers) {
  ConnectionQuota quota(10, {});
  ServerThread first({.quota = &quota}), second({.quota = &quota});
  std::vector<RawClient> clients;
  for (int i = 0; i < 40; ++i) clients.emplace_back(i % 2 == 0 ? first.port() : second.port());
  int served = 0;
  for (RawClient& client : clients) {
    const HttpResponse response = client.exchange(format_request("GET", "/now"));
    served += response.status == 200 ? 1 : 0;
    EXPECT_TRUE(response.status == 200 || response.status == 503) << response;
  }
  EXPECT_EQ(served, 10);
  RawClient elsewhere{test::UniqueFd(connect_from("127.0.0.2", first.port()))};
  EXPECT_EQ(elsewhere.exchange(format_request("GET", "/now")).status, 200);
  clients.clear();
  const IpAddress address = *IpAddress::parse("127.0.0.1");
  ASSERT_TRUE(first.eventually([&] { return quota.count(address) == 0; }));
  RawClient again(second.port());
  EXPECT_EQ(again.exchange(format_request("GET", "/now")).status, 200);
}

// Those above the limit take no place from others: there are few of them, and not for long.
TEST(HttpServer, RefusedConnectionsDoNotPileUp) {
  ServerThread server(
      {.max_connections = 1, .head_timeout_ns = 200 * kNanosPerMilli, .linger_timeout_ns = 200 * kNanosPerMilli});
  RawClient served(server.port());
  EXPECT_EQ(served.exchange(format_request("GET", "/now")).status, 200);
  std::vector<RawClient> silent;
  for (size_t i = 0; i < 3 * HttpServerOptions().max_refusals; ++i) silent.emplace_back(server.port());
  ASSERT_TRUE(server.eventually(
      [&] { return server.server().counters().accepted == 1 + 3 * HttpServerOptions().max_refusals; }));
  EXPECT_LE(server.ask<size_t>([&] { return server.server().connection_count(); }),
            1 + HttpServerOptions().max_refusals);
  ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() == 1; })) << "though nobody has closed";
  EXPECT_EQ(served.exchange(format_request("GET", "/now")).status, 200);
  served.close();
  ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() == 0; }));
  RawClient next(server.port());
  EXPECT_EQ(next.exchange(format_request("GET", "/now")).status, 200);
}

TEST(HttpServer, AClientThatNeverReadsIsDropped) {
  ServerThread server({.send_timeout_ns = 300 * kNanosPerMilli});
  RawClient client(server.port(), {.receive_buffer = 4096});
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += format_request("GET", "/big/1000000");
  ASSERT_TRUE(client.send(requests));
  ASSERT_TRUE(server.eventually([&] { return server.service().requests > 0; }));
  ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() == 0; }));
  EXPECT_EQ(server.ask<uint64_t>([&] { return server.server().counters().timeouts.value(); }), 1u);
  // What could not be sent was not prepared either.
  EXPECT_LT(server.service().requests, 50);
}

// A byte now and then does not buy time here either.
TEST(HttpServer, AClientThatReadsTooSlowlyIsDropped) {
  ServerThread server({.answer_timeout_ns = 500 * kNanosPerMilli});
  const int client = connect_from("127.0.0.1", server.port());
  const int small = 4096;
  setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  std::string requests;
  for (int i = 0; i < 30; ++i) requests += format_request("GET", "/big/1000000");
  ASSERT_EQ(send(client, requests.data(), requests.size(), MSG_NOSIGNAL), static_cast<ssize_t>(requests.size()));
  ASSERT_TRUE(server.eventually([&] { return server.service().requests > 0; }));
  char byte = 0;
  ASSERT_TRUE(server.eventually([&] {
    recv(client, &byte, 1, MSG_DONTWAIT);
    return server.server().connection_count() == 0;
  }));
  close(client);
}

// No "100 Continue" for a body that nobody would look at. Whether it comes all the same is not known, so it is never
// taken for a request.
TEST(HttpServer, ASettledRequestIsAnsweredWithoutItsBody) {
  ServerThread server;
  const test::Headers expecting = {{"Expect", "100-continue"}, {"Content-Length", "5"}};
  const std::string inner = format_request("POST", "/now", {}, "x");
  for (const std::string& then : {std::string(), std::string("hello"), inner + inner}) {
    RawClient client(server.port());
    const HttpResponse response = client.exchange(format_request("POST", "/settled", expecting));
    EXPECT_EQ(response.status, 200) << response;
    EXPECT_EQ(response.body, "/settled ");
    EXPECT_EQ(response.header("Connection"), "close");
    if (!then.empty()) client.send(then);
    EXPECT_EQ(client.wait_for_ending(milliseconds(3000)), RawClient::Ending::kEndOfStream);
  }
  EXPECT_EQ(server.service().requests, 3);
  // A client that does not wait has its body read.
  RawClient client(server.port());
  EXPECT_EQ(client.exchange(format_request("POST", "/settled", {{"Expect", "100-continue"}}, "hello")).body,
            "/settled hello");
}

// An interim answer belongs to the oldest request that has none yet (RFC 9110 section 15.2), so it waits.
TEST(HttpServer, ContinueComesBehindTheAnswersBeforeIt) {
  ServerThread server;
  RawClient client(server.port());
  client.send(format_request("GET", "/later/200") +
              format_request("POST", "/now", {{"Expect", "100-continue"}, {"Content-Length", "5"}}));
  EXPECT_EQ(client.read_response().body, "/later/200");
  EXPECT_EQ(client.read_response().status, 100);
  EXPECT_EQ(client.exchange("hello").body, "/now hello");
}

TEST(HttpServer, ADrainDoesNotWaitForIdleClientsToClose) {
  std::vector<RawClient> idle;  // they outlive the server, open
  ServerThread server({.linger_timeout_ns = 600 * kNanosPerSecond});
  for (int i = 0; i < 10; ++i) {
    idle.emplace_back(server.port());
    EXPECT_EQ(idle.back().exchange(format_request("GET", "/now")).status, 200);
  }
  server.begin_drain();
  for (RawClient& client : idle) EXPECT_EQ(client.wait_for_ending(milliseconds(3000)), RawClient::Ending::kEndOfStream);
  // No client closes, and yet the server thread comes to its end; or this test to its time-out.
}

// A client cannot know that it is too late before it has seen our end: what it had sent by then is answered.
TEST(HttpServer, ARequestOnItsWayWhenADrainBeginsIsAnswered) {
  ServerThread server;
  RawClient kept(server.port()), fresh(server.port()), slow(server.port());
  EXPECT_EQ(kept.exchange(format_request("GET", "/now")).status, 200);
  ASSERT_TRUE(server.eventually([&] { return server.server().connection_count() == 3; }));
  // The loop is at work on this, and so has not seen the bytes when the drain begins.
  server.do_on_loop([&] {
    ASSERT_TRUE(kept.send(format_request("POST", "/now", {}, "kept")));
    ASSERT_TRUE(fresh.send(format_request("POST", "/now", {}, "fresh")));
    server.server().begin_drain();
  });
  // Connected before, and slower than the others with its first request.
  std::this_thread::sleep_for(milliseconds(50));
  ASSERT_TRUE(slow.send(format_request("POST", "/now", {}, "slow")));
  for (auto& [client, body] : {std::pair{&kept, "/now kept"}, {&fresh, "/now fresh"}, {&slow, "/now slow"}}) {
    const HttpResponse answer = client->read_response();
    EXPECT_EQ(answer.body, body);
    EXPECT_EQ(answer.header("Connection"), "close");
    EXPECT_EQ(client->wait_for_ending(milliseconds(3000)), RawClient::Ending::kEndOfStream);
  }
}

TEST(HttpServer, ARequestOnItsWayWhenTheIdleTimeEndsIsAnswered) {
  ServerThread server({.idle_timeout_ns = 300 * kNanosPerMilli});
  RawClient client(server.port());
  EXPECT_EQ(client.exchange(format_request("GET", "/now")).status, 200);
  server.do_on_loop([&] {
    std::this_thread::sleep_for(milliseconds(500));
    ASSERT_TRUE(client.send(format_request("POST", "/now", {}, "late")));
  });
  EXPECT_EQ(client.read_response().body, "/now late");
}

// Balancers without health checks connect until nobody listens: to the last of them that got through.
TEST(HttpServer, WhoeverGotAConnectionIsAnsweredWhileTheListenerCloses) {
  std::atomic<int> answered = 0;
  std::atomic<int> cut_off = 0;
  for (int round = 0; round < 5; ++round) {
    ServerThread server;
    std::vector<std::thread> clients;
    for (int i = 0; i < 6; ++i) {
      clients.emplace_back([&] {
        while (true) {
          RawClient client(server.port());
          if (!client.connected()) return;  // nobody listens any more
          const bool sent = client.send(format_request("POST", "/now", {}, "x"));
          ++(sent && client.read_response().status == 200 ? answered : cut_off);
        }
      });
    }
    ASSERT_TRUE(server.eventually([&] { return server.service().requests > 200; }));
    server.do_on_loop([&] { server.server().announce_drain(); });
    server.begin_drain();
    for (std::thread& client : clients) client.join();
  }
  EXPECT_GT(answered, 1000);
  EXPECT_EQ(cut_off, 0);
}

}  // namespace
}  // namespace txn
