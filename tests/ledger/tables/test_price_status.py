"""What is known of a model's price, and what stops it."""

from __future__ import annotations

import pytest

from gateway.accounts.tables.audit import Author, list_audit
from gateway.database.database import Database
from gateway.ledger.tables import price_status
from gateway.ledger.tables.picture_costs import raise_cost, seen_since
from gateway.ledger.tables.price_status import NoPrice, PriceStatus
from gateway.model.reservation import PriceKey
from tests.support.funds import CENT, NOW_MS, TODAY, Till

BY = Author("root", NOW_MS, "the price list")
SINCE = seen_since(TODAY)


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def known(database: Database, upstream: str = "up", model: str = "m") -> bool:
    return await database.read(lambda tx: price_status.is_known(tx, upstream, model, SINCE))


async def see(database: Database, key: PriceKey, day: str = TODAY) -> None:
    await database.write(lambda tx: raise_cost(tx, key, day, CENT))


@pytest.mark.parametrize(
    ("key", "day", "is_known"),
    [
        (PriceKey("up", "m"), TODAY, True),
        (PriceKey("up", "m", "high", "1x1"), SINCE, True),
        (PriceKey("", "m"), TODAY, True),  # of an earlier version
        (PriceKey("up", "m"), "2026-10-25", False),
        (PriceKey("other", "m"), TODAY, False),
        (PriceKey("up", "m2"), TODAY, False),
    ],
)
async def test_a_price_is_known_where_it_was_seen_lately(
    till: Till, key: PriceKey, day: str, is_known: bool
) -> None:
    await see(till.database, key, day)
    assert await known(till.database) is is_known


async def test_three_answers_without_a_cost_are_enough(till: Till) -> None:
    async def count(answers: int = 1) -> bool:
        return await till.database.write(
            lambda tx: price_status.count_uncosted(tx, "up", "m", answers)
        )

    assert [await count() for _ in range(4)] == [False, False, True, False]
    assert await known(till.database)
    assert not await known(till.database, "other")


async def test_a_confirmed_price_is_known_and_ends_a_stop(till: Till) -> None:
    database = till.database
    await database.write(lambda tx: price_status.stop(tx, "up", "m", 10**30, NOW_MS, "design"))
    assert await database.read(price_status.count_stopped) == 1

    async def confirm(nanos: int | None) -> int:
        return await database.write(
            lambda tx: price_status.confirm(tx, "up", "m", nanos, today=TODAY, by=BY)
        )

    assert await confirm(None) == 10**15, "a stated cost beyond all bounds is kept as the largest"
    assert await confirm(4 * CENT) == 4 * CENT
    assert await database.read(price_status.count_stopped) == 0
    status = await database.read(lambda tx: price_status.status_of(tx, "up", "m"))
    assert status == PriceStatus(confirmed_nanos=4 * CENT)
    assert await known(database)
    changes = await database.read(lambda tx: list_audit(tx))
    assert {change.action for change in changes} == {"prices.confirm"}


async def test_a_price_of_which_nothing_is_known_must_be_stated(till: Till) -> None:
    async def confirm(nanos: int | None) -> int:
        return await till.database.write(
            lambda tx: price_status.confirm(tx, "up", "m", nanos, today=TODAY, by=BY)
        )

    with pytest.raises(NoPrice, match="give the price"):
        await confirm(None)
    with pytest.raises(ValueError, match="cannot be reserved"):
        await confirm(10**16)
    await see(till.database, PriceKey("up", "m", "high"))
    assert await confirm(None) == CENT
