-- What became of a request, for whoever asks by its id: what it asked of the cache (`asked`, a
-- Cache-Control), and how long it and its stages took, in microseconds (`stages` is JSON).
ALTER TABLE usage_rows ADD COLUMN aside TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_rows ADD COLUMN uncacheable TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_rows ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_rows ADD COLUMN took_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_rows ADD COLUMN stages TEXT NOT NULL DEFAULT '{}';

-- Money that is held is looked for by the request that it is held for.
CREATE INDEX reservations_request ON reservations (request_id);
