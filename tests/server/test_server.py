"""What a client may do to a connection: heads, numbers, and answers that it does not take."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.emulator import EmulatorServer
from gateway.server import ConnectionLimits, listen, server_config
from gateway.server.exchange import Exchange
from gateway.server.protocol.connection_limits import share_of
from tests.support.serving import (
    KEY,
    PHOTOGRAPH,
    GatewayProcess,
    Overrides,
    make_key,
    serving,
    tables_of,
)
from tests.support.serving import settings_for as made_settings
from tests.support.upstreams import png, recording_upstream

IPV6 = Path("/proc/net/if_inet6")
GET = b"GET /headers HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /body HTTP/1.1\r\nhost: x\r\n"
BIG_BYTES = 40_000_000


class App:
    """Answers with how many headers came, or `/big` with a body that no socket's buffers hold."""

    def __init__(self) -> None:
        self.port = 0
        self.server: uvicorn.Server
        self.answered = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, request_id="req_1")
        if scope["path"] == "/body":
            async for _ in exchange.chunks():
                pass
        size = BIG_BYTES if scope["path"] == "/big" else 10
        body = str(len(scope["headers"])).encode().ljust(size)
        if scope["path"] == "/stream":
            await exchange.start(200, {})
            await exchange.finish(b"x" * BIG_BYTES)
        else:
            headers = {"x-seen": exchange.headers.get("a", "")[:10]}
            await exchange.answer(200, headers, body)
        self.answered.set()

    def connect(self, *, receive_bytes: int = 0, address: str = "") -> socket.socket:
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if address:
            connection.bind((address, 0))
        connection.settimeout(8)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def ask(self, *pieces: bytes) -> bytes:
        """Send these and read until the server closes."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return rest_of(connection)

    def open_connections(self) -> int:
        return len(self.server.server_state.connections)


def rest_of(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


@contextmanager
def served(*, trusted_proxies: Sequence[str] = (), **bounds: Any) -> Iterator[App]:
    app = App()
    listener = listen("127.0.0.1", 0)
    app.port = listener.getsockname()[1]
    app.server = uvicorn.Server(
        server_config(
            app,
            ConnectionLimits(**bounds),
            trusted_proxies=trusted_proxies,
            lifespan=False,
            close_seconds=1,
        )
    )
    thread = threading.Thread(target=app.server.run, args=([listener],))
    thread.start()
    try:
        yield app
    finally:
        app.server.should_exit = True
        thread.join()
        listener.close()


def check_refused(answer: bytes, status: int, code: str) -> None:
    """One whole answer with the envelope, after which the server closed."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:300]
    lines = {line.lower() for line in head.split(b"\r\n")}
    assert {b"content-type: application/json", b"connection: close"} <= lines
    assert f"content-length: {len(body)}".encode() in lines
    assert any(re.fullmatch(rb"x-request-id: req_[0-9a-f]{32}", line) for line in lines)
    error = json.loads(body)["error"]
    assert error["code"] == code
    assert {"message", "type", "param"} <= error.keys()


# --- heads ----------------------------------------------------------------------------


def test_many_headers_of_one_name_cost_time_in_proportion() -> None:
    lines = b"a: bbbbbbbbbb\r\n" * 120_000
    with served(max_header_lines=200_000, max_header_bytes=10_000_000) as app:
        started = time.monotonic()
        answer = app.ask(GET, lines, b"connection: close\r\n\r\n")

    assert b"x-seen: bbbbbbbbbb" in answer
    assert time.monotonic() - started < 4


def test_more_headers_than_allowed_are_refused_and_as_many_are_not() -> None:
    with served(max_header_lines=100) as app:
        allowed = app.ask(GET, b"a: b\r\n" * 98, b"connection: close\r\n\r\n")
        refused = app.ask(GET, b"a: b\r\n" * 99, b"connection: close\r\n\r\n")

    assert allowed.split(b"\r\n\r\n")[1].strip() == b"100"
    check_refused(refused, 431, "headers_too_large")


