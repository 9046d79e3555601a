#include "db/reader.h"

#include <algorithm>

#include "core/log.h"
#include "db/connector.h"

namespace txn {
namespace {

constexpr int64_t kReconnectFirstNs = 50 * kNanosPerMilli;
constexpr int64_t kReconnectMostNs = 1 * kNanosPerSecond;
// How often a reader looks whether lanes have their connections, and for how long reads then wait before they are
// refused.
constexpr int64_t kLaneLookNs = 50 * kNanosPerMilli;
constexpr int64_t kLanePatienceNs = 500 * kNanosPerMilli;
constexpr int64_t kQueueCheckNs = 250 * kNanosPerMilli;
constexpr int64_t kAnswerGraceNs = 2 * kNanosPerSecond;
// A read whose group failed around it, or whose connection was lost, is harmless to repeat.
constexpr int kAttemptsMax = 3;

}  // namespace

// One connection and the group of reads that is on it.
class ReadConnection final : private PgConnection::Owner {
 public:
  ReadConnection(Reader& reader, DatabaseCounters& connections, int index)
      : reader_(reader), loop_(reader.loop_), index_(index), connection_(reader.loop_, *this, connections) {}

  bool is_open() const { return connection_.is_open(); }
  bool is_idle() const { return idle_handle_ != nullptr && connection_.is_open(); }
  bool is_away() const { return away_; }
  // Must not be used any more: a newer primary has been seen.
  bool is_superseded() const { return is_open() && reader_.connector_.is_superseded(connection_.timeline()); }
  // Closes the connection once nothing is on it; the next one is opened when no lane waits for one.
  void retire() {
    retiring_ = true;
    wake();
  }
  void wake() {
    if (idle_handle_) std::exchange(idle_handle_, nullptr).resume();
  }

  Task<void> run() {
    struct Idle {
      ReadConnection& self;
      bool await_ready() const { return self.reader_.stopping_ || self.retiring_ || !self.connection_.is_open(); }
      void await_suspend(std::coroutine_handle<> handle) const { self.idle_handle_ = handle; }
      void await_resume() const {}
    };
    while (!reader_.stopping_) {
      if (retiring_ || !connection_.is_open()) {
        co_await connect();
        continue;
      }
      take();
      if (group_.empty()) {
        co_await Idle{*this};
        continue;
      }
      co_await ask();
    }
    co_await connection_.close();
  }

 private:
  void on_idle_connection_lost() override { wake(); }

  Task<void> connect() {
    int64_t pause_ns = kReconnectFirstNs;
    while (!reader_.stopping_) {
      co_await connection_.close();
      retiring_ = false;
      co_await let_lanes_pass();
      if (reader_.stopping_) co_return;
      auto opened = co_await reader_.connector_.open(loop_, ConnectionPurpose::kReader, sql::reader_statements());
      if (opened) {
        connection_.adopt(std::move(*opened));
        away_ = false;
        co_return;
      }
      away_ = true;
      loop_.flush_soon(reader_, FlushStage::kDatabase);  // nobody may be left to answer what waits
      co_await loop_.sleep_for(pause_ns + index_ * 11 * kNanosPerMilli);
      pause_ns = std::min(pause_ns * 2, kReconnectMostNs);
    }
  }

  // A connection that a reader has is one that a lane may be waiting for.
  Task<void> let_lanes_pass() {
    for (int64_t waited_ns = 0; !reader_.stopping_ && reader_.connector_.lanes_waiting() > 0;
         waited_ns += kLaneLookNs) {
      if (waited_ns >= kLanePatienceNs && !away_) {
        away_ = true;
        loop_.flush_soon(reader_, FlushStage::kDatabase);
      }
      co_await loop_.sleep_for(kLaneLookNs);
    }
  }

  void take() {
    group_.clear();
    while (group_.size() < reader_.options_.group_max) {
      PendingRead* pending = reader_.queue_.front();
      if (pending == nullptr) return;
      // One that has seen a group fail around it goes alone, so that it cannot be drawn in again.
      if (pending->attempts > 0 && !group_.empty()) return;
      pending->unlink();
      --reader_.counters_.queued;
      group_.push_back(pending);
      if (pending->attempts > 0) return;
    }
  }

