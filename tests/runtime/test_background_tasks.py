"""The supervisor of background jobs."""

from __future__ import annotations

import asyncio
import io

import pytest

from gateway.runtime import background_tasks
from gateway.runtime.background_tasks import BackgroundTasks
from gateway.runtime.job_table import every
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics, families


async def test_a_job_that_ends_in_whatever_way_is_started_again_counted_and_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background_tasks, "RESTART_SECONDS", 0.01)
    runs = 0
    goes_on = asyncio.Event()

    async def job() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise PermissionError("postgresql://user:secret@host")
        if runs == 2:
            raise asyncio.CancelledError
        if runs == 4:
            goes_on.set()
            await asyncio.Event().wait()

    metrics = Metrics("test")
    tasks = BackgroundTasks(metrics, EventLog(out=io.StringIO()))
    tasks.start({"heartbeat": job})
    async with asyncio.timeout(10):
        await goes_on.wait()
    reported = tasks.problems
    await tasks.stop()

    counter = metrics.counter(families.RECOVERED_FAILURES).labels("background_heartbeat")
    assert counter._value.get() == 3
    assert reported == ["background job heartbeat: crashed by RuntimeError, and was started again"]


async def test_a_check_that_fails_is_reported_and_the_next_one_is_made() -> None:
    failures: list[Exception] = []
    checks = 0

    async def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 1:
            raise PermissionError("once")

    running = asyncio.create_task(every(0.0, check, on_failure=failures.append)())
    async with asyncio.timeout(10):
        while checks < 3:
            await asyncio.sleep(0)
    running.cancel()
    assert [str(error) for error in failures] == ["once"]
