-- The stored results that the console shows as pictures, where [console] gallery is on. A row is
-- deleted when its result is purged or has expired, and all are when the gallery is switched off.
CREATE TABLE gallery (
  fingerprint TEXT PRIMARY KEY,
  team TEXT NOT NULL,
  key_id TEXT NOT NULL,
  end_user TEXT NOT NULL,
  model TEXT NOT NULL,
  request_id TEXT NOT NULL,
  cost_nanos BIGINT,
  created_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL,
  uses BIGINT NOT NULL DEFAULT 0,
  saved_nanos BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX gallery_newest ON gallery (team, created_ms);
CREATE INDEX gallery_most_used ON gallery (team, uses);
CREATE INDEX gallery_expires ON gallery (expires_ms);
CREATE INDEX gallery_request ON gallery (request_id);
