"""Told to stop: what has begun ends, what is new is told to go elsewhere, all within bounds."""

from __future__ import annotations

import json
import signal
import socket
import time
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
from tests.support.serving import (
    KEY,
    PHOTOGRAPH,
    GatewayProcess,
    Overrides,
    in_state,
    tables_of,
)
from tests.support.waiting import let_go, until

CEILING_NANOS = 10_000_000
HEAD = (
    "POST /v1/images/edits HTTP/1.1\r\nHost: gateway\r\n"
    f"Authorization: Bearer {KEY}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
)


@contextmanager
def process(
    folder: Path,
    emulator: EmulatorServer,
    more: Overrides | None = None,
    *,
    anew: bool = False,
) -> Iterator[GatewayProcess]:
    tables = tables_of(folder, emulator, more)
    with GatewayProcess(tables, folder / "process", anew=anew) as running:
        yield running


def tell(gateway: GatewayProcess, number: signal.Signals) -> None:
    gateway.process.send_signal(number)


def is_draining(gateway: GatewayProcess) -> bool:
    """As a load balancer sees it, which opens a connection for each look."""
    answer = httpx.get(f"{gateway.url}/readyz", trust_env=False, timeout=10)
    return answer.status_code == 503 and answer.json() == {"status": "draining"}


def check_ledger(settings: Settings, emulator: EmulatorServer) -> None:
    """What is billed is booked, to the cent, and nothing is held."""
    proof = in_state(settings, verify.verify)
    assert (proof.differences, proof.open_reservations) == ((), 0)
    assert proof.spent_nanos == emulator.stats()["billed_nanos"]


def check_booked_at_its_ceiling(settings: Settings, *, calls: int) -> None:
    """What may be billed is booked as if it were, and known to be an estimate."""
    proof = in_state(settings, verify.verify)
    assert (proof.differences, proof.open_reservations) == ((), 0)
    assert (proof.estimated_calls, proof.spent_nanos) == (calls, calls * CEILING_NANOS)


def test_who_has_begun_is_served_and_who_comes_later_is_told_to_go_elsewhere(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    with process(tmp_path, emulator) as gateway, ThreadPoolExecutor(1) as pool:
        with gateway.client() as kept:
            assert kept.get("/readyz").status_code == 200
            first = pool.submit(gateway.edit)
            until(lambda: emulator.stats()["in_flight"] == 1)
            tell(gateway, signal.SIGTERM)
            until(lambda: is_draining(gateway))

            later = kept.post("/v1/images/edits", json={})
            alive = kept.get("/healthz")
        elsewhere = gateway.edit("another")
        assert gateway.process.poll() is None
        let_go(emulator)
        answer = first.result(30)
        assert gateway.process.wait(60) == 0

    assert answer.status_code == 200, answer.text
    for refused in (later, elsewhere):
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert refused.headers["x-should-retry"] == "true"
        assert int(refused.headers["retry-after"]) <= 60
        assert refused.headers["connection"] == "close"
    assert alive.status_code == 200
    assert emulator.stats()["billed_calls"] == 1
    check_ledger(settings, emulator)


def test_what_is_being_uploaded_and_what_is_being_streamed_is_finished(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    request = httpx.Request(
        "POST", "http://x/", data={"model": "deepshi-image-1", "prompt": "slow"},
        files=[("image[]", ("0.jpg", PHOTOGRAPH))],
    )  # fmt: skip
    body = request.read()
    head = HEAD.replace("multipart/form-data; boundary=b", request.headers["content-type"])
    with process(tmp_path, emulator) as gateway, ThreadPoolExecutor(1) as pool:
        host, port = gateway.url.removeprefix("http://").split(":")
        streamed = pool.submit(_streamed, gateway)
        until(lambda: emulator.stats()["in_flight"] == 1)
        with socket.create_connection((host, int(port)), timeout=20) as uploading:
            uploading.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:1000])
            with gateway.client() as client:  # it has begun, once this one is answered
                assert client.get("/healthz").status_code == 200
            tell(gateway, signal.SIGTERM)
            until(lambda: is_draining(gateway))
            uploading.sendall(body[1000:])
            uploaded = _rest_of(uploading)
        let_go(emulator)
        assert streamed.result(30)[-1] == "image_edit.completed"
        assert gateway.process.wait(60) == 0

    assert uploaded.startswith(b"HTTP/1.1 200"), uploaded[:300]
    assert b"\r\nconnection: close\r\n" in uploaded.lower()
    assert emulator.stats()["billed_calls"] == 2
    check_ledger(settings, emulator)


