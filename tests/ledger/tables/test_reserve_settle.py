"""Reserve, settle, void and correct: money on every level, in the window it was made in."""

from __future__ import annotations

import asyncio
import dataclasses
from zoneinfo import ZoneInfo

import pytest

from gateway.database.database import Conflict, Database, Transaction
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.rules.budget import OverBudget, SpendingPaused, TooManyInFlight
from gateway.ledger.tables import picture_costs, reserve_settle
from gateway.ledger.tables.balances import UnknownAccount
from gateway.ledger.tables.corrections import UnknownReservation
from gateway.ledger.tables.ledger_rows import LARGEST_NANOS, LedgerRow
from gateway.ledger.tables.unresolved_reservations import settle_abandoned
from gateway.model.caller import Caller
from gateway.model.reservation import CallFacts, PriceKey, Settlement
from gateway.model.token_usage import TOKEN_KINDS
from gateway.model.windows import day_of
from gateway.pricing.rules.ceilings import Quote
from tests.support.funds import CALLER, CENT, DAY_MS, NOW_MS, TODAY, Till, caller, ledger_of

LEVELS = {"organisation": "organisation", "team": "team:design", "key": "key:k1"}


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def rows_of(till: Till, reservation_id: str) -> list[LedgerRow]:
    return await till.database.read(lambda tx: ledger_of(tx, f"req-{reservation_id}"))


# --- reserve --------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
async def test_no_level_is_spent_past_its_budget(till: Till, level: str) -> None:
    await till.limit(LEVELS[level], budget_nanos=2 * CENT, budget_period="total")
    for name in "ab":
        await till.reserve(name)
    with pytest.raises(OverBudget) as refused:
        await till.reserve("c")
    assert refused.value.level == level
    assert (refused.value.limit, refused.value.spent, refused.value.held) == (2 * CENT, 0, 2 * CENT)


async def test_a_refused_reservation_holds_nothing_on_any_level(till: Till) -> None:
    await till.limit("key:k1", budget_nanos=CENT - 1, budget_period="month")
    with pytest.raises(OverBudget):
        await till.reserve("a")
    assert [each.held_nanos for each in (await till.stands()).values()] == [0, 0, 0]
    assert (await till.proven()).open_reservations == 0


async def test_a_check_passes_what_would_be_granted_and_holds_nothing(
    till: Till,
) -> None:
    async def check(nanos: int, images: int = 1) -> None:
        quote = Quote(CALLER, CallFacts("req", "m"), nanos, images)
        await till.database.read(
            lambda tx: reserve_settle.check(
                tx, quote, ceiling_nanos=nanos, now_ms=NOW_MS, zone=till.zone
            )
        )

    await till.limit("team:design", budget_nanos=3 * CENT, budget_period="month")
    await till.limit("key:k1", paid_images_per_day=2)
    await till.reserve("a")
    await check(2 * CENT)
    with pytest.raises(OverBudget) as over:
        await check(2 * CENT + 1)
    with pytest.raises(OverBudget) as too_many:
        await check(CENT, images=2)
    await till.limit("organisation", paused=True)
    with pytest.raises(SpendingPaused):
        await check(0, images=0)

    assert (over.value.level, over.value.held, over.value.held_only) == ("team", CENT, True)
    assert (too_many.value.kind, too_many.value.held) == ("images", 1)
    assert [each.held_nanos for each in (await till.stands()).values()] == [CENT] * 3


async def test_the_last_nano_is_granted(till: Till) -> None:
    await till.limit("team:design", budget_nanos=CENT, budget_period="month")
    granted = await till.reserve("a")
    assert granted.remaining_nanos == 0
    assert granted.reservation.day == TODAY


async def test_what_remains_is_the_least_over_the_levels(till: Till) -> None:
    assert (await till.reserve("a")).remaining_nanos is None
    await till.limit("organisation", budget_nanos=9 * CENT, budget_period="month")
    await till.limit("team:design", budget_nanos=5 * CENT, budget_period="day")
    assert (await till.reserve("b")).remaining_nanos == 3 * CENT


