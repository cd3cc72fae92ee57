-- Money. One row per account and day, and one with the day 'total', which is also the lock:
-- every transaction that moves money changes the rows of 'organisation', 'team:NAME' and
-- 'key:ID', in this order, the totals first. A window's balance is the sum of its days.
CREATE TABLE balances (
  account TEXT NOT NULL,
  day TEXT NOT NULL,
  spent_nanos BIGINT NOT NULL,
  held_nanos BIGINT NOT NULL,
  images BIGINT NOT NULL,
  images_held BIGINT NOT NULL,
  PRIMARY KEY (account, day)
);

-- What is held for upstream calls that have not been settled or voided. The row goes when
-- the call is resolved; its deletion is what makes that happen once.
CREATE TABLE reservations (
  id TEXT PRIMARY KEY,
  day TEXT NOT NULL,
  made_ms BIGINT NOT NULL,
  owner_id TEXT NOT NULL,
  ceiling_nanos BIGINT NOT NULL,
  images BIGINT NOT NULL,
  request_id TEXT NOT NULL,
  team TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  route TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  reference_images BIGINT NOT NULL,
  body_bytes BIGINT NOT NULL,
  owner TEXT NOT NULL,
  cost_centre TEXT NOT NULL,
  tags TEXT NOT NULL
);

-- The processes that hold reservations, and when each was last known to live.
CREATE TABLE owners (
  id TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  pid BIGINT NOT NULL,
  started_ms BIGINT NOT NULL,
  heartbeat_ms BIGINT NOT NULL
);

-- The ledger: only ever added to. A row of kind 'call' has its reservation's id; a row of
-- kind 'correction' has the id of the call it corrects and a running number, and is the only
-- one whose cost_nanos and images may be negative. `n` is how many pictures were reserved,
-- `images` how many count as paid.
CREATE TABLE ledger (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  corrects TEXT,
  at_ms BIGINT NOT NULL,
  day TEXT NOT NULL,
  request_id TEXT NOT NULL,
  upstream_request_id TEXT NOT NULL,
  credential TEXT NOT NULL,
  team TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  route TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  reference_images BIGINT NOT NULL,
  body_bytes BIGINT NOT NULL,
  answer_bytes BIGINT NOT NULL,
  status BIGINT,
  n BIGINT NOT NULL,
  images BIGINT NOT NULL,
  cost_nanos BIGINT NOT NULL,
  estimated BIGINT NOT NULL,
  owner TEXT NOT NULL,
  cost_centre TEXT NOT NULL,
  tags TEXT NOT NULL
);
CREATE INDEX ledger_day ON ledger (day, id);
CREATE INDEX ledger_request ON ledger (request_id);
CREATE INDEX ledger_correction ON ledger (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX ledger_estimated ON ledger (day, id) WHERE estimated = 1;

-- The most that one picture of a model is known to have cost, by day.
CREATE TABLE model_costs (
  model TEXT NOT NULL,
  day TEXT NOT NULL,
  max_nanos BIGINT NOT NULL,
  PRIMARY KEY (model, day)
);

-- One row per request, hits and refusals too; old ones are dropped, their sums stay below.
CREATE TABLE usage_rows (
  id TEXT PRIMARY KEY,
  at_ms BIGINT NOT NULL,
  day TEXT NOT NULL,
  request_id TEXT NOT NULL,
  team TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  route TEXT NOT NULL,
  outcome TEXT NOT NULL,
  cause TEXT NOT NULL,
  saved_nanos BIGINT NOT NULL,
  status BIGINT NOT NULL,
  code TEXT NOT NULL,
  paid_by_team TEXT NOT NULL,
  owner TEXT NOT NULL,
  cost_centre TEXT NOT NULL,
  tags TEXT NOT NULL
);
CREATE INDEX usage_rows_day ON usage_rows (day);
CREATE INDEX usage_rows_request ON usage_rows (request_id);

-- Sums for reports, kept in the transactions that add rows. Requests are counted on rows
-- with an outcome, money on rows whose outcome is empty: no transaction of one sort waits
-- for one of the other. `dimensions` is a digest of the columns from team to cause, because
-- tags can be longer than what an index takes.
CREATE TABLE rollups (
  day TEXT NOT NULL,
  dimensions TEXT NOT NULL,
  team TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  owner TEXT NOT NULL,
  cost_centre TEXT NOT NULL,
  tags TEXT NOT NULL,
  outcome TEXT NOT NULL,
  cause TEXT NOT NULL,
  calls BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  saved_nanos BIGINT NOT NULL,
  paid_calls BIGINT NOT NULL,
  spent_nanos BIGINT NOT NULL,
  estimated_calls BIGINT NOT NULL,
  estimated_nanos BIGINT NOT NULL,
  corrections_nanos BIGINT NOT NULL,
  PRIMARY KEY (day, dimensions)
);

-- Requests leased by the processes, by account and minute.
CREATE TABLE rate_minutes (
  account TEXT NOT NULL,
  minute BIGINT NOT NULL,
  used BIGINT NOT NULL,
  granted BIGINT NOT NULL,
  PRIMARY KEY (account, minute)
);
CREATE INDEX rate_minutes_minute ON rate_minutes (minute);
