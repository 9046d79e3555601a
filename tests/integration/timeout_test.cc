// Contract section 2, the time-outs: headers within 5 s, a body within 10 s, 75 s of idleness between requests. In an
// executable of its own because it takes as long as the longest of them; all the waiting is done at the same time.

#include <gmock/gmock.h>

#include <future>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/metrics.h"

namespace txn::test {
namespace {

using Clock = std::chrono::steady_clock;
using Ending = RawClient::Ending;

constexpr Milliseconds kHeaderTimeout{5'000};
constexpr Milliseconds kBodyTimeout{10'000};
constexpr Milliseconds kIdleTimeout{75'000};
// Timer wheels round up and this machine may be busy; a client may lose no time to a time-out that comes early.
constexpr Milliseconds kEarly{250};
constexpr Milliseconds kLate{3'000};

Milliseconds elapsed(Clock::time_point since) { return std::chrono::duration_cast<Milliseconds>(Clock::now() - since); }

// Sends `begin`, then `drip` again and again every half a second until there is an answer: it must be 408, after
// `timeout` counted from `begin`, followed by the end of the connection.
void expect_408(uint16_t port, const std::string& name, const std::string& begin, const std::string& drip,
                Milliseconds timeout) {
  RawClient client(port);
  const auto since = Clock::now();
  client.send(begin);
  while (!drip.empty() && client.idle_and_open() && elapsed(since) < timeout + kLate) {
    client.send(drip);
    if (client.wait_for_ending(Milliseconds(500)) != Ending::kOpen) break;
  }
  const HttpResponse response = client.read_response(timeout + kLate - elapsed(since));
  const Milliseconds taken = elapsed(since);
  EXPECT_TRUE(is_problem(response, 408)) << name;
  EXPECT_GE(taken, timeout - kEarly) << name;
  EXPECT_LE(taken, timeout + kLate) << name;
  EXPECT_EQ(client.wait_for_ending(kLate), Ending::kEndOfStream) << name;
}

TEST(TimeoutContract, SlowClientsAreAnsweredInTimeAndOthersDoNotNotice) {
  Bank bank("timeouts");
  const int64_t account = bank.open_account();
  const uint16_t port = bank.service().port();
  const Headers money = {{"Authorization", "Bearer " + customer()}, {"Content-Type", "application/json"}};
  const std::string body = deposit_body(account, "1");
  Headers with_length = money;
  with_length.emplace_back("Content-Length", std::to_string(body.size() + 100));
  Headers expecting = with_length;
  expecting.emplace_back("Expect", "100-continue");
  Headers chunked = money;
  chunked.emplace_back("Transfer-Encoding", "chunked");

  std::vector<std::future<void>> waiting;
  const auto meanwhile = [&waiting](auto what) { waiting.push_back(std::async(std::launch::async, what)); };
  const auto slow_header = [&](const char* name, const std::string& begin, const std::string& drip = "") {
    meanwhile([=] { expect_408(port, name, begin, drip, kHeaderTimeout); });
  };
  slow_header("one byte", "G");
  slow_header("half a request line", "GET /livez HT");
  slow_header("half a header", "GET /livez HTTP/1.1\r\nHost: loc");
  slow_header("no empty line", "GET /livez HTTP/1.1\r\nHost: localhost\r\n");
  slow_header("a header byte by byte", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", "x");
  slow_header("header after header", "GET /livez HTTP/1.1\r\nHost: localhost\r\n", "X-Slow: 1\r\n");
  const auto slow_body = [&](const char* name, const std::string& begin, const std::string& drip = "") {
    meanwhile([=] { expect_408(port, name, begin, drip, kBodyTimeout); });
  };
  slow_body("no body", format_request("POST", kDeposits, with_length));
  slow_body("half a body", format_request("POST", kDeposits, with_length) + body);
  slow_body("a body byte by byte", format_request("POST", kDeposits, with_length) + body, " ");
  slow_body("no chunk", format_request("POST", kDeposits, chunked));
  slow_body("no last chunk", format_request("POST", kDeposits, chunked) + "1\r\n{\r\n");
  slow_body("chunk by chunk", format_request("POST", kDeposits, chunked), "1\r\n \r\n");

  meanwhile([=] {  // a client that waits for 100 Continue and then sends nothing
    RawClient client(port);
    const auto since = Clock::now();
    EXPECT_EQ(client.exchange(format_request("POST", kDeposits, expecting)).status, 100);
    EXPECT_TRUE(is_problem(client.read_response(kBodyTimeout + kLate), 408));
    EXPECT_GE(elapsed(since), kBodyTimeout - kEarly);
  });
  meanwhile([=] {  // the second request of a connection has 5 s as well, from its first byte on
    RawClient client(port);
    EXPECT_EQ(client.exchange(format_request("GET", "/livez")).status, 200);
    EXPECT_EQ(client.wait_for_ending(kHeaderTimeout + kLate), Ending::kOpen) << "idleness is not slowness";
    const auto since = Clock::now();
    EXPECT_TRUE(is_problem(client.exchange("GET /livez HTTP", kHeaderTimeout + kLate), 408));
    EXPECT_GE(elapsed(since), kHeaderTimeout - kEarly);
  });
  meanwhile([=] {  // slow, but within each time-out
    RawClient client(port);
    client.send("GET /livez HTTP/1.1\r\n");
    EXPECT_EQ(client.wait_for_ending(Milliseconds(3'500)), Ending::kOpen);
    EXPECT_EQ(client.exchange("Host: localhost\r\n\r\n").status, 200);
    const std::string post = format_request("POST", kDeposits, money, body);
    client.send(post.substr(0, post.size() - 5));
    EXPECT_EQ(client.wait_for_ending(Milliseconds(8'000)), Ending::kOpen);
    EXPECT_EQ(client.exchange(post.substr(post.size() - 5)).status, 200);
  });
  meanwhile([=] {  // idle between requests: closed after 75 s, without a word
    RawClient client(port);
    EXPECT_EQ(client.exchange(format_request("GET", "/livez")).status, 200);
    const auto since = Clock::now();
    EXPECT_EQ(client.wait_for_ending(kIdleTimeout + kLate), Ending::kEndOfStream);
    EXPECT_GE(elapsed(since), kIdleTimeout - kEarly);
  });

  // None of this may hold up a client that behaves.
  ApiClient client(port);
  for (std::future<void>& future : waiting) {
    while (future.wait_for(Milliseconds(200)) != std::future_status::ready) {
      const auto since = Clock::now();
      ASSERT_EQ(client.get("/livez").status, 200);
      EXPECT_LT(elapsed(since), Milliseconds(2'000));
    }
    future.get();
  }
  const MetricsText page = scrape(port);
  EXPECT_EQ(page["errors_total{error_type=\"REQUEST_TIMEOUT\"}"], 14);
  EXPECT_EQ(page["http_requests_total{method=\"POST\",endpoint=\"unmatched\",status=\"408\"}"], 7) << "slow bodies";
  EXPECT_EQ(page["http_connection_timeouts_total"], 14);
  EXPECT_EQ(bank.balance(account), "1001.00") << "only the deposit that was sent to its end";
}

}  // namespace
}  // namespace txn::test
