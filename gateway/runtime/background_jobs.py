"""The background jobs of a gateway: started together, counted when they crash, cancelled together.

Each one runs until the gateway stops.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping

from gateway.accounts.authenticator import keep_fresh
from gateway.runtime.container import Container
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families

HEARTBEATS_PER_LEASE = 5
SETTLE_ABANDONED_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 60.0
GAUGES_SECONDS = 1.0

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
    """One task for each job, by name. A job never ends by itself: that is a crash."""

    def __init__(self, jobs: Mapping[str, Job], metrics: Metrics, log: EventLog) -> None:
        self._jobs = jobs
        self._crashes = metrics.counter(families.RECOVERED_FAILURES)
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for name, job in self._jobs.items():
            self._crashes.labels(f"background_{name}")  # exported as 0 until it crashes
            task = asyncio.create_task(job(), name=name)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._crashes.labels(f"background_{task.get_name()}").inc()
            self._log.error("a background task crashed", error, task=task.get_name())
