-- Asynchronous requests, and what answered them. The body of a picture lies in a store of answers.
CREATE TABLE kept_answers (
  request_id TEXT PRIMARY KEY,
  key_id TEXT NOT NULL,
  team TEXT NOT NULL,
  end_user TEXT NOT NULL,
  owner_id TEXT NOT NULL,                   -- the process that accepted it
  accepted_ms BIGINT NOT NULL,
  ended_ms BIGINT,                          -- null while it runs, and where its process was lost
  status BIGINT NOT NULL DEFAULT 0,
  headers TEXT NOT NULL DEFAULT '{}',       -- JSON
  refusal TEXT NOT NULL DEFAULT '',         -- the body, where the answer is a refusal
  stored BIGINT NOT NULL DEFAULT 0          -- 1 while the store has its body
);
CREATE INDEX kept_answers_accepted ON kept_answers (accepted_ms);