  Task<void> ask() {
    for (PendingRead* pending : group_) connection_.push(pending->statement, pending->parameters);
    const ExchangeStatus status = co_await connection_.sync(reader_.options_.command_timeout_ns + kAnswerGraceNs);
    const size_t failed = status == ExchangeStatus::kOk     ? group_.size()
                          : status == ExchangeStatus::kLost ? 0
                                                            : connection_.failed_index();
    for (size_t i = 0; i < group_.size(); ++i) {
      PendingRead& pending = *group_[i];
      if (i < failed) {
        pending.result = std::move(connection_.result(i));
        reader_.answer(pending);
      } else if (i == failed && status == ExchangeStatus::kFailed) {
        ++reader_.counters_.failed;
        LOG(kWarning, "db.reader", "A read failed")
            .field("statement", pending.statement.name)
            .field("sqlstate", connection_.error_sqlstate())
            .field("exception", connection_.error_text());
        pending.result = fail(ErrorKind::kDatabase, connection_.error_text());
        reader_.answer(pending);
      } else {
        reader_.requeue(pending);
      }
    }
    if (!reader_.queue_.empty()) loop_.flush_soon(reader_, FlushStage::kDatabase);
  }

  Reader& reader_;
  Loop& loop_;
  const int index_;
  PgConnection connection_;
  std::coroutine_handle<> idle_handle_;
  bool away_ = false;
  bool retiring_ = false;
  std::vector<PendingRead*> group_;
};

Reader::Reader(Loop& loop, Connector& connector, DatabaseCounters& connections, ReaderOptions options)
    : loop_(loop), connector_(connector), options_(options), give_way_pause_(loop) {
  for (int i = 0; i < options_.connections; ++i)
    connections_.push_back(std::make_unique<ReadConnection>(*this, connections, i));
}

Reader::~Reader() { CHECK(queue_.empty(), "reads are answered before the reader goes away"); }

void Reader::start(Scope& scope) {
  for (auto& connection : connections_) scope.spawn(connection->run());
  scope.spawn(give_way());
}

// Looks now and then whether a connection has to go: lanes need it, or its server has been replaced.
Task<void> Reader::give_way() {
  while (!give_way_pause_.ended()) {
    for (auto& connection : connections_) {
      if (connection->is_superseded() || (connection->is_open() && connector_.take_reader_must_yield()))
        connection->retire();
    }
    co_await give_way_pause_.wait(kLaneLookNs);
  }
}

void Reader::stop() {
  stopping_ = true;
  give_way_pause_.end();
  for (auto& connection : connections_) connection->wake();
}

bool Reader::is_connected() const {
  return std::any_of(connections_.begin(), connections_.end(), [](const auto& c) { return c->is_open(); });
}

bool Reader::admits() {
  ++counters_.reads;
  const bool admitted =
      counters_.queued < options_.queue_max &&
      std::any_of(connections_.begin(), connections_.end(), [](const auto& c) { return !c->is_away(); });
  if (!admitted) ++counters_.refused;
  return admitted;
}

void Reader::enqueue(PendingRead& pending) {
  pending.queued_ns = loop_.clock().now_ns();
  queue_.push_back(pending);
  ++counters_.queued;
  loop_.flush_soon(*this, FlushStage::kDatabase);
  if (!is_armed()) loop_.timers().arm(*this, loop_.clock().now_ns() + kQueueCheckNs);
}

void Reader::requeue(PendingRead& pending) {
  if (++pending.attempts >= kAttemptsMax) {
    ++counters_.refused;
    pending.result = fail(ErrorKind::kUnavailable, "the connection to the database was lost");
    answer(pending);
    return;
  }
  queue_.push_back(pending);
  ++counters_.queued;
}

void Reader::flush() {
  for (auto& connection : connections_) {
    if (queue_.empty()) return;
    if (connection->is_idle()) connection->wake();
  }
  if (!std::all_of(connections_.begin(), connections_.end(), [](const auto& c) { return c->is_away(); })) return;
  while (PendingRead* pending = queue_.pop_front()) {
    --counters_.queued;
    ++counters_.refused;
    answer(*pending);  // with the result it was born with: the database is away
  }
}

void Reader::on_timer() {
  const int64_t oldest_allowed = loop_.clock().now_ns() - options_.queue_wait_ns;
  while (PendingRead* pending = queue_.front()) {
    if (pending->queued_ns > oldest_allowed) break;
    pending->unlink();
    --counters_.queued;
    ++counters_.refused;
    answer(*pending);
  }
  if (!queue_.empty()) loop_.timers().arm(*this, loop_.clock().now_ns() + kQueueCheckNs);
}

}  // namespace txn
