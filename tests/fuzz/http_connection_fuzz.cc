// The real server and its connections over a ring that the input drives: bytes arrive cut anywhere, sends are short or
// fail, clients end or reset, buffers run dry, time passes, the service answers late and in any order, the server
// drains.
//
// Held to: every client sees the answers to its own requests, in their order, and nothing else; what the service is
// asked is what the bytes say; nothing unsafe runs beside another request; in the end everything is closed and freed.
//
// Input: steps of one byte, each followed by what it needs.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/loop.h"
#include "net/http_server.h"
#include "tests/fuzz/fuzz_input.h"

namespace txn {
namespace {

constexpr size_t kClientsMax = 4;
constexpr size_t kChunkMax = 4096;  // as large as a buffer of the ring

// A descriptor that shutdown(2) and close(2) may be called on, without a socket behind it.
int some_descriptor() {
  const int descriptor = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(descriptor >= 0, "a descriptor");
  return descriptor;
}

// What a request should be answered with.
struct Expected {
  std::string body;
  int status = 200;
  bool head_only = false;
};

struct Client {
  int socket = -1;
  std::deque<std::string> inbound;  // chunks on their way to the server
  std::string sent;                 // all of them
  bool ended = false;               // FIN behind the inbound chunks
  bool reset = false;
  std::string received;
  std::deque<Expected> expected;  // answers, in the order of the requests
  std::deque<std::string> asked;  // what the service should be asked next
  size_t requests = 0;            // that the service has been asked
  size_t under_way = 0;
  size_t unsafe_under_way = 0;
  size_t bulky_under_way = 0;
};

// What the service sees of a request.
std::string describe(const HttpRequest& request) {
  return std::string(to_string(request.method)) + " " + std::string(request.path) + "?" + std::string(request.query) +
         "\n" + std::string(request.body);
}

// Answered before their bodies come, when the client waits to hear whether to send them.
bool is_settled_path(std::string_view path) { return path.starts_with("/settled"); }

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

// Stands in for the kernel. Requests stay armed until the input says what becomes of them.
class ScriptedRing final : public Ring {
 public:
  ~ScriptedRing() override { CHECK(armed_.empty(), "the kernel holds nothing any more"); }

  void accept(int, Completion& completion) override { arm(Kind::kAccept, -1, {}, completion); }
  void receive(int socket, Completion& completion) override { arm(Kind::kReceive, socket, {}, completion); }
  void send(int socket, std::span<const char> bytes, Completion& completion) override {
    CHECK(!bytes.empty(), "nothing to send");
    CHECK(find(Kind::kSend, socket) == nullptr, "one send at a time on a socket");
    arm(Kind::kSend, socket, bytes, completion);
  }
  void connect(int, const sockaddr*, uint32_t, Completion&) override { CHECK(false, "servers do not connect"); }
  void receive_into(int, std::span<char>, Completion&) override { CHECK(false, "servers receive into the ring"); }
  void poll(int, uint32_t, Completion& completion) override { arm(Kind::kPoll, -1, {}, completion); }
  void cancel(Completion& completion) override {
    for (Armed& armed : armed_) armed.cancelled = armed.cancelled || armed.completion == &completion;
  }
  void submit_and_wait(int64_t) override {}
  uint32_t free_buffers() const override { return 2; }
  uint64_t overflows() const override { return 0; }

  // One event for everything that was cancelled; else nothing by itself.
  size_t deliver(size_t) override {
    size_t events = 0;
    while (true) {
      const auto cancelled = std::ranges::find_if(armed_, &Armed::cancelled);
      if (cancelled == armed_.end()) return events;
      const Armed taken = *cancelled;
      armed_.erase(cancelled);
      current = taken.socket;
      complete(*taken.completion, {.result = -ECANCELED, .more = false, .data = {}});
      ++events;
    }
  }

