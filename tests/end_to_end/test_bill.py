"""Of any traffic: the ledger's total, the metrics' and the upstream's bill are the same."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.emulator import EmulatorServer
from tests.support.crowds import ask
from tests.support.exposition import nanos, scrape, total
from tests.support.serving import (
    GatewayProcess,
    Overrides,
    in_state,
    make_key,
    settings_for,
    tables_of,
)
from tests.support.waiting import until

CLIENTS = 6
POOR = "sk-test-of-a-team-with-little"
COSTS = (0.012345678, 1.9e-9, 0.1, 0.03, 0.01, 0)


def test_some_traffic(tmp_path: Path, emulator: EmulatorServer) -> None:
    check(tmp_path, emulator, seconds=4.0, workers=1)


@pytest.mark.long
def test_a_minute_of_traffic_for_two_workers(tmp_path: Path, emulator: EmulatorServer) -> None:
    check(tmp_path, emulator, seconds=60.0, workers=2)


def check(folder: Path, emulator: EmulatorServer, *, seconds: float, workers: int) -> None:
    more: Overrides = {"server": {"workers": workers}, "metrics": {"survey_seconds": 0.2}}
    settings = settings_for(folder, emulator, more)
    make_key(settings)
    make_key(settings, team="poor", secret=POOR, team_terms={"budget_usd": "0.05"})
    with GatewayProcess(tables_of(folder, emulator, more), folder) as gateway:
        answered, made = asyncio.run(traffic(gateway.url, emulator, seconds))
        until(lambda: settled(gateway), 60.0)
        shown = scrape(gateway, after=answered)
        gateway.stop(60)

    sums = in_state(settings, sums_of_the_ledger)
    usage = in_state(settings, sums_of_usage)
    stats = emulator.stats()
    assert stats["billed_calls"] > 10
    assert nanos(shown, "gateway_cost_dollars_total") == sums["cost"] == stats["billed_nanos"]
    assert nanos(shown, "gateway_key_cost_dollars_total") == sums["cost"]
    assert nanos(shown, "gateway_estimated_dollars_total") == sums["estimated"] == 0
    assert total(shown, "gateway_pictures_total") == sums["images"]
    assert nanos(shown, "gateway_saved_dollars_total") == usage["saved"] > 0
    assert total(shown, "gateway_requests_total") == usage["requests"]
    assert answered <= usage["requests"] <= made
    # A budget is passed by nothing but calls that turned out dearer than any before them.
    overruns = total(shown, "gateway_overruns_total", team="poor")
    most = 50_000_000 + overruns * max(COSTS) * 1e9
    assert nanos(shown, "gateway_cost_dollars_total", team="poor") <= most


async def traffic(url: str, emulator: EmulatorServer, seconds: float) -> tuple[int, int]:
    """Clients that ask for old and new, leave, meet faults and empty budgets.

    How many were answered, and how many asked.
    """
    rng = random.Random(7)
    deadline = time.monotonic() + seconds
    answered = made = 0

    async def work(client: httpx.AsyncClient) -> None:
        nonlocal answered, made
        while time.monotonic() < deadline:
            made += 1
            patience = 0.01 if rng.random() < 0.05 else 60.0
            try:
                await ask(client, url, patience=patience, **request(rng))
                answered += 1
            except httpx.TimeoutException:
                await asyncio.sleep(0.05)

    async def fail() -> None:
        while time.monotonic() < deadline:
            emulator.order(fault(rng))
            await asyncio.sleep(0.05)

    async with httpx.AsyncClient(trust_env=False) as client:
        await asyncio.gather(fail(), *(work(client) for _ in range(CLIENTS)))
    return answered, made


def request(rng: random.Random) -> dict[str, Any]:
    asked: dict[str, Any] = {"prompt": f"edit {int(rng.paretovariate(0.3)) % 500}"}
    if rng.random() < 0.1:
        asked["key"] = POOR
    if rng.random() < 0.1:
        asked["headers"] = {"x-gateway-cache-control": "no-cache"}
    if rng.random() < 0.1:
        asked["headers"] = {"x-gateway-cache-control": "no-store"}
    if rng.random() < 0.1:
        asked["stream"] = "true"
    if rng.random() < 0.2:
        asked["model"] = "deepshi-multi-1"
        asked["n"] = "1" if "stream" in asked else "2"
    return asked


def fault(rng: random.Random) -> dict[str, object]:
    """What the next call meets: nothing whose cost stays unknown, for that is booked as more."""
    return {
        "latency_seconds": rng.random() / 10,
        "cost": rng.choice(COSTS),
        "status": rng.choice((None, None, None, None, 400, 503)),
    }


def settled(gateway: GatewayProcess) -> bool:
    shown = scrape(gateway)
    names = ("gateway_flights", "gateway_reservations_open", "gateway_usage_rows_waiting")
    return not any(total(shown, name) for name in names)


async def sums_of_the_ledger(tx: Any) -> dict[str, int]:
    rows = await tx.fetch(
        "SELECT SUM(cost_nanos) AS cost, SUM(cost_nanos * estimated) AS estimated, "
        "SUM(images) AS images FROM ledger"
    )
    return dict(rows[0])


async def sums_of_usage(tx: Any) -> dict[str, int]:
    rows = await tx.fetch("SELECT COUNT(*) AS requests, SUM(saved_nanos) AS saved FROM usage_rows")
    return dict(rows[0])
