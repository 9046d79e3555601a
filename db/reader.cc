#include "db/reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/log.h"
#include "db/connector.h"
#include "db/pending_operation.h"

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

// Whether a statement may have failed for what its session is, and not for its time (57014 time-out, 40 rollback, 55P03
// lock, 53 resources) or its data (21, 22, 23).
bool may_be_the_session(std::string_view sqlstate) {
  constexpr std::array<std::string_view, 7> kOthers{"57014", "40", "55P03", "53", "21", "22", "23"};
  return std::none_of(kOthers.begin(), kOthers.end(),
                      [&](std::string_view prefix) { return sqlstate.starts_with(prefix); });
}

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
      if (retiring_ || session_is_spoilt_ || !connection_.is_open()) {
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
    give_up_again();
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
        session_is_spoilt_ = false;
        session_begun_ns_ = loop_.clock().now_ns();
        away_ = false;
        co_return;
      }
      away_ = true;
      give_up_again();
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
        give_up_again();
        loop_.flush_soon(reader_, FlushStage::kDatabase);
      }
      co_await loop_.sleep_for(kLaneLookNs);
    }
  }

  // The session was to be replaced, and cannot be.
  void give_up_again() {
    if (again_ != nullptr) reader_.refuse(*std::exchange(again_, nullptr));
  }

  void take() {
    group_.clear();
    if (again_ != nullptr) {
      group_.push_back(std::exchange(again_, nullptr));
      return;
    }
    while (group_.size() < reader_.options_.group_max) {
      PendingRead* pending = reader_.queue_.front();
      if (pending == nullptr) return;
      // One that has seen a group fail around it goes alone, so that it cannot be drawn in again.
      if (pending->attempts > 0 && !group_.empty()) return;
      pending->unlink();
      --reader_.counters_.queued;
      if (!Reader::has_client(*pending)) {
        ++reader_.counters_.abandoned;
        reader_.answer(*pending);  // to nobody
        continue;
      }
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
        if (replaces_session(pending)) {
          again_ = &pending;
        } else {
          pending.result = fail(ErrorKind::kDatabase, connection_.error_text());
          reader_.answer(pending);
        }
      } else {
        reader_.requeue(pending);
      }
    }
    if (!reader_.queue_.empty()) loop_.flush_soon(reader_, FlushStage::kDatabase);
  }

  // Whether a read that has failed is to be tried again in a new session.
  bool replaces_session(PendingRead& pending) {
    if (!may_be_the_session(connection_.error_sqlstate()) || std::exchange(pending.has_new_session, true)) return false;
    if (loop_.clock().now_ns() - session_begun_ns_ < reader_.options_.session_age_least_ns) return false;
    ++reader_.counters_.sessions_replaced;
    session_is_spoilt_ = true;
    return true;
  }

  Reader& reader_;
  Loop& loop_;
  const int index_;
  PgConnection connection_;
  int64_t session_begun_ns_ = 0;
  bool session_is_spoilt_ = false;
  PendingRead* again_ = nullptr;  // the first read of the session that comes
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

Reader::~Reader() { CHECK(queue_.empty() && subjects_.empty(), "reads are answered before the reader goes away"); }

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
  ++counters_.queued;
  if (!is_armed()) loop_.timers().arm(*this, loop_.clock().now_ns() + kQueueCheckNs);
  if (pending.caller.subject != 0) {
    Subject& subject = subjects_[pending.caller.subject];
    if (subject.on_the_way >= options_.subject_max) {
      ++counters_.deferred;
      subject.waiting.push_back(pending);
      return;
    }
    ++subject.on_the_way;
    pending.is_counted = true;
  }
  push(pending);
}

void Reader::push(PendingRead& pending) {
  queue_.push_back(pending);
  loop_.flush_soon(*this, FlushStage::kDatabase);
}

void Reader::requeue(PendingRead& pending) {
  if (++pending.attempts >= kAttemptsMax) {
    pending.result = fail(ErrorKind::kUnavailable, "the connection to the database was lost");
    refuse(pending);
    return;
  }
  queue_.push_back(pending);
  ++counters_.queued;
}

void Reader::answer(PendingRead& pending) {
  if (std::exchange(pending.is_counted, false)) {
    const auto found = subjects_.find(pending.caller.subject);
    Subject& subject = found->second;
    // The place goes to the next of the subject's whose client is still there.
    PendingRead* next = subject.waiting.pop_front();
    while (next != nullptr && !has_client(*next)) {
      --counters_.queued;
      ++counters_.abandoned;
      loop_.resume_soon(next->waiting);
      next = subject.waiting.pop_front();
    }
    if (next != nullptr) {
      next->is_counted = true;
      push(*next);
    } else if (--subject.on_the_way == 0) {
      subjects_.erase(found);
    }
  }
  loop_.resume_soon(pending.waiting);
}

void Reader::refuse(PendingRead& pending) {
  ++counters_.refused;
  answer(pending);
}

bool Reader::has_client(const PendingRead& pending) {
  return pending.caller.client == nullptr || pending.caller.client->is_waiting();
}

void Reader::flush() {
  for (auto& connection : connections_) {
    if (queue_.empty()) return;
    if (connection->is_idle()) connection->wake();
  }
  if (!std::all_of(connections_.begin(), connections_.end(), [](const auto& c) { return c->is_away(); })) return;
  // Each answer may bring another that waited beside the queue.
  while (PendingRead* pending = queue_.pop_front()) {
    --counters_.queued;
    refuse(*pending);  // with the result it was born with: the database is away
  }
}

// In a list the oldest need not come first: some were put back.
void Reader::refuse_late(ReadList& list) {
  const int64_t oldest_allowed = loop_.clock().now_ns() - options_.queue_wait_ns;
  PendingRead* next = nullptr;
  for (PendingRead* pending = list.front(); pending != nullptr; pending = next) {
    next = list.next(*pending);
    if (pending->queued_ns > oldest_allowed) continue;
    pending->unlink();
    --counters_.queued;
    refuse(*pending);
  }
}

void Reader::on_timer() {
  // First those beside the queue: what leaves the queue lets them in.
  for (auto& [number, subject] : subjects_) refuse_late(subject.waiting);
  refuse_late(queue_);
  if (counters_.queued > 0) loop_.timers().arm(*this, loop_.clock().now_ns() + kQueueCheckNs);
}

}  // namespace txn
