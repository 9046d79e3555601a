// An open-loop load generator: requests are due at random moments of a given rate whatever becomes of those before, as
// they are when many clients know nothing of each other. A closed loop (wrk) slows down with the server and so can
// never overload it.
//
//   open_loop --port N --token T --rate REQUESTS_PER_SECOND [--seconds S] [--connections N] [--accounts-first N]
//             [--accounts N] [--workload deposits|transfers] [--keys yes|no] [--seed N]
//
// Every request is a deposit to a random account, or a transfer between two (--workload transfers), sent on whichever
// connection has been idle longest; a connection has one request under way. With --keys each has an Idempotency-Key of
// its own, as careful clients send. Latency counts from when a request was due, so that waiting for a connection counts
// ("coordinated omission", G. Tene), and once more from when it was sent. One line of JSON is printed.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Options {
  std::string host = "127.0.0.1";
  std::string token;
  uint16_t port = 0;
  double rate = 1000;
  double seconds = 5;
  int connections = 1024;
  int64_t accounts_first = 1;
  int64_t accounts = 1;
  bool transfers = false;
  bool keys = false;
  uint64_t seed = 1;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "open_loop: %s\n", what.c_str());
  std::exit(1);
}

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

template <class Number>
Number number_of(const char* text) {
  Number value = 0;
  const char* end = text + std::strlen(text);
  if (const auto [at, error] = std::from_chars(text, end, value); error != std::errc() || at != end)
    die(std::string(text) + " is no number that fits");
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const char* value = argv[i + 1];
    if (name == "--host")
      options.host = value;
    else if (name == "--token")
      options.token = value;
    else if (name == "--port")
      options.port = number_of<uint16_t>(value);
    else if (name == "--rate")
      options.rate = number_of<double>(value);
    else if (name == "--seconds")
      options.seconds = number_of<double>(value);
    else if (name == "--connections")
      options.connections = number_of<int>(value);
    else if (name == "--accounts-first")
      options.accounts_first = number_of<int64_t>(value);
    else if (name == "--accounts")
      options.accounts = number_of<int64_t>(value);
    else if (name == "--workload")
      options.transfers = std::string_view(value) == "transfers";
    else if (name == "--keys")
      options.keys = std::string_view(value) == "yes";
    else if (name == "--seed")
      options.seed = number_of<uint64_t>(value);
    else
      die("what is " + std::string(name) + "?");
  }
  if (argc % 2 == 0) die("options come as NAME VALUE");
  if (options.port == 0 || options.rate <= 0 || options.connections <= 0) die("--port, --rate, --connections");
  return options;
}

struct Connection {
  int socket = -1;
  int64_t due_ns = 0;   // of the request under way; 0: idle
  int64_t sent_ns = 0;  // when it was sent
  std::string input;
};

// Latencies of answers with one status.
double percentile_ms(std::vector<uint32_t>& us, double p) {
  if (us.empty()) return 0;
  const auto at = static_cast<size_t>(p / 100 * static_cast<double>(us.size() - 1));
  std::nth_element(us.begin(), us.begin() + static_cast<std::ptrdiff_t>(at), us.end());
  return us[at] / 1000.0;
}

struct Answers {
  std::vector<uint32_t> us;       // since due
  std::vector<uint32_t> sent_us;  // since sent
  uint64_t in_time = 0;           // that came while requests were being offered: what a rate may be made of
};

class Generator {
 public:
  explicit Generator(Options options) : options_(std::move(options)), random_(options_.seed) {
    for (int i = 0; i < kRequestsMade; ++i) requests_.push_back(make_request());
    epoll_ = epoll_create1(0);
    connections_.resize(static_cast<size_t>(options_.connections));
    for (size_t i = 0; i < connections_.size(); ++i) {
      open(i);
      idle_.push_back(i);
    }
  }

  void run() {
    const double mean_gap_ns = 1e9 / options_.rate;
    std::exponential_distribution<double> gap(1.0);
    const int64_t start = now_ns();
    const int64_t end = end_ns_ = start + static_cast<int64_t>(options_.seconds * 1e9);
    double next_due = static_cast<double>(start);
    while (true) {
      const int64_t now = now_ns();
      while (next_due <= static_cast<double>(std::min(now, end))) {
        due_.push_back(static_cast<int64_t>(next_due));
        ++offered_;
        next_due += gap(random_) * mean_gap_ns;
      }
      while (!due_.empty() && !idle_.empty()) send_next();
      if (now >= end + kPatienceNs || (now >= end && due_.empty() && idle_.size() == connections_.size())) break;
      receive(now >= end ? 1'000'000 : std::clamp<int64_t>(static_cast<int64_t>(next_due) - now_ns(), 0, 1'000'000));
      if (now < end) sent_in_time_ = sent_;
    }
    report();
  }

 private:
  static constexpr int kRequestsMade = 8192;
  static constexpr std::string_view kKeyField = "\r\nIdempotency-Key: ";
  static constexpr int kKeyDigits = 16;
  static constexpr int64_t kPatienceNs = 10'000'000'000;

  int64_t random_account() {
    return options_.accounts_first + static_cast<int64_t>(random_() % static_cast<uint64_t>(options_.accounts));
  }

