-- The name under which a model was asked for, and the upstream's own name of it; empty where they
-- are the same as `model`.
ALTER TABLE reservations ADD COLUMN asked_model TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN upstream_model TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN asked_model TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN upstream_model TEXT NOT NULL DEFAULT '';
