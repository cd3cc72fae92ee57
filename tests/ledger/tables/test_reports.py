"""Reports: usage by any dimension, and sums that agree with the ledger."""

from __future__ import annotations

import dataclasses
from datetime import UTC
from typing import Any

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.tables import corrections, reports, reuse
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.ledger.tables.reports import UsageLine
from gateway.ledger.tables.rollups import Sums
from gateway.model.outcome import Outcome
from gateway.model.windows import day_of
from tests.ledger.tables.test_usage import record, row
from tests.support.funds import CALLER, CENT, DAY_MS, NOW_MS, TODAY, Till, caller

MONTH = ("2026-11-01", "2026-11-30")
OTHER = caller("press", "k9", tags={"project": "zebra"})


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open(callers=(CALLER, OTHER))


async def usage(
    till: Till, by: str, days: tuple[str, str] = MONTH, team: str | None = None
) -> dict[str, UsageLine]:
    lines = await till.database.read(lambda tx: reports.usage_by(tx, by, *days, team=team))
    assert len({line.group for line in lines}) == len(lines)
    return {line.group: line for line in lines}


async def a_busy_month(till: Till) -> None:
    """Three paid calls (one estimated) on two days, and the requests around them."""
    await till.reserve("a")
    await till.settle("a", CENT)
    await till.reserve("b", 3 * CENT, model="m2")
    await till.settle("b", None)
    await till.reserve("c", 4 * CENT, by=OTHER, at=NOW_MS - DAY_MS)
    await till.settle("c", 2 * CENT)
    mine: dict[str, Any] = {"owner": "ann", "cost_centre": "cc-7", "tags": {"project": "atlas"}}
    theirs: dict[str, Any] = {"team": "press", "key_id": "k9", "day": "2026-11-24"}
    await record(
        till.database,
        [
            row(1, outcome=Outcome.MISS, **mine),
            row(2, cause="reuse", saved_nanos=CENT, **mine),
            row(3, cause="reuse", saved_nanos=CENT, **mine),
            row(4, outcome=Outcome.COALESCED, cause="coalesced", saved_nanos=CENT, **mine),
            row(5, outcome=Outcome.FAILED, status=502, code="upstream_failed", **mine),
            row(6, outcome=Outcome.REFUSED, status=429, code="insufficient_quota", **theirs),
        ],
    )


async def test_a_line_says_what_was_asked_bought_and_saved(till: Till) -> None:
    await a_busy_month(till)
    line = (await usage(till, "team"))["design"]
    assert (line.calls, line.hits, line.coalesced, line.errors) == (5, 2, 1, 1)
    assert line.outcomes[Outcome.MISS] == 1
    assert (line.paid_calls, line.spent_nanos) == (2, 4 * CENT)
    assert line.saved == {"reuse": 2 * CENT, "coalesced": CENT}
    assert (line.estimated_calls, line.estimated_nanos) == (1, 3 * CENT)
    assert (line.estimated_share, line.error_share) == (0.75, 0.2)


