"""kill -9 in the middle, many times, under load: nothing spent is forgotten."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from gateway.ledger.rules.abandonment import Abandonment
from gateway.ledger.tables import reports, unresolved_reservations, verify
from gateway.settings import Settings
from tests.support.serving import KEY, GatewayProcess, in_state, make_key, settings_for, tables_of
from tests.support.upstreams import png

PICTURE = png(8, 8)
AN_HOUR_MS = 3_600_000


async def load_until_killed(
    gateway: GatewayProcess, emulator: EmulatorServer, round_number: int, seconds: float
) -> None:
    """Distinct edits from 8 clients, and kill -9 during a call, after this time at the earliest.

    The clients' connections break: that is intended.
    """
    gone = asyncio.Event()

    async def keep_asking(client: httpx.AsyncClient, name: int) -> None:
        number = 0
        while not gone.is_set():
            number += 1
            try:
                await client.post(
                    f"{gateway.base_url}/images/edits",
                    headers={"authorization": f"Bearer {KEY}"},
                    data={
                        "model": "deepshi-image-1",
                        "prompt": f"blur {round_number}-{name}-{number}",
                    },
                    files=[("image[]", ("a.png", PICTURE))],
                )
            except httpx.TransportError:
                return

    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        clients = [asyncio.create_task(keep_asking(client, name)) for name in range(8)]
        await asyncio.sleep(seconds)
        async with asyncio.timeout(60):
            while not emulator.stats()["in_flight"]:
                await asyncio.sleep(0.002)
        gateway.kill()
        gone.set()
        await asyncio.gather(*clients)


def settle_what_was_left(settings: Settings) -> Sequence[Any]:
    """As the regular maintenance does, an hour later."""
    later_ms = now_ms() + AN_HOUR_MS
    return in_state(
        settings,
        lambda tx: unresolved_reservations.settle_abandoned(
            tx, Abandonment(later_ms, 1_200_000), limit=10_000
        ),
    )


def check_nothing_is_forgotten(settings: Settings, emulator: EmulatorServer, path: Path) -> None:
    """Every billed call is in the ledger under its own id, and what is estimated is listed."""
    with sqlite3.connect(path) as state:
        assert state.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        booked = dict(
            state.execute("SELECT request_id, SUM(cost_nanos) FROM ledger GROUP BY 1").fetchall()
        )
    billed = {row["client_request_id"]: row["cost_nanos"] for row in emulator.statement()}
    assert billed
    missing = {name for name, cost in billed.items() if booked.get(name, 0) < cost}
    assert missing == set()

    proof = in_state(settings, verify.verify)
    assert proof.differences == ()
    assert proof.open_reservations == 0, "no phantom refusals remain once resolved"
    assert proof.spent_nanos >= emulator.stats()["billed_nanos"]
    listed = in_state(settings, lambda tx: reports.ledger_rows(tx, "0000", "9999", estimated=True))
    unbilled = set(booked) - set(billed)
    assert unbilled <= {row.request_id for row in listed}
    assert len(listed) == proof.estimated_calls


def rounds_of_kill(tmp_path: Path, emulator: EmulatorServer, rounds: int) -> None:
    tables = tables_of(tmp_path, emulator)
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    emulator.order(always={"latency_seconds": 0.05})
    luck = random.Random(7)
    for number in range(rounds):
        gateway = GatewayProcess(tables, tmp_path / "process")
        asyncio.run(load_until_killed(gateway, emulator, number, luck.uniform(0.05, 0.8)))
    # What was on its way to the emulator when the last gateway died is finished and billed.
    while emulator.stats()["in_flight"]:
        pass
    left = settle_what_was_left(settings)
    check_nothing_is_forgotten(settings, emulator, tmp_path / "gateway.db")
    with GatewayProcess(tables, tmp_path / "process") as again:
        assert again.edit("after all that").status_code == 200
    assert left, "a call was in flight at each kill, and its reservation is left"


def test_a_few_rounds_of_kill_9_forget_nothing_that_was_billed(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    rounds_of_kill(tmp_path, emulator, 4)


@pytest.mark.long
def test_a_hundred_rounds_of_kill_9_forget_nothing_that_was_billed(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    rounds_of_kill(tmp_path, emulator, 100)
