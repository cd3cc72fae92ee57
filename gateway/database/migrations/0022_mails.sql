-- Mails to send: alerts and reports, a row for each recipient. Webhooks are in `warnings` and `alerts`.
CREATE TABLE mails (
  id TEXT PRIMARY KEY,                      -- its Message-ID follows from it
  at_ms BIGINT NOT NULL,
  event TEXT NOT NULL,
  recipient TEXT NOT NULL,
  content TEXT NOT NULL,                    -- JSON: subject, text, html, attachments; '' once delivered
  attempts BIGINT NOT NULL DEFAULT 0,
  next_try_ms BIGINT,                       -- NULL: nothing more is to be sent
  delivered_ms BIGINT
);

CREATE INDEX mails_due ON mails (next_try_ms) WHERE next_try_ms IS NOT NULL;
CREATE INDEX mails_at ON mails (at_ms);

-- How far the reports of a schedule are in the outbox, and until when one process writes the next.
CREATE TABLE report_schedules (
  schedule TEXT PRIMARY KEY,
  through_day TEXT NOT NULL,
  leased_until_ms BIGINT NOT NULL DEFAULT 0
);

-- The team whose call stopped the model.
ALTER TABLE prices ADD COLUMN stopped_team TEXT NOT NULL DEFAULT '';
