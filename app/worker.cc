#include "app/worker.h"

#include <pthread.h>

#include <algorithm>
#include <coroutine>
#include <optional>
#include <span>
#include <utility>

#include "app/context.h"
#include "app/health.h"
#include "app/idempotency.h"
#include "app/money_answer.h"
#include "app/pin.h"
#include "app/routes.h"
#include "app/rules.h"
#include "app/service.h"
#include "core/log.h"
#include "core/loop.h"
#include "db/key_expiry.h"
#include "db/ledger.h"
#include "db/ledger_audit.h"
#include "db/pg_lane_store.h"
#include "db/reader.h"
#include "db/redis_client.h"
#include "net/cors.h"
#include "net/http_server.h"

namespace txn {
namespace {

// What PINs and requests are hashed under.
std::span<const uint8_t> hash_secret(const Settings& settings) {
  const std::string& text = settings.pin_secret_key.empty() ? settings.jwt_secret_key : settings.pin_secret_key;
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The rules with what they need besides the accounts.
class Books final : public BatchRules {
 public:
  explicit Books(const Settings& settings) : pins_(hash_secret(settings)) {}

  Outcome decide(const Operation& operation, std::span<AccountState> accounts, const TransferLimits& limits,
                 int64_t now_us, int64_t transaction_id, std::vector<LogRow>& log) const override {
    return txn::decide(operation, accounts, transaction_id, {.limits = limits, .now_us = now_us, .pins = pins_}, log);
  }

  StoredAnswer render(const Operation& operation, const Outcome& outcome, std::string_view request_id) const override {
    StoredAnswer answer;
    answer.status = static_cast<int16_t>(append_money_answer(answer.body, operation, outcome, request_id));
    return answer;
  }

 private:
  PinHasher pins_;
};

// Longest that a worker holds back its first clients for Redis, and how often it looks.
constexpr int64_t kRedisWaitNs = kNanosPerSecond;
constexpr int64_t kRedisWaitStepNs = 10 * kNanosPerMilli;

// How often it is looked whether other workers still have clients.
constexpr int64_t kOthersServeStepNs = 20 * kNanosPerMilli;

LedgerOptions ledger_options(const Settings& settings) {
  return {.lanes = settings.ledger_lanes,
          .queue_max = static_cast<size_t>(settings.ledger_queue_max),
          .batch_max = static_cast<size_t>(settings.ledger_batch_max),
          .queue_delay_max_ns = settings.ledger_queue_delay_max.count() * kNanosPerMilli};
}

static_assert(kLedgerBatchMaxLimit <= kIdsPerBlock, "a lane reserves one block of ids a batch");

ReaderOptions reader_options(const Settings& settings) {
  return {.connections = connection_share(settings.workers, settings.ledger_lanes, settings.database_pool_min).readers,
          .command_timeout_ns = settings.database_command_timeout.count() * kNanosPerMilli};
}

HttpServerOptions server_options(Shared& shared, const CorsPolicy& cors) {
  const Settings& settings = shared.settings;
  return {.max_connections = static_cast<size_t>(shared.descriptors.connections / settings.workers),
          .max_refusals = static_cast<size_t>(shared.descriptors.refusals / settings.workers),
          .idle_timeout_ns = settings.keepalive_timeout.count() * kNanosPerMilli,
          .cors = cors.is_enabled() ? &cors : nullptr,
          .quota = &shared.connection_quota};
}

// Probes and scrapers are a handful, of the operator's own network. Nobody else is to get there, so no quotas.
HttpServerOptions operations_server_options(const Settings& settings) {
  return {.max_connections = kOperationsConnectionsMax,
          .max_refusals = kOperationsRefusalsMax,
          .idle_timeout_ns = settings.keepalive_timeout.count() * kNanosPerMilli};
}

std::unique_ptr<TokenVerifier> make_verifier(const Settings& settings, std::unique_ptr<TokenKeys> keys) {
  auto verifier = TokenVerifier::create(std::move(keys), token_policy(settings), kTokenCacheEntries);
  CHECK(verifier.has_value(), "the settings were validated before");
  return std::move(*verifier);
}

}  // namespace

// The parts list. Construction goes down the page, destruction up.
class Worker::Parts {
 public:
  Parts(Shared& shared, int index, std::unique_ptr<Ring> ring, std::unique_ptr<TokenKeys> keys)
      : shared_(shared),
        index_(index),
        loop_(std::move(ring), clock_),
        books_(shared.settings),
        redis_(shared.redis == nullptr ? nullptr
                                       : std::make_unique<RedisClient>(loop_, *shared.redis, shared.redis_health)),
        limits_(shared.settings, clock_, shared.limits, redis_.get()),
        tokens_(make_verifier(shared.settings, std::move(keys))),
        cors_(shared.settings.cors_allowed_origins),
        fingerprints_(hash_secret(shared.settings)),
        unreadable_(clock_),
        ledger_(loop_, books_, shared.accounts_in_flight, ledger_options(shared.settings),
                [this](std::function<void()> on_lost) {
                  return std::make_unique<PgLaneStore>(
                      loop_, shared_.connector, database_counters_, unreadable_,
                      shared_.settings.database_command_timeout.count() * kNanosPerMilli, std::move(on_lost));
                }),
        reader_(loop_, shared.connector, database_counters_, reader_options(shared.settings)),
        health_(loop_, ledger_, shared.accounts, shared.workers_starting, shared.workers_away),
        key_expiry_(loop_, reader_),
        ledger_audit_(loop_, reader_, unreadable_),
        counters_(routes().size()),
        context_{.settings = shared.settings,
                 .clock = clock_,
                 .loop = loop_,
                 .limits = limits_,
                 .tokens = *tokens_,
                 .bodies = bodies_,
                 .fingerprints = fingerprints_,
                 .ledger = ledger_,
                 .reader = reader_,
                 .unreadable = unreadable_,
                 .health = health_,
                 .counters = counters_,
                 .scraper = shared.metrics_scraper,
                 .spans = shared.traces != nullptr ? &shared.traces->add_producer() : nullptr,
                 .scratch = scratch_},
        service_(context_, handlers_, ServicePort::kService),
        server_(loop_, service_, server_options(shared, cors_)),
        on_metrics_page_(shared.metrics_page, {.ring = &loop_.ring(),
                                               .loop = &loop_.counters(),
                                               .server = &server_.counters(),
                                               .tls = &server_.tls_counters(),
                                               .service = &counters_,
                                               .database = &database_counters_,
                                               .ledger = &ledger_.counters(),
                                               .unreadable = &unreadable_.count(),
                                               .reader = &reader_.counters(),
                                               .tokens = &tokens_->counters(),
                                               .limits = &limits_.counters(),
                                               .redis = redis_ ? &redis_->counters() : nullptr,
                                               .audit = &ledger_audit_.counters(),
                                               .health = &health_.counters()}) {
    server_.set_tls(shared.tls);
    // One worker does it for the process.
    if (index_ == 0 && shared.settings.operations_port)
      operations_.emplace(loop_, context_, handlers_, operations_server_options(shared.settings));
    if (index_ == 0 && shared.settings.account_service)
      accounts_probe_.emplace(loop_, *shared.settings.account_service, shared.accounts);
  }

