"""PostgreSQL as the state's engine, by asyncpg.

Session pooling only: statements are prepared and kept. Writes are READ COMMITTED (rows are
locked by the statements that change them, in the order organisation, team, key); reads see
one snapshot. What asyncpg raises is translated here, and nowhere else.
"""

from gateway.database.postgres.database import PostgresDatabase

__all__ = ["PostgresDatabase"]