@pytest.mark.parametrize(
    ("by", "spent"),
    [
        ("team", {"design": 4, "press": 2}),
        ("key", {"k1": 4, "k9": 2}),
        ("model", {"deepshi-image-1": 3, "m2": 3, "m": 0}),
        ("day", {"2026-11-24": 2, TODAY: 4}),
        ("cost_centre", {"cc-7": 4, "(untagged)": 2}),
        ("owner", {"ann": 4, "(untagged)": 2}),
        ("tag:project", {"atlas": 4, "zebra": 2, "(untagged)": 0}),
        ("tag:nothing", {"(untagged)": 6}),
    ],
)
async def test_every_grouping_has_all_the_money(till: Till, by: str, spent: dict[str, int]) -> None:
    await a_busy_month(till)
    lines = await usage(till, by)
    assert {group: line.spent_nanos // CENT for group, line in lines.items()} == spent
    assert sum(line.calls for line in lines.values()) == 6


async def test_single_days_add_up_to_the_range(till: Till) -> None:
    await a_busy_month(till)
    await till.settle("b", 2 * CENT, at=NOW_MS + 3 * DAY_MS)
    whole = (await usage(till, "tag:project"))["atlas"]
    added = UsageLine()
    for number in range(30):
        day = day_of(NOW_MS + (number - 24) * DAY_MS, till.zone)
        for line in (await usage(till, "tag:project", (day, day))).values():
            if line.group != "atlas":
                continue
            for field in dataclasses.fields(Sums):
                total = getattr(added, field.name) + getattr(line, field.name)
                setattr(added, field.name, total)
    names = [field.name for field in dataclasses.fields(Sums)]
    assert [getattr(whole, name) for name in names] == [getattr(added, name) for name in names]
    assert whole.spent_nanos == 3 * CENT


async def test_a_team_sees_only_its_own(till: Till) -> None:
    await a_busy_month(till)
    assert list(await usage(till, "key", team="press")) == ["k9"]


async def test_days_outside_the_range_are_not_counted(till: Till) -> None:
    await a_busy_month(till)
    assert (await usage(till, "team", ("2026-11-25", "2026-11-25"))).keys() == {"design"}
    assert await usage(till, "team", ("2026-12-01", "2026-12-31")) == {}


async def test_a_correction_is_in_the_spent_and_shown_apart(till: Till) -> None:
    await a_busy_month(till)
    by = Author("root", NOW_MS + 9, "")
    await till.database.write(lambda tx: corrections.correct(tx, "req-b", CENT, by))
    line = (await usage(till, "team"))["design"]
    assert (line.spent_nanos, line.corrections_nanos) == (2 * CENT, -2 * CENT)
    assert (line.estimated_calls, line.estimated_nanos, line.estimated_share) == (0, 0, 0.0)


async def paid_calls(till: Till) -> int:
    return sum(line.paid_calls for line in (await usage(till, "team")).values())


async def correct(till: Till, request_id: str, cost: int) -> None:
    by = Author("root", NOW_MS + 9, "")
    await till.database.write(lambda tx: corrections.correct(tx, request_id, cost, by))


async def test_a_call_that_cost_nothing_is_not_a_paid_one(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", 0)
    await till.reserve("b")
    await till.settle("b", CENT)
    await till.reserve("c", 0, model="free")
    await till.settle("c", None)
    assert await paid_calls(till) == 1


@pytest.mark.parametrize(
    ("costs", "paid"),
    [((0,), 0), ((0, CENT), 1), ((2 * CENT,), 1), ((0, 0), 0), ((2 * CENT, 0, CENT, 0), 0)],
)
async def test_a_correction_tells_anew_whether_a_call_was_paid(
    till: Till, costs: tuple[int, ...], paid: int
) -> None:
    await till.reserve("a")
    await till.settle("a", CENT)
    for cost in costs:
        await correct(till, "req-a", cost)
    assert await paid_calls(till) == paid
    await till.proven()


async def test_an_estimate_that_turns_out_to_be_free_was_not_paid(till: Till) -> None:
    await till.reserve("a")
    await till.settle("a", None)
    assert await paid_calls(till) == 1
    await till.settle("a", 0, status=400)
    assert await paid_calls(till) == 0


@pytest.mark.parametrize("name", ["untagged", "(untagged)", '"(untagged)"', "total", "(total)"])
async def test_a_tag_that_reads_like_a_line_of_ours_is_not_taken_for_it(
    database: Database, name: str
) -> None:
    tagged, bare = caller("press", "k9", tags={"project": name}), caller("design", "k1")
    till = await Till(database).open(callers=(tagged, bare))
    for by in (tagged, bare):
        await till.reserve(by.key_id, by=by)
        await till.settle(by.key_id)
    lines = await usage(till, "tag:project")
    assert len(lines) == 2
    assert lines["(untagged)"].spent_nanos == CENT
    assert name in (lines.keys() - {"(untagged)"}).pop()
    assert reports.total_of(lines.values()).group not in lines


@pytest.mark.parametrize(
    ("given", "days"),
    [
        ((None, None), ("2026-11-01", "2026-11-25")),
        ((None, "2026-12-31"), ("2026-11-01", "2026-12-31")),
        ((None, "2026-02-17"), ("2026-02-01", "2026-02-17")),
        (("2026-10-05", None), ("2026-10-05", "2026-11-25")),
        (("2026-10-05", "2026-10-06"), ("2026-10-05", "2026-10-06")),
    ],
)
def test_a_report_is_of_this_month_unless_days_are_named(
    given: tuple[str | None, str | None], days: tuple[str, str]
) -> None:
    assert reports.days_of_report(TODAY, UTC, *given) == days


async def test_an_unknown_grouping_names_the_known_ones(till: Till) -> None:
    with pytest.raises(ValueError, match="cost_centre"):
        await usage(till, "colour")


async def test_what_is_estimated_is_listed_until_it_is_known(till: Till) -> None:
    for name in "abc":
        await till.reserve(name)
        await till.settle(name, None)
    await till.settle("b", CENT)

    async def page(after: str) -> list[str]:
        rows = await till.database.read(
            lambda tx: reports.ledger_rows(tx, *MONTH, after=after, limit=1, estimated=True)
        )
        return [reports.cursor(row) for row in rows]

    first = await page("")
    second = await page(first[0])
    assert (first, second) == ([f"{TODAY}/{NOW_MS}/a"], [f"{TODAY}/{NOW_MS}/c"])
    assert await page(second[0]) == []


async def test_the_ledger_is_read_in_pages_without_losing_a_row(till: Till) -> None:
    for number in range(7):
        await till.reserve(f"r{number}", at=NOW_MS - (number % 3) * DAY_MS)
        await till.settle(f"r{number}")

    async def page(after: str) -> list[LedgerRow]:
        return await till.database.read(
            lambda tx: reports.ledger_rows(tx, *MONTH, after=after, limit=2)
        )

    rows, seen = await page(""), list[str]()
    while rows:
        seen += [row.id for row in rows]
        rows = await page(reports.cursor(rows[-1]))
    assert sorted(seen) == [f"r{number}" for number in range(7)]


async def test_the_ledger_is_in_the_order_of_time_and_a_correction_after_its_call(
    till: Till,
) -> None:
    for name, at in (("z", NOW_MS), ("y", NOW_MS + 1), ("x", NOW_MS + 1)):
        await till.reserve(name)
        await till.settle(name, None, at=at)
    # Corrected by a clock that is behind, and later by one that is right.
    early, late = Author("root", NOW_MS - DAY_MS), Author("root", NOW_MS + DAY_MS)
    await till.database.write(lambda tx: corrections.correct(tx, "req-y", 0, early))
    await till.database.write(lambda tx: corrections.correct(tx, "req-z", 0, late))
    rows = await till.database.read(lambda tx: reports.ledger_rows(tx, *MONTH))
    assert [row.id for row in rows] == ["z", "x", "y", "y~1", "z~1"]


async def test_what_is_estimated_is_listed_of_one_team_alone(till: Till) -> None:
    for name, by in (("a", CALLER), ("b", OTHER), ("c", OTHER)):
        await till.reserve(name, by=by)
        await till.settle(name, None)
    rows = await till.database.read(
        lambda tx: reports.ledger_rows(tx, *MONTH, team="press", limit=2, estimated=True)
    )
    assert [row.id for row in rows] == ["b", "c"]


@pytest.mark.parametrize("after", ["x", "2026-11-25/a", "2026-11-25/1e3/a", "2020-01-01/1/a"])
async def test_a_place_that_no_page_gave_is_refused(till: Till, after: str) -> None:
    with pytest.raises(ValueError, match="is not the `next` of an earlier page"):
        await till.database.read(lambda tx: reports.ledger_rows(tx, *MONTH, after=after))


async def test_results_that_were_reused_are_reported_by_use_and_by_saving(till: Till) -> None:
    mine: dict[str, Any] = {"fingerprint": "v1-often", "cause": "reuse", "saved_nanos": 2}
    dear: dict[str, Any] = {"fingerprint": "v1-dear", "cause": "coalesced", "saved_nanos": 9}
    await record(
        till.database,
        [
            row(1, outcome=Outcome.MISS, fingerprint="v1-often"),
            row(2, **mine),
            row(3, **mine),
            row(4, outcome=Outcome.COALESCED, team="press", **dear),
            row(5, outcome=Outcome.REFUSED, status=429, fingerprint="v1-often"),
            row(6, cause="reuse", saved_nanos=7),
            row(7, day="2026-10-31", **mine),
        ],
    )
    read = till.database.read
    by_use = await read(lambda tx: reuse.most_reused(tx, *MONTH))
    by_saving = await read(lambda tx: reuse.most_reused(tx, *MONTH, by="saved_nanos"))
    of_press = await read(lambda tx: reuse.most_reused(tx, *MONTH, team="press"))
    first = await read(lambda tx: reuse.most_reused(tx, *MONTH, limit=1))

    often, dearest = reuse.Reuse("v1-often", "m", 2, 4), reuse.Reuse("v1-dear", "m", 1, 9)
    assert by_use == [often, dearest]
    assert by_saving == [dearest, often]
    assert of_press == [dearest]
    assert first == [often]
