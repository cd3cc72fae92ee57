"""Two steps: a preview says what would change, and only that outcome is booked."""

from __future__ import annotations

import asyncio

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.rules.statement_lines import StatementLine, StatementOptions
from gateway.ledger.rules.statement_period import NotCovered
from gateway.ledger.statements.booking import NotConfirmed, confirm
from gateway.ledger.statements.previews import Preview, preview
from gateway.ledger.tables.batches import list_batches
from gateway.ledger.tables.close_month import freeze
from gateway.ledger.tables.corrections import correct
from gateway.ledger.tables.reports import ledger_rows
from tests.ledger.tables.test_close_month import DECEMBER_MS
from tests.ledger.tables.test_reconcile import line
from tests.support.funds import CENT, DAY_MS, NOW_MS, Till
from tests.support.statements import inquiry_of, money_in, undo_batch

BY = Author("test", DECEMBER_MS, "the bill")
BY_CALL = StatementOptions()
BY_DAY = StatementOptions(granularity="day")


@pytest.fixture
async def till(database: Database) -> Till:
    """Twenty calls of a dollar each."""
    till = await Till(database).open()
    for number in range(20):
        await till.reserve(f"c{number}", 100 * CENT)
        await till.settle(f"c{number}", 100 * CENT)
    return till


def bill(*, without: int = 0, times: int = 1) -> list[StatementLine]:
    return [line(f"up-c{number}", 100 * CENT * times) for number in range(20 - without)]


async def shown(
    till: Till,
    lines: list[StatementLine],
    options: StatementOptions = BY_CALL,
    period: str = "2026-11",
) -> Preview:
    return await preview(till.database, inquiry_of(lines, options, period), DECEMBER_MS)


async def rows(till: Till) -> int:
    found = await till.database.read(
        lambda tx: ledger_rows(tx, "2026-01-01", "2026-12-31", limit=9_999)
    )
    return len(found)


async def refusal(till: Till, found: Preview, allow: int | None = None) -> str:
    """Why a preview is not booked."""
    before = await rows(till)
    with pytest.raises(NotConfirmed) as refused:
        await confirm(till.database, found.inquiry, found.id, BY, allow_percent=allow)
    assert await rows(till) == before
    assert await till.database.read(list_batches) == []
    return str(refused.value)


async def test_a_preview_is_confirmed_by_its_name(till: Till) -> None:
    found = await shown(till, [*bill(), line("new", 50 * CENT)])
    assert (found.comparison.changes, dict(found.teams)) == (1, {"(unattributed)": 50 * CENT})
    _, batch = await confirm(till.database, found.inquiry, found.id, BY)
    assert batch.id == found.id.replace("prv_", "bat_")
    assert (await shown(till, [*bill(), line("new", 50 * CENT)])).comparison.off_nanos == 0
    assert await rows(till) == 21


async def test_the_same_outcome_has_the_same_name_and_another_has_another(till: Till) -> None:
    lines = [*bill(), line("new", CENT)]
    names = {(await shown(till, each)).id for each in (lines, lines)}
    names |= {(await shown(till, [*bill(), line("new", cost)])).id for cost in (CENT, CENT + 1)}
    assert len(names) == 2


async def test_it_is_refused_where_the_outcome_is_another_by_now(till: Till) -> None:
    found = await shown(till, [*bill(), line("new", CENT)])
    await till.database.write(lambda tx: correct(tx, "req-c3", 99 * CENT, BY))
    with pytest.raises(NotConfirmed, match=f"its outcome is not that of {found.id}"):
        await confirm(till.database, found.inquiry, found.id, BY)
    assert await rows(till) == 21


async def test_it_is_refused_where_the_month_was_closed_meanwhile(till: Till) -> None:
    found = await shown(till, [*bill(), line("new", CENT)])
    await till.database.write(lambda tx: freeze(tx, "2026-11", BY, till.zone))
    assert "its outcome is not that of" in await refusal(till, found)


async def test_a_preview_is_booked_once(till: Till) -> None:
    for lines, options in (
        ([*bill(), line("new", CENT)], BY_CALL),
        ([StatementLine(1, "", "", NOW_MS, 2005 * CENT, "deepshi-image-1")], BY_DAY),
    ):
        found = await shown(till, lines, options)
        before = await rows(till)
        done = await asyncio.gather(
            *(confirm(till.database, found.inquiry, found.id, BY) for _ in range(3)),
            return_exceptions=True,
        )
        assert any(isinstance(each, tuple) for each in done)
        assert await rows(till) == before + found.comparison.changes
        await till.proven()


