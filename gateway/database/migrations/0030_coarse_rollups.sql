-- The sums of roll-ups by month and without end users, and by day, team and model alone: reports
-- read these where they can. In the order of its key, the second is added up by day unsorted.
CREATE TABLE month_rollups (
  month TEXT NOT NULL,
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
  images BIGINT NOT NULL,
  PRIMARY KEY (month, dimensions)
);
INSERT INTO month_rollups (
  month, dimensions, team, key_id, model, owner, cost_centre, tags, outcome, cause, calls, errors,
  saved_nanos, paid_calls, spent_nanos, estimated_calls, estimated_nanos, corrections_nanos, images)
SELECT
  SUBSTR(day, 1, 7), dimensions, team, key_id, model, owner, cost_centre, tags, outcome, cause,
  CAST(SUM(calls) AS BIGINT), CAST(SUM(errors) AS BIGINT), CAST(SUM(saved_nanos) AS BIGINT),
  CAST(SUM(paid_calls) AS BIGINT), CAST(SUM(spent_nanos) AS BIGINT),
  CAST(SUM(estimated_calls) AS BIGINT), CAST(SUM(estimated_nanos) AS BIGINT),
  CAST(SUM(corrections_nanos) AS BIGINT), CAST(SUM(images) AS BIGINT)
FROM rollups GROUP BY
  SUBSTR(day, 1, 7), dimensions, team, key_id, model, owner, cost_centre, tags, outcome, cause;
CREATE TABLE team_rollups (
  day TEXT NOT NULL,
  outcome TEXT NOT NULL,
  cause TEXT NOT NULL,
  team TEXT NOT NULL,
  model TEXT NOT NULL,
  calls BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  saved_nanos BIGINT NOT NULL,
  paid_calls BIGINT NOT NULL,
  spent_nanos BIGINT NOT NULL,
  estimated_calls BIGINT NOT NULL,
  estimated_nanos BIGINT NOT NULL,
  corrections_nanos BIGINT NOT NULL,
  images BIGINT NOT NULL,
  PRIMARY KEY (day, outcome, cause, team, model)
);
INSERT INTO team_rollups (
  day, outcome, cause, team, model, calls, errors, saved_nanos, paid_calls, spent_nanos,
  estimated_calls, estimated_nanos, corrections_nanos, images)
SELECT
  day, outcome, cause, team, model, CAST(SUM(calls) AS BIGINT), CAST(SUM(errors) AS BIGINT),
  CAST(SUM(saved_nanos) AS BIGINT), CAST(SUM(paid_calls) AS BIGINT),
  CAST(SUM(spent_nanos) AS BIGINT), CAST(SUM(estimated_calls) AS BIGINT),
  CAST(SUM(estimated_nanos) AS BIGINT), CAST(SUM(corrections_nanos) AS BIGINT),
  CAST(SUM(images) AS BIGINT)
FROM rollups GROUP BY
  day, outcome, cause, team, model;