  std::string make_request() {
    const auto first = static_cast<long long>(random_account());
    const auto amount = static_cast<int>(1 + random_() % 99);
    const auto cents = static_cast<int>(random_() % 100);
    char body[160];
    if (options_.transfers) {
      auto second = static_cast<long long>(random_account());
      while (second == first) second = static_cast<long long>(random_account());
      std::snprintf(body, sizeof body,
                    R"({"from_account":%lld,"to_account":%lld,"amount":%d.%02d,"description":"bench"})", first, second,
                    amount, cents);
    } else {
      std::snprintf(body, sizeof body, R"({"account_number":%lld,"amount":%d.%02d,"description":"bench"})", first,
                    amount, cents);
    }
    return std::string("POST /api/v1/") + (options_.transfers ? "transfers" : "deposits") + " HTTP/1.1\r\nHost: bench" +
           (options_.keys ? std::string(kKeyField) + std::string(kKeyDigits, '0') : "") + "\r\nAuthorization: Bearer " +
           options_.token +
           "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(std::strlen(body)) + "\r\n\r\n" +
           body;
  }

  void open(size_t index) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options_.port);
    if (inet_pton(AF_INET, options_.host.c_str(), &address.sin_addr) != 1) die("--host takes an IPv4 address");
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) die(std::string("socket: ") + std::strerror(errno));
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      die(std::string("connect: ") + std::strerror(errno));
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections_[index].socket = fd;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = index;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void send_next() {
    const size_t index = idle_.front();
    idle_.pop_front();
    Connection& connection = connections_[index];
    connection.due_ns = due_.front();
    connection.sent_ns = now_ns();
    due_.pop_front();
    std::string& request = requests_[sent_++ % kRequestsMade];
    if (options_.keys) {
      char digits[kKeyDigits + 1];
      std::snprintf(digits, sizeof digits, "%0*llx", kKeyDigits, static_cast<unsigned long long>(next_key_++));
      request.replace(request.find(kKeyField) + kKeyField.size(), kKeyDigits, digits);
    }
    if (send(connection.socket, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
      die(std::string("send: ") + std::strerror(errno));
  }

  void receive(int64_t wait_ns) {
    epoll_event events[256];
    const timespec wait{0, wait_ns};
    const int count = epoll_pwait2(epoll_, events, 256, &wait, nullptr);
    for (int i = 0; i < count; ++i) take(events[i].data.u64);
  }

  void take(size_t index) {
    Connection& connection = connections_[index];
    char bytes[4096];
    const ssize_t got = recv(connection.socket, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) die("the service closed a connection");
    connection.input.append(bytes, static_cast<size_t>(got));
    const size_t head_end = connection.input.find("\r\n\r\n");
    if (head_end == std::string::npos) return;
    const std::string_view head = std::string_view(connection.input).substr(0, head_end);
    constexpr std::string_view kLength = "Content-Length: ";
    const size_t at = head.find(kLength);
    size_t length = 0;
    if (at != std::string_view::npos)
      std::from_chars(head.data() + at + kLength.size(), head.data() + head.size(), length);
    if (connection.input.size() < head_end + 4 + length) return;
    int status = 0;
    std::from_chars(head.data() + 9, head.data() + 12, status);
    const int64_t now = now_ns();
    Answers& answers = answers_[status];
    answers.us.push_back(static_cast<uint32_t>((now - connection.due_ns) / 1000));
    answers.sent_us.push_back(static_cast<uint32_t>((now - connection.sent_ns) / 1000));
    if (now < end_ns_) ++answers.in_time;
    connection.input.clear();
    connection.due_ns = 0;
    idle_.push_back(index);
  }

  void report() {
    Answers& good = answers_[200];
    Answers& shed = answers_[503];
    uint64_t others = 0;
    for (const auto& [status, answers] : answers_)
      if (status != 200 && status != 503) others += answers.us.size();
    const double seconds = options_.seconds;
    std::printf(R"({"rate":%.0f,"offered":%.0f,"sent":%.0f,"good":%.0f,"shed":%.0f,"others":%llu,"unanswered":%zu,)"
                R"("p50_ms":%.2f,"p95_ms":%.2f,"p99_ms":%.2f,"sent_p50_ms":%.2f,"sent_p95_ms":%.2f,"sent_p99_ms":%.2f,)"
                R"("shed_sent_p99_ms":%.2f})"
                "\n",
                options_.rate, static_cast<double>(offered_) / seconds, static_cast<double>(sent_in_time_) / seconds,
                static_cast<double>(good.in_time) / seconds, static_cast<double>(shed.in_time) / seconds,
                static_cast<unsigned long long>(others), connections_.size() - idle_.size() + due_.size(),
                percentile_ms(good.us, 50), percentile_ms(good.us, 95), percentile_ms(good.us, 99),
                percentile_ms(good.sent_us, 50), percentile_ms(good.sent_us, 95), percentile_ms(good.sent_us, 99),
                percentile_ms(shed.sent_us, 99));
  }

  const Options options_;
  std::mt19937_64 random_;
  std::vector<std::string> requests_;
  int epoll_ = -1;
  std::vector<Connection> connections_;
  std::deque<size_t> idle_;  // longest idle first
  std::deque<int64_t> due_;  // not sent yet
  int64_t end_ns_ = 0;
  uint64_t next_key_ = static_cast<uint64_t>(now_ns());  // not those of an earlier run: they would be replayed
  uint64_t offered_ = 0;
  uint64_t sent_ = 0;
  uint64_t sent_in_time_ = 0;
  std::map<int, Answers> answers_;
};

}  // namespace

int main(int argc, char** argv) { Generator(parse(argc, argv)).run(); }
