#include "app/metrics_page.h"

#include <algorithm>

#include "app/problem.h"
#include "app/routes.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/process_stats.h"
#include "core/version.h"

namespace txn {
namespace {

constexpr std::array<std::string_view, kOperationTypeCount> kTypeNames{"deposit", "withdrawal", "transfer"};

constexpr std::string_view kUnmatched = "unmatched";

std::string_view name_of(Method method) { return method == Method::kOther ? "other" : to_string(method); }

// The page being written, with short names for what the metrics below have in common.
class Page {
 public:
  Page(std::string& out, ExpositionFormat format, int64_t start_us, std::span<const WorkerMetrics* const> workers)
      : writer_(out, format, start_us), workers_(workers) {}

  // The sum over all workers of what `read` returns.
  uint64_t sum(const auto& read) const {
    uint64_t total = 0;
    for (const WorkerMetrics* worker : workers_) total += read(*worker);
    return total;
  }

  // Metrics without labels: summed up, or as they are.
  void counter(std::string_view name, std::string_view help, const auto& read) {
    value(name, MetricType::kCounter, help, sum(read));
  }
  void gauge(std::string_view name, std::string_view help, const auto& read) {
    value(name, MetricType::kGauge, help, sum(read));
  }
  void value(std::string_view name, MetricType type, std::string_view help, uint64_t value, unsigned decimals = 0) {
    writer_.family(name, type, help);
    writer_.sample({}, value, decimals);
  }

  // `read` returns a worker's histogram by reference.
  void histogram(std::string_view name, std::string_view help, unsigned decimals, const auto& read) {
    writer_.family(name, MetricType::kHistogram, help);
    histogram_sample({}, decimals, read);
  }
  template <class Read>
  void histogram_sample(std::initializer_list<Label> labels, unsigned decimals, const Read& read) {
    using Summed = std::remove_cvref_t<std::invoke_result_t<Read, const WorkerMetrics&>>;
    typename Summed::Totals totals;
    for (const WorkerMetrics* worker : workers_) read(*worker).add_to(totals);
    writer_.histogram(labels, Summed::bounds(), totals.buckets, totals.sum, decimals);
  }

  ExpositionWriter& writer() { return writer_; }

