"""Recurring work on the state of a gateway that runs."""

from __future__ import annotations

import io

from gateway.api.app import create_app
from gateway.ledger.tables.verify import verify
from gateway.model.windows import day_of
from gateway.runtime.lifespan import running
from gateway.settings import Settings
from gateway.telemetry.log import EventLog
from tests.ledger.tables.test_usage import record, row


async def test_housekeeping_makes_sums_whole_that_an_older_gateway_left_behind(
    settings: Settings,
) -> None:
    log = io.StringIO()
    app = create_app(settings, EventLog(format="json", level="info", out=log))
    async with running(app.parts):
        context = app.parts.context
        now_ms = context.clock()
        booked = row(1, day=day_of(now_ms, settings.zone), at_ms=now_ms)
        await record(context.database, [booked])
        await context.database.write(lambda tx: tx.fetch("DELETE FROM team_rollups"))
        assert (await context.database.read(verify)).differences
        await app.parts.operation.maintenance.housekeep()
        assert (await context.database.read(verify)).differences == ()
        assert "sums of a month made anew" in log.getvalue()
