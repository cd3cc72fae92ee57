"""`gateway ledger undo`: what it lists, what it says, and what it takes back."""

from __future__ import annotations

import csv
import io
import json

from tests.cli.test_ledger import Fill, Run, fill, loaded, run, state
from tests.cli.test_ledger_reconcile import BILL, Reconcile, book, reconcile, two_calls

__all__ = ["book", "fill", "reconcile", "run", "state"]

DAYS = ("--from", "2026-11-01", "--to", "2026-11-30")


def spent(run: Run) -> str:
    total: str = loaded(run("usage", "--by", "team", *DAYS, "--json"))["total"]["spent_usd"]
    return total


def test_a_batch_is_listed_previewed_and_taken_back(run: Run, fill: Fill, book: Reconcile) -> None:
    fill(two_calls)
    before = spent(run)
    batch = loaded(book(BILL, "--json"))["batch"]
    (listed,) = loaded(run("ledger", "undo", "--list", "--json"))
    assert (listed["id"], listed["kind"], listed["upstream"]) == (batch, "reconcile", "deepshi")
    assert (listed["ledger_rows"], listed["cost_usd"], listed["undone_by"]) == (1, "-0.015", None)
    dry = run("ledger", "undo", batch, "--dry-run")
    assert "1 rows of $-0.015 are to be taken back." in dry.output
    assert spent(run) != before
    done = loaded(run("ledger", "undo", batch, "--json", "--reason", "the wrong bill"))
    assert (done["ledger_rows"], done["cost_usd"]) == (1, "0.015")
    assert spent(run) == before
    assert run("ledger", "verify").exit_code == 0
    audit = loaded(run("audit", "--json"))[-1]
    assert (audit["action"], audit["reason"]) == ("ledger.undo", "the wrong bill")
    again = run("ledger", "undo", batch)
    assert (again.exit_code, "was taken back already" in again.output) == (1, True)


def test_the_rate_is_kept_with_the_batch(run: Run, fill: Fill, book: Reconcile) -> None:
    fill(two_calls)
    euros = BILL.replace("cost_usd", "cost_usd,currency").replace("0.01\n", "0.01,USD\n")
    euros = euros.replace("0.025\n", "0.02,EUR\n")
    assert loaded(book(euros, "--json", "--rate", "EUR=1.08"))["after"]["ledger_usd"] == "0.0316"
    sheet = run("ledger", "undo", "--list", "--csv").stdout
    (listed,) = csv.DictReader(io.StringIO(sheet))
    assert "rates={'EUR': '1.08'}" in listed["facts"]


def test_a_correction_by_hand_says_how_it_is_taken_back(run: Run, fill: Fill) -> None:
    fill(two_calls)
    said = run("ledger", "correct", "req-a", "--cost-usd", "0.5").output
    command = said[said.index("gateway ledger undo") :].partition("`")[0].split()
    assert run(*command[1:]).exit_code == 0
    assert spent(run) == "0.05"


def test_rows_name_their_batch_and_what_they_take_back(
    run: Run, fill: Fill, book: Reconcile
) -> None:
    fill(two_calls)
    batch = loaded(book(BILL, "--json"))["batch"]
    run("ledger", "undo", batch)
    rows = json.loads(run("ledger", "list", *DAYS, "--json").stdout)
    named = {row["id"]: (row["batch"], row["undoes"]) for row in rows if row["corrects"] == "b"}
    assert named == {"b~1": (batch, ""), "b~2": (f"{batch}-undo", "b~1")}


def test_without_a_batch_it_says_what_to_give(run: Run) -> None:
    missing = run("ledger", "undo")
    assert (missing.exit_code, "give a batch, or --list" in missing.output) == (2, True)
    assert run("ledger", "undo", "--list").output.endswith("There is no batch.\n")
    wrong = run("ledger", "undo", "bat_1")
    assert (wrong.exit_code, "there is no batch bat_1" in wrong.output) == (1, True)
