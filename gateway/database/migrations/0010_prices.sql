-- The most that one picture is known to have cost, by day. Rows of before this version name no
-- upstream: they hold for every upstream, quality and size.
CREATE TABLE picture_costs (
  upstream TEXT NOT NULL,
  model TEXT NOT NULL,
  quality TEXT NOT NULL,
  size TEXT NOT NULL,
  day TEXT NOT NULL,
  max_nanos BIGINT NOT NULL,
  PRIMARY KEY (upstream, model, quality, size, day)
);
INSERT INTO picture_costs (upstream, model, quality, size, day, max_nanos)
SELECT '', model, '', '', day, max_nanos FROM model_costs;
DROP TABLE model_costs;

ALTER TABLE reservations ADD COLUMN upstream TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN quality TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN size TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN upstream TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN quality TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN size TEXT NOT NULL DEFAULT '';

-- What else is known of a model's price at an upstream.
CREATE TABLE prices (
  upstream TEXT NOT NULL,
  model TEXT NOT NULL,
  confirmed_nanos BIGINT,                   -- of one picture, by a person; NULL: not confirmed
  uncosted_answers BIGINT NOT NULL DEFAULT 0,  -- answers that stated no cost, counted up to 3
  stopped_nanos BIGINT,                     -- what a picture cost when the model was stopped
  stopped_ms BIGINT,                        -- NULL: not stopped
  PRIMARY KEY (upstream, model)
);
