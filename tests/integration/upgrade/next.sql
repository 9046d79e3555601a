-- oldest-reader: 7
--
-- What a next release might add, for upgrade_test: a table, and columns in tables that the release before goes on writing.
-- In its middle it takes as long as the test says.

CREATE TABLE upgrade_test_branches (branch text PRIMARY KEY);

SELECT pg_sleep(seconds) FROM upgrade_test_pace;

ALTER TABLE accounts
  ADD COLUMN branch text CHECK (branch <> ''),
  ADD COLUMN opened_at timestamptz NOT NULL DEFAULT now();

ALTER TABLE transaction_logs
  ADD COLUMN channel text NOT NULL DEFAULT 'api';

ALTER TABLE idempotency_keys
  ADD COLUMN channel text;
