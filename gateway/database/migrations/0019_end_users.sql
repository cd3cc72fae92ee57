-- The end user for whom a request was made: a pseudonym, or the name as it was sent; '' is nobody's.
ALTER TABLE reservations ADD COLUMN end_user TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN end_user TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_rows ADD COLUMN end_user TEXT NOT NULL DEFAULT '';
CREATE INDEX ledger_end_user ON ledger (end_user, day) WHERE end_user <> '';
CREATE INDEX usage_rows_end_user ON usage_rows (end_user, day) WHERE end_user <> '';

-- The limits of each end user of a team or a key. Their balances have the account
-- 'user:ACCOUNT/NAME', such as 'user:team:design/ada'.
ALTER TABLE accounts ADD COLUMN end_user_budget_nanos BIGINT;
ALTER TABLE accounts ADD COLUMN end_user_images_per_day BIGINT;

-- The end users of a team that are told apart. The counter 'end_users:TEAM' is their number, and the
-- lock of whoever adds one.
CREATE TABLE end_users (
  team TEXT NOT NULL,
  name TEXT NOT NULL,
  first_ms BIGINT NOT NULL,
  PRIMARY KEY (team, name)
);
CREATE INDEX end_users_name ON end_users (name);

-- Roll-ups of each end user apart. `dimensions` stays the digest of the columns from team to cause:
-- the digests of closed months are over the sums of all users.
CREATE TABLE rollups_before AS SELECT * FROM rollups;
DROP TABLE rollups;
CREATE TABLE rollups (
  day TEXT NOT NULL,
  dimensions TEXT NOT NULL,
  end_user TEXT NOT NULL DEFAULT '',
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
  images BIGINT NOT NULL,
  PRIMARY KEY (day, dimensions, end_user)
);
INSERT INTO rollups (day, dimensions, team, key_id, model, owner, cost_centre, tags, outcome, cause,
  calls, errors, saved_nanos, paid_calls, spent_nanos, estimated_calls, estimated_nanos,
  corrections_nanos, images)
SELECT day, dimensions, team, key_id, model, owner, cost_centre, tags, outcome, cause,
  calls, errors, saved_nanos, paid_calls, spent_nanos, estimated_calls, estimated_nanos,
  corrections_nanos, images FROM rollups_before;
DROP TABLE rollups_before;
