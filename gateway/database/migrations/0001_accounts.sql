-- Who may spend: the organisation, its teams, their keys; who may administer; who changed what.
-- BIGINT and TEXT only, so that SQLite and PostgreSQL read the same text. `_ms` are unix
-- milliseconds, `_nanos` nano-dollars; booleans are 0 and 1; a limit that is NULL does not bound.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

-- Every change takes the next number from here first. The row's lock lasts until the commit,
-- so changes become visible in the order of their numbers and a poller misses none.
INSERT INTO counters (name, value) VALUES ('changes', 0);

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,                    -- 'organisation', 'team:NAME', 'key:ID'
    level TEXT NOT NULL,                    -- 'organisation', 'team', 'key'
    parent TEXT,                            -- the id of the account above
    name TEXT NOT NULL,
    change BIGINT NOT NULL,                 -- the number of its last change
    created_ms BIGINT NOT NULL,
    ended_ms BIGINT,                        -- a team archived, a key revoked
    paused BIGINT NOT NULL DEFAULT 0,
    expires_ms BIGINT,
    unlimited BIGINT NOT NULL DEFAULT 0,    -- a team that is meant to have no budget
    owner TEXT NOT NULL DEFAULT '',
    cost_centre TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '{}',        -- a JSON object of text
    budget_nanos BIGINT,
    budget_period TEXT,
    paid_images_per_day BIGINT,
    requests_per_minute BIGINT,
    max_in_flight BIGINT,
    max_reference_images BIGINT,
    models TEXT,                            -- a JSON list of names
    may_bypass_cache BIGINT,
    webhook_url TEXT NOT NULL DEFAULT '',
    warn_percents TEXT                      -- a JSON list of numbers; NULL: the usual ones
);

CREATE INDEX accounts_change ON accounts (change);

-- A name is free again once its key is revoked; a team's name never is.
CREATE UNIQUE INDEX accounts_name ON accounts (level, parent, name) WHERE ended_ms IS NULL;

INSERT INTO accounts (id, level, name, change, created_ms)
VALUES ('organisation', 'organisation', 'organisation', 0, 0);

CREATE TABLE secrets (
    hash TEXT PRIMARY KEY,                  -- SHA-256, in hexadecimal
    key_id TEXT NOT NULL,
    hint TEXT NOT NULL,                     -- its first and last characters, for listings
    created_ms BIGINT NOT NULL,
    valid_until_ms BIGINT                   -- set when another secret has taken its place
);

CREATE INDEX secrets_key ON secrets (key_id);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,                     -- 'admin', 'finance', 'team:NAME'
    hash TEXT NOT NULL,
    hint TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);

CREATE UNIQUE INDEX tokens_hash ON tokens (hash);

CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_ms IS NULL;

CREATE TABLE audit (
    id BIGINT PRIMARY KEY,                  -- the number of the change
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    old TEXT NOT NULL,                      -- a JSON object of what differed
    new TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT ''
);

CREATE INDEX audit_time ON audit (at_ms, id);

-- Small documents that outlive a restart, such as the last good model catalogue.
CREATE TABLE notes (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
