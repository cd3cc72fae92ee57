"""Refusing early, slow and broken uploads: every client sees its answer."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.support.bodies import BOUNDARY, form, usual
from tests.support.serving import KEY, PHOTOGRAPH, Running, make_key, serving, settings_for
from tests.support.waiting import let_go, until

HEAD = (
    "POST /v1/images/edits HTTP/1.1\r\nHost: gateway\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\n"
)
FORM_HEAD = HEAD.replace("boundary=b", f"boundary={BOUNDARY}")


def raw(gateway: Running, request: bytes) -> bytes:
    """Send bytes and read until the gateway closes."""
    answer = b""
    with _connected(gateway) as connection:
        connection.sendall(request)
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize("how", [["-F", "image[]=@{file}"], ["-F", "image[]=@{file}", "-H",
                                 "Transfer-Encoding: chunked"]])  # fmt: skip
def test_curl_sees_the_refusal_of_a_large_upload(
    gateway: Running, tmp_path: Path, how: list[str]
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(PHOTOGRAPH + os.urandom(20_000_000))
    done = subprocess.run(
        ["curl", "-s", f"{gateway.base_url}/images/edits", "-H", "Authorization: Bearer sk-wrong",
         "-F", "model=deepshi-image-1", *(part.format(file=large) for part in how)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "invalid_api_key"


MINE = f"Authorization: Bearer {KEY}\r\n"
BY_ITS_HEAD: dict[str, tuple[str, str]] = {
    "a key": ("Authorization: Bearer sk-wrong\r\n", "invalid_api_key"),
    "no key": ("", "invalid_api_key"),
    "a size": (f"{MINE}Content-Length: 400000000\r\n", "body_too_large"),
    "a type": (f"{MINE}Content-Type: text/plain\r\n", "unsupported_media_type"),
    "a compression": (f"{MINE}Content-Encoding: gzip\r\n", "unsupported_media_type"),
    "a variant": (f"{MINE}X-Gateway-Variant: a b\r\n", "invalid_field"),
    "a rate": ("Authorization: Bearer sk-slow\r\n", "rate_limit_exceeded"),
    "a crowd": ("Authorization: Bearer sk-crowded\r\n", "rate_limit_exceeded"),
    "a bypass": (
        "Authorization: Bearer sk-tied\r\nX-Gateway-Cache-Control: no-cache\r\n",
        "bypass_not_allowed",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def limited(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """A gateway with keys of which each is refused by another limit."""
    settings = settings_for(tmp_path_factory.mktemp("limited"), emulator_server)
    make_key(settings)
    make_key(settings, secret="sk-slow", name="slow", key_terms={"requests_per_minute": 0})
    make_key(settings, secret="sk-crowded", name="crowded", key_terms={"max_in_flight": 0})
    make_key(settings, secret="sk-tied", name="tied", key_terms={"may_bypass_cache": False})
    with serving(settings) as gateway:
        yield gateway


@pytest.mark.parametrize("case", BY_ITS_HEAD)
@pytest.mark.parametrize("framing", ["Content-Length: 5000000", "Transfer-Encoding: chunked"])
def test_where_100_continue_is_asked_for_a_refusal_comes_instead(
    limited: Running, case: str, framing: str
) -> None:
    more, code = BY_ITS_HEAD[case]
    head = HEAD if "Content-Type" not in more else HEAD.partition("Content-Type")[0]
    head += more + (f"{framing}\r\n" if "Content-Length" not in more else "")
    answer = raw(limited, f"{head}Expect: 100-continue\r\n\r\n".encode())

    assert not answer.startswith(b"HTTP/1.1 1"), "nothing of the body was asked for"
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error["code"] == code, error
    assert b"\r\nconnection: close\r\n" in answer


def test_a_refused_upload_that_trickles_is_given_up(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.server.exchange.DRAIN_SECONDS", 0.5)
    with _connected(gateway) as connection:
        connection.sendall(f"{HEAD}Content-Length: 5000000\r\n\r\n".encode())
        answer = connection.recv(65536)
        trickled = _trickle(connection)

    assert answer.startswith(b"HTTP/1.1 401"), "it is seen while the rest is still being sent"
    assert 5 < trickled < 100


def test_an_upload_that_never_stalls_but_never_ends_times_out_too(
    tmp_path: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.server.exchange.DRAIN_SECONDS", 0.5)
    slow = {"upload_stall_seconds": 5, "upload_seconds": 0.5}
    settings = settings_for(tmp_path, emulator, {"server": slow})
    make_key(settings)
    with serving(settings) as gateway, _connected(gateway) as connection:
        connection.sendall(f"{HEAD}{MINE}Content-Length: 5000000\r\n\r\n--b\r\n".encode())
        trickled = _trickle(connection, until_answered=True)
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"upload_timeout"' in answer
    assert trickled < 100


def _connected(gateway: Running) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def _trickle(connection: socket.socket, *, until_answered: bool = False) -> int:
    """Send a byte now and then until the gateway closes, or answers; how many that were."""
    for sent in range(200):
        time.sleep(0.05)
        if until_answered and select.select([connection], [], [], 0)[0]:
            return sent
        try:
            connection.sendall(b"x")
        except (BrokenPipeError, ConnectionResetError):
            return sent
    return 200


def test_a_refused_upload_does_not_go_on_for_ever(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, {"limits": {"max_body_bytes": 100_000}})
    make_key(settings)
    with serving(settings) as gateway:
        sent = _upload_for_ever(gateway)

    assert sent < 60_000_000


def _upload_for_ever(gateway: Running) -> int:
    """Send chunks until the gateway has had enough; how many bytes that took."""
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    host, port = gateway.url.removeprefix("http://").split(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"{HEAD}Authorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        try:
            while sent < 100_000_000:
                connection.sendall(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            return sent
    return sent


def test_a_stalled_upload_times_out_and_says_so(
    tmp_path: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.server.exchange.DRAIN_SECONDS", 0.5)
    settings = settings_for(tmp_path, emulator, {"server": {"upload_stall_seconds": 0.2}})
    make_key(settings)
    with serving(settings) as gateway:
        started = time.monotonic()
        answer = raw(
            gateway,
            f"{HEAD}Authorization: Bearer {KEY}\r\nContent-Length: 1000\r\n\r\n--b\r\n".encode(),
        )

    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"upload_timeout"' in answer
    assert b"x-should-retry: false" in answer
    assert time.monotonic() - started < 20


def test_a_client_gone_during_its_upload_leaves_nothing_behind(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    spool = tmp_path / "spool"
    settings = settings_for(
        tmp_path, emulator, {"server": {"spool_folder": str(spool), "spool_bytes": 1000}}
    )
    make_key(settings)
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    with serving(settings) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            head = f"{HEAD}Authorization: Bearer {KEY}\r\nContent-Length: 9000000\r\n\r\n"
            connection.sendall(head.encode() + body + PHOTOGRAPH * 20)
        assert gateway.edit().status_code == 200
        until(lambda: "client_gone" in gateway.log.getvalue())
        assert open_below(spool) == []

    assert list(spool.iterdir()) == []
    assert "client_gone" in gateway.log.getvalue()
    assert "crashed" not in gateway.log.getvalue()


def test_a_body_longer_than_it_says_is_one_broken_upload_and_no_second_request(
    gateway: Running, emulator: EmulatorServer
) -> None:
    body = form(usual(PHOTOGRAPH))
    head = f"{FORM_HEAD}{MINE}Content-Length: {len(body) - 30}\r\n\r\n"
    answer = raw(gateway, head.encode() + body)

    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"invalid_multipart"' in answer
    assert b"HTTP/1.1 200" not in answer
    assert emulator.stats()["calls"] == 0


def test_a_body_shorter_than_it_says_is_no_edit(
    tmp_path: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.server.exchange.DRAIN_SECONDS", 0.5)
    settings = settings_for(tmp_path, emulator, {"server": {"upload_stall_seconds": 0.3}})
    make_key(settings)
    body = form(usual(PHOTOGRAPH))
    head = f"{FORM_HEAD}{MINE}Content-Length: {len(body) + 30}\r\n\r\n"
    with serving(settings) as gateway:
        answer = raw(gateway, head.encode() + body)

    assert answer.startswith(b"HTTP/1.1 408")
    assert emulator.stats()["calls"] == 0


def open_below(folder: Path) -> list[str]:
    """Files of this folder that this process, the gateway's too, holds open, also nameless ones."""
    held = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            held.append(os.readlink(descriptor))
    return [name for name in held if name.startswith(str(folder))]


def test_a_spooled_upload_has_no_name_but_is_held_while_it_is_used(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    spool = tmp_path / "spool"
    settings = settings_for(
        tmp_path, emulator, {"server": {"spool_folder": str(spool), "spool_bytes": 1000}}
    )
    make_key(settings)
    emulator.order({"hang": True})
    with serving(settings) as gateway, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        while_it_flies = open_below(spool)
        let_go(emulator)
        assert asked.result(30).status_code == 200
        until(lambda: open_below(spool) == [])

    assert len(while_it_flies) == 1
    assert list(spool.iterdir()) == []


def test_http_1_0_is_served(gateway: Running, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(PHOTOGRAPH)
    done = subprocess.run(
        ["curl", "-s0", f"{gateway.base_url}/images/edits", "-H", f"Authorization: Bearer {KEY}",
         "-F", "model=deepshi-image-1", "-F", "prompt=grey", "-F", f"image=@{picture}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert json.loads(done.stdout)["data"][0]["b64_json"]
