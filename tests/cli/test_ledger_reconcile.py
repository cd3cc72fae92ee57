"""`gateway ledger reconcile`: statements as they come, what is said of them, and what is booked."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.emulator import EmulatorServer
from gateway.ledger.tables import verify
from gateway.settings import Settings
from tests.cli.test_ledger import Fill, Run, fill, loaded, run, state
from tests.support.funds import CENT, Till
from tests.support.serving import in_state, serving

__all__ = ["fill", "run", "state"]

NOON = "2026-11-25T12:00:00Z"
MONTH = ("--period", "2026-11", "--edge", "0s")
Reconcile = Callable[..., Result]


@pytest.fixture
def reconcile(run: Run, tmp_path: Path) -> Reconcile:
    """Reconciles with a file of this text, or these bytes."""

    def invoke(text: str | bytes, *arguments: str, name: str = "bill.csv") -> Result:
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return run("ledger", "reconcile", "--statement", str(file), *arguments)

    return invoke


@pytest.fixture
def book(reconcile: Reconcile) -> Reconcile:
    """Previews, and confirms the preview."""

    def invoke(text: str | bytes, *arguments: str) -> Result:
        shown = json.loads(reconcile(text, "--json", *arguments).stdout)
        return reconcile(text, *arguments, "--confirm", shown["preview"])

    return invoke


async def two_calls(till: Till) -> None:
    """One that cost a cent, and an estimate of four."""
    await till.reserve("a")
    await till.settle("a")
    await till.reserve("b", 4 * CENT)
    await till.settle("b", None)


BILL = f"request_id,time,cost_usd\nup-a,{NOON},0.01\nup-b,{NOON},0.025\n"


def test_a_dry_run_says_what_would_be_booked_and_books_nothing(
    run: Run, fill: Fill, reconcile: Reconcile
) -> None:
    fill(two_calls)
    result = reconcile(BILL, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "1 calls agree" in result.output
    assert "1 differing." in result.output
    assert "Not booked: this was a dry run." in result.output
    days = ("--from", "2026-11-25", "--to", "2026-11-25")
    assert len(loaded(run("ledger", "list", *days, "--json"))) == 2
    again = loaded(reconcile(BILL, "--json", "--dry-run"))
    assert (again["applied"], again["differing"], again["difference_usd"]) == (False, 1, "0.015")


def test_it_is_booked_and_said_that_both_agree(
    run: Run, fill: Fill, reconcile: Reconcile, book: Reconcile
) -> None:
    fill(two_calls)
    result = book(BILL, "--reason", "bill 4711")
    assert result.exit_code == 0, result.output
    assert "agree to the nano-dollar" in result.output
    assert "difference                      $0\n" in result.output
    assert run("ledger", "verify").exit_code == 0
    line = loaded(run("audit", "--json"))[-1]
    assert (line["action"], line["reason"]) == ("ledger.reconcile", "bill 4711")
    after = loaded(reconcile(BILL, "--json"))
    assert (after["applied"], after["agreed"], after["rows"]) == (False, 2, [])


def test_it_is_shown_which_upstreams_of_a_month_are_reconciled(
    fill: Fill,
    reconcile: Reconcile,
    book: Reconcile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "several.toml"
    file.write_text("[upstreams.openai]\n[upstreams.azure]\n")
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    fill(two_calls)
    which = reconcile(BILL, *MONTH)
    assert (which.exit_code, "--upstream: name the upstream" in which.output) == (2, True)
    of_openai = (*MONTH, "--upstream", "openai")
    assert (
        "Reconciled in 2026-11: openai not yet, azure not yet."
        in reconcile(BILL, *of_openai).output
    )
    batch = loaded(book(BILL, "--json", *of_openai))["batch"]
    shown = reconcile(BILL, *MONTH, "--upstream", "azure").output
    assert f"Reconciled in 2026-11: openai {batch}, azure not yet." in shown
    misspelt = reconcile(BILL, *MONTH, "--upstream", "azur")
    assert (misspelt.exit_code, "Did you mean 'azure'?" in misspelt.output) == (2, True)


def test_a_preview_shows_the_first_lines_as_they_are_read(fill: Fill, reconcile: Reconcile) -> None:
    fill(two_calls)
    noon = "25.11.2026 12:00"
    german = f"request_id;time;cost_usd\nup-a;{noon};0,01\nup-b;{noon};1.000,00-\n"
    shown = reconcile(german, "--json", "--numbers", "german", "--dates", "german")
    found = json.loads(shown.stdout)
    assert [(each["read_as"], each["cost_usd"]) for each in found["first_lines"]] == [
        ("2026-11-25T12:00:00Z", "0.01"),
        ("2026-11-25T12:00:00Z", "-1000.00"),
    ]
    assert "other ways are --numbers us, german" in reconcile(german).output


def test_a_large_change_needs_to_be_allowed(run: Run, fill: Fill, reconcile: Reconcile) -> None:
    fill(two_calls)
    text = BILL.replace("0.025", "2.025")
    shown = reconcile(text)
    assert shown.exit_code == 1
    assert "it changes $1.985, 98 % of $2.035 (if it is right: --allow-change 98)" in shown.output
    name = next(word for word in shown.output.split() if word.startswith("prv_"))
    assert reconcile(text, "--confirm", name).exit_code == 1
    assert len(loaded(run("ledger", "undo", "--list", "--json"))) == 0
    assert reconcile(text, "--confirm", name, "--allow-change", "98").exit_code == 0


def typed(arguments: list[str], answer: str) -> tuple[int, str]:
    """The command on a terminal, where somebody types this."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gateway", *arguments]
    try:
        os.write(ours, answer.encode())
        done = subprocess.run(
            command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return done.returncode, done.stdout + done.stderr


def test_a_person_is_asked_first(fill: Fill, reconcile: Reconcile, tmp_path: Path) -> None:
    fill(two_calls)
    assert loaded(reconcile(BILL, "--json", "--dry-run"))["differing"] == 1
    arguments = ["ledger", "reconcile", "--statement", str(tmp_path / "bill.csv")]
    status, said = typed(arguments, "n\n")
    assert (status, "Add 1 row to the ledger? [y/N]" in said) == (1, True)
    assert loaded(reconcile(BILL, "--json", "--dry-run"))["differing"] == 1
    status, said = typed(arguments, "y\n")
    assert (status, "agree to the nano-dollar" in said, "Booked as bat_" in said) == (0, True, True)
    assert loaded(reconcile(BILL, "--json", "--dry-run"))["differing"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + BILL,
        BILL.replace("\n", "\r\n"),
        BILL.replace(",", ";"),
        json.dumps(list(csv.DictReader(io.StringIO(BILL)))),
        json.dumps({"period": "x", "data": list(csv.DictReader(io.StringIO(BILL)))}),
        "\n".join(json.dumps(row) for row in csv.DictReader(io.StringIO(BILL))),
        f'[{{"request_id": "up-a", "time": "{NOON}", "cost_usd": 0.01}},'
        f' {{"request_id": "up-b", "time": "{NOON}", "cost_usd": 0.0250}}]',
    ],
    ids=["bom", "crlf", "semicolons", "json", "json-object", "json-lines", "json-numbers"],
)
def test_statements_come_in_many_forms(fill: Fill, book: Reconcile, text: str) -> None:
    fill(two_calls)
    found = loaded(book(text, "--json"))
    assert (found["agreed"], found["differing"], found["after"]["difference_usd"]) == (1, 1, "0")