@pytest.mark.parametrize(
    "pieces",
    [
        (GET, b"a: ", b"b" * 70_000, b"\r\n\r\n"),
        (b"GET /", b"x" * 70_000, b" HTTP/1.1\r\nhost: x\r\n\r\n"),
        (GET, b"a: ", *([b"b" * 10_000] * 7)),
        (b"\r\n" * 40_000,),
        (POST, b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"a: b\r\n" * 200),
        (POST, b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", *([b"a" * 10_000] * 40)),
    ],
    ids=["header", "url", "endless header", "empty lines", "trailers", "endless trailer"],
)
def test_a_head_or_tail_that_is_too_large_is_refused(pieces: tuple[bytes, ...]) -> None:
    with served(max_header_bytes=64 * 2**10) as app:
        check_refused(app.ask(*pieces), 431, "headers_too_large")


def test_a_client_that_still_sends_sees_that_its_head_was_too_large() -> None:
    with served() as app, app.connect() as connection:
        connection.sendall(GET + b"a: b\r\n" * 200)
        time.sleep(0.1)
        for _ in range(10):
            connection.sendall(b"a: b\r\n" * 10_000)
        check_refused(rest_of(connection), 431, "headers_too_large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"this is no HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nno chunk\r\n",
        POST + b"content-length: " + b"0" * 5_000 + b"1\r\n\r\n1",
    ],
    ids=["line", "header", "url", "chunk", "length"],
)
def test_what_is_no_http_gets_the_envelope(request_bytes: bytes) -> None:
    with served() as app:
        check_refused(app.ask(request_bytes), 400, "bad_request")


def test_what_is_no_http_does_not_take_the_answer_of_the_request_before_it() -> None:
    with served() as app:
        answer = app.ask(GET + b"\r\n" + b"this is no HTTP\r\n\r\n")

    first, second = answer.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200")
    check_refused(b"HTTP/1.1 " + second, 400, "bad_request")


# --- time -----------------------------------------------------------------------------


def test_who_connects_and_sends_nothing_is_closed() -> None:
    with served(header_seconds=0.3) as app:
        assert app.ask() == b""


def test_a_head_that_trickles_is_closed() -> None:
    with served(header_seconds=0.3) as app, app.connect() as connection:
        connection.sendall(GET)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _trickle(connection, 5)


def _trickle(connection: socket.socket, seconds: float) -> None:
    for _ in range(int(seconds / 0.05)):
        connection.sendall(b"a")
        time.sleep(0.05)


def test_the_head_of_a_further_request_is_under_the_same_limit() -> None:
    with served(header_seconds=0.15) as app, app.connect() as connection:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        time.sleep(0.2)
        connection.sendall(GET + b"\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200"), "waiting between them is free"
        connection.sendall(b"GET /")
        started = time.monotonic()
        assert rest_of(connection) == b""

    assert time.monotonic() - started < 4


def test_a_body_is_not_under_the_limit_of_heads() -> None:
    with served(header_seconds=0.3) as app, app.connect() as connection:
        connection.sendall(POST + b"content-length: 3\r\nconnection: close\r\n\r\n")
        for _ in range(3):
            time.sleep(0.2)
            connection.sendall(b"x")
        assert rest_of(connection).startswith(b"HTTP/1.1 200")


# --- number ---------------------------------------------------------------------------


def test_a_connection_beyond_the_cap_is_told_so_and_closed() -> None:
    with served(max_connections=2) as app, app.connect():
        with app.connect():
            wait_for(lambda: app.open_connections() == 2)
            with httpx.Client(trust_env=False) as client:
                answer = client.get(f"http://127.0.0.1:{app.port}/")
            check_refused(app.ask(), 503, "overloaded")
        wait_for(lambda: app.open_connections() == 1)
        again = app.ask(GET + b"connection: close\r\n\r\n")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-should-retry"] == "true"
    assert again.startswith(b"HTTP/1.1 200")


LIVENESS = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


def is_served(app: App, address: str) -> bool:
    with app.connect(address=address) as connection:
        connection.sendall(GET + b"connection: close\r\n\r\n")
        return rest_of(connection).startswith(b"HTTP/1.1 200")


def test_an_upload_beyond_the_cap_is_refused_while_it_is_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with served(max_connections=1) as app, app.connect():
        wait_for(lambda: app.open_connections() == 1)
        with app.connect() as late:
            late.sendall(POST + b"content-length: 100000\r\n\r\n")
            for _ in range(10):
                time.sleep(0.02)
                late.sendall(b"x" * 10_000)
            check_refused(rest_of(late), 503, "overloaded")

    assert "Fatal error" not in caplog.text


