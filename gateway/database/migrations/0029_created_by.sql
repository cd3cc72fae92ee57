-- Who made an account, by the name that the audit has; '' for the organisation, which nobody made.
ALTER TABLE accounts ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
UPDATE accounts SET created_by = made.actor
FROM (SELECT subject, actor FROM audit WHERE action IN ('team.create', 'key.create')) AS made
WHERE made.subject = accounts.id;
