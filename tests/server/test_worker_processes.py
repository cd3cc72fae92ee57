"""Several processes on one socket: one that dies or retires is replaced, and all stop together."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from gateway.emulator import EmulatorServer
from gateway.ledger.tables import verify
from gateway.settings import Settings
from tests.server.test_graceful_shutdown import check_ledger
from tests.support.serving import (
    KEY,
    PHOTOGRAPH,
    GatewayProcess,
    Overrides,
    in_state,
    tables_of,
)
from tests.support.waiting import let_go, until


@contextmanager
def two_workers(
    folder: Path, emulator: EmulatorServer, more: Overrides | None = None
) -> Iterator[GatewayProcess]:
    server = {"workers": 2, **(more or {}).get("server", {})}
    tables = tables_of(folder, emulator, {**(more or {}), "server": server})
    with GatewayProcess(tables, folder / "process") as running:
        yield running


def workers_of(gateway: GatewayProcess) -> list[int]:
    """The processes that serve, the oldest first."""
    pid = gateway.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in _command_of(int(child))]


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def is_gone(pid: int) -> bool:
    return not _command_of(pid)


def serves(gateway: GatewayProcess) -> bool:
    try:
        with gateway.client(None) as client:
            return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False  # the worker that took it has just ended


async def edits(gateway: GatewayProcess, name: str, count: int) -> list[str]:
    """So many edits at once by clients that try again as the library does; their pictures."""
    async with openai.AsyncOpenAI(
        base_url=gateway.base_url, api_key=KEY, max_retries=4, timeout=60
    ) as client:
        calls = [
            client.images.edit(model="deepshi-image-1", prompt=f"{name} {n}", image=PHOTOGRAPH)
            for n in range(count)
        ]
        answers = await asyncio.gather(*calls)
    return [answer.data[0].b64_json or "" for answer in answers if answer.data]


def test_a_worker_that_is_killed_under_load_is_replaced_and_every_client_is_served(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order(always={"latency_seconds": 0.5})
    lease: Overrides = {"state": {"lease_seconds": 1.5}}
    with two_workers(tmp_path, emulator, lease) as gateway, ThreadPoolExecutor(1) as pool:
        before = workers_of(gateway)
        load = pool.submit(lambda: asyncio.run(edits(gateway, "under load", 16)))
        until(lambda: emulator.stats()["in_flight"] >= 4)
        os.kill(before[0], signal.SIGKILL)
        pictures = load.result(60)
        until(lambda: len(workers_of(gateway)) == 2)
        after = workers_of(gateway)
        until(lambda: serves(gateway))
        said = gateway.log.read_text()
        assert gateway.stop() == 0

    assert len(pictures) == 16
    assert all(pictures)
    assert before[0] not in after
    assert before[1] in after
    assert said.count("a worker has ended and is replaced") == 1
    assert f'"pid": {before[0]}' in said
    assert said.count("serves at") == 1
    # What the dead worker had in the air is billed and still held: the ledger is never below.
    proof = in_state(settings, verify.verify)
    assert proof.differences == ()
    assert proof.spent_nanos + proof.held_nanos >= emulator.stats()["billed_nanos"]


def test_a_worker_that_retires_finishes_what_it_has_begun_while_the_others_serve(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True}, {"hang": True}, {"hang": True}, {"hang": True})
    with two_workers(tmp_path, emulator) as gateway, ThreadPoolExecutor(4) as pool:
        before = workers_of(gateway)
        begun = [pool.submit(gateway.edit, f"begun {n}") for n in range(4)]
        until(lambda: emulator.stats()["in_flight"] == 4)
        os.kill(before[0], signal.SIGTERM)
        assert len(asyncio.run(edits(gateway, "meanwhile", 8))) == 8
        until(lambda: serves(gateway))
        let_go(emulator, 4)
        statuses = [each.result(30).status_code for each in begun]
        until(lambda: is_gone(before[0]) and len(workers_of(gateway)) == 2)
        assert gateway.stop() == 0

    assert statuses == [200] * 4
    assert emulator.stats()["billed_calls"] == 12
    check_ledger(settings, emulator)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_workers_stop_together_and_say_so_to_who_comes_meanwhile(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer, number: signal.Signals
) -> None:
    emulator.order({"hang": True})
    with two_workers(tmp_path, emulator) as gateway, ThreadPoolExecutor(1) as pool:
        begun = pool.submit(gateway.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        gateway.process.send_signal(number)
        until(lambda: not serves(gateway))
        until(lambda: len(workers_of(gateway)) == 1)
        later = gateway.edit("later")
        let_go(emulator)
        answer = begun.result(30)
        assert gateway.process.wait(60) == 0
        assert "Traceback" not in gateway.log.read_text()

    assert answer.status_code == 200
    assert (later.status_code, later.json()["error"]["code"]) == (503, "shutting_down")
    check_ledger(settings, emulator)


def test_workers_do_not_outlive_their_parent(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    with two_workers(tmp_path, emulator) as gateway:
        workers = workers_of(gateway)
        gateway.kill()
        until(lambda: all(is_gone(pid) for pid in workers))
    assert len(workers) == 2


def test_a_second_sigint_ends_the_waiting_of_workers(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    with two_workers(tmp_path, emulator) as gateway, ThreadPoolExecutor(1) as pool:
        begun = pool.submit(gateway.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        gateway.process.send_signal(signal.SIGINT)
        until(lambda: not serves(gateway))
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(60) == 0
        answer = begun.result(10)

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")


def test_where_no_worker_can_start_the_gateway_does_not(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    (tmp_path / "gateway.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(RuntimeError, match="did not start"), two_workers(tmp_path, emulator):
        pass
