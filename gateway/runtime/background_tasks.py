"""Supervises background jobs: a job that ends, in whatever way, is started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping

from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families

RESTART_SECONDS = 1.0
SHOWN_SECONDS = 60.0
"""A crash is reported by `/readyz` for this time."""

Job = Callable[[], Coroutine[None, None, None]]


class BackgroundTasks:
    """One task for each job, by name."""

    def __init__(self, metrics: Metrics, log: EventLog) -> None:
        self._crashes = metrics.counter(families.RECOVERED_FAILURES)
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._crashed: dict[str, tuple[str, float]] = {}

    def start(self, jobs: Mapping[str, Job]) -> None:
        for name, job in jobs.items():
            self._crashes.labels(f"background_{name}")  # exported as 0 until it crashes
            self._tasks.append(asyncio.create_task(self._supervise(name, job), name=name))

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def problems(self) -> list[str]:
        """A line for each job that crashed in the last minute."""
        now = time.monotonic()
        return [
            f"background job {name}: crashed by {error}, and was started again"
            for name, (error, at) in self._crashed.items()
            if now - at <= SHOWN_SECONDS
        ]

    async def _supervise(self, name: str, job: Job) -> None:
        while True:
            error: BaseException = RuntimeError("the job ended by itself")
            try:
                await job()
            except asyncio.CancelledError as cancelled:
                if self._stopping:
                    raise
                error = cancelled
            except Exception as crash:  # noqa: BLE001 - counted, logged and shown
                error = crash
            self._crashes.labels(f"background_{name}").inc()
            self._log.error("a background task crashed", error, task=name)
            self._crashed[name] = type(error).__name__, time.monotonic()
            await asyncio.sleep(RESTART_SECONDS)
