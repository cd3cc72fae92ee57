"""`gateway check --try-edit`: one smallest edit, its price first, bought and booked as a key's."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.emulator import EmulatorServer, EmulatorSettings
from gateway.ledger.tables import reports, verify
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.settings import Settings
from gateway.upstream.adapters import ADAPTERS
from tests.support.serving import KEY, in_state, make_key, settings_for

Check = Callable[..., Result]


@pytest.fixture(scope="module")
def openai() -> Iterator[EmulatorServer]:
    with EmulatorServer(EmulatorSettings(api="openai")) as server:
        yield server


class Place:
    """A folder with the settings of a gateway in front of an emulator, and its state."""

    def __init__(
        self, folder: Path, emulator: EmulatorServer, *, more: str = "", **upstream: object
    ) -> None:
        self.emulator = emulator
        emulator.reset()
        self.settings: Settings = settings_for(folder, emulator, {"upstream": upstream})
        self.file = folder / "gateway.toml"
        given = {"base_url": emulator.base_url, "api_key": emulator.api_key, **upstream}
        lines = [f"{name} = {value!r}" for name, value in given.items()]
        self.file.write_text(
            "\n".join(["[upstream]", *lines])
            + f'\n[state]\nurl = "sqlite:{folder}/gateway.db"\n'
            + f'[cache]\nurl = "disk:{folder}/cache"\n{more}'
        )

    @property
    def command(self) -> list[str]:
        return ["check", "--config", str(self.file), "--try-edit"]

    def check(self, *more: str) -> Result:
        return CliRunner().invoke(main, [*self.command, *more])

    def rows(self) -> list[LedgerRow]:
        return in_state(
            self.settings, lambda tx: reports.ledger_rows(tx, "2000-01-01", "9999-12-31")
        )


@pytest.fixture
def place(tmp_path: Path, openai: EmulatorServer) -> Place:
    return Place(tmp_path, openai, name="openai")


def said(result: Result) -> list[str]:
    """What is said of the edit."""
    assert "Traceback" not in result.output
    return [line[10:] for line in result.output.splitlines() if line.startswith("try edit")]


def test_the_smallest_edit_is_bought_and_booked_as_the_keys(place: Place) -> None:
    key_id = make_key(place.settings)
    result = place.check("--yes")
    billed = place.emulator.stats()
    (row,) = place.rows()
    offer, bought = said(result)

    assert result.exit_code == 0
    assert offer == (
        "one edit of gpt-image-1-mini at openai/gpt-image-1-mini, quality low, size 1024x1024: at "
        "most $0.0068325, paid by the key design/first"
    )
    assert bought.startswith("a picture from openai in ")
    assert bought.endswith(f"Booked for {row.request_id}: ${billed['billed_usd']} (computed).")
    assert (row.key_id, row.cost_nanos) == (key_id, billed["billed_nanos"])
    assert (row.quality, row.size) == ("low", "1024x1024")
    assert 0 < row.cost_nanos <= 6_832_500
    assert in_state(place.settings, verify.verify).differences == ()


def test_each_time_it_is_bought_anew(place: Place) -> None:
    make_key(place.settings)
    assert [place.check("--yes").exit_code for _ in range(2)] == [0, 0]
    assert place.emulator.stats()["billed_calls"] == len(place.rows()) == 2


def test_without_a_terminal_the_price_is_said_and_nothing_is_bought(place: Place) -> None:
    make_key(place.settings)
    result = place.check()
    assert result.exit_code == 2
    assert "at most $0.0068325" in result.output
    assert "confirm it with --yes" in result.output
    assert (place.emulator.stats()["calls"], place.rows()) == (0, [])


@pytest.mark.parametrize(("answer", "bought"), [("n\n", 0), ("y\n", 1)])
def test_a_person_is_asked_after_the_price(place: Place, answer: str, bought: int) -> None:
    make_key(place.settings)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *place.command],
            stdin=theirs, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "at most $0.0068325" in done.stdout
    assert "Buy it? [y/N]" in done.stderr
    assert ("not made" in done.stdout) == (not bought)
    assert place.emulator.stats()["calls"] == len(place.rows()) == bought


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"team_terms": {"budget_usd": "0.0068"}}, "insufficient_quota"),
        ({"key_terms": {"budget_usd": "0.0068"}}, "insufficient_quota"),
        ({"key_terms": {"paid_images_per_day": 0}}, "insufficient_quota"),
    ],
)
def test_no_budget_is_passed(place: Place, terms: dict[str, Any], code: str) -> None:
    make_key(place.settings, **terms)
    result = place.check("--yes")
    assert result.exit_code == 1
    assert said(result)[0].startswith(f"FAULT: {code}: ")
    assert (place.emulator.stats()["calls"], place.rows()) == (0, [])


def test_while_spending_is_paused_nothing_is_bought(place: Place) -> None:
    make_key(place.settings)
    paused = CliRunner().invoke(main, ["pause", "--team", "design", "--config", str(place.file)])
    assert paused.exit_code == 0, paused.output
    assert said(place.check("--yes"))[0].startswith("FAULT: spending_paused: ")
    assert (place.emulator.stats()["calls"], place.rows()) == (0, [])


def test_only_a_model_that_the_key_may_use_is_edited(place: Place) -> None:
    make_key(place.settings, key_terms={"models": ["gpt-image-1.5"]})
    assert "one edit of gpt-image-1.5 at" in said(place.check("--yes"))[0]
    (refused,) = said(place.check("--yes", "--model", "gpt-image-1"))
    assert refused.startswith("FAULT: model_not_allowed: ")
    assert place.emulator.stats()["calls"] == 1


def test_a_call_that_may_have_been_charged_is_booked_at_its_ceiling(place: Place) -> None:
    make_key(place.settings)
    place.emulator.order({"status": 500})
    result = place.check("--yes")
    (row,) = place.rows()
    assert result.exit_code == 1
    assert said(result)[1].startswith("FAULT: upstream_failed: ")
    assert said(result)[1].endswith(f"Booked for {row.request_id}: $0.0068325 (estimated).")
    assert (row.cost_nanos, row.cost_kind) == (6_832_500, "estimated")


def test_a_call_that_is_not_charged_books_nothing(place: Place) -> None:
    make_key(place.settings)
    place.emulator.order({"status": 400})
    result = place.check("--yes")
    assert result.exit_code == 1
    assert said(result)[1].startswith("FAULT: upstream_refused: ")
    assert sum(row.cost_nanos for row in place.rows()) == 0


def test_of_several_keys_one_has_to_be_named(place: Place) -> None:
    make_key(place.settings)
    second = make_key(place.settings, name="second", secret=f"{KEY}-2")
    (asked,) = said(place.check("--yes"))
    assert asked.startswith("FAULT: name the key that pays with --key: design/")
    assert {"design/first", "design/second"} == set(asked.partition("--key: ")[2].split(", "))
    assert place.check("--yes", "--key", "design/second").exit_code == 0
    assert [row.key_id for row in place.rows()] == [second]
    assert "There is no key" in said(place.check("--yes", "--key", "design/third"))[0]


def test_without_a_state_nothing_is_bought_or_made(place: Place, tmp_path: Path) -> None:
    result = place.check("--yes")
    assert result.exit_code == 1
    assert "no state to book it in; gateway init" in said(result)[0]
    assert not (tmp_path / "gateway.db").exists()
    assert place.emulator.stats()["calls"] == 0


def test_where_a_fault_was_found_nothing_is_bought(tmp_path: Path, openai: EmulatorServer) -> None:
    place = Place(tmp_path, openai, name="openai", more='[prices]\nfile = "none.toml"\n')
    make_key(place.settings)
    assert said(place.check("--yes")) == ["FAULT: not made, because of the faults above"]
    assert openai.stats()["calls"] == 0


def test_options_of_the_edit_belong_to_it(place: Place) -> None:
    result = CliRunner().invoke(main, ["check", "--config", str(place.file), "--model", "m"])
    assert result.exit_code == 2
    assert "belong to --try-edit" in result.output


@pytest.mark.parametrize("api", ADAPTERS)
def test_every_upstream_takes_its_smallest_edit(tmp_path: Path, api: str) -> None:
    deployment: dict[str, Any] = {"models": ["img-prod"]} if api == "azure" else {}
    priced = '[models.gpt-image-1]\ntargets = ["azure/img-prod"]\n' if api == "azure" else ""
    with EmulatorServer(EmulatorSettings(api=api)) as emulator:
        place = Place(tmp_path, emulator, more=priced, api=api, **deployment)
        make_key(place.settings)
        result = place.check("--yes")
        assert result.exit_code == 0, result.output
        assert [row.cost_nanos for row in place.rows()] == [emulator.stats()["billed_nanos"]]
