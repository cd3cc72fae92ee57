-- Answers to asynchronous requests that asked for URLs.
ALTER TABLE kept_answers ADD COLUMN linked BIGINT NOT NULL DEFAULT 0;  -- 1: links instead of pictures
