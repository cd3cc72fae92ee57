-- The keys that sign links to pictures, each for the links that expire on one day (days since 1970).
CREATE TABLE link_keys (
  day BIGINT PRIMARY KEY,
  secret TEXT NOT NULL                      -- 256 random bits as hex
);
