-- Requests are listed by their time.
DROP INDEX usage_rows_day;
CREATE INDEX usage_rows_time ON usage_rows (day, at_ms, id);
