"""The background jobs of a gateway: started and stopped together, restarted when they crash."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING

from gateway.accounts.authenticator import keep_fresh
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families

if TYPE_CHECKING:
    from gateway.runtime.container import Container

HEARTBEATS_PER_LEASE = 5
SETTLE_ABANDONED_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 60.0
GAUGES_SECONDS = 1.0
RESTART_SECONDS = 1.0
SHOWN_SECONDS = 60.0
"""A crash is reported by `/readyz` for this time."""

Job = Callable[[], Coroutine[None, None, None]]


def job_table(parts: Container) -> Mapping[str, Job]:
    """The table of jobs. Names are part of the metrics' labels: `background_NAME`."""
    context, settings = parts.context, parts.context.settings
    maintenance, gauges = parts.operation.maintenance, parts.operation.gauges
    refresh_keys = functools.partial(
        keep_fresh,
        parts.authenticator,
        context.database,
        context.clock,
        settings.state.refresh_seconds,
        functools.partial(context.on_failure, "keyring"),
    )
    refresh_catalogue = functools.partial(
        parts.upstream.catalogue.keep_fresh, settings.upstream.catalogue_seconds
    )
    heartbeat_seconds = settings.state.lease_seconds / HEARTBEATS_PER_LEASE

    async def update_gauges() -> None:
        gauges.update_process()

    return {
        "keyring": refresh_keys,
        "catalogue": refresh_catalogue,
        "recorder": parts.edits.recorder.run,
        "announcements": parts.cache.invalidation.run,
        "warnings": parts.budgets.monitor.run,
        "heartbeat": _every(heartbeat_seconds, maintenance.beat),
        "reservations": _every(SETTLE_ABANDONED_SECONDS, maintenance.settle_abandoned),
        "housekeeping": _every(HOUSEKEEPING_SECONDS, maintenance.housekeep, pause_first=True),
        "gauges": _every(GAUGES_SECONDS, update_gauges),
        "survey": _every(settings.metrics.survey_seconds, gauges.update_shared),
    }


def _every(seconds: float, job: Job, *, pause_first: bool = False) -> Job:
    """A job that does another one for ever, with a pause after each round."""

    async def repeat() -> None:
        if pause_first:
            await asyncio.sleep(seconds)
        while True:
            await job()
            await asyncio.sleep(seconds)

    return repeat


class BackgroundTasks:
    """One task for each job, by name. A job that ends, in whatever way, is started again."""

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
