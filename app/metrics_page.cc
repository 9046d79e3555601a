#include "app/metrics_page.h"

#include <algorithm>

#include "app/problem.h"
#include "app/routes.h"
#include "app/tls_reload.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/process_stats.h"
#include "core/version.h"
#include "net/otlp_exporter.h"

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

void write_connections(Page& page, int connections_max) {
  page.gauge("http_connections", "Client connections that are open.",
             [](const WorkerMetrics& worker) { return worker.server->connections.value(); });
  page.value("http_connections_max", MetricType::kGauge,
             "Client connections that may be open: MAX_CONNECTIONS, or what ulimit -n allows.",
             static_cast<uint64_t>(connections_max));
  page.counter("http_connections_accepted_total", "Client connections accepted, those refused included.",
               [](const WorkerMetrics& worker) { return worker.server->accepted.value(); });
  page.counter("http_connections_refused_total", "Client connections above a limit: answered 503 or closed.",
               [](const WorkerMetrics& worker) { return worker.server->refused.value(); });
  page.counter("http_connections_refused_by_address_total",
               "Of these, because their address had MAX_CONNECTIONS_PER_ADDRESS.",
               [](const WorkerMetrics& worker) { return worker.server->refused_by_address.value(); });
  page.counter("http_connection_timeouts_total",
               "Client connections that took too long to send a request or to take an answer.",
               [](const WorkerMetrics& worker) { return worker.server->timeouts.value(); });
  page.counter("http_accept_errors_total", "Accepts that failed for want of descriptors or memory.",
               [](const WorkerMetrics& worker) { return worker.server->accept_errors.value(); });
  page.counter("http_receives_starved_total", "Receives that found no buffer free and had to be tried again.",
               [](const WorkerMetrics& worker) { return worker.server->starved.value(); });
}

