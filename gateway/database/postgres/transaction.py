"""A transaction on an asyncpg connection: begun, ended, and its errors translated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg

from gateway.database.database import (
    CheckedTransaction,
    CommitUnknown,
    Conflict,
    Row,
    StateUnavailable,
    Value,
)

# Errors after which the whole operation may be run again: it was rolled back.
AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# Errors of a statement or its values: data, integrity, syntax. Any other error, foreseen or not,
# means that the server can't be used as it should: it is a replica, or rights were revoked.
_MISTAKES = ("22", "23", "42601")
_REASONS = {
    "0A000": "it is a read-only replica",
    "25006": "it is a read-only replica",
    "42501": "it lacks a right",
    "53": "it is out of resources",
    "57": "it is starting or stopping",
}


def _is_server_failure(error: asyncpg.PostgresError) -> bool:
    return not (error.sqlstate or "XX000").startswith(_MISTAKES)


def described(error: BaseException) -> tuple[str, str]:
    """What keeps a server from being used, and in a few words without any name."""
    text = " ".join((str(error) or type(error).__name__).split())
    state = getattr(error, "sqlstate", None) or ""
    reason = next((reason for start, reason in _REASONS.items() if state.startswith(start)), "")
    return f"{reason} ({text})" if reason else text, reason


def unavailable(error: BaseException) -> StateUnavailable:
    """The StateUnavailable for an error that keeps the server from being used."""
    text, reason = described(error)
    return StateUnavailable(f"the state's PostgreSQL cannot be used: {text}", reason)


@contextmanager
def boundary() -> Iterator[None]:
    """Translate errors of asyncpg; errors to retry and programming errors pass unchanged."""
    try:
        yield
    except AGAIN:
        raise
    except asyncpg.UniqueViolationError as error:
        raise Conflict(error.args[0]) from error  # its text names columns, not values
    except asyncpg.PostgresError as error:
        if _is_server_failure(error):
            raise unavailable(error) from error
        raise
    except asyncpg.DataError:
        raise  # a value of the wrong type: the caller's mistake
    except BROKEN as error:
        raise unavailable(error) from error


class PostgresTransaction(CheckedTransaction):
    """One open transaction on one connection."""

    def __init__(self, connection: Any, timeout_seconds: float) -> None:
        super().__init__()
        self._connection = connection
        self._timeout_seconds = timeout_seconds

    async def _fetch(self, sql: str, values: Sequence[Value]) -> Sequence[Row]:
        with boundary():
            records = await self._connection.fetch(sql, *values, timeout=self._timeout_seconds)
        return [dict(record) for record in records]


async def roll_back(connection: Any, error: BaseException) -> None:
    """End a failed transaction; a connection that fails to is discarded."""
    if not isinstance(error, Exception) or isinstance(error, StateUnavailable):
        _discard(connection)  # cancelled, timed out or broken: the server rolls back
        return
    try:
        await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, *BROKEN):
        _discard(connection)


async def give_back(pool: Any, connection: Any, timeout_seconds: float) -> None:
    """Return a connection to its pool.

    A failure here concerns the connection only: committed data stays committed.
    """
    try:
        await pool.release(connection, timeout=timeout_seconds)
    except (asyncpg.PostgresError, *BROKEN):
        _discard(connection)


def _discard(connection: Any) -> None:
    try:
        connection.terminate()
    except asyncpg.InterfaceError:  # it broke, and the pool has discarded it
        return


async def commit(connection: Any) -> None:
    """Commit; raises CommitUnknown if no answer came."""
    try:
        status = await connection.execute("COMMIT")
    except asyncpg.PostgresError as error:
        if _is_server_failure(error):
            raise CommitUnknown(f"the commit's answer was {error}") from error
        raise
    except asyncio.CancelledError:
        _discard(connection)
        raise
    except BROKEN as error:
        _discard(connection)
        raise CommitUnknown(f"the connection broke during a commit: {error}") from error
    if status != "COMMIT":
        raise RuntimeError(f"the transaction ended as {status}")
