"""A report of a month stays quick however many requests there were, and so does the proof."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from gateway.database.database import Database, Transaction
from gateway.database.migrate import known_migrations, migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.ledger.tables.reports import usage_by
from gateway.ledger.tables.verify import verify

ROWS = 10_000_000
TEAMS, KEYS, MODELS = 50, 500, 4
DAY = "'2026-11-' || substr('0' || (1 + i % 30), -2)"
HIT = "CASE WHEN i % 3 THEN 'hit' ELSE 'coalesced' END"
CAUSE = "CASE WHEN i % 3 THEN 'reuse' ELSE 'coalesced' END"

FILL = f"""
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {ROWS})
INSERT INTO usage_rows (id, at_ms, day, request_id, team, key_id, model, route, outcome, cause,
  saved_nanos, status, code, paid_by_team, owner, cost_centre, tags)
SELECT 'use_' || i, i, {DAY}, 'req_' || i, 'team-' || (i % {KEYS} % {TEAMS}),
  'key_' || (i % {KEYS}), 'model-' || (i / 7 % {MODELS}), 'edits', {HIT}, {CAUSE}, 10000000, 200,
  '', '', 'ann', 'c' || (i % {KEYS} % 7), '{{}}' FROM c
"""  # noqa: S608 - made of constants
ROLL_UP = """
INSERT INTO rollups (day, dimensions, team, key_id, model, owner, cost_centre, tags, outcome,
  cause, calls, errors, paid_calls, spent_nanos, saved_nanos, estimated_nanos, estimated_calls,
  corrections_nanos)
SELECT day, team || key_id || model || outcome, team, key_id, model, owner, cost_centre, tags,
  outcome, cause, COUNT(*), 0, 0, 0, SUM(saved_nanos), 0, 0, 0
FROM usage_rows GROUP BY day, team, key_id, model, owner, cost_centre, tags, outcome, cause
"""
COARSER = tuple(
    statement
    for migration in known_migrations()
    if migration.name == "coarse_rollups"
    for statement in migration.statements
    if statement.startswith("INSERT")
)
"""The statements that make the coarser tables from `rollups`."""


@pytest.mark.long
async def test_a_month_over_ten_million_rows_is_reported_in_under_a_second(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    database = SqliteDatabase(path)
    await migrate(database)
    with sqlite3.connect(path) as state:
        state.execute("PRAGMA synchronous = OFF")
        state.execute(FILL)
        for statement in (ROLL_UP, *COARSER):
            state.execute(statement)
    state.close()
    seconds = {}
    for by in ("team", "key", "model", "day", "cost_centre", "month,team,tag:project"):

        async def report(tx: object, by: str = by) -> int:
            lines = await usage_by(tx, by, "2026-11-01", "2026-11-30")  # type: ignore[arg-type]
            return sum(line.calls for line in lines)

        started = time.perf_counter()
        calls = await database.read(report)
        seconds[by] = time.perf_counter() - started
        assert calls == ROWS
    await database.close()

    assert max(seconds.values()) < 1.0, seconds


CALLS = 1_000_000
# Every hundredth call is an estimate, every second one of those was corrected. The same text
# runs on both engines, and so do the sums below it.
CALL = f"""
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < :calls)
INSERT INTO ledger (id, kind, corrects, at_ms, day, request_id, upstream_request_id, credential,
  team, key_id, model, route, fingerprint, reference_images, body_bytes, answer_bytes, status, n,
  images, cost_nanos, estimated, owner, cost_centre, tags)
SELECT 'rsv_' || i, 'call', NULL, i, '2026-11-' || substr(CAST(101 + i % 30 AS TEXT), 2),
  'req_' || i, '', '', 'team-' || (i % {KEYS} % {TEAMS}), 'key_' || (i % {KEYS}),
  'model-' || (i / 7 % {MODELS}), 'edits', 'v1-' || i, 1, 1, 1, 200, 1, 1, 10000000,
  CASE WHEN i % 100 = 0 THEN 1 ELSE 0 END, 'ann', 'c' || (i % {KEYS} % 7),
  '{{"project":"p' || (i % {KEYS}) || '"}}' FROM c
"""  # noqa: S608


def calls(number: int) -> str:
    """The statement that books so many calls."""
    return CALL.replace(":calls", str(number))


CORRECTION = """
INSERT INTO ledger (id, kind, corrects, at_ms, day, request_id, upstream_request_id, credential,
  team, key_id, model, route, fingerprint, reference_images, body_bytes, answer_bytes, status, n,
  images, cost_nanos, estimated, owner, cost_centre, tags)
SELECT id || '~1', 'correction', id, at_ms, day, request_id, '', '', team, key_id, model, route,
  fingerprint, 1, 1, 1, 200, 1, 0, -1000000, 0, owner, cost_centre, tags
FROM ledger WHERE at_ms % 200 = 0
"""
ROLLED_UP = """
INSERT INTO rollups (day, dimensions, team, key_id, model, owner, cost_centre, tags, outcome,
  cause, calls, errors, saved_nanos, paid_calls, spent_nanos, estimated_calls, estimated_nanos,
  corrections_nanos, images)
SELECT day, team || key_id || model, team, key_id, model, owner, cost_centre, tags, '', '', 0, 0,
  0, SUM(CASE kind WHEN 'call' THEN 1 ELSE 0 END), SUM(cost_nanos),
  SUM(CASE WHEN kind = 'call' AND at_ms % 200 = 100 THEN 1 ELSE 0 END),
  SUM(CASE WHEN kind = 'call' AND at_ms % 200 = 100 THEN cost_nanos ELSE 0 END),
  SUM(CASE kind WHEN 'correction' THEN cost_nanos ELSE 0 END), SUM(images)
FROM ledger GROUP BY day, team, key_id, model, owner, cost_centre, tags
"""
BALANCED = [
    f"""
INSERT INTO balances (account, day, spent_nanos, held_nanos, images, images_held)
SELECT {account}, {day}, SUM(cost_nanos), 0, SUM(images), 0 FROM ledger GROUP BY 1, 2
"""  # noqa: S608
    for account in ("'organisation'", "'team:' || team", "'key:' || key_id")
    for day in ("day", "'total'")
]


@pytest.mark.long
async def test_a_million_ledger_rows_are_proven_in_a_minute(database: Database) -> None:
    for statement in (calls(CALLS), CORRECTION, ROLLED_UP, *COARSER, *BALANCED):

        async def fill(tx: Transaction, statement: str = statement) -> None:
            await tx.fetch(statement)

        await database.exclusive(fill)
    started = time.perf_counter()
    found = await database.read(verify)
    seconds = time.perf_counter() - started

    assert found.differences == ()
    assert (found.ledger_rows, found.estimated_calls) == (CALLS + CALLS // 200, CALLS // 200)
    assert seconds < 60, seconds
