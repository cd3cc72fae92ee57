-- The ledger is read in the order of its days, and of time within a day.
DROP INDEX ledger_day;
CREATE INDEX ledger_day ON ledger (day, at_ms, id);
DROP INDEX ledger_estimated;
CREATE INDEX ledger_estimated ON ledger (day, at_ms, id) WHERE estimated = 1;

-- Paid calls are those that were charged. Until now, calls that cost nothing were counted too.
CREATE TABLE uncharged_calls AS
SELECT l.day, l.team, l.key_id, l.model, l.owner, l.cost_centre, l.tags, COUNT(*) AS calls
FROM ledger l
WHERE l.kind = 'call' AND l.cost_nanos + COALESCE(
  (SELECT SUM(c.cost_nanos) FROM ledger c WHERE c.corrects = l.id), 0) <= 0
GROUP BY l.day, l.team, l.key_id, l.model, l.owner, l.cost_centre, l.tags;
UPDATE rollups SET paid_calls = paid_calls - COALESCE((
  SELECT u.calls FROM uncharged_calls u
  WHERE u.day = rollups.day AND u.team = rollups.team AND u.key_id = rollups.key_id
    AND u.model = rollups.model AND u.owner = rollups.owner
    AND u.cost_centre = rollups.cost_centre AND u.tags = rollups.tags), 0)
WHERE outcome = '';
DROP TABLE uncharged_calls;