  // The rest is called by the script. Each does nothing when nobody waits for such an event.
  void accept_one(int socket) { finish(Kind::kAccept, -1, socket, true, {}); }
  void fail_accept() { finish(Kind::kAccept, -1, -EMFILE, false, {}); }
  bool is_accepting() { return find(Kind::kAccept, -1) != nullptr; }
  bool is_receiving(int socket) { return find(Kind::kReceive, socket) != nullptr; }
  void arrive(int socket, std::string_view bytes, bool more) {
    // Gone as soon as the callback has returned: the sanitizer sees who keeps a view.
    const auto buffer = std::make_unique_for_overwrite<char[]>(bytes.size());
    bytes.copy(buffer.get(), bytes.size());
    finish(Kind::kReceive, socket, static_cast<int32_t>(bytes.size()), more, {buffer.get(), bytes.size()});
  }
  void end_receive(int socket, int32_t result) { finish(Kind::kReceive, socket, result, false, {}); }
  // Takes up to `count` bytes of what is being sent; `error` other than 0 fails it.
  std::string take_sent(int socket, size_t count, int32_t error) {
    Armed* armed = find(Kind::kSend, socket);
    if (armed == nullptr) return {};
    if (error != 0) {
      finish(Kind::kSend, socket, -error, false, {});
      return {};
    }
    std::string bytes(armed->bytes.data(), std::min(std::max<size_t>(count, 1), armed->bytes.size()));
    finish(Kind::kSend, socket, static_cast<int32_t>(bytes.size()), false, {});
    return bytes;
  }

  // The socket whose event is being delivered.
  int current = -1;

 private:
  enum class Kind { kAccept, kReceive, kSend, kPoll };
  struct Armed {
    Kind kind;
    int socket;
    std::span<const char> bytes;
    Completion* completion;
    bool cancelled;
  };

  void arm(Kind kind, int socket, std::span<const char> bytes, Completion& completion) {
    mark_submitted(completion);
    armed_.push_back({kind, socket, bytes, &completion, false});
  }
  Armed* find(Kind kind, int socket) {
    const auto found =
        std::ranges::find_if(armed_, [&](const Armed& armed) { return armed.kind == kind && armed.socket == socket; });
    return found == armed_.end() ? nullptr : &*found;
  }
  void finish(Kind kind, int socket, int32_t result, bool more, std::span<char> data) {
    Armed* armed = find(kind, socket);
    if (armed == nullptr) return;
    Completion& completion = *armed->completion;
    if (!more) armed_.erase(armed_.begin() + (armed - armed_.data()));
    current = socket;
    complete(completion, {.result = result, .more = more, .data = data});
  }

  std::vector<Armed> armed_;
};

class Harness final : public HttpService {
 public:
  Harness() {
    auto ring = std::make_unique<ScriptedRing>();
    ring_ = ring.get();
    loop_ = std::make_unique<Loop>(std::move(ring), clock_);
    server_ = std::make_unique<HttpServer>(*loop_, *this, HttpServerOptions{.max_connections = kClientsMax - 1});
    server_->start(some_descriptor());
    loop_->turn();
  }

  void run(fuzz::FuzzInput& input) {
    while (!input.empty()) step(input);
    finish();
  }

  void on_request(Exchange& exchange) override {
    Client& client = client_of(ring_->current);
    const HttpRequest& request = exchange.request();
    const std::string asked = describe(request);
    expect_requests(client);
    CHECK(!client.asked.empty(), "a request that nobody has sent");
    // Of one that is settled without its body nobody waits for that.
    const bool is_settled = is_settled_path(request.path);
    CHECK(first_line(client.asked.front()) == first_line(asked), "another request than was sent");
    CHECK(client.asked.front() == asked || (is_settled && request.body.empty()), "another body than was sent");
    client.asked.pop_front();
    const bool is_safe =
        request.method == Method::kGet || request.method == Method::kHead || request.method == Method::kOptions;
    CHECK(client.unsafe_under_way == 0, "a request runs beside one that is not safe");
    CHECK(is_safe || client.under_way == 0, "one that is not safe runs beside others");
    CHECK(client.under_way < kPipelineMax, "too many requests at once");
    CHECK(client.bulky_under_way == 0, "a request runs behind one whose answer is bulky");
    ++client.under_way;
    client.unsafe_under_way += is_safe ? 0 : 1;
    client.expected.push_back(
        {.body = std::to_string(client.socket) + " " + std::to_string(++client.requests), .status = 200});
    client.expected.back().head_only = request.method == Method::kHead;
    Held held{&exchange, client.socket, client.expected.back().body, is_safe, generation_[client.socket]};
    if (request.path.starts_with("/big")) {
      held.padding = 100'000;
      exchange.set_bulky();
      ++client.bulky_under_way;
    }
    if (request.path.starts_with("/now")) {
      answer(held);
    } else {
      held_.push_back(held);
    }
  }

