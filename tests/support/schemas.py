"""Migrated schemas of a PostgreSQL, each lent to one test after another.

To make one takes the server 0.2 s and leaves some hundred files; to empty one takes some
milliseconds. A schema that a test has changed, or still holds locks in, is not lent again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from gateway.database.migrate import known_migrations
from tests.support.engines import connected, execute, fresh_schema

KEEP_ROWS = """
CREATE SCHEMA first_rows;
DO $$ DECLARE name text; filled bool; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', name) INTO filled;
    IF filled THEN EXECUTE format('CREATE TABLE first_rows.%I AS TABLE %I', name, name); END IF;
  END LOOP;
END $$
"""
"""Copies what the migrations have written."""
EMPTY = """
SET lock_timeout = '1s';
SET session_replication_role = replica;
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
    EXECUTE format('DELETE FROM %I', name);
  END LOOP;
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'first_rows' LOOP
    EXECUTE format('INSERT INTO %I SELECT * FROM first_rows.%I', name, name);
  END LOOP;
END $$
"""
SHAPE = """
SELECT md5(string_agg(concat_ws(' ', relname, relkind, relacl, attname, atttypid, attnotnull,
                                relhastriggers), ',' ORDER BY relname, attnum))
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = current_schema()::regnamespace AND attnum > 0
"""
"""Tables, indexes and columns, with rights and whether there are triggers."""


class Schemas:
    """The schemas of one server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._free: list[str] = []
        self._shape: object = None

    @contextmanager
    def lent(self) -> Iterator[str]:
        """A migrated schema in which nothing has happened; gives its URL."""
        schema = self._free.pop() if self._free else self._make()
        yield schema
        if connected(schema, self._is_emptied):
            self._free.append(schema)

    def _make(self) -> str:
        schema = fresh_schema(self._url)
        execute(schema, _all_migrations())
        if self._shape is None:
            execute(schema, KEEP_ROWS)
            self._shape = connected(schema, _shape_of)
        return schema

    async def _is_emptied(self, connection: asyncpg.Connection) -> bool:
        if await _shape_of(connection) != self._shape:
            return False
        try:
            await connection.execute(EMPTY)
        except asyncpg.LockNotAvailableError:
            return False
        return True


async def _shape_of(connection: asyncpg.Connection) -> object:
    return await connection.fetchval(SHAPE)


def _all_migrations() -> str:
    """What `migrate` does, in one round trip."""
    statements = ["CREATE TABLE schema_migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, "
                  "at_ms BIGINT NOT NULL)"]  # fmt: skip
    for step in known_migrations():
        row = f"({step.number}, '{step.name}', 0)"
        insert = f"INSERT INTO schema_migrations VALUES {row}"  # noqa: S608 - of our own files
        statements += [*step.statements, insert]
    return ";\n".join(statements)
