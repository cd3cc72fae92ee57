"""The state's clock counts, not the machine's."""

from __future__ import annotations

from gateway.database.clock import Clock, now_ms
from gateway.database.database import Database
from tests.support.databases import database, database_url, empty_database, postgres_url

__all__ = ["database", "database_url", "empty_database", "postgres_url"]


class Ahead:
    """A database whose clock is two minutes ahead of this machine's; nothing else is asked."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner

    async def clock_ms(self) -> int:
        return await self._inner.clock_ms() + 120_000


async def test_a_clock_that_was_measured_goes_by_the_state_s(database: Database) -> None:
    clock = Clock()
    await clock.measure(Ahead(database))  # type: ignore[arg-type]

    assert abs(clock() - now_ms() - 120_000) < 5_000


async def test_on_one_machine_both_clocks_agree(database: Database) -> None:
    clock = Clock()

    assert abs(await clock.measure(database)) < 5_000