async def test_a_limit_holds_for_what_was_spent_before_it_was_set(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a")
    await till.limit("team:design", budget_nanos=CENT, budget_period="month")
    with pytest.raises(OverBudget) as refused:
        await till.reserve("b")
    assert not refused.value.held_only


async def test_a_changed_period_counts_what_its_window_has_spent(till: Till) -> None:
    await till.limit("team:design", budget_nanos=CENT, budget_period="day")
    await till.reserve("a", at=NOW_MS - 2 * DAY_MS)
    await till.settle("a", at=NOW_MS - 2 * DAY_MS)
    await till.limit("team:design", budget_period="week")
    with pytest.raises(OverBudget):
        await till.reserve("b")
    await till.limit("team:design", budget_period="day")
    await till.reserve("b")


@pytest.mark.parametrize(
    ("period", "earlier_days", "resets"),
    [("day", 1, "2026-11-26"), ("week", 3, "2026-11-30"), ("month", 25, "2026-12-01")],
)
async def test_a_window_forgets_what_the_one_before_it_spent(
    till: Till, period: str, earlier_days: int, resets: str
) -> None:
    await till.limit("team:design", budget_nanos=CENT, budget_period=period)
    await till.reserve("old", at=NOW_MS - earlier_days * DAY_MS)
    await till.reserve("a")
    with pytest.raises(OverBudget) as refused:
        await till.reserve("b")
    assert refused.value.resets_ms is not None
    assert day_of(refused.value.resets_ms, till.zone) == resets


async def test_a_total_budget_never_resets(till: Till) -> None:
    await till.limit("team:design", budget_nanos=CENT, budget_period="total")
    await till.reserve("a", at=NOW_MS - 400 * DAY_MS)
    with pytest.raises(OverBudget) as refused:
        await till.reserve("b")
    assert refused.value.resets_ms is None


async def test_days_are_those_of_the_configured_zone(database: Database) -> None:
    till = await Till(database, ZoneInfo("Pacific/Auckland")).open()
    assert (await till.reserve("a")).reservation.day == "2026-11-26"


async def test_money_that_is_only_held_is_told_from_money_that_is_gone(till: Till) -> None:
    await till.limit("team:design", budget_nanos=CENT, budget_period="month")
    await till.reserve("a")
    with pytest.raises(OverBudget) as refused:
        await till.reserve("b")
    assert refused.value.held_only
    await till.settle("a")
    with pytest.raises(OverBudget) as refused:
        await till.reserve("b")
    assert not refused.value.held_only


async def test_paid_images_are_bounded_by_the_day_whatever_the_budgets_period(till: Till) -> None:
    await till.limit("team:design", paid_images_per_day=3, budget_nanos=10**12)
    await till.reserve("old", images=3, at=NOW_MS - DAY_MS)
    await till.reserve("a", images=2)
    with pytest.raises(OverBudget) as refused:
        await till.reserve("b", images=2)
    found = refused.value
    assert (found.kind, found.limit, found.spent, found.held) == ("images", 3, 0, 2)
    await till.reserve("c", images=1)


@pytest.mark.parametrize("level", LEVELS)
async def test_a_pause_stops_paid_calls_at_once(till: Till, level: str) -> None:
    await till.limit(LEVELS[level], paused=1)
    with pytest.raises(SpendingPaused) as refused:
        await till.reserve("a")
    assert refused.value.level == level
    await till.limit(LEVELS[level], paused=0)
    await till.reserve("a")


async def test_keys_share_a_teams_budget_and_teams_the_organisations(database: Database) -> None:
    other_key, other_team = caller(key_id="k2"), caller("press", "k3")
    till = await Till(database).open(callers=(CALLER, other_key, other_team))
    await till.limit("team:design", budget_nanos=2 * CENT, budget_period="month")
    await till.limit("organisation", budget_nanos=3 * CENT, budget_period="month")
    await till.reserve("a")
    await till.reserve("b", by=other_key)
    with pytest.raises(OverBudget) as of_team:
        await till.reserve("c", by=other_key)
    await till.reserve("d", by=other_team)
    with pytest.raises(OverBudget) as of_all:
        await till.reserve("e", by=other_team)
    assert (of_team.value.level, of_all.value.level) == ("team", "organisation")


async def test_an_account_that_is_not_there_pays_for_nothing(till: Till) -> None:
    with pytest.raises(UnknownAccount, match="key:ghost"):
        await till.reserve("a", by=caller(key_id="ghost"))
    assert (await till.proven()).held_nanos == 0


@pytest.mark.parametrize(
    ("nanos", "images"), [(-1, 1), (LARGEST_NANOS + 1, 1), (1, -1), (1, 10**6)]
)
async def test_a_senseless_reservation_is_an_error(till: Till, nanos: int, images: int) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        await till.reserve("a", nanos, images=images)


async def test_an_id_holds_money_once(till: Till) -> None:
    await till.reserve("a")
    with pytest.raises(Conflict):
        await till.reserve("a")
    assert (await till.proven()).held_nanos == CENT


# --- settle ---------------------------------------------------------------------------------


async def test_settling_books_what_the_call_cost_and_releases_the_rest(till: Till) -> None:
    await till.limit("team:design", budget_nanos=10 * CENT, budget_period="month")
    await till.reserve("a", 4 * CENT, images=2)
    settled = await till.settle("a", 3 * CENT)
    assert (settled.cost_nanos, settled.estimated, settled.overrun_nanos) == (3 * CENT, False, 0)
    assert settled.remaining_nanos == 7 * CENT
    for balance in (await till.stands()).values():
        assert (balance.spent_nanos, balance.held_nanos) == (3 * CENT, 0)
        assert (balance.images, balance.images_held) == (2, 0)


async def test_the_ledger_says_everything_about_a_call(till: Till) -> None:
    await till.reserve("a", 2 * CENT)
    await till.settle("a", CENT, at=NOW_MS + 7_000)
    (row,) = await rows_of(till, "a")
    assert dataclasses.asdict(row) == {
        "id": "a",
        "kind": "call",
        "corrects": None,
        "at_ms": NOW_MS + 7_000,
        "day": TODAY,
        "request_id": "req-a",
        "upstream_request_id": "up-a",
        "credential": "1:…abcd",
        "team": "design",
        "key_id": "k1",
        "model": "deepshi-image-1",
        "route": "edits",
        "fingerprint": "fp",
        "reference_images": 2,
        "body_bytes": 1_000,
        "answer_bytes": 5_000,
        "status": 200,
        "n": 1,
        "images": 1,
        "cost_nanos": CENT,
        "estimated": 0,
        "owner": "ann",
        "cost_centre": "cc-7",
        "tags": '{"project":"atlas"}',
        "late_for": None,
        "upstream": "",
        "quality": "",
        "size": "",
        "asked_model": "",
        "upstream_model": "",
        "end_user": "",
        "cost_kind": "stated",
        "computed_nanos": None,
        "price_version": "",
        "batch": "",
        "undoes": "",
        "budget_day": None,
        **dict.fromkeys(TOKEN_KINDS, 0),
    }


async def test_an_unknown_cost_is_the_ceiling_and_never_nothing(till: Till) -> None:
    await till.reserve("a", 4 * CENT)
    settled = await till.settle("a", None, status=None)
    assert (settled.cost_nanos, settled.estimated) == (4 * CENT, True)
    (row,) = await rows_of(till, "a")
    assert (row.cost_nanos, row.estimated, row.images, row.status) == (4 * CENT, 1, 1, None)


@pytest.mark.parametrize("cost", [-1, LARGEST_NANOS + 1])
async def test_a_cost_that_cannot_be_is_unknown(till: Till, cost: int) -> None:
    await till.reserve("a", CENT)
    settled = await till.settle("a", cost)
    assert (settled.cost_nanos, settled.estimated) == (CENT, True)


async def test_an_overrun_is_booked_in_full_and_leaves_nothing(till: Till) -> None:
    await till.limit("team:design", budget_nanos=2 * CENT, budget_period="month")
    await till.reserve("a")
    settled = await till.settle("a", 5 * CENT)
    assert (settled.cost_nanos, settled.overrun_nanos) == (5 * CENT, 4 * CENT)
    assert settled.remaining_nanos == 0
    with pytest.raises(OverBudget):
        await till.reserve("b", 0)


async def test_a_call_that_was_not_charged_keeps_its_row_and_counts_no_picture(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", 0, status=429)
    (row,) = await rows_of(till, "a")
    assert (row.cost_nanos, row.images, row.status, row.estimated) == (0, 0, 429, 0)
    assert (await till.stands())["team"].images == 0


async def test_a_picture_that_came_for_nothing_counts_as_one(till: Till) -> None:
    await till.reserve("a", 0)
    await till.settle("a", 0, status=200)
    assert (await till.stands())["team"].images == 1


async def test_money_is_booked_in_the_window_it_was_held_in(till: Till) -> None:
    await till.limit("team:design", budget_nanos=CENT, budget_period="day")
    await till.reserve("a", at=NOW_MS)
    await till.settle("a", at=NOW_MS + DAY_MS)
    assert (await till.stands(at=NOW_MS))["team"].spent_nanos == CENT
    assert (await till.stands(at=NOW_MS + DAY_MS))["team"].spent_nanos == 0
    await till.reserve("b", at=NOW_MS + DAY_MS)


async def test_to_settle_twice_is_to_settle_once(till: Till) -> None:
    await till.reserve("a")
    first = await till.settle("a", CENT)
    second = await till.settle("a", CENT)
    assert second == first
    assert len(await rows_of(till, "a")) == 1
    assert (await till.proven()).spent_nanos == CENT


async def test_a_known_cost_is_not_changed_by_another_settle(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", CENT)
    assert (await till.settle("a", 9 * CENT)).cost_nanos == CENT
    assert (await till.settle("a", None)).estimated is False


async def test_settling_what_was_never_held_is_an_error(till: Till) -> None:
    with pytest.raises(UnknownReservation):
        await till.settle("ghost")


# --- void -----------------------------------------------------------------------------------


async def test_voiding_releases_everything_and_leaves_no_row(till: Till) -> None:
    await till.reserve("a", images=2)
    assert await till.void("a")
    for balance in (await till.stands()).values():
        assert (balance.spent_nanos, balance.held_nanos, balance.images_held) == (0, 0, 0)
    assert (await till.proven()).ledger_rows == 0


async def test_what_is_resolved_cannot_be_voided(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", None)
    assert not await till.void("a")
    assert (await till.proven()).spent_nanos == CENT


async def test_what_was_voided_cannot_be_settled_silently(till: Till) -> None:
    await till.reserve("a")
    await till.void("a")
    assert not await till.void("a")
    with pytest.raises(UnknownReservation):
        await till.settle("a")


# --- prices seen ------------------------------------------------------------------------------


async def highest(till: Till, since_day: str, model: str = "deepshi-image-1") -> int | None:
    return await till.database.read(
        lambda tx: picture_costs.highest_cost(tx, PriceKey("", model), since_day)
    )


async def test_the_highest_cost_of_a_picture_is_remembered_by_model(till: Till) -> None:
    for name, cost in (("a", 2 * CENT), ("b", 6 * CENT), ("c", CENT)):
        await till.reserve(name, images=2)
        await till.settle(name, cost)
    assert await highest(till, TODAY) == 3 * CENT
    assert await highest(till, "2026-11-26") is None
    assert await highest(till, TODAY, "another") is None


async def test_an_estimate_is_no_price_seen(till: Till) -> None:
    await till.reserve("a", 50 * CENT)
    await till.settle("a", None)
    assert await highest(till, TODAY) is None
    await till.settle("a", 2 * CENT)
    assert await highest(till, TODAY) == 2 * CENT


# --- many at once -----------------------------------------------------------------------------


async def test_a_call_settled_by_two_at_once_is_booked_once(till: Till) -> None:
    await till.reserve("a")
    await asyncio.gather(*(till.settle("a", CENT) for _ in range(6)))
    proven = await till.proven()
    assert (proven.spent_nanos, proven.ledger_rows, proven.open_reservations) == (CENT, 1, 0)


async def test_levels_are_locked_in_one_order_whoever_asks(database: Database) -> None:
    callers = [caller(team, key) for team in ("t1", "t2") for key in (f"{team}-a", f"{team}-b")]
    till = await Till(database).open(callers=tuple(callers))

    async def buy(number: int, by: Caller) -> None:
        await till.reserve(f"r{number}", by=by)
        await till.settle(f"r{number}", CENT)

    await asyncio.gather(*(buy(number, callers[number % 4]) for number in range(40)))
    assert (await till.proven()).spent_nanos == 40 * CENT


async def test_a_reservation_and_its_settlement_take_few_statements(till: Till) -> None:
    counts: list[int] = []

    class Counting:
        def __init__(self, inner: Transaction) -> None:
            self._inner = inner

        async def fetch(self, sql: str, *values: str | int | None) -> object:
            counts[-1] += 1
            return await self._inner.fetch(sql, *values)

    async def reserve(tx: Transaction) -> object:
        counts.append(0)
        return await reserve_settle.hold(
            Counting(tx),  # type: ignore[arg-type]
            Quote(CALLER, CallFacts("req", "m"), CENT, 1),
            reservation_id="a",
            ceiling_nanos=CENT,
            owner_id="p",
            now_ms=NOW_MS,
            zone=till.zone,
        )

    async def settle(tx: Transaction) -> object:
        counts.append(0)
        return await reserve_settle.settle(
            Counting(tx),  # type: ignore[arg-type]
            "a",
            Settlement(CENT, 200),
            now_ms=NOW_MS,
            zone=till.zone,
        )

    await till.database.write(reserve)
    await till.database.write(settle)
    assert counts == [3, 8]  # two of them keep the coarser sums of reports


async def test_an_answer_that_is_lost_is_booked_at_what_such_a_call_has_cost_meanwhile(
    till: Till,
) -> None:
    for name in ("known", "lost", "killed"):
        await till.reserve(name, CENT)
    await till.settle("known", 5 * CENT)
    lost = await till.settle("lost", None, status=None)
    rule = Abandonment(NOW_MS + 10**9, 1_000)
    settled = await till.database.write(lambda tx: settle_abandoned(tx, rule))
    rows = await till.database.read(lambda tx: ledger_of(tx, "req-killed"))

    assert (lost.cost_nanos, lost.estimated, lost.overrun_nanos) == (5 * CENT, True, 4 * CENT)
    assert [held.id for held in settled] == ["killed"]
    assert [row.cost_nanos for row in rows] == [5 * CENT]
    await till.proven()


@pytest.mark.parametrize("account", ["organisation", "team:design", "key:k1"])
async def test_paid_calls_in_flight_are_limited_exactly_at_each_level(
    till: Till, account: str
) -> None:
    await till.limit(account, max_in_flight=2)
    asked = (till.reserve(f"r{number}") for number in range(6))
    results = await asyncio.gather(*asked, return_exceptions=True)

    full = [result for result in results if isinstance(result, TooManyInFlight)]
    assert (len(full), {each.account.id for each in full}) == (4, {account})
    held = await till.database.read(lambda tx: tx.fetch("SELECT id FROM reservations"))
    assert len(held) == 2
    await till.settle(held[0]["id"])
    await till.reserve("after")
    await till.proven()


async def test_another_time_zone_relabels_no_past_day(till: Till) -> None:
    """The zone is changed twice, ahead and back; it is 23:30 on the 25th in UTC."""
    late = NOW_MS + 11 * 3_600_000 + 1_800_000
    await till.limit("team:design", budget_nanos=2 * CENT, budget_period="day")
    await till.reserve("before", at=late)
    await till.settle("before", at=late)
    await till.reserve("open", at=late)
    ahead = Till(till.database, zone=ZoneInfo("Pacific/Auckland"))
    await ahead.reserve("after", 2 * CENT, at=late)  # the 26th has a budget of its own
    await ahead.settle("open", at=late)
    back = Till(till.database, zone=ZoneInfo("America/Los_Angeles"))
    with pytest.raises(OverBudget):  # it is the 25th again, whose budget is spent
        await back.reserve("more", at=late)
    await back.settle("after", 2 * CENT, at=late)
    rows = await till.database.read(lambda tx: tx.fetch("SELECT id, day FROM ledger"))
    assert {row["id"]: row["day"] for row in rows} == {
        "before": "2026-11-25",
        "open": "2026-11-25",
        "after": "2026-11-26",
    }
    await till.proven()
