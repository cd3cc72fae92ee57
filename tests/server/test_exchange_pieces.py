"""An answer in pieces: each arrives at once, and one that is broken off is seen to be."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.server import ConnectionLimits, UnfinishedAnswerFilter, listen, server_config
from gateway.server.exchange import ClientDisconnected, Exchange
from gateway.wire.events import CONTENT_TYPE
from tests.support.serving import PHOTOGRAPH

EVENT = b'data: {"type": "image_edit.partial_image", "b64_json": "x"}\n\n'


class Pieces:
    """An app that answers every request in two pieces, the second once it may go on.

    It leaves the answer unfinished where the path says so, and sends without end where the
    path says that; `ended` says how that went.
    """

    def __init__(self) -> None:
        self.url = ""
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.ended = threading.Event()
        self.disconnected = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, request_id="req_1", take_seconds=0.5)
        async for _ in exchange.chunks():
            pass
        await exchange.start(200, {"content-type": CONTENT_TYPE})
        try:
            await exchange.send(EVENT)
            while scope["path"].startswith("/endless"):
                await exchange.send(EVENT * 10_000)
            assert await asyncio.to_thread(self.may_go_on.wait, 20)
            if scope["path"].startswith("/broken"):
                await exchange.send(EVENT)
            else:
                await exchange.finish(EVENT)
        except ClientDisconnected:
            self.disconnected = True
        finally:
            self.ended.set()


@pytest.fixture
def pieces() -> Iterator[Pieces]:
    app = Pieces()
    listener = listen("127.0.0.1", 0)
    app.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(server_config(app, ConnectionLimits(), lifespan=False))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield app
    server.should_exit = True
    thread.join()
    listener.close()


def test_each_piece_arrives_when_it_is_sent(pieces: Pieces) -> None:
    pieces.may_go_on.clear()
    with httpx.stream("POST", f"{pieces.url}/whole", content=b"x", trust_env=False) as answer:
        arrivals = answer.iter_raw()
        assert next(arrivals) == EVENT
        pieces.may_go_on.set()
        assert b"".join(arrivals) == EVENT


def test_an_answer_that_is_broken_off_ends_the_connection_without_its_last_chunk(
    pieces: Pieces,
) -> None:
    host, _, port = pieces.url.removeprefix("http://").partition(":")
    answers = {}
    for path in ("whole", "broken"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            head = f"POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n"
            connection.sendall(f"{head}connection: close\r\n\r\n".encode())
            received = b""
            while piece := connection.recv(65_536):
                received += piece
        answers[path] = received.partition(b"\r\n\r\n")[2]

    assert answers["broken"].count(EVENT) == answers["whole"].count(EVENT) == 2
    assert answers["whole"] == answers["broken"] + b"0\r\n\r\n"


def test_httpx_sees_that_an_answer_was_broken_off(pieces: Pieces) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{pieces.url}/broken", content=b"x", trust_env=False)


def test_the_official_sdk_sees_that_a_stream_was_broken_off(pieces: Pieces) -> None:
    with openai.OpenAI(base_url=f"{pieces.url}/broken", api_key="sk-x") as client:
        stream = client.images.edit(model="m", prompt="x", image=PHOTOGRAPH, stream=True)
        with pytest.raises(openai.APIConnectionError):
            list(stream)


async def test_the_official_asynchronous_sdk_sees_that_a_stream_was_broken_off(
    pieces: Pieces,
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{pieces.url}/broken", api_key="sk-x") as client:
        stream = await client.images.edit(model="m", prompt="x", image=PHOTOGRAPH, stream=True)
        with pytest.raises(openai.APIConnectionError):
            async for _ in stream:
                pass


def test_a_client_that_takes_nothing_is_given_up(pieces: Pieces) -> None:
    host, _, port = pieces.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST /endless HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert pieces.ended.wait(5)

    assert pieces.disconnected


def test_an_answer_left_unfinished_is_no_line_in_the_log(tmp_path: Path) -> None:
    said = logging.makeLogRecord({"msg": "ASGI callable returned without completing response."})
    other = logging.makeLogRecord({"msg": "Exception in ASGI application\n"})
    assert not UnfinishedAnswerFilter().filter(said)
    assert UnfinishedAnswerFilter().filter(other)

    script = tmp_path / "serve.py"
    script.write_text(
        "import logging, os, signal, threading\n"
        "from gateway.server import ConnectionLimits, listen, serve\n"
        "async def app(scope, receive, send):\n"
        "    logging.getLogger('uvicorn.error').error('returned without completing response.')\n"
        "    logging.getLogger('uvicorn.error').error('something else')\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "serve(lambda: app, listen('127.0.0.1', 0), limits=ConnectionLimits(), workers=1,\n"
        "      trusted_proxies=[], on_started=lambda: None)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30)
    assert "something else" in done.stderr
    assert "completing" not in done.stderr
