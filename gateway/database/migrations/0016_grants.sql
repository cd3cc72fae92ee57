-- The weekday (0 is Monday) and the day of the month on which a budget's window begins.
ALTER TABLE accounts ADD COLUMN budget_weekday BIGINT;
ALTER TABLE accounts ADD COLUMN budget_month_day BIGINT;

-- What was reserved for the account's last picture.
ALTER TABLE balances ADD COLUMN picture_nanos BIGINT NOT NULL DEFAULT 0;

-- Grants raise an account's budget in one window. A key's holder can ask for one.
CREATE TABLE grants (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  budget TEXT NOT NULL,                     -- the account's name: organisation, TEAM or TEAM/KEY
  nanos BIGINT NOT NULL,
  until_day TEXT,                           -- the last day as given; NULL: the window's
  reason TEXT NOT NULL,
  asked_by TEXT NOT NULL DEFAULT '',        -- the id of the key; '' where nobody asked
  asked_ms BIGINT,
  granted_by TEXT NOT NULL DEFAULT '',
  granted_ms BIGINT,                        -- NULL: not granted
  period TEXT NOT NULL DEFAULT '',          -- of the window that it raises
  first_day TEXT NOT NULL DEFAULT '',
  last_day TEXT NOT NULL DEFAULT '',        -- on which it still counts
  ended_ms BIGINT                           -- when it was revoked, or the request declined
);

CREATE INDEX grants_account ON grants (account, first_day);

-- Edits that an account's budget did not cover, by the day of the refusal.
CREATE TABLE refused_edits (
  account TEXT NOT NULL,
  day TEXT NOT NULL,
  edits BIGINT NOT NULL,
  PRIMARY KEY (account, day)
);

-- The account to whose webhook an alert goes.
ALTER TABLE alerts ADD COLUMN account TEXT NOT NULL DEFAULT 'organisation';
