"""Traffic full of faults: reconciled with the bill, closed and exported, as documented."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from gateway.model.money import usd
from gateway.model.windows import month_days
from gateway.settings import Settings
from tests.cli.test_ledger_reconcile import traffic
from tests.ledger.test_growth import COARSER

DOCUMENT = Path(__file__).parents[2] / "docs" / "finance.md"
MONTH_THERE = "2026-11"
NAMES = re.compile(r"(prv_|bat_)([0-9a-f]+)\b")
COMMANDS = re.compile(r"^gateway [^#>\n]*", re.MULTILINE)


def two_months_ago() -> date:
    """The middle of a month that is over, like the one after it."""
    first = datetime.fromtimestamp(now_ms() / 1000, UTC).date().replace(day=1)
    for _ in range(2):
        first = (first - timedelta(days=1)).replace(day=1)
    return first.replace(day=15)


def aged(state: Path, days: int) -> None:
    """Make all that is booked so many days older, as if that time had passed."""
    with sqlite3.connect(state) as books:
        for table in ("ledger", "usage_rows", "rollups", "balances", "picture_costs"):
            older = f"UPDATE {table} SET day = date(day, ?) WHERE day <> 'total'"  # noqa: S608
            books.execute(older, (f"-{days} days",))
        for table in ("ledger", "usage_rows"):
            older = f"UPDATE {table} SET at_ms = at_ms - ?"  # noqa: S608
            books.execute(older, (days * 86_400_000,))
        for table in ("month_rollups", "team_rollups"):
            books.execute(f"DELETE FROM {table}")  # noqa: S608
        for statement in COARSER:
            books.execute(statement)
    books.close()


@dataclass(frozen=True)
class Month:
    """A month that is over: its name, the one after it, the state, and what was billed."""

    name: str
    following: str
    state: Path
    billed_nanos: int
    run: Callable[..., Result]


@pytest.fixture
def month(
    settings: Settings, emulator: EmulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Month:
    """Traffic with every fault, of a month that is over, and its `statement.csv`, here."""
    traffic(settings, emulator)
    control = emulator.base_url.removesuffix("/v1")
    answer = httpx.get(f"{control}/emulator/statement", params={"format": "csv"}, trust_env=False)
    days = (datetime.fromtimestamp(now_ms() / 1000, UTC).date() - two_months_ago()).days
    state = Path(settings.state.url.removeprefix("sqlite:"))
    aged(state, days)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    for row in rows:
        moment = datetime.fromisoformat(row["time"]) - timedelta(days=days)
        row["time"] = moment.isoformat().replace("+00:00", "Z")
    with (tmp_path / "statement.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)
    name = two_months_ago().isoformat()[:7]
    following = (two_months_ago() + timedelta(days=31)).isoformat()[:7]
    billed = emulator.stats()["billed_nanos"]

    def run(*arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == status, result.output
        return result

    return Month(name, following, state, billed, run)


def reconcile(month: Month) -> Result:
    """Preview the month's statement, and confirm the preview."""
    command = ("ledger", "reconcile", "--statement", "statement.csv", "--period", month.name)
    shown = CliRunner().invoke(main, [*command, "--json"])
    name = json.loads(shown.stdout)["preview"]
    return month.run(*command, "--confirm", name)


def billed_in(text: str) -> Decimal:
    return sum((Decimal(row["BilledCost"]) for row in csv.DictReader(io.StringIO(text))), Decimal())


def spent(month: Month, name: str) -> str:
    first, last = month_days(name)
    report = month.run("usage", "--by", "team", "--from", first, "--to", last, "--json").stdout
    total: str = json.loads(report)["total"]["spent_usd"]
    return total


def test_a_month_is_reconciled_closed_and_exported_to_the_nano_dollar(month: Month) -> None:
    run = month.run
    refused = run("ledger", "close", month.name, status=1)
    assert "is only estimated" in refused.output
    assert "agree to the nano-dollar" in reconcile(month).output
    assert spent(month, month.name) == usd(month.billed_nanos)
    assert "still estimated" not in run("ledger", "close", month.name).output

    first, again = (
        run("ledger", "export", "--period", month.name, "--format", "focus") for _ in "12"
    )
    assert first.stdout_bytes == again.stdout_bytes
    assert billed_in(first.stdout) == Decimal(usd(month.billed_nanos))
    plain = run("ledger", "export", "--period", month.name).stdout_bytes

    call = next(row for row in csv.DictReader(io.StringIO(plain.decode())) if row["kind"] == "call")
    corrected = run("ledger", "correct", call["request_id"], "--cost-usd", "0.5")
    assert f"the correction is booked in {month.following}-01" in corrected.output
    assert run("ledger", "export", "--period", month.name).stdout_bytes == plain
    assert (
        run("ledger", "export", "--period", month.name, "--format", "focus").stdout_bytes
        == first.stdout_bytes
    )
    assert spent(month, month.name) == usd(month.billed_nanos)
    after = run("ledger", "export", "--period", month.following, "--format", "focus")
    (late,) = csv.DictReader(io.StringIO(after.stdout))
    assert (late["ChargeClass"], late["x_CorrectedLedgerId"]) == ("Correction", call["id"])
    assert late["BilledCost"] == spent(month, month.following)
    assert "are unchanged since they were closed" in run("ledger", "verify").output


def test_a_statement_that_comes_again_after_the_close_is_booked_in_the_month_after(
    month: Month,
) -> None:
    run = month.run
    run("ledger", "close", month.name, "--force-with-estimates")
    before = run("ledger", "export", "--period", month.name).stdout_bytes
    command = ("ledger", "reconcile", "--statement", "statement.csv", "--period", month.name)
    shown = CliRunner().invoke(main, [*command, "--json"])
    booked = reconcile(month)
    assert json.loads(shown.stdout)["booked_in"] == f"{month.following}-01"
    assert "agree to the nano-dollar" in booked.output
    assert run("ledger", "export", "--period", month.name).stdout_bytes == before
    both = Decimal(spent(month, month.name)) + Decimal(spent(month, month.following))
    assert both == Decimal(usd(month.billed_nanos))
    run("ledger", "verify")


def test_the_commands_of_the_documentation_close_a_month(month: Month, tmp_path: Path) -> None:
    commands = COMMANDS.findall(DOCUMENT.read_text())
    assert len(commands) >= 10
    first, last = month_days(month.name)
    names: dict[str, str] = {}
    for command in commands:
        here = command.replace(f"{MONTH_THERE}-01", first).replace(f"{MONTH_THERE}-30", last)
        here = here.replace(MONTH_THERE, month.name).replace("PREVIEW_ID", names.get("prv_", ""))
        _, *arguments = shlex.split(here.replace("BATCH", names.get("bat_", "")))
        if arguments[0] == "reports":
            continue  # tests/project/test_guides.py has a mail server
        output = month.run(*arguments).output
        names |= {kind: f"{kind}{rest}" for kind, rest in NAMES.findall(output)}
    exported = (tmp_path / f"focus-{month.name}.csv").read_text()
    assert billed_in(exported) == Decimal(usd(month.billed_nanos))
    assert (tmp_path / f"ledger-{month.name}.csv").exists()
