"""`gateway ledger reprice`, on a real state: previewed, audited, and repeated in vain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.accounts.tables import audit
from gateway.cli import main
from gateway.database.database import Transaction
from gateway.database.migrate import migrate
from gateway.database.sqlite import SqliteDatabase
from gateway.ledger.tables import reports, reserve_settle, verify
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.model.reservation import Settlement
from gateway.model.token_usage import TokenUsage
from tests.support.funds import CENT, NOW_MS, TODAY, Till
from tests.support.statements import money_in

Run = Callable[..., Result]
USAGE = TokenUsage(text_in=100, image_in=1_000, image_out=1_000)
OLD = Settlement(
    CENT, 200, cost_kind="computed", usage=USAGE, computed_nanos=CENT, price_version="old"
)
NEW_NANOS = 100 * 5_000 + 1_000 * 10_000 + 1_000 * 50_000
TABLE = """version = "new"
[[price]]
models = ["m"]
valid_from = 2026-11-01
text_in = 5
image_in = 10
image_out = 50
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


def in_database(file: Path, work: Callable[[SqliteDatabase], Any]) -> Any:
    async def run() -> Any:
        database = SqliteDatabase(file)
        await migrate(database)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


@pytest.fixture
def run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A state with a computed call, a stated one, an estimate with tokens and one without."""
    table = tmp_path / "prices.toml"
    table.write_text(TABLE)
    monkeypatch.setenv("GATEWAY_STATE__URL", f"sqlite:{file}")
    monkeypatch.setenv("GATEWAY_PRICES__FILE", str(table))

    async def buy(database: SqliteDatabase) -> None:
        till = await Till(database).open()
        calls = {
            "computed": OLD,
            "stated": Settlement(CENT, 200, usage=USAGE),
            "counted": Settlement(None, 200, usage=USAGE),
            "lost": Settlement(None),
        }
        for name, settlement in calls.items():
            await till.reserve(name, 9 * CENT, model="m")

            async def settle(
                tx: Transaction, name: str = name, settlement: Settlement = settlement
            ) -> None:
                await reserve_settle.settle(tx, name, settlement, now_ms=NOW_MS, zone=till.zone)

            await database.write(settle)

    in_database(file, buy)
    common = ("ledger", "reprice", "--from", TODAY, "--to", TODAY)
    return lambda *arguments: CliRunner().invoke(main, [*common, *arguments])


def rows_of(file: Path) -> list[LedgerRow]:
    async def read(database: SqliteDatabase) -> list[LedgerRow]:
        return await database.read(lambda tx: reports.ledger_rows(tx, "2000-01-01", "9999-12-31"))

    found: list[LedgerRow] = in_database(file, read)
    return found


def test_a_preview_books_nothing(run: Run, file: Path) -> None:
    result = run("--price-version", "new", "--dry-run")
    assert result.exit_code == 0
    assert "m: 2 calls booked at $0.10 cost $0.121 by the prices new" in result.output
    assert len(rows_of(file)) == 4


def test_computed_costs_and_counted_estimates_get_the_new_price(run: Run, file: Path) -> None:
    result = run("--price-version", "new", "--yes", "--json", "--reason", "contract of November")
    found = json.loads(result.stdout)
    assert found["corrections"] == 2
    assert {row["request_id"] for row in found["rows"]} == {"req-computed", "req-counted"}
    corrections = [row for row in rows_of(file) if row.kind == "correction"]
    assert {row.corrects: row.cost_nanos for row in corrections} == {
        "computed": NEW_NANOS - CENT,
        "counted": NEW_NANOS - 9 * CENT,
    }
    assert {(row.cost_kind, row.price_version) for row in corrections} == {("computed", "new")}

    async def read(database: SqliteDatabase) -> Any:
        verified = await database.read(verify.verify)
        return verified, await database.read(lambda tx: audit.list_audit(tx))

    verified, entries = in_database(file, read)
    assert verified.differences == ()
    (entry,) = [entry for entry in entries if entry.action == "ledger.reprice"]
    assert entry.reason == "contract of November"


def test_a_repeated_repricing_books_nothing(run: Run, file: Path) -> None:
    assert run("--price-version", "new", "--yes").exit_code == 0
    before = rows_of(file)
    again = run("--price-version", "new", "--yes")
    assert again.stdout == "Every computed cost is that of the prices new.\n"
    assert rows_of(file) == before


def test_a_repricing_is_taken_back_and_can_be_repeated(run: Run, file: Path) -> None:
    async def money(database: SqliteDatabase) -> Any:
        verified = await database.read(verify.verify)
        assert verified.differences == ()
        return await money_in(database), verified.estimated_calls

    before = in_database(file, money)
    for _ in range(2):
        found = json.loads(run("--price-version", "new", "--yes", "--json").stdout)
        assert found["corrections"] == 2
        done = CliRunner().invoke(main, ["ledger", "undo", found["batch"]])
        assert (done.exit_code, in_database(file, money)) == (0, before)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--price-version", "other", "--yes"), "has version 'new', not 'other'"),
        (("--yes",), "Missing option '--price-version'"),
    ],
)
def test_what_is_not_said_books_nothing(
    run: Run, file: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert says in result.output
    assert len(rows_of(file)) == 4
