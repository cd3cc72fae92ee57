-- What was booked together: by a statement, by new prices, by hand; or to take such a batch back.
-- `source` is the statement's digest, the version of the prices, the request, or the other batch.
CREATE TABLE batches (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,                       -- reconcile, reprice, correct or undo
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  upstream TEXT NOT NULL,
  period TEXT NOT NULL,
  source TEXT NOT NULL,
  facts TEXT NOT NULL
);
CREATE INDEX batches_period ON batches (period, upstream);

-- The batch of a row, and the row that it takes back: each can be taken back once.
ALTER TABLE ledger ADD COLUMN batch TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN undoes TEXT NOT NULL DEFAULT '';
CREATE INDEX ledger_batch ON ledger (batch, id) WHERE batch <> '';
CREATE UNIQUE INDEX ledger_undoes ON ledger (undoes) WHERE undoes <> '';

-- The day in whose budgets a row counts, where that is not the day of its booking: what a batch books
-- late counts in reports, but uses up no budget of today.
ALTER TABLE ledger ADD COLUMN budget_day TEXT;
