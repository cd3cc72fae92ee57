"""The export in FOCUS 1.2, against the columns that the specification publishes.

`focus_1_2.csv` is their list: what each is called, whether it must be there, its type, whether
it may be null, and the values it allows (of ServiceSubcategory only those of our category).
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger import focus_export
from gateway.ledger.focus_export import Issuer, focus_rows
from gateway.ledger.tables import reports
from gateway.ledger.tables.usage import record
from gateway.model.money import nanos_of, usd
from gateway.queries.csv_table import RAW
from tests.clients.environments import python_with_focus_validator
from tests.ledger.tables.test_close_month import DECEMBER_MS, close, corrected
from tests.ledger.tables.test_reconcile import line, reconciled
from tests.ledger.tables.test_usage import row
from tests.support.databases import database, database_url, empty_database, postgres_url
from tests.support.funds import CENT, DAY_MS, NOW_MS, Till, caller

__all__ = ["database", "database_url", "empty_database", "postgres_url"]

NOVEMBER = ("2026-11-01", "2026-11-30")
DECEMBER = ("2026-12-01", "2026-12-31")
OTHER = caller("press", "k9", cost_centre="=1+1")
PUBLISHED = {
    each["column"]: each
    for each in csv.DictReader(io.StringIO((Path(__file__).parent / "focus_1_2.csv").read_text()))
}
SUPPORTED = (
    "ACCOUNT_NAMING_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED", "SUB_ACCOUNT_SUPPORTED",
    "TAGGING_SUPPORTED",
)  # fmt: skip
"""What of the specification's options the export has."""
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NUMBER = re.compile(r"-?\d+\.\d+")


@pytest.fixture
async def till(database: Database) -> Till:
    """On each engine: a file is the same whatever it was read from."""
    return await Till(database).open(callers=(caller(), OTHER))


async def exported(
    till: Till, days: tuple[str, str] = NOVEMBER, zone: str = "UTC"
) -> list[Mapping[str, str]]:
    """The rows as text, None as empty, as the CSV has them."""
    issuer = Issuer("deepshi", ZoneInfo(zone))

    async def read(tx: object) -> list[Mapping[str, str]]:
        found = focus_rows(tx, *days, issuer)  # type: ignore[arg-type]
        return [
            {
                name: "" if each.get(name) is None else str(each[name])
                for name in focus_export.COLUMNS
            }
            async for each in found
        ]

    return await till.database.read(read)


async def two_months(till: Till) -> None:
    """Every sort of row: November closed with an estimate, and what came after it."""
    await till.reserve("a", images=2)
    await till.settle("a", 2 * CENT + 1)
    await till.reserve("b", 3 * CENT, by=OTHER)
    await till.settle("b", None)
    await till.reserve("c", at=NOW_MS - DAY_MS)
    await till.settle("c")
    await corrected(till, "req-c", 3 * CENT, Author("test", NOW_MS))
    await till.reserve("gone")
    await till.settle("gone", None, status=None)
    lines = (
        line("up-a", 2 * CENT + 1), line("up-c", 3 * CENT), line("up-b", 3 * CENT),
        line("lost", CENT, model=""), line("", -CENT), line("", 5 * CENT),
    )  # fmt: skip
    await till.database.write(
        lambda tx: record(tx, [row(1, saved_nanos=CENT, cause="reuse", tags={"project": "atlas"})])
    )
    await reconciled(till, *lines)
    await close(till)
    await corrected(till, "req-a", CENT)
    await reconciled(till, *lines, line("late", 7 * CENT), by=Author("test", DECEMBER_MS))


def of_kind(rows: list[Mapping[str, str]], kind: str) -> list[Mapping[str, str]]:
    return [each for each in rows if each["x_LedgerKind"] == kind]


