-- Which edit a request was for, so that reports can name the results that are worth most.
-- Empty for requests that were refused before that was known, and for those of earlier days.
ALTER TABLE usage_rows ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