 private:
  ExpositionWriter writer_;
  std::span<const WorkerMetrics* const> workers_;
};

// Calls `visit` for every endpoint: its number and its name.
void for_each_endpoint(const auto& visit) {
  for (size_t route = 0; route < routes().size(); ++route) {
    if (endpoint_of_route(route) == route) visit(static_cast<uint16_t>(route), routes()[route].pattern);
  }
  visit(kUnmatchedEndpoint, kUnmatched);
}

// Whether the table of routes has that method at that endpoint: these are on the page from the start.
bool is_routed(uint16_t endpoint, Method method) {
  for (size_t route = 0; route < routes().size(); ++route) {
    if (endpoint_of_route(route) == endpoint && routes()[route].method == method) return true;
  }
  return false;
}

void write_requests(Page& page) {
  ExpositionWriter& writer = page.writer();
  writer.family("http_requests_total", MetricType::kCounter,
                "Requests answered, those included that were refused before they were whole.");
  for_each_endpoint([&](uint16_t endpoint, std::string_view pattern) {
    for (size_t m = 0; m < kMethodCount; ++m) {
      const auto method = static_cast<Method>(m);
      for (size_t status = 0; status <= kStatuses.size(); ++status) {
        const uint64_t count = page.sum([&](const WorkerMetrics& worker) {
          return worker.service->requests(endpoint, method).by_status[status].value();
        });
        const bool expected = status == index_of_status(200) && is_routed(endpoint, method);
        if (count == 0 && !expected) continue;
        const std::string text = status < kStatuses.size() ? std::to_string(kStatuses[status]) : std::string("other");
        writer.sample({{"method", name_of(method)}, {"endpoint", pattern}, {"status", text}}, count);
      }
    }
  });

  writer.family("http_request_duration_seconds", MetricType::kHistogram,
                "Time from a whole request in hand to its answer written for sending.");
  for_each_endpoint([&](uint16_t endpoint, std::string_view pattern) {
    for (size_t m = 0; m < kMethodCount; ++m) {
      const auto method = static_cast<Method>(m);
      const auto read = [&](const WorkerMetrics& worker) -> const auto& {
        return worker.service->requests(endpoint, method).duration_ns;
      };
      const uint64_t count = page.sum([&](const WorkerMetrics& worker) { return read(worker).count(); });
      if (count == 0 && !is_routed(endpoint, method)) continue;
      page.histogram_sample({{"method", name_of(method)}, {"endpoint", pattern}}, kNanoDecimals, read);
    }
  });

  writer.family("errors_total", MetricType::kCounter, "Errors told to clients, by error_code.");
  for (size_t i = 0; i < kProblemCount; ++i) {
    const auto problem = static_cast<Problem>(i);
    writer.sample({{"error_type", problem_info(problem).error_code}},
                  page.sum([&](const WorkerMetrics& worker) { return worker.service->errors(problem).value(); }));
  }
}

void write_transactions(Page& page) {
  ExpositionWriter& writer = page.writer();
  const auto for_each_type = [](const auto& visit) {
    for (size_t i = 0; i < kOperationTypeCount; ++i) visit(static_cast<OperationType>(i), kTypeNames[i]);
  };
  writer.family("transactions_total", MetricType::kCounter,
                "Requests to move money that came as far as being read, by whether money moved.");
  for_each_type([&](OperationType type, std::string_view name) {
    const auto read = [&](auto member) {
      return page.sum(
          [&](const WorkerMetrics& worker) { return (worker.service->transactions(type).*member).value(); });
    };
    writer.sample({{"type", name}, {"status", "success"}}, read(&ServiceCounters::Transactions::successes));
    writer.sample({{"type", name}, {"status", "error"}}, read(&ServiceCounters::Transactions::errors));
  });
  writer.family("transaction_amount_total", MetricType::kHistogram, "Amounts of successful transactions.");
  for_each_type([&](OperationType type, std::string_view name) {
    page.histogram_sample({{"type", name}}, kCentDecimals, [&](const WorkerMetrics& worker) -> const auto& {
      return worker.service->transactions(type).amount_cents;
    });
  });
  writer.family("transaction_replays_total", MetricType::kCounter,
                "Requests that got the first answer again because their Idempotency-Key had been used for it.");
  for_each_type([&](OperationType type, std::string_view name) {
    writer.sample({{"type", name}}, page.sum([&](const WorkerMetrics& worker) {
      return worker.service->transactions(type).replays.value();
    }));
  });
}

void write_connections(Page& page, const Settings& settings) {
  page.gauge("http_connections", "Client connections that are open.",
             [](const WorkerMetrics& worker) { return worker.server->connections.value(); });
  page.value("http_connections_max", MetricType::kGauge, "Client connections that may be open: MAX_CONNECTIONS.",
             static_cast<uint64_t>(settings.max_connections));
  page.counter("http_connections_accepted_total", "Client connections accepted, those refused included.",
               [](const WorkerMetrics& worker) { return worker.server->accepted.value(); });
  page.counter("http_connections_refused_total", "Client connections above the limit: answered 503 or closed.",
               [](const WorkerMetrics& worker) { return worker.server->refused.value(); });
  page.counter("http_connection_timeouts_total",
               "Client connections that took too long to send a request or to take an answer.",
               [](const WorkerMetrics& worker) { return worker.server->timeouts.value(); });
  page.counter("http_accept_errors_total", "Accepts that failed for want of descriptors or memory.",
               [](const WorkerMetrics& worker) { return worker.server->accept_errors.value(); });
  page.counter("http_receives_starved_total", "Receives that found no buffer free and had to be tried again.",
               [](const WorkerMetrics& worker) { return worker.server->starved.value(); });
}

void write_ledger(Page& page) {
  page.gauge("ledger_queue_depth", "Operations that wait for a lane.",
             [](const WorkerMetrics& worker) { return worker.ledger->queued.value(); });
  page.histogram("ledger_batch_operations", "Operations in a batch; the sum is all operations carried out.", 0,
                 [](const WorkerMetrics& worker) -> const auto& { return worker.ledger->batch_size; });
  page.histogram("ledger_batch_duration_seconds",
                 "Time from taking a batch to its answers; a batch is one database transaction unless it had to be "
                 "split or asked about.",
                 kNanoDecimals, [](const WorkerMetrics& worker) -> const auto& { return worker.ledger->batch_ns; });
  page.writer().family("ledger_refused_total", MetricType::kCounter,
                       "Operations refused with 503, certain not to have been applied, by reason.");
  page.writer().sample({{"reason", "queue_full"}},
                       page.sum([](const WorkerMetrics& worker) { return worker.ledger->refused_full.value(); }));
  page.writer().sample({{"reason", "database_away"}},
                       page.sum([](const WorkerMetrics& worker) { return worker.ledger->refused_away.value(); }));
  page.counter("ledger_abandoned_total", "Operations not begun because their client had gone.",
               [](const WorkerMetrics& worker) { return worker.ledger->abandoned.value(); });
  page.counter("ledger_retried_total", "Operations put back in the queue because their batch was lost unapplied.",
               [](const WorkerMetrics& worker) { return worker.ledger->retried.value(); });
  page.counter("ledger_batches_failed_total", "Batches that the database refused as a whole.",
               [](const WorkerMetrics& worker) { return worker.ledger->batches_failed.value(); });
  page.counter("ledger_commits_in_doubt_total", "Batches whose connection broke during COMMIT.",
               [](const WorkerMetrics& worker) { return worker.ledger->commits_in_doubt.value(); });
  page.counter("ledger_outcomes_unknown_total",
               "Operations in batches of which it was not found out in time whether "
               "they were committed.",
               [](const WorkerMetrics& worker) { return worker.ledger->outcomes_unknown.value(); });
  page.counter("pins_locked_total", "PINs locked by a third wrong one in a row.",
               [](const WorkerMetrics& worker) { return worker.ledger->pins_locked.value(); });
}

void write_limits(Page& page) {
  page.writer().family("rate_limit_requests_total", MetricType::kCounter,
                       "Requests held to a rate limit, by whether they were admitted or answered 429.");
  page.writer().sample({{"result", "admitted"}},
                       page.sum([](const WorkerMetrics& worker) { return worker.limits->admitted.value(); }));
  page.writer().sample({{"result", "refused"}},
                       page.sum([](const WorkerMetrics& worker) { return worker.limits->refused.value(); }));
  page.counter("rate_limit_evictions_total", "Clients forgotten while they counted, because there was no room.",
               [](const WorkerMetrics& worker) { return worker.limits->evictions.value(); });
  page.counter("rate_limit_unshared_total",
               "Requests counted in memory that should have been counted in Redis, which was of no use.",
               [](const WorkerMetrics& worker) { return worker.limits->unshared.value(); });
  const auto redis = [&](Counter RedisCounters::* member) {
    return
        [member](const WorkerMetrics& worker) { return worker.redis == nullptr ? 0 : (worker.redis->*member).value(); };
  };
  page.counter("redis_connects_total", "Connections to Redis opened.", redis(&RedisCounters::connects));
  page.counter("redis_connections_lost_total", "Connections to Redis that broke or were given up.",
               redis(&RedisCounters::losses));
  page.counter("redis_timeouts_total", "Connections to Redis given up for want of an answer in time.",
               redis(&RedisCounters::timeouts));
}

void write_database(Page& page, const Settings& settings) {
  page.gauge("db_connection_pool_size", "Database connections that are open.",
             [](const WorkerMetrics& worker) { return worker.database->connections.value(); });
  page.value("db_connection_pool_max", MetricType::kGauge,
             "Database connections that this process may have: DATABASE_POOL_MAX.",
             static_cast<uint64_t>(settings.database_pool_max));
  page.gauge("db_connections_busy", "Database connections that wait for an answer.",
             [](const WorkerMetrics& worker) { return worker.database->busy.value(); });
  page.counter("db_connects_total", "Database connections opened.",
               [](const WorkerMetrics& worker) { return worker.database->connects.value(); });
  page.counter("db_connections_lost_total", "Database connections that broke or did not answer in time.",
               [](const WorkerMetrics& worker) { return worker.database->losses.value(); });
  page.counter("db_round_trips_total", "Exchanges with the database, each of one or more statements.",
               [](const WorkerMetrics& worker) { return worker.database->exchanges.value(); });
  page.counter("db_statements_total", "Statements sent to the database.",
               [](const WorkerMetrics& worker) { return worker.database->statements.value(); });
  page.gauge("db_read_queue_depth", "Reads that wait for a connection.",
             [](const WorkerMetrics& worker) { return worker.reader->queued.value(); });
  page.counter("db_reads_total", "Reads asked for, those of the service itself included.",
               [](const WorkerMetrics& worker) { return worker.reader->reads.value(); });
  page.counter("db_reads_failed_total", "Reads that the database answered with an error.",
               [](const WorkerMetrics& worker) { return worker.reader->failed.value(); });
  page.counter("db_reads_refused_total", "Reads given up: the database was away, or no connection free in time.",
               [](const WorkerMetrics& worker) { return worker.reader->refused.value(); });
}

void write_tokens(Page& page, const TokenKeySourceCounters& keys) {
  constexpr std::array<std::string_view, kTokenErrorCount> kReasons{"malformed", "bad_signature", "expired",
                                                                    "not_yet_valid", "wrong_claims"};
  page.counter("tokens_accepted_total", "Tokens that held.",
               [](const WorkerMetrics& worker) { return worker.tokens->accepted.value(); });
  page.writer().family("tokens_refused_total", MetricType::kCounter, "Tokens that did not hold.");
  for (size_t i = 0; i < kReasons.size(); ++i) {
    page.writer().sample({{"reason", kReasons[i]}},
                         page.sum([i](const WorkerMetrics& worker) { return worker.tokens->refused[i].value(); }));
  }
  page.counter("token_cache_hits_total", "Tokens that had been verified before and were remembered.",
               [](const WorkerMetrics& worker) { return worker.tokens->cache_hits.value(); });
  page.counter("token_cache_misses_total", "Tokens that were looked for among those remembered, in vain.",
               [](const WorkerMetrics& worker) { return worker.tokens->cache_misses.value(); });
  page.counter("token_cache_evictions_total", "Tokens forgotten to make room for others.",
               [](const WorkerMetrics& worker) { return worker.tokens->cache_evictions.value(); });
  page.value("token_key_changes_total", MetricType::kCounter, "New keys of tokens taken over while running.",
             keys.replaced);
  page.value("token_key_failures_total", MetricType::kCounter,
             "New keys of tokens that could not be used; the old ones stayed.", keys.failed);
}

// Without TLS these have no value.
void write_tls(Page& page, const TlsReload& tls) {
  const TlsReload::Counters counters = tls.counters();
  const auto write = [&](std::string_view name, MetricType type, std::string_view help, uint64_t value) {
    page.writer().family(name, type, help);
    if (counters.certificate_not_after > 0) page.writer().sample({}, value);
  };
  write("tls_certificate_not_after_timestamp_seconds", MetricType::kGauge,
        "When the first certificate of the chain served expires, since unix epoch in seconds.",
        static_cast<uint64_t>(counters.certificate_not_after));
  write("tls_reloads_total", MetricType::kCounter, "Times that certificate and key were read anew and taken over.",
        counters.reloads);
  write("tls_reload_failures_total", MetricType::kCounter,
        "Times that what was read anew could not be used; the old certificate stayed.", counters.reloads_failed);
}

void write_dependencies(Page& page, std::span<const WorkerMetrics* const> workers, const AccountsState& accounts) {
  const SystemClock clock;
  const bool database_up = !workers.empty() && std::ranges::all_of(workers, [&](const WorkerMetrics* worker) {
    return worker->health->is_database_up(clock.now_ns());
  });
  page.value("database_up", MetricType::kGauge, "1 when every worker has had an answer from the database lately.",
             database_up ? 1 : 0);
  page.counter("database_checks_total", "Questions to the database whether it is there.",
               [](const WorkerMetrics& worker) { return worker.health->database_questions.value(); });
  page.counter("database_check_failures_total", "Those that it did not answer, or with an error.",
               [](const WorkerMetrics& worker) { return worker.health->database_failures.value(); });

  // Without ACCOUNT_SERVICE_URL these have no value: away and not wanted are not the same.
  const AccountsState::Counters counters = accounts.counters();
  const bool accounts_up = accounts.read(clock.now_ns()).verdict == AccountsState::Verdict::kHealthy;
  const auto write = [&](std::string_view name, MetricType type, std::string_view help, uint64_t value) {
    page.writer().family(name, type, help);
    if (counters.configured) page.writer().sample({}, value);
  };
  write("accounts_service_up", MetricType::kGauge, "1 when the accounts service answered the last question with 2xx.",
        accounts_up ? 1 : 0);
  write("accounts_service_checks_total", MetricType::kCounter, "Questions to the accounts service how it is.",
        counters.questions);
  write("accounts_service_check_failures_total", MetricType::kCounter, "Those that did not find it healthy.",
        counters.failures);
}

void write_process(Page& page, const Settings& settings, int64_t start_us) {
  page.histogram("event_loop_turn_duration_seconds", "Time at work in a turn of an event loop, its wait left out.",
                 kNanoDecimals, [](const WorkerMetrics& worker) -> const auto& { return worker.loop->turn_ns; });
  page.counter("event_loop_completion_overflows_total",
               "Waits that found more completions than the ring has room for; the kernel had kept them.",
               [](const WorkerMetrics& worker) { return worker.ring->overflows(); });
  page.value("log_lines_dropped_total", MetricType::kCounter, "Log lines dropped because their queue was full.",
             log_counters().lines_dropped);
  page.writer().family("transactions_service_build_info", MetricType::kGauge, "Always 1; the labels say what runs.");
  page.writer().sample({{"version", version()}, {"compiler", __VERSION__}}, 1);
  page.value("transactions_service_workers", MetricType::kGauge, "Event loops of this process: WORKERS.",
             static_cast<uint64_t>(settings.workers));

  const ProcessStats stats = read_process_stats();
  page.value("process_cpu_seconds_total", MetricType::kCounter, "Total user and system CPU time spent in seconds.",
             stats.cpu_ns, kNanoDecimals);
  page.value("process_resident_memory_bytes", MetricType::kGauge, "Resident memory size in bytes.",
             stats.resident_bytes);
  page.value("process_virtual_memory_bytes", MetricType::kGauge, "Virtual memory size in bytes.", stats.virtual_bytes);
  page.value("process_virtual_memory_max_bytes", MetricType::kGauge,
             "Maximum amount of virtual memory available in bytes.", stats.virtual_max_bytes);
  page.value("process_open_fds", MetricType::kGauge, "Number of open file descriptors.", stats.open_fds);
  page.value("process_max_fds", MetricType::kGauge, "Maximum number of open file descriptors.", stats.max_fds);
  page.value("process_threads", MetricType::kGauge, "Number of OS threads in the process.", stats.threads);
  page.value("process_start_time_seconds", MetricType::kGauge, "Start time of the process since unix epoch in seconds.",
             static_cast<uint64_t>(start_us), kMicroDecimals);
}

}  // namespace

MetricsPage::MetricsPage(const Settings& settings, const TokenKeySourceCounters& token_keys, const TlsReload& tls,
                         const AccountsState& accounts)
    : settings_(settings), token_keys_(token_keys), tls_(tls), accounts_(accounts), start_us_(process_start_us()) {}

MetricsPage::Registration::Registration(MetricsPage& page, const WorkerMetrics& worker) : page_(page), worker_(worker) {
  const std::lock_guard lock(page_.mutex_);
  page_.workers_.push_back(&worker_);
}

MetricsPage::Registration::~Registration() {
  const std::lock_guard lock(page_.mutex_);
  std::erase(page_.workers_, &worker_);
}

void MetricsPage::write(std::string& out, ExpositionFormat format) const {
  const std::lock_guard lock(mutex_);
  Page page(out, format, start_us_, workers_);
  write_requests(page);
  write_transactions(page);
  write_connections(page, settings_);
  write_ledger(page);
  write_limits(page);
  write_database(page, settings_);
  write_tokens(page, token_keys_);
  write_tls(page, tls_);
  write_dependencies(page, workers_, accounts_);
  write_process(page, settings_, start_us_);
  page.writer().finish();
}

}  // namespace txn