def test_the_columns_are_those_of_the_specification_with_ours_after_them() -> None:
    ours = [name for name in focus_export.COLUMNS if name.startswith("x_")]
    theirs = [name for name in focus_export.COLUMNS if not name.startswith("x_")]
    assert set(theirs) <= set(PUBLISHED)
    assert {name for name, each in PUBLISHED.items() if each["level"] == "Mandatory"} <= set(theirs)
    assert list(focus_export.COLUMNS) == [*sorted(theirs), *ours]
    assert all(re.fullmatch(r"x_([A-Z][a-z]+)+", name) for name in ours)
    assert len(PUBLISHED) == 57


async def test_every_value_is_of_its_columns_type_and_among_those_allowed(till: Till) -> None:
    await two_months(till)
    rows = await exported(till) + await exported(till, DECEMBER)
    assert {each["x_LedgerKind"] for each in rows} == {"call", "correction", "adjustment", "saving"}
    for each in rows:
        for name, published in PUBLISHED.items():
            if name not in focus_export.COLUMNS:
                continue
            value = each[name]
            if not value:
                assert published["nulls"] == "yes", (name, each)
                continue
            assert not published["values"] or value in published["values"].split("|"), name
            if published["type"] == "Decimal":
                assert NUMBER.fullmatch(value), (name, value)
            if published["type"] == "Date/Time":
                assert MOMENT.fullmatch(value), (name, value)
            if published["type"] == "JSON":
                assert isinstance(json.loads(value), dict), (name, value)


async def test_what_the_specification_asks_of_columns_together(till: Till) -> None:
    await two_months(till)
    for each in await exported(till) + await exported(till, DECEMBER):
        measured = each["ChargeCategory"] == "Usage" and each["ChargeClass"] != "Correction"
        for name in ("PricingQuantity", "PricingUnit", "PricingCategory", "SkuId", "SkuPriceId"):
            assert each[name] or not measured, name
        if measured:
            assert Decimal(each["ConsumedQuantity"]) > 0
        assert bool(each["ConsumedQuantity"]) == bool(each["ConsumedUnit"])
        assert bool(each["SkuMeter"]) == bool(each["SkuId"])
        assert each["BillingCurrency"] == "USD"
        assert each["ChargePeriodStart"] < each["ChargePeriodEnd"]
        late = each["ChargePeriodStart"] < each["BillingPeriodStart"]
        assert late == (each["ChargeClass"] == "Correction")
        assert each["ChargePeriodEnd"] <= each["BillingPeriodEnd"]


async def test_billed_costs_add_up_to_the_ledger_and_to_the_report(till: Till) -> None:
    await two_months(till)
    total = 0
    for days in (NOVEMBER, DECEMBER):
        rows = await exported(till, days)
        billed = sum(Decimal(each["BilledCost"]) for each in rows)
        lines = await till.database.read(lambda tx, days=days: reports.usage_by(tx, "team", *days))  # type: ignore[misc]
        assert nanos_or_minus(billed) == sum(each.spent_nanos for each in lines)
        saved = sum(Decimal(each["x_SavedCost"] or "0") for each in rows)
        assert nanos_of(saved) == sum(each.saved_nanos for each in lines)
        total += nanos_or_minus(billed)
    assert total == (await till.proven()).spent_nanos


def nanos_or_minus(amount: Decimal | int) -> int:
    return int(Decimal(amount) * 10**9)


async def test_corrections_of_an_open_month_are_in_the_call_and_of_a_closed_one_apart(
    till: Till,
) -> None:
    """The class "Correction" is for what corrects a month that was billed already."""
    await two_months(till)
    november, december = await exported(till), await exported(till, DECEMBER)
    assert of_kind(november, "correction") == []
    (call,) = [each for each in november if each["x_LedgerId"] == "c"]
    assert (call["BilledCost"], call["x_Corrections"], call["ChargeClass"]) == ("0.03", "1", "")
    assert {each["ChargeClass"] for each in december} == {"Correction"}
    late = {each["x_LedgerKind"]: each for each in december}
    correction = late["correction"]
    assert correction["x_CorrectedLedgerId"] == "a"
    assert correction["ChargePeriodStart"] == "2026-11-25T00:00:00Z"
    assert correction["BillingPeriodStart"] == "2026-12-01T00:00:00Z"
    assert (late["call"]["BilledCost"], late["call"]["x_UpstreamRequestId"]) == ("0.07", "late")


