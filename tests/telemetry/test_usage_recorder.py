"""Usage rows are written in batches; nothing that one of them holds stops the others."""

from __future__ import annotations

import asyncio
import io
import json
from zoneinfo import ZoneInfo

from gateway.database.clock import now_ms
from gateway.database.database import Database, Transaction
from gateway.model.caller import Account, Caller
from gateway.model.outcome import Outcome
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_record import RequestRecord
from gateway.telemetry.usage_recorder import UsageRecorder
from tests.support.databases import database, database_url, empty_database, postgres_url

__all__ = ["database", "database_url", "empty_database", "postgres_url"]


def finished(number: int, model: str = "m") -> RequestRecord:
    trace = RequestRecord(f"req_{number}", "edits")
    trace.model, trace.outcome, trace.status = model, Outcome.HIT, 200
    trace.caller = Caller(
        key_id="key_1",
        key_name="first",
        team="design",
        organisation_account=Account("organisation", "organisation", "organisation"),
        team_account=Account("team:design", "team", "design"),
        key_account=Account("key:key_1", "key", "first"),
    )
    return trace


async def written(tx: Transaction) -> set[str]:
    return {row["request_id"] for row in await tx.fetch("SELECT request_id FROM usage_rows")}


def recorder_of(database: Database, log: io.StringIO) -> UsageRecorder:
    return UsageRecorder(
        database=database,
        metrics=Metrics("0"),
        log=EventLog(format="json", out=log),
        zone=ZoneInfo("UTC"),
        now_ms=now_ms,
    )


async def test_a_request_is_known_from_its_beginning_until_its_row_is_written(
    database: Database,
) -> None:
    recorder, trace = recorder_of(database, io.StringIO()), finished(1)
    assert recorder.find("req_1", "key_1") is None
    recorder.begin(trace)
    running = recorder.find("req_1", "key_1")
    recorder.record(trace)
    waiting = recorder.find("req_1", "key_1")
    others = recorder.find("req_1", "key_2")
    await recorder.flush()

    assert (running and running.running, waiting and waiting.running) == (True, False)
    assert others is None
    assert recorder.find("req_1", "key_1") is None
    assert await database.read(written) == {"req_1"}


async def test_what_comes_while_a_batch_is_written_waits_for_the_next(database: Database) -> None:
    recorder = recorder_of(database, io.StringIO())
    for number in range(3):
        recorder.record(finished(number))
    flushing = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0)
    recorder.record(finished(3))

    assert await flushing
    assert await database.read(written) == {"req_0", "req_1", "req_2"}
    assert recorder.waiting == 1
    assert await recorder.flush()
    assert recorder.waiting == 0


async def test_a_batch_that_is_broken_off_is_written_after_all(database: Database) -> None:
    recorder = recorder_of(database, io.StringIO())
    recorder.record(finished(1))
    flushing = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)

    assert await recorder.flush()
    assert await database.read(written) == {"req_1"}


async def test_a_row_that_the_state_refuses_is_given_up_alone(database: Database) -> None:
    log = io.StringIO()
    recorder = recorder_of(database, log)
    for number in range(20):
        recorder.record(finished(number, "\ud800" if number == 7 else "m"))

    assert await recorder.flush()
    assert await database.read(written) == {f"req_{n}" for n in range(20) if n != 7}
    faults = [json.loads(line) for line in log.getvalue().splitlines() if "rejected" in line]
    assert [fault["request_id"] for fault in faults if fault["level"] == "error"] == ["req_7"]
