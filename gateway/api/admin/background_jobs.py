"""Long work that is asked for over HTTP, where nobody should wait for minutes.

Who asks waits for a while, then is told how far it is; the work goes on. Who asks for the same
again waits on, and gets what came of it, also when it has ended in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gateway.cache.result_store import Progress

Result = TypeVar("Result")
Work = Callable[[Progress], Coroutine[Any, Any, Result]]

PATIENCE_SECONDS = 25.0
KEPT_SECONDS = 600.0
"""How long what came of it is kept for somebody who was told to ask again."""


@dataclass
class BackgroundJob(Generic[Result]):
    """Work under way: `done` of `total`; 0 of 0 where it has not said yet."""

    task: asyncio.Task[Result]
    done: int = 0
    total: int = 0
    ended: float | None = None

    @property
    def result(self) -> Result | None:
        """What came of it, None while it goes on. Raises what the work raised."""
        return self.task.result() if self.task.done() else None


class BackgroundJobs:
    """The chores of one process, by name: one of a name at a time."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._jobs: dict[Hashable, BackgroundJob[Any]] = {}

    async def wait(self, name: Hashable, work: Work[Result]) -> BackgroundJob[Result]:
        """The chore of that name, begun unless it is under way, once it ended or patience did."""
        self._drop_old()
        chore = self._jobs.get(name)
        if chore is None:
            chore = self._jobs[name] = _begin(work)
        await asyncio.wait({chore.task}, timeout=self._patience_seconds)
        if chore.task.done() and self._jobs.get(name) is chore:
            del self._jobs[name]
        return chore

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = [chore.task for chore in self._jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._jobs.clear()

    def _drop_old(self) -> None:
        now = asyncio.get_running_loop().time()
        for name, chore in list(self._jobs.items()):
            if chore.ended is not None and now - chore.ended > KEPT_SECONDS:
                del self._jobs[name]


def _begin(work: Work[Result]) -> BackgroundJob[Result]:
    def progress(done: int, total: int) -> None:
        chore.done, chore.total = done, total

    def ended(task: asyncio.Task[Result]) -> None:
        chore.ended = asyncio.get_running_loop().time()
        if not task.cancelled():
            task.exception()  # seen here: nobody may come back to ask

    chore = BackgroundJob(asyncio.create_task(work(progress), name="chore of the admin API"))
    chore.task.add_done_callback(ended)
    return chore
