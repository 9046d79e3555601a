#include "db/statements.h"

#include <array>

// Plans are generic and kept as long as the connection (db/connector.cc), so no statement may look reasonable only
// while a table is small: where the planner could turn a join around, LATERAL with LIMIT says which side drives it.
namespace txn::sql {

// Whatever the defaults of the database, the role or the session are.
const Statement kBegin{"begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"};

// A key is held by a lock that ends with the transaction and that nobody waits for: whoever does not get it knows at
// once that a request with this key is under way, on whichever replica. The second column says whose session this is.
const Statement kClaimKeys{"claim_keys",
                           "SELECT pg_try_advisory_xact_lock(hashtextextended(k.route || ' ' || k.key, k.caller_id)), "
                           "current_setting('transactions_service.session', true) "
                           "FROM unnest($1::bigint[], $2::text[], $3::text[]) "
                           "WITH ORDINALITY AS k(caller_id, route, key, n) ORDER BY n"};
// A statement of its own, after the claim: its snapshot shows what the holder before us has committed.
const Statement kFindKeys{"find_keys",
                          "SELECT k.n, i.fingerprint, i.status::integer, i.body, i.request_digest "
                          "FROM unnest($1::bigint[], $2::text[], $3::text[]) "
                          "WITH ORDINALITY AS k(caller_id, route, key, n) "
                          "CROSS JOIN LATERAL (SELECT fingerprint, status, body, request_digest FROM idempotency_keys "
                          "WHERE caller_id = k.caller_id AND route = k.route AND key = k.key "
                          "AND created_at > clock_timestamp() - interval '24 hours' LIMIT 1) i"};

// Locks are taken in the order of account_number whatever the batch looks like: LockRows stands above the Sort in the
// plan. NO KEY UPDATE, because the key never changes and readers of it need not wait.
#define TXN_SELECT_ACCOUNTS                                                             \
  "SELECT account_number, owner_id, privilege, is_active, balance, log_seq, pin_hash, " \
  "usage_day, usage_amount, usage_count, pin_failures::integer, pin_locked_until "      \
  "FROM accounts WHERE account_number = ANY($1::bigint[]) ORDER BY account_number"
#ifndef TXN_PLANTED_SKIP_LOCK  // a bug for the chaos tests to find
const Statement kLockAccounts{"lock_accounts", TXN_SELECT_ACCOUNTS " FOR NO KEY UPDATE"};
#else
const Statement kLockAccounts{"lock_accounts", TXN_SELECT_ACCOUNTS};
#endif
// Those that nobody else has locked.
const Statement kLockFreeAccounts{"lock_free_accounts", TXN_SELECT_ACCOUNTS " FOR NO KEY UPDATE SKIP LOCKED"};
#undef TXN_SELECT_ACCOUNTS
// Those that there are, and whether a session that is no lane has locked them: a row that is locked carries its
// holder's transaction, and every lane holds the advisory lock of kEnterLanes.
const Statement kFindAccounts{
    "find_accounts",
    "SELECT a.account_number, EXISTS (SELECT FROM pg_locks h WHERE h.locktype = 'transactionid' AND h.granted "
    "AND h.mode = 'ExclusiveLock' AND h.transactionid = a.xmax AND NOT EXISTS (SELECT FROM pg_locks l "
    "WHERE l.locktype = 'advisory' AND l.pid = h.pid AND l.classid = 1954049644 AND l.objid = 0 AND l.objsubid = 2)) "
    "FROM accounts a WHERE a.account_number = ANY($1::bigint[]) ORDER BY a.account_number"};
// Held as long as the session lives. The first number is "txnl" in ASCII: any will do that others do not use. Rows are
// waited for as LockWait::kShort says: several lanes may wait for each other in a chain, and together they should not
// wait as long as an operation may be queued.
const Statement kEnterLanes{"enter_lanes",
                            "SELECT pg_advisory_lock_shared(1954049644, 0), set_config('lock_timeout', '40ms', false)"};
const Statement kWaitLonger{"wait_longer", "SET LOCAL lock_timeout = '5s'"};

// clock_timestamp(), not now(): now() is when the transaction began, before it waited for its locks, so that a later
// row of an account could carry an earlier time.
const Statement kReadClock{"read_clock",
                           "SELECT clock_timestamp(), current_setting('transactions_service.session', true)"};
// The newest row's id tells whether the sequence stands behind the log (after a copy of the tables alone, say). What
// the snapshot shows was committed before this call of nextval, out of blocks that were handed out before, so a right
// sequence is never taken for a wrong one.
const Statement kReserveIds{
    "reserve_ids", "SELECT nextval('transaction_id_blocks'), coalesce((SELECT max(id) FROM transaction_logs), 0)"};
// The same in a transaction of its own, durable when it is answered: nextval alone writes nothing that a commit would
// wait for. Durable here is enough; whoever takes over from this server ends the sessions that own its blocks.
const Statement kReserveFirstIds{
    "reserve_first_ids",
    "SELECT nextval('transaction_id_blocks'), coalesce((SELECT max(id) FROM transaction_logs), 0), "
    "set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'transactions-service', '')"};
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
    "INSERT INTO idempotency_keys (caller_id, route, key, fingerprint, status, body, created_at, request_digest) "
    "SELECT v.caller_id, v.route, v.key, v.fingerprint, v.status, v.body, $7::timestamptz, v.request_digest "
    "FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::integer[], $6::text[], $8::bytea[]) "
    "AS v(caller_id, route, key, fingerprint, status, body, request_digest) "
    "ON CONFLICT (caller_id, route, key) DO UPDATE SET fingerprint = excluded.fingerprint, "
    "status = excluded.status, body = excluded.body, created_at = excluded.created_at, "
    "request_digest = excluded.request_digest"};

