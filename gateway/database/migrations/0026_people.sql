-- Who has signed in to the console, under the name that the audit has.
CREATE TABLE people (
  actor TEXT PRIMARY KEY,
  signed_in_ms BIGINT NOT NULL
);
INSERT INTO people (actor, signed_in_ms) SELECT actor, MAX(begun_ms) FROM sessions GROUP BY actor;

-- Of a session by single sign-on: the values of the person's claim, as JSON.
ALTER TABLE sessions ADD COLUMN person_groups TEXT NOT NULL DEFAULT '[]';
