-- Parts of a budget that were passed: one row for each percentage, window and limit of an
-- account, written by whoever sees it first. The row is also the webhook's place in the queue.
CREATE TABLE warnings (
  account TEXT NOT NULL,
  period TEXT NOT NULL,
  first_day TEXT NOT NULL,                  -- of the window; 'total' where it never ends
  limit_nanos BIGINT NOT NULL,
  percent BIGINT NOT NULL,
  id TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  spent_nanos BIGINT NOT NULL,
  held_nanos BIGINT NOT NULL,
  resets_ms BIGINT,
  refused BIGINT NOT NULL,                  -- 1: an edit was refused for want of money
  attempts BIGINT NOT NULL DEFAULT 0,
  next_try_ms BIGINT,                       -- NULL: nothing more is to be posted
  delivered_ms BIGINT,
  PRIMARY KEY (account, period, first_day, limit_nanos, percent)
);

CREATE UNIQUE INDEX warnings_id ON warnings (id);

CREATE INDEX warnings_due ON warnings (next_try_ms) WHERE next_try_ms IS NOT NULL;

-- Those whose spending is watched.
CREATE INDEX accounts_budget ON accounts (id) WHERE budget_nanos IS NOT NULL;
