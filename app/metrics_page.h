// The page that Prometheus reads: every metric of the process, added up over its workers. docs/observability.md has the
// table of them, and a test that compares it with this page.
//
// To add a metric: let its owner keep a Counter, Gauge or Histogram (core/metrics.h), point to its struct in
// WorkerMetrics, fill that in where the worker is put together (app/worker.cc), write it in metrics_page.cc, and add
// its line to the table.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "app/accounts_service.h"
#include "app/health.h"
#include "app/rate_limit.h"
#include "app/service_counters.h"
#include "app/tls_reload.h"
#include "app/token.h"
#include "app/token_key_source.h"
#include "core/config.h"
#include "core/exposition.h"
#include "core/loop.h"
#include "core/ring.h"
#include "db/connector.h"
#include "db/ledger.h"
#include "db/ledger_audit.h"
#include "db/pg_connection.h"
#include "db/reader.h"
#include "db/redis_client.h"
#include "net/http_server.h"

namespace txn {

// Where a worker's numbers are.
struct WorkerMetrics {
  const Ring* ring;
  const LoopCounters* loop;
  const HttpServerCounters* server;
  const TlsCounters* tls;
  const ServiceCounters* service;
  const DatabaseCounters* database;
  const LedgerCounters* ledger;
  const Counter* unreadable;  // rows
  const ReaderCounters* reader;
  const TokenCounters* tokens;
  const RateLimitCounters* limits;
  const RedisCounters* redis;  // nullptr: rate limits are counted in memory
  const LedgerAuditCounters* audit;
  const HealthCounters* health;
};

class OtlpExporter;
class TlsReload;

// What the process has once.
struct ProcessMetrics {
  const Settings& settings;
  int connections_max = 0;  // clients, as far as `ulimit -n` has room for them
  const TokenKeySourceCounters& token_keys;
  const TlsReload& tls;
  const AccountsState& accounts;
  const ConnectorCounters& connector;
  const OtlpExporter* traces;  // nullptr: requests are not traced
};

class MetricsPage {
 public:
  // What is pointed to must outlive the page.
  explicit MetricsPage(const ProcessMetrics& process);

  // A worker's numbers are on the page from here on until this is destroyed, which waits for a page being written.
  class Registration {
   public:
    Registration(MetricsPage& page, const WorkerMetrics& worker);
    ~Registration();
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

   private:
    MetricsPage& page_;
    const WorkerMetrics worker_;
  };

  // Appends the page. Any thread but a worker's: reads /proc, and may wait for another page being written. The time it
  // takes does not depend on the traffic.
  void write(std::string& out, ExpositionFormat format) const;

 private:
  const ProcessMetrics process_;
  const int64_t start_us_;
  mutable std::mutex mutex_;
  std::vector<const WorkerMetrics*> workers_;  // guarded by mutex_
};

}  // namespace txn
