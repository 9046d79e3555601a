// Hostile clients against the real service: thousands of bad inputs from raw sockets, none of which may be executed,
// hang it, crash it or be answered in a shape that is not ours; and clients that take without end. What the service
// must say to each kind of bad input is in http_contract_test.cc; here it is volume, and that nothing smuggled is ever
// executed.

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/sanitized.h"

namespace txn::test {
namespace {

using Ending = RawClient::Ending;

constexpr Milliseconds kAnswerTimeout{10'000};
constexpr int kThreads = 4;

// Memory of a process in KiB.
long resident_kib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
  }
  return 0;
}

class Hostile : public BankTest {
 protected:
  static void SetUpTestSuite() {
    BankTest::SetUpTestSuite();
    account_ = bank().open_account({.balance = "0.00"});
    victim_ = bank().open_account({.balance = "1000.00"});
    port();  // here, because the service ends with the thread that started it
  }
  static void TearDownTestSuite() {
    std::printf("hostile clients: %d bad inputs, %d broken\n", tried_.load(), broken_.load());
    BankTest::TearDownTestSuite();
  }

  static int64_t account() { return account_; }
  static int64_t victim() { return victim_; }

  static Headers money_headers() {
    return {{"Authorization", "Bearer " + customer()}, {"Content-Type", "application/json"}};
  }
  // What an attacker would like to have executed: takes the victim's money.
  static std::string smuggled() {
    return format_request("POST", kWithdrawals, money_headers(), deposit_body(victim(), "1.00"));
  }

  // A deposit as far as the fields that say where its body ends.
  static std::string deposit_start() {
    return "POST /api/v1/deposits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
           "Authorization: Bearer " +
           customer() + "\r\n";
  }

  // Sends `bytes`, ends our side, and reads all that comes. The answers, which have to be whole and in the service's
  // own shape, and the connection has to end in order.
  static std::vector<HttpResponse> converse(const std::string& bytes, const std::string& name) {
    RawClient client = connect();
    client.send(bytes);
    client.half_close();
    std::vector<HttpResponse> answers;
    while (true) {
      HttpResponse answer = client.read_response(kAnswerTimeout);
      if (answer.status == 100) continue;
      if (answer.status == 0) {
        if (answer.error != "closed") complain(name, "the connection ended with: " + answer.error);
        return answers;
      }
      if (answer.status >= 500 && answer.status != 501 && answer.status != 505)
        complain(name, "status " + std::to_string(answer.status));
      if (!answer.has("X-Request-ID") || answer.header("X-Content-Type-Options") != "nosniff")
        complain(name, "an answer without the common headers");
      if (answer.status >= 400 && answer.header("Content-Type") != "application/problem+json")
        complain(name, "an error that is no problem document");
      answers.push_back(std::move(answer));
    }
  }

  // The same with bad input, counted.
  static std::vector<HttpResponse> offer(const std::string& bytes, const std::string& name) {
    ++tried_;
    return converse(bytes, name);
  }

  static void complain(const std::string& name, const std::string& what) {
    ++broken_;
    const std::lock_guard lock(mutex_);
    ADD_FAILURE() << name << ": " << what;
  }