def validated(python: Path, file: Path, criteria: tuple[str, ...]) -> Mapping[str, str]:
    """What focus-validator says of each rule."""
    command = [str(python.with_name("focus-validator")), "--validate-version", "1.2"]
    chosen = ["--applicability-criteria", ",".join(criteria)] if criteria else []
    told = subprocess.run(
        [*command, *chosen, "--block-download", "--data-file", str(file)],
        cwd=next(python.parents[1].glob("lib/python*/site-packages")),  # where it looks for files
        capture_output=True,
        text=True,
        timeout=120,
    )
    return dict(re.findall(r"(\S+): (PASS|FAIL)\b", told.stdout))


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("days", [NOVEMBER, DECEMBER], ids=["closed", "corrected"])
@pytest.mark.parametrize("criteria", [(), SUPPORTED], ids=["any", "supported"])
async def test_focus_validator_finds_no_fault(
    till: Till, tmp_path: Path, days: tuple[str, str], criteria: tuple[str, ...]
) -> None:
    """Of its rules that an InvoiceId is always null, and that it never is, one always fails.

    They are the alternatives of InvoiceId-C-003-C, which passes.
    """
    python = python_with_focus_validator()
    await two_months(till)
    file = tmp_path / "focus.csv"
    file.write_text(RAW.text(focus_export.COLUMNS, await exported(till, days)))
    rules = await asyncio.to_thread(validated, python, file, criteria)
    assert len(rules) > 100
    assert [rule for rule, result in rules.items() if result == "FAIL"] == ["InvoiceId-C-005-C"]
    assert rules["InvoiceId-C-003-C"] == "PASS"


async def test_what_came_to_nothing_is_no_charge(till: Till) -> None:
    """A call that was booked as an estimate and never billed."""
    await two_months(till)
    assert "gone" not in {each["x_LedgerId"] for each in await exported(till)}


async def test_credits_and_fees_are_what_they_are(till: Till) -> None:
    await two_months(till)
    found = of_kind(await exported(till), "adjustment")
    assert {(each["ChargeCategory"], each["BilledCost"]) for each in found} == {
        ("Credit", "-0.01"), ("Adjustment", "0.05"),
    }  # fmt: skip
    assert {each["ChargeFrequency"] for each in found} == {"One-Time"}
    assert {each["SubAccountId"] for each in found} == {"(unattributed)"}


async def test_savings_cost_nothing_and_say_what_they_are_worth(till: Till) -> None:
    await two_months(till)
    (saving,) = of_kind(await exported(till), "saving")
    assert (saving["BilledCost"], saving["EffectiveCost"], saving["x_SavedCost"]) == (
        "0.00",
        "0.00",
        "0.01",
    )
    assert (saving["x_SavedCause"], saving["ConsumedQuantity"]) == ("reuse", "1.0")
    assert json.loads(saving["Tags"]) == {"project": "atlas"}


async def test_periods_are_those_of_the_settings_time_zone_in_utc(till: Till) -> None:
    there = Till(till.database, zone=ZoneInfo("Europe/Berlin"))
    await there.reserve("a")
    await there.settle("a")
    (only,) = await exported(there, zone="Europe/Berlin")
    assert (only["BillingPeriodStart"], only["BillingPeriodEnd"]) == (
        "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z",
    )  # fmt: skip
    assert only["ChargePeriodStart"] == "2026-11-24T23:00:00Z"
    assert only["x_SettledAt"] == datetime.fromtimestamp(NOW_MS / 1000, UTC).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


async def test_the_order_is_by_day_and_always_the_same(till: Till) -> None:
    await two_months(till)
    first = await exported(till)
    assert first == await exported(till)
    charges = [each["ChargePeriodStart"] for each in first if each["x_LedgerKind"] != "saving"]
    assert charges == sorted(charges)
    assert usd(2 * CENT + 1) in {each["BilledCost"] for each in first}
