// One worker: everything that one core owns, in the order in which it is made.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <thread>

#include "app/health.h"
#include "app/metrics_page.h"
#include "app/metrics_scraper.h"
#include "app/rate_limit.h"
#include "app/token_keys.h"
#include "core/config.h"
#include "core/error.h"
#include "db/accounts_in_flight.h"
#include "db/connector.h"
#include "net/connection_quota.h"
#include "net/otlp_exporter.h"
#include "net/tls_context.h"

namespace txn {

// Connections of OPERATIONS_PORT, and those beyond that are being told so.
inline constexpr int kOperationsConnectionsMax = 64;
inline constexpr int kOperationsRefusalsMax = 16;

// How `ulimit -n` is shared out, for the whole process.
struct ClientDescriptors {
  int connections = 0;  // clients that are served
  int refusals = 0;     // clients beyond those that are being told so
};

// Seen by all workers of the process.
struct Shared {
  const Settings& settings;
  Connector& connector;
  RateLimits* limits;     // nullptr: requests are not limited
  RedisConnector* redis;  // nullptr: limits are counted in memory
  RedisHealth redis_health{};
  MetricsPage& metrics_page;
  MetricsScraper& metrics_scraper;
  ConnectionQuota& connection_quota;
  ClientDescriptors descriptors;
  AccountsInFlight accounts_in_flight{};
  std::shared_ptr<const TlsContext> tls;  // at start; null: plain HTTP
  OtlpExporter* traces;                   // nullptr: requests are not traced
  std::atomic<int> workers_serving;       // those that still have clients or operations under way
  StartingWorkers workers_starting;
  WorkersAway workers_away{0};
  AccountsState& accounts;
};

class Worker {
 public:
  // The sockets that a worker accepts from; it closes them.
  struct Sockets {
    int service = -1;
    int operations = -1;  // -1: none
  };

  // `shared` must outlive the worker; takes over `listeners`. Tokens are held against `keys`.
  Worker(Shared& shared, int index, Sockets listeners, std::unique_ptr<TokenKeys> keys);
  // Joins the thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the thread; the future says whether its ring could be made.
  std::future<Result<void>> start();

  // The thread that calls begin_drain(), before that: requests that come from now on have their tokens held against
  // `keys`.
  void change_keys(std::unique_ptr<TokenKeys> keys);

  // Any thread: as begin_drain() is near, probes are told that we are not ready, and clients to come back on another
  // connection. All is served as before.
  void announce_drain();

  // Any thread, once: stop accepting, finish what is under way, leave.
  void begin_drain();

  // Any thread, before begin_drain(): new connections are served with `context`.
  void set_tls(std::shared_ptr<const TlsContext> context);

  // Whether the thread has come to its end.
  bool has_ended() const { return ended_.load(); }

 private:
  class Parts;
  // Any thread while the worker runs: `call` is made on its thread.
  void post(std::move_only_function<void(Parts&)> call);
  void run(std::promise<Result<void>> ready);

  Shared& shared_;
  const int index_;
  const Sockets listeners_;
  std::unique_ptr<TokenKeys> first_keys_;
  Parts* parts_ = nullptr;  // on the thread's stack while it runs
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace txn
