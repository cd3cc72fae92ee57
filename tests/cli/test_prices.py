"""`gateway prices confirm`, on a real state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.ledger.tables import price_status

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`gateway ARGUMENTS` on a state in which `m` is stopped."""
    monkeypatch.setenv("GATEWAY_STATE__URL", f"sqlite:{tmp_path / 'gateway.db'}")

    async def stop() -> None:
        database = SqliteDatabase(tmp_path / "gateway.db")
        await migrate(database)
        await database.write(
            lambda tx: price_status.stop(tx, "deepshi", "m", 9_990_000_000, 1, "design")
        )
        await database.close()

    asyncio.run(stop())
    return lambda *arguments: CliRunner().invoke(main, ["prices", "confirm", *arguments])


def test_the_price_that_stopped_a_model_or_another_is_confirmed(run: Run) -> None:
    stopped = run("m", "--json", "--reason", "the new price list")
    other = run("m", "--price-usd", "0.04")
    elsewhere = run("m", "--price-usd", "0.05", "--upstream", "azure")

    assert json.loads(stopped.stdout)["price_usd"] == "9.99"
    assert other.stdout == "The price of m at deepshi is $0.04 a picture.\n"
    assert elsewhere.stdout == "The price of m at azure is $0.05 a picture.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("unseen",), "give the price"),
        (("m", "--price-usd", "much"), "such as 0.04"),
        (("m", "--price-usd=-1"), "such as 0.04"),
        (("m", "--price-usd", "2000000"), "cannot be reserved"),
    ],
)
def test_a_price_that_cannot_be_is_refused_in_one_line(
    run: Run, arguments: tuple[str, ...], says: str
) -> None:
    result = run(*arguments)

    assert result.exit_code != 0
    assert says in result.output
    assert "Traceback" not in result.output
