-- Wrong PINs in a row, and the lock that three of them make.
--
-- Both stand in the account's row: the lane has it locked when it looks at a PIN, so the count is exact whatever comes
-- at the same time, on whichever replica. The columns have defaults, so no row is rewritten.

ALTER TABLE accounts
  ADD COLUMN pin_failures smallint NOT NULL DEFAULT 0 CHECK (pin_failures BETWEEN 0 AND 3),
  ADD COLUMN pin_locked_until timestamptz CHECK (isfinite(pin_locked_until));

COMMENT ON COLUMN accounts.pin_failures IS 'Wrong PINs in a row; a right one sets it to 0, the third locks the PIN';
COMMENT ON COLUMN accounts.pin_locked_until IS
  'Debits are refused until then, by the database''s clock, and pin_failures counts for nothing after it; NULL: no lock';
