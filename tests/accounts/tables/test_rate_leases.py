"""Rates: a minute's requests are debited before they are used."""

from __future__ import annotations

import asyncio

import pytest

from gateway.accounts.rules.rate_leases import RateLeases
from gateway.accounts.tables import rate_leases
from gateway.accounts.tables.rate_leases import RateLease
from gateway.database.database import Database
from tests.support.databases import open_engine

MINUTE = 29_000_000


async def lease(
    database: Database, want: int, limit: int, *, account: str = "key:a", minute: int = MINUTE
) -> RateLease:
    return await database.write(lambda tx: rate_leases.lease(tx, account, minute, want, limit))


async def test_a_lease_is_never_past_the_limit(database: Database) -> None:
    granted = [await lease(database, 4, 10) for _ in range(4)]
    assert granted == [RateLease(4, 4), RateLease(4, 8), RateLease(2, 10), RateLease(0, 10)]


async def test_the_first_lease_is_bounded_too(database: Database) -> None:
    assert await lease(database, 4, 3) == RateLease(3, 3)
    assert await lease(database, 1, 0, account="key:b") == RateLease(0, 0)


async def test_every_account_and_minute_counts_for_itself(database: Database) -> None:
    await lease(database, 1, 1)
    assert await lease(database, 1, 1, minute=MINUTE + 1) == RateLease(1, 1)
    assert await lease(database, 1, 1, account="key:b") == RateLease(1, 1)


async def test_a_limit_that_is_lowered_or_raised_holds_at_once(database: Database) -> None:
    await lease(database, 5, 10)
    assert await lease(database, 1, 3) == RateLease(0, 5)
    assert await lease(database, 5, 8) == RateLease(3, 8)


async def test_any_number_of_processes_lease_the_limit_and_no_more(
    database: Database, database_url: str
) -> None:
    others = [open_engine(database_url) for _ in range(2)]
    try:
        engines = [database, *others]
        leases = await asyncio.gather(*(lease(engines[n % 3], 2, 37) for n in range(30)))
    finally:
        for other in others:
            await other.close()
    assert sum(each.granted for each in leases) == 37


async def test_old_minutes_are_swept_and_this_one_is_not(database: Database) -> None:
    await lease(database, 3, 10, minute=MINUTE - 1)
    await lease(database, 3, 10)
    await database.write(lambda tx: rate_leases.sweep(tx, MINUTE))
    assert await lease(database, 1, 10, minute=MINUTE - 1) == RateLease(1, 1)
    assert await lease(database, 1, 10) == RateLease(1, 4)


@pytest.mark.parametrize(("want", "limit"), [(0, 10), (1, -1)])
async def test_a_senseless_lease_is_an_error(database: Database, want: int, limit: int) -> None:
    with pytest.raises(ValueError, match="cannot lease"):
        await lease(database, want, limit)


async def test_two_processes_with_leases_in_memory_let_the_limit_through(
    database: Database,
) -> None:
    limit, processes = 130, [RateLeases(), RateLeases()]
    let_through = 0
    for request in range(400):
        held = processes[request % 2]
        if want := held.to_lease("key:a", limit, MINUTE):
            got = await lease(database, want, limit)
            held.add("key:a", MINUTE, granted=got.granted, leased=got.leased, limit=limit)
        let_through += held.take(["key:a"], MINUTE)
    assert let_through == limit