const Statement kCommit{"commit", "COMMIT"};
const Statement kRollback{"rollback", "ROLLBACK"};

// pid numbers are used again, hence the start time. The row says whether it was still there; ask until it is not.
const Statement kEndBackend{"end_backend",
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE pid = $1::integer AND backend_start = $2::timestamptz"};
// By all that the row says: an id may have been handed out again by a server that had crashed (db/id_blocks.h).
#ifndef TXN_PLANTED_WEAK_MARKER  // a bug for the tests to find
const Statement kFindTransaction{"find_transaction",
                                 "SELECT 1 FROM transaction_logs WHERE id = $1::bigint AND account_number = $2::bigint "
                                 "AND seq = $3::bigint AND created_at = $4::timestamptz AND amount = $5::numeric "
                                 "AND balance_after = $6::numeric"};
#else
const Statement kFindTransaction{"find_transaction",
                                 "SELECT 1 FROM transaction_logs WHERE id = $1::bigint AND ($2::bigint, $3::bigint, "
                                 "$4::timestamptz, $5::numeric, $6::numeric) IS NOT NULL"};
#endif

// A commit for nothing, to wait for the standbys with; where there are none, nothing is written.
const Statement kConfirm{"confirm",
                         "SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' THEN "
                         "pg_logical_emit_message(true, 'transactions-service', '') END"};
// The time is that of the batch that has kept it, so that an older answer under the key is not taken for it.
const Statement kFindKey{"find_key",
                         "SELECT 1 FROM idempotency_keys WHERE caller_id = $1::bigint AND route = $2::text "
                         "AND key = $3::text AND body = $4::text AND created_at = $5::timestamptz"};
// False: every commit would wait for a standby, and none is there. Who they are only a monitor may see.
const Statement kSeeStandbys{"see_standbys",
                             "SELECT current_setting('synchronous_standby_names') = '' "
                             "OR EXISTS (SELECT FROM pg_stat_get_wal_senders())"};

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

// One page, newest first: rows below $2 (a seq), the first $3 of them skipped, at most $4.
const Statement kSelectLogs{
    "select_logs",
    "SELECT id, seq, counterparty, amount, transaction_type, direction, balance_after, transaction_id, "
    "coalesce(transfer_mode, '') AS transfer_mode, description, created_at "
    "FROM transaction_logs WHERE account_number = $1::bigint AND seq < $2::bigint "
    "ORDER BY seq DESC OFFSET $3::bigint LIMIT $4::bigint"};
// The same between the first row of $5 or later and the last of $6 or earlier, without reading what lies outside. There
// is no index by time, and none is wanted: each would cost every movement. Within an account created_at does not
// decrease with seq, so both ends are found by halving: `low` to `high` is where the first row of that time can be, and
// a step looks at the first row from the middle on. Some 2 log2(n) looks, holes in seq or not. Where a clock was set
// back the rows in between may be of other times; the page is of seqs all the same, and its reader drops them.
const Statement kSelectLogsBetween{"select_logs_between", R"sql(
WITH RECURSIVE bounds (is_end, time, low, high) AS (
  SELECT t.is_end, t.time, 1::bigint, least(newest.seq, 9223372036854775806) + 1
  FROM (
    SELECT seq FROM transaction_logs
    WHERE account_number = $1::bigint AND seq < $2::bigint ORDER BY seq DESC LIMIT 1
  ) newest
  CROSS JOIN LATERAL (VALUES (false, $5::timestamptz), (true, $6::timestamptz + interval '1 microsecond'))
    AS t (is_end, time)
  UNION ALL
  SELECT b.is_end, b.time, CASE WHEN step.is_past THEN b.low ELSE step.seq + 1 END,
         CASE WHEN step.is_past THEN b.middle ELSE b.high END
  FROM (SELECT *, low + (high - low) / 2 AS middle FROM bounds WHERE low < high) b
  CROSS JOIN LATERAL (
    SELECT seq, coalesce(seq >= b.high OR created_at >= b.time, true) AS is_past
    FROM (SELECT) one
    LEFT JOIN LATERAL (
      SELECT seq, created_at FROM transaction_logs
      WHERE account_number = $1::bigint AND seq >= b.middle ORDER BY seq LIMIT 1
    ) row_there ON true
  ) step
)
SELECT id, seq, counterparty, amount, transaction_type, direction, balance_after, transaction_id,
       coalesce(transfer_mode, '') AS transfer_mode, description, created_at
FROM transaction_logs
WHERE account_number = $1::bigint AND seq >= (SELECT low FROM bounds WHERE low >= high AND NOT is_end)
  AND seq < (SELECT low FROM bounds WHERE low >= high AND is_end)
ORDER BY seq DESC OFFSET $3::bigint LIMIT $4::bigint
)sql"};
const Statement kSelectTransaction{
    "select_transaction",
    "SELECT t.id, t.seq, t.counterparty, t.amount, t.transaction_type, t.direction, t.balance_after, "
    "t.transaction_id, coalesce(t.transfer_mode, '') AS transfer_mode, t.description, t.created_at, t.account_number, "
    "a.owner_id "
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
  static constexpr std::array kAll{
      &kBegin,      &kClaimKeys,       &kFindKeys,   &kLockAccounts,   &kLockFreeAccounts, &kFindAccounts,
      &kReadClock,  &kReserveIds,      &kReadLimits, &kUpdateBalances, &kUpdateAccounts,   &kUpdatePins,
      &kInsertLogs, &kInsertKeys,      &kCommit,     &kRollback,       &kEndBackend,       &kFindTransaction,
      &kConfirm,    &kReserveFirstIds, &kFindKey,    &kSeeStandbys,    &kEnterLanes,       &kWaitLonger};
  return kAll;
}

std::span<const Statement* const> reader_statements() {
  static constexpr std::array kAll{&kPing,         &kSelectAccount,     &kSelectLimit,       &kSelectLimits,
                                   &kSelectLogs,   &kSelectLogsBetween, &kSelectTransaction, &kExpireKeys,
                                   &kAuditAccounts};
  return kAll;
}

}  // namespace txn::sql