async def test_what_was_undone_needs_a_preview_of_its_own(till: Till) -> None:
    before = await money_in(till.database)
    found = await shown(till, [StatementLine(1, "", "", NOW_MS, 2005 * CENT)], BY_DAY)
    _, batch = await confirm(till.database, found.inquiry, found.id, BY)
    await undo_batch(till.database, batch.id, BY)
    with pytest.raises(NotConfirmed):
        await confirm(till.database, found.inquiry, found.id, BY)
    assert await money_in(till.database) == before


async def test_a_statement_that_agrees_is_kept_as_reconciled(till: Till) -> None:
    found = await shown(till, bill())
    assert (found.comparison.changes, found.reconciled) == (0, {})
    _, batch = await confirm(till.database, found.inquiry, found.id, BY)
    assert (await shown(till, bill())).reconciled == {"deepshi": batch.id}
    assert await rows(till) == 20
    assert await undo_batch(till.database, batch.id, BY) == 0
    assert (await shown(till, bill())).reconciled == {}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        pytest.param(bill(without=6), "6 of 20 calls, 30 %, are not on it", id="a part"),
        pytest.param(bill(times=100), "look like another unit", id="cents"),
        pytest.param(bill(times=1_000_000), "look like another unit", id="micro-dollars"),
        pytest.param([*bill(), line("x", 200 * CENT)], r"it changes $2.00, 10 %", id="more"),
        pytest.param(
            [line("", 100 * CENT)] * 20,
            "no line has the id of a call",
            id="sums",
        ),
    ],
)
async def test_a_wrong_statement_is_refused(
    till: Till, lines: list[StatementLine], told: str
) -> None:
    assert told in await refusal(till, await shown(till, lines))


async def test_a_change_is_allowed_by_its_size_after_a_preview(till: Till) -> None:
    found = await shown(till, bill(without=6))
    assert [each.percent for each in found.refused] == [30, 30]
    assert "are not on it" in await refusal(till, found, allow=29)
    await confirm(till.database, found.inquiry, found.id, BY, allow_percent=30)
    assert (await till.stands())["team"].spent_nanos == 1400 * CENT


@pytest.mark.parametrize("options", [BY_CALL, BY_DAY], ids=["calls", "sums"])
async def test_the_statement_of_another_month_is_refused(
    till: Till, options: StatementOptions
) -> None:
    with pytest.raises(NotCovered, match="it is not of 2026-10: line 1 is of 2026-11-25"):
        await shown(till, bill(), options, "2026-10")
    with pytest.raises(NotCovered, match="it has no lines"):
        await shown(till, [], options)


async def test_sums_wait_for_calls_that_are_not_settled(till: Till) -> None:
    await till.reserve("open")
    found = await shown(till, [StatementLine(1, "", "", NOW_MS, 2000 * CENT)], BY_DAY)
    assert "1 calls of these days are not settled yet" in await refusal(till, found, 100)


async def test_a_preview_says_which_budgets_it_reopens(till: Till) -> None:
    await till.limit("team:design", budget_nanos=2000 * CENT, budget_period="month")
    await till.limit("organisation", budget_nanos=9000 * CENT, budget_period="total")
    await till.limit("key:k1", budget_nanos=100 * CENT, budget_period="day")
    found = await preview(till.database, inquiry_of(bill(without=1), BY_CALL), NOW_MS + DAY_MS)
    effects = {each.account: (each.after_nanos, each.reopened) for each in found.budgets}
    assert effects == {
        "organisation": (1900 * CENT, False),
        "team:design": (1900 * CENT, True),
    }


async def test_only_calls_at_the_upstream_are_compared(till: Till) -> None:
    await till.database.write(
        lambda tx: tx.fetch("UPDATE ledger SET upstream = 'azure' WHERE id <> 'c0'")
    )
    found = await preview(
        till.database, inquiry_of(bill(without=19), BY_CALL, upstream="openai"), DECEMBER_MS
    )
    assert (found.comparison.changes, found.comparison.booked_nanos) == (0, 100 * CENT)
