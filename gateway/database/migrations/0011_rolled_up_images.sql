-- Paid images, so that their number by team and model is a sum of roll-ups, as money is.
ALTER TABLE rollups ADD COLUMN images BIGINT NOT NULL DEFAULT 0;
CREATE TABLE ledger_images AS
SELECT day, team, key_id, model, owner, cost_centre, tags, CAST(SUM(images) AS BIGINT) AS images
FROM ledger GROUP BY day, team, key_id, model, owner, cost_centre, tags;
CREATE INDEX ledger_images_key ON ledger_images (day, key_id);
UPDATE rollups SET images = COALESCE((
  SELECT i.images FROM ledger_images i
  WHERE i.day = rollups.day AND i.team = rollups.team AND i.key_id = rollups.key_id
    AND i.model = rollups.model AND i.owner = rollups.owner
    AND i.cost_centre = rollups.cost_centre AND i.tags = rollups.tags), 0)
WHERE outcome = '';
DROP TABLE ledger_images;
