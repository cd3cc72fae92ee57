"""Usage rows are written in batches; nothing that one of them holds stops the others."""

from __future__ import annotations

import io
import json
from zoneinfo import ZoneInfo

from gateway.clock import now_ms
from gateway.edges.journal import Journal
from gateway.edges.meters import Meters
from gateway.model import Account, Caller, Outcome
from gateway.recording import Recorder
from gateway.state.database import Database, Transaction
from gateway.trace import Trace
from tests.state.conftest import database, database_url, empty_database, postgres_url

__all__ = ["database", "database_url", "empty_database", "postgres_url"]


def finished(number: int, model: str = "m") -> Trace:
    trace = Trace(f"req_{number}", "edits")
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


async def test_a_row_that_the_state_refuses_is_given_up_alone(database: Database) -> None:
    log = io.StringIO()
    recorder = Recorder(
        database=database,
        meters=Meters("0"),
        journal=Journal(format="json", out=log),
        zone=ZoneInfo("UTC"),
        now_ms=now_ms,
    )
    for number in range(20):
        recorder.record(finished(number, "\ud800" if number == 7 else "m"))

    assert await recorder.flush()
    assert await database.read(written) == {f"req_{n}" for n in range(20) if n != 7}
    faults = [json.loads(line) for line in log.getvalue().splitlines() if "refused" in line]
    assert [fault["request_id"] for fault in faults if fault["level"] == "error"] == ["req_7"]
