#include "db/statements.h"

#include <array>

// Plans are generic and kept as long as the connection (db/connector.cc), so no statement may look reasonable only
// while a table is small: where the planner could turn a join around, LATERAL with LIMIT says which side drives it.
namespace txn::sql {

const Statement kBegin{"begin", "BEGIN"};

// A key is held by a lock that ends with the transaction and that nobody waits for: whoever does not get it knows at
// once that a request with this key is under way, on whichever replica.
const Statement kClaimKeys{"claim_keys",
                           "SELECT pg_try_advisory_xact_lock(hashtextextended(k.route || ' ' || k.key, k.caller_id)) "
                           "FROM unnest($1::bigint[], $2::text[], $3::text[]) "
                           "WITH ORDINALITY AS k(caller_id, route, key, n) ORDER BY n"};
// A statement of its own, after the claim: its snapshot shows what the holder before us has committed.
const Statement kFindKeys{"find_keys",
                          "SELECT k.n, i.fingerprint, i.status::integer, i.body "
                          "FROM unnest($1::bigint[], $2::text[], $3::text[]) "
                          "WITH ORDINALITY AS k(caller_id, route, key, n) "
                          "CROSS JOIN LATERAL (SELECT fingerprint, status, body FROM idempotency_keys "
                          "WHERE caller_id = k.caller_id AND route = k.route AND key = k.key "
                          "AND created_at > clock_timestamp() - interval '24 hours' LIMIT 1) i"};

// Locks are taken in the order of account_number whatever the batch looks like: LockRows stands above the Sort in the
// plan. NO KEY UPDATE, because the key never changes and readers of it need not wait.
const Statement kLockAccounts{"lock_accounts",
                              "SELECT account_number, owner_id, privilege, is_active, balance, log_seq, pin_hash, "
                              "usage_day, usage_amount, usage_count, pin_failures::integer, pin_locked_until "
                              "FROM accounts WHERE account_number = ANY($1::bigint[]) "
                              "ORDER BY account_number"
#ifndef TXN_PLANTED_SKIP_LOCK  // a bug for the chaos tests to find
                              " FOR NO KEY UPDATE"
#endif
};

// clock_timestamp(), not now(): now() is when the transaction began, before it waited for its locks, so that a later
// row of an account could carry an earlier time.
const Statement kReadClock{"read_clock", "SELECT clock_timestamp()"};
const Statement kReserveIds{"reserve_ids", "SELECT nextval('transaction_id_blocks')"};
const Statement kReadLimits{"read_limits", "SELECT privilege, daily_limit, transaction_limit FROM transfer_limits"};

const Statement kUpdateBalances{"update_balances",
                                "UPDATE accounts a SET balance = v.balance, log_seq = v.log_seq "
                                "FROM unnest($1::bigint[], $2::numeric[], $3::bigint[]) "
                                "AS v(account_number, balance, log_seq) WHERE a.account_number = v.account_number"};
const Statement kUpdateAccounts{
    "update_accounts",
    "UPDATE accounts a SET balance = v.balance, log_seq = v.log_seq, usage_day = v.usage_day, "
    "usage_amount = v.usage_amount, usage_count = v.usage_count "
    "FROM unnest($1::bigint[], $2::numeric[], $3::bigint[], $4::date[], $5::numeric[], $6::integer[]) "
    "AS v(account_number, balance, log_seq, usage_day, usage_amount, usage_count) "
    "WHERE a.account_number = v.account_number"};

// Apart from the movements', because hardly any batch has one.
const Statement kUpdatePins{"update_pins",
                            "UPDATE accounts a SET pin_failures = v.failures, pin_locked_until = v.locked_until "
                            "FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[]) "
                            "AS v(account_number, failures, locked_until) WHERE a.account_number = v.account_number"};

// $10 is the batch's clock. The id carries the transaction: transaction_id * 2 + leg.
const Statement kInsertLogs{
    "insert_logs",
    "INSERT INTO transaction_logs (id, transaction_id, account_number, counterparty, seq, created_at, "
    "transaction_type, direction, transfer_mode, amount, balance_after, description) "
    "SELECT v.id, v.id / 2, v.account_number, v.counterparty, v.seq, $10::timestamptz, v.type, v.direction, v.mode, "
    "v.amount, v.balance_after, v.description "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], "
    "$8::numeric[], $9::numeric[], $11::text[]) "
    "AS v(id, account_number, counterparty, seq, type, direction, mode, amount, balance_after, description)"};

// Only a row that has expired can be in the way.
const Statement kInsertKeys{
    "insert_keys",
    "INSERT INTO idempotency_keys (caller_id, route, key, fingerprint, status, body, created_at) "
    "SELECT v.caller_id, v.route, v.key, v.fingerprint, v.status, v.body, $7::timestamptz "
    "FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::integer[], $6::text[]) "
    "AS v(caller_id, route, key, fingerprint, status, body) "
    "ON CONFLICT (caller_id, route, key) DO UPDATE SET fingerprint = excluded.fingerprint, "
    "status = excluded.status, body = excluded.body, created_at = excluded.created_at"};