  Loop& loop() { return loop_; }
  HttpServer& server() { return server_; }

  void run(const Sockets& listeners) {
    main_.spawn(serve(listeners));
    loop_.run();
  }

  // On the loop's thread, as the next.
  void change_keys(std::unique_ptr<TokenKeys> keys) { tokens_->set_keys(std::move(keys)); }
  void announce_drain() {
    health_.set_draining();
    server_.announce_drain();
  }
  void begin_drain() {
    draining_ = true;
    if (drain_waiter_) std::exchange(drain_waiter_, nullptr).resume();
  }

 private:
  // OPERATIONS_PORT.
  struct Operations {
    Operations(Loop& loop, Context& context, Scope& handlers, const HttpServerOptions& options)
        : service(context, handlers, ServicePort::kOperations), server(loop, service, options) {}
    Service service;
    HttpServer server;
  };

  class AbortTimer final : public Timer {
   public:
    explicit AbortTimer(HttpServer& server) : server_(&server) {}
    bool has_expired() const { return has_expired_; }
    // From here on it is about this one.
    void turn_to(HttpServer& server) { server_ = &server; }
    void on_timer() override {
      has_expired_ = true;
      LOG(kWarning, "app.worker", "The drain took too long; ending the connections that are left")
          .field("connections", server_->connection_count());
      server_->abort_all();
    }

   private:
    HttpServer* server_;
    bool has_expired_ = false;
  };

  auto drain_requested() {
    struct Requested {
      Parts& parts;
      bool await_ready() const { return parts.draining_; }
      void await_suspend(std::coroutine_handle<> handle) const { parts.drain_waiter_ = handle; }
      void await_resume() const {}
    };
    return Requested{*this};
  }