def test_columns_are_what_the_settings_and_the_flags_say(
    fill: Fill, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(two_calls)
    text = BILL.replace("request_id,time,cost_usd", "Call,Billed at,Amount")
    monkeypatch.setenv("GATEWAY_STATEMENT__REQUEST_ID", "Call")
    flags = ("--column", "cost=Amount", "--column", "time=Billed at")
    assert loaded(reconcile(text, "--json", *flags))["agreed"] == 1
    wrong = reconcile(text, "--column", "price=Amount")
    assert wrong.exit_code == 2
    assert "'price=Amount' is no NAME=COLUMN" in wrong.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("request_id,time,cost\n", "has no column 'cost_usd': is it 'cost'?"),
        ("time,cost_usd,time\n", "has two columns 'time'"),
        (BILL + "up-c,2026\n", "line 4 has not as many cells"),
        (BILL + f"up-c,{NOON},free\n", "line 4: cost_usd is 'free', which is no amount"),
        (BILL + f"up-c,{NOON},0.01\nup-d,soon,0.01\n", "line 5: time is 'soon'"),
        ("currency," + BILL.replace("up-", "EUR,up-"), "line 2: the amount is in EUR"),
        (BILL + f"up-a,{NOON},0.01\n", "lines 2, 4 are there more than once"),
        (b"\xff\xfeb\x00i\x00", "is not UTF-8 but UTF-16: give --encoding utf-16"),
        (b"request_id,time,cost_usd\n\xff\xfe,x,1\n", "is not UTF-8"),
        ('[{"time": 1', "is no JSON"),
        ("[1]", "line 1 is no JSON object"),
        ("request_id,time,cost_usd\n", "it has no lines: was the file cut off"),
        ("time,cost_usd\n2026-11-25,0.01\n", "no line has the id of a call"),
        ('{"data": [], "has_more": true}', "is one page of several"),
    ],
)
def test_what_is_wrong_with_a_statement_is_said_and_nothing_is_booked(
    fill: Fill, reconcile: Reconcile, text: str | bytes, said: str
) -> None:
    fill(two_calls)
    result = reconcile(text)
    assert result.exit_code == 1
    assert said in result.output
    assert loaded(reconcile(BILL, "--json", "--dry-run"))["differing"] == 1


