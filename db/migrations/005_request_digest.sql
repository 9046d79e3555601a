-- What a request under an Idempotency-Key asked for, such that a repeat is known after the secret has changed.
--
-- Rows of the release before have none, and are compared by their fingerprint. That release may run beside this one: it
-- does not know the column. All rows that are there have NULL, which fits the constraint, so none is read to see whether
-- it does (NOT VALID), and the table is locked for a moment only.

ALTER TABLE idempotency_keys
  ADD COLUMN request_digest bytea;

ALTER TABLE idempotency_keys
  ADD CONSTRAINT idempotency_keys_request_digest_check CHECK (octet_length(request_digest) = 32) NOT VALID;

COMMENT ON COLUMN idempotency_keys.request_digest IS
  'Hash of the request without its PIN (16 bytes), id of the secret (4), keyed hash of the PIN (12)';
