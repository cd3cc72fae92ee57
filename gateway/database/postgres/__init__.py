"""PostgreSQL as the state's engine, by asyncpg.

A transaction pooler may stand before the server: nothing on a connection outlives a transaction.
Writes are READ COMMITTED (rows are locked by the statements that change them, in the order
organisation, team, key); reads see one snapshot. Errors of asyncpg are translated here only.
"""

from gateway.database.postgres.database import PostgresDatabase

__all__ = ["PostgresDatabase"]
