-- How the cost of a row is known, and for a cost that follows from tokens the version of the price
-- table. `computed_nanos` is what the tokens come to, where they were counted and have a price.
ALTER TABLE ledger ADD COLUMN cost_kind TEXT NOT NULL DEFAULT 'stated';
UPDATE ledger SET cost_kind = 'estimated' WHERE estimated = 1;
ALTER TABLE ledger ADD COLUMN computed_nanos BIGINT;
ALTER TABLE ledger ADD COLUMN price_version TEXT NOT NULL DEFAULT '';

-- Tokens by kind. Cached tokens are part of the input tokens of their kind.
ALTER TABLE ledger ADD COLUMN text_in BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN image_in BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN cached_text_in BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN cached_image_in BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN text_out BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN image_out BIGINT NOT NULL DEFAULT 0;
