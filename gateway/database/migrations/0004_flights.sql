-- Flights that processes share: who makes the upstream call for an edit, and how it ended.
-- One row a key: a fingerprint, or 'fresh:' and a fingerprint for what was asked for with
-- `no-cache`. A row of an edit that failed stays for as long as the failure is remembered.
CREATE TABLE flights (
  key TEXT PRIMARY KEY,
  id TEXT NOT NULL,                         -- its reservation's
  owner_id TEXT NOT NULL,                   -- the process; `owners` says whether it lives
  request_id TEXT NOT NULL,                 -- the leader's, as in the entry that it stores
  started_ms BIGINT NOT NULL,
  ended_ms BIGINT,                          -- NULL: in the air
  until_ms BIGINT NOT NULL,                 -- afterwards the row means nothing any more
  code TEXT NOT NULL DEFAULT '',            -- of the failure; '' where there was none
  status BIGINT NOT NULL DEFAULT 0,
  message TEXT NOT NULL DEFAULT '',
  body TEXT NOT NULL DEFAULT ''             -- the upstream's own error, where it is passed on
);

CREATE INDEX flights_until ON flights (until_ms);

-- Results that were bought anew or purged: every process drops its copy made before `at_ms`.
CREATE TABLE announcements (
  number BIGINT NOT NULL,
  key TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  announced_ms BIGINT NOT NULL,
  PRIMARY KEY (number, key)
);

CREATE INDEX announcements_announced ON announcements (announced_ms);

-- The row's lock lasts until the commit, so that announcements become visible in their order.
INSERT INTO counters (name, value) VALUES ('announcements', 0);
