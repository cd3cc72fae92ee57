"""The same bytes mean the same requests as to uvicorn with h11, a second and stricter parser."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import h11
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from gateway.server import ConnectionLimits, listen, server_config

VALID = (
    b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /a HTTP/1.1\r\nHost: x:80\r\nAccept: a/b\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;a=b\r\n\r\n\r\n\r\n1\r\nx\r\n0\r\nt: u\r\n\r\n",
    b"POST /d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAA\r\nContent-Length: 34\r\n\r\nGET /inner HTTP/1.1\r\nHost: abc\r\n\r\n",
    b"PUT /d HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    b"DELETE /f HTTP/1.1\r\nHost: [::1]:8\r\nA: \xe4\xf6\r\nB:  c d \t\r\nEmpty:\r\n\r\n",
)
LAST = (
    b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST /old HTTP/1.0\r\nContent-Length: 2\r\n\r\nxy",
)
PIECES = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x00", b"\x0b", b"\x80", b":", b";", b",", b"0", b"1",
    b"\r\n\r\n", b"0\r\n\r\n", b"Host: y\r\n", b"Host: x/y\r\n", b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n",
    b"Connection: upgrade\r\n", b"Upgrade: websocket\r\n", b"Content-Length: +1\r\n", b" fold\r\n",
    b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.0", b"RTSP/1.0", b"ICE/1.0", b"HTTP/2.0",
    b"BREW", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"ffffffffffffffff",
)  # fmt: skip
ANSWER = re.compile(rb"HTTP/1\.1 (\d+) .*?\r\n\r\n", re.DOTALL)

Request = dict[str, Any]


class Echo:
    """Answers each request with what it was, in the answer's head, also to HEAD."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message["more_body"]
        headers = [each for each in scope["headers"] if each[0] != b"upgrade"]
        seen = {
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "headers": [[part.decode("latin-1") for part in header] for header in headers],
            "body": hashlib.sha256(body).hexdigest(),
        }
        more_headers = [(b"content-length", b"0"), (b"seen", json.dumps(seen).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": more_headers})
        await send({"type": "http.response.body", "body": b""})


class Memory(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Theirs(H11Protocol):
    """h11 refuses empty lines before a request line, which RFC 9112 has servers ignore."""

    def handle_events(self) -> None:
        while self.conn.their_state is h11.IDLE and self.conn.trailing_data[0][:2] == b"\r\n":
            self.conn._receive_buffer._extract(2)
        super().handle_events()

    def send_400_response(self, msg: str) -> None:
        self.transport.close()  # uvicorn fails to refuse a HEAD


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Of a server of ours."""
    listener = listen("127.0.0.1", 0)
    limits = ConnectionLimits(max_connections_per_address=2000)
    server = uvicorn.Server(server_config(Echo(), limits, lifespan=False, close_seconds=1))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()
    listener.close()


def stream_of(choose: random.Random) -> tuple[bytes, bool]:
    """The bytes of some requests, and whether they are as they should be."""
    requests = [choose.choice(VALID) for _ in range(choose.randint(0, 3))]
    stream = b"".join([*requests, choose.choice(LAST)])
    changes = choose.choice([0, 1, 1, 2])
    for _ in range(changes):
        at = choose.randrange(len(stream))
        end = at + choose.choice([0, 0, 1, 4])
        stream = stream[:at] + choose.choice([*PIECES, b""]) + stream[end:]
    return stream, not changes


def ours(address: tuple[str, int], packets: list[bytes]) -> bytes:
    """What our server answers, which sees the end of the input behind the last packet."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in packets:
            connection.sendall(packet)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    return received


def theirs(loop: asyncio.AbstractEventLoop, config: uvicorn.Config, stream: bytes) -> bytes:
    """What uvicorn with h11 answers."""

    async def converse() -> bytes:
        state, transport = ServerState(), Memory()
        protocol = Theirs(config, state, {}, loop)
        protocol.connection_made(transport)
        protocol.data_received(stream)
        for _ in range(200):
            await asyncio.sleep(0)
        written = transport.written
        protocol.connection_lost(None)
        while state.tasks:  # each may start the next
            for task in state.tasks:
                task.cancel()
            await asyncio.sleep(0)
        return written

    return loop.run_until_complete(converse())


def requests_and_end(received: bytes) -> tuple[list[Request], list[int]]:
    """The requests that were answered, and the statuses of the refusals behind them."""
    seen: list[Request] = []
    refused: list[int] = []
    for answer in ANSWER.finditer(received):
        status = int(answer[1])
        if status == 200:
            assert not refused, received
            found = re.search(rb"\r\nseen: (.*)\r\n", answer[0])
            assert found, received
            seen.append(json.loads(found[1]))
        elif status != 100:
            refused.append(status)
    return seen, refused


def cut(choose: random.Random, stream: bytes) -> list[bytes]:
    at = sorted(choose.sample(range(len(stream)), min(len(stream), choose.randint(1, 4))))
    return [stream[start:end] for start, end in zip([0, *at], [*at, len(stream)], strict=True)]


def compare(address: tuple[str, int], seeds: range) -> None:
    config = uvicorn.Config(Echo(), http="h11", ws="none", lifespan="off", log_config=None)
    config.load()
    config.access_log = False
    loop = asyncio.new_event_loop()
    try:
        for seed in seeds:
            choose = random.Random(seed)
            stream, well_formed = stream_of(choose)
            whole, refused = requests_and_end(ours(address, [stream]))
            pieces = requests_and_end(ours(address, cut(choose, stream)))
            other, _ = requests_and_end(theirs(loop, config, stream))
            about = (seed, stream, whole, refused, pieces, other)
            assert pieces == (whole, refused), about
            assert whole == other[: len(whole)], about
            assert len(refused) <= 1, about
            if well_formed:
                assert (len(whole), refused) == (len(other), []), about
    finally:
        loop.close()


def test_200_connections_mean_the_same_to_h11(address: tuple[str, int]) -> None:
    compare(address, range(200))


@pytest.mark.long
def test_20_000_more_connections_mean_the_same_to_h11(address: tuple[str, int]) -> None:
    compare(address, range(200, 20_200))