  // Calls visit(i) for 0 to count - 1, on a few threads.
  template <class Visit>
  static void for_all(size_t count, Visit visit) {
    std::atomic<size_t> next{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (size_t i = next++; i < count; i = next++) visit(i);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  static bool is_well() { return RawClient(port()).exchange(format_request("GET", "/readyz")).status == 200; }

 private:
  static inline int64_t account_ = 0;
  static inline int64_t victim_ = 0;
  static inline std::atomic<int> tried_{0};
  static inline std::atomic<int> broken_{0};
  static inline std::mutex mutex_;
};

// --- Request smuggling -----------------------------------------------------------------------------------------------

std::vector<std::string> transfer_encodings() {
  using namespace std::string_literals;
  std::vector<std::string> lines = {
      "Transfer-Encoding: chunked",
      "transfer-encoding: CHUNKED",
      "Transfer-Encoding : chunked",
      "Transfer-Encoding\t: chunked",
      " Transfer-Encoding: chunked",
      "\tTransfer-Encoding: chunked",
      "Transfer-Encoding:chunked",
      "Transfer-Encoding:\tchunked",
      "Transfer-Encoding:\n chunked",
      "Transfer-Encoding:\r\n chunked",
      "Transfer-Encoding:\r\n\tchunked",
      "Transfer-Encoding:\rchunked",
      "Transfer-Encoding: chunked\rX: y",
      "Transfer-Encoding: chunked\nX: y",
      "X: y\nTransfer-Encoding: chunked",
      "X: y\rTransfer-Encoding: chunked",
      "X: y\r\rTransfer-Encoding: chunked",
      "X: y\n\rTransfer-Encoding: chunked",
      "Transfer-Encoding: \"chunked\"",
      "Transfer-Encoding: 'chunked'",
      "Transfer-Encoding: chunked;q=1",
      "Transfer-Encoding: chunked ; a=b",
      "Transfer-Encoding: chunked,",
      "Transfer-Encoding: ,chunked",
      "Transfer-Encoding: , chunked ,",
      "Transfer-Encoding: chunked, chunked",
      "Transfer-Encoding: chunked, identity",
      "Transfer-Encoding: identity, chunked",
      "Transfer-Encoding: chunked, cow",
      "Transfer-Encoding: cow, chunked",
      "Transfer-Encoding: gzip, chunked",
      "Transfer-Encoding: gzip",
      "Transfer-Encoding: identity",
      "Transfer-Encoding: xchunked",
      "Transfer-Encoding: chunkedx",
      "Transfer-Encoding: chunke",
      "Transfer-Encoding: chunk",
      "Transfer-Encoding: x chunked",
      "Transfer-Encoding: chunked x",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
      "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding: chunked\r\ntransfer-encoding: cow",
      "Transfer_Encoding: chunked",
      "Transfer Encoding: chunked",
      "TransferEncoding: chunked",
      "X-Transfer-Encoding: chunked",
      "Transfer-Encoding-X: chunked",
      "Transfer-Encoding: \xef\xbb\xbf"
      "chunked",
      "Transfer-Encoding: ch\xc3\xbcnked",
      "Transfer-Encoding\xff: chunked",
      "\xffTransfer-Encoding: chunked",
      "Transfer-\xc4\xb0ncoding: chunked",
      "Transfer-Encoding\0: chunked"s,
      "Transfer-Encoding: chunked\0"s,
      "Transfer-Encoding: \0chunked"s,
      "Transfer-Encoding: chunked\x0bX"s,
      "TE: chunked",
      "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
      "Expect: 100-continue\r\nTransfer-Encoding: chunked",
      "Content-Encoding: chunked",
      "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nTransfer-Encoding: chunked",
  };
  // Every control character and some others around the colon and the value.
  for (int c : {0, 1, 7, 8, 9, 11, 12, 13, 27, 28, 31, 32, 0x7f, 0x80, 0x85, 0xa0, 0xff}) {
    const std::string octet(1, static_cast<char>(c));
    lines.push_back("Transfer-Encoding:" + octet + "chunked");
    lines.push_back("Transfer-Encoding: chunked" + octet);
    lines.push_back("Transfer-Encoding" + octet + ": chunked");
    lines.push_back(octet + "Transfer-Encoding: chunked");
    lines.push_back("Transfer-Encoding: chu" + octet + "nked");
  }
  return lines;
}

// `N` stands for the length that covers everything, `M` for one that is short.
std::vector<std::string> content_lengths() {
  using namespace std::string_literals;
  return {"Content-Length: N",
          "Content-Length: M",
          "Content-Length: 0",
          "Content-Length: +N",
          "Content-Length: -N",
          "Content-Length: N, N",
          "Content-Length: N,M",
          "Content-Length: M, N",
          "Content-Length: N;",
          "Content-Length: N M",
          "Content-Length: 0N",
          "Content-Length: 0xN",
          "Content-Length: Ne0",
          "Content-Length: N.0",
          "Content-Length: \"N\"",
          "Content-Length : N",
          "Content-Length\t: N",
          " Content-Length: N",
          "Content-Length:\r\n N",
          "Content-Length:\n N",
          "Content-Length:\rN",
          "Content-Length: N\rX: y",
          "X: y\nContent-Length: N",
          "X: y\rContent-Length: N",
          "Content-Length: N\0"s,
          "Content-Length: \0N"s,
          "Content-Length:\x0bN",
          "Content-Length: N\x0c",
          "Content-Length:",
          "Content-Length: ",
          "Content-Length: N\r\nContent-Length: N",
          "Content-Length: N\r\nContent-Length: M",
          "Content-Length: M\r\nContent-Length: N",
          "Content-Length: 0\r\nContent-Length: N",
          "Content-Length: 18446744073709551616",
          "Content-Length: 18446744073709551618",
          "Content-Length: 9223372036854775808",
          "Content-Length: 4294967296",
          "Content-Length: 4294967298",
          "Content_Length: N",
          "ContentLength: N",
          "X-Content-Length: N",
          "Content-Length: \xd9\xa1",  // a digit, but not of ours
          "Content-Length: 1 0",
          "Content-Length: 1_0",
          "Content-Length: 1\t0",
          ""};
}

std::string with_lengths(std::string line, size_t all, size_t less) {
  for (size_t at = 0; at < line.size(); ++at) {
    const bool is_word = at > 0 && std::isalpha(static_cast<unsigned char>(line[at - 1])) != 0;
    if (is_word || (line[at] != 'N' && line[at] != 'M')) continue;
    const std::string number = std::to_string(line[at] == 'N' ? all : less);
    line.replace(at, 1, number);
    at += number.size() - 1;
  }
  return line;
}

// What refuses everything would pass the tests below: the requests they are made of are executed when nothing is wrong
// with them, each framed in both ways, and the one that hides is when it stands in the open.
TEST_F(Hostile, TheSameRequestsInOrderAreExecuted) {
  const std::string body = deposit_body(account(), "0.01");
  char size[16];
  std::snprintf(size, sizeof size, "%zx", body.size());
  const std::string framed[] = {
      "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body,
      "Transfer-Encoding: chunked\r\n\r\n" + std::string(size) + "\r\n" + body + "\r\n0\r\n\r\n",
  };
  for (const std::string& rest : framed) {
    const int64_t account_before = to_minor(bank().balance(account()));
    const int64_t victim_before = to_minor(bank().balance(victim()));
    const auto answers = converse(deposit_start() + rest + smuggled(), rest);
    ASSERT_EQ(answers.size(), 2u) << rest;
    EXPECT_EQ(answers[0].status, 200) << answers[0];
    EXPECT_EQ(answers[1].status, 200) << answers[1];
    EXPECT_EQ(to_minor(bank().balance(account())), account_before + 1);
    EXPECT_EQ(to_minor(bank().balance(victim())), victim_before - 100);
  }
}

// Every obfuscation of one header with every one of the other, in both orders, over a body in which a withdrawal hides:
// behind an empty chunked body, and inside of a chunk. However it is read, it must be refused or be data.
TEST_F(Hostile, NothingSmuggledIsEverExecuted) {
  const std::vector<std::string> encodings = transfer_encodings();
  const std::vector<std::string> lengths = content_lengths();
  const std::string inner = smuggled();
  char size[16];
  std::snprintf(size, sizeof size, "%zx", inner.size());
  const std::string behind = "0\r\n\r\n" + inner;
  const std::string within = std::string(size) + "\r\n" + inner + "\r\n0\r\n\r\n";
  const std::string start = deposit_start();
  // All pairs would take a minute: each encoding with some lengths and each length with some encodings, in turn.
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t e = 0; e < encodings.size(); ++e) {
    for (size_t l : {size_t{0}, size_t{1}, e % lengths.size(), lengths.size() - 1}) pairs.emplace_back(e, l);
  }
  for (size_t l = 0; l < lengths.size(); ++l) {
    for (size_t e : {size_t{0}, size_t{1}, 3 + l % (encodings.size() - 3)}) pairs.emplace_back(e, l);
  }
  const std::string before = bank().balance(victim());
  for_all(pairs.size() * 4, [&](size_t i) {
    const auto [e, l] = pairs[i / 4];
    const bool is_within = i % 2 == 1;
    const std::string& body = is_within ? within : behind;
    // Short by so much that what follows the shorter body would be the withdrawal.
    const size_t less = is_within ? within.find("POST") : behind.find("POST");
    const std::string length = with_lengths(lengths[l], body.size(), less);
    std::string head = start;
    if (i % 4 < 2) {
      head += encodings[e] + "\r\n" + (length.empty() ? "" : length + "\r\n");
    } else {
      head += (length.empty() ? "" : length + "\r\n") + encodings[e] + "\r\n";
    }
    // Well-formed ones among these are read one way: then what hides is refused as JSON, or is the next request, as the
    // client has spelt it. Only an unobfuscated client may do that.
    const bool has_no_length = length.empty() || lengths[l] == "Content_Length: N" ||
                               lengths[l] == "ContentLength: N" || lengths[l] == "X-Content-Length: N";
    const bool may_execute = has_no_length || length == "Content-Length: " + std::to_string(less);
    if (may_execute) return;
    const std::string name = encodings[e] + " | " + length + (is_within ? " | within" : " | behind");
    for (const HttpResponse& answer : offer(head + "\r\n" + body, name)) {
      if (answer.status == 200) complain(name, "something was executed: " + answer.body);
    }
  });
  EXPECT_EQ(bank().balance(victim()), before);
  EXPECT_TRUE(is_well());
}

// Chunk sizes, extensions and ends that other readers take for something else.
TEST_F(Hostile, OddChunksAreRefused) {
  using namespace std::string_literals;
  const std::string head = deposit_start() + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string bodies[] = {
      "0x0\r\n\r\n",
      "+0\r\n\r\n",
      "-0\r\n\r\n",
      " 0\r\n\r\n",
      "0 \r\n\r\n",
      "0\t\r\n\r\n",
      "0\n\n",
      "0\r\n\n",
      "0\n\r\n",
      "0\r\r\n\r\n",
      "0\r\n\r",
      "\r\n0\r\n\r\n",
      "\n0\r\n\r\n",
      ";\r\n\r\n",
      "g\r\n\r\n",
      "0\0\r\n\r\n"s,
      "\0000\r\n\r\n"s,
      "0\x0b\r\n\r\n",
      "5\r\nhello0\r\n\r\n",
      "5\r\nhello\n0\r\n\r\n",
      "5\r\nhello\r0\r\n\r\n",
      "5\r\nhell\r\n0\r\n\r\n",
      "5\r\nhello!\r\n0\r\n\r\n",
      "5\nhello\r\n0\r\n\r\n",
      "5\rhello\r\n0\r\n\r\n",
      "5;a\nhello\r\n0\r\n\r\n",
      "5;a\rhello\r\n0\r\n\r\n",
      "5;a=\"\nhello\r\n0\r\n\r\n",
      "5;\0\r\nhello\r\n0\r\n\r\n"s,
      "5 ;a\r\nhello\r\n0\r\n\r\n",
      "ffffffffffffffff\r\n",
      "10000000000000000\r\n",
      "fffffffffffffffff0\r\n",
      "100000000000000005\r\nhello\r\n0\r\n\r\n",
      "80000000\r\n",
      "10001\r\n",
      "0\r\nContent-Length: 5\r\nTransfer-Encoding: x\n\r\n",
      "0\r\nX y: z\r\n\r\n",
      "0\r\n X: y\r\n\r\n",
      "0\r\nX: y\r\n z\r\n\r\n",
      "0\r\nX: y\n\r\n",
      "0\r\nX: \0\r\n\r\n"s,
      "0\r\n: y\r\n\r\n",
      "0\r\nno colon\r\n\r\n",
      "5;" + std::string(20'000, 'a') + "\r\nhello\r\n0\r\n\r\n",
      "0\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n",
      std::string(20'000, '0') + "5\r\nhello\r\n0\r\n\r\n",
  };
  const std::string before = bank().balance(victim());
  for_all(std::size(bodies), [&](size_t i) {
    const auto answers = offer(head + bodies[i] + smuggled(), "chunks: " + bodies[i].substr(0, 40));
    if (answers.size() != 1 || (answers[0].status != 400 && answers[0].status != 413))
      complain(bodies[i].substr(0, 40), "is not refused");
  });
  EXPECT_EQ(bank().balance(victim()), before);
}

// --- A good request spoilt -------------------------------------------------------------------------------------------

// At every place of a deposit: cut there, one byte replaced, one put in, one left out. What is executed is what was
// answered 200, to the cent.
TEST_F(Hostile, SpoiltRequestsAreExecutedOnlyWhenTheyAreAnswered) {
  const std::string good =
      format_request("POST", kDeposits, money_headers(), deposit_body(account(), "0.01", R"(,"description":"x")"));
  const std::array<std::string, 10> spoilers = {
      std::string(1, '\0'), "\r", "\n", "\r\n", " ", "\t", ":", "\"", "\x7f", "\xff"};
  struct Spoilt {
    size_t at;
    size_t spoiler;
    int how;  // 0 cut, 1 replaced, 2 put in, 3 left out
  };
  std::vector<Spoilt> cases;
  // The token's inside is one letter like the other.
  const size_t token = good.find("Bearer ") + 10;
  const size_t token_end = good.find("\r\n", token) - 3;
  for (size_t at = 0; at < good.size(); ++at) {
    if (at > token && at < token_end && at % 16 != 0) continue;
    cases.push_back({at, 0, 0});
    cases.push_back({at, 0, 3});
    for (size_t s = at % 2; s < spoilers.size(); s += 2) {
      cases.push_back({at, s, 1});
      cases.push_back({at, s, 2});
    }
  }
  const int64_t before = to_minor(bank().balance(account()));
  std::atomic<int64_t> answered{0};
  for_all(cases.size(), [&](size_t i) {
    const Spoilt& spoilt = cases[i];
    std::string bytes = good;
    if (spoilt.how == 0) bytes.resize(spoilt.at);
    if (spoilt.how == 1) bytes.replace(spoilt.at, 1, spoilers[spoilt.spoiler]);
    if (spoilt.how == 2) bytes.insert(spoilt.at, spoilers[spoilt.spoiler]);
    if (spoilt.how == 3) bytes.erase(spoilt.at, 1);
    const std::string name = "spoilt at " + std::to_string(spoilt.at) + ", " + std::to_string(spoilt.how) + ", " +
                             std::to_string(spoilt.spoiler);
    for (const HttpResponse& answer : offer(bytes, name)) {
      if (answer.status == 200) answered += to_minor(answer.raw("amount"));
    }
  });
  EXPECT_EQ(to_minor(bank().balance(account())) - before, answered);
  EXPECT_GT(answered, 0) << "a letter more in the description does no harm";
  EXPECT_TRUE(is_well());
}

// --- Too much of everything ------------------------------------------------------------------------------------------

TEST_F(Hostile, OversizedQueriesPathsAndBodies) {
  const std::string path = "/transaction-logs/" + std::to_string(account());
  const Headers token = {{"Authorization", "Bearer " + customer()}};
  const auto get = [&](const std::string& target) { return format_request("GET", target, token); };
  struct Case {
    std::string name;
    std::string bytes;
    int status;
  };
  std::string parameters;
  for (int i = 0; i < 3000; ++i) parameters += "&a" + std::to_string(i) + "=1";
  const auto post = [&](const std::string& body, Headers extra = {}) {
    Headers headers = money_headers();
    headers.insert(headers.end(), extra.begin(), extra.end());
    return format_request("POST", kDeposits, headers, body);
  };
  const std::string good = deposit_body(account(), "0.01");
  const Case cases[] = {
      {"3,000 parameters", get(path + "?limit=1" + parameters), 431},
      {"1,000 parameters", get(path + "?limit=1" + parameters.substr(0, 7000)), 422},
      {"empty parameters", get(path + "?" + std::string(10'000, '&')), 200},
      {"a long parameter", get(path + "?cursor=" + std::string(10'000, 'A')), 422},
      {"a long name", get(path + "?" + std::string(10'000, 'n') + "=1"), 422},
      {"percent signs", get(path + "?limit=" + std::string(1'000, '%')), 422},
      {"a cut escape", get(path + "?limit=%4"), 422},
      {"NUL in a cursor", get(path + "?cursor=%00"), 422},
      {"an account of many digits", get("/transaction-logs/" + std::string(1'000, '9')), 422},
      {"an account beyond 64 bits", get("/transaction-logs/9223372036854775808"), 422},
      {"a negative account", get("/transaction-logs/-1"), 422},
      {"an escaped path", get("/%74ransaction-logs/1"), 404},
      {"a path upwards", get("/api/v1/../../transaction-logs/1"), 404},
      {"slashes", get("/" + std::string(1'000, '/')), 404},
      {"a path of 10,000 segments",
       get("/" +
           [] {
             std::string many;
             for (int i = 0; i < 5'000; ++i) many += "a/";
             return many;
           }()),
       404},
      {"nested deeper than 64", post(R"({"x":)" + std::string(100, '[') + std::string(100, ']') + "}"), 400},
      {"nested without end", post(R"({"x":)" + std::string(60'000, '[')), 400},
      {"many members", post([] {
         std::string many = "{";
         for (int i = 0; i < 3000; ++i) many += "\"k" + std::to_string(i) + "\":1,";
         return many + "\"z\":1}";
       }()),
       400},
      {"a long name", post("{\"" + std::string(60'000, 'k') + "\":1}"), 422},
      {"a long number", post(deposit_body(account(), "0.0" + std::string(60'000, '0') + "1")), 400},
      {"a long exponent", post(deposit_body(account(), "1e" + std::string(60'000, '9'))), 400},
      {"a small exponent", post(deposit_body(account(), "1e-" + std::string(60'000, '9'))), 400},
      {"a long description",
       post(deposit_body(account(), "0.01", ",\"description\":\"" + std::string(256, 'd') + "\"")), 422},
      {"gzip", post(std::string("\x1f\x8b\x08\x00", 4) + good, {{"Content-Encoding", "gzip"}}), 415},
      {"br", post(good, {{"Content-Encoding", "br"}}), 415},
      {"gzip, identity", post(good, {{"Content-Encoding", "gzip, identity"}}), 415},
      {"a key of 256", post(good, {{"Idempotency-Key", std::string(256, 'k')}}), 422},
      {"a token of 16 KiB", format_request("GET", path, {{"Authorization", "Bearer " + std::string(15'000, 'a')}}),
       401},
      {"100 headers",
       [&] {
         Headers many = token;
         for (int i = 0; i < 200; ++i) many.emplace_back("X-" + std::to_string(i), "1");
         return format_request("GET", path, many);
       }(),
       431},
  };
  for_all(std::size(cases), [&](size_t i) {
    const auto answers = offer(cases[i].bytes, cases[i].name);
    if (answers.size() != 1 || answers[0].status != cases[i].status)
      complain(cases[i].name, answers.empty() ? "no answer" : "status " + std::to_string(answers[0].status));
  });
}

// --- Clients that take without end -----------------------------------------------------------------------------------

TEST_F(Hostile, TenThousandPipelinedRequestsInOneGoAreAnsweredInOrder) {
  constexpr int kRequests = 10'000;
  RawClient client = connect();
  std::string bytes;
  for (int i = 0; i < kRequests; ++i)
    bytes += format_request("GET", "/livez", {{"X-Request-ID", "flood-" + std::to_string(i)}});
  std::thread writer([&] { EXPECT_TRUE(client.send(bytes)); });
  // Reading begins at once: the other end takes requests ahead only as far as its bounds reach.
  RawClient other = connect();
  EXPECT_EQ(other.exchange(format_request("GET", "/livez")).status, 200);
  for (int i = 0; i < kRequests; ++i) {
    const HttpResponse answer = client.read_response();
    ASSERT_EQ(answer.status, 200) << i << ": " << answer;
    ASSERT_EQ(answer.header("X-Request-ID"), "flood-" + std::to_string(i));
  }
  writer.join();
}

// Pages of 500 rows asked for by clients that never read one. What is kept for each is bounded, and others do not
// notice.
TEST_F(Hostile, ClientsThatNeverReadCostBoundedMemory) {
  const int64_t busy = bank().open_account({.balance = "0.00"});
  ApiClient api(port(), customer());
  const std::string filler(255, 'd');
  for (int i = 0; i < 500; ++i)
    ASSERT_EQ(api.post(kDeposits, deposit_body(busy, "0.01", ",\"description\":\"" + filler + "\"")).status, 200);
  const std::string page = "/transaction-logs/" + std::to_string(busy) + "?limit=500";
  const size_t page_bytes = api.get(page).body.size();
  ASSERT_GT(page_bytes, 200'000u);

  constexpr int kClients = 50;
  std::string requests;
  for (int i = 0; i < 500; ++i) requests += format_request("GET", page, {{"Authorization", "Bearer " + customer()}});
  const long before = resident_kib(bank().service().pid());
  std::vector<RawClient> greedy;
  for (int i = 0; i < kClients; ++i) {
    greedy.emplace_back(port(), RawClient::Options{.receive_buffer = 4096});
    // Not all of it fits the buffers between us: the rest stays with whoever sends it.
    greedy.back().send(requests.substr(0, requests.size() / 4));
  }
  for (int i = 0; i < 200; ++i) ASSERT_EQ(api.get("/livez").status, 200);
  ASSERT_EQ(api.get(page).status, 200);
  const long after = resident_kib(bank().service().pid());
  // All 125 answers of all would be 1.5 GB, and 32 of each, as many as may be under way together, nearly 400 MB. Kept
  // are one of each, and what is being sent.
  if (!kSanitized) {
    EXPECT_LT(after - before, 60 * 1024);
  }
  std::printf("%d clients that never read: %ld KiB more, pages of %zu bytes\n", kClients, after - before, page_bytes);
}

TEST_F(Hostile, ConnectRequestResetLoopsGiveNobodyForeignBytes) {
  constexpr int kLoops = 5'000;
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  // A client that behaves compares every answer with what it has asked.
  std::thread witness([&] {
    RawClient client = connect();
    for (int i = 0; !done; ++i) {
      const std::string id = "witness-" + std::to_string(i);
      const HttpResponse answer = client.exchange(format_request("GET", "/livez", {{"X-Request-ID", id}}));
      if (answer.status != 200 || answer.header("X-Request-ID") != id) ++wrong;
    }
  });
  for_all(kLoops, [&](size_t i) {
    RawClient client = connect();
    const std::string id = "loop-" + std::to_string(i);
    const std::string request = format_request("GET", "/livez", {{"X-Request-ID", id}});
    client.send(i % 3 == 0 ? request.substr(0, request.size() / 2) : request + request);
    if (i % 2 == 0) {
      client.reset();
    } else if (i % 3 != 0) {
      const HttpResponse answer = client.read_response();
      if (answer.header("X-Request-ID") != id) ++wrong;
      client.reset();
    }
  });
  done = true;
  witness.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(is_well());
}

TEST(HostileCrowds, TenThousandIdleConnectionsAreInNobodysWay) {
  constexpr int kIdle = 10'000;
  // Of this process, which has the clients' ends, and as many of the service, which inherits the limit.
  constexpr rlim_t kDescriptors = kIdle + 500;
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_cur < kDescriptors) {
    rlimit raised{.rlim_cur = kDescriptors, .rlim_max = std::max(limit.rlim_max, kDescriptors)};
    if (setrlimit(RLIMIT_NOFILE, &raised) != 0)
      GTEST_SKIP() << "needs " << kDescriptors << " open files, and `ulimit -n` may not be raised above "
                   << limit.rlim_max;
  }
  Bank bank("crowd", {{"MAX_CONNECTIONS", "12000"}});
  const uint16_t port = bank.service().port();
  const int64_t account = bank.open_account({.balance = "0.00"});
  std::vector<RawClient> idle;
  idle.reserve(kIdle);
  for (int i = 0; i < kIdle; ++i) {
    idle.emplace_back(port);
    ASSERT_TRUE(idle.back().connected()) << i;
    // Some have been served once, some are in the middle of a request.
    if (i % 3 == 0) {
      ASSERT_TRUE(idle.back().send(format_request("GET", "/livez")));
    }
    if (i % 3 == 1 && i > kIdle - 500) {
      ASSERT_TRUE(idle.back().send("GET /livez HTTP/1.1\r\nHost: loc"));
    }
  }
  for (int i = 0; i < kIdle; i += 3) ASSERT_EQ(idle[static_cast<size_t>(i)].read_response().status, 200) << i;
  ApiClient api(port, customer());
  for (int i = 0; i < 200; ++i) ASSERT_EQ(api.post(kDeposits, deposit_body(account, "0.01")).status, 200) << i;
  EXPECT_EQ(bank.balance(account), "2.00");
  std::printf("%d idle connections: %ld KiB resident\n", kIdle, resident_kib(bank.service().pid()));
  // All of them still work.
  for (int i = 0; i < kIdle; i += 3)
    ASSERT_EQ(idle[static_cast<size_t>(i)].exchange(format_request("GET", "/livez")).status, 200) << i;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// An IPv4 address of this machine that is not loopback's; "" when it has none.
std::string own_address() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  std::string found;
  for (const ifaddrs* entry = list; entry != nullptr && found.empty(); entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    sockaddr_in address{};
    std::memcpy(&address, entry->ifa_addr, sizeof address);
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    if (!std::string_view(text).starts_with("127.")) found = text;
  }
  freeifaddrs(list);
  return found;
}

TEST(HostileCrowds, AnAddressHasItsShareOfTheConnectionsUnlessItIsAProxy) {
  const std::string address = own_address();
  if (address.empty()) GTEST_SKIP() << "this machine has no address but loopback's, which is exempt";
  Bank bank("shares", {{"SERVICE_HOST", "0.0.0.0"}, {"MAX_CONNECTIONS_PER_ADDRESS", "5"}});
  const auto served = [](uint16_t port, const std::string& host) {
    std::vector<RawClient> clients;
    int count = 0;
    for (int i = 0; i < 20; ++i) {
      clients.emplace_back(port, RawClient::Options{.host = host});
      const HttpResponse answer = clients.back().exchange(format_request("GET", "/livez"));
      EXPECT_TRUE(answer.status == 200 || is_problem(answer, 503, "SERVICE_UNAVAILABLE")) << answer;
      count += answer.status == 200 ? 1 : 0;
    }
    return count;
  };
  EXPECT_EQ(served(bank.service().port(), address), 5);
  EXPECT_EQ(served(bank.service().port(), "127.0.0.1"), 20);
  const ServiceProcess behind_proxy(bank.settings_with({{"TRUSTED_PROXIES", address}}));
  EXPECT_EQ(served(behind_proxy.port(), address), 20);
}

// Descriptors run out: those that are connected are served, the others wait or are turned away, and it ends by itself.
TEST(HostileCrowds, AServiceOutOfDescriptorsRecovers) {
  if (kAddressSanitized) GTEST_SKIP() << "UBSan asks a pipe whether memory can be read, and takes no descriptor for no";
  Bank bank("descriptors");
  ServiceProcess service(bank.settings(), {.max_open_files = 120});
  RawClient first(service.port());
  ASSERT_EQ(first.exchange(format_request("GET", "/livez")).status, 200);
  {
    std::vector<RawClient> crowd;
    for (int i = 0; i < 300; ++i) crowd.emplace_back(service.port());
    for (int i = 0; i < 50; ++i) ASSERT_EQ(first.exchange(format_request("GET", "/livez")).status, 200);
  }
  EXPECT_TRUE(
      wait_until([&] { return RawClient(service.port()).exchange(format_request("GET", "/livez")).status == 200; },
                 Milliseconds(10'000)));
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

}  // namespace
}  // namespace txn::test
