"""nginx and Caddy as shipped, with TLS, in front of a real gateway."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.accounts.rules.guess_throttle import MOST_FAILURES
from gateway.emulator import EmulatorServer
from gateway.model.units import bytes_of
from gateway.settings import Settings, load
from tests.deploy.fronts import (
    CADDY,
    FRONTS,
    NGINX,
    Front,
    certificate,
    front,
    missing,
    nginx_files,
    program,
)
from tests.project.test_readme import free_port
from tests.support.serving import KEY, PHOTOGRAPH, GatewayProcess, make_key, settings_for, tables_of
from tests.support.streams import stream

MOST_BYTES = 2_000_000
TRUSTED = {"nginx": "127.0.0.1", "caddy": "127.0.0.0/31"}
SETTINGS: Settings = load(Path("config/production.toml"), environment={})


@pytest.fixture(scope="module", params=FRONTS)
def kind(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if reason := missing(name):
        pytest.skip(reason)
    return name


@pytest.fixture(scope="module")
def behind(
    kind: str, emulator_server: EmulatorServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """A gateway that believes the proxy, takes small bodies, and is asked through it."""
    folder = tmp_path_factory.mktemp(kind)
    more: dict[str, dict[str, Any]] = {
        # A network will do as well: pods' addresses are not known beforehand.
        "server": {"port": 0, "trusted_proxies": [TRUSTED[kind]]},
        "limits": {"max_body_bytes": MOST_BYTES, "max_image_bytes": MOST_BYTES},
        "metrics": {"token": "metrics"},
    }
    make_key(settings_for(folder, emulator_server, more))
    with (
        GatewayProcess(tables_of(folder, emulator_server, more), folder) as gateway,
        front(kind, int(gateway.url.rpartition(":")[2]), folder) as served,
    ):
        yield served


def code_of(answer: httpx.Response) -> str:
    body = answer.json()
    assert set(body["error"]) >= {"message", "type", "param", "code"}
    return str(body["error"]["code"])


def test_the_sdk_edits_through_tls_and_the_second_time_it_is_a_hit(
    behind: Front, emulator: EmulatorServer
) -> None:
    with openai.DefaultHttpxClient(verify=behind.tls, trust_env=False) as http_client:
        client = openai.OpenAI(
            base_url=behind.base_url, api_key=KEY, http_client=http_client, max_retries=0
        )
        heads = []
        for _ in range(2):
            answer = client.images.with_raw_response.edit(
                model="deepshi-image-1", prompt="through TLS", image=("a.jpg", PHOTOGRAPH)
            )
            heads.append(answer.headers["x-gateway-cache"])
            assert answer.parse().data
    assert heads == ["MISS", "HIT"]


def test_events_leave_as_they_are_made(behind: Front, emulator: EmulatorServer) -> None:
    emulator.order({"latency_seconds": 1.2})
    heard = stream(behind, partial_images=3, prompt="event by event")
    assert heard.kinds == ["partial"] * 3 + ["completed"]
    assert heard.seconds[0] < heard.seconds[3] - 0.6
    assert not heard.broken


def test_a_refusal_is_seen_by_who_is_still_sending(behind: Front, emulator: EmulatorServer) -> None:
    refused = behind.edit(images=[PHOTOGRAPH + bytes(20_000_000)], key="sk-wrong")
    assert (refused.status_code, code_of(refused)) == (401, "invalid_api_key")
    too_large = behind.edit(images=[PHOTOGRAPH + bytes(20_000_000)])
    assert (too_large.status_code, code_of(too_large)) == (413, "body_too_large")
    assert too_large.headers["x-gateway-error-source"] == "gateway"
    assert behind.edit("and the gateway goes on").status_code == 200


def test_guessers_are_told_apart_by_their_own_address_whatever_they_claim(
    behind: Front, emulator: EmulatorServer
) -> None:
    def guess(address: str, number: int) -> int:
        forged = {"x-forwarded-for": f"203.0.113.{number}", "x-real-ip": "203.0.113.9"}
        with behind.client(f"sk-guess-{number}", address=address) as client:
            return client.get("/v1/key", headers=forged).status_code

    statuses = [guess("127.0.0.2", number) for number in range(MOST_FAILURES + 1)]
    assert statuses == [401] * MOST_FAILURES + [429]
    assert guess("127.0.0.3", 1) == 401
    with behind.client(address="127.0.0.2") as client:
        assert client.get("/v1/key").status_code == 200  # a valid key always opens


def test_metrics_are_not_there_from_outside(behind: Front, emulator: EmulatorServer) -> None:
    with behind.client("metrics") as client:
        answer = client.get("/metrics")
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
        assert "gateway_" not in answer.text


def test_http_2_is_spoken(behind: Front, emulator: EmulatorServer, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl here")
    (tmp_path / "a.jpg").write_bytes(PHOTOGRAPH)
    done = subprocess.run(
        ["curl", "-sk", "--http2", "-o", tmp_path / "answer", "-w", "%{http_version} %{http_code}",
         "-H", f"Authorization: Bearer {KEY}", "-F", "model=deepshi-image-1",
         "-F", "prompt=two", "-F", f"image[]=@{tmp_path / 'a.jpg'}",
         f"{behind.base_url}/images/edits"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "2 200"
    assert json.loads((tmp_path / "answer").read_text())["data"]


def test_a_gateway_that_is_not_there_is_said_in_the_words_of_its_clients(
    kind: str, tmp_path: Path
) -> None:
    with front(kind, free_port(), tmp_path) as served, served.client() as client:
        answer = client.get("/v1/models")
    assert (answer.status_code, code_of(answer)) == (503, "gateway_unreachable")
    assert answer.headers["retry-after"] == "10"
    assert answer.headers["content-type"] == "application/json"


def test_nginx_asks_the_next_gateway_where_one_is_not_there(
    emulator: EmulatorServer, tmp_path: Path
) -> None:
    if reason := missing("nginx"):
        pytest.skip(reason)
    make_key(settings_for(tmp_path, emulator))
    with GatewayProcess(tables_of(tmp_path, emulator), tmp_path) as gateway:
        live = int(gateway.url.rpartition(":")[2])
        with front("nginx", free_port(), tmp_path, second_port=live) as served:
            statuses = [served.edit(f"whoever is there {n}").status_code for n in range(6)]
    assert statuses == [200] * 6
    assert emulator.stats()["billed_calls"] == 6


def test_what_is_larger_than_any_request_is_refused_by_its_declared_size(behind: Front) -> None:
    """By nginx itself, through Caddy by the gateway; Caddy says so with the next bytes to come."""
    with (
        socket.create_connection(("127.0.0.1", behind.port), timeout=30) as plain,
        behind.tls.wrap_socket(plain, server_hostname="127.0.0.1") as line,
    ):
        line.sendall(
            b"POST /v1/images/edits HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Authorization: Bearer " + KEY.encode() + b"\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 400000000\r\n\r\n"
        )
        line.settimeout(0.5)
        answer, sent = b"", 0
        while b"}}" not in answer and sent < 60:
            try:
                piece = line.recv(65536)
            except TimeoutError:
                line.sendall(bytes(1000))
                sent += 1
            else:
                assert piece, answer
                answer += piece
    assert answer.split(b" ", 2)[1] == b"413"
    assert json.loads(answer[answer.index(b"{") :])["error"]["code"] == "body_too_large"


# --- the files ------------------------------------------------------------------------


def test_nginx_finds_no_fault_in_its_file(tmp_path: Path) -> None:
    if reason := missing("nginx"):
        pytest.skip(reason)
    main = nginx_files(tmp_path, free_port(), 8080, *certificate(tmp_path))
    done = subprocess.run(
        [program("nginx"), "-t", "-e", "stderr", "-p", tmp_path, "-c", main],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_caddy_finds_no_fault_in_its_file() -> None:
    if reason := missing("caddy"):
        pytest.skip(reason)
    done = subprocess.run(
        ["caddy", "validate", "--adapter", "caddyfile", "--config", CADDY],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr


def test_bodies_and_time_outs_are_larger_than_the_gateway_s_own() -> None:
    nginx, caddy = NGINX.read_text(), CADDY.read_text()
    most = SETTINGS.limits.max_body_bytes
    assert _bytes(r"client_max_body_size (\d+)m;", nginx) > most
    assert _bytes(r"max_size (\d+)MB", caddy) > most
    patience = max(SETTINGS.upstream.timeout_seconds, SETTINGS.server.client_wait_seconds)
    assert _number(r"proxy_read_timeout (\d+)s;", nginx) > patience
    assert _number(r"response_header_timeout (\d+)s", caddy) > patience
    assert _number(r"proxy_send_timeout (\d+)s;", nginx) >= SETTINGS.server.upload_seconds
    assert _number(r"client_body_timeout (\d+)s;", nginx) > SETTINGS.server.upload_stall_seconds


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, pattern
    return int(found[1])


def _bytes(pattern: str, text: str) -> int:
    size = bytes_of(f"{_number(pattern, text)}MB")
    assert isinstance(size, int)
    return size
