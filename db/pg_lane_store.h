// The lane's database on PostgreSQL: each step is one pipelined round trip of prepared statements.
#pragma once

#include <functional>
#include <vector>

#include "db/lane_store.h"
#include "db/pg_connection.h"
#include "db/unreadable_rows.h"

namespace txn {

class PgLaneStore final : public LaneStore, private PgConnection::Owner {
 public:
  // `on_lost` is called when the connection dies while idle. References must outlive the store.
  PgLaneStore(Loop& loop, Connector& connector, DatabaseCounters& counters, UnreadableRows& unreadable,
              int64_t command_timeout_ns, std::function<void()> on_lost);

  Task<Result<void>> open(int64_t& id_block) override;
  Task<void> close() override;
  bool is_open() const override { return connection_.is_open(); }
  BackendId backend() const override;
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

  const std::string& error_sqlstate() const override {
    return unreadable_answer_.empty() ? connection_.error_sqlstate() : kDataCorrupted;
  }
  const std::string& error_text() const override {
    return unreadable_answer_.empty() ? connection_.error_text() : unreadable_answer_;
  }

 private:
  void on_idle_connection_lost() override { on_lost_(); }
  bool is_own_session(const PgResult& result) const;
  void add_numbers(std::span<const int64_t> numbers);
  void read_claims(size_t keys, std::vector<Claim>& out);
  void read_accounts(const LockRequest& request, const PgResult& rows, std::vector<AccountState>& out);
  void read_held_up(const PgResult& existing, Locked& out);
  void add_keys(std::span<IdempotentRequest* const> keys);
  void push_accounts(const WriteRequest& request);
  void push_pins(const WriteRequest& request);
  void push_log(const WriteRequest& request);
  void push_answers(const WriteRequest& request);

  static const inline std::string kDataCorrupted = "XX001";

  Loop& loop_;
  Connector& connector_;
  UnreadableRows& unreadable_;
  const int64_t timeout_ns_;
  const std::function<void()> on_lost_;
  PgConnection connection_;
  PgParameters parameters_;
  bool in_transaction_ = false;    // claim() has begun it
  std::string unreadable_answer_;  // why lock() failed although no statement did; "": it did not
};

}  // namespace txn
