"""The interface of a database engine, SQLite or PostgreSQL.

An operation is a coroutine function that takes a `Transaction` and awaits nothing else. The same
SQL runs on both engines: `$1` parameters, `ON CONFLICT … RETURNING`, BIGINT integers, text ids.
SQLite runs an operation to its end on its writer thread; PostgreSQL awaits it. An exception from
an operation rolls its transaction back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

Value = str | int | None
Row = Mapping[str, Any]
Result = TypeVar("Result")


class Transaction(Protocol):
    """One transaction, open during one operation."""

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        """Run one statement and return its rows (none for plain DML)."""
        ...


Operation = Callable[[Transaction], Awaitable[Result]]


class CheckedTransaction(ABC):
    """A transaction that refuses to go on after a failed statement."""

    def __init__(self) -> None:
        self._failed: Exception | None = None

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        if self._failed is not None:
            raise RuntimeError("this transaction has failed already") from self._failed
        try:
            return await self._fetch(sql, values)
        except Exception as error:
            self._failed = error
            raise

    async def run(self, operation: Operation[Result]) -> Result:
        """Run an operation. Raises RuntimeError if it hid the failure of a statement."""
        result = await operation(self)
        if self._failed is not None:
            raise RuntimeError("an operation went on after an error") from self._failed
        return result

    @abstractmethod
    async def _fetch(self, sql: str, values: Sequence[Value]) -> Sequence[Row]: ...


class StateUnavailable(Exception):
    """The database could not be reached, opened or written; nothing was changed.

    `CommitUnknown` is raised instead if the result of a commit is unknown. `reason` says in a few
    words what is wrong, without names of hosts, files or users: clients may see it.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class CommitUnknown(StateUnavailable):
    """The connection broke during a commit, which may or may not have succeeded."""


class Conflict(Exception):
    """A statement violated a unique key.

    It ends its transaction: use `ON CONFLICT` in an operation that must continue.
    """


class Database(Protocol):
    """An engine. Every method raises StateUnavailable if the database cannot be reached."""

    async def write(
        self, operation: Operation[Result], *, urgent: bool = True, together: bool = False
    ) -> Result:
        """Run in one durable read-write transaction; urgent operations (money) precede batches.

        `together`: the operation is short, may be run again, and may share a commit with others
        in the queue. Each of them still succeeds or fails alone.
        """
        ...

    async def read(self, operation: Operation[Result]) -> Result:
        """Run in one read-only transaction that never blocks writers."""
        ...

    async def exclusive(self, operation: Operation[Result]) -> Result:
        """Like write, but with no other writer in any process (migrations)."""
        ...

    async def clock_ms(self) -> int:
        """The time by the database's own clock, in unix milliseconds."""
        ...

    async def close(self) -> None: ...
