"""`gateway ledger close` and `export`: what a person is told, and what is written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from gateway.queries.models.ledger import LEDGER_COLUMNS
from tests.cli.test_ledger import Fill, Run, fill, loaded, run, sheet, state
from tests.support.funds import CENT, Till

__all__ = ["fill", "run", "state"]

JUNE_MS = 1_750_000_000_000  # 2025-06-15T15:06:40Z
JUNE = ("--period", "2025-06")


async def a_june(till: Till) -> None:
    """One call of a cent and an estimate of three."""
    await till.reserve("a", at=JUNE_MS)
    await till.settle("a", at=JUNE_MS)
    await till.reserve("b", 3 * CENT, at=JUNE_MS)
    await till.settle("b", None, at=JUNE_MS)


async def a_call_in_june(till: Till) -> None:
    await till.reserve("a", at=JUNE_MS)
    await till.settle("a", at=JUNE_MS)


def test_a_month_is_closed_and_listed(run: Run, fill: Fill) -> None:
    fill(a_call_in_june)
    assert "No month is closed.\n" in run("ledger", "close", "--list").stderr
    said = run("ledger", "close", "2025-06", "--reason", "agrees").output
    assert "2025-06 (UTC) is closed: nothing more is booked in it." in said
    assert "1 ledger rows: $0.01 spent" in said
    (listed,) = loaded(run("ledger", "close", "--list", "--json"))
    assert (listed["period"], listed["spent_usd"], listed["estimated_calls"]) == (
        "2025-06",
        "0.01",
        0,
    )
    assert f"sha256 {listed['digest']}" in said
    (row,) = sheet(run("ledger", "close", "--list", "--csv"))
    assert row["digest"] == listed["digest"]
    assert "was already closed, at" in run("ledger", "close", "2025-06").output
    assert loaded(run("ledger", "close", "2025-06", "--json")) == listed
    (line,) = [each for each in loaded(run("audit", "--json")) if each["action"] == "ledger.close"]
    assert (line["subject"], line["reason"]) == ("period:2025-06", "agrees")


def test_why_a_month_is_not_closed_is_said(run: Run, fill: Fill) -> None:
    fill(a_june)
    estimated = run("ledger", "close", "2025-06")
    assert estimated.exit_code == 1
    assert (
        "2025-06 is not closed: the cost of 1 call of 2025-06 is only estimated" in estimated.output
    )
    assert (
        "months are closed in order: close 2025-06 first"
        in run("ledger", "close", "2025-07").output
    )
    assert "is not over" in run("ledger", "close", "2099-01").output
    assert run("ledger", "close", "June").exit_code == 2
    assert "give a month, such as 2026-11, or --list" in run("ledger", "close").output
    forced = run("ledger", "close", "2025-06", "--force-with-estimates")
    assert forced.exit_code == 0
    assert "1 calls are still estimated" in forced.output


def test_verify_says_that_closed_months_are_as_they_were(run: Run, fill: Fill, state: Path) -> None:
    fill(a_call_in_june)
    run("ledger", "close", "2025-06")
    assert "Closed months, until 2025-06-30, are unchanged" in run("ledger", "verify").output

    async def tamper(till: Till) -> None:
        await till.database.write(lambda tx: tx.fetch("UPDATE ledger SET model = 'another'"))

    fill(tamper)
    found = run("ledger", "verify")
    assert found.exit_code == 1
    assert "closed digest" in found.output


def test_the_ledger_is_exported_as_csv_and_as_json_lines(
    run: Run, fill: Fill, tmp_path: Path
) -> None:
    fill(a_june)
    result = run("ledger", "export", *JUNE)
    assert "is not closed: its rows can still change" in result.stderr
    rows = sheet(result)
    assert tuple(rows[0]) == LEDGER_COLUMNS
    assert [row["cost_usd"] for row in rows] == ["0.01", "0.03"]
    lines = run("ledger", "export", *JUNE, "--format", "json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b"]
    days = ("--from", "2025-06-15", "--to", "2025-06-15")
    assert sheet(run("ledger", "export", *days)) == rows
    assert sheet(run("ledger", "export", "--period", "2025-07")) == []


def test_an_export_is_written_to_a_file_whole_or_not_at_all(
    run: Run, fill: Fill, tmp_path: Path
) -> None:
    fill(a_june)
    file = tmp_path / "out" / "focus.csv"
    missing = run("ledger", "export", *JUNE, "--format", "focus", "--output", str(file))
    assert missing.exit_code == 2
    assert "can't be written" in missing.output
    file.parent.mkdir()
    file.touch(mode=0o666)
    assert run("ledger", "export", *JUNE, "--format", "focus", "--output", str(file)).exit_code == 0
    assert len(list(csv.DictReader(io.StringIO(file.read_text())))) == 2
    assert [each.name for each in file.parent.iterdir()] == ["focus.csv"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_no_range_is_said(run: Run, fill: Fill) -> None:
    fill(a_june)
    assert run("ledger", "export", *JUNE, "--from", "2025-06-01").exit_code == 2
    assert "is not a month" in run("ledger", "export", "--period", "2025-6").output


def test_names_that_a_sheet_takes_for_formulas_are_texts_and_amounts_are_numbers(
    run: Run, fill: Fill
) -> None:
    fill(a_june)

    async def rename(till: Till) -> None:
        await till.database.write(lambda tx: tx.fetch("UPDATE ledger SET cost_centre = '=1+1'"))
        await till.database.write(lambda tx: tx.fetch("UPDATE ledger SET cost_nanos = -5, id = '~'"
                                                      " WHERE id = 'b'"))  # fmt: skip

    fill(rename)
    rows = sheet(run("ledger", "export", *JUNE))
    assert {row["cost_centre"] for row in rows} == {"'=1+1"}
    assert [row["cost_usd"] for row in rows] == ["0.01", "-0.000000005"]
    raw = sheet(run("ledger", "export", *JUNE, "--csv-raw"))
    assert {row["cost_centre"] for row in raw} == {"=1+1"}
    focus = sheet(run("ledger", "export", *JUNE, "--format", "focus"))
    assert {row["x_CostCentre"] for row in focus} == {"=1+1"}
    assert [row["BilledCost"] for row in focus] == ["0.01", "-0.000000005"]


def test_a_closed_month_stays_in_the_time_zone_that_it_was_closed_in(
    run: Run, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(a_call_in_june)
    run("ledger", "close", "2025-06")
    before = run("ledger", "export", *JUNE, "--format", "focus").stdout_bytes
    monkeypatch.setenv("GATEWAY_SERVER__TIMEZONE", "Europe/Berlin")
    assert run("ledger", "export", *JUNE, "--format", "focus").stdout_bytes == before
    assert b"2025-06-01T00:00:00Z" in before
