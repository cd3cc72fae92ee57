"""One request of a connection is read and answered at a time; what is behind it waits unread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.server import ConnectionLimits, listen, server_config
from gateway.server.protocol.direct_read import CHUNKED_READ_BYTES, HEAD_BYTES
from tests.server.test_server import rest_of, wait_for

KERNEL_BYTES = 24_000_000
"""More than the system's buffers of one connection hold."""
CHUNKED = b"POST /%d HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


class Waiting:
    """Answers each request with its path once it may; notices a client that leaves meanwhile."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.began: list[str] = []
        self.left = threading.Event()
        self.address = ("127.0.0.1", 0)
        self.server: uvicorn.Server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        leaving = asyncio.ensure_future(receive())
        while not self.may_answer.is_set():
            done, _ = await asyncio.wait([leaving], timeout=0.01)
            if done:
                self.left.set()
                return
        leaving.cancel()
        body = scope["path"].encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def queued_bytes(self) -> int:
        (connection,) = self.server.server_state.connections
        return len(connection._waiting)  # type: ignore[union-attr]


@pytest.fixture
def app() -> Iterator[Waiting]:
    app = Waiting()
    listener = listen("127.0.0.1", 0)
    app.address = listener.getsockname()
    config = server_config(app, ConnectionLimits(), lifespan=False, close_seconds=1)
    app.server = uvicorn.Server(config)
    thread = threading.Thread(target=app.server.run, args=([listener],))
    thread.start()
    yield app
    app.may_answer.set()
    app.server.should_exit = True
    thread.join()
    listener.close()


def get(number: int, *more: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in more)
    return b"GET /%d HTTP/1.1\r\nhost: x\r\n%b\r\n" % (number, lines)


def flood(connection: socket.socket, piece: bytes) -> int:
    """Send this again and again until the server has taken nothing for a while; the bytes sent."""
    connection.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 3 * KERNEL_BYTES:
            sent += connection.send(piece)
    return sent


def take_answers(connection: socket.socket) -> None:
    """Read until the connection ends, in whatever way: the test closes it early."""
    with contextlib.suppress(ConnectionError):
        rest_of(connection)


@pytest.mark.parametrize("first", [get(0), CHUNKED % 0 + b"0\r\n\r\n"], ids=["head", "chunks"])
def test_endless_requests_behind_an_unanswered_one_are_not_read(app: Waiting, first: bytes) -> None:
    with app.connect() as connection:
        connection.sendall(first)
        wait_for(lambda: app.began == ["/0"])
        assert flood(connection, get(1) * 1000) < KERNEL_BYTES
        assert app.queued_bytes() <= 2 * HEAD_BYTES
        assert app.began == ["/0"]


def test_endless_requests_in_the_packets_of_a_chunked_body_are_not_kept(app: Waiting) -> None:
    with app.connect() as connection:
        connection.sendall(CHUNKED % 0 + b"1\r\n")
        wait_for(lambda: app.began == ["/0"])
        assert flood(connection, b"x\r\n0\r\n\r\n" + get(1) * 30_000) < KERNEL_BYTES
        assert app.queued_bytes() <= CHUNKED_READ_BYTES + HEAD_BYTES


def test_requests_that_come_faster_than_their_answers_are_not_kept(app: Waiting) -> None:
    app.may_answer.set()
    most = 0
    with app.connect() as connection:
        wait_for(lambda: len(app.server.server_state.connections) == 1)
        reader = threading.Thread(target=take_answers, args=(connection,))
        reader.start()
        for _ in range(100):
            connection.sendall(get(1) * 1000)
            most = max(most, app.queued_bytes())
            if len(app.began) > 2000:
                break
        connection.shutdown(socket.SHUT_RDWR)
        reader.join(20)

    assert most <= 2 * HEAD_BYTES


def test_all_are_answered_in_their_order_once_there_is_an_answer(app: Waiting) -> None:
    app.may_answer.set()
    sent = b"".join(get(number) for number in range(3000)) + get(3000, b"connection: close")
    with app.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(sent,))
        sender.start()
        answers = rest_of(connection).split(b"HTTP/1.1 200 OK\r\n")[1:]
        sender.join(20)

    assert [int(answer.rpartition(b"/")[2]) for answer in answers] == list(range(3001))


# --- a client that ends its side ----------------------------------------------------------


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_client_that_ends_its_side_behind_whole_requests_gets_the_answers(
    app: Waiting, version: bytes
) -> None:
    with app.connect() as connection:
        connection.sendall(get(0).replace(b"1.1", version) + get(1))
        connection.shutdown(socket.SHUT_WR)
        wait_for(lambda: app.began == ["/0"])
        time.sleep(0.2)
        assert not app.left.is_set()
        app.may_answer.set()
        answer = rest_of(connection)

    assert answer.count(b"HTTP/1.1 200 OK\r\n") == (2 if version == b"1.1" else 1)
    assert (b"HTTP/1.1 100 Continue\r\n\r\n" in answer) == (version == b"1.1")


def test_a_client_that_leaves_behind_a_whole_request_is_noticed(app: Waiting) -> None:
    with app.connect() as connection:
        connection.sendall(get(0))
        wait_for(lambda: app.began == ["/0"])

    assert app.left.wait(5)


def test_a_client_that_ends_its_side_within_a_request_has_left(app: Waiting) -> None:
    with app.connect() as connection:
        connection.sendall(CHUNKED % 0 + b"5\r\nab")
        wait_for(lambda: app.began == ["/0"])
        connection.shutdown(socket.SHUT_WR)
        assert rest_of(connection) == b""