def test_one_address_takes_no_more_than_its_share_of_the_connections() -> None:
    with served(max_connections=20, max_connections_per_address=5) as app, ExitStack() as open_:
        for _ in range(5):
            open_.enter_context(app.connect(address="127.0.0.2"))
        wait_for(lambda: app.open_connections() == 5)
        assert not is_served(app, "127.0.0.2")
        assert is_served(app, "127.0.0.3")
        open_.close()
        wait_for(lambda: app.open_connections() == 0)
        assert is_served(app, "127.0.0.2")


def test_a_trusted_proxy_is_no_single_client() -> None:
    limits = {"max_connections_per_address": 1}
    with served(trusted_proxies=["127.0.0.0/30"], **limits) as app, app.connect():
        wait_for(lambda: app.open_connections() == 1)
        assert is_served(app, "127.0.0.1")
        with app.connect(address="127.0.0.9"):
            wait_for(lambda: app.open_connections() == 2)
            assert not is_served(app, "127.0.0.9")


@pytest.mark.skipif(
    not (IPV6.exists() and IPV6.read_text()), reason="this machine has no IPv6 address"
)
def test_the_address_of_all_is_reached_by_both_families() -> None:
    with listen("::", 0) as listener:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listener.getsockname()[1]), timeout=5).close()


def test_an_ipv6_network_of_64_bits_is_one_address() -> None:
    assert share_of("2001:db8::1") == share_of("2001:db8::2:1") != share_of("2001:db8:0:1::1")
    assert share_of("fe80::1%eth0") == share_of("fe80::2")
    assert share_of("10.0.0.1") != share_of("10.0.0.2")


def test_a_liveness_probe_is_answered_when_all_connections_are_taken() -> None:
    """Also while others over the limit hang on."""
    with served(max_connections=2) as app, ExitStack() as open_:
        for number in range(200):
            open_.enter_context(app.connect(address=f"127.0.1.{number % 50 + 1}"))
        wait_for(lambda: app.open_connections() == 2)
        answer = app.ask(LIVENESS)
        check_refused(app.ask(GET + b"\r\n"), 503, "overloaded")

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\nconnection: close\r\n" in answer


