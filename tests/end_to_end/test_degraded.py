"""An unreadable state: hits go on, nothing is bought, and it is said."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from tests.support.engines import Line, line, postgres_url, schema_url
from tests.support.exposition import scrape, total
from tests.support.funds import ledger_of
from tests.support.serving import Running, in_state, make_key, serving, settings_for

__all__ = ["line", "postgres_url", "schema_url"]


@pytest.fixture
async def gateway(
    tmp_path: Path, emulator: EmulatorServer, line: Line, schema_url: str
) -> AsyncIterator[Running]:
    """A gateway whose PostgreSQL is at the other end of `line`."""
    at_the_line = re.sub(r"@[^/]*/", f"@127.0.0.1:{line.port}/", schema_url, count=1)
    url = re.sub(r"host=[^&]+&?", "", at_the_line)
    settings = settings_for(tmp_path, emulator, {"state": {"url": url}})
    await asyncio.to_thread(make_key, settings, key_terms={"requests_per_minute": 1000})
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, serving(settings))
        await asyncio.to_thread(stack.close)


def lines(gateway: Running) -> list[dict[str, object]]:
    return [json.loads(line) for line in gateway.log.getvalue().splitlines()]


def degraded(gateway: Running) -> list[str]:
    with gateway.client(key=None) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 200
    found: list[str] = answer.json()["degraded"]
    return found


async def test_without_the_state_hits_go_on_and_nothing_is_bought(
    gateway: Running, emulator: EmulatorServer, line: Line
) -> None:
    first = await asyncio.to_thread(gateway.edit, "bought before")
    await line.close()
    hit = await asyncio.to_thread(gateway.edit, "bought before")
    miss = await asyncio.to_thread(gateway.edit, "new")

    assert first.status_code == 200
    assert hit.headers["x-gateway-cache"] == "HIT"
    assert (miss.status_code, miss.json()["error"]["code"]) == (503, "state_unavailable")
    assert miss.headers["x-should-retry"] == "true"
    assert emulator.stats()["calls"] == 1


async def test_it_is_said_and_all_is_well_again_when_the_state_is_back(
    gateway: Running, emulator: EmulatorServer, line: Line
) -> None:
    await line.close()
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(degraded, gateway):
            await asyncio.sleep(0.2)
    said = await asyncio.to_thread(degraded, gateway)
    await line.open()
    # What was asked of the state just before the line broke may take its whole time-out (30 s).
    async with asyncio.timeout(60):
        while await asyncio.to_thread(degraded, gateway):
            await asyncio.sleep(0.2)
    bought = await asyncio.to_thread(gateway.edit, "new")

    assert [line.split(":")[0] for line in said] == ["state"]
    assert bought.status_code == 200


async def test_the_metrics_say_so_without_asking_the_state(gateway: Running, line: Line) -> None:
    async def shown(name: str) -> float:
        return total(await asyncio.to_thread(scrape, gateway), name)

    await asyncio.to_thread(gateway.edit, "bought before")
    up = await shown("gateway_state_up")
    await line.close()
    async with asyncio.timeout(20):
        while await shown("gateway_state_up"):
            await asyncio.sleep(0.1)
    await asyncio.to_thread(gateway.edit, "bought before")
    async with asyncio.timeout(20):
        while not await shown("gateway_usage_lag_seconds"):
            await asyncio.sleep(0.1)

    assert up == 1
    assert await shown("gateway_usage_rows_waiting") >= 1
    async with asyncio.timeout(20):
        while await shown("gateway_requests_total") < 2:
            await asyncio.sleep(0.1)


async def test_a_call_that_was_bought_before_the_state_broke_is_delivered_and_booked_later(
    gateway: Running, emulator: EmulatorServer, line: Line
) -> None:
    emulator.order({"latency_seconds": 1.0})
    edit = asyncio.create_task(asyncio.to_thread(gateway.edit, "in flight"))
    while not emulator.stats()["in_flight"]:
        await asyncio.sleep(0.05)
    await line.close()
    answer = await edit
    answered_ms = now_ms()
    await line.open()

    assert answer.status_code == 200
    assert answer.headers["x-gateway-cost-usd"] == "0.01"
    late = [line for line in lines(gateway) if line.get("part") == "settle"]
    assert {line["request_id"] for line in late} == {answer.headers["x-request-id"]}
    budgets = gateway.app.parts.budgets.service
    async with asyncio.timeout(20):
        while budgets.unwritten:
            await asyncio.sleep(0.1)
    request_id = answer.headers["x-request-id"]
    (call,) = await asyncio.to_thread(
        in_state, gateway.settings, lambda tx: ledger_of(tx, request_id)
    )
    assert call.at_ms < answered_ms + 500
