-- A sandbox key is answered by the emulator, and buys nothing.
ALTER TABLE accounts ADD COLUMN sandbox BIGINT NOT NULL DEFAULT 0;
