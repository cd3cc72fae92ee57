"""`gateway ledger export --format chargeback`, on a real state."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.ledger.chargeback import COLUMNS
from tests.cli.test_ledger import Fill, Run, fill, run, sheet, state
from tests.support.funds import CENT, Till, caller

__all__ = ["fill", "run", "state"]

NOVEMBER = ("ledger", "export", "--period", "2026-11", "--format", "chargeback")
CALLERS = (
    caller("design", "k1", cost_centre="0815"),
    caller("video", "k2", cost_centre="0815"),
    caller("press", "k3"),
    caller("legal", "k4", cost_centre="4711"),
)


async def bought_at_two_upstreams(till: Till) -> None:
    """A third of a cent for each caller at each upstream, and a whole one for two of them."""
    await till.open(callers=CALLERS)
    for number, by in enumerate(CALLERS):
        for upstream in ("openai", "azure"):
            name = f"{upstream}{number}"
            await till.reserve(name, 2 * CENT, by=by, upstream=upstream)
            await till.settle(name, CENT // 3 + (CENT if number % 3 == 2 else 0))


def test_each_cost_centre_is_charged_cents_that_add_up_to_the_invoices(
    run: Run, fill: Fill
) -> None:
    """Each upstream bills 2⅓ cents, so 2."""
    fill(bought_at_two_upstreams)
    result = run(*NOVEMBER)
    rows = sheet(result)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["cost_centre"], row["teams"], row["amount_usd"]) for row in rows] == [
        ("", "press", "0.02"),
        ("0815", "design video", "0.02"),
        ("4711", "legal", "0.00"),
    ]
    assert sum(Decimal(row["amount_usd"]) for row in rows) == Decimal("0.04")
    assert sum(Decimal(row["exact_usd"]) for row in rows) == Decimal("0.046666664")
    assert "Teams without a cost centre: press. " in result.stderr
    assert "2026-11: $0.04 in lines of cents, of exactly $0.046666664 in the ledger." in (
        result.stderr
    )
    assert "is not closed: its rows can still change" in result.stderr


def test_posting_date_account_and_text_are_those_of_the_settings(
    run: Run, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bought_at_two_upstreams)
    (first, *_) = sheet(run(*NOVEMBER))
    assert (first["posting_date"], first["account"], first["text"]) == (
        "2026-11-30", "", "Image edits 2026-11",
    )  # fmt: skip
    monkeypatch.setenv("GATEWAY_CHARGEBACK__ACCOUNT", "006815")
    monkeypatch.setenv("GATEWAY_CHARGEBACK__TEXT", "Bilder {month} {cost_centre}: {teams}")
    monkeypatch.setenv("GATEWAY_CHARGEBACK__POSTING_DATE", "next_month")
    *_, last = sheet(run(*NOVEMBER))
    assert (last["posting_date"], last["account"], last["text"]) == (
        "2026-12-01", "006815", "Bilder 2026-11 4711: legal",
    )  # fmt: skip


def test_credits_are_shared_out_too(run: Run, fill: Fill) -> None:
    async def credited(till: Till) -> None:
        await bought_at_two_upstreams(till)
        await till.database.write(
            lambda tx: tx.fetch("UPDATE ledger SET cost_nanos = -$1 WHERE key_id = 'k4'", CENT)
        )

    fill(credited)
    rows = sheet(run(*NOVEMBER, "--csv-decimal", "point"))
    assert [row["amount_usd"] for row in rows] == ["0.02", "0.02", "-0.02"]


def test_a_part_of_a_month_is_refused(run: Run) -> None:
    days = ("--from", "2026-11-01", "--to", "2026-11-29")
    result = run("ledger", "export", "--format", "chargeback", *days)
    assert result.exit_code == 2
    assert "give a period, or the first day" in result.output
    assert sheet(run(*NOVEMBER)) == []


@pytest.mark.parametrize("form", ["json", "focus"])
def test_a_style_does_not_apply_to_a_fixed_form(run: Run, form: str) -> None:
    result = run("ledger", "export", "--format", form, "--csv-decimal", "comma")
    assert result.exit_code == 2
    assert f"do not apply to --format {form}" in result.output
