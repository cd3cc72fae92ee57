"""Seen costs: what a model's pictures are known to have cost, and what no longer counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database, Transaction
from gateway.database.migrate import migrate
from gateway.ledger.tables import corrections, picture_costs, reserve_settle
from gateway.model.reservation import PriceKey, Settlement
from tests.support.databases import open_engine
from tests.support.engines import schema_url
from tests.support.funds import CALLER, CENT, DAY_MS, NOW_MS, TODAY, Till, caller

__all__ = ["schema_url"]

YESTERDAY = "2026-11-24"


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def buy(till: Till, name: str, cost: int | None, **more: Any) -> None:
    await till.reserve(name, **more)
    await till.settle(name, cost)


async def correct(till: Till, name: str, cost: int) -> None:
    by = Author("root", NOW_MS + 5, "the invoice")
    await till.database.write(lambda tx: corrections.correct(tx, f"req-{name}", cost, by))


async def highest(till: Till, since_day: str = TODAY) -> int | None:
    return await till.database.read(
        lambda tx: picture_costs.highest_cost(tx, PriceKey("", "deepshi-image-1"), since_day)
    )


async def test_an_odd_cost_that_is_corrected_is_forgotten(till: Till) -> None:
    await buy(till, "a", CENT)
    await buy(till, "odd", 999 * CENT)
    await buy(till, "b", 2 * CENT)
    assert await highest(till) == 999 * CENT
    await correct(till, "odd", CENT)
    assert await highest(till) == 2 * CENT


async def test_a_day_of_which_nothing_is_known_any_more_has_no_highest_cost(till: Till) -> None:
    await buy(till, "odd", 999 * CENT)
    await buy(till, "estimated", None)
    await correct(till, "odd", 0)
    assert await highest(till) is None


async def test_a_cost_that_is_corrected_upwards_is_seen(till: Till) -> None:
    await buy(till, "free", 0)
    await correct(till, "free", 3 * CENT)
    assert await highest(till) == 3 * CENT
    await correct(till, "free", 5 * CENT)
    assert await highest(till) == 5 * CENT


async def test_a_correction_is_seen_by_picture_rounded_up(till: Till) -> None:
    await buy(till, "a", 9 * CENT, images=3)
    await correct(till, "a", 3 * CENT + 1)
    assert await highest(till) == CENT + 1


async def test_an_estimate_is_seen_once_it_is_known(till: Till) -> None:
    await buy(till, "a", CENT)
    await buy(till, "b", None, nanos=50 * CENT)
    await correct(till, "b", 4 * CENT)
    assert await highest(till) == 4 * CENT
    await correct(till, "b", 2 * CENT)
    assert await highest(till) == 2 * CENT


async def test_a_settle_that_comes_late_raises_what_was_seen_and_never_lowers_it(
    till: Till,
) -> None:
    await buy(till, "a", 3 * CENT)
    for name, cost in (("b", CENT), ("c", 5 * CENT)):
        await buy(till, name, None)
        await till.settle(name, cost)
    assert await highest(till) == 5 * CENT


async def overrun(till: Till) -> int | None:
    return await till.database.read(
        lambda tx: picture_costs.highest_overrun(tx, PriceKey("", "deepshi-image-1"), TODAY)
    )


async def test_only_a_cost_above_its_ceiling_is_an_overrun(till: Till) -> None:
    await buy(till, "dear", 9 * CENT, nanos=9 * CENT)
    assert await overrun(till) == 0
    await buy(till, "over", 6 * CENT, nanos=4 * CENT, images=2)
    assert (await overrun(till), await highest(till)) == (3 * CENT, 9 * CENT)
    await buy(till, "less", 2 * CENT, nanos=CENT)
    assert await overrun(till) == 3 * CENT


async def test_an_estimate_that_proves_too_low_is_an_overrun(till: Till) -> None:
    await buy(till, "a", None, nanos=5 * CENT)
    await buy(till, "b", None, nanos=5 * CENT)
    await correct(till, "a", 4 * CENT)
    assert await overrun(till) == 0
    await correct(till, "b", 6 * CENT)
    assert await overrun(till) == 6 * CENT


async def test_an_overrun_that_is_corrected_is_forgotten(till: Till) -> None:
    await buy(till, "odd", 999 * CENT)
    await buy(till, "dear", 9 * CENT, nanos=9 * CENT)
    await correct(till, "odd", CENT)
    assert await overrun(till) == 9 * CENT, "no more than any picture is known to have cost"


async def test_another_day_and_another_model_are_left_alone(till: Till) -> None:
    await buy(till, "before", 8 * CENT, at=NOW_MS - DAY_MS)
    await till.reserve("other", model="m2")
    await till.settle("other", 7 * CENT)
    await buy(till, "a", 9 * CENT)
    await correct(till, "a", CENT)
    assert (await highest(till), await highest(till, YESTERDAY)) == (CENT, 8 * CENT)
    assert (
        await till.database.read(
            lambda tx: picture_costs.highest_cost(tx, PriceKey("", "m2"), TODAY)
        )
        == 7 * CENT
    )


async def test_costs_that_become_known_during_a_correction_are_not_forgotten(till: Till) -> None:
    names = [f"r{number:02}" for number in range(24)]
    for name in names:
        await buy(till, name, 100 * CENT)
    for number in range(24):
        await till.reserve(f"n{number:02}")
    await asyncio.gather(
        *(correct(till, name, CENT) for name in names),
        *(till.settle(f"n{number:02}", (number + 1) * CENT) for number in range(24)),
    )
    assert await highest(till) == 24 * CENT
    await till.proven()


async def test_a_correction_waits_for_a_cost_that_is_being_written(schema_url: str) -> None:
    """SQLite has one writer; on PostgreSQL the other's row can't be seen before it commits."""
    database = open_engine(schema_url)
    await migrate(database)
    other = caller("press", "k9")
    till = await Till(database).open(callers=(CALLER, other))
    await buy(till, "odd", 999 * CENT)
    await till.reserve("slow", by=other)
    settled = asyncio.Event()

    async def settle_slowly(tx: Transaction) -> None:
        known = Settlement(7 * CENT, 200)
        await reserve_settle.settle(tx, "slow", known, now_ms=NOW_MS, zone=till.zone)
        settled.set()
        await tx.fetch("SELECT CAST(pg_sleep(0.15) AS TEXT)")

    settling = asyncio.create_task(database.write(settle_slowly))
    await settled.wait()
    await correct(till, "odd", CENT)
    await settling
    assert await highest(till) == 7 * CENT
    await till.proven()
    await database.close()
