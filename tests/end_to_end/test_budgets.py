"""Budgets hold whatever happens: many at once, several processes, two engines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables import verify
from gateway.settings import Settings
from tests.support.crowds import leaving_crowd
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import (
    KEY,
    GatewayProcess,
    Running,
    Served,
    in_state,
    make_key,
    serving,
    settings_for,
    tables_of,
)
from tests.support.upstreams import png
from tests.support.waiting import let_go, until

__all__ = ["postgres_url"]

PICTURE = png(8, 8)


async def burst(
    gateways: Sequence[Served], count: int, *, at_once: int = 250
) -> list[httpx.Response]:
    """`count` distinct edits at once, in turn over the gateways, each asked once."""
    places = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:

        async def edit(number: int) -> httpx.Response:
            async with places:
                return await client.post(
                    f"{gateways[number % len(gateways)].base_url}/images/edits",
                    headers={"authorization": f"Bearer {KEY}"},
                    data={"model": "deepshi-image-1", "prompt": f"grey {number}"},
                    files=[("image[]", ("a.png", PICTURE))],
                )

        return await asyncio.gather(*(edit(number) for number in range(count)))


def outcomes(answers: Sequence[httpx.Response]) -> Counter[str]:
    return Counter(
        "200" if answer.status_code == 200 else answer.json()["error"]["code"] for answer in answers
    )


def check_spent_is_billed(settings: Settings, emulator: EmulatorServer, calls: int) -> None:
    """The ledger proves itself, and agrees with the bill to the nano-dollar."""

    async def prove(tx: Any) -> verify.Verification:
        return await verify.verify(tx)

    proof = in_state(settings, prove)
    assert proof.differences == ()
    assert emulator.stats()["billed_calls"] == calls
    assert proof.spent_nanos == emulator.stats()["billed_nanos"]
    assert proof.held_nanos == 0


def check_37(answers: Sequence[httpx.Response]) -> None:
    """37 pictures, and a no for the others; on a busy machine some of the money is still held
    when their patience ends, and they are told that."""
    found = outcomes(answers)
    assert found.pop("200") == 37
    assert found.keys() <= {"insufficient_quota", "budget_held"}
    assert found.total() == len(answers) - 37


FUNDS_FOR_37 = {"budget_usd": "0.37"}
LONG = pytest.mark.long


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=LONG)])
def test_a_crowd_at_once_against_funds_for_37_buys_exactly_37(
    tmp_path: Path, emulator: EmulatorServer, count: int
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms=FUNDS_FOR_37)
    with serving(settings) as gateway:
        answers = asyncio.run(burst([gateway], count))

    assert outcomes(answers) == {"200": 37, "insufficient_quota": count - 37}
    check_spent_is_billed(settings, emulator, 37)


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=LONG)])
def test_two_processes_on_one_sqlite_buy_exactly_37(
    tmp_path: Path, emulator: EmulatorServer, count: int
) -> None:
    tables = tables_of(tmp_path, emulator)
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms=FUNDS_FOR_37)
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(GatewayProcess(tables, tmp_path / f"p{number}"))
            for number in range(2)
        ]
        answers = asyncio.run(burst(gateways, count))
        for gateway in gateways:
            gateway.stop()

    check_37(answers)
    check_spent_is_billed(settings, emulator, 37)


@pytest.mark.parametrize(
    ("processes", "count"), [(2, 60), pytest.param(3, 300, marks=LONG)], ids=["two", "three"]
)
def test_several_processes_on_one_postgresql_buy_exactly_37(
    tmp_path: Path, emulator: EmulatorServer, postgres_url: str, processes: int, count: int
) -> None:
    state = {"state": {"url": fresh_schema(postgres_url)}}
    tables = tables_of(tmp_path, emulator, state)
    settings = settings_for(tmp_path, emulator, state)
    make_key(settings, team_terms=FUNDS_FOR_37)
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(GatewayProcess(tables, tmp_path / f"p{number}"))
            for number in range(processes)
        ]
        answers = asyncio.run(burst(gateways, count))
        for gateway in gateways:
            gateway.stop()

    check_37(answers)
    check_spent_is_billed(settings, emulator, 37)


def test_a_refusal_says_which_level_what_is_spent_and_when_it_resets(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms={"budget_usd": "0.01", "budget_period": "month"})
    with serving(settings) as gateway:
        assert gateway.edit("one").status_code == 200
        refused = gateway.edit("two")
        hit = gateway.edit("one")

    error = refused.json()["error"]
    assert refused.status_code == 429
    assert (error["code"], error["type"]) == ("insufficient_quota", "insufficient_quota")
    assert (error["level"], error["limit"], error["spent"], error["held"]) == (
        "team", "0.01", "0.01", "0",
    )  # fmt: skip
    assert error["resets_at"].endswith("-01T00:00:00Z")
    assert refused.headers["x-should-retry"] == "false"
    assert (hit.status_code, hit.headers["x-gateway-cache"]) == (200, "HIT")


def test_money_held_by_a_call_in_flight_is_waited_for(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(
        tmp_path, emulator, {"models": {"deepshi-image-1": {"price_ceiling_usd": "0.02"}}}
    )
    make_key(settings, team_terms={"budget_usd": "0.03"})
    emulator.order(always={"latency_seconds": 0.5})
    with serving(settings) as gateway:
        answers = asyncio.run(burst([gateway], 2))

    assert outcomes(answers) == {"200": 2}


def test_money_held_too_long_is_told_apart_from_money_spent(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms={"budget_usd": "0.01"})
    emulator.order({"hang": True})
    with serving(settings) as gateway:
        hanging = asyncio.run(_one_leaves_and_another_asks(gateway))
        emulator.release()

    assert hanging.status_code == 429
    assert hanging.json()["error"]["code"] == "budget_held"
    assert hanging.headers["x-should-retry"] == "true"


async def _one_leaves_and_another_asks(gateway: Running) -> httpx.Response:
    with pytest.raises(httpx.ReadTimeout):
        async with httpx.AsyncClient(timeout=0.5, trust_env=False) as client:
            await client.post(
                f"{gateway.base_url}/images/edits",
                headers={"authorization": f"Bearer {KEY}"},
                data={"model": "deepshi-image-1", "prompt": "hangs"},
                files=[("image[]", ("a.png", PICTURE))],
            )
    return await asyncio.to_thread(gateway.edit, "another")


def test_a_pause_stops_paid_calls_and_hits_go_on(
    settings: Settings, emulator: EmulatorServer
) -> None:
    from gateway.accounts.tables import organisation
    from tests.support.serving import author

    with serving(settings) as gateway:
        gateway.edit("bought before")
        in_state(settings, lambda tx: organisation.pause(tx, author()))
        refused, hit = gateway.edit("new"), gateway.edit("bought before")
        with gateway.client() as client:
            paused = ["spending: paused for all teams"]
            until(lambda: client.get("/readyz").json()["degraded"] == paused)

    assert refused.json()["error"]["code"] == "spending_paused"
    assert refused.headers["x-should-retry"] == "false"
    assert hit.headers["x-gateway-cache"] == "HIT"
    assert emulator.stats()["billed_calls"] == 1


def test_requests_per_minute_hold_for_hits_too(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"requests_per_minute": 3})
    with serving(settings) as gateway:
        answers = [gateway.edit() for _ in range(8)]

    codes = Counter(answer.status_code for answer in answers)
    # The minute may turn once while these run: then up to three more are let through.
    assert 3 <= codes[200] <= 6
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.headers["x-should-retry"] == "true"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-limit-requests"] == "3"
    assert answers[0].headers["ratelimit"].startswith('"requests";r=2;t=')


def test_what_is_left_is_said_with_a_miss_a_hit_and_a_refusal(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, team_terms={"budget_usd": "0.015"})
    with serving(settings) as gateway:
        answers = [gateway.edit("one"), gateway.edit("one"), gateway.edit("two")]

    left = [answer.headers["x-gateway-budget-remaining-usd"] for answer in answers]
    assert left == ["0.005"] * 3
    error = answers[2].json()["error"]
    assert error["needed"] == "0.01"
    assert "reserved at $0.01" in error["message"]


def test_a_cost_that_is_an_estimate_is_said_to_be_one(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    emulator.order({"cost": "missing"}, {"status": 500}, {})
    with serving(settings) as gateway:
        answers = [gateway.edit(prompt) for prompt in ("one", "two", "three")]
        log = gateway.log

    said = [answer.headers.get("x-gateway-cost-estimated") for answer in answers]
    assert said == ["true", "true", None]
    assert log.getvalue().count('"estimated": true') == 2


def test_an_overrun_is_booked_and_warned_of(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    emulator.order({"cost": Decimal("0.07")})
    with serving(settings) as gateway, gateway.client(key=None) as client:
        answer = gateway.edit()
        metrics = client.get("/metrics").text

    assert answer.headers["x-gateway-cost-usd"] == "0.07"
    assert "a call cost more than its ceiling" in gateway.log.getvalue()
    assert 'gateway_overruns_total{model="deepshi-image-1",team="design"} 1.0' in metrics


def test_a_paid_call_whose_client_has_left_counts_for_the_limit_in_flight(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"max_in_flight": 1})
    emulator.order({"hang": True})
    with serving(settings) as one, serving(settings) as other:
        assert leaving_crowd(one.url, 1, patience=0.5) == 1
        until(lambda: "client_gone" in one.log.getvalue())
        refused = [gateway.edit("another") for gateway in (one, other)]
        let_go(emulator)
        until(lambda: other.edit("another").status_code == 200)

    for answer in refused:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (429, "rate_limit_exceeded")
        assert (error["limit_name"], error["limit"], error["held"]) == ("max_in_flight", 1, 1)
        assert "clients have left" in error["message"]
    assert emulator.stats()["billed_calls"] == 2
