-- A digest of what a failed request sent that is no part of its fingerprint (`user` and the
-- like): a refusal is given again only to who sends the same.

ALTER TABLE flights ADD COLUMN aside TEXT NOT NULL DEFAULT '';
