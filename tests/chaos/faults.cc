#include "tests/chaos/faults.h"

#include <algorithm>
#include <csignal>
#include <thread>

namespace txn::test {

namespace {

constexpr Milliseconds kBackTimeout{60'000};
constexpr Milliseconds kJustBefore{700};
constexpr Milliseconds kNoticeTimeout{5'000};
constexpr int kMidBatchTries = 200;

}  // namespace

const FaultKind& kind_of(Fault fault) {
  return *std::ranges::find_if(kFaultKinds, [fault](const FaultKind& kind) { return kind.fault == fault; });
}

std::string FaultInstance::obstacle(Fault fault, const Cluster& cluster) {
  if (fault == Fault::kDiskFull) return cluster.no_disk_reason();
  if (fault == Fault::kMidnight || fault == Fault::kClockBack) return cluster.no_clock_reason();
  return "";
}

FaultInstance::FaultInstance(Fault fault, Session& session, uint32_t seed)
    : fault_(fault), session_(session), random_(seed) {
  replica_ = random_() % session.replicas();
  all_lines_ = random_() % 3 == 0;
}

Milliseconds FaultInstance::between(int least, int most) {
  return Milliseconds(least + static_cast<int>(random_() % static_cast<uint32_t>(most - least + 1)));
}

void FaultInstance::pause(Milliseconds time) const { std::this_thread::sleep_for(time); }

template <class Do>
void FaultInstance::for_lines(Do&& action) {
  for (size_t i = 0; i < session_.replicas(); ++i) {
    if (all_lines_ || i == replica_) action(session_.line_of(i));
  }
}

bool FaultInstance::is_disk_noticed() const {
  return session_.postgres().log().find("No space left", log_before_) != std::string::npos;
}

void FaultInstance::begin() {
  PrivatePostgres& postgres = session_.postgres();
  switch (fault_) {
    case Fault::kPostmasterKilled:
      length_ = between(0, 300);
      postgres.kill_postmaster();
      break;
    case Fault::kPostgresAway:
      length_ = between(11'000, 12'500);
      postgres.kill_all();
      break;
    case Fault::kBackendsTerminated:
      length_ = between(0, 100);
      session_.bank().database().query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'replica-%' AND "
          "random() < 0.5");
      break;
    case Fault::kBackendKilled: {
      length_ = between(0, 100);
      const Rows rows = session_.bank().database().query(
          "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'replica-%' ORDER BY state = 'idle', random() "
          "LIMIT 1");
      has_hit_ = !rows.empty();
      if (has_hit_) ::kill(static_cast<pid_t>(std::stol(rows[0][0])), SIGKILL);
      break;
    }
    case Fault::kPostgresFrozen:
      length_ = between(4'000, 5'000);
      postgres.freeze();
      break;
    case Fault::kDiskFull:
      length_ = between(500, 1'500);
      log_before_ = postgres.log().size();
      session_.cluster().fill_disk();
      break;
    case Fault::kMidnight:
    case Fault::kClockBack:
      length_ = between(1'000, 1'500);
      session_.cluster().set_clock_before_midnight(kJustBefore);
      break;
    case Fault::kReplicaKilled:
      length_ = between(0, 500);
      session_.kill_replica(replica_);
      break;
    case Fault::kReplicaFrozen:
      length_ = between(6'000, 7'000);
      session_.stop_replica(replica_);
      // Asking takes longer than a batch; a transaction that is open now stays open.
      has_hit_ = postgres.running() && session_.is_in_mid_batch(replica_);
      for (int i = 0; i < kMidBatchTries && !has_hit_ && postgres.running(); ++i) {
        session_.continue_replica(replica_);
        pause(between(1, 20));
        session_.stop_replica(replica_);
        has_hit_ = session_.is_in_mid_batch(replica_);
      }
      break;
    case Fault::kConnectionsReset:
      length_ = between(300, 1'000);
      break;
    case Fault::kConnectionsDelayed: {
      const bool beyond = random_() % 3 == 0;
      length_ = beyond ? between(4'000, 5'000) : between(1'000, 2'000);
      const Milliseconds most = beyond ? Milliseconds(5'000) : between(20, 300);
      for_lines([most](Proxy& line) { line.delay_up_to(most); });
      break;
    }
    case Fault::kHalfOpen: {
      length_ = between(3'500, 4'500);
      const auto silence = static_cast<Proxy::Silence>(random_() % 3);
      for_lines([silence](Proxy& line) { line.fall_silent(silence); });
      break;
    }
  }
}

void FaultInstance::last() {
  if (fault_ == Fault::kConnectionsReset) {
    for (Milliseconds left = length_; left > Milliseconds(0);) {
      for_lines([](Proxy& line) { line.reset_all(); });
      const Milliseconds step = between(20, 200);
      pause(step);
      left -= step;
    }
    return;
  }
  pause(length_);
  if (fault_ == Fault::kDiskFull) wait_until([this] { return is_disk_noticed(); }, kNoticeTimeout);
  if (fault_ == Fault::kClockBack) {
    session_.cluster().set_clock_before_midnight(kJustBefore);
    pause(between(300, 1'500));
  }
}

void FaultInstance::end() {
  PrivatePostgres& postgres = session_.postgres();
  switch (fault_) {
    case Fault::kPostmasterKilled:
    case Fault::kPostgresAway:
      postgres.start();
      break;
    case Fault::kPostgresFrozen:
      postgres.thaw();
      break;
    case Fault::kDiskFull:
      session_.cluster().empty_disk();
      has_hit_ = is_disk_noticed();
      pause(Milliseconds(100));
      if (!postgres.running()) postgres.start();  // it ends when there is no room for its log even after a restart
      break;
    case Fault::kReplicaKilled:
      session_.restart_replica(replica_);
      break;
    case Fault::kReplicaFrozen:
      session_.continue_replica(replica_);
      break;
    case Fault::kConnectionsDelayed:
      for_lines([](Proxy& line) { line.delay_up_to(Milliseconds(0)); });
      break;
    case Fault::kHalfOpen:
      for_lines([](Proxy& line) { line.cut_silent(); });
      break;
    case Fault::kBackendsTerminated:
    case Fault::kBackendKilled:
    case Fault::kMidnight:
    case Fault::kClockBack:
    case Fault::kConnectionsReset:
      break;
  }
  const auto is_back = [this] {
    try {
      return session_.bank().database().value("SELECT NOT pg_is_in_recovery()") == "t";
    } catch (const std::exception&) {
      return false;
    }
  };
  if (!wait_until(is_back, kBackTimeout)) fatal("PostgreSQL does not come back:\n" + postgres.log());
}

}  // namespace txn::test
