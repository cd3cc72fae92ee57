"""The wire to the upstream: how connections come about, what is read from them, what is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.upstream.call import Broken, Payload, Unsent
from gateway.upstream.client import CatalogueUnavailable
from gateway.upstream.connections import MAX_HEADER_BYTES
from tests.deploy.fronts import NAME, certificate
from tests.upstream.test_client import PATH, peer, pieces, upstream_at

BODY = json.dumps({"data": [{"b64_json": "x" * 300_000}]}).encode()


def small() -> Payload:
    return Payload("text/plain", 2, pieces(b"hi"))


class Scripted:
    """An upstream that answers each request with the next of these bytes, however it is asked.

    Where a script ends with `close`, so does the connection.
    """

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self.connections = 0
        self.heads: list[bytes] = []
        self._answers, self._close = list(answers), close

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self._answers:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length: "):
                    await reader.readexactly(int(line.partition(b":")[2]))
            writer.write(self._answers.pop(0))
            await writer.drain()
            if self._close:
                return
        await reader.read()


def answer(body: bytes = BODY, *headers: bytes, length: bool = True) -> bytes:
    lines = [b"content-length: %d" % len(body)] if length else []
    return b"\r\n".join((b"HTTP/1.1 200 OK", *lines, *headers, b"", body))


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
    return answer(
        framed + b"0\r\nx-trailer: 1\r\n\r\n", b"transfer-encoding: chunked", length=False
    )


# --- what an answer may look like -------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(answer(), id="of a length"),
        pytest.param(chunked(BODY, 70_001), id="in chunks"),
        pytest.param(chunked(BODY, 7), id="in tiny chunks"),
        pytest.param(b"HTTP/1.1 103 Early\r\nlink: <x>\r\n\r\n" + answer(), id="after hints"),
        pytest.param(answer(BODY, b"content-encoding: identity"), id="in identity"),
    ],
)
async def test_an_answer_is_understood_and_its_connection_serves_again(sent: bytes) -> None:
    scripted = Scripted(sent, sent, sent)
    async with peer(scripted) as url, upstream_at(url, keep_alive=True) as upstream:
        for _ in range(3):
            assert (await upstream.send(PATH, small(), request_id="r")).body == BODY

    assert scripted.connections == 1


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with (
        peer(Scripted(answer(length=False), close=True)) as url,
        upstream_at(url) as upstream,
    ):
        assert (await upstream.send(PATH, small(), request_id="r")).body == BODY


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(answer()[:-1], id="of a length"),
        pytest.param(chunked(BODY, 1_000)[:-30], id="in chunks"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-", id="in its head"),
        pytest.param(b"", id="before it"),
    ],
)
async def test_an_answer_that_is_cut_short_is_none(sent: bytes) -> None:
    async with peer(Scripted(sent, close=True)) as url, upstream_at(url) as upstream:
        with pytest.raises(Broken) as caught:
            await upstream.send(PATH, small(), request_id="r")

    assert caught.value.why == "failed"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"SMTP ready\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", id="upgrade"),
        pytest.param(answer(BODY, b"content-length: 3"), id="two lengths"),
        pytest.param(answer(BODY, b"transfer-encoding: chunked"), id="length and chunks"),
        pytest.param(answer(b"{}") + b"!", id="bytes too many"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEADER_BYTES * 9, id="endless head"),
    ],
)
async def test_what_is_no_answer_may_have_been_charged(sent: bytes) -> None:
    async with peer(Scripted(sent)) as url, upstream_at(url) as upstream:
        with pytest.raises(Broken) as caught:
            await upstream.send(PATH, small(), request_id="r")

    assert caught.value.why == "failed"


async def test_hints_without_an_answer_are_given_up_in_time() -> None:
    scripted = Scripted(b"HTTP/1.1 103 Early\r\n\r\n" * 10_000)
    async with peer(scripted) as url, upstream_at(url, timeout_seconds=0.5) as upstream:
        with pytest.raises(Broken) as caught:
            await upstream.send(PATH, small(), request_id="r")

    assert caught.value.why == "timeout"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(chunked(BODY, 10_000), id="in chunks"),
        pytest.param(answer(BODY[:9], b"content-length: 10000000000"), id="by its own word"),
    ],
)
async def test_an_answer_is_bounded_however_it_comes(sent: bytes) -> None:
    sent = sent.replace(b"content-length: 9\r\n", b"")
    async with peer(Scripted(sent)) as url, upstream_at(url, max_answer_bytes=200_000) as upstream:
        with pytest.raises(Broken) as caught:
            await upstream.send(PATH, small(), request_id="r")

    assert caught.value.why == "too_large"


# --- one connection for each call -------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        pytest.param(answer(), BODY, id="nothing else"),
        pytest.param(answer(BODY) + answer(b"abc"), BODY, id="a second answer"),
        pytest.param(answer(b"{}") + answer(b"abc"), b"{}", id="a second small answer"),
    ],
)
async def test_a_call_has_a_connection_of_its_own_whatever_came_on_the_last_one(
    sent: bytes, body: bytes
) -> None:
    scripted = Scripted(sent, answer(b"last"))
    async with peer(scripted) as url, upstream_at(url) as upstream:
        assert (await upstream.send(PATH, small(), request_id="r")).body == body
        assert (await upstream.send(PATH, small(), request_id="r")).body == b"last"

    assert scripted.connections == 2
    assert all(b"\r\nconnection: close\r\n" in head.lower() for head in scripted.heads)


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        pytest.param(answer(BODY, b"connection: close"), BODY, id="that says so"),
        pytest.param(answer(b"{}").replace(b"1.1", b"1.0"), b"{}", id="of the old kind"),
    ],
)
async def test_a_kept_connection_is_not_used_again_after_an_answer(
    sent: bytes, body: bytes
) -> None:
    scripted = Scripted(sent, answer(b"last"))
    async with peer(scripted) as url, upstream_at(url, keep_alive=True) as upstream:
        assert (await upstream.send(PATH, small(), request_id="r")).body == body
        assert (await upstream.send(PATH, small(), request_id="r")).body == b"last"

    assert scripted.connections == 2


@pytest.mark.parametrize("reads_on", [True, False])
async def test_an_answer_that_comes_early_is_taken_and_the_rest_is_not_sent(reads_on: bool) -> None:
    sent = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal sent
        while True:
            sent += 65_536
            yield bytes(65_536)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        while reads_on and await reader.read(65_536):
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)

    async with peer(refuse) as url, upstream_at(url) as upstream:
        whole = Payload("text/plain", 10**13, endless())
        found = await upstream.send(PATH, whole, request_id="r")

    assert (found.status, found.body) == (413, b"{}")
    assert sent < 10**9


async def test_a_call_that_is_given_up_leaves_no_connection(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()

    async with peer(silent) as url, upstream_at(url) as upstream:
        call = asyncio.create_task(upstream.send(PATH, small(), request_id="r"))
        await asyncio.sleep(0.1)
        call.cancel()
        async with asyncio.timeout(5):
            await ended.wait()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_an_upload_that_is_not_taken_is_given_up_in_time() -> None:
    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)

    async with peer(stuck) as url, upstream_at(url, read_timeout_seconds=0.1) as upstream:
        large = Payload("text/plain", 50_000_000, pieces(*[bytes(1_000_000)] * 50))
        with pytest.raises(Broken) as caught:
            await upstream.send(PATH, large, request_id="r")

    assert caught.value.why == "timeout"


async def test_what_is_closed_ends_its_calls_and_makes_no_new_ones() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with peer(silent) as url, upstream_at(url) as upstream:
        call = asyncio.create_task(upstream.send(PATH, small(), request_id="r"))
        await asyncio.sleep(0.1)
        await upstream.close()
        with pytest.raises(Broken):
            await call
        with pytest.raises(Unsent):
            await upstream.send(PATH, small(), request_id="r")


async def test_a_header_that_can_not_be_is_not_sent() -> None:
    scripted = Scripted(answer())
    async with peer(scripted) as url, upstream_at(url, key="a\r\nx: b") as upstream:
        with pytest.raises(Unsent):
            await upstream.send(PATH, small(), request_id="r")

    assert scripted.heads == []


# --- addresses, proxies, TLS ------------------------------------------------------------


@contextlib.contextmanager
def nobody_takes_it() -> Iterator[int]:
    """A port that neither takes a connection nor refuses it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        try:
            yield port
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("first", ["refuses", "is silent"])
async def test_another_address_is_tried_where_the_first(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    with nobody_takes_it() as silent:
        async with (
            peer(Scripted(answer())) as url,
            upstream_at("http://two.example/v1", connect_timeout_seconds=5.0) as upstream,
        ):
            port = int(url.removesuffix("/v1").rpartition(":")[2])
            with socket.create_server(("127.0.0.1", 0)) as closed:
                refusing = closed.getsockname()[1]
            ports = (refusing if first == "refuses" else silent, port)
            found = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", number))
                for number in ports
            ]

            loop = asyncio.get_running_loop()
            plain: Any = loop.getaddrinfo

            async def look_up(host: str, *more: Any, **named: Any) -> Any:
                return found if host == "two.example" else await plain(host, *more, **named)

            monkeypatch.setattr(loop, "getaddrinfo", look_up)
            assert (await upstream.send(PATH, small(), request_id="r")).body == BODY


