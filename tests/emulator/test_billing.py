"""The provider's books: what they count, and that they are exact."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.emulator import EmulatorServer, EmulatorSettings
from gateway.emulator.billing import NANOS, billed_nanos, usd
from tests.emulator.calling import Caller, edit_files


def test_billed_and_unbilled_calls_are_counted(caller: Caller) -> None:
    caller.edit()
    caller.edit(n="7")
    caller.edit(headers={"authorization": "Bearer wrong"})
    caller.generate()
    assert caller.stats() == {
        "calls": 4,
        "billed_calls": 2,
        "billed_usd": "0.03",
        "billed_nanos": 30_000_000,
        "in_flight": 0,
        "models_calls": 0,
    }


def test_a_statement_row_says_what_was_charged(caller: Caller) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    answer = caller.edit(model="deepshi-multi-1", n="2")
    [row] = caller.http.get("/emulator/statement").json()
    assert before <= datetime.fromisoformat(row.pop("time")) <= datetime.now(UTC)
    assert row == {
        "request_id": answer.headers["x-request-id"],
        "model": "deepshi-multi-1",
        "route": "edits",
        "n": 2,
        "cost_usd": "0.06",
        "cost_nanos": 60_000_000,
        "credential": "ator",
        "status": 200,
        "client_request_id": "",
    }


def test_the_csv_says_the_same_as_the_json(caller: Caller) -> None:
    caller.edit()
    caller.generate()
    answer = caller.http.get("/emulator/statement", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    expected = caller.http.get("/emulator/statement").json()
    assert rows == [{name: str(value) for name, value in row.items()} for row in expected]
    assert [row["route"] for row in rows] == ["edits", "generations"]


def test_the_statement_tells_keys_apart_without_telling_them() -> None:
    settings = EmulatorSettings(keys=("sk-secret-aaaa", "sk-secret-bbbb"))
    with EmulatorServer(settings) as server, httpx.Client(trust_env=False) as http:
        for key in settings.keys:
            http.post(
                f"{server.base_url}/images/edits",
                data={"model": "deepshi-solo-1", "prompt": "grey"},
                files=edit_files(),
                headers={"authorization": f"Bearer {key}"},
            )
    assert [row["credential"] for row in server.statement()] == ["aaaa", "bbbb"]


def test_a_reset_forgets_everything(caller: Caller) -> None:
    caller.edit()
    caller.order(always={"status": 500}, next=[{}])
    stats = caller.http.post("/emulator/reset").json()
    assert (stats["calls"], stats["billed_nanos"]) == (0, 0)
    assert caller.http.get("/emulator/statement").json() == []
    assert caller.edit().status_code == 200


@given(st.integers(min_value=0, max_value=10**20))
def test_an_amount_reads_back_as_it_was_written(nanos: int) -> None:
    assert Decimal(usd(nanos)) * NANOS == nanos
    assert billed_nanos(usd(nanos), price_nanos=-1) == nanos


@pytest.mark.parametrize(
    ("cost", "nanos"),
    [
        (None, 7),
        ("missing", 7),
        ("null", 7),
        ("true", 7),
        ('"0.5"', 7),
        ("-0.5", 7),
        ("NaN", 7),
        ("Infinity", 7),
        ("[1]", 7),
        ("2", 2 * NANOS),
        ("1E-10", 1),
    ],
)
def test_what_is_no_amount_is_billed_at_the_price(cost: str | None, nanos: int) -> None:
    assert billed_nanos(cost, price_nanos=7) == nanos
