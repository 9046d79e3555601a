// What holding a request to its limit costs: finding the client, counting it, saying what is left; alone, beside
// another worker, and against what a message to another worker and back would cost.
//
//   build/release/rate_limit_bench --benchmark_min_time=0.5 --benchmark_repetitions=5
//       --benchmark_enable_random_interleaving=true --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>

#include <atomic>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "app/rate_limit.h"
#include "core/loop.h"
#include "net/client_address.h"
#include "net/http_parser.h"

namespace txn {
namespace {

constexpr RateLimitPolicy kPolicy{.count = 1'000'000, .window = std::chrono::hours(1)};

Settings settings_with_limits() {
  Settings settings;
  settings.rate_limit_deposits = settings.rate_limit_withdrawals = settings.rate_limit_transfers = kPolicy;
  return settings;
}

IpAddress address_of(uint32_t number) {
  IpAddress address = *IpAddress::parse("10.0.0.0");
  for (size_t i = 0; i < 3; ++i) address.bytes[15 - i] = static_cast<uint8_t>(number >> (8 * i));
  return address;
}

// All that a request pays.
void hold_to_limit(benchmark::State& state) {
  const Settings settings = settings_with_limits();
  RateLimits limits(settings);
  ManualClock clock;
  RateLimiter limiter(settings, clock, &limits);
  const auto clients = static_cast<uint32_t>(state.range(0));
  uint32_t next = 0;
  for (auto _ : state) {
    clock.advance_ns(40'000);
    const RateLimitClient client = limiter.client(address_of(next++ % clients), std::nullopt);
    const RateLimitDecision decision = limiter.take(LimitedRoute::kDeposits, client);
    const RateLimitFields fields(LimitedRoute::kDeposits, kPolicy, decision, clock.wall_us());
    benchmark::DoNotOptimize(fields.lines().data());
  }
}
BENCHMARK(hold_to_limit)->Arg(1)->Arg(1000)->Arg(100'000);

// The table alone. Two threads: workers that count other clients, and workers that count the same one.
void take(benchmark::State& state, bool same_client) {
  static std::unique_ptr<RateLimitTable> table;
  if (state.thread_index() == 0) table = std::make_unique<RateLimitTable>(kPolicy);
  uint64_t random = static_cast<uint64_t>(state.thread_index()) + 1;
  int64_t now_ms = 1;
  for (auto _ : state) {
    random = random * 6364136223846793005 + 1442695040888963407;
    benchmark::DoNotOptimize(table->take(same_client ? 7 : random % 1000 * 0x9e3779b97f4a7c15, now_ms++ / 100));
  }
}
BENCHMARK_CAPTURE(take, other_clients, false)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK_CAPTURE(take, same_client, true)->Threads(1)->Threads(2)->UseRealTime();

// A full bucket, and a client that is not in it.
void take_from_a_flood(benchmark::State& state) {
  RateLimitTable table(kPolicy, 256);
  uint64_t random = 1;
  for (auto _ : state) {
    random = random * 6364136223846793005 + 1442695040888963407;
    benchmark::DoNotOptimize(table.take(random ^ random >> 29, 1));
  }
}
BENCHMARK(take_from_a_flood);

// What one owner a client would cost when it is another worker: a message there and one back, through mailboxes and
// the rings that wait for them; `batch` requests travel at once.
class Worker {
 public:
  Worker() : thread_([this] { run(); }) {
    while (!is_ready_) std::this_thread::yield();
  }
  ~Worker() {
    struct Stop final : Message {
      Loop* loop = nullptr;
      void run() override { loop->stop(); }
    } stop;
    stop.loop = loop_;
    loop_->post(stop);
    thread_.join();
  }
  Loop& loop() { return *loop_; }

 private:
  void run() {
    SystemClock clock;
    Loop loop(std::move(*Ring::create({})), clock);
    loop_ = &loop;
    is_ready_ = true;
    loop.run();
  }

  Loop* loop_ = nullptr;
  std::atomic<bool> is_ready_{false};
  std::thread thread_;
};

struct Errand final : Message {
  Loop* there = nullptr;
  Loop* home = nullptr;
  int* left = nullptr;
  bool is_back = false;
  void send() {
    is_back = false;
    there->post(*this);
  }
  void run() override {
    if (is_back) {
      --*left;
      return;
    }
    is_back = true;
    home->post(*this);
  }
};

void message_there_and_back(benchmark::State& state) {
  Worker owner;
  SystemClock clock;
  Loop loop(std::move(*Ring::create({})), clock);
  int left = 0;
  std::vector<Errand> errands(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    left = static_cast<int>(errands.size());
    for (Errand& errand : errands) {
      errand.there = &owner.loop();
      errand.home = &loop;
      errand.left = &left;
      errand.send();
    }
    while (left > 0) loop.turn();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(message_there_and_back)->Arg(1)->Arg(16)->Arg(64)->UseRealTime();

void find_client(benchmark::State& state, std::string_view header) {
  const std::string bytes = "POST /api/v1/deposits HTTP/1.1\r\nHost: a\r\n" + std::string(header) + "\r\n";
  HttpParser parser;
  if (parser.feed({bytes.data(), bytes.size()}) != HttpParser::Status::kRequest) state.SkipWithError("no request");
  const std::vector<Cidr> trusted{*parse_cidr("10.0.0.0/8")};
  const IpAddress peer = *IpAddress::parse("10.0.0.1");
  for (auto _ : state) benchmark::DoNotOptimize(client_address(peer, parser.request(), trusted));
}
BENCHMARK_CAPTURE(find_client, direct, "");
BENCHMARK_CAPTURE(find_client, x_forwarded_for, "X-Forwarded-For: 203.0.113.7, 10.2.2.2\r\n");
BENCHMARK_CAPTURE(find_client, forwarded, "Forwarded: for=203.0.113.7;proto=https, for=10.2.2.2\r\n");

}  // namespace
}  // namespace txn
