#include "db/verify.h"

#include <algorithm>

namespace txn {
namespace {

// JIT compiles for seconds what then runs for seconds; parallel workers hand rows over one by one. Sorting is what this
// costs, so it gets memory, for this transaction only.
constexpr const char* kBegin =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    "SET LOCAL jit = off;"
    "SET LOCAL work_mem = '128MB';"
    "SET LOCAL statement_timeout = 0";

constexpr const char* kCounts =
    "SELECT (SELECT count(*) FROM accounts),"
    "       (SELECT coalesce(sum(balance), 0.00) FROM accounts),"
    "       (SELECT count(*) FROM transaction_logs),"
    "       (SELECT count(*) FROM transaction_logs WHERE id % 2 = 0)";  // the payer's or only leg of each

// Each of the following returns (text, total): at most $1 differences and how many there are in all.

// One pass over the log in the order of (account_number, seq) gives each account a row of facts, which are then held
// against the account. FULL JOIN: accounts without a log and logs without an account both count. A day's usage is that
// of all transfers from its first on: one made after the clock went back over midnight still counts for the later day.
constexpr const char* kAccountDifferences = R"sql(
WITH legs AS (
  SELECT l.account_number, l.seq, l.amount, l.balance_after,
         CASE l.direction WHEN 'CREDIT' THEN l.amount ELSE -l.amount END AS effect,
         (l.created_at AT TIME ZONE 'UTC')::date AS utc_day,
         l.transaction_type = 'TRANSFER' AND l.direction = 'DEBIT' AS is_outgoing,
         a.opening_balance, a.usage_day,
         bool_or(l.transaction_type = 'TRANSFER' AND l.direction = 'DEBIT'
                 AND (l.created_at AT TIME ZONE 'UTC')::date = a.usage_day) OVER in_order AS day_has_begun,
         lag(l.seq, 1, 0::bigint) OVER in_order AS seq_before,
         lag(l.balance_after, 1, a.opening_balance) OVER in_order AS balance_before
  FROM transaction_logs l LEFT JOIN accounts a USING (account_number)
  WINDOW in_order AS (PARTITION BY l.account_number ORDER BY l.seq)
), facts AS (
  SELECT account_number, count(*) AS row_count, max(seq) AS seq_max, sum(effect) AS effect,
         min(seq) FILTER (WHERE seq <> seq_before + 1) AS hole_at,
         min(seq) FILTER (WHERE balance_after <> balance_before + effect) AS break_at,
         min(seq) FILTER (WHERE balance_after < 0 OR amount <= 0) AS negative_at,
         min(seq) FILTER (WHERE 'NaN' IN (balance_after, amount)) AS nan_at,
         coalesce(sum(amount) FILTER (WHERE is_outgoing AND day_has_begun AND utc_day <= usage_day), 0) AS usage_amount,
         count(*) FILTER (WHERE is_outgoing AND day_has_begun AND utc_day <= usage_day) AS usage_count,
         max(utc_day) FILTER (WHERE is_outgoing AND utc_day > usage_day) AS later_day
  FROM legs GROUP BY account_number
), found AS (
  SELECT account_number,
    CASE WHEN a.balance IS NULL THEN ARRAY[format('%s log rows of an account that does not exist', f.row_count)]
    ELSE ARRAY[
      CASE WHEN a.balance <> a.opening_balance + coalesce(f.effect, 0) THEN
        format('balance is %s, opening balance and log give %s', a.balance,
               a.opening_balance + coalesce(f.effect, 0)) END,
      CASE WHEN 'NaN' IN (a.balance, a.opening_balance, a.usage_amount) THEN
        format('balance %s, opening balance %s, usage %s: not a number', a.balance, a.opening_balance,
               a.usage_amount) END,
      CASE WHEN f.nan_at IS NOT NULL THEN format('seq %s has an amount or a balance that is not a number', f.nan_at) END,
      CASE WHEN a.balance < 0 OR a.opening_balance < 0 THEN
        format('balance %s, opening balance %s: below zero', a.balance, a.opening_balance) END,
      CASE WHEN a.log_seq <> coalesce(f.row_count, 0) OR a.log_seq <> coalesce(f.seq_max, 0) THEN
        format('log_seq is %s, the log has %s rows up to seq %s', a.log_seq, coalesce(f.row_count, 0),
               coalesce(f.seq_max, 0)) END,
      CASE WHEN f.hole_at IS NOT NULL THEN format('seq %s does not follow the row before', f.hole_at) END,
      CASE WHEN f.break_at IS NOT NULL THEN
        format('balance_after of seq %s does not follow from the row before', f.break_at) END,
      CASE WHEN f.negative_at IS NOT NULL THEN format('seq %s has a negative amount or balance', f.negative_at) END,
      CASE WHEN a.usage_amount <> coalesce(f.usage_amount, 0) OR a.usage_count <> coalesce(f.usage_count, 0) THEN
        format('usage of %s is %s in %s transfers, the log has %s in %s', a.usage_day, a.usage_amount, a.usage_count,
               coalesce(f.usage_amount, 0), coalesce(f.usage_count, 0)) END,
      CASE WHEN f.later_day IS NOT NULL THEN
        format('usage is of %s, but the log has a transfer of %s', a.usage_day, f.later_day) END]
    END AS texts
  FROM facts f FULL JOIN accounts a USING (account_number)
)
SELECT format('account %s: %s', account_number, text), count(*) OVER () AS total
FROM found, unnest(texts) WITH ORDINALITY AS t (text, place)
WHERE text IS NOT NULL ORDER BY account_number, place LIMIT $1::int
)sql";

// The legs of a transaction side by side. min() of the payer's leg is that leg's value when there is only one, and when
// there are more the counts say so.
constexpr const char* kTransactionDifferences = R"sql(
WITH sides AS (
  SELECT transaction_id, count(*) AS legs, min(transaction_type) AS type, max(transaction_type) AS type_max,
         count(*) FILTER (WHERE direction = 'DEBIT') AS debits, min(amount) AS amount, max(amount) AS amount_max,
         min(transfer_mode) AS mode, max(transfer_mode) AS mode_max,
         min(account_number) FILTER (WHERE direction = 'DEBIT') AS payer,
         min(account_number) FILTER (WHERE direction = 'CREDIT') AS payee,
         min(counterparty) FILTER (WHERE direction = 'DEBIT') AS payer_says,
         min(counterparty) FILTER (WHERE direction = 'CREDIT') AS payee_says,
         bool_and(id = transaction_id * 2 + (transaction_type = 'TRANSFER' AND direction = 'CREDIT')::int) AS ids_follow
  FROM transaction_logs GROUP BY transaction_id
), found AS (
  SELECT transaction_id, CASE
    WHEN type <> type_max THEN format('rows of different types, %s and %s', type, type_max)
    WHEN type = 'TRANSFER' AND (legs <> 2 OR debits <> 1) THEN
      format('a transfer with %s legs, %s of them debits', legs, debits)
    WHEN type <> 'TRANSFER' AND legs <> 1 THEN format('a %s with %s rows', lower(type), legs)
    WHEN type <> 'TRANSFER' AND debits <> (type = 'WITHDRAWAL')::int THEN
      format('a %s in the wrong direction', lower(type))
    WHEN amount <> amount_max THEN format('legs of different amounts, %s and %s', amount, amount_max)
    WHEN type = 'TRANSFER' AND (payer IS DISTINCT FROM payee_says OR payee IS DISTINCT FROM payer_says) THEN
      format('legs of %s and %s name %s and %s as their counterparties', payer, payee, payer_says, payee_says)
    WHEN mode <> mode_max THEN format('legs of different modes, %s and %s', mode, mode_max)
    WHEN NOT ids_follow THEN 'ids of its rows do not follow from its own'
    END AS text
  FROM sides
)
SELECT format('transaction %s: %s', transaction_id, text), count(*) OVER () AS total
FROM found WHERE text IS NOT NULL ORDER BY transaction_id LIMIT $1::int
)sql";

