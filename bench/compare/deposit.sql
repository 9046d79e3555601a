-- pgbench: the service's deposit as one statement in one transaction, the way a careful backend would write it: lock and
-- update the account, append the log row, no round trip in between. The id comes from a sequence of its own, doubled
-- because the schema wants transaction_id * 2.
\set account random(:first, :last)
\set cents random(100, 9999)
WITH moved AS (
  UPDATE accounts SET balance = balance + :cents::numeric / 100, log_seq = log_seq + 1
  WHERE account_number = :account AND is_active
  RETURNING account_number, balance, log_seq
), id AS (
  SELECT nextval('pgbench_ids') AS next
)
INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type, direction, amount,
                              balance_after, description)
SELECT id.next * 2, id.next, moved.account_number, moved.log_seq, clock_timestamp(), 'DEPOSIT', 'CREDIT',
       :cents::numeric / 100, moved.balance, 'bench'
FROM moved, id;
