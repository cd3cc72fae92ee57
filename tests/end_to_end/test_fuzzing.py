"""Whatever comes in by the entrances is answered, by nothing worse than a refusal, for ever."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.emulator import EmulatorServer
from gateway.model.edit import Route
from gateway.model.errors import KINDS
from tests.support.bodies import form, form_type, png, usual
from tests.support.hostile import ROUTES, SIZES, requests
from tests.support.serving import KEY, GatewayProcess, make_key, settings_for, tables_of
from tests.support.upstreams import png as real_png

HANG_SECONDS = 30
PICTURE = real_png(8, 8)
MEGABYTE = 2**20
MOST_GROWTH_BYTES = 48 * MEGABYTE
MOST_NEW_FILES = 8
"""Connections of the state's and the upstream's that were not open yet."""

MANNERS = st.sampled_from(["length"] * 9 + ["chunked"] * 6 + ["leaves"] * 4 + ["buys"])
"""How a request is sent: with its length, in chunks, in part and then left, or so that it is paid
for if it can be (all others ask for what is stored alone)."""
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.fixture(scope="module")
def fuzzed(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("fuzzed")
    tables = tables_of(
        folder,
        emulator_server,
        {
            "server": {"spool_folder": str(folder / "spool"), "spool_bytes": 500},
            "limits": {"max_body_bytes": 100_000, "max_image_bytes": 8_000},
            "log": {"format": "json"},
        },
    )
    make_key(settings_for(folder, emulator_server))
    with GatewayProcess(tables, folder) as gateway:
        yield gateway


@dataclass
class Growth:
    """What the gateway's process holds, now and when it had warmed up."""

    gateway: GatewayProcess
    warm_after: int
    cases: int = 0
    warm: tuple[int, int] = field(default=(0, 0))

    def case(self) -> None:
        self.cases += 1
        if self.cases == self.warm_after:
            self.warm = self._now()

    def _now(self) -> tuple[int, int]:
        process = Path(f"/proc/{self.gateway.process.pid}")
        pages = int((process / "statm").read_text().split()[1])
        return pages * 4096, len(list((process / "fd").iterdir()))

    def check(self) -> None:
        """It holds no more than it did, keeps no upload, and still works."""
        assert self.warm[0], "it never warmed up"
        bytes_now, files_now = self._now()
        assert bytes_now - self.warm[0] < MOST_GROWTH_BYTES, (self.warm[0], bytes_now)
        assert files_now - self.warm[1] <= MOST_NEW_FILES, (self.warm[1], files_now)
        answer = self.gateway.edit(f"make it grey {self.cases}", images=[PICTURE])
        assert answer.status_code == 200, answer.text
        spool = self.gateway.log.parent / "spool"
        assert not spool.exists() or list(spool.iterdir()) == []
        log = self.gateway.log.read_text()
        assert '"level": "error"' not in log
        assert "Traceback" not in log


class Client:
    """A client that keeps its connection as long as the gateway does."""

    def __init__(self, gateway: GatewayProcess) -> None:
        host, port = gateway.url.removeprefix("http://").split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=HANG_SECONDS)

    def send(
        self, route: Route, body: bytes, content_type: str, manner: str, sizes: Sequence[int]
    ) -> tuple[int, bytes] | None:
        """Status and body of the answer; None where the client left before it came."""
        connection = self._connection
        connection.putrequest("POST", f"/v1/images/{route}", skip_accept_encoding=True)
        connection.putheader("authorization", f"Bearer {KEY}")
        if manner != "buys":
            connection.putheader("cache-control", "only-if-cached")
        with contextlib.suppress(ValueError):  # what can't be sent as a header is left out
            connection.putheader("content-type", content_type.encode("latin-1"))
        if manner == "chunked":
            connection.putheader("transfer-encoding", "chunked")
        else:
            connection.putheader("content-length", str(len(body) + (manner == "leaves")))
        connection.endheaders()
        connection.send(_chunked(body, sizes) if manner == "chunked" else body)
        if manner == "leaves":
            connection.close()
            return None
        with connection.getresponse() as answer:
            return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


