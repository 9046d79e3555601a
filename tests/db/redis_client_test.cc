// The connection to Redis: against a real server, and for what no real server says against one that says it.
#include "db/redis_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <thread>

#include "tests/support/private_redis.h"

namespace txn {
namespace {

using test::Milliseconds;
using test::PrivateRedis;
using test::UniqueFd;

constexpr const char* kScript =
    "redis.call('SET', KEYS[1], ARGV[1]) return {tonumber(ARGV[1]), redis.call('INCR', 'n'), 7}";

RedisOptions options_for(const std::string& host, uint16_t port) {
  return {.address = {.host = host, .port = port}, .script = kScript, .trial = {"trial", "0"}};
}
RedisOptions options_for(const PrivateRedis& redis) { return options_for(redis.host(), redis.port()); }

class RedisClientTest : public testing::Test {
 protected:
  // Runs `body` on a loop, beside a client that has tried to connect.
  void with_client(const RedisOptions& options, const std::function<Task<void>(Loop&, RedisClient&)>& body) {
    RedisConnector connector(options);
    Loop loop(std::move(*Ring::create({})), clock_);
    RedisClient client(loop, connector, health_);
    Scope scope;
    client.start(scope);
    Scope main;
    main.spawn(run(loop, client, scope, body));
    loop.run();
    const RedisCounters& counters = client.counters();
    counters_ = {.runs = counters.runs,
                 .unavailable = counters.unavailable,
                 .timeouts = counters.timeouts,
                 .reloads = counters.reloads,
                 .connects = counters.connects,
                 .losses = counters.losses};
  }

  static Task<void> run(Loop& loop, RedisClient& client, Scope& scope,
                        const std::function<Task<void>(Loop&, RedisClient&)>& body) {
    while (!client.has_tried()) {
      co_await loop.sleep_for(kNanosPerMilli);
    }
    co_await body(loop, client);
    client.stop();
    co_await scope.join();
    loop.stop();
  }

  static Task<RedisReply> ask(RedisClient& client, std::string key, std::string argument) {
    const std::array<std::string_view, 1> arguments{argument};
    co_return co_await client.run(key, arguments);
  }

  static Task<void> ask_into(RedisClient& client, std::string argument, RedisReply& reply) {
    reply = co_await ask(client, "key", std::move(argument));
  }

  static Task<void> until_connected(Loop& loop, RedisClient& client) {
    while (!client.is_connected()) {
      co_await loop.sleep_for(5 * kNanosPerMilli);
    }
  }

