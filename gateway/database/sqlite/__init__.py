"""SQLite as the state's engine: one writer thread, a few reader threads, no third party.

Every thread owns its connection and drives an operation's coroutine to its end, so that a
whole transaction costs the event loop one hop. WAL keeps readers and the writer apart;
`BEGIN IMMEDIATE` takes the write lock before the first read, because a read that is
upgraded later fails at once with "locked" when another process wrote in between.
"""

from gateway.database.sqlite.database import SqliteDatabase

__all__ = ["SqliteDatabase"]
