"""Long work that is started over HTTP: a request waits for a while, then gets the progress.

The work goes on. The same request waits on, and gets the result, also where the work has ended
in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gateway.cache.result_store import Progress
from gateway.model.errors import Refusal

Result = TypeVar("Result")
Work = Callable[[Progress], Coroutine[Any, Any, Result]]

PATIENCE_SECONDS = 25.0
MOST_JOBS = 20
"""The most that run at once, of one kind."""
KEPT_SECONDS = 600.0
"""How long a result is kept for a client that was told to repeat its request."""


@dataclass
class BackgroundJob(Generic[Result]):
    """Running work: `done` of `total`; 0 of 0 before its first report."""

    task: asyncio.Task[Result]
    done: int = 0
    total: int = 0
    ended: float | None = None

    @property
    def result(self) -> Result | None:
        """The result; None while the work goes on. Raises what the work raised."""
        return self.task.result() if self.task.done() else None


class BackgroundJobs:
    """The jobs of one process, by name: one of a name at a time."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._jobs: dict[Hashable, BackgroundJob[Any]] = {}

    async def wait(self, name: Hashable, work: Work[Result]) -> BackgroundJob[Result]:
        """Start the job unless it runs already; returns it when it ended or patience did.

        Raises `overloaded` where there are too many others.
        """
        self._drop_old()
        job = self._jobs.get(name)
        if job is None:
            if sum(not each.task.done() for each in self._jobs.values()) >= MOST_JOBS:
                raise Refusal(
                    "overloaded",
                    f"{MOST_JOBS} such jobs run already: repeat the request when one has ended.",
                    retry_after_seconds=PATIENCE_SECONDS,
                )
            job = self._jobs[name] = _start(work)
        await asyncio.wait({job.task}, timeout=self._patience_seconds)
        if job.task.done() and self._jobs.get(name) is job:
            del self._jobs[name]
        return job

    async def close(self) -> None:
        """Cancel the running jobs."""
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._jobs.clear()

    def _drop_old(self) -> None:
        now = asyncio.get_running_loop().time()
        for name, job in list(self._jobs.items()):
            if job.ended is not None and now - job.ended > KEPT_SECONDS:
                del self._jobs[name]


def _start(work: Work[Result]) -> BackgroundJob[Result]:
    def progress(done: int, total: int) -> None:
        job.done, job.total = done, total

    def on_end(task: asyncio.Task[Result]) -> None:
        job.ended = asyncio.get_running_loop().time()
        if not task.cancelled():
            task.exception()  # retrieved here, because nobody may come back for the result

    job = BackgroundJob(asyncio.create_task(work(progress), name="admin API job"))
    job.task.add_done_callback(on_end)
    return job