def _chunked(body: bytes, sizes: Sequence[int]) -> bytes:
    framed, at, turn = bytearray(), 0, 0
    while at < len(body):
        piece = body[at : at + sizes[turn % len(sizes)]]
        framed += b"%x\r\n" % len(piece) + piece + b"\r\n"
        at, turn = at + len(piece), turn + 1
    return bytes(framed + b"0\r\n\r\n")


def check_answer(status: int, body: bytes) -> None:
    """A picture, what the upstream says of it, or a refusal by the table; never our own fault."""
    assert status != 500, body
    if status == 200:
        return
    error = json.loads(body)["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    kind = KINDS.get(error["code"])
    assert kind is None or kind.status == status, error
    assert error["code"] not in {"internal_error", "upstream_failed"}, error


def fuzz_the_entrances(gateway: GatewayProcess, cases: int) -> None:
    growth, client = Growth(gateway, cases // 5), Client(gateway)

    @settings(max_examples=cases, suppress_health_check=QUIET)
    @given(requests(), SIZES, ROUTES, MANNERS)
    def whatever(request: tuple[bytes, str], sizes: list[int], route: Route, manner: str) -> None:
        growth.case()
        if answer := client.send(route, *request, manner, sizes):
            check_answer(*answer)

    try:
        whatever()
    finally:
        client.close()
    growth.check()


def test_whatever_is_uploaded_is_answered_by_no_more_than_a_refusal(
    fuzzed: GatewayProcess, emulator: EmulatorServer
) -> None:
    fuzz_the_entrances(fuzzed, 300)


@pytest.mark.long
def test_a_hundred_thousand_times_whatever_is_uploaded(
    fuzzed: GatewayProcess, emulator: EmulatorServer
) -> None:
    fuzz_the_entrances(fuzzed, 100_000)


# --- what is not even HTTP ------------------------------------------------------------------

BODY = form(usual(png()))
WHOLE = (
    f"POST /v1/images/edits HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {KEY}\r\n"
    f"Cache-Control: only-if-cached\r\nContent-Type: {form_type()}\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY
SNIPPETS = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b"Content-Length: 5\r\n", b"\xff", b"%",
     b"Transfer-Encoding: chunked\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n",
     b"0\r\n\r\n", b"HTTP/1.0", b"GET / HTTP/1.1\r\n\r\n", b"//", b"/../", b"?"]
)  # fmt: skip


@st.composite
def raw_requests(draw: st.DrawFn) -> bytes:
    """A good request of which some bytes, most of them of its head, are others or not there."""
    sent = WHOLE
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(sent), len(WHOLE) - len(BODY)) | 1))
        put = draw(SNIPPETS | st.binary(max_size=20))
        sent = sent[:at] + put + sent[at + draw(st.integers(0, 12)) :]
    return sent


def answered(gateway: GatewayProcess, sent: bytes) -> bytes:
    """Send this and no more, and hear the gateway out."""
    host, port = gateway.url.removeprefix("http://").split(":")
    received = b""
    with (
        socket.create_connection((host, int(port)), timeout=HANG_SECONDS) as connection,
        contextlib.suppress(BrokenPipeError, ConnectionError),  # it has refused it already
    ):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65_536):
            received += piece
    return received


def fuzz_heads(gateway: GatewayProcess, cases: int) -> None:
    growth = Growth(gateway, cases // 5)

    @settings(max_examples=cases, suppress_health_check=QUIET)
    @given(raw_requests())
    def whatever(sent: bytes) -> None:
        growth.case()
        answer = answered(gateway, sent)
        assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:200]
        assert b"HTTP/1.1 500" not in answer
        assert b"text/plain" not in answer

    whatever()
    growth.check()


def test_whatever_is_sent_is_answered_by_no_more_than_a_refusal(
    fuzzed: GatewayProcess, emulator: EmulatorServer
) -> None:
    fuzz_heads(fuzzed, 250)


@pytest.mark.long
def test_many_thousand_times_whatever_is_sent(
    fuzzed: GatewayProcess, emulator: EmulatorServer
) -> None:
    fuzz_heads(fuzzed, 20_000)
