"""How each cost is known: stated, computed from tokens, or estimated."""

from __future__ import annotations

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.tables import corrections, reports, reserve_settle
from gateway.ledger.tables.corrections import booked_call
from gateway.model.reservation import Settled, Settlement
from gateway.model.token_usage import TokenUsage
from tests.support.funds import CENT, NOW_MS, TODAY, Till, ledger_of

USAGE = TokenUsage(text_in=23, image_in=1_500, image_out=4_160)
COMPUTED = Settlement(
    4 * CENT, 200, cost_kind="computed", usage=USAGE, computed_nanos=4 * CENT, price_version="p1"
)


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till(database).open()


async def settle(till: Till, reservation_id: str, settlement: Settlement) -> Settled:
    return await till.database.write(
        lambda tx: reserve_settle.settle(
            tx, reservation_id, settlement, now_ms=NOW_MS, zone=till.zone
        )
    )


async def kinds(till: Till) -> dict[str, tuple[int, int, int]]:
    """Of each kind: paid calls, spending, estimates."""
    lines = await till.database.read(lambda tx: reports.usage_by(tx, "cost_kind", TODAY, TODAY))
    total = reports.total_of(lines)
    by_team = reports.total_of(
        await till.database.read(lambda tx: reports.usage_by(tx, "team", TODAY, TODAY))
    )
    for name in (
        "paid_calls",
        "spent_nanos",
        "estimated_calls",
        "estimated_nanos",
        "corrections_nanos",
    ):
        assert getattr(total, name) == getattr(by_team, name)
    return {line.group: (line.paid_calls, line.spent_nanos, line.estimated_calls) for line in lines}


async def test_a_computed_call_keeps_its_tokens_and_the_version_of_its_price(till: Till) -> None:
    await till.reserve("a", 9 * CENT)
    settled = await settle(till, "a", COMPUTED)
    (row,) = await till.database.read(lambda tx: ledger_of(tx, "req-a"))
    assert (settled.cost_kind, row.cost_kind, row.estimated) == ("computed", "computed", 0)
    assert (row.tokens, row.computed_nanos, row.price_version) == (USAGE, 4 * CENT, "p1")


async def test_a_stated_cost_keeps_the_computed_one_beside_it(till: Till) -> None:
    await till.reserve("a", 9 * CENT)
    both = Settlement(3 * CENT, 200, usage=USAGE, computed_nanos=4 * CENT, price_version="p1")
    assert (await settle(till, "a", both)).cost_nanos == 3 * CENT
    (row,) = await till.database.read(lambda tx: ledger_of(tx, "req-a"))
    assert (row.cost_kind, row.cost_nanos, row.computed_nanos) == ("stated", 3 * CENT, 4 * CENT)


async def test_a_late_answer_makes_an_estimate_a_computed_cost(till: Till) -> None:
    await till.reserve("a", 9 * CENT)
    assert (await till.settle("a", None)).cost_kind == "estimated"
    settled = await settle(till, "a", COMPUTED)
    assert (settled.cost_nanos, settled.cost_kind) == (4 * CENT, "computed")
    rows = await till.database.read(lambda tx: ledger_of(tx, "req-a"))
    assert [row.cost_kind for row in rows] == ["estimated", "computed"]
    assert rows[1].tokens == USAGE
    assert await kinds(till) == {"computed": (1, 4 * CENT, 0)}


async def test_what_a_person_states_counts_from_then_on(till: Till) -> None:
    await till.reserve("a", 9 * CENT)
    await settle(till, "a", COMPUTED)
    by = Author("root", NOW_MS)
    await till.database.write(lambda tx: corrections.correct(tx, "req-a", CENT, by))
    booked = await till.database.read(lambda tx: booked_call(tx, "a"))
    assert (booked.cost_kind, booked.cost_nanos) == ("stated", CENT)
    assert await kinds(till) == {"stated": (1, CENT, 0)}


async def test_usage_by_cost_kind_adds_up_to_usage_by_team(till: Till) -> None:
    for name in "abcd":
        await till.reserve(name, 9 * CENT)
    await settle(till, "a", COMPUTED)
    await till.settle("b", CENT)
    await till.settle("c", None)
    await till.settle("d", 0, status=400)
    assert await kinds(till) == {
        "computed": (1, 4 * CENT, 0),
        "estimated": (1, 9 * CENT, 1),
        "stated": (1, CENT, 0),
    }
    await till.proven()