  // The life of a worker.
  Task<void> serve(Sockets listeners) {
    ledger_.start(background_);
    reader_.start(background_);
    health_.start(background_);
    if (index_ == 0) {
      key_expiry_.start(background_);
      ledger_audit_.start(background_);
    }
    if (accounts_probe_) accounts_probe_->start(background_);
    if (redis_) {
      redis_->start(background_);
      // The first requests had better be counted where the others are.
      for (int64_t waited_ns = 0; waited_ns < kRedisWaitNs && !redis_->has_tried(); waited_ns += kRedisWaitStepNs)
        co_await loop_.sleep_for(kRedisWaitStepNs);
    }
    server_.start(listeners.service);
    if (operations_) operations_->server.start(listeners.operations);

    co_await drain_requested();
    health_.set_draining();
    AbortTimer abort_timer(server_);
    loop_.timers().arm(abort_timer, clock_.now_ns() + shared_.settings.drain_timeout.count() * kNanosPerMilli);
    server_.begin_drain();
    co_await server_.drained();
    // Probes can see what goes on until the last worker's clients have gone.
    if (operations_) {
      while (shared_.workers_serving.load() > 1 && !abort_timer.has_expired())
        co_await loop_.sleep_for(kOthersServeStepNs);
      abort_timer.turn_to(operations_->server);
      operations_->server.begin_drain();
      if (abort_timer.has_expired()) operations_->server.abort_all();
      co_await operations_->server.drained();
    }
    loop_.timers().disarm(abort_timer);
    co_await handlers_.join();

    // Nobody waits for an answer any more. The last worker to come here has the connector give up, so that no lane
    // waits for a connection that it has no use for.
    health_.stop();
    key_expiry_.stop();
    ledger_audit_.stop();
    if (accounts_probe_) accounts_probe_->stop();
    ledger_.stop();
    reader_.stop();
    if (redis_) redis_->stop();
    if (shared_.workers_serving.fetch_sub(1) == 1) {
      shared_.connector.stop();
      if (shared_.redis != nullptr) shared_.redis->stop();
    }
    co_await background_.join();
    loop_.stop();
  }

  Shared& shared_;
  const int index_;
  SystemClock clock_;
  Loop loop_;
  Scope main_;        // serve()
  Scope background_;  // lanes, read connections, health
  Scope handlers_;    // requests under way
  BodyParser bodies_;
  Books books_;
  std::unique_ptr<RedisClient> redis_;  // nullptr: limits are counted in memory
  RateLimiter limits_;
  std::unique_ptr<TokenVerifier> tokens_;
  CorsPolicy cors_;
  RequestFingerprinter fingerprints_;
  DatabaseCounters database_counters_;
  UnreadableRows unreadable_;
  Ledger ledger_;
  Reader reader_;
  std::optional<AccountsProbe> accounts_probe_;
  Health health_;
  KeyExpiry key_expiry_;
  LedgerAudit ledger_audit_;
  ServiceCounters counters_;
  std::string scratch_;
  Context context_;
  Service service_;
  HttpServer server_;
  std::optional<Operations> operations_;
  MetricsPage::Registration on_metrics_page_;
  bool draining_ = false;
  std::coroutine_handle<> drain_waiter_;
};

Worker::Worker(Shared& shared, int index, Sockets listeners, std::unique_ptr<TokenKeys> keys)
    : shared_(shared), index_(index), listeners_(listeners), first_keys_(std::move(keys)) {}

Worker::~Worker() {
  if (thread_.joinable()) thread_.join();
}

std::future<Result<void>> Worker::start() {
  std::promise<Result<void>> ready;
  auto future = ready.get_future();
  thread_ = std::thread([this, promise = std::move(ready)]() mutable { run(std::move(promise)); });
  return future;
}

void Worker::run(std::promise<Result<void>> ready) {
  pthread_setname_np(pthread_self(), ("worker-" + std::to_string(index_)).c_str());
  const LogChannel log_channel;
  auto ring = Ring::create({});
  if (!ring) {
    // In this order: whoever hears that this one has not started asks next whether it can be told to end.
    ended_.store(true);
    ready.set_value(std::unexpected(ring.error()));
    return;
  }
  {
    Parts parts(shared_, index_, std::move(*ring), std::move(first_keys_));
    parts_ = &parts;
    ready.set_value({});
    parts.run(listeners_);
    parts_ = nullptr;
  }
  ended_.store(true);
}

void Worker::post(std::move_only_function<void(Parts&)> call) {
  struct Call final : Message {
    Call(Parts& owner, std::move_only_function<void(Parts&)> what) : parts(owner), call(std::move(what)) {}
    void run() override {
      call(parts);
      delete this;
    }
    Parts& parts;
    std::move_only_function<void(Parts&)> call;
  };
  parts_->loop().post(*new Call(*parts_, std::move(call)));
}

void Worker::change_keys(std::unique_ptr<TokenKeys> keys) {
  post([changed = std::move(keys)](Parts& parts) mutable { parts.change_keys(std::move(changed)); });
}

void Worker::set_tls(std::shared_ptr<const TlsContext> context) {
  post([next = std::move(context)](Parts& parts) mutable { parts.server().set_tls(std::move(next)); });
}

void Worker::announce_drain() {
  post([](Parts& parts) { parts.announce_drain(); });
}

void Worker::begin_drain() {
  post([](Parts& parts) { parts.begin_drain(); });
}

}  // namespace txn
