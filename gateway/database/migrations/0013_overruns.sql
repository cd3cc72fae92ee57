-- The highest cost of such a picture that was more than the amount reserved for it; 0 is none.
ALTER TABLE picture_costs ADD COLUMN overrun_nanos BIGINT NOT NULL DEFAULT 0;
