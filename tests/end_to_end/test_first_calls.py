"""First calls: one call of a model at a time, over all processes, until its price is known."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables import price_status
from gateway.settings import Settings
from tests.support.crowds import ask
from tests.support.serving import (
    GatewayProcess,
    Overrides,
    Running,
    Served,
    author,
    in_state,
    make_key,
    serving,
    settings_for,
    tables_of,
)
from tests.support.waiting import let_go, until

MODEL = "deepshi-image-1"
ALONE: Overrides = {"upstream": {"first_call_alone": True}, "state": {"lease_seconds": 1}}


@contextmanager
def gateways(folder: Path, emulator: EmulatorServer) -> Iterator[tuple[Running, Running]]:
    """Two gateways that share a state, on threads of this process."""
    settings = settings_for(folder, emulator, ALONE)
    make_key(settings)
    with serving(settings) as one, serving(settings) as other:
        yield one, other


def burst(urls: list[str], count: int) -> list[httpx.Response]:
    """So many different edits at once, spread over these gateways."""

    async def all_at_once() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, trust_env=False) as client:
            edits = (ask(client, urls[n % len(urls)], prompt=f"edit {n}") for n in range(count))
            return await asyncio.gather(*edits)

    return asyncio.run(all_at_once())


def outcome(answer: httpx.Response) -> str:
    return "200" if answer.status_code == 200 else str(answer.json()["error"]["code"])


@pytest.mark.parametrize(("cost", "booked"), [("9.99", "9.99"), ("1000", "0.01")])
def test_a_burst_of_first_calls_far_above_their_price_pays_for_one(
    tmp_path: Path, emulator: EmulatorServer, cost: str, booked: str
) -> None:
    settings = settings_for(tmp_path, emulator, ALONE)
    make_key(settings, team_terms={"budget_usd": "1"})
    emulator.order(always={"cost": Decimal(cost), "latency_seconds": 0.5})
    tables = tables_of(tmp_path, emulator, ALONE)
    with (
        GatewayProcess(tables, tmp_path / "one") as one,
        GatewayProcess(tables, tmp_path / "other") as other,
    ):
        answers = burst([one.url, other.url], 100)
        later = one.edit("one more")

    paid = [answer for answer in answers if answer.status_code == 200]
    assert Counter(map(outcome, answers)) == {"200": 1, "price_unconfirmed": 99}
    assert [answer.headers["x-gateway-cost-usd"] for answer in paid] == [booked]
    assert (emulator.stats()["calls"], emulator.stats()["billed_calls"]) == (1, 1)
    assert later.headers["x-should-retry"] == "false"
    assert "gateway prices confirm" in later.json()["error"]["message"]


def test_once_the_price_is_known_calls_are_made_side_by_side(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order(*[{"hang": True}] * 7)
    with ThreadPoolExecutor(6) as pool, gateways(tmp_path, emulator) as (one, other):
        edits = [pool.submit((one, other)[n % 2].edit, f"edit {n}") for n in range(6)]
        until(lambda: emulator.stats()["in_flight"] == 1)
        assert emulator.stats()["calls"] == 1
        let_go(emulator)
        until(lambda: emulator.stats()["in_flight"] == 5)
        let_go(emulator, 5)
        assert [edit.result(30).status_code for edit in edits] == [200] * 6


@pytest.mark.parametrize("fault", [{"status": 400}, {"status": 500}, {"reset_after_read": True}])
def test_the_permit_is_passed_on_after_any_ending(
    tmp_path: Path, emulator: EmulatorServer, fault: dict[str, object]
) -> None:
    emulator.order({**fault, "latency_seconds": 0.2}, {"latency_seconds": 0.2})
    with gateways(tmp_path, emulator) as (one, other):
        answers = burst([one.url, other.url], 2)

    assert sorted(answer.status_code == 200 for answer in answers) == [False, True]
    assert emulator.stats()["calls"] == 2


def test_the_permit_of_a_killed_process_is_taken_over(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    make_key(settings_for(tmp_path, emulator, ALONE))
    tables = tables_of(tmp_path, emulator, ALONE)
    emulator.order({"hang": True})
    with (
        ThreadPoolExecutor(2) as pool,
        GatewayProcess(tables, tmp_path / "one") as one,
        GatewayProcess(tables, tmp_path / "other") as other,
    ):
        lost = pool.submit(one.edit, "the first")
        until(lambda: emulator.stats()["in_flight"] == 1)
        waiting = pool.submit(other.edit, "the second")
        one.kill()
        assert waiting.result(30).status_code == 200
        assert isinstance(lost.exception(30), httpx.HTTPError)


def test_answers_without_a_cost_lift_it_with_a_warning(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order(*[{"cost": "missing"}] * 3, {"hang": True}, {"hang": True})
    with ThreadPoolExecutor(2) as pool, gateways(tmp_path, emulator) as (one, other):
        assert [one.edit(f"edit {n}").status_code for n in range(3)] == [200] * 3
        edits = [pool.submit(gateway.edit, gateway.url) for gateway in (one, other)]
        until(lambda: emulator.stats()["in_flight"] == 2)
        let_go(emulator, 2)
        assert [edit.result(30).status_code for edit in edits] == [200] * 2
        assert one.log.getvalue().count("calls no longer wait for a price") == 1


def test_a_stated_cost_of_nothing_is_a_known_price(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order({"cost": 0}, {"hang": True}, {"hang": True})
    with ThreadPoolExecutor(2) as pool, gateways(tmp_path, emulator) as (one, other):
        one.edit("free")
        edits = [pool.submit(gateway.edit, gateway.url) for gateway in (one, other)]
        until(lambda: emulator.stats()["in_flight"] == 2)
        let_go(emulator, 2)
        assert [edit.result(30).status_code for edit in edits] == [200] * 2


def confirm(settings: Settings, usd_nanos: int | None = None) -> int:
    today = "2099-01-01"  # what was seen no longer counts
    return in_state(
        settings,
        lambda tx: price_status.confirm(
            tx, settings.upstream.name, MODEL, usd_nanos, today=today, by=author()
        ),
    )


def test_a_stopped_model_is_bought_again_once_its_price_is_confirmed(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, ALONE)
    make_key(settings)
    emulator.order(always={"cost": Decimal("0.5")})

    def buy(gateway: Served, prompt: str) -> str:
        return outcome(gateway.edit(prompt))

    with serving(settings) as gateway:
        before = [buy(gateway, f"edit {n}") for n in range(2)]
        hit = gateway.edit("edit 0")
        assert confirm(settings) == 500_000_000
        after = [buy(gateway, f"edit {n}") for n in range(2, 5)]
        emulator.order(always={"cost": Decimal("5.1")})
        risen = [buy(gateway, f"edit {n}") for n in range(5, 7)]

    assert before == ["200", "price_unconfirmed"]
    assert hit.headers["x-gateway-cache"] == "HIT"
    assert after == ["200"] * 3
    assert risen == ["200", "price_unconfirmed"], "10 times the confirmed price is the bound now"