async def test_a_proxy_is_told_the_whole_address_and_who_asks() -> None:
    scripted = Scripted(answer(), answer(b"{}"))
    async with peer(scripted) as url:
        proxy = url.removesuffix("/v1").replace("//", "//me:p%40ss@")
        async with upstream_at("http://upstream.invalid:81/v1", proxy=proxy) as upstream:
            assert (await upstream.send(PATH, small(), request_id="r")).body == BODY
            assert await upstream.models() == b"{}"

    lines = scripted.heads[0].lower().split(b"\r\n")
    assert lines[0] == b"post http://upstream.invalid:81/v1/images/edits http/1.1"
    assert b"host: upstream.invalid:81" in lines
    assert b"\r\nproxy-authorization: basic " + b"bWU6cEBzcw==".lower() in scripted.heads[0].lower()
    assert scripted.heads[1].startswith(b"GET http://upstream.invalid:81/v1/models HTTP/1.1\r\n")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_tls_goes_through_a_proxy_and_by_the_bundle_alone(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    scripted, tunnels = Scripted(answer(), answer()), []
    server = await asyncio.start_server(scripted, "127.0.0.1", 0, ssl=context)
    there = server.sockets[0].getsockname()[1]

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnels.append(await reader.readuntil(b"\r\n\r\n"))
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", there)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))

    async with server, peer(proxy) as url:
        more = {"proxy": url.removesuffix("/v1")}
        async with upstream_at(f"https://{NAME}/v1", ca_bundle=str(chain), **more) as upstream:
            for _ in range(2):
                assert (await upstream.send(PATH, small(), request_id="r")).body == BODY
        assert len(tunnels) == scripted.connections == 2
        async with upstream_at(f"https://{NAME}/v1", **more) as distrustful:
            with pytest.raises(Unsent):
                await distrustful.send(PATH, small(), request_id="r")
            with pytest.raises(CatalogueUnavailable, match="certificate"):
                await distrustful.models()

    assert all(told.startswith(b"CONNECT %b:443 " % NAME.encode()) for told in tunnels)
    assert len(scripted.heads) == 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_proxy_is_reached_by_tls(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    scripted = Scripted(answer())
    server = await asyncio.start_server(scripted, "127.0.0.1", 0, ssl=context)
    proxy = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    there = "http://upstream.invalid:81/v1"
    async with server:
        async with upstream_at(there, proxy=proxy, ca_bundle=str(chain)) as upstream:
            assert (await upstream.send(PATH, small(), request_id="r")).body == BODY
        async with upstream_at(there, proxy=proxy) as distrustful:
            with pytest.raises(Unsent):
                await distrustful.send(PATH, small(), request_id="r")

    (head,) = scripted.heads
    assert head.startswith(b"POST http://upstream.invalid:81/v1/images/edits HTTP/1.1\r\n")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