  bool is_settled(const HttpRequest& head) override { return is_settled_path(head.path); }

  void on_bad_request(Exchange& exchange, int status, std::string_view detail) override {
    // Nobody says which client it is; answers are told apart by what is in them.
    CHECK(status >= 400 && status <= 505 && !detail.empty(), "a refusal has a status and a reason");
    exchange.respond({.status = status, .content_type = "text/plain", .body = "refused"});
  }

 private:
  struct Held {
    Exchange* exchange;
    int socket;
    std::string body;
    bool is_safe;
    int generation;
    size_t padding = 0;
  };

  Client& client_of(int socket) {
    const auto found = std::ranges::find(clients_, socket, &Client::socket);
    CHECK(found != clients_.end(), "an event of nobody's socket");
    return *found;
  }

  // The requests in all that the client has sent, by a parser that gets it in one piece.
  void expect_requests(Client& client) {
    HttpParser parser;
    auto status = parser.feed({client.sent.data(), client.sent.size()});
    client.asked.clear();
    for (size_t i = 0; status == HttpParser::Status::kRequest; ++i, status = parser.next())
      if (i >= client.requests) client.asked.push_back(describe(parser.request()));
    // A head alone is a request, too, when it is settled.
    if (parser.phase() == HttpParser::Phase::kBody) client.asked.push_back(describe(parser.request()));
  }

  void answer(const Held& held) {
    const auto client = std::ranges::find_if(clients_, [&](const Client& candidate) {
      return candidate.socket == held.socket && generation_[held.socket] == held.generation;
    });
    if (client != clients_.end()) {
      --client->under_way;
      client->unsafe_under_way -= held.is_safe ? 0 : 1;
      client->bulky_under_way -= held.padding > 0 ? 1 : 0;
    }
    ring_->current = held.socket;
    const std::string body = held.body + std::string(held.padding, '.');
    held.exchange->respond({.content_type = "text/plain", .body = body});
  }

  void step(fuzz::FuzzInput& input) {
    const uint8_t what = input.byte();
    Client* client = clients_.empty() ? nullptr : &clients_[input.byte() % clients_.size()];
    switch (what % 16) {
      case 0:
        if (clients_.size() < kClientsMax && ring_->is_accepting()) connect();
        break;
      case 1:
      case 2:
        if (client != nullptr) send(*client, std::string(input.text(what % 16 == 1 ? input.byte() : input.number(2))));
        break;
      case 3:
      case 4:
        if (client != nullptr) send_ready_made(*client, input.byte(), input.byte());
        break;
      case 5:
        if (client != nullptr) client->ended = true;
        break;
      case 6:
        if (client != nullptr && !client->reset) {
          client->reset = true;
          client->inbound.clear();
        }
        break;
      case 7:
        if (client != nullptr) ring_->end_receive(client->socket, -ENOBUFS);
        break;
      case 8:
      case 9:
        if (client != nullptr) take_output(*client, what % 16 == 8 ? input.byte() : 1 << 20, 0);
        break;
      case 10:
        if (client != nullptr) take_output(*client, 0, input.byte() % 2 == 0 ? EPIPE : ECONNRESET);
        break;
      case 11:
        clock_.advance_ns((int64_t{1} << input.byte() % 8) * kNanosPerSecond);
        break;
      case 12:
      case 13:
        if (!held_.empty()) {
          const auto chosen = held_.begin() + static_cast<ptrdiff_t>(input.byte() % held_.size());
          const Held held = std::move(*chosen);
          held_.erase(chosen);
          answer(held);
        }
        break;
      case 14:
        if (input.byte() % 8 == 0) {
          server_->begin_drain();
        } else {
          ring_->fail_accept();
        }
        break;
      default:
        break;
    }
    turn();
  }

  void connect() {
    Client client;
    client.socket = some_descriptor();
    ++generation_[client.socket];
    clients_.push_back(client);
    ring_->accept_one(client.socket);
  }

  void send(Client& client, const std::string& bytes) {
    if (client.ended || client.reset || bytes.empty()) return;
    client.sent += bytes;
    for (size_t at = 0; at < bytes.size(); at += kChunkMax) client.inbound.push_back(bytes.substr(at, kChunkMax));
  }