def test_many_bad_lines_are_not_all_listed(reconcile: Reconcile) -> None:
    result = reconcile("time,cost_usd\n" + "now,1\n" * 30)
    assert result.output.count("which is no time") == 10
    assert "20 more lines can't be read" in result.output


def test_a_header_alone_is_no_month_without_costs(fill: Fill, reconcile: Reconcile) -> None:
    fill(two_calls)
    refused = reconcile("request_id,time,cost_usd\n", *MONTH)
    assert (refused.exit_code, "it has no lines" in refused.output) == (1, True)


def test_a_statement_that_ends_before_the_ledger_does_is_asked_about(
    fill: Fill, reconcile: Reconcile
) -> None:
    async def in_june(till: Till) -> None:
        from_ms = 1_750_000_000_000  # 2025-06-15
        await till.reserve("a", at=from_ms)
        await till.settle("a", at=from_ms)

    fill(in_june)
    text = "request_id,time,cost_usd\nu1,2025-06-02T00:00:00Z,0.01\n"
    said = reconcile(text, "--period", "2025-06", "--dry-run").output
    assert "1 of the extra calls are later than its last line: is it whole?" in said


def test_a_month_that_is_not_over_is_compared_up_to_the_statements_last_line(
    fill: Fill, reconcile: Reconcile
) -> None:
    fill(two_calls)
    early = "2099-11-25T12:00:00Z"
    text = f"request_id,time,cost_usd\n,{early},0.01\nu1,{early},0.01\n"
    found = loaded(reconcile(text, "--period", "2099-11", "--json"))
    assert (found["extra"], found["adjustments"]) == (0, 1)


def test_thousands_of_lines_are_booked_in_parts(
    run: Run, fill: Fill, reconcile: Reconcile, book: Reconcile
) -> None:
    fill(two_calls)
    text = BILL + "".join(f"u{number},{NOON},0.001\n" for number in range(1_050))
    found = loaded(book(text, "--json", "--allow-change", "100"))
    assert (found["missing"], found["after"]["difference_usd"]) == (1_050, "0")
    assert found["after"]["ledger_usd"] == "1.085"
    told = [line for line in loaded(run("audit", "--json")) if line["action"] == "ledger.reconcile"]
    assert [line["new"].get("missing") for line in told] == [None, *[100] * 10, 50]
    assert run("ledger", "verify").exit_code == 0
    assert {line["new"]["batch"] for line in told} == {found["batch"]}
    shown = reconcile(text.replace("0.001", "0.00101"), "--dry-run")
    assert "… and 1000 more: --csv has them all." in shown.output
    sheet = reconcile(text.replace("0.001", "0.00101"), "--dry-run", "--csv")
    assert len(list(csv.DictReader(io.StringIO(sheet.stdout)))) == 1_050


# --- with a real bill -----------------------------------------------------------------------

FAULTS: tuple[dict[str, Any], ...] = (
    {},
    {"cost": "missing"},  # an estimate
    {"reset_before_read": True},  # booked as sent, never billed
    {"reset_after_read": True},  # billed, the answer lost
    {"garbage": True},
    {"status": 503, "bill": True},  # billed though it failed; the next try succeeds
    {"cost": Decimal("0.0123456789")},
    {"truncate": True},
    {},
)


def traffic(settings: Settings, emulator: EmulatorServer) -> None:
    """Edits that go wrong in every way that makes the books differ from the bill."""
    with serving(settings) as gateway:
        for number, fault in enumerate(FAULTS):
            emulator.order(fault)
            gateway.edit(f"picture {number}")
        gateway.edit("picture 0")  # a hit


@pytest.mark.parametrize("form", ["csv", "json"])
def test_after_traffic_full_of_faults_the_ledger_is_the_emulators_bill(
    settings: Settings, emulator: EmulatorServer, tmp_path: Path, form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    traffic(settings, emulator)
    monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)
    control = emulator.base_url.removesuffix("/v1")
    answer = httpx.get(f"{control}/emulator/statement", params={"format": form}, trust_env=False)
    file = tmp_path / f"bill.{form}"
    file.write_bytes(answer.content)
    arguments = ["ledger", "reconcile", "--statement", str(file), "--edge", "0s", "--json"]
    shown = json.loads(CliRunner().invoke(main, arguments).stdout)
    found = loaded(CliRunner().invoke(main, [*arguments, "--confirm", shown["preview"]]))
    assert (found["missing"], found["extra"]) == (1, 1)
    assert found["differing"] + found["confirmed"] == 4
    assert found["difference_usd"] != "0"
    assert found["after"]["difference_usd"] == "0"
    proof = in_state(settings, verify.verify)
    assert (proof.differences, proof.estimated_calls) == ((), 0)
    assert proof.spent_nanos == emulator.stats()["billed_nanos"]
    again = loaded(CliRunner().invoke(main, arguments))
    assert (again["applied"], again["rows"]) == (False, [])
