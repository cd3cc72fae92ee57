"""Refusing early, slow and broken uploads: every client sees its answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.serving import KEY, PHOTOGRAPH, Running, make_key, serving, settings_for

HEAD = (
    "POST /v1/images/edits HTTP/1.1\r\nHost: gateway\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\n"
)


def raw(gateway: Running, request: bytes, *, close_after: float | None = None) -> bytes:
    """Send bytes and read until the gateway closes, or for so long."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        if close_after is not None:
            connection.settimeout(close_after)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except TimeoutError:
            return answer
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


def test_where_100_continue_is_asked_for_a_refusal_comes_instead(gateway: Running) -> None:
    answer = raw(
        gateway,
        f"{HEAD}Authorization: Bearer sk-wrong\r\nContent-Length: 5000000\r\n"
        "Expect: 100-continue\r\n\r\n".encode(),
    )

    assert answer.startswith(b"HTTP/1.1 401")
    assert b"100 Continue" not in answer


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


def test_a_stalled_upload_times_out_and_says_so(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"upload_stall_seconds": 0.2}})
    make_key(settings)
    with serving(settings) as gateway:
        started = time.monotonic()
        answer = raw(
            gateway,
            f"{HEAD}Authorization: Bearer {KEY}\r\nContent-Length: 1000\r\n\r\n--b\r\n".encode(),
            close_after=5,
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

    assert list(spool.iterdir()) == []
    assert "client_gone" in gateway.log.getvalue()
    assert "crashed" not in gateway.log.getvalue()


def test_http_1_0_is_served(gateway: Running, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(PHOTOGRAPH)
    done = subprocess.run(
        ["curl", "-s0", f"{gateway.base_url}/images/edits", "-H", f"Authorization: Bearer {KEY}",
         "-F", "model=deepshi-image-1", "-F", "prompt=grey", "-F", f"image=@{picture}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert json.loads(done.stdout)["data"][0]["b64_json"]
