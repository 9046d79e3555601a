// A bank with several replicas of the service on it, each with a line of its own to PostgreSQL that can break.
// PostgreSQL may have a standby, and a pooler before it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/chaos/clients.h"
#include "tests/chaos/cluster.h"
#include "tests/chaos/pooler.h"
#include "tests/chaos/proxy.h"
#include "tests/integration/bank.h"

namespace txn::test {

// What SILVER accounts may transfer a day in these banks; the other privileges as good as anything.
inline constexpr int64_t kSilverAmount = 300'000;
inline constexpr int64_t kSilverCount = 40;
inline constexpr const char* kOpeningBalance = "300.00";

class Session {
 public:
  // With `pooling` a PgBouncer stands before PostgreSQL. The replicas know all servers of the cluster and want the one
  // that takes writes. In transaction mode they are not waited for: they must not become ready.
  Session(Cluster& cluster, size_t replicas, uint32_t seed, std::optional<Pooler::Mode> pooling = std::nullopt);

  Cluster& cluster() { return cluster_; }
  PrivatePostgres& postgres() { return cluster_.postgres(); }
  Bank& bank() { return *bank_; }
  const Ports& ports() const { return ports_; }

  size_t replicas() const { return replicas_.size(); }
  Pooler& pooler() { return *pooler_; }
  // Does `action` with a replica's line to each server, or to that one.
  template <class Action>
  void for_lines_of(size_t replica, Action&& action) {
    for (const auto& line : replicas_[replica].lines) action(*line);
  }
  Proxy& line_of(size_t replica, size_t server) { return *replicas_[replica].lines[server]; }
  std::string log_of(size_t replica) const { return replicas_[replica].process->log_text(); }
  bool is_ready(size_t replica) { return replicas_[replica].process->ready(); }
  void kill_replica(size_t replica);
  void restart_replica(size_t replica);
  void stop_replica(size_t replica);  // SIGSTOP
  void continue_replica(size_t replica);
  // Whether one of its transactions is open right now, waiting for its next word.
  bool is_in_mid_batch(size_t replica);

  // Fresh accounts for one episode: the first two SILVER.
  std::vector<int64_t> open_accounts();
  // All replicas serve; false when that does not come true in time.
  bool wait_until_well(Milliseconds timeout);
  // What processes and logs show that must never be there, since the last time.
  std::vector<std::string> forbidden_events();
  // Commits in doubt that the replicas have resolved since the last time: found done, found not done.
  std::pair<int64_t, int64_t> take_doubts();
  // Drains the replicas and drops the database.
  std::vector<std::string> end();

 private:
  struct Replica {
    std::vector<std::unique_ptr<Proxy>> lines;  // by server
    Settings settings;
    std::unique_ptr<ServiceProcess> process;
    size_t log_seen = 0;
  };
  void read_log(Replica& replica);
  static std::string name_of(size_t replica) { return "replica-" + std::to_string(replica); }

  Cluster& cluster_;
  std::unique_ptr<Pooler> pooler_;
  bool waits_for_readiness_ = true;
  std::unique_ptr<Bank> bank_;
  Ports ports_;
  std::vector<Replica> replicas_;
  std::vector<size_t> log_seen_;  // by server
  std::pair<int64_t, int64_t> doubts_;
};

}  // namespace txn::test
