"""The background jobs of a gateway, which `background_tasks` supervises."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping

from gateway.accounts.authenticator import keep_fresh
from gateway.runtime.background_tasks import Job
from gateway.runtime.container import Container

HEARTBEATS_PER_LEASE = 5
SETTLE_ABANDONED_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 60.0
GAUGES_SECONDS = 1.0
KEPT_INPUTS_SECONDS = 2.0
ALERTS_SECONDS = 1.0
REPORTS_SECONDS = 60.0


def job_table(parts: Container) -> Mapping[str, Job]:
    """The table of jobs. Names are part of the metrics' labels: `background_NAME`."""
    context, settings = parts.context, parts.context.settings
    maintenance, gauges = parts.operation.maintenance, parts.operation.gauges
    budgets = parts.budgets
    refresh_keys = functools.partial(
        keep_fresh,
        parts.authenticator,
        context.database,
        context.clock,
        settings.state.refresh_seconds,
        functools.partial(context.on_failure, "keyring"),
    )
    heartbeat_seconds = settings.state.lease_seconds / HEARTBEATS_PER_LEASE

    async def refresh_catalogues() -> None:
        async with asyncio.TaskGroup() as each:
            for upstream in parts.upstreams.values():
                seconds = upstream.settings.catalogue_seconds
                each.create_task(upstream.catalogue.keep_fresh(seconds))

    async def update_gauges() -> None:
        gauges.update_process()

    async def drop_inputs() -> None:
        await parts.cache.inputs.drop_switched_off(parts.authenticator.keep_inputs_of)

    def checking(part: str, seconds: float, check: Job) -> Job:
        return every(seconds, check, on_failure=functools.partial(context.on_failure, part))

    own: Mapping[str, Job] = {"keyring": refresh_keys, "catalogue": refresh_catalogues}
    if reports := budgets.reports:
        own = {**own, "reports": checking("reports", REPORTS_SECONDS, reports.check)}
    return {
        **({} if context.sandbox else own),
        "gallery": parts.cache.gallery.run,
        "kept_inputs": every(KEPT_INPUTS_SECONDS, drop_inputs),
        "recorder": parts.edits.recorder.run,
        "announcements": parts.cache.invalidation.run,
        "warnings": checking("warnings", ALERTS_SECONDS, budgets.monitor.check),
        "outages": checking("warnings", ALERTS_SECONDS, budgets.outages.check),
        "heartbeat": every(heartbeat_seconds, maintenance.beat),
        "reservations": every(SETTLE_ABANDONED_SECONDS, maintenance.settle_abandoned),
        "housekeeping": every(HOUSEKEEPING_SECONDS, maintenance.housekeep, pause_first=True),
        "gauges": every(GAUGES_SECONDS, update_gauges),
        "survey": every(settings.metrics.survey_seconds, gauges.update_shared),
    }


def every(
    seconds: float,
    job: Job,
    *,
    pause_first: bool = False,
    on_failure: Callable[[Exception], None] | None = None,
) -> Job:
    """A job that does another one for ever, with a pause after each round.

    It crashes with the other one, unless `on_failure` takes what fails: the next round may succeed.
    """

    async def repeat() -> None:
        if pause_first:
            await asyncio.sleep(seconds)
        while True:
            try:
                await job()
            except Exception as error:
                if on_failure is None:
                    raise
                on_failure(error)
            await asyncio.sleep(seconds)

    return repeat
