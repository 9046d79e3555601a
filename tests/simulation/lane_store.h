// The lane's end of a simulated connection.
#pragma once

#include <coroutine>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/database.h"

namespace txn::simulation {

class SimulatedLaneStore final : public LaneStore {
 public:
  SimulatedLaneStore(World& world, Database& database, int replica, std::function<void()> on_lost);

  Task<Result<void>> open(int64_t& id_block) override;
  Task<void> close() override;
  bool is_open() const override { return is_open_; }
  BackendId backend() const override { return backend_id_; }
  bool is_superseded() const override;
  void report_foreign_session() override;
  Task<StoreStatus> claim(std::span<IdempotentRequest* const> keys, std::vector<Claim>& out) override;
  Task<StoreStatus> lock(const LockRequest& request, Locked& out) override;
  Task<StoreStatus> write(const WriteRequest& request) override;
  Task<StoreStatus> rollback() override;
  Task<StoreStatus> confirm() override;
  Task<StoreStatus> probe() override;
  Task<StoreStatus> end_backend(BackendId backend, bool& gone) override;
  Task<StoreStatus> find(const Marker& marker, bool& found) override;
  const std::string& error_sqlstate() const override { return sqlstate_; }
  const std::string& error_text() const override { return sqlstate_; }

  // For the database. Both are late when the replica is stopped.
  int replica() const { return replica_; }
  int backend_index() const { return backend_; }
  void swap_backend(SimulatedLaneStore& other) { std::swap(backend_, other.backend_); }
  bool is_waiting() const { return waiting_ != nullptr; }
  // Waiting for an answer, or about to read it.
  bool is_in_exchange() const { return is_in_exchange_; }
  uint64_t exchange() const { return exchange_; }
  uint64_t connection() const { return connection_; }
  // The answer to that exchange has come.
  void receive(uint64_t exchange);
  // That connection is gone: reset, or given up after the command's time-out.
  void lose(uint64_t connection);

 private:
  struct Answer {
    SimulatedLaneStore& store;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) const;
    StoreStatus await_resume();
  };
  Request& begin(Step step);
  // What came of `step`, given that its session has to be the one that was opened.
  StoreStatus in_own_session(StoreStatus status);
  bool is_replica_frozen(int64_t& for_ns) const;

  World& world_;
  Database& database_;
  const int replica_;
  const std::function<void()> on_lost_;
  bool is_open_ = false;
  bool is_in_exchange_ = false;
  int backend_ = -1;
  BackendId backend_id_;
  uint32_t timeline_ = 0;
  uint64_t connection_ = 0;
  uint64_t exchange_ = 0;
  StoreStatus status_ = StoreStatus::kOk;
  std::string sqlstate_;
  std::coroutine_handle<> waiting_;
};

}  // namespace txn::simulation