def _streamed(gateway: GatewayProcess) -> list[str]:
    with openai.OpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        events = client.images.edit(
            model="deepshi-image-1", prompt="streamed", image=PHOTOGRAPH, stream=True
        )
        return [event.type for event in events]


def _rest_of(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


@contextmanager
def hangups(handled: signal.Handlers) -> Iterator[None]:
    """What a process that is begun meanwhile inherits, whether the tests run under nohup or not."""
    before = signal.signal(signal.SIGHUP, handled)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_where_nothing_runs_the_end_comes_at_once(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer, number: signal.Signals
) -> None:
    with (
        hangups(signal.SIG_DFL),
        process(tmp_path, emulator, anew=True) as gateway,
        gateway.client() as kept,
    ):
        assert kept.get("/healthz").status_code == 200, "and an idle connection is no reason"
        tell(gateway, number)
        assert gateway.process.wait(30) == 0
        assert "Traceback" not in gateway.log.read_text()


def test_a_hangup_ends_nothing_where_it_is_to_be_ignored(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    """As under nohup, whose children begin with the signal ignored."""
    with hangups(signal.SIG_IGN), process(tmp_path, emulator, anew=True) as gateway:
        tell(gateway, signal.SIGHUP)
        for number in range(10):
            assert gateway.edit(f"still there {number}").status_code == 200
        assert gateway.stop() == 0


def test_the_end_comes_after_drain_seconds_and_every_client_is_told(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order(always={"hang": True})
    bounded: Overrides = {"server": {"drain_seconds": 1}, "log": {"format": "json"}}
    with process(tmp_path, emulator, bounded) as gateway, ThreadPoolExecutor(2) as pool:
        host, port = gateway.url.removeprefix("http://").split(":")
        waiting = pool.submit(gateway.edit)
        streaming = pool.submit(_streamed, gateway)
        until(lambda: emulator.stats()["in_flight"] == 2)
        with socket.create_connection((host, int(port)), timeout=20) as uploading:
            uploading.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n--b\r\n".encode())
            with gateway.client() as client:
                assert client.get("/healthz").status_code == 200
            tell(gateway, signal.SIGTERM)
            told = time.monotonic()
            stalled = _rest_of(uploading)
        answer = waiting.result(20)
        with pytest.raises(openai.APIError) as broken:
            streaming.result(20)
        assert gateway.process.wait(60) == 0
        took = time.monotonic() - told
        log = gateway.log.read_text()
        written = [json.loads(line) for line in log.splitlines() if "{" in line]

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    assert answer.headers["x-should-retry"] == "false"
    assert broken.value.code == "upstream_timeout", "it had begun, so it ends in an error event"
    assert stalled.startswith(b"HTTP/1.1 503")
    assert b'"shutting_down"' in stalled
    assert 1 <= took < 60
    (left,) = [line for line in written if "unfinished" in line["event"]]
    assert left["flights"] == 2
    assert not [line for line in written if line["level"] == "error"]
    assert "Traceback" not in log
    check_booked_at_its_ceiling(settings, calls=2)


def test_a_second_sigterm_changes_nothing_and_a_sigint_ends_the_waiting(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    with process(tmp_path, emulator) as gateway, ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        for _ in range(3):
            tell(gateway, signal.SIGTERM)
            until(lambda: is_draining(gateway))
        assert not first.done()
        tell(gateway, signal.SIGINT)
        assert gateway.process.wait(60) == 0
        answer = first.result(10)

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    check_booked_at_its_ceiling(settings, calls=1)


def test_a_port_is_free_again_once_the_gateway_has_ended(
    settings: Settings, tmp_path: Path, emulator: EmulatorServer
) -> None:
    with process(tmp_path, emulator) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        assert gateway.edit().status_code == 200
        assert gateway.stop() == 0
    with process(tmp_path, emulator, {"server": {"port": port}}) as again:
        assert again.edit().headers["x-gateway-cache"] == "HIT"
