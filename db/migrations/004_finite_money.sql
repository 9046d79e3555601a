-- NaN is a value of NUMERIC, it is above every number, and so it passes `balance >= 0`. The service cannot read it and
-- refuses the account. (Infinities need no check: NUMERIC(15,2) does not take them.)
--
-- Each check is replaced under its own name instead of being joined by another: PostgreSQL reads the text of every check
-- again in every statement that writes. NOT VALID, so that no table is scanned while it is locked, and so that a row
-- that is spoilt already does not stop the migration: verify-ledger names it. What is written from now on is checked all
-- the same, that row's next version too.

ALTER TABLE transfer_limits
  DROP CONSTRAINT transfer_limits_daily_limit_check,
  ADD CONSTRAINT transfer_limits_daily_limit_check CHECK (daily_limit >= 0 AND daily_limit < 'NaN') NOT VALID;

ALTER TABLE accounts
  DROP CONSTRAINT accounts_balance_check,
  DROP CONSTRAINT accounts_opening_balance_check,
  DROP CONSTRAINT accounts_usage_amount_check,
  ADD CONSTRAINT accounts_balance_check CHECK (balance >= 0 AND balance < 'NaN') NOT VALID,
  ADD CONSTRAINT accounts_opening_balance_check
    CHECK (opening_balance >= 0 AND opening_balance < 'NaN') NOT VALID,
  ADD CONSTRAINT accounts_usage_amount_check CHECK (usage_amount >= 0 AND usage_amount < 'NaN') NOT VALID;

ALTER TABLE transaction_logs
  DROP CONSTRAINT transaction_logs_amount_check,
  DROP CONSTRAINT transaction_logs_balance_after_check,
  ADD CONSTRAINT transaction_logs_amount_check CHECK (amount > 0 AND amount < 'NaN') NOT VALID,
  ADD CONSTRAINT transaction_logs_balance_after_check
    CHECK (balance_after >= 0 AND balance_after < 'NaN') NOT VALID;

-- TRUNCATE fires no row's trigger and none of DELETE's.
CREATE TRIGGER transaction_logs_no_truncate BEFORE TRUNCATE ON transaction_logs
  FOR EACH STATEMENT EXECUTE FUNCTION transaction_logs_refuse_change();
