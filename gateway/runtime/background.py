"""Background tasks: started together, counted when they crash, cancelled together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families

Job = Callable[[], Awaitable[None]]


def every(seconds: float, job: Job, *, pause_first: bool = False) -> Job:
    """A job that does another one for ever, with a pause after each round."""

    async def repeat() -> None:
        if pause_first:
            await asyncio.sleep(seconds)
        while True:
            await job()
            await asyncio.sleep(seconds)

    return repeat


class BackgroundTasks:
    """One task for each job, by name. A job never ends by itself: that is a crash."""

    def __init__(self, jobs: Mapping[str, Job], metrics: Metrics, log: EventLog) -> None:
        self._jobs = jobs
        self._metrics = metrics
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for name, job in self._jobs.items():
            self._metrics.counter(families.RECOVERED_FAILURES).labels(
                f"background_{name}"
            )  # exported as 0 until it crashes
            task = asyncio.create_task(_run(job), name=name)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._metrics.counter(families.RECOVERED_FAILURES).labels(
                f"background_{task.get_name()}"
            ).inc()
            self._log.error("a background task crashed", error, task=task.get_name())


async def _run(job: Job) -> None:
    await job()
