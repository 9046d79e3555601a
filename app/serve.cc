#include "app/serve.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "app/commands.h"
#include "app/metrics_page.h"
#include "app/metrics_scraper.h"
#include "app/process.h"
#include "app/tls_reload.h"
#include "app/token_key_source.h"
#include "app/worker.h"
#include "core/concat.h"
#include "core/log.h"
#include "core/version.h"
#include "db/connector.h"
#include "db/id_sequence.h"
#include "db/migrate.h"
#include "db/session.h"
#include "net/connection_quota.h"
#include "net/listen.h"

namespace txn {
namespace {

// After the drain's own time-out: until then answers of the database are waited for, and then the process goes anyway.
// Nobody has been told anything by then that is not true.
constexpr int64_t kForceAfterNs = 3 * kNanosPerSecond;

// Descriptors besides clients' and those of the database: rings, mailboxes, listeners, logs.
constexpr int64_t kOwnDescriptors = 160;
constexpr int64_t kRefusalsPerWorker = 64;

// What `ulimit -n` leaves for clients, after raising it as far as it goes. Whoever comes when all are taken is told so:
// with no descriptor left to do that, they would wait without end.
ClientDescriptors share_descriptors(const Settings& settings) {
  const int64_t own = kOwnDescriptors + settings.database_pool_max +
                      (settings.operations_port ? kOperationsConnectionsMax + kOperationsRefusalsMax : 0);
  const int64_t wanted = settings.max_connections + kRefusalsPerWorker * settings.workers + own;
  ClientDescriptors shares{.connections = settings.max_connections,
                           .refusals = static_cast<int>(kRefusalsPerWorker) * settings.workers};
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return shares;
  if (limit.rlim_cur < static_cast<rlim_t>(wanted)) {
    limit.rlim_cur = std::min(static_cast<rlim_t>(wanted), limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  const auto allowed = static_cast<int64_t>(std::min(limit.rlim_cur, static_cast<rlim_t>(wanted)));
  if (allowed == wanted) return shares;
  // Where there are few, half of them: then not everything that is counted as ours is in use either.
  const int64_t for_clients = std::max(allowed - own, allowed / 2);
  const int64_t refusals =
      std::min(kRefusalsPerWorker * settings.workers, std::max<int64_t>(settings.workers, for_clients / 8));
  shares.refusals = static_cast<int>(refusals);
  shares.connections =
      static_cast<int>(std::clamp<int64_t>(for_clients - refusals, settings.workers, settings.max_connections));
  if (shares.connections < settings.max_connections)
    LOG(kWarning, "app.serve", "`ulimit -n` allows fewer connections than MAX_CONNECTIONS; clients beyond get 503")
        .field("max_connections", settings.max_connections)
        .field("open_files", allowed)
        .field("connections", shares.connections);
  return shares;
}

LogLevel level_of(LogThreshold threshold) { return static_cast<LogLevel>(threshold); }

// Why there is no start: in `message`, which is all that some show of a line, and in `exception` as everywhere.
int refuse_start(std::string_view what, const Error& error) {
  LOG(kError, "app.serve", concat(what, ": ", error.message)).field("exception", error.message);
  return kExitFailure;
}

// How long the questions at the start may take. Who has tables locked must not keep the service from answering at all.
constexpr const char* kLimitQuestions = "SET statement_timeout = '5s'";

Result<void> check_database(const Settings& settings) {
  auto session = Session::connect(database_conninfo(settings));
  if (!session) return std::unexpected(session.error());
  if (auto limited = session->run_script(kLimitQuestions); !limited) return limited;
  if (auto fits = check_encoding(*session); !fits) return fits;
  const auto schema = check_schema_version(*session);
  if (!schema) return std::unexpected(schema.error());
  if (auto sound = check_id_sequence(*session); !sound) return sound;
  const auto known = static_cast<int>(embedded_migrations().size());
  if (*schema != known)
    LOG(kWarning, "app.serve",
        *schema < known ? "The database's schema is older than this release's; `migrate` brings it up to date"
                        : "The database's schema is newer than this release, which may serve on it")
        .field("schema", *schema)
        .field("schema_of_release", known);
  return {};
}

// A database that is away now may come back, and whatever keeps us from asking it may pass. What has been read and does
// not fit will not mend itself.
bool database_fits(const Settings& settings) {
  const auto checked = check_database(settings);
  if (checked) return true;
  if (checked.error().kind == ErrorKind::kInvalidArgument) {
    refuse_start("The database is not one that this version can work with", checked.error());
    return false;
  }
  LOG(kWarning, "app.serve", "The database is away; serving 503 until it is there")
      .field("exception", checked.error().message);
  return true;
}

void warn_of_settings(const Settings& settings) {
  for (const std::string& warning : settings.warnings)
    LOG(kWarning, "app.serve", "A setting is not wise").field("exception", warning);
}

// Many clients come through a trusted proxy, and through one on this machine, which is a sidecar more often than not.
std::vector<Cidr> networks_without_quota(const Settings& settings) {
  std::vector<Cidr> networks = settings.trusted_proxies;
  networks.push_back(*parse_cidr("127.0.0.0/8"));
  networks.push_back(*parse_cidr("::1"));
  return networks;
}

int64_t monotonic_ns() {
  SystemClock clock;
  return clock.now_ns();
}

sigset_t handled_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

// Returns the signal that asks to stop, or 0 at `until_ns`. Meanwhile `every_second` is called about as often.
int wait_for_stop(const sigset_t& signals, Reload& reload, const std::function<void()>& every_second,
                  int64_t until_ns = std::numeric_limits<int64_t>::max()) {
  while (true) {
    const int64_t left_ns = std::min(until_ns - monotonic_ns(), kNanosPerSecond);
    if (left_ns <= 0) return 0;
    const timespec pause{left_ns / kNanosPerSecond, left_ns % kNanosPerSecond};
    const int signal = sigtimedwait(&signals, nullptr, &pause);
    if (signal == SIGHUP) {
      reload.run();
    } else if (signal > 0) {
      return signal;
    } else {
      every_second();
    }
  }
}

}  // namespace

int serve(const Settings& settings, const ReadSettings& read_settings) {
  const sigset_t signals = handled_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // inherited by every thread, so that only sigwait sees them
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a log that has come to `ulimit -f` is an error like a full disk
  set_log_level(level_of(settings.log_level));
  const LogWriter log_writer(
      {.directory = settings.log_dir, .max_bytes = settings.log_max_bytes, .backup_count = settings.log_backup_count});

  Reload reload(read_settings);
  reload.add("log level", [](const Settings& now) -> Result<void> {
    set_log_level(level_of(now.log_level));
    return {};
  });
  reload.add("log file", [](const Settings&) -> Result<void> {
    log_reopen_file();
    return {};
  });

  warn_of_settings(settings);
  if (const auto confined = confine_process(settings.core_dumps); !confined)
    return refuse_start("The process cannot be confined", confined.error());
  const ClientDescriptors descriptors = share_descriptors(settings);
  TokenKeySource key_source(settings);
  if (auto loaded = key_source.load(); !loaded)
    return refuse_start("The keys of tokens cannot be used", loaded.error());
  TlsReload tls;
  const auto tls_context = tls.load(settings);
  if (!tls_context) return refuse_start("Cannot serve TLS", tls_context.error());
  if (!database_fits(settings)) return kExitFailure;
  auto listeners = open_listeners(settings.service_host, settings.service_port, settings.workers);
  if (!listeners) return refuse_start("Cannot listen", listeners.error());
  std::optional<Listeners> operations;
  if (settings.operations_port) {
    auto opened = open_listeners(settings.service_host, *settings.operations_port, 1);
    if (!opened) return refuse_start("Cannot listen on OPERATIONS_PORT", opened.error());
    operations = std::move(*opened);
  }
  key_source.log_keys();

  Connector connector({.read_conninfo = [&settings] { return fresh_database_conninfo(settings); },
                       .statement_timeout_ms = settings.database_command_timeout.count()});
  ConnectionQuota connection_quota(static_cast<size_t>(settings.max_connections_per_address),
                                   networks_without_quota(settings));
  const std::unique_ptr<RateLimits> limits =
      settings.rate_limit_enabled ? std::make_unique<RateLimits>(settings) : nullptr;
  std::optional<RedisConnector> redis;
  if (limits && settings.rate_limit_redis) redis.emplace(rate_limit_redis_options(*settings.rate_limit_redis));
  AccountsState accounts(settings.account_service.has_value());
  std::unique_ptr<OtlpExporter> traces;
  if (settings.otlp_endpoint)
    traces = std::make_unique<OtlpExporter>(
        OtlpOptions{.endpoint = *settings.otlp_endpoint, .service_version = std::string(version())});
  MetricsPage metrics_page({.settings = settings,
                            .connections_max = descriptors.connections,
                            .token_keys = key_source.counters(),
                            .tls = tls,
                            .accounts = accounts,
                            .connector = connector.counters(),
                            .traces = traces.get()});
  MetricsScraper metrics_scraper([&](std::string& out, ExpositionFormat format) { metrics_page.write(out, format); });
  Shared shared{.settings = settings,
                .connector = connector,
                .limits = limits.get(),
                .redis = redis ? &*redis : nullptr,
                .metrics_page = metrics_page,
                .metrics_scraper = metrics_scraper,
                .connection_quota = connection_quota,
                .descriptors = descriptors,
                .tls = *tls_context,
                .traces = traces.get(),
                .workers_serving = settings.workers,
                .workers_starting = settings.workers,
                .accounts = accounts};
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::future<Result<void>>> ready;
  for (int i = 0; i < settings.workers; ++i) {
    const Worker::Sockets sockets{.service = listeners->sockets[static_cast<size_t>(i)],
                                  .operations = i == 0 && operations ? operations->sockets.front() : -1};
    workers.push_back(std::make_unique<Worker>(shared, i, sockets, key_source.make_keys()));
    ready.push_back(workers.back()->start());
  }
  bool all_ready = true;
  for (auto& future : ready) {
    const Result<void> result = future.get();
    if (!result && all_ready) {
      LOG(kCritical, "app.serve", concat("Cannot start: ", result.error().message))
          .field("exception", result.error().message);
      all_ready = false;
    }
  }
  if (!all_ready) {
    // Workers that did start are not needed: nobody has been served yet.
    connector.stop();
    if (redis) redis->stop();
    for (auto& worker : workers)
      if (!worker->has_ended()) worker->begin_drain();
    return kExitFailure;
  }

  if (operations)
    LOG(kInfo, "app.serve", "Probes and metrics have a port of their own")
        .field("host", settings.service_host)
        .field("operations_port", operations->port);
  LOG(kInfo, "app.serve", "Transactions service started")
      .field("version", version())
      .field("commit", commit())
      .field("schema_of_release", embedded_migrations().size())
      .field("host", settings.service_host)
      .field("port", listeners->port)
      .field("workers", settings.workers)
      .field("tls", serves_tls(settings))
      .field("pid", getpid());
  tell_supervisor("READY=1");

  const auto change_keys = [&] {
    for (auto& worker : workers) worker->change_keys(key_source.make_keys());
  };
  reload.add("token keys", [&](const Settings& now) -> Result<void> {
    const auto reloaded = key_source.reload(now);
    if (!reloaded) return std::unexpected(reloaded.error());
    if (*reloaded) change_keys();
    return {};
  });
  reload.add("TLS files", [&](const Settings& now) { return tls.reload(now, workers); });
  const auto poll_keys = [&] {
    if (key_source.poll()) change_keys();
  };
  const int stop_signal = wait_for_stop(signals, reload, poll_keys);
  // It waits for as long as its own settings say, unless it is told that we take longer.
  const auto longest = settings.drain_delay + settings.drain_timeout + std::chrono::nanoseconds(2 * kForceAfterNs);
  tell_supervisor(concat("STOPPING=1\nEXTEND_TIMEOUT_USEC=",
                         std::chrono::duration_cast<std::chrono::microseconds>(longest).count()));
  if (settings.drain_delay.count() > 0) {
    LOG(kInfo, "app.serve", "Transactions service about to drain; /readyz is 503, the rest is served as before")
        .field("signal", stop_signal)
        .field("drain_delay_ms", settings.drain_delay.count());
    for (auto& worker : workers) worker->announce_drain();
    // Whoever asks a second time means now.
    wait_for_stop(signals, reload, poll_keys, monotonic_ns() + settings.drain_delay.count() * kNanosPerMilli);
  }
  LOG(kInfo, "app.serve", "Transactions service draining").field("signal", stop_signal);
  for (auto& worker : workers) worker->begin_drain();

  const int64_t deadline_ns = monotonic_ns() + settings.drain_timeout.count() * kNanosPerMilli + kForceAfterNs;
  const auto all_ended = [&] {
    return std::all_of(workers.begin(), workers.end(), [](const auto& worker) { return worker->has_ended(); });
  };
  while (!all_ended()) {
    if (monotonic_ns() > deadline_ns) {
      LOG(kCritical, "app.serve", "The database did not answer in time; leaving without it");
      log_flush(kNanosPerSecond);
      _exit(kExitFailure);
    }
    timespec pause{0, 5 * kNanosPerMilli};
    nanosleep(&pause, nullptr);
  }
  workers.clear();
  traces.reset();  // what is left of them goes out
  LOG(kInfo, "app.serve", "Transactions service stopped");
  return 0;
}

}  // namespace txn
