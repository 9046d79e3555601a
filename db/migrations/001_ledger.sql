-- The books: accounts, the append-only log of everything that moved them, and the limits of each privilege.
--
-- Run by `transactions-service migrate` inside one transaction. Once released this file is never edited: what changes
-- comes as the next number. Money is NUMERIC(15,2), the C++ side counts minor units in 64 bits (core/money.h). Columns
-- of fixed width stand first, so that no row carries padding.

CREATE TABLE transfer_limits (
  transaction_limit integer NOT NULL CHECK (transaction_limit >= 0),
  privilege text PRIMARY KEY CHECK (privilege IN ('PREMIUM', 'GOLD', 'SILVER', 'BASIC')),
  daily_limit numeric(15, 2) NOT NULL CHECK (daily_limit >= 0)
);

INSERT INTO transfer_limits (privilege, daily_limit, transaction_limit) VALUES
  ('PREMIUM', 100000.00, 50),
  ('GOLD', 50000.00, 25),
  ('SILVER', 25000.00, 10),
  ('BASIC', 10000.00, 5);

COMMENT ON TABLE transfer_limits IS 'What an account of each privilege may send in transfers on one UTC day';
COMMENT ON COLUMN transfer_limits.daily_limit IS 'Sum of successful outgoing transfers of one UTC day';
COMMENT ON COLUMN transfer_limits.transaction_limit IS 'Count of successful outgoing transfers of one UTC day';

-- Every movement updates its account's row, so these updates must stay heap-only (HOT): the pages keep room for the
-- next version of a row, and the primary key is the only index. Never index a column that movements change.
CREATE TABLE accounts (
  account_number bigint PRIMARY KEY CHECK (account_number > 0),
  owner_id bigint NOT NULL,
  log_seq bigint NOT NULL DEFAULT 0 CHECK (log_seq >= 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  usage_day date NOT NULL DEFAULT '1970-01-01',
  usage_count integer NOT NULL DEFAULT 0 CHECK (usage_count >= 0),
  is_active boolean NOT NULL,
  privilege text NOT NULL REFERENCES transfer_limits (privilege),
  balance numeric(15, 2) NOT NULL CHECK (balance >= 0),
  opening_balance numeric(15, 2) NOT NULL CHECK (opening_balance >= 0),
  usage_amount numeric(15, 2) NOT NULL DEFAULT 0 CHECK (usage_amount >= 0),
  pin_hash bytea CHECK (octet_length(pin_hash) = 32)
) WITH (fillfactor = 80);

COMMENT ON TABLE accounts IS
  'One row an account. Created and maintained by the account subcommands; moved only by the service';
COMMENT ON COLUMN accounts.owner_id IS 'The subject of the tokens whose CUSTOMER role owns this account';
COMMENT ON COLUMN accounts.balance IS
  'opening_balance plus credits minus debits of the account''s log rows. Never set by hand: verify-ledger would tell';
COMMENT ON COLUMN accounts.opening_balance IS 'Balance at creation, before the first log row. Never changes';
COMMENT ON COLUMN accounts.log_seq IS 'seq of the account''s newest log row, 0 when there is none';
COMMENT ON COLUMN accounts.usage_day IS
  'UTC day that usage_amount and usage_count are about; for any other day both are zero';
COMMENT ON COLUMN accounts.usage_amount IS 'Sum of successful outgoing transfers of usage_day';
COMMENT ON COLUMN accounts.usage_count IS 'Count of successful outgoing transfers of usage_day';
COMMENT ON COLUMN accounts.pin_hash IS
  'HMAC-SHA-256 of account number and PIN under the server''s key; NULL: debits need no PIN';

-- One row an account touched by a transaction: a deposit or withdrawal has one, a transfer two.
--
-- No foreign key to accounts: it would take a KEY SHARE lock on the account for every row, and where several sessions
-- share a hot account that makes a multixact each time. The service writes a row only for an account that it holds
-- locked, and verify-ledger looks for rows of unknown accounts.
CREATE TABLE transaction_logs (
  id bigint PRIMARY KEY,
  transaction_id bigint NOT NULL CHECK (transaction_id > 0),
  account_number bigint NOT NULL,
  counterparty bigint,
  seq bigint NOT NULL CHECK (seq > 0),
  created_at timestamptz NOT NULL,
  transaction_type text NOT NULL,
  direction text NOT NULL,
  transfer_mode text,
  amount numeric(15, 2) NOT NULL CHECK (amount > 0),
  balance_after numeric(15, 2) NOT NULL CHECK (balance_after >= 0),
  description text NOT NULL CHECK (char_length(description) <= 255),
  UNIQUE (account_number, seq),
  CONSTRAINT transaction_logs_kind_check CHECK (
    CASE transaction_type
      WHEN 'DEPOSIT' THEN direction = 'CREDIT' AND counterparty IS NULL AND transfer_mode IS NULL
      WHEN 'WITHDRAWAL' THEN direction = 'DEBIT' AND counterparty IS NULL AND transfer_mode IS NULL
      WHEN 'TRANSFER' THEN direction IN ('CREDIT', 'DEBIT') AND counterparty IS NOT NULL
        AND counterparty <> account_number AND transfer_mode IS NOT NULL
        AND transfer_mode IN ('NEFT', 'RTGS', 'IMPS', 'UPI', 'CHEQUE')
      ELSE false
    END),
  CONSTRAINT transaction_logs_leg_check CHECK (
    id = transaction_id * 2 + CASE WHEN transaction_type = 'TRANSFER' AND direction = 'CREDIT' THEN 1 ELSE 0 END)
);

COMMENT ON TABLE transaction_logs IS 'Append-only: one row for each account that a transaction touched';
COMMENT ON COLUMN transaction_logs.id IS 'transaction_id * 2, plus 1 for the payee''s leg of a transfer';
COMMENT ON COLUMN transaction_logs.counterparty IS 'The other account of a transfer, otherwise NULL';
COMMENT ON COLUMN transaction_logs.seq IS '1, 2, 3 ... for each account, without holes';
COMMENT ON COLUMN transaction_logs.balance_after IS 'Balance of account_number after this row';
COMMENT ON COLUMN transaction_logs.created_at IS 'The database''s clock; ordering within an account is by seq';

-- The only two indexes, because every row written pays for each of them.
COMMENT ON INDEX transaction_logs_pkey IS
  'Finds the legs of a transaction (id IN (2 * t, 2 * t + 1)) and keeps a transaction id from being used twice';
COMMENT ON INDEX transaction_logs_account_number_seq_key IS
  'Pages through an account''s log, newest first, by seq; and keeps two writers from using the same seq';

-- The service's role should have neither UPDATE nor DELETE on the log. Where one role does everything, and for
-- operators in a hurry, this says no as well; it costs an INSERT nothing.
CREATE FUNCTION transaction_logs_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'transaction_logs is append-only: % refused', TG_OP
    USING ERRCODE = 'insufficient_privilege', HINT = 'Correct the books with another transaction.';
END
$$;

CREATE TRIGGER transaction_logs_append_only BEFORE UPDATE OR DELETE ON transaction_logs
  FOR EACH STATEMENT EXECUTE FUNCTION transaction_logs_refuse_change();

-- A lane that has used up its transaction ids takes the next value k and owns ids k * 1024 to k * 1024 + 1023. What is
-- left of a block when the service stops is never used: ids are unique and not dense, and their order is not the order
-- of commits.
CREATE SEQUENCE transaction_id_blocks AS bigint START 1;
COMMENT ON SEQUENCE transaction_id_blocks IS 'Next block of 1024 transaction ids; never set it back';
