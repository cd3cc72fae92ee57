"""What the state asks of a database engine, SQLite or PostgreSQL alike.

An operation is a coroutine function that takes a `Transaction` and awaits nothing else.
The same DML text runs on both engines: `$1` parameters, `ON CONFLICT … RETURNING`,
BIGINT integers, text ids. SQLite drives an operation to its end on its writer thread;
PostgreSQL awaits it. An exception out of an operation rolls everything back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

Value = str | int | None
Row = Mapping[str, Any]
Result = TypeVar("Result")


class Transaction(Protocol):
    """One transaction, open for the length of one operation."""

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        """Run one statement, give every row it returns (none for plain DML)."""
        ...


Operation = Callable[[Transaction], Awaitable[Result]]


class StateUnavailable(Exception):
    """The database could not be reached, opened or written; nothing was changed.

    Where a commit's fate is unknown, engines raise `CommitUnknown` instead.
    """


class CommitUnknown(StateUnavailable):
    """The connection broke during a commit: it may or may not have happened."""


class Conflict(Exception):
    """A statement broke a unique key: what it adds is there already.

    It ends its transaction: an operation that wants to go on writes `ON CONFLICT` instead.
    """


class Database(Protocol):
    """An engine. Every method raises StateUnavailable where the database is out of reach."""

    async def write(
        self, operation: Operation[Result], *, urgent: bool = True, together: bool = False
    ) -> Result:
        """Run in one durable read-write transaction; urgent (money) goes before batches.

        `together`: it is short, may be run again, and may become durable at the same moment as
        others that wait; each of them succeeds or fails by itself all the same.
        """
        ...

    async def read(self, operation: Operation[Result]) -> Result:
        """Run in one read-only transaction that never blocks writers."""
        ...

    async def exclusive(self, operation: Operation[Result]) -> Result:
        """Like write, but alone among all processes (migrations)."""
        ...

    async def clock_ms(self) -> int:
        """The time by the database's own clock, in unix milliseconds."""
        ...

    async def close(self) -> None: ...
