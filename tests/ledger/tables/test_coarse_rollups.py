# ruff: noqa: S608 - names of our own
"""What a gateway that knows no coarser roll-ups has booked is in them after they are made anew."""

from __future__ import annotations

import pytest

from gateway.database.database import Database, Row, Transaction
from gateway.ledger.tables import coarse_rollups, verify
from gateway.model.outcome import Outcome
from tests.ledger.tables.test_usage import record, row
from tests.support.funds import DAY_MS, NOW_MS, TODAY, Till

MONTH = TODAY[:7]
COARSER = ("month_rollups", "team_rollups")


@pytest.fixture
async def till(database: Database) -> Till:
    """A call of the last month, and in this one two of which the coarser sums miss the second."""
    till = await Till(database).open()
    for name, at in (("before", NOW_MS - 30 * DAY_MS), ("a", NOW_MS)):
        await till.reserve(name, at=at)
        await till.settle(name, at=at)

    async def rows(tx: Transaction) -> dict[str, list[Row]]:
        return {table: list(await tx.fetch(f"SELECT * FROM {table}")) for table in COARSER}

    async def put_back(tx: Transaction) -> None:
        for table, found in kept.items():
            await tx.fetch(f"DELETE FROM {table}")
            for each in found:
                marks = ", ".join(f"${number}" for number in range(1, len(each) + 1))
                names = ", ".join(each)
                await tx.fetch(f"INSERT INTO {table} ({names}) VALUES ({marks})", *each.values())

    kept = await database.read(rows)
    await till.reserve("b", model="m2")
    await till.settle("b")
    await record(database, [row(1, outcome=Outcome.MISS)])
    await database.write(put_back)
    return till


async def test_a_month_is_whole_again_and_the_others_are_left_alone(till: Till) -> None:
    async def whole(tx: Transaction) -> list[bool]:
        return [await coarse_rollups.are_whole(tx, month) for month in ("2026-10", MONTH)]

    assert await till.database.read(whole) == [True, False]
    assert (await till.database.read(verify.verify)).differences
    await till.database.write(lambda tx: coarse_rollups.make_anew(tx, MONTH))

    assert await till.database.read(whole) == [True, True]
    await till.proven()
