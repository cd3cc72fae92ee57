-- Sessions of the console, each of a cookie. Ended ones are deleted.
CREATE TABLE sessions (
  hash TEXT PRIMARY KEY,                    -- SHA-256 of the cookie
  credential TEXT NOT NULL,                 -- SHA-256 of the token or key that signed in
  actor TEXT NOT NULL,
  begun_ms BIGINT NOT NULL,
  ends_ms BIGINT NOT NULL
);
CREATE INDEX sessions_actor ON sessions (actor);
