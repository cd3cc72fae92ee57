-- Months that are closed. Nothing is booked in them any more; what becomes known later is booked
-- in the first open day. `digest` is NULL until what is in the month has been added up.
CREATE TABLE closings (
  period TEXT PRIMARY KEY,                  -- '2026-11'
  first_day TEXT NOT NULL,
  last_day TEXT NOT NULL,
  timezone TEXT NOT NULL,
  closed_ms BIGINT NOT NULL,
  closed_by TEXT NOT NULL,
  estimated_calls BIGINT NOT NULL,          -- closed with so many costs still unknown
  ledger_rows BIGINT NOT NULL DEFAULT 0,
  spent_nanos BIGINT NOT NULL DEFAULT 0,
  corrections_nanos BIGINT NOT NULL DEFAULT 0,
  saved_nanos BIGINT NOT NULL DEFAULT 0,
  digest TEXT
);

-- Whoever corrects, or closes, locks this row: nothing is booked in a month while it is closed.
INSERT INTO counters (name, value) VALUES ('closings', 0);

-- The day that a row is about, where that was closed when it was booked; NULL: its own day.
ALTER TABLE ledger ADD COLUMN late_for TEXT;

CREATE INDEX ledger_upstream ON ledger (upstream_request_id) WHERE upstream_request_id <> '';

CREATE INDEX ledger_late ON ledger (late_for) WHERE late_for IS NOT NULL;