  SystemClock clock_;
  RedisHealth health_;
  struct {
    uint64_t runs = 0;
    uint64_t unavailable = 0;
    uint64_t timeouts = 0;
    uint64_t reloads = 0;
    uint64_t connects = 0;
    uint64_t losses = 0;
  } counters_;
};

TEST_F(RedisClientTest, RunsManyAtOnceInOrder) {
  PrivateRedis redis;
  with_client(options_for(redis), [](Loop& loop, RedisClient& client) -> Task<void> {
    (void)loop;
    std::vector<RedisReply> replies(1000);
    Scope scope;
    for (size_t i = 0; i < replies.size(); ++i) scope.spawn(ask_into(client, std::to_string(i), replies[i]));
    co_await scope.join();
    for (size_t i = 0; i < replies.size(); ++i) {
      EXPECT_TRUE(replies[i].has_value());
      if (!replies[i]) break;
      EXPECT_EQ((*replies[i])[0], static_cast<int64_t>(i));
      EXPECT_EQ((*replies[i])[1], static_cast<int64_t>(i + 2));  // the trial was the first
      EXPECT_EQ((*replies[i])[2], 7);
    }
  });
  EXPECT_EQ(counters_.runs, 1000u);
  EXPECT_EQ(counters_.unavailable, 0u);
  EXPECT_EQ(counters_.connects, 1u);
}

TEST_F(RedisClientTest, MoreRunsThanItMayHaveAreRefused) {
  PrivateRedis redis;
  with_client(options_for(redis), [](Loop& loop, RedisClient& client) -> Task<void> {
    (void)loop;
    std::vector<RedisReply> replies(RedisClient::kRunsMax + 10);
    Scope scope;
    for (RedisReply& reply : replies) scope.spawn(ask_into(client, "1", reply));
    for (size_t i = RedisClient::kRunsMax; i < replies.size(); ++i) EXPECT_FALSE(replies[i].has_value());
    co_await scope.join();
  });
  EXPECT_GE(counters_.unavailable, 10u);
}

TEST_F(RedisClientTest, AScriptThatTheServerHasLostIsBroughtAlong) {
  PrivateRedis redis;
  with_client(options_for(redis), [&](Loop& loop, RedisClient& client) -> Task<void> {
    (void)loop;
    EXPECT_EQ(redis.command({"SCRIPT", "FLUSH"}), "OK");
    std::vector<RedisReply> replies(10);
    Scope scope;
    for (RedisReply& reply : replies) scope.spawn(ask_into(client, "1", reply));
    co_await scope.join();
    for (const RedisReply& reply : replies) EXPECT_TRUE(reply.has_value());
    const RedisReply after = co_await ask(client, "key", "2");
    EXPECT_TRUE(after.has_value());
  });
  EXPECT_EQ(counters_.reloads, 10u);
  EXPECT_EQ(counters_.losses, 1u);  // that of stop()
}

TEST_F(RedisClientTest, AServerThatStopsAnsweringIsGivenUpInTime) {
  PrivateRedis redis;
  with_client(options_for(redis), [&](Loop& loop, RedisClient& client) -> Task<void> {
    redis.send_signal(SIGSTOP);
    std::vector<RedisReply> replies(5);
    Scope scope;
    for (RedisReply& reply : replies) scope.spawn(ask_into(client, "1", reply));
    co_await scope.join();
    for (const RedisReply& reply : replies) EXPECT_FALSE(reply.has_value());
    const RedisReply at_once = co_await ask(client, "key", "1");
    EXPECT_FALSE(at_once.has_value());
    redis.send_signal(SIGCONT);
    co_await until_connected(loop, client);
    const RedisReply after = co_await ask(client, "key", "1");
    EXPECT_TRUE(after.has_value());
  });
  EXPECT_EQ(counters_.timeouts, 1u);
  EXPECT_EQ(counters_.unavailable, 6u);
}

TEST_F(RedisClientTest, AServerThatDiesAndComesBackIsFoundAgain) {
  PrivateRedis redis;
  with_client(options_for(redis), [&](Loop& loop, RedisClient& client) -> Task<void> {
    for (int round = 0; round < 3; ++round) {
      const RedisReply before = co_await ask(client, "key", "1");
      EXPECT_TRUE(before.has_value());
      redis.kill9();
      const RedisReply during = co_await ask(client, "key", "1");
      EXPECT_FALSE(during.has_value());
      redis.start();
      co_await until_connected(loop, client);
    }
  });
  EXPECT_EQ(counters_.connects, 4u);
}

TEST_F(RedisClientTest, ErrorsOfTheServerEndTheConnection) {
  PrivateRedis redis;
  with_client(options_for(redis), [&](Loop& loop, RedisClient& client) -> Task<void> {
    EXPECT_EQ(redis.command({"CONFIG", "SET", "maxmemory", "1"}), "OK");
    const RedisReply full = co_await ask(client, "key", "1");
    EXPECT_FALSE(full.has_value());
    EXPECT_EQ(redis.command({"CONFIG", "SET", "maxmemory", "0"}), "OK");
    co_await until_connected(loop, client);
    EXPECT_EQ(redis.command({"REPLICAOF", "127.0.0.1", "1"}), "OK");
    const RedisReply read_only = co_await ask(client, "key", "1");
    EXPECT_FALSE(read_only.has_value());
    EXPECT_EQ(redis.command({"REPLICAOF", "NO", "ONE"}), "OK");
    co_await until_connected(loop, client);
    const RedisReply well = co_await ask(client, "key", "1");
    EXPECT_TRUE(well.has_value());
  });
}

TEST(OpenRedis, SaysWhatIsWrongAndNoSecret) {
  PrivateRedis redis({"--requirepass", "correct"});
  const auto error_of = [](const RedisOptions& options) {
    const auto opened = open_redis(options);
    EXPECT_FALSE(opened.has_value());
    return opened ? std::string() : opened.error().message;
  };
  RedisOptions options = options_for(redis);
  EXPECT_TRUE(error_of(options).starts_with("SCRIPT LOAD: NOAUTH")) << error_of(options);
  options.address.password = "hunter2";
  EXPECT_TRUE(error_of(options).starts_with("AUTH: WRONGPASS")) << error_of(options);
  EXPECT_EQ(error_of(options).find("hunter2"), std::string::npos);
  options.address.password = "correct";
  options.address.database = 99;
  EXPECT_TRUE(error_of(options).starts_with("SELECT: ERR")) << error_of(options);
  options.address.database = 0;
  options.script = "this is no Lua";
  EXPECT_TRUE(error_of(options).starts_with("SCRIPT LOAD: ERR")) << error_of(options);
  options.script = "return redis.error_reply('ERR not today')";
  EXPECT_TRUE(error_of(options).starts_with("EVALSHA: ERR not today")) << error_of(options);
  redis.kill9();
  EXPECT_TRUE(error_of(options).starts_with("connecting: ")) << error_of(options);

  redis.start();
  options = options_for(redis);
  options.address.user = "default";
  options.address.password = "correct";
  options.address.database = 3;
  const auto opened = open_redis(options);
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  EXPECT_EQ(opened->script_sha.size(), 40u);
  const UniqueFd socket(opened->socket);
}

// Says to each connection what a server would until the trial has been run, and from then on, as soon as it is asked
// anything, `says` in pieces of `piece` bytes.
class SayingServer {
 public:
  SayingServer(std::string says, size_t piece) : says_(std::move(says)), piece_(piece) {
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    EXPECT_EQ(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~SayingServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  uint16_t port() const { return port_; }

 private:
  void serve() {
    while (true) {
      const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      const std::string sha(40, 'a');
      if (!answer(client, "$40\r\n" + sha + "\r\n", 1000) || !answer(client, "*3\r\n:0\r\n:0\r\n:0\r\n", 1000))
        continue;
      if (!answer(client, says_, piece_)) continue;
      char bytes[256];
      while (::recv(client.get(), bytes, sizeof bytes, 0) > 0) {
      }
    }
  }

  static bool answer(const UniqueFd& client, const std::string& text, size_t piece) {
    char bytes[4096];
    if (::recv(client.get(), bytes, sizeof bytes, 0) <= 0) return false;
    for (size_t sent = 0; sent < text.size(); sent += piece) {
      const size_t size = std::min(piece, text.size() - sent);
      if (::send(client.get(), text.data() + sent, size, MSG_NOSIGNAL) < 0) return false;
      if (sent + size < text.size()) std::this_thread::sleep_for(Milliseconds(1));
    }
    return true;
  }

  const std::string says_;
  const size_t piece_;
  UniqueFd listener_;
  uint16_t port_ = 0;
  std::thread thread_;
};

TEST_F(RedisClientTest, RepliesMayComeInPieces) {
  for (const size_t piece : {1, 2, 3, 7}) {
    SayingServer server("*3\r\n:1\r\n:49\r\n:-3600000\r\n", piece);
    with_client(options_for("127.0.0.1", server.port()), [](Loop& loop, RedisClient& client) -> Task<void> {
      (void)loop;
      const RedisReply reply = co_await ask(client, "key", "1");
      EXPECT_TRUE(reply.has_value());
      const std::array<int64_t, 3> expected{1, 49, -3600000};
      EXPECT_EQ(reply.value_or(std::array<int64_t, 3>{}), expected);
    });
  }
}

TEST_F(RedisClientTest, WhatIsNoReplyIsNotBelieved) {
  for (const std::string& garbage : {
           std::string("HTTP/1.1 400 Bad Request\r\n\r\n"),
           std::string("*3\r\n:1\r\n:2\r\n$1\r\nx\r\n"),
           std::string("*2\r\n:1\r\n:2\r\n"),
           std::string("*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n"),
           std::string("*-1\r\n"),
           std::string("$-1\r\n"),
           std::string(":1\r\n"),
           std::string("+OK\r\n"),
           std::string("*3\r\n:1\r\n:x\r\n:3\r\n"),
           std::string("*3\r\n:1\r\n$-1\r\n:3\r\n"),
           std::string("*3\r\n:1\r\n*1\r\n:2\r\n:3\r\n"),
           std::string("*2147483647\r\n:1\r\n"),
           std::string("*99999999999999999999\r\n"),
           std::string("-ERR no\r\n"),
           std::string("-NOSCRIPT\r\n-NOSCRIPT\r\n"),
           std::string("*3\r\n:1\r\n:2\r\n:3\r\n*3\r\n:1\r\n:2\r\n:3\r\n"),
           std::string(100'000, '$'),
           std::string(100'000, '\0'),
           std::string("$500000000\r\n") + std::string(50'000, 'x'),
       }) {
    SayingServer server(garbage, 65'536);
    with_client(options_for("127.0.0.1", server.port()), [](Loop& loop, RedisClient& client) -> Task<void> {
      (void)co_await ask(client, "key", "1");
      // Said twice it is unasked for; the connection ends either way.
      const uint64_t connects = client.counters().connects;
      while (client.is_connected() && client.counters().connects == connects) {
        co_await loop.sleep_for(kNanosPerMilli);
      }
    });
    EXPECT_GE(counters_.losses, 1u) << garbage.substr(0, 40);
  }
}

// Workers on threads of their own share the thread that connects and what the log is told.
TEST(RedisClients, OfManyWorkersShareAConnector) {
  PrivateRedis redis;
  RedisConnector connector(options_for(redis));
  RedisHealth health;
  std::vector<std::thread> workers;
  workers.reserve(4);
  for (int worker = 0; worker < 4; ++worker) {
    workers.emplace_back([&] {
      SystemClock clock;
      Loop loop(std::move(*Ring::create({})), clock);
      RedisClient client(loop, connector, health);
      Scope scope;
      client.start(scope);
      const auto run = [](Loop& on, RedisClient& of, Scope& background) -> Task<void> {
        while (!of.is_connected()) {
          co_await on.sleep_for(kNanosPerMilli);
        }
        const std::array<std::string_view, 1> arguments{"1"};
        for (int i = 0; i < 100; ++i) {
          const RedisReply reply = co_await of.run("key", arguments);
          EXPECT_TRUE(reply.has_value());
        }
        of.stop();
        co_await background.join();
        on.stop();
      };
      Scope main;
      main.spawn(run(loop, client, scope));
      loop.run();
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(redis.command({"GET", "n"}), "404");
}

}  // namespace
}  // namespace txn
