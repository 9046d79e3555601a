#include "db/lane.h"

#include <algorithm>

#include "core/log.h"
#include "db/connector.h"
#include "db/statements.h"

namespace txn {
namespace {

constexpr int64_t kIdsPerBlock = 1024;  // of the sequence transaction_id_blocks; batch_max is not above it
constexpr int64_t kReconnectFirstNs = 50 * kNanosPerMilli;
constexpr int64_t kReconnectMostNs = 1 * kNanosPerSecond;
constexpr int64_t kOldBackendPauseNs = 20 * kNanosPerMilli;

// Beyond the server's own statement_timeout, so that a server that still answers can say what happened.
constexpr int64_t kAnswerGraceNs = 2 * kNanosPerSecond;

int64_t log_row_id(const LogRow& row) {
  const bool is_payee_leg = row.type == OperationType::kTransfer && row.direction == Direction::kCredit;
  return row.transaction_id * 2 + (is_payee_leg ? 1 : 0);
}

// Somebody else's locks or the clock were in the way; the same batch may well succeed next time.
bool is_transient(std::string_view sqlstate) {
  return sqlstate.starts_with("40") || sqlstate == "55P03" || sqlstate == "57014" || sqlstate == "25P03";
}

// A value or a constraint: one operation's doing, so its neighbours deserve a try without it.
bool is_about_data(std::string_view sqlstate) {
  return sqlstate.starts_with("22") || sqlstate.starts_with("23") || sqlstate.starts_with("21");
}

}  // namespace

Lane::Lane(Ledger& ledger, int index)
    : ledger_(ledger), loop_(ledger.loop_), index_(index), connection_(ledger.loop_, *this) {}

void Lane::wake() {
  if (idle_handle_) std::exchange(idle_handle_, nullptr).resume();
}

Task<void> Lane::run() {
  struct Idle {
    Lane& lane;
    bool await_ready() const { return lane.ledger_.stopping_ || !lane.connection_.is_open(); }
    void await_suspend(std::coroutine_handle<> handle) const { lane.idle_handle_ = handle; }
    void await_resume() const {}
  };
  while (!ledger_.stopping_) {
    if (!connection_.is_open()) {
      co_await connect();
      continue;
    }
    ledger_.take(batch_);
    if (batch_.empty()) {
      co_await Idle{*this};
      continue;
    }
    ++ledger_.counters_.batches;
    ledger_.counters_.operations += batch_.size();
    co_await process(batch_);
  }
  co_await connection_.close();
}

Task<void> Lane::connect() {
  int64_t pause_ns = kReconnectFirstNs;
  while (!ledger_.stopping_) {
    co_await connection_.close();
    auto opened = co_await ledger_.connector_.open(loop_, sql::lane_statements());
    if (opened) {
      connection_.adopt(std::move(*opened));
      next_id_ = ids_end_ = 0;
      if (away_) LOG(kInfo, "db.lane", "Connected to the database again").field("lane", index_);
      away_ = false;
      ++ledger_.counters_.reconnects;
      co_return;
    }
    if (!away_ && !ledger_.stopping_)
      LOG(kWarning, "db.lane", "Cannot connect to the database; trying on")
          .field("lane", index_)
          .field("exception", opened.error().message);
    away_ = true;
    ledger_.on_lane_changed();
    // Jitter by lane, so that the lanes of a process do not all knock at once.
    co_await loop_.sleep_for(pause_ns + index_ * 7 * kNanosPerMilli);
    pause_ns = std::min(pause_ns * 2, kReconnectMostNs);
  }
}

Task<void> Lane::process(std::span<PendingOperation* const> batch) {
  const Attempt result = co_await attempt(batch);
  switch (result) {
    case Attempt::kDone:
      answer_all(batch);
      break;
    case Attempt::kFailed:
      co_await handle_failure(batch);
      break;
    case Attempt::kLost:
      LOG(kWarning, "db.lane", "Connection lost before COMMIT; the batch is tried again")
          .field("lane", index_)
          .field("operations", static_cast<int64_t>(batch.size()))
          .field("exception", connection_.error_text());
      ledger_.give_back(batch);
      break;
    case Attempt::kInDoubt:
      co_await resolve(batch);
      break;
  }
}

Task<void> Lane::handle_failure(std::span<PendingOperation* const> batch) {
  const std::string sqlstate = connection_.error_sqlstate();
  LOG(kWarning, "db.lane", "The database refused a batch")
      .field("lane", index_)
      .field("operations", static_cast<int64_t>(batch.size()))
      .field("sqlstate", sqlstate)
      .field("exception", connection_.error_text());
  // The transaction is still open and failed; end it before anything else.
  if (connection_.is_open()) {
    connection_.push(sql::kRollback);
    co_await connection_.sync(ledger_.options_.command_timeout_ns + kAnswerGraceNs);
  }
  if (is_transient(sqlstate)) {
    ledger_.give_back(batch);
  } else if (is_about_data(sqlstate) && batch.size() > 1) {
    co_await process(batch.subspan(0, batch.size() / 2));
    co_await process(batch.subspan(batch.size() / 2));
  } else {
    refuse_all(batch);
  }
}

Task<Lane::Attempt> Lane::attempt(std::span<PendingOperation* const> batch) {
  const int64_t timeout_ns = ledger_.options_.command_timeout_ns + kAnswerGraceNs;
  if (!connection_.is_open()) co_return Attempt::kLost;

  push_lock(batch);
  ExchangeStatus status = co_await connection_.sync(timeout_ns);
  switch (status) {
    case ExchangeStatus::kLost:
      co_return Attempt::kLost;
    case ExchangeStatus::kFailed:
      co_return Attempt::kFailed;
    case ExchangeStatus::kOk:
      break;
  }
  read_locked();
  decide(batch);

  if (log_.empty()) {
    // Nothing but refusals, which hold whatever becomes of this transaction.
    connection_.push(sql::kRollback);
    co_await connection_.sync(timeout_ns);
    co_return Attempt::kDone;
  }
  push_write();
  const size_t commit_index = connection_.result_count();
  connection_.push(sql::kCommit);
  status = co_await connection_.sync(timeout_ns);
  switch (status) {
    case ExchangeStatus::kLost:
      co_return Attempt::kInDoubt;
    case ExchangeStatus::kFailed:
      co_return Attempt::kFailed;
    case ExchangeStatus::kOk:
      break;
  }
  // COMMIT of a failed transaction succeeds with the tag ROLLBACK.
  CHECK(connection_.result(commit_index).command_tag() == "COMMIT", "a batch without errors commits");
  co_return Attempt::kDone;
}

void Lane::push_lock(std::span<PendingOperation* const> batch) {
  account_numbers_.clear();
  has_transfers_ = false;
  for (const PendingOperation* pending : batch) {
    account_numbers_.push_back(pending->operation.account_number);
    if (pending->operation.type == OperationType::kTransfer) {
      account_numbers_.push_back(pending->operation.to_account);
      has_transfers_ = true;
    }
  }
  std::sort(account_numbers_.begin(), account_numbers_.end());
  account_numbers_.erase(std::unique(account_numbers_.begin(), account_numbers_.end()), account_numbers_.end());

  connection_.push(sql::kBegin);
  parameters_.clear();
  parameters_.begin_array(PgType::kInt8, account_numbers_.size());
  for (const int64_t number : account_numbers_) parameters_.element_int8(number);
  parameters_.end_array();
  connection_.push(sql::kLockAccounts, parameters_);
  connection_.push(sql::kReadClock);
  reserves_ids_ = ids_end_ - next_id_ < static_cast<int64_t>(batch.size());
  if (reserves_ids_) connection_.push(sql::kReserveIds);
  // Read each time, four rows, so that an operator's change of the table holds from the next batch on.
  if (has_transfers_) connection_.push(sql::kReadLimits);
}

void Lane::read_locked() {
  const PgResult& locked = connection_.result(1);
  accounts_.clear();
  accounts_.resize(static_cast<size_t>(locked.rows()));
  for (int row = 0; row < locked.rows(); ++row) {
    AccountState& account = accounts_[static_cast<size_t>(row)];
    account.account_number = locked.int8(row, 0);
    account.owner_id = locked.int8(row, 1);
    const auto privilege = parse_privilege(locked.bytes(row, 2));
    CHECK(privilege.has_value(), "the schema admits known privileges only");
    account.privilege = *privilege;
    account.is_active = locked.boolean(row, 3);
    account.balance = locked.numeric(row, 4);
    account.log_seq = locked.int8(row, 5);
    if (!locked.is_null(row, 6)) {
      const std::string_view hash = locked.bytes(row, 6);
      CHECK(hash.size() == sizeof(PinHash), "the schema admits hashes of 32 bytes only");
      std::copy(hash.begin(), hash.end(), account.pin_hash.emplace().begin());
    }
    account.usage_day = locked.date(row, 7);
    account.usage_amount = locked.numeric(row, 8);
    account.usage_count = locked.int4(row, 9);
  }
  now_us_ = connection_.result(2).timestamptz(0, 0);
  size_t next_result = 3;
  if (reserves_ids_) {
    next_id_ = connection_.result(next_result++).int8(0, 0) * kIdsPerBlock;
    ids_end_ = next_id_ + kIdsPerBlock;
  }
  if (has_transfers_) {
    const PgResult& rows = connection_.result(next_result);
    limits_ = {};
    for (int row = 0; row < rows.rows(); ++row) {
      if (const auto privilege = parse_privilege(rows.bytes(row, 0)))
        limits_[static_cast<size_t>(*privilege)] = {rows.numeric(row, 1), rows.int4(row, 2)};
    }
  }
}

void Lane::decide(std::span<PendingOperation* const> batch) {
  log_.clear();
  for (PendingOperation* pending : batch) {
    pending->outcome = ledger_.rules_.decide(pending->operation, accounts_, limits_, now_us_, next_id_, log_);
    if (pending->outcome.code == OutcomeCode::kSuccess) ++next_id_;
  }
}

void Lane::push_write() {
  const auto changed = static_cast<size_t>(
      std::count_if(accounts_.begin(), accounts_.end(), [](const AccountState& account) { return account.changed; }));
  // One array a column, over the accounts that changed or over the log rows.
  const auto account_column = [&](PgType type, auto element) {
    parameters_.begin_array(type, changed);
    for (const AccountState& account : accounts_)
      if (account.changed) element(account);
    parameters_.end_array();
  };
  PgParameters& out = parameters_;
  out.clear();
  account_column(PgType::kInt8, [&](const AccountState& a) { out.element_int8(a.account_number); });
  account_column(PgType::kNumeric, [&](const AccountState& a) { out.element_numeric(a.balance); });
  account_column(PgType::kInt8, [&](const AccountState& a) { out.element_int8(a.log_seq); });
  if (has_transfers_) {
    account_column(PgType::kDate, [&](const AccountState& a) { out.element_date(a.usage_day); });
    account_column(PgType::kNumeric, [&](const AccountState& a) { out.element_numeric(a.usage_amount); });
    account_column(PgType::kInt4, [&](const AccountState& a) { out.element_int4(a.usage_count); });
  }
  connection_.push(has_transfers_ ? sql::kUpdateAccounts : sql::kUpdateBalances, out);

  const auto log_column = [&](PgType type, auto element) {
    out.begin_array(type, log_.size());
    for (const LogRow& row : log_) element(row);
    out.end_array();
  };
  const auto optional_text = [&](std::string_view text) {
    if (text.empty()) {
      out.element_null();
    } else {
      out.element_text(text);
    }
  };
  out.clear();
  log_column(PgType::kInt8, [&](const LogRow& r) { out.element_int8(log_row_id(r)); });
  log_column(PgType::kInt8, [&](const LogRow& r) { out.element_int8(r.account_number); });
  log_column(PgType::kInt8, [&](const LogRow& r) {
    if (r.counterparty == 0) {
      out.element_null();
    } else {
      out.element_int8(r.counterparty);
    }
  });
  log_column(PgType::kInt8, [&](const LogRow& r) { out.element_int8(r.seq); });
  log_column(PgType::kText, [&](const LogRow& r) { out.element_text(to_string(r.type)); });
  log_column(PgType::kText, [&](const LogRow& r) { out.element_text(to_string(r.direction)); });
  log_column(PgType::kText, [&](const LogRow& r) { optional_text(to_string(r.transfer_mode)); });
  log_column(PgType::kNumeric, [&](const LogRow& r) { out.element_numeric(r.amount); });
  log_column(PgType::kNumeric, [&](const LogRow& r) { out.element_numeric(r.balance_after); });
  out.add_timestamptz(now_us_);
  log_column(PgType::kText, [&](const LogRow& r) { out.element_text(r.description); });
  connection_.push(sql::kInsertLogs, out);
}

void Lane::answer_all(std::span<PendingOperation* const> batch) {
  for (PendingOperation* pending : batch) {
    if (pending->outcome.code == OutcomeCode::kSuccess) pending->outcome.transacted_at_us = now_us_;
    ledger_.answer(*pending);
  }
  ledger_.on_lane_changed();
}

void Lane::refuse_all(std::span<PendingOperation* const> batch) {
  for (PendingOperation* pending : batch) ledger_.refuse(*pending);
  ledger_.on_lane_changed();
}

// The connection died with COMMIT under way. The batch's log rows are the marker: they are there or they are not, once
// the backend that may still be committing is gone.
Task<void> Lane::resolve(std::span<PendingOperation* const> batch) {
  ++ledger_.counters_.commits_in_doubt;
  const int64_t deadline_ns = loop_.clock().now_ns() + ledger_.options_.in_doubt_ns;
  const int32_t old_pid = connection_.backend_pid();
  const int64_t old_start_us = connection_.backend_start_us();
  const int64_t marker = log_row_id(log_.front());
  LOG(kWarning, "db.lane", "Connection lost during COMMIT; asking the database what became of the batch")
      .field("lane", index_)
      .field("operations", static_cast<int64_t>(batch.size()))
      .field("exception", connection_.error_text());

  int64_t pause_ns = kReconnectFirstNs;
  while (loop_.clock().now_ns() < deadline_ns) {
    if (!connection_.is_open()) {
      co_await connection_.close();
      auto opened = co_await ledger_.connector_.open(loop_, sql::lane_statements());
      if (!opened) {
        away_ = true;  // new operations need not wait for this
        ledger_.on_lane_changed();
        co_await loop_.sleep_for(pause_ns);
        pause_ns = std::min(pause_ns * 2, kReconnectMostNs);
        continue;
      }
      connection_.adopt(std::move(*opened));
      next_id_ = ids_end_ = 0;
      away_ = false;
      ++ledger_.counters_.reconnects;
    }
    const bool gone = co_await old_backend_is_gone(old_pid, old_start_us);
    if (!gone) {
      co_await loop_.sleep_for(kOldBackendPauseNs);
      continue;
    }
    parameters_.clear();
    parameters_.add_int8(marker);
    connection_.push(sql::kFindTransaction, parameters_);
    const ExchangeStatus status = co_await connection_.sync(ledger_.options_.in_doubt_ns);
    if (status != ExchangeStatus::kOk) continue;
    const bool committed = connection_.result(0).rows() == 1;
    LOG(kInfo, "db.lane", "Commit in doubt resolved").field("lane", index_).field("committed", committed);
    if (committed) {
      answer_all(batch);
    } else {
      ledger_.give_back(batch);
    }
    co_return;
  }
  LOG(kError, "db.lane", "Commit in doubt not resolved in time; clients are told that the outcome is unknown")
      .field("lane", index_)
      .field("operations", static_cast<int64_t>(batch.size()));
  ledger_.counters_.outcomes_unknown += batch.size();
  for (PendingOperation* pending : batch) {
    // A refusal was decided on what was locked and wrote nothing: it holds.
    if (pending->outcome.code == OutcomeCode::kSuccess) pending->outcome.code = OutcomeCode::kOutcomeUnknown;
    ledger_.answer(*pending);
  }
  ledger_.on_lane_changed();
}

Task<bool> Lane::old_backend_is_gone(int32_t pid, int64_t start_us) {
  parameters_.clear();
  parameters_.add_int4(pid);
  parameters_.add_timestamptz(start_us);
  connection_.push(sql::kEndBackend, parameters_);
  const ExchangeStatus status = co_await connection_.sync(ledger_.options_.in_doubt_ns);
  if (status != ExchangeStatus::kOk) co_return false;
  co_return connection_.result(0).rows() == 0;
}

}  // namespace txn