const Statement kCommit{"commit", "COMMIT"};
const Statement kRollback{"rollback", "ROLLBACK"};

// pid numbers are used again, hence the start time. The row says whether it was still there; ask until it is not.
const Statement kEndBackend{"end_backend",
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE pid = $1::integer AND backend_start = $2::timestamptz"};
const Statement kFindTransaction{"find_transaction", "SELECT 1 FROM transaction_logs WHERE id = $1::bigint"};

const Statement kConfirm{"confirm", "SELECT pg_logical_emit_message(true, 'transactions-service', '')"};
// The body has the time and ids of this very decision in it, so an older answer under the key is not taken for it.
const Statement kFindKey{"find_key",
                         "SELECT 1 FROM idempotency_keys WHERE caller_id = $1::bigint AND route = $2::text "
                         "AND key = $3::text AND body = $4::text"};

const Statement kPing{"ping", "SELECT 1"};
const Statement kSelectAccount{
    "select_account",
    "SELECT a.owner_id, a.privilege, l.daily_limit, l.transaction_limit, a.usage_day, a.usage_amount, a.usage_count, "
    "(now() AT TIME ZONE 'UTC')::date AS today "
    "FROM accounts a LEFT JOIN transfer_limits l USING (privilege) WHERE a.account_number = $1::bigint"};
const Statement kSelectLimit{
    "select_limit", "SELECT privilege, daily_limit, transaction_limit FROM transfer_limits WHERE privilege = $1::text"};
const Statement kSelectLimits{
    "select_limits",
    "SELECT privilege, daily_limit, transaction_limit FROM transfer_limits ORDER BY daily_limit DESC, privilege"};

// One page, newest first: rows below $2 (a seq) that are within [$3, $4], $5 of them skipped, at most $6.
const Statement kSelectLogs{
    "select_logs",
    "SELECT id, seq, counterparty, amount, transaction_type, direction, balance_after, transaction_id, "
    "coalesce(transfer_mode, ''), description, created_at "
    "FROM transaction_logs WHERE account_number = $1::bigint AND seq < $2::bigint "
    "AND created_at >= $3::timestamptz AND created_at <= $4::timestamptz "
    "ORDER BY seq DESC OFFSET $5::bigint LIMIT $6::bigint"};
const Statement kSelectTransaction{
    "select_transaction",
    "SELECT t.id, t.seq, t.counterparty, t.amount, t.transaction_type, t.direction, t.balance_after, "
    "t.transaction_id, coalesce(t.transfer_mode, ''), t.description, t.created_at, t.account_number, a.owner_id "
    "FROM transaction_logs t CROSS JOIN LATERAL "
    "(SELECT owner_id FROM accounts WHERE account_number = t.account_number LIMIT 1) a "
    "WHERE t.id IN ($1::bigint * 2, $1::bigint * 2 + 1) ORDER BY t.id"};

// In small bites, and around whatever a lane has in its hands.
const Statement kExpireKeys{"expire_keys",
                            "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY("
                            "SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '24 hours' "
                            "ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED))"};

// A step of the continuous audit (db/ledger_audit.h): as many accounts behind $1 as the bounds allow, each with its
// newest rows (part 0) and one earlier piece (part 1). A part begins with the row before its first, to chain to. One
// row for each difference, or one without; each repeats how many accounts and rows were looked at, the last account's
// number (NULL: there are no more), the time, and the number of differences.
const Statement kAuditAccounts{"audit_accounts", R"sql(
WITH page AS (
  SELECT account_number, balance, opening_balance, log_seq, usage_amount FROM accounts
  WHERE account_number > $1::bigint ORDER BY account_number LIMIT $3::bigint
), counted AS (
  SELECT page.*, lag(account_number, 1, $1::bigint) OVER in_order AS account_before,
         sum(least(log_seq, 2 * $4::bigint)) OVER in_order AS row_count_max
  FROM page WINDOW in_order AS (ORDER BY account_number)
), picked AS (
  SELECT * FROM counted WHERE row_count_max <= $5::bigint
), legs AS (
  SELECT a.account_number, part.number AS part, part.first_seq, l.seq, l.amount, l.balance_after,
         lag(l.seq) OVER in_order AS seq_before, lead(l.seq) OVER in_order IS NULL AS is_last,
         coalesce(lag(l.balance_after) OVER in_order, CASE WHEN l.seq = 1 THEN a.opening_balance END)
           + CASE l.direction WHEN 'CREDIT' THEN l.amount ELSE -l.amount END AS balance_expected,
         CASE WHEN l.transaction_type = 'TRANSFER' THEN
           NOT coalesce(o.transaction_type = 'TRANSFER' AND o.amount = l.amount AND o.direction <> l.direction
             AND o.account_number = l.counterparty AND o.counterparty = l.account_number
             AND o.transfer_mode = l.transfer_mode, false)
         ELSE o.id IS NOT NULL END AS legs_differ
  FROM picked a
  CROSS JOIN LATERAL (VALUES
    (0, greatest(a.log_seq - $4::bigint, 1), 9223372036854775807),
    (1, greatest($2::bigint % greatest((a.log_seq - 1) / $4::bigint, 1) * $4::bigint, 1),
     CASE WHEN a.log_seq > $4::bigint THEN
       ($2::bigint % greatest((a.log_seq - 1) / $4::bigint, 1) + 1) * $4::bigint ELSE 0 END)
  ) AS part (number, first_seq, last_seq)
  CROSS JOIN LATERAL (
    SELECT * FROM transaction_logs
    WHERE account_number = a.account_number AND seq >= part.first_seq AND seq <= part.last_seq
    ORDER BY seq LIMIT $4::bigint + 2
  ) l
  LEFT JOIN LATERAL (SELECT * FROM transaction_logs WHERE id = l.id # 1 LIMIT 1) o ON true
  WINDOW in_order AS (PARTITION BY a.account_number, part.number ORDER BY l.seq)
), facts AS (
  SELECT account_number, count(*) AS row_count, max(seq) FILTER (WHERE part = 0) AS seq_max,
         max(balance_after) FILTER (WHERE part = 0 AND is_last) AS balance,
         min(seq) FILTER (WHERE seq <> coalesce(seq_before + 1, first_seq)) AS hole_at,
         min(seq) FILTER (WHERE balance_after <> balance_expected) AS break_at,
         min(seq) FILTER (WHERE legs_differ) AS legs_differ_at,
         min(seq) FILTER (WHERE 'NaN' IN (amount, balance_after)) AS nan_at
  FROM legs GROUP BY account_number
), gaps AS (
  SELECT account_before, account_number FROM picked
  UNION ALL SELECT $1::bigint, 9223372036854775807 WHERE NOT EXISTS (SELECT FROM picked)
), found AS (
  SELECT a.account_number, text
  FROM picked a LEFT JOIN facts f USING (account_number)
  CROSS JOIN LATERAL unnest(ARRAY[
    CASE WHEN a.balance <> coalesce(f.balance, a.opening_balance) THEN
      format('balance is %s, the log says %s', a.balance, coalesce(f.balance, a.opening_balance)) END,
    CASE WHEN a.log_seq <> coalesce(f.seq_max, 0) THEN
      format('log_seq is %s, the newest row has %s', a.log_seq, coalesce(f.seq_max, 0)) END,
    CASE WHEN f.hole_at IS NOT NULL THEN format('seq %s does not follow the row before', f.hole_at) END,
    CASE WHEN f.break_at IS NOT NULL THEN
      format('balance_after of seq %s does not follow from the row before', f.break_at) END,
    CASE WHEN f.legs_differ_at IS NOT NULL THEN
      format('the transaction of seq %s has another leg than it should', f.legs_differ_at) END,
    CASE WHEN 'NaN' IN (a.balance, a.opening_balance, a.usage_amount) THEN
      format('balance %s, opening balance %s, usage %s: not a number', a.balance, a.opening_balance, a.usage_amount) END,
    CASE WHEN f.nan_at IS NOT NULL THEN
      format('seq %s has an amount or a balance that is not a number', f.nan_at) END]) AS text
  WHERE text IS NOT NULL
  UNION ALL
  SELECT l.account_number, 'log rows of an account that does not exist'
  FROM gaps CROSS JOIN LATERAL (
    SELECT account_number FROM transaction_logs
    WHERE account_number > gaps.account_before AND account_number < gaps.account_number
    ORDER BY account_number LIMIT 1
  ) l
), counts AS (
  SELECT (SELECT count(*) FROM picked) AS accounts, (SELECT coalesce(sum(row_count), 0)::bigint FROM facts) AS row_count,
         (SELECT max(account_number) FROM picked) AS last_account, (SELECT count(*) FROM found) AS differences
)
SELECT c.accounts, c.row_count, c.last_account, statement_timestamp(), c.differences, f.account_number, f.text
FROM counts c LEFT JOIN (SELECT * FROM found ORDER BY account_number LIMIT 64) f ON true
ORDER BY f.account_number
)sql"};

std::span<const Statement* const> lane_statements() {
  static constexpr std::array kAll{&kBegin,           &kClaimKeys,  &kFindKeys,       &kLockAccounts,   &kReadClock,
                                   &kReserveIds,      &kReadLimits, &kUpdateBalances, &kUpdateAccounts, &kUpdatePins,
                                   &kInsertLogs,      &kInsertKeys, &kCommit,         &kRollback,       &kEndBackend,
                                   &kFindTransaction, &kConfirm,    &kFindKey};
  return kAll;
}

std::span<const Statement* const> reader_statements() {
  static constexpr std::array kAll{&kPing,       &kSelectAccount,     &kSelectLimit, &kSelectLimits,
                                   &kSelectLogs, &kSelectTransaction, &kExpireKeys,  &kAuditAccounts};
  return kAll;
}

}  // namespace txn::sql
