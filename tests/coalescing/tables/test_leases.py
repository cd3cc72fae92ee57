"""Leases in the state: one flight an edit, and how it ended for those who come after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from gateway.coalescing.lease_transaction import Blocked, Leases, LeaseTransaction
from gateway.coalescing.rules.coalescing_key import CoalescingKey
from gateway.coalescing.rules.lease import FlightFailure, LeaseStatus
from gateway.coalescing.tables import leases
from gateway.database.database import Database
from gateway.ledger.budget_service import BudgetService
from gateway.ledger.tables import unresolved_reservations
from gateway.ledger.tables.unresolved_reservations import Owner
from gateway.model.reservation import CallFacts, Reservation, Settlement
from gateway.pricing.rules.ceilings import Quote
from tests.support.databases import open_engine
from tests.support.funds import CALLER, CENT, NOW_MS, Till

EDIT = CoalescingKey("v1-edit")
FRESH = CoalescingKey("v1-edit", fresh=True, past_failures=True)
NOT_SHARED = CoalescingKey("v1-edit", shared=False)
FACTS = CallFacts("req_1", "deepshi-image-1", "edits", "v1-edit")
QUOTE = Quote(CALLER, FACTS, CENT, 1)
BROKE = FlightFailure("upstream_failed", 502, "The upstream broke.")
REFUSED = FlightFailure("upstream_refused", 400, "no", '{"error": {"message": "nö"}}')


class Process:
    """One process that buys, with a clock that is set by hand."""

    def __init__(self, database: Database, name: str) -> None:
        self.database, self.name, self.now_ms = database, name, NOW_MS
        self.failures: list[str] = []
        self.budgets = BudgetService(
            database=database,
            owner_id=name,
            zone=ZoneInfo("UTC"),
            now_ms=lambda: self.now_ms,
            on_failure=lambda part, error: self.failures.append(part),
        )
        self.leases = Leases(
            database=database,
            owner_id=name,
            now_ms=lambda: self.now_ms,
            max_age_ms=1_200_000,
            storing_ms=5_000,
            on_failure=lambda part, error: self.failures.append(part),
        )

    def lease_transaction(
        self, coalescing_key: CoalescingKey = EDIT, request_id: str = ""
    ) -> LeaseTransaction:
        return self.leases.of(coalescing_key, request_id or f"req_{self.name}")

    async def reserve(self, lease_transaction: LeaseTransaction) -> Reservation:
        return await self.budgets.reserve(QUOTE, lease_transaction)

    async def buy(self, coalescing_key: CoalescingKey = EDIT) -> None:
        """A flight that brings a picture."""
        lease_transaction = self.lease_transaction(coalescing_key)
        reservation = await self.reserve(lease_transaction)
        lease_transaction.succeeded()
        await self.budgets.settle(QUOTE, reservation, Settlement(CENT, 200), lease_transaction)

    async def fail(
        self,
        failure: FlightFailure = BROKE,
        seconds: float = 120,
        coalescing_key: CoalescingKey = EDIT,
    ) -> None:
        """A flight that fails, and is remembered for so long."""
        lease_transaction = self.lease_transaction(coalescing_key)
        reservation = await self.reserve(lease_transaction)
        lease_transaction.failed(failure, int(seconds * 1000))
        await self.budgets.settle(QUOTE, reservation, Settlement(None), lease_transaction)


@contextmanager
def blocked(status: LeaseStatus) -> Iterator[pytest.ExceptionInfo[Blocked]]:
    with pytest.raises(Blocked) as caught:
        yield caught
    assert caught.value.status is status


@pytest.fixture
async def one(database: Database) -> Process:
    await Till(database).open()
    return Process(database, "p1")


@pytest.fixture
async def other(one: Process) -> Process:
    return Process(one.database, "p2")


async def held_nanos(process: Process) -> int:
    return (await Till(process.database).stands())["organisation"].held_nanos


async def test_who_comes_second_finds_the_first_ones_lease_and_holds_no_money(
    one: Process, other: Process
) -> None:
    await one.reserve(one.lease_transaction())
    with blocked(LeaseStatus.IN_FLIGHT) as found:
        await other.reserve(other.lease_transaction())

    assert (found.value.lease.owner_id, found.value.lease.request_id) == ("p1", "req_p1")
    assert await held_nanos(one) == CENT


async def test_of_many_that_ask_at_once_over_two_connections_one_leads(
    database_url: str, one: Process
) -> None:
    second = open_engine(database_url)
    try:
        askers = [one, *(Process(second, f"p{number}") for number in range(2, 10))]
        asked = [process.reserve(process.lease_transaction()) for process in askers]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await second.close()

    assert sum(isinstance(answer, Reservation) for answer in answers) == 1
    assert sum(isinstance(answer, Blocked) for answer in answers) == 8
    assert await held_nanos(one) == CENT


async def test_of_many_that_ask_at_once_at_equivalent_targets_one_leads(
    database_url: str, one: Process
) -> None:
    """Each looks for leases at the other target before any of them is written."""
    at_first = replace(EDIT, other_keys=("v1-elsewhere",), equivalent=True)
    at_second = replace(at_first, key="v1-elsewhere", other_keys=("v1-edit",))
    second = open_engine(database_url)
    try:
        askers = [one, *(Process(second, f"p{number}") for number in range(2, 9))]
        asked = [
            process.reserve(process.lease_transaction((at_first, at_second)[number % 2]))
            for number, process in enumerate(askers)
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await second.close()

    assert sum(isinstance(answer, Reservation) for answer in answers) == 1
    assert sum(isinstance(answer, Blocked) for answer in answers) == 7
    assert await held_nanos(one) == CENT


async def test_a_flight_that_has_landed_sends_who_comes_next_to_the_results(
    one: Process, other: Process
) -> None:
    await one.buy()
    with blocked(LeaseStatus.FINISHED) as found:
        await other.reserve(other.lease_transaction())

    looked = other.lease_transaction()
    looked.ignored_ids.add(found.value.lease.id)
    assert await other.reserve(looked)


async def test_a_landed_flight_is_over_once_its_picture_must_be_stored(
    one: Process, other: Process
) -> None:
    await one.buy()
    other.now_ms += 5_000

    assert await other.reserve(other.lease_transaction())


async def test_its_own_process_may_buy_again_at_once(one: Process) -> None:
    await one.buy()

    assert await one.reserve(one.lease_transaction())


@pytest.mark.parametrize("failure", [BROKE, REFUSED])
async def test_a_failure_is_given_to_every_process_until_it_is_forgotten(
    one: Process, other: Process, failure: FlightFailure
) -> None:
    await one.fail(failure, seconds=120)
    for process in (one, other):
        process.now_ms = NOW_MS + 119_999
        with blocked(LeaseStatus.FAILED) as found:
            await process.reserve(process.lease_transaction())
        assert found.value.lease.failure == failure
    other.now_ms = NOW_MS + 120_000

    assert await other.reserve(other.lease_transaction())


async def test_a_failure_is_remembered_for_an_edit_that_nobody_shares(
    one: Process, other: Process
) -> None:
    await one.fail(coalescing_key=NOT_SHARED)

    with blocked(LeaseStatus.FAILED):
        await other.reserve(other.lease_transaction(NOT_SHARED))
    with blocked(LeaseStatus.FAILED):
        await other.reserve(other.lease_transaction(EDIT))


async def test_edits_that_nobody_shares_are_in_nobodys_way(one: Process, other: Process) -> None:
    assert await one.reserve(one.lease_transaction(NOT_SHARED))
    assert await other.reserve(other.lease_transaction(NOT_SHARED))
    assert await other.reserve(other.lease_transaction(EDIT))


async def test_a_failure_that_is_not_remembered_is_in_nobodys_way(
    one: Process, other: Process
) -> None:
    await one.fail(seconds=0)

    assert await other.reserve(other.lease_transaction())


async def test_buying_again_with_no_cache_ends_the_memory_of_a_failure(
    one: Process, other: Process
) -> None:
    await one.fail()
    await other.buy(FRESH)

    assert await one.reserve(one.lease_transaction())


async def test_a_failed_fresh_flight_is_remembered_for_the_edit_itself(
    one: Process, other: Process
) -> None:
    await one.fail(coalescing_key=FRESH)

    with blocked(LeaseStatus.FAILED):
        await other.reserve(other.lease_transaction())
    assert await other.reserve(other.lease_transaction(FRESH))


async def test_a_failed_fresh_flight_leaves_a_plain_one_in_the_air_alone(
    one: Process, other: Process
) -> None:
    await other.reserve(other.lease_transaction())
    await one.fail(coalescing_key=FRESH)

    with blocked(LeaseStatus.IN_FLIGHT) as found:
        await one.reserve(one.lease_transaction(request_id="again"))
    assert found.value.lease.owner_id == "p2"


async def test_a_plain_edit_follows_a_fresh_flight_and_not_the_other_way_round(
    one: Process, other: Process
) -> None:
    await one.reserve(one.lease_transaction(FRESH))
    with blocked(LeaseStatus.IN_FLIGHT) as found:
        await other.reserve(other.lease_transaction())
    assert found.value.lease.key == "fresh:v1-edit"

    third = Process(one.database, "p3")
    assert await third.reserve(third.lease_transaction(replace(EDIT, key="v1-x")))
    assert await other.reserve(other.lease_transaction(replace(FRESH, key="v1-x")))


async def test_a_silent_flight_that_was_given_up_is_taken_over_and_its_late_end_is_nobodys(
    one: Process, other: Process
) -> None:
    dead = one.lease_transaction()
    reservation = await one.reserve(dead)
    with blocked(LeaseStatus.IN_FLIGHT) as found:
        await other.reserve(other.lease_transaction())
    taking_over = other.lease_transaction()
    taking_over.ignored_ids.add(found.value.lease.id)
    await other.reserve(taking_over)

    dead.succeeded()
    await one.budgets.settle(QUOTE, reservation, Settlement(CENT, 200), dead)

    with blocked(LeaseStatus.IN_FLIGHT) as found:
        await one.reserve(one.lease_transaction())
    assert found.value.lease.owner_id == "p2"


async def test_of_many_that_take_over_at_once_one_leads(database_url: str, one: Process) -> None:
    dead = await one.reserve(one.lease_transaction())
    second = open_engine(database_url)
    try:
        askers = [
            Process((one.database, second)[number % 2], f"p{number}") for number in range(2, 12)
        ]
        asked = []
        for process in askers:
            lease_transaction = process.lease_transaction()
            lease_transaction.ignored_ids.add(dead.id)
            asked.append(process.reserve(lease_transaction))
        answers = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await second.close()

    assert sum(isinstance(answer, Reservation) for answer in answers) == 1
    assert sum(isinstance(answer, Blocked) for answer in answers) == 9
    assert await held_nanos(one) == 2 * CENT


async def test_no_flight_is_waited_for_beyond_its_greatest_age(
    one: Process, other: Process
) -> None:
    await one.reserve(one.lease_transaction())
    other.now_ms += 1_200_000

    assert await other.reserve(other.lease_transaction())


async def test_where_money_is_refused_no_lease_is_left(one: Process, other: Process) -> None:
    await Till(one.database).limit("team:design", budget_nanos=CENT - 1, budget_period="total")
    with pytest.raises(Exception, match="insufficient_quota"):
        await one.reserve(one.lease_transaction())
    await Till(one.database).limit("team:design", budget_nanos=None)

    assert await other.reserve(other.lease_transaction())


async def test_a_call_that_never_left_leaves_its_failure_to_who_follows_and_no_lease(
    one: Process, other: Process
) -> None:
    lease_transaction = one.lease_transaction()
    reservation = await one.reserve(lease_transaction)
    lease_transaction.failed(FlightFailure("upstream_unreachable", 502, "no"), 0)
    await one.budgets.void(reservation.id, lease_transaction)
    (lease,) = await one.database.read(lambda tx: leases.read(tx, ["v1-edit"]))

    assert (lease.id, lease.failure and lease.failure.code) == (
        reservation.id,
        "upstream_unreachable",
    )
    assert await other.reserve(other.lease_transaction())


async def test_a_flight_that_stores_nothing_lets_its_followers_go(
    one: Process, other: Process
) -> None:
    lease_transaction = one.lease_transaction()
    reservation = await one.reserve(lease_transaction)
    lease_transaction.succeeded()
    await one.budgets.settle(QUOTE, reservation, Settlement(CENT, 200), lease_transaction)
    await one.leases.release("v1-edit", reservation.id)

    assert await other.reserve(other.lease_transaction())


async def test_a_reservation_that_is_given_back_without_an_ending_leaves_no_lease(
    one: Process, other: Process
) -> None:
    lease_transaction = one.lease_transaction()
    reservation = await one.reserve(lease_transaction)
    await one.budgets.void(reservation.id, lease_transaction)

    assert await one.database.read(lambda tx: leases.read(tx, ["v1-edit"])) == []
    assert await other.reserve(other.lease_transaction())


async def test_the_owners_heartbeat_is_read_with_the_lease(one: Process) -> None:
    await one.reserve(one.lease_transaction())
    (before,) = await one.database.read(lambda tx: leases.read(tx, ["v1-edit"]))
    owner = Owner("p1", "host", 1, NOW_MS)
    await one.database.write(lambda tx: unresolved_reservations.beat(tx, owner, NOW_MS + 5))
    (after,) = await one.database.read(lambda tx: leases.read(tx, ["v1-edit", "x", "y"]))

    assert (before.heartbeat_ms, after.heartbeat_ms) == (None, NOW_MS + 5)


async def test_what_means_nothing_any_more_is_swept_a_while_later(one: Process) -> None:
    await one.buy()
    for later_ms, left in ((60_000, 1), (65_001, 0)):
        one.now_ms = NOW_MS + later_ms
        await one.database.write(one.leases.sweep)
        found = await one.database.read(lambda tx: leases.read(tx, ["v1-edit"]))
        assert len(found) == left
