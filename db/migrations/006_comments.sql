-- A sentence for every column that had none, for those who meet the tables in psql.

COMMENT ON COLUMN transfer_limits.privilege IS 'PREMIUM, GOLD, SILVER or BASIC';

COMMENT ON COLUMN accounts.account_number IS 'What clients call the account. Above zero, chosen by the bank, never reused';
COMMENT ON COLUMN accounts.privilege IS 'PREMIUM, GOLD, SILVER or BASIC: which row of transfer_limits the account is held to';
COMMENT ON COLUMN accounts.is_active IS 'false: no money moves, in or out; the log can still be read';
COMMENT ON COLUMN accounts.created_at IS 'The database''s clock when the account was created or imported';

COMMENT ON COLUMN transaction_logs.transaction_id IS
  'The same for both legs of a transfer. Unique, but later ones need not be larger: each lane has blocks of its own';
COMMENT ON COLUMN transaction_logs.account_number IS 'The account whose balance this row moved';
COMMENT ON COLUMN transaction_logs.amount IS 'Above zero, two decimals; direction says which way';
COMMENT ON COLUMN transaction_logs.transaction_type IS 'DEPOSIT, WITHDRAWAL or TRANSFER';
COMMENT ON COLUMN transaction_logs.direction IS 'CREDIT: into account_number. DEBIT: out of it';
COMMENT ON COLUMN transaction_logs.transfer_mode IS 'NEFT, RTGS, IMPS, UPI or CHEQUE for a transfer, otherwise NULL';
COMMENT ON COLUMN transaction_logs.description IS 'The client''s words, at most 255 characters; empty when there were none';

COMMENT ON COLUMN schema_migrations.version IS '1, 2, 3 ..., in the order in which they are applied';
COMMENT ON COLUMN schema_migrations.name IS 'What the migration is about, as its file is called';
COMMENT ON COLUMN schema_migrations.checksum IS 'Of its text: one that was edited afterwards is refused';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When this database saw it';

COMMENT ON COLUMN idempotency_keys.created_at IS 'When the answer was first given; it counts for 24 hours';
COMMENT ON COLUMN idempotency_keys.status IS 'HTTP status of the answer';
COMMENT ON COLUMN idempotency_keys.route IS 'DEPOSIT, WITHDRAWAL or TRANSFER';
COMMENT ON COLUMN idempotency_keys.key IS 'As the client sent it, without quotes';
