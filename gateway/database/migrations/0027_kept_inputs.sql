-- What a team keeps of its edits, for people to look at: 'off', 'prompts' or 'all'; '' is as
-- [console] keep_inputs says.
ALTER TABLE accounts ADD COLUMN keep_inputs TEXT NOT NULL DEFAULT '';

-- The teams of which something is kept, and the most that is: 'prompts' or 'all'. The prompts and
-- pictures themselves lie beside the results.
CREATE TABLE kept_inputs (
  team TEXT PRIMARY KEY,
  keeping TEXT NOT NULL
);

-- Versions of one edit have the same family.
ALTER TABLE gallery ADD COLUMN family TEXT NOT NULL DEFAULT '';
ALTER TABLE gallery ADD COLUMN variant TEXT NOT NULL DEFAULT '';
CREATE INDEX gallery_family ON gallery (family);