void write_tls(Page& page, const TlsReload::Counters& files) {
  page.counter("tls_handshakes_total", "TLS handshakes completed.",
               [](const WorkerMetrics& worker) { return worker.tls->handshakes.value(); });
  page.counter("tls_handshakes_resumed_total", "TLS handshakes completed that resumed a session by a ticket.",
               [](const WorkerMetrics& worker) { return worker.tls->handshakes_resumed.value(); });
  page.counter("tls_handshakes_failed_total", "TLS handshakes that failed.",
               [](const WorkerMetrics& worker) { return worker.tls->handshakes_failed.value(); });
  page.counter("tls_handshake_timeouts_total", "TLS handshakes that took too long.",
               [](const WorkerMetrics& worker) { return worker.tls->handshakes_timed_out.value(); });
  page.counter("tls_plain_http_total", "Connections that spoke plain HTTP to a TLS port, answered 400.",
               [](const WorkerMetrics& worker) { return worker.tls->plain_http_refused.value(); });
  page.value("tls_reloads_total", MetricType::kCounter,
             "Times that the certificate files were read again and taken over.", files.reloads);
  page.value("tls_reloads_failed_total", MetricType::kCounter,
             "Times that the certificate files were read again and were of no use.", files.reloads_failed);
  // Without TLS it has no value: 0 would be a certificate that has expired.
  page.writer().family("tls_certificate_expiry_timestamp_seconds", MetricType::kGauge,
                       "Unix time at which the first certificate of the served chain expires; absent without TLS.");
  if (files.certificate_not_after > 0) page.writer().sample({}, static_cast<uint64_t>(files.certificate_not_after));
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
  page.counter("ledger_turns_awaited_total", "Times that a lane let another's batch on the same accounts go first.",
               [](const WorkerMetrics& worker) { return worker.ledger->turns_awaited.value(); });
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
  page.gauge("ledger_operations_held_up", "Operations that wait for an account that somebody else has locked.",
             [](const WorkerMetrics& worker) { return worker.ledger->held_up.value(); });
  page.counter("ledger_accounts_held_up_total", "Times that an account was found to be locked by somebody else.",
               [](const WorkerMetrics& worker) { return worker.ledger->held_up_found.value(); });
  page.counter("ledger_sessions_refused_total",
               "Database sessions given up for what was answered in them, or for being somebody else's.",
               [](const WorkerMetrics& worker) { return worker.ledger->sessions_refused.value(); });
  page.counter("ledger_sessions_superseded_total", "Database sessions given up because a newer primary had been seen.",
               [](const WorkerMetrics& worker) { return worker.ledger->superseded.value(); });
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

void write_audit(Page& page) {
  page.value(
      "ledger_verified_through", MetricType::kGauge,
      "Unix time up to which the continuous audit has looked at all accounts; 0 before its first round is complete.",
      page.sum([](const WorkerMetrics& worker) { return worker.audit->verified_through_us.value(); }), kMicroDecimals);
  page.gauge("ledger_imbalance", "Differences between accounts and their log that the continuous audit knows of.",
             [](const WorkerMetrics& worker) { return worker.audit->imbalance.value(); });
  page.value("ledger_audit_round_timestamp_seconds", MetricType::kGauge,
             "Unix time at which the continuous audit completed its last round; 0 before the first.",
             page.sum([](const WorkerMetrics& worker) { return worker.audit->round_completed_us.value(); }),
             kMicroDecimals);
  page.counter("ledger_audit_rounds_total", "Rounds over all accounts that the continuous audit has completed.",
               [](const WorkerMetrics& worker) { return worker.audit->rounds.value(); });
  page.counter("ledger_audit_accounts_total", "Accounts that the continuous audit has looked at.",
               [](const WorkerMetrics& worker) { return worker.audit->accounts.value(); });
  page.counter("ledger_audit_rows_total", "Log rows that the continuous audit has looked at.",
               [](const WorkerMetrics& worker) { return worker.audit->rows.value(); });
  page.counter("ledger_audit_failures_total", "Steps of the continuous audit that the database did not answer.",
               [](const WorkerMetrics& worker) { return worker.audit->failures.value(); });
}

void write_database(Page& page, const Settings& settings, const ConnectorCounters& connector) {
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
  page.writer().family("db_servers_refused_total", MetricType::kCounter,
                       "Connections to a database server that was not used.");
  page.writer().sample({{"reason", "superseded"}}, connector.refused_superseded);
  page.writer().sample({{"reason", "other_cluster"}}, connector.refused_other_cluster);
  page.writer().sample({{"reason", "pooled"}}, connector.refused_pooled);
  page.counter("db_round_trips_total", "Exchanges with the database, each of one or more statements.",
               [](const WorkerMetrics& worker) { return worker.database->exchanges.value(); });
  page.counter("db_statements_total", "Statements sent to the database.",
               [](const WorkerMetrics& worker) { return worker.database->statements.value(); });
  page.counter("database_unreadable_values_total", "Rows read that the service could not have written.",
               [](const WorkerMetrics& worker) { return worker.unreadable->value(); });
  page.gauge("db_read_queue_depth", "Reads that wait for a connection.",
             [](const WorkerMetrics& worker) { return worker.reader->queued.value(); });
  page.counter("db_reads_total", "Reads asked for, those of the service itself included.",
               [](const WorkerMetrics& worker) { return worker.reader->reads.value(); });
  page.counter("db_reads_failed_total", "Reads that the database answered with an error.",
               [](const WorkerMetrics& worker) { return worker.reader->failed.value(); });
  page.counter("db_reads_refused_total", "Reads given up: the database was away, or no connection free in time.",
               [](const WorkerMetrics& worker) { return worker.reader->refused.value(); });
  page.counter("db_reads_deferred_total", "Reads that waited because their subject had as many on the way as it may.",
               [](const WorkerMetrics& worker) { return worker.reader->deferred.value(); });
  page.counter("db_reads_abandoned_total", "Reads not sent because their client had gone.",
               [](const WorkerMetrics& worker) { return worker.reader->abandoned.value(); });
  page.counter("db_read_sessions_replaced_total", "Read connections made anew after an error of their session.",
               [](const WorkerMetrics& worker) { return worker.reader->sessions_replaced.value(); });
}

void write_tokens(Page& page, const TokenKeySourceCounters& keys) {
  page.counter("tokens_accepted_total", "Tokens that held.",
               [](const WorkerMetrics& worker) { return worker.tokens->accepted.value(); });
  page.writer().family("tokens_refused_total", MetricType::kCounter, "Tokens that did not hold.");
  for (size_t i = 0; i < kTokenErrorKindCount; ++i) {
    page.writer().sample({{"reason", to_string(static_cast<TokenErrorKind>(i))}},
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

void write_logs(Page& page, const OtlpExporter* traces) {
  const auto counter = [&](std::string_view name, std::string_view help, uint64_t value) {
    page.value(name, MetricType::kCounter, help, value);
  };
  const LogCounters log = log_counters();
  counter("log_lines_total", "Log lines handed to their writer.", log.lines);
  counter("log_lines_dropped_total", "Log lines dropped because their ring was full.", log.lines_dropped);
  counter("log_stderr_lines_dropped_total", "Log lines that standard error was too slow for.",
          log.stderr_lines_dropped);
  counter("log_file_lines_dropped_total", "Log lines that could not be written to the log file.",
          log.file.lines_dropped);
  counter("log_file_written_bytes_total", "Bytes written to the log file.", log.file.bytes);
  counter("log_file_rotations_total", "Times that a new log file was begun because the last was full.",
          log.file.rotations);
  counter("log_file_errors_total", "System calls on the log file that failed, retries included.", log.file.errors);
  const OtlpCounters spans = traces == nullptr ? OtlpCounters{} : traces->counters();
  page.writer().family("otlp_spans_total", MetricType::kCounter, "Spans of traces, by what became of them.");
  page.writer().sample({{"result", "exported"}}, spans.spans_exported);
  page.writer().sample({{"result", "dropped"}}, spans.spans_dropped);
  page.writer().sample({{"result", "failed"}}, spans.spans_failed);
  counter("otlp_request_failures_total", "Requests to the collector of traces that did not succeed.", spans.failures);
}

void write_dependencies(Page& page, std::span<const WorkerMetrics* const> workers, const AccountsState& accounts) {
  const SystemClock clock;
  const bool database_up = !workers.empty() && std::ranges::all_of(workers, [&](const WorkerMetrics* worker) {
    return worker->health->is_database_up(clock.now_ns());
  });
  page.value("database_up", MetricType::kGauge,
             "1 when every worker has moved money lately, or has found that it could.", database_up ? 1 : 0);
  page.counter("database_checks_total", "Questions to the database whether money could move, asked while none did.",
               [](const WorkerMetrics& worker) { return worker.ledger->probes.value(); });
  page.counter("database_check_failures_total", "Those that it did not answer, or with an error.",
               [](const WorkerMetrics& worker) { return worker.ledger->probes_failed.value(); });

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
  page.writer().family("transactions_service_build_info", MetricType::kGauge, "Always 1; the labels say what runs.");
  page.writer().sample({{"version", version()}, {"commit", commit()}, {"compiler", __VERSION__}}, 1);
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

MetricsPage::MetricsPage(const ProcessMetrics& process) : process_(process), start_us_(process_start_us()) {}

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
  write_connections(page, process_.connections_max);
  write_tls(page, process_.tls.counters());
  write_ledger(page);
  write_limits(page);
  write_audit(page);
  write_database(page, process_.settings, process_.connector);
  write_tokens(page, process_.token_keys);
  write_dependencies(page, workers_, process_.accounts);
  write_logs(page, process_.traces);
  write_process(page, process_.settings, start_us_);
  page.writer().finish();
}

}  // namespace txn