// The counterpart leg is checked above; this finds the transfer whose other side never had an account.
constexpr const char* kCounterpartyDifferences = R"sql(
SELECT format('transaction %s: counterparty %s does not exist', min(l.transaction_id), l.counterparty),
       count(*) OVER () AS total
FROM transaction_logs l
WHERE l.counterparty IS NOT NULL AND NOT EXISTS (SELECT FROM accounts a WHERE a.account_number = l.counterparty)
GROUP BY l.counterparty ORDER BY min(l.transaction_id) LIMIT $1::int
)sql";

// A sequence that was set back (by a restore, say) would hand out ids a second time. Sequences are outside of snapshots
// and only go up, so reading it last cannot raise a false alarm. A role that may not look at it skips this.
constexpr const char* kSequenceDifferences = R"sql(
SELECT format('transaction ids are in use up to %s, but transaction_id_blocks has handed out no more than %s; '
              '`transactions-service migrate` sets it right',
              used.id, granted.id), 1 AS total
FROM (SELECT max(transaction_id) AS id FROM transaction_logs) used,
     (SELECT CASE WHEN has_sequence_privilege('transaction_id_blocks', 'USAGE, SELECT')
             THEN coalesce(pg_sequence_last_value('transaction_id_blocks'), 0) * 1024 + 1023 END AS id) granted
WHERE used.id > granted.id LIMIT $1::int
)sql";

// Without its limit no account of a privilege can make a transfer.
constexpr const char* kLimitDifferences = R"sql(
SELECT format('transfer limit %s %s', privilege, CASE WHEN l.daily_limit IS NULL THEN 'is missing' ELSE 'is not a number' END),
       count(*) OVER () AS total
FROM (VALUES ('PREMIUM'), ('GOLD'), ('SILVER'), ('BASIC')) AS known (privilege)
LEFT JOIN transfer_limits l USING (privilege)
WHERE l.daily_limit IS NULL OR l.daily_limit = 'NaN' ORDER BY privilege LIMIT $1::int
)sql";

Result<void> collect(Session& session, const char* sql, int differences_max, VerifyReport& report) {
  const auto rows = session.exec(sql, {std::to_string(differences_max)});
  if (!rows) return std::unexpected(rows.error());
  if (rows->size() > 0) report.difference_count += rows->integer(0, 1);
  if (auto sound = rows->check(); !sound) return sound;
  for (int row = 0; row < rows->size(); ++row) {
    if (report.differences.size() < static_cast<size_t>(differences_max))
      report.differences.emplace_back(rows->text(row, 0));
  }
  return {};
}

}  // namespace

Result<VerifyReport> verify_ledger(Session& session, int differences_max) {
  VerifyReport report;
  const auto done = session.transaction(
      [&]() -> Result<void> {
        const auto counts = session.exec(kCounts);
        if (!counts) return std::unexpected(counts.error());
        report.accounts = counts->integer(0, 0);
        report.total_balance = counts->text(0, 1);
        report.log_rows = counts->integer(0, 2);
        report.transactions = counts->integer(0, 3);
        if (auto sound = counts->check(); !sound) return sound;
        for (const char* sql : {kAccountDifferences, kTransactionDifferences, kCounterpartyDifferences,
                                kSequenceDifferences, kLimitDifferences}) {
          if (auto collected = collect(session, sql, differences_max, report); !collected) return collected;
        }
        return {};
      },
      kBegin);
  if (!done) return std::unexpected(done.error());
  return report;
}

}  // namespace txn
