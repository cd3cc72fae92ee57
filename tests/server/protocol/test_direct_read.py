"""Bodies come as they were sent, however they were cut up, and are not copied on their way."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from blake3 import blake3
from starlette.types import Receive, Scope, Send

from gateway.server import ConnectionLimits, listen, server_config
from gateway.server.protocol.direct_read import HEAD_BYTES, READ_BYTES
from gateway.server.protocol.uninitialised_bytes import uninitialised

MUCH = 3_000_000
SIZES = (0, 1, 100, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, 70_000, READ_BYTES, 3_000_001)


class Hashing:
    """Answers each body with its hash; `/late` after a moment, with a lot behind it.

    `/wait` has read its body and waits for its client to leave.
    """

    def __init__(self) -> None:
        self.kinds: set[type] = set()
        self.pieces = 0
        self.left = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hasher, more = blake3(), True
        self.pieces = 0
        while more:
            message: Any = await receive()
            body = message["body"]
            hasher.update(body)
            self.kinds.add(type(body))
            self.pieces += bool(body)
            more = message["more_body"]
        answer = hasher.hexdigest().encode()
        if scope["path"] == "/wait":
            assert (await receive())["type"] == "http.disconnect"
            self.left.set()
        if scope["path"] == "/late":
            await asyncio.sleep(0.01)
            answer = answer.ljust(MUCH)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def app() -> Hashing:
    return Hashing()


@pytest.fixture(params=["uvloop", "asyncio"])
def connection(app: Hashing, request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """To a server of ours on either event loop."""
    listener = listen("127.0.0.1", 0)
    config = server_config(app, ConnectionLimits(), lifespan=False, close_seconds=1)
    config.loop = request.param
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=20) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def body_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def request_of(body: bytes, *, chunked: bool = False) -> bytes:
    head = b"POST / HTTP/1.1\r\nhost: x\r\n"
    if not chunked:
        return head + b"content-length: %d\r\n\r\n" % len(body) + body
    cuts = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cuts)
    return head + b"transfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def check_answers(connection: socket.socket, bodies: list[bytes]) -> None:
    """Every body has arrived as it was sent, in this order."""
    received = b""
    while received.count(b"HTTP/1.1 200 OK") < len(bodies) or len(received.split()[-1]) < 64:
        piece = connection.recv(65_536)
        assert piece, received
        received += piece
    answers = [part[-64:].decode() for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert answers == [blake3(body).hexdigest() for body in bodies]


@pytest.mark.parametrize("size", SIZES)
def test_a_body_arrives_as_it_was_sent(connection: socket.socket, size: int) -> None:
    body = body_of(size)
    connection.sendall(request_of(body))
    check_answers(connection, [body])


@pytest.mark.parametrize("seed", range(4))
def test_requests_one_behind_the_other_in_pieces_of_any_size_are_told_apart(
    connection: socket.socket, seed: int
) -> None:
    """Also where a piece holds the end of one body and the head of the next request."""
    choose = random.Random(seed)
    bodies = [body_of(choose.choice(SIZES)) for _ in range(8)]
    stream = b"".join(request_of(body, chunked=choose.random() < 0.3) for body in bodies)

    def send() -> None:
        at = 0
        while at < len(stream):
            size = choose.choice([1, 300, HEAD_BYTES, 65_536, 2_000_000])
            connection.sendall(stream[at : at + size])
            at += size

    sender = threading.Thread(target=send)
    sender.start()
    check_answers(connection, bodies)
    sender.join(20)


def test_a_large_body_that_is_there_comes_in_few_pieces_and_is_no_copy(
    connection: socket.socket, app: Hashing
) -> None:
    """Bytes go through as they are: uvicorn would make bytes of anything else."""
    body = body_of(READ_BYTES)
    fewest = []
    for _ in range(5):
        connection.sendall(request_of(body))
        check_answers(connection, [body])
        fewest.append(app.pieces)
    assert min(fewest) <= 8
    assert app.kinds == {bytes}


def test_what_came_before_a_body_was_taken_stands_before_the_rest(
    connection: socket.socket,
) -> None:
    """The head brings some of the body, which nobody has taken when the rest is there."""
    body = body_of(500_000)
    for first in (1, 5_000, HEAD_BYTES, 40_000):
        sent = request_of(body)
        cut = len(sent) - len(body) + first
        connection.sendall(sent[:cut])
        connection.sendall(sent[cut:])
        check_answers(connection, [body])


@pytest.mark.parametrize("last", [b"HTTP/1.1\r\nhost: x\r\nconnection: close", b"HTTP/1.0"])
@pytest.mark.parametrize("behind", [b"\r\n", b"POST /hash HTTP/1.1\r\nhost: x\r\n"])
@pytest.mark.parametrize("size", [10, 300_000])
def test_what_follows_a_last_request_does_not_take_back_its_answer(
    connection: socket.socket, last: bytes, behind: bytes, size: int
) -> None:
    """To close with something unread would have the system drop what was not taken yet."""
    body = body_of(size)
    head = b"POST /late %b\r\ncontent-length: %d\r\n\r\n" % (last, size)
    connection.sendall(head + body + behind)
    threading.Event().wait(0.1)  # nothing of it is taken until all of it was written

    received = b""
    while piece := connection.recv(65_536):
        received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 1
    assert received.partition(b"\r\n\r\n")[2] == blake3(body).hexdigest().encode().ljust(MUCH)


@pytest.mark.parametrize(
    ("kept", "size"), [(b"close", 10), (b"close", 300_000), (b"keep-alive", 10)]
)
def test_a_client_that_leaves_is_noticed_whatever_it_has_sent_behind(
    connection: socket.socket, app: Hashing, kept: bytes, size: int
) -> None:
    head = b"POST /wait HTTP/1.1\r\nhost: x\r\nconnection: %b\r\ncontent-length: %d\r\n\r\n"
    connection.sendall(head % (kept, size) + body_of(size) + request_of(b"another"))
    threading.Event().wait(0.1)
    connection.close()

    assert app.left.wait(20)


def test_blank_bytes_hold_what_is_written_into_them() -> None:
    new, room = uninitialised(5)
    room[:] = b"abcde"
    assert new == b"abcde"
    assert hash(new) == hash(b"abcde")


def test_bytes_that_others_share_are_never_written() -> None:
    for size in (-1, 0, 1):
        with pytest.raises(ValueError, match="shared"):
            uninitialised(size)