  // A request in two pieces, so that the input need not spell everything.
  void send_ready_made(Client& client, uint8_t which, uint8_t cut) {
    static const std::array<std::string, 11> kRequests = {
        "GET /now HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hold HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n",
        "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: "
        "t\r\n\r\n",
        "HEAD /now HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /now HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST /settled HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "FOO /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    };
    const std::string& request = kRequests[which % kRequests.size()];
    const size_t first = cut % request.size();
    send(client, request.substr(0, first));
    send(client, request.substr(first));
  }

  void take_output(Client& client, size_t count, int32_t error) {
    client.received += ring_->take_sent(client.socket, count, error);
    if (error != 0) client.reset = true;
    read_answers(client);
  }

  // Takes whole answers off the front of what the client has received and compares them.
  void read_answers(Client& client) {
    while (true) {
      const size_t head_end = client.received.find("\r\n\r\n");
      if (head_end == std::string::npos) return;
      const std::string head = client.received.substr(0, head_end);
      CHECK(head.starts_with("HTTP/1.1 "), "an answer begins like one");
      const int status = std::stoi(head.substr(9, 3));
      if (status == 100) {
        client.received.erase(0, head_end + 4);
        continue;
      }
      const size_t field = head.find("\r\nContent-Length: ");
      CHECK(field != std::string::npos, "an answer has a length");
      const bool refused = status != 200;
      if (!refused) CHECK(!client.expected.empty(), "an answer to no request");
      const bool head_only = !refused && client.expected.front().head_only;
      size_t length = static_cast<size_t>(std::stoul(head.substr(field + 18)));
      // A refusal may answer HEAD, with or without a request that could be read: then nothing follows it.
      if (head_only || (refused && client.received.size() == head_end + 4)) length = 0;
      if (client.received.size() < head_end + 4 + length) return;
      const std::string body = client.received.substr(head_end + 4, length);
      client.received.erase(0, head_end + 4 + length);
      if (refused) {
        CHECK(head.find("\r\nConnection: close") != std::string::npos, "a refusal ends the connection");
        CHECK(client.received.empty(), "nothing follows a refusal");
        continue;
      }
      const Expected wanted = client.expected.front();
      client.expected.pop_front();
      if (!head_only) CHECK(body.substr(0, body.find('.')) == wanted.body, "another request's answer");
    }
  }

  // What the kernel would do by itself: hands over what has arrived. Then a turn of the loop, and closed sockets leave.
  void turn() {
    for (size_t i = 0; i < clients_.size(); ++i) {
      Client& client = clients_[i];
      if (!ring_->is_receiving(client.socket)) continue;
      if (client.reset) {
        ring_->end_receive(client.socket, -ECONNRESET);
      } else if (!client.inbound.empty()) {
        const std::string chunk = client.inbound.front();
        client.inbound.pop_front();
        ring_->arrive(client.socket, chunk, chunk.size() % 7 != 0);
      } else if (client.ended) {
        ring_->end_receive(client.socket, 0);
      }
    }
    ring_->current = -1;
    loop_->turn();
    std::erase_if(clients_, [](const Client& client) { return ::fcntl(client.socket, F_GETFD) < 0; });
    CHECK(server_->connection_count() == clients_.size(), "as many connections as open sockets");
  }

  void finish() {
    server_->begin_drain();
    for (int round = 0; server_->connection_count() + server_->exchange_count() > 0; ++round) {
      CHECK(round < 2'000, "the server does not come to an end");
      while (!held_.empty()) {
        const Held held = held_.front();
        held_.pop_front();
        answer(held);
      }
      for (Client& client : clients_) {
        take_output(client, 1 << 20, 0);
        if (round > 1'000) client.ended = true;
      }
      clock_.advance_ns(500 * kNanosPerMilli);
      turn();
    }
    loop_->turn();
    CHECK(held_.empty(), "everything is answered");
    server_.reset();
    loop_.reset();
  }

  ManualClock clock_;
  ScriptedRing* ring_ = nullptr;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<HttpServer> server_;
  std::vector<Client> clients_;
  std::map<int, int> generation_;  // of each descriptor's number
  std::deque<Held> held_;
};

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  txn::fuzz::FuzzInput input(data, size);
  txn::Harness().run(input);
  return 0;
}