def test_the_cap_is_below_the_limit_of_open_files_which_is_raised() -> None:
    script = (
        "import resource\n"
        "from gateway.server import ConnectionLimits, server_config, raise_file_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))\n"
        "print(server_config(print, ConnectionLimits()).connection_limits.max_connections)\n"
        "raise_file_limit()\n"
        "print(server_config(print, ConnectionLimits()).connection_limits.max_connections)\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.split() == ["50", "200", "400", "400"], done.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 400


# --- answers that nobody takes --------------------------------------------------------


@pytest.mark.parametrize("path", ["/big", "/stream"])
@pytest.mark.parametrize("headers", [b"", b"connection: close\r\n"], ids=["kept", "closing"])
def test_a_client_that_takes_nothing_of_its_answer_is_closed(path: str, headers: bytes) -> None:
    with served(answer_seconds=0.3) as app, app.connect(receive_bytes=4096) as connection:
        connection.sendall(GET.replace(b"/headers", path.encode()) + headers + b"\r\n")
        wait_for(lambda: app.open_connections() == 1)
        assert not app.answered.wait(0.2), "the answer is not done while nobody takes it"
        assert app.answered.wait(5)
        wait_for(lambda: app.open_connections() == 0)


def untaken(app: App, key: bytes) -> socket.socket:
    """A connection whose client has asked for a big answer and takes nothing of it."""
    connection = app.connect(receive_bytes=4096)
    connection.sendall(GET.replace(b"/headers", b"/big") + b"authorization: " + key + b"\r\n\r\n")
    return connection


def unsent_bytes(app: App) -> int:
    connections = list(app.server.server_state.connections)
    return sum(each.transport.get_write_buffer_size() for each in connections)


def test_answers_that_nobody_takes_are_bounded_in_all_and_by_key() -> None:
    limit = 5 * BIG_BYTES  # five answers in all, and one of each key
    with served(max_unsent_bytes=limit) as app, ExitStack() as open_:
        first = open_.enter_context(untaken(app, b"a"))
        wait_for(lambda: unsent_bytes(app) > BIG_BYTES / 2)
        for _ in range(10):
            open_.enter_context(untaken(app, b"a"))
        for number in range(10):
            open_.enter_context(untaken(app, b"key %d" % number))
            wait_for(lambda: unsent_bytes(app) <= limit)
        wait_for(lambda: unsent_bytes(app) > limit - 2 * BIG_BYTES)
        assert first.recv(12) == b"HTTP/1.1 200"
        assert is_served(app, "127.0.0.1")


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it() -> None:
    with served(answer_seconds=0.5) as app, app.connect(receive_bytes=65_536) as connection:
        connection.sendall(GET.replace(b"/headers", b"/big") + b"connection: close\r\n\r\n")
        taken = 0
        for number in range(BIG_BYTES):
            if number < 25:
                time.sleep(0.08)
            piece = connection.recv(1_000_000)
            taken += len(piece)
            if not piece:
                break

    assert taken > BIG_BYTES


def test_a_client_keeps_its_place_until_it_has_taken_its_answer(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with recording_upstream() as upstream:
        upstream.picture = png(2500, 2000, noise=True)
        settings = made_settings(
            tmp_path, emulator,
            {"upstream": {"base_url": upstream.url}, "server": {"answer_seconds": 0.6}},
        )  # fmt: skip
        make_key(settings, team_terms={"unlimited": True, "max_in_flight": 1})
        with serving(settings) as gateway:
            assert gateway.edit().status_code == 200
            host, port = gateway.url.removeprefix("http://").split(":")
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect((host, int(port)))
                connection.sendall(edit_request())
                assert connection.recv(12) == b"HTTP/1.1 200"
                while_it_waits = gateway.edit()
                wait_for(lambda: gateway.edit().status_code == 200)

    assert while_it_waits.status_code == 429


def edit_request() -> bytes:
    request = httpx.Request(
        "POST", "http://x/v1/images/edits",
        data={"model": "deepshi-image-1", "prompt": "make it grey"},
        files=[("image[]", ("0.jpg", PHOTOGRAPH))], headers={"authorization": f"Bearer {KEY}"},
    )  # fmt: skip
    body = request.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"POST /v1/images/edits HTTP/1.1\r\n{head}\r\n".encode() + body


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- what an upstream sends -----------------------------------------------------------


def test_an_upstream_request_id_of_any_bytes_does_not_lose_the_picture(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with recording_upstream() as upstream:
        upstream.request_id = "up-€-\u0142-1".encode()
        settings = made_settings(tmp_path, emulator, {"upstream": {"base_url": upstream.url}})
        make_key(settings)
        with serving(settings) as gateway:
            answer = gateway.edit()

    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]
    assert answer.headers["x-gateway-upstream-request-id"] == "up---1"


@pytest.mark.parametrize("value", ["€", "a\r\nb: c", "\x00"])
async def test_an_answer_with_a_header_that_cannot_be_sent_sends_nothing(value: str) -> None:
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "headers": []}
    exchange = Exchange(scope, _nothing, send, request_id="req_1")
    with pytest.raises(ValueError, match="x-a"):
        await exchange.answer(200, {"x-a": value}, b"")

    assert not exchange.answered
    assert sent == []


async def _nothing() -> dict[str, Any]:
    raise AssertionError("nothing is read")


# --- what is written of it ------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_requests_leave_no_lines_of_libraries_in_the_journal(
    tmp_path: Path, emulator: EmulatorServer, workers: int
) -> None:
    overrides: Overrides = {"server": {"workers": workers}, "log": {"format": "json"}}
    settings = made_settings(tmp_path, emulator, overrides)
    make_key(settings)
    with GatewayProcess(tables_of(tmp_path, emulator, overrides), tmp_path) as process:
        host, port = process.url.removeprefix("http://").split(":")
        with process.client() as client:
            wait_for(lambda: client.get("/healthz").status_code == 200)
            before = len(process.log.read_text())
            for _ in range(6):
                with socket.create_connection((host, int(port)), timeout=5) as connection:
                    connection.sendall(b"this is no HTTP\r\n\r\n")
                    assert b"bad_request" in rest_of(connection)
                kind = {"content-type": "multipart/form-data; boundary=b"}
                answer = client.post("/v1/images/edits", content=b"--bx", headers=kind)
                assert answer.json()["error"]["code"] == "invalid_multipart"
                offer = {"upgrade": "x", "connection": "upgrade, close"}
                assert client.get("/healthz", headers=offer).status_code == 200
        wait_for(lambda: process.log.read_text()[before:].count("invalid_multipart") == 6)
        lines = process.log.read_text()[before:].splitlines()

    assert {json.loads(line)["event"] for line in lines} == {"request"}
