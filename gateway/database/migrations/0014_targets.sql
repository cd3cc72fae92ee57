-- The name under which a model was asked for, and the upstream's own name of it; empty where they
-- are the same as `model`.
ALTER TABLE reservations ADD COLUMN asked_model TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN upstream_model TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN asked_model TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN upstream_model TEXT NOT NULL DEFAULT '';

-- The latest outage of each upstream, written by whichever process finds out first.
CREATE TABLE outages (
  upstream TEXT PRIMARY KEY,
  since_ms BIGINT NOT NULL,
  code TEXT NOT NULL,                       -- of the failure that opened the circuit
  ended_ms BIGINT                           -- NULL: it lasts
);

-- Alerts to post to the organisation's webhook; those of budgets are in `warnings`.
CREATE TABLE alerts (
  id TEXT PRIMARY KEY,
  at_ms BIGINT NOT NULL,
  event TEXT NOT NULL,
  facts TEXT NOT NULL,                      -- JSON: the rest of what is posted
  attempts BIGINT NOT NULL DEFAULT 0,
  next_try_ms BIGINT,                       -- NULL: nothing more is to be posted
  delivered_ms BIGINT
);

CREATE INDEX alerts_due ON alerts (next_try_ms) WHERE next_try_ms IS NOT NULL;
