#include "db/pg_lane_store.h"

#include <algorithm>

#include "core/concat.h"
#include "core/log.h"
#include "db/commit_verdict.h"
#include "db/connector.h"
#include "db/statements.h"

namespace txn {
namespace {

// Beyond the server's own statement_timeout, so that a server that still answers can say what happened.
constexpr int64_t kAnswerGraceNs = 2 * kNanosPerSecond;

// For the questions about a commit in doubt: clients are waiting, and whoever asks asks again.
constexpr int64_t kQuestionNs = 5 * kNanosPerSecond;
// A session that does not come to its end with nothing by then cannot be said to move money.
constexpr int64_t kProbeNs = 2 * kNanosPerSecond;

StoreStatus status_of(ExchangeStatus status) {
  switch (status) {
    case ExchangeStatus::kOk:
      return StoreStatus::kOk;
    case ExchangeStatus::kFailed:
      return StoreStatus::kFailed;
    case ExchangeStatus::kLost:
      return StoreStatus::kLost;
  }
  return StoreStatus::kLost;
}

// A row of kReserveIds: the block, unless rows with its ids may be in the log already.
Result<int64_t> read_id_block(const PgResult& rows) {
  PgRow row(rows, 0);
  const int64_t block = row.int8(0);
  const int64_t newest_id = row.int8(1);
  // A log row's id is twice its transaction's, plus one.
  row.expect(block > 0 && block < INT64_MAX / kIdsPerBlock / 2, 0);
  if (!row.ok()) return fail(ErrorKind::kUnavailable, "transaction_id_blocks gives ids that the log cannot hold");
  if (newest_id / 2 < block * kIdsPerBlock) return block;
  return fail(ErrorKind::kUnavailable,
              concat("transaction_id_blocks stands at ", block, ", behind the log, whose newest transaction is ",
                     newest_id / 2, ": `transactions-service migrate` sets it right"));
}

bool is_amount(Money amount) { return amount >= Money() && amount <= kMaxBalance; }

// A row that is not one of ours is one without anything in it but its number, as far as that goes. The bounds are the
// schema's, so that nothing the rules do with a row that was read can leave 64 bits.
AccountState read_account(PgRow& row) {
  AccountState account;
  account.account_number = row.int8(0);
  account.owner_id = row.int8(1);
  const auto privilege = parse_privilege(row.bytes(2));
  row.expect(privilege.has_value(), 2);
  account.privilege = privilege.value_or(Privilege::kBasic);
  account.is_active = row.boolean(3);
  account.balance = row.numeric(4);
  row.expect(is_amount(account.balance), 4);
  account.log_seq = row.int8(5);
  row.expect(account.log_seq >= 0, 5);
  if (!row.is_null(6)) {
    const std::string_view hash = row.bytes(6);
    PinHash& pin_hash = account.pin_hash.emplace();
    row.expect(hash.size() == pin_hash.size(), 6);
    std::copy_n(hash.begin(), std::min(hash.size(), pin_hash.size()), pin_hash.begin());
  }
  account.usage_day = row.date(7);
  account.usage_amount = row.numeric(8);
  row.expect(is_amount(account.usage_amount), 8);
  account.usage_count = row.int4(9);
  row.expect(account.usage_count >= 0, 9);
  account.pin_failures = row.int4(10);
  row.expect(account.pin_failures >= 0 && account.pin_failures <= kPinFailuresMax, 10);
  if (!row.is_null(11)) account.pin_locked_until_us = row.timestamptz(11);
  if (row.ok()) return account;
  return {.account_number = account.account_number, .is_unreadable = true};
}

TransferLimits read_limits(const PgResult& rows, UnreadableRows& unreadable) {
  TransferLimits limits;
  limits.fill({.is_readable = false});
  for (int i = 0; i < rows.rows(); ++i) {
    PgRow row(rows, i);
    const auto privilege = parse_privilege(row.bytes(0));
    const TransferLimit limit{.daily_amount = row.numeric(1), .daily_count = row.int4(2)};
    row.expect(is_amount(limit.daily_amount), 1);
    row.expect(limit.daily_count >= 0, 2);
    if (!row.ok()) {
      unreadable.note("transfer_limits", row.unreadable_column(), 0);
    } else if (privilege) {  // others are none of ours
      limits[static_cast<size_t>(*privilege)] = limit;
    }
  }
  return limits;
}

}  // namespace

PgLaneStore::PgLaneStore(Loop& loop, Connector& connector, DatabaseCounters& counters, UnreadableRows& unreadable,
                         int64_t command_timeout_ns, std::function<void()> on_lost)
    : loop_(loop),
      connector_(connector),
      unreadable_(unreadable),
      timeout_ns_(command_timeout_ns + kAnswerGraceNs),
      on_lost_(std::move(on_lost)),
      connection_(loop, *this, counters) {}

Task<Result<void>> PgLaneStore::open(int64_t& id_block) {
  co_await connection_.close();
  in_transaction_ = false;
  auto opened = co_await connector_.open(loop_, ConnectionPurpose::kLane, sql::lane_statements());
  if (!opened) co_return std::unexpected(opened.error());
  connection_.adopt(std::move(*opened));

  connection_.push(sql::kBegin);
  connection_.push(sql::kEnterLanes);
  connection_.push(sql::kReserveFirstIds);
  connection_.push(sql::kCommit);
  const ExchangeStatus status = co_await connection_.sync(timeout_ns_);
  Result<int64_t> block = fail(ErrorKind::kUnavailable, connection_.error_text());
  if (status == ExchangeStatus::kOk) block = read_id_block(connection_.result(2));
  if (!block) {
    co_await connection_.close();
    co_return std::unexpected(block.error());
  }
  id_block = *block;
  co_return Result<void>();
}

Task<void> PgLaneStore::close() { return connection_.close(); }

bool PgLaneStore::is_superseded() const { return connector_.is_superseded(connection_.timeline()); }

void PgLaneStore::report_foreign_session() { connector_.report_other_session(); }

// Whether the transaction under way is in the session that was opened, by what the session says of itself.
bool PgLaneStore::is_own_session(const PgResult& result) const {
#ifndef TXN_PLANTED_BACKEND_OF_CONNECT  // a bug for the tests to find
  return result.rows() > 0 && !result.is_null(0, 1) && result.bytes(0, 1) == connection_.session_token();
#else
  return result.rows() > 0;
#endif
}

BackendId PgLaneStore::backend() const { return {connection_.backend_pid(), connection_.backend_start_us()}; }

void PgLaneStore::add_keys(std::span<IdempotentRequest* const> keys) {
  parameters_.begin_array(PgType::kInt8, keys.size());
  for (const IdempotentRequest* key : keys) parameters_.element_int8(key->caller_id);
  parameters_.end_array();
  parameters_.begin_array(PgType::kText, keys.size());
  for (const IdempotentRequest* key : keys) parameters_.element_text(to_string(key->route));
  parameters_.end_array();
  parameters_.begin_array(PgType::kText, keys.size());
  for (const IdempotentRequest* key : keys) parameters_.element_text(key->key);
  parameters_.end_array();
}

Task<StoreStatus> PgLaneStore::claim(std::span<IdempotentRequest* const> keys, std::vector<Claim>& out) {
  out.clear();
  unreadable_answer_.clear();
  connection_.push(sql::kBegin);
  parameters_.clear();
  add_keys(keys);
  connection_.push(sql::kClaimKeys, parameters_);
  connection_.push(sql::kFindKeys, parameters_);
  const ExchangeStatus status = co_await connection_.sync(timeout_ns_);
  if (status != ExchangeStatus::kOk) co_return status_of(status);
  in_transaction_ = true;

  if (!is_own_session(connection_.result(1))) co_return StoreStatus::kForeign;
  read_claims(keys.size(), out);
  co_return StoreStatus::kOk;
}

// A key of which it cannot be read whether it was used is neither new nor used.
void PgLaneStore::read_claims(size_t keys, std::vector<Claim>& out) {
  out.resize(keys);
  const PgResult& claimed = connection_.result(1);
  for (size_t i = 0; i < keys; ++i) {
    PgRow row(claimed, static_cast<int>(i));
    out[i].kind = row.boolean(0) ? Claim::Kind::kNew : Claim::Kind::kInFlight;
    if (!row.ok()) out[i].kind = Claim::Kind::kUnreadable;
  }
  const PgResult& used = connection_.result(2);
  for (int i = 0; i < used.rows(); ++i) {
    PgRow row(used, i);
    const int64_t number = row.int8(0);
    row.expect(number >= 1 && number <= static_cast<int64_t>(keys), 0);
    if (!row.ok()) {  // of whichever key
      unreadable_.note("idempotency_keys", row.unreadable_column(), 0);
      for (Claim& claim : out) claim.kind = Claim::Kind::kUnreadable;
      return;
    }
    Claim& claim = out[static_cast<size_t>(number - 1)];
    claim.kind = Claim::Kind::kUsed;
    const std::string_view fingerprint = row.bytes(1);
    row.expect(fingerprint.size() == claim.fingerprint.size(), 1);
    const int32_t status = row.int4(2);
    row.expect(status >= 200 && status <= 499, 2);
    claim.answer.status = static_cast<int16_t>(status);
    claim.answer.body = row.bytes(3);
    const std::string_view digest = row.is_null(4) ? std::string_view() : row.bytes(4);
    row.expect(row.is_null(4) || digest.size() == sizeof(RequestDigest), 4);
    if (row.ok()) {
      std::ranges::copy(fingerprint, claim.fingerprint.begin());
      if (!row.is_null(4)) std::ranges::copy(digest, claim.request_digest.emplace().begin());
    } else {
      unreadable_.note("idempotency_keys", row.unreadable_column(), 0);
      claim = {.kind = Claim::Kind::kUnreadable};
    }
  }
}

void PgLaneStore::add_numbers(std::span<const int64_t> numbers) {
  parameters_.clear();
  parameters_.begin_array(PgType::kInt8, numbers.size());
  for (const int64_t number : numbers) parameters_.element_int8(number);
  parameters_.end_array();
}

Task<StoreStatus> PgLaneStore::lock(const LockRequest& request, Locked& out) {
  size_t next = 0;
  unreadable_answer_.clear();
  if (!in_transaction_) {
    connection_.push(sql::kBegin);
    ++next;
  }
  if (request.wait == LockWait::kLong) {
    connection_.push(sql::kWaitLonger);
    ++next;
  }
  const bool waits = request.wait != LockWait::kNone;
  add_numbers(request.account_numbers);
  connection_.push(waits ? sql::kLockAccounts : sql::kLockFreeAccounts, parameters_);
  if (!waits) connection_.push(sql::kFindAccounts, parameters_);
  connection_.push(sql::kReadClock);
  if (request.wants_ids) connection_.push(sql::kReserveIds);
  // Read each time, four rows, so that an operator's change of the table holds from the next batch on.
  if (request.wants_limits) connection_.push(sql::kReadLimits);
  const ExchangeStatus status = co_await connection_.sync(timeout_ns_);
  if (status != ExchangeStatus::kOk) co_return status_of(status);
  in_transaction_ = true;

  read_accounts(request, connection_.result(next++), out.accounts);
  out.held_up.clear();
  if (!waits) read_held_up(connection_.result(next++), out);
  const PgResult& says = connection_.result(next++);
  if (!is_own_session(says)) co_return StoreStatus::kForeign;
  PgRow clock(says, 0);
  out.now_us = clock.timestamptz(0);
  if (!clock.ok()) unreadable_answer_ = "the database's clock cannot be read";
  if (request.wants_ids) {
    const Result<int64_t> block = read_id_block(connection_.result(next++));
    if (!block) unreadable_answer_ = block.error().message;
    out.id_block = block.value_or(0);
  }
  if (request.wants_limits) out.limits = read_limits(connection_.result(next++), unreadable_);
  co_return unreadable_answer_.empty() ? StoreStatus::kOk : StoreStatus::kFailed;
}

void PgLaneStore::read_held_up(const PgResult& existing, Locked& out) {
  for (int i = 0; i < existing.rows(); ++i) {
    PgRow row(existing, i);
    const LockedAccount account{.account_number = row.int8(0), .by_outsider = row.boolean(1)};
    const bool is_ours =
        std::ranges::binary_search(out.accounts, account.account_number, {}, &AccountState::account_number);
    if (row.ok() && !is_ours) out.held_up.push_back(account);
  }
}

void PgLaneStore::read_accounts(const LockRequest& request, const PgResult& rows, std::vector<AccountState>& out) {
  out.clear();
  for (int i = 0; i < rows.rows(); ++i) {
    PgRow row(rows, i);
    const AccountState account = read_account(row);
    if (!row.ok()) unreadable_.note("accounts", row.unreadable_column(), account.account_number);
    // Out of order, or twice: what a broken index finds. Which row is about which account cannot be told then.
    if (account.account_number <= (out.empty() ? 0 : out.back().account_number)) {
      unreadable_.note("accounts", "account_number", account.account_number);
      out.clear();
      for (const int64_t number : request.account_numbers)
        out.push_back({.account_number = number, .is_unreadable = true});
      return;
    }
    out.push_back(account);
  }
}

Task<StoreStatus> PgLaneStore::write(const WriteRequest& request) {
  // Counted here: before the first push the connection still has the last exchange's results.
  size_t commit_index = 0;
  if (!request.log.empty()) {
    push_accounts(request);
    push_log(request);
    commit_index += 2;
  }
  if (std::ranges::any_of(request.accounts, &AccountState::pin_changed)) {
    push_pins(request);
    ++commit_index;
  }
  if (!request.answers.empty()) {
    push_answers(request);
    ++commit_index;
  }
  connection_.push(sql::kCommit);
  const ExchangeStatus status = co_await connection_.sync(timeout_ns_);
  const PgResult& commit = connection_.result(commit_index);
  const std::string_view tag = commit.ok() ? commit.command_tag() : std::string_view();
  if (!tag.empty() && tag != "COMMIT") connection_.set_error_text(concat("COMMIT was answered by ", tag));
  if (!tag.empty() && tag != "COMMIT" && tag != "ROLLBACK") {
    // Somebody else's answer: nothing is known of ours, or will be on this connection.
    co_await connection_.close();
    co_return StoreStatus::kLost;
  }
  const StoreStatus verdict = commit_verdict(status, tag, connection_.doubts_standbys());
  if (tag == "COMMIT") in_transaction_ = false;
  if (verdict == StoreStatus::kUnconfirmed) connection_.set_error_text(connection_.doubt_text());
  co_return verdict;
}

Task<StoreStatus> PgLaneStore::rollback() {
  connection_.push(sql::kRollback);
  const ExchangeStatus status = co_await connection_.sync(timeout_ns_);
  in_transaction_ = false;
  co_return status_of(status);
}

// Not in the transaction itself, whose claims would be held for as long as a standby lets us wait.
Task<StoreStatus> PgLaneStore::confirm() {
  connection_.push(sql::kRollback);
  connection_.push(sql::kConfirm);
  const ExchangeStatus status = co_await connection_.sync(kQuestionNs);
  in_transaction_ = false;
  if (status == ExchangeStatus::kOk && connection_.doubts_standbys()) {
    connection_.set_error_text(connection_.doubt_text());
    co_return StoreStatus::kUnconfirmed;
  }
  co_return status_of(status);
}

// The statements of a batch of deposits and withdrawals, all of them over no rows: the server checks everything else.
Task<StoreStatus> PgLaneStore::probe() {
  unreadable_answer_.clear();
  connection_.push(sql::kBegin);
  add_numbers({});
  connection_.push(sql::kLockAccounts, parameters_);
  connection_.push(sql::kReadClock);
  const WriteRequest nothing;
  push_accounts(nothing);
  push_log(nothing);
  push_answers(nothing);
  connection_.push(sql::kRollback);
  connection_.push(sql::kSeeStandbys);
  const ExchangeStatus status = co_await connection_.sync(kProbeNs);
  if (status != ExchangeStatus::kOk) co_return status_of(status);
  if (!is_own_session(connection_.result(2))) co_return StoreStatus::kForeign;
  const bool has_standbys = connection_.result(7).boolean(0, 0).value_or(false);
  if (has_standbys) co_return StoreStatus::kOk;
  connection_.set_error_text("commits wait for synchronous standbys, and none is connected");
  co_return StoreStatus::kUnconfirmed;
}

// One array a column, over the accounts that changed or over the log rows.
void PgLaneStore::push_accounts(const WriteRequest& request) {
  PgParameters& out = parameters_;
  const auto changed = static_cast<size_t>(std::ranges::count_if(request.accounts, &AccountState::changed));
  const auto column = [&](PgType type, auto element) {
    out.begin_array(type, changed);
    for (const AccountState& account : request.accounts) {
      if (account.changed) element(account);
    }
    out.end_array();
  };
  out.clear();
  column(PgType::kInt8, [&](const AccountState& a) { out.element_int8(a.account_number); });
  column(PgType::kNumeric, [&](const AccountState& a) { out.element_numeric(a.balance); });
  column(PgType::kInt8, [&](const AccountState& a) { out.element_int8(a.log_seq); });
  if (request.has_usage) {
    column(PgType::kDate, [&](const AccountState& a) { out.element_date(a.usage_day); });
    column(PgType::kNumeric, [&](const AccountState& a) { out.element_numeric(a.usage_amount); });
    column(PgType::kInt4, [&](const AccountState& a) { out.element_int4(a.usage_count); });
  }
  connection_.push(request.has_usage ? sql::kUpdateAccounts : sql::kUpdateBalances, out);
}

void PgLaneStore::push_pins(const WriteRequest& request) {
  PgParameters& out = parameters_;
  const auto changed = static_cast<size_t>(std::ranges::count_if(request.accounts, &AccountState::pin_changed));
  const auto column = [&](PgType type, auto element) {
    out.begin_array(type, changed);
    for (const AccountState& account : request.accounts) {
      if (account.pin_changed) element(account);
    }
    out.end_array();
  };
  out.clear();
  column(PgType::kInt8, [&](const AccountState& a) { out.element_int8(a.account_number); });
  column(PgType::kInt4, [&](const AccountState& a) { out.element_int4(a.pin_failures); });
  column(PgType::kTimestamptz, [&](const AccountState& a) {
    if (a.pin_locked_until_us == 0) {
      out.element_null();
    } else {
      out.element_timestamptz(a.pin_locked_until_us);
    }
  });
  connection_.push(sql::kUpdatePins, out);
}

void PgLaneStore::push_log(const WriteRequest& request) {
  PgParameters& out = parameters_;
  const auto column = [&](PgType type, auto element) {
    out.begin_array(type, request.log.size());
    for (const LogRow& row : request.log) element(row);
    out.end_array();
  };
  out.clear();
  column(PgType::kInt8, [&](const LogRow& r) { out.element_int8(log_row_id(r)); });
  column(PgType::kInt8, [&](const LogRow& r) { out.element_int8(r.account_number); });
  column(PgType::kInt8, [&](const LogRow& r) {
    if (r.counterparty == 0) {
      out.element_null();
    } else {
      out.element_int8(r.counterparty);
    }
  });
  column(PgType::kInt8, [&](const LogRow& r) { out.element_int8(r.seq); });
  column(PgType::kText, [&](const LogRow& r) { out.element_text(to_string(r.type)); });
  column(PgType::kText, [&](const LogRow& r) { out.element_text(to_string(r.direction)); });
  column(PgType::kText, [&](const LogRow& r) {
    if (r.transfer_mode == TransferMode::kNone) {
      out.element_null();
    } else {
      out.element_text(to_string(r.transfer_mode));
    }
  });
  column(PgType::kNumeric, [&](const LogRow& r) { out.element_numeric(r.amount); });
  column(PgType::kNumeric, [&](const LogRow& r) { out.element_numeric(r.balance_after); });
  out.add_timestamptz(request.now_us);
  column(PgType::kText, [&](const LogRow& r) { out.element_text(r.description); });
  connection_.push(sql::kInsertLogs, out);
}

void PgLaneStore::push_answers(const WriteRequest& request) {
  PgParameters& out = parameters_;
  out.clear();
  add_keys(request.answers);
  out.begin_array(PgType::kBytea, request.answers.size());
  for (const IdempotentRequest* key : request.answers)
    out.element_text({reinterpret_cast<const char*>(key->fingerprint.data()), key->fingerprint.size()});
  out.end_array();
  out.begin_array(PgType::kInt4, request.answers.size());
  for (const IdempotentRequest* key : request.answers) out.element_int4(key->answer.status);
  out.end_array();
  out.begin_array(PgType::kText, request.answers.size());
  for (const IdempotentRequest* key : request.answers) out.element_text(key->answer.body);
  out.end_array();
  out.add_timestamptz(request.now_us);
  out.begin_array(PgType::kBytea, request.answers.size());
  for (const IdempotentRequest* key : request.answers)
    out.element_text({reinterpret_cast<const char*>(key->request_digest.data()), key->request_digest.size()});
  out.end_array();
  connection_.push(sql::kInsertKeys, out);
}

Task<StoreStatus> PgLaneStore::end_backend(BackendId backend, bool& gone) {
  parameters_.clear();
  parameters_.add_int4(backend.pid);
  parameters_.add_timestamptz(backend.start_us);
  connection_.push(sql::kEndBackend, parameters_);
  const ExchangeStatus status = co_await connection_.sync(kQuestionNs);
  gone = status == ExchangeStatus::kOk && connection_.result(0).rows() == 0;
  co_return status_of(status);
}

Task<StoreStatus> PgLaneStore::find(const Marker& marker, bool& found) {
  parameters_.clear();
  if (marker.log_row != nullptr) {
    parameters_.add_int8(log_row_id(*marker.log_row));
    parameters_.add_int8(marker.log_row->account_number);
    parameters_.add_int8(marker.log_row->seq);
    parameters_.add_timestamptz(marker.now_us);
    parameters_.add_numeric(marker.log_row->amount);
    parameters_.add_numeric(marker.log_row->balance_after);
    connection_.push(sql::kFindTransaction, parameters_);
  } else {
    CHECK(marker.idempotent != nullptr, "a batch that was written has a marker");
    parameters_.add_int8(marker.idempotent->caller_id);
    parameters_.add_text(to_string(marker.idempotent->route));
    parameters_.add_text(marker.idempotent->key);
    parameters_.add_text(marker.idempotent->answer.body);
    parameters_.add_timestamptz(marker.now_us);
    connection_.push(sql::kFindKey, parameters_);
  }
  // The commit may have been cut off while it waited for the standbys. This one, in the same transaction, comes after
  // it in the log, so that when the standbys have confirmed it they have the other.
  connection_.push(sql::kConfirm);
  const ExchangeStatus status = co_await connection_.sync(kQuestionNs);
  found = status == ExchangeStatus::kOk && connection_.result(0).rows() == 1;
  if (found && connection_.doubts_standbys()) {
    connection_.set_error_text(connection_.doubt_text());
    co_return StoreStatus::kUnconfirmed;
  }
  co_return status_of(status);
}

}  // namespace txn
