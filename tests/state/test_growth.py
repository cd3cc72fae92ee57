"""A report of a month stays quick however many requests there were."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from gateway.edges.sqlite import SqliteDatabase
from gateway.state.migrate import migrate
from gateway.state.reports import usage_by

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


@pytest.mark.long
async def test_a_month_over_ten_million_rows_is_reported_in_under_a_second(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    database = SqliteDatabase(path)
    await migrate(database)
    with sqlite3.connect(path) as state:
        state.execute("PRAGMA synchronous = OFF")
        state.execute(FILL)
        state.execute(ROLL_UP)
    state.close()
    seconds = {}
    for by in ("team", "key", "model", "day", "cost_centre"):

        async def report(tx: object, by: str = by) -> int:
            lines = await usage_by(tx, by, "2026-11-01", "2026-11-30")  # type: ignore[arg-type]
            return sum(line.calls for line in lines)

        started = time.perf_counter()
        calls = await database.read(report)
        seconds[by] = time.perf_counter() - started
        assert calls == ROWS
    await database.close()

    assert max(seconds.values()) < 1.0, seconds
