-- What callers were told under an Idempotency-Key, so that a repeat of the request gets the same answer.
--
-- Written in the transaction that moves the money (or refuses to): the answer and the movement are there together or not
-- at all. Kept for 24 hours; older rows count for nothing and are removed in the background.

CREATE TABLE idempotency_keys (
  caller_id bigint NOT NULL,
  created_at timestamptz NOT NULL,
  status smallint NOT NULL CHECK (status BETWEEN 200 AND 499),
  route text NOT NULL CHECK (route IN ('DEPOSIT', 'WITHDRAWAL', 'TRANSFER')),
  key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
  fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
  body text NOT NULL,
  PRIMARY KEY (caller_id, route, key)
);

CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);

COMMENT ON TABLE idempotency_keys IS 'Answers given under an Idempotency-Key within the last 24 hours';
COMMENT ON COLUMN idempotency_keys.caller_id IS 'Subject of the caller''s token; keys are scoped to caller and route';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'Keyed hash of the request, to tell another request under the same key';
COMMENT ON COLUMN idempotency_keys.body IS 'The answer, byte for byte';
COMMENT ON INDEX idempotency_keys_created_at_idx IS 'Finds what has expired';
