"""A database whose failures are kept, for `/readyz`, the metrics and early refusals."""

from __future__ import annotations

import time
from collections.abc import Awaitable

from gateway.database.database import Database, Operation, Result, StateUnavailable

SLOW_SECONDS = 5.0
"""A write that waits longer is reported."""
SHOWN_SECONDS = 5.0
"""A failure is reported for this time, even if later operations succeed."""


class MonitoredDatabase:
    """Passes every operation on, and keeps the last failure of reads and of writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._began: dict[object, float] = {}
        self._failed: dict[str, tuple[StateUnavailable, float]] = {}
        self.write_failure: StateUnavailable | None = None
        """The failure of the last write; None if the last one succeeded."""

    @property
    def problem(self) -> str:
        """What is wrong at present, in one line; or ""."""
        now = time.monotonic()
        for verb, (error, at) in self._failed.items():
            current = verb == "written" and self.write_failure is not None
            if current or now - at <= SHOWN_SECONDS:
                return f"not {verb}: {error.reason or error}"
        waited = now - next(iter(self._began.values()), now)
        return f"a write has waited for {waited:.0f} s" if waited > SLOW_SECONDS else ""

    async def write(
        self, operation: Operation[Result], *, urgent: bool = True, together: bool = False
    ) -> Result:
        write = object()
        self._began[write] = time.monotonic()
        try:
            result = await self._kept(
                "written", self._database.write(operation, urgent=urgent, together=together)
            )
        except StateUnavailable as error:
            self.write_failure = error
            raise
        finally:
            del self._began[write]
        self.write_failure = None
        return result

    async def read(self, operation: Operation[Result]) -> Result:
        return await self._kept("read", self._database.read(operation))

    async def exclusive(self, operation: Operation[Result]) -> Result:
        return await self._kept("written", self._database.exclusive(operation))

    async def clock_ms(self) -> int:
        return await self._kept("read", self._database.clock_ms())

    async def close(self) -> None:
        await self._database.close()

    async def _kept(self, verb: str, work: Awaitable[Result]) -> Result:
        try:
            return await work
        except StateUnavailable as error:
            self._failed[verb] = error, time.monotonic()
            raise
