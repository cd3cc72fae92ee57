"""Usage rows: written in batches, counted once, dropped when old."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.database.database import Database
from gateway.ledger.tables import reports, usage
from gateway.ledger.tables.usage import UsageRow
from gateway.model.outcome import Outcome
from tests.support.funds import NOW_MS, TODAY, Till


def row(number: int = 0, *, outcome: Outcome = Outcome.HIT, **facts: Any) -> UsageRow:
    given: dict[str, Any] = {
        "id": f"use-{number:05}",
        "at_ms": NOW_MS + number,
        "day": TODAY,
        "request_id": f"req-{number}",
        "team": "design",
        "key_id": "k1",
        "model": "m",
        "outcome": outcome,
        "status": 200,
    }
    return UsageRow(**{**given, **facts})


async def record(database: Database, rows: Sequence[UsageRow]) -> int:
    return await database.write(lambda tx: usage.record(tx, rows), urgent=False)


async def stored(database: Database) -> Sequence[Mapping[str, Any]]:
    return await database.read(lambda tx: tx.fetch("SELECT * FROM usage_rows ORDER BY id"))


async def calls(database: Database) -> int:
    lines = await database.read(lambda tx: reports.usage_by(tx, "team", TODAY, TODAY))
    return sum(line.calls for line in lines)


async def test_a_row_keeps_everything_that_was_known(database: Database) -> None:
    given = row(
        outcome=Outcome.COALESCED,
        cause="automatic_retry",
        saved_nanos=7,
        code="",
        paid_by_team="press",
        owner="ann",
        cost_centre="cc",
        end_user="ada",
        tags={"b": "2", "a": "ü"},
        route="generations",
        fingerprint="v1-0a",
        aside="a1",
        uncacheable="generations",
        asked="no-store",
        took_us=12_345,
        stages={"read": 7, "forward": 12_000},
    )
    await record(database, [given])
    (found,) = await stored(database)
    assert dict(found) == {
        "id": "use-00000",
        "at_ms": NOW_MS,
        "day": TODAY,
        "request_id": "req-0",
        "team": "design",
        "key_id": "k1",
        "model": "m",
        "route": "generations",
        "outcome": "coalesced",
        "cause": "automatic_retry",
        "saved_nanos": 7,
        "status": 200,
        "code": "",
        "paid_by_team": "press",
        "owner": "ann",
        "cost_centre": "cc",
        "end_user": "ada",
        "tags": '{"a":"ü","b":"2"}',
        "fingerprint": "v1-0a",
        "aside": "a1",
        "uncacheable": "generations",
        "asked": "no-store",
        "took_us": 12_345,
        "stages": '{"read": 7, "forward": 12000}',
    }
    read = await database.read(lambda tx: usage.find(tx, "req-0", "k1"))
    assert read == given


async def test_a_request_is_found_by_the_key_that_made_it_alone(database: Database) -> None:
    await record(database, [row(n, key_id=f"k{n}") for n in range(3)])
    wrong = await database.read(lambda tx: usage.find(tx, "req-1", "k0"))
    right = await database.read(lambda tx: usage.find(tx, "req-1", "k1"))
    assert (wrong, right) == (None, row(1, key_id="k1"))


async def test_a_batch_of_any_size_is_written_whole(database: Database) -> None:
    for size, first in ((0, 0), (1, 1), (9, 10), (777, 100)):
        assert await record(database, [row(first + n) for n in range(size)]) == size
    assert len(await stored(database)) == 787
    assert await calls(database) == 787


async def test_a_batch_written_again_is_counted_once(database: Database) -> None:
    batch = [row(n, saved_nanos=10) for n in range(20)]
    assert await record(database, batch[:12]) == 12
    assert await record(database, batch) == 8
    (line,) = await database.read(lambda tx: reports.usage_by(tx, "team", TODAY, TODAY))
    assert (line.calls, line.saved_nanos) == (20, 200)


async def test_batches_of_several_processes_do_not_wait_in_a_circle(database: Database) -> None:
    keys = [f"k{n}" for n in range(10)]

    async def batch(number: int) -> None:
        turned = keys[number % 10 :] + keys[: number % 10]
        rows = [row(number * 10 + n, key_id=key) for n, key in enumerate(turned)]
        await database.write(lambda tx: usage.record(tx, rows))

    await asyncio.gather(*(batch(number) for number in range(20)))
    assert await calls(database) == 200


async def test_old_rows_are_dropped_and_their_sums_stay(database: Database) -> None:
    await record(database, [row(n, day="2026-11-01") for n in range(7)])
    await record(database, [row(100)])
    fold = [
        await database.write(lambda tx: usage.fold(tx, "2026-11-02", limit=5)) for _ in range(3)
    ]
    assert fold == [5, 2, 0]
    assert [found["id"] for found in await stored(database)] == ["use-00100"]
    lines = await database.read(lambda tx: reports.usage_by(tx, "day", "2026-11-01", TODAY))
    assert [(line.group, line.calls) for line in lines] == [("2026-11-01", 7), (TODAY, 1)]


async def test_money_rows_are_never_dropped(database: Database) -> None:
    till = await Till(database).open()
    await till.reserve("a")
    await till.settle("a")
    await database.write(lambda tx: usage.fold(tx, "2999-01-01"))
    assert (await till.proven()).ledger_rows == 1


async def test_tags_longer_than_an_index_takes_are_fine(database: Database) -> None:
    tags = {f"tag-{n}": "x" * 200 for n in range(32)}
    await record(database, [row(tags=tags)])
    (line,) = await database.read(lambda tx: reports.usage_by(tx, "tag:tag-3", TODAY, TODAY))
    assert line.group == "x" * 200
