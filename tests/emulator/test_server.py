"""Starting and ending: on a thread, and in the foreground."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.emulator.refusals import Refused
from tests.emulator.calling import Caller, edit_files


def call_and_break(caller: Caller, broken: list[Exception]) -> None:
    try:
        caller.http.post(
            "/v1/images/edits",
            data={"model": "deepshi-image-1", "prompt": "grey"},
            files=edit_files(),
            timeout=30,
        )
    except httpx.TransportError as error:
        broken.append(error)


def test_a_hung_call_does_not_hold_up_the_end() -> None:
    server, broken = EmulatorServer(), list[Exception]()
    server.start()
    caller = Caller(server)
    with caller.http:
        server.order({"hang": True})
        thread = threading.Thread(target=call_and_break, args=(caller, broken))
        thread.start()
        while not server.stats()["billed_calls"]:
            time.sleep(0.01)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 1.5
        thread.join()
    assert len(broken) == 1


def test_an_upload_that_stalls_does_not_hold_up_the_end() -> None:
    with EmulatorServer() as server:
        url = httpx.URL(server.origin)
        connection = socket.create_connection((url.host, url.port or 0), timeout=5)
        with connection:
            connection.sendall(
                b"POST /v1/images/edits HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n"
                b"authorization: Bearer sk-emulator\r\n"
                b"content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
            while not server.stats()["in_flight"]:
                time.sleep(0.01)
            begun = time.monotonic()
            server.stop()
            assert time.monotonic() - begun < 3


def test_the_books_can_be_read_after_the_end() -> None:
    with EmulatorServer() as server:
        caller = Caller(server)
        with caller.http:
            caller.edit()
    assert server.stats()["billed_usd"] == "0.01"
    assert len(server.statement()) == 1


def test_faults_can_be_ordered_without_the_wire() -> None:
    with EmulatorServer() as server:
        caller = Caller(server)
        with caller.http:
            server.order({"status": 500}, {"status": 503}, always={"status": 502})
            assert [caller.edit().status_code for _ in range(3)] == [500, 503, 502]
            server.clear_faults()
            assert caller.edit().status_code == 200
            with pytest.raises(Refused, match="no knob"):
                server.order({"sttus": 500})


def test_two_emulators_share_nothing() -> None:
    with EmulatorServer() as one, EmulatorServer() as other:
        assert one.base_url != other.base_url
        one.order(always={"status": 500})
        caller = Caller(other)
        with caller.http:
            assert caller.edit().status_code == 200
        assert one.stats()["calls"] == 0


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with EmulatorServer() as server:
        port = httpx.URL(server.origin).port or 0
        with pytest.raises(OSError, match="in use"):
            EmulatorServer(port=port).start()


def test_the_foreground_server_serves_until_interrupted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = f"from gateway.emulator import run; run(port={port})"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert wait_for_stats(f"http://127.0.0.1:{port}")["calls"] == 0
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=5)
        finally:
            process.kill()
    assert (process.returncode, output) == (0, b"")


def wait_for_stats(origin: str) -> dict[str, int]:
    deadline = time.monotonic() + 10
    while True:
        try:
            stats: dict[str, int] = httpx.get(f"{origin}/emulator/stats", trust_env=False).json()
            return stats
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
