"""Pictures fetched over real sockets: what is taken, what is not, and why."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway.upstream.connections import open_tls
from gateway.upstream.picture_fetcher import PictureFetcher, PictureNotFetched
from gateway.upstream.rules.picture_hosts import parse_hosts
from tests.deploy.fronts import NAME, certificate

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def said(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = "".join(f"{header}\r\n" for header in headers)
        writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    return answer


async def drips(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def host(answer: Answer) -> AsyncIterator[tuple[str, list[bytes]]]:
    heads: list[bytes] = []
    served = set[asyncio.Task[object] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(writer)
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()
        await asyncio.gather(*(task for task in served if task))


def fetcher(*hosts: str, max_bytes: int = 100_000, seconds: float = 2.0) -> PictureFetcher:
    return PictureFetcher(hosts=parse_hosts(hosts), max_bytes=max_bytes, seconds=seconds)


class Network:
    """The machine's resolver and its connections: what is looked up, and where it leads.

    Every connection is refused, but one to an address of `leads_to` arrives at that port here.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str]] = []
        self.looked_up: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self.leads_to: dict[str, int] = {}
        loop = asyncio.get_running_loop()
        self._getaddrinfo = loop.getaddrinfo
        monkeypatch.setattr(loop, "getaddrinfo", self._look_up)
        self._connect = loop.sock_connect
        monkeypatch.setattr(loop, "sock_connect", self._connect_to)

    async def _look_up(self, host: str, port: int, **more: Any) -> list[Any]:
        if host == "127.0.0.1":  # uvloop asks for the address that it connects to
            return await self._getaddrinfo(host, port, **more)
        self.looked_up.append(host)
        addresses = self.answers[min(len(self.looked_up), len(self.answers)) - 1]
        found: list[Any] = []
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            end = (address, port, 0, 0) if ":" in address else (address, port)
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", end))
        return found

    async def _connect_to(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.connected.append((address[0], address[1]))
        if port := self.leads_to.get(address[0]):
            await self._connect(sock, ("127.0.0.1", port))
            return
        raise ConnectionRefusedError


@pytest.fixture
async def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


async def test_a_picture_of_a_named_origin_is_fetched_without_any_credential() -> None:
    async with host(said(PNG)) as (origin, heads):
        (found,) = await fetcher(origin).fetch([f"{origin}/a%2Fb%7e.png?sig=a%2Bb%3D&x=1%3A2"])
    assert found == PNG
    (head,) = heads
    assert head.startswith(b"GET /a%2Fb%7e.png?sig=a%2Bb%3D&x=1%3A2 HTTP/1.1\r\n")
    assert b"authorization" not in head.lower()
    assert b"accept-encoding: identity" in head.lower()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said(b"", "Location: http://127.0.0.1/", status="302 Found"), "answered 302"),
        (said(b"gone", status="404 Not Found"), "answered 404"),
        (said(b"<!doctype html><p>"), "no picture"),
        (said(b""), "no picture"),
        (said(PNG * 100), "larger than"),
        (said(PNG * 100, f"Content-Length: {len(PNG) * 100}"), "larger than"),
        (said(b'{"b64_json": ""}', "Content-Type: image/png"), "no picture"),
        (said(PNG, "Transfer-Encoding: chunked"), "while fetching"),
        (said(PNG, "X: " + "a" * 70_000), "while fetching"),
        (said(PNG, "Upgrade: x", "Connection: upgrade", status="101 Switching"), "101|while"),
        (said(PNG, "Content-Encoding: gzip"), "content encoding"),
        (said(PNG, "Content-Length: 5000"), "while fetching"),
        (drips, "longer than"),
    ],
)
async def test_what_is_not_a_whole_picture_in_time_is_not_taken(answer: Answer, why: str) -> None:
    async with host(answer) as (origin, heads):
        with pytest.raises(PictureNotFetched, match=why) as caught:
            await fetcher(origin, seconds=0.3, max_bytes=50_000).fetch([f"{origin}/secret-path"])
        assert len(heads) == 1
    assert "secret-path" not in str(caught.value)


async def test_a_redirect_is_not_followed_even_to_a_permitted_place() -> None:
    async with host(said(PNG)) as (there, reached):
        redirect = said(b"", f"Location: {there}/a.png", status="307 Temporary Redirect")
        async with host(redirect) as (origin, heads):
            with pytest.raises(PictureNotFetched, match="answered 307"):
                await fetcher(origin, there).fetch([f"{origin}/a.png"])
    assert (len(heads), len(reached)) == (1, 0)


async def test_pictures_of_an_answer_share_their_bounds() -> None:
    async with host(said(PNG)) as (origin, heads):
        urls = [f"{origin}/{number}.png" for number in range(12)]
        assert await fetcher(origin).fetch(urls) == [PNG] * 12
        with pytest.raises(PictureNotFetched, match="larger than 10000 bytes"):
            await fetcher(origin, max_bytes=10_000).fetch(urls)
    assert len(heads) <= 24


async def test_one_that_can_not_be_had_ends_the_others_at_once() -> None:
    async with host(drips) as (slow, _), host(said(b"", status="404 Not Found")) as (none, _):
        with pytest.raises(PictureNotFetched, match="answered 404"):
            await fetcher(slow, none, seconds=20, max_bytes=10**9).fetch([slow, none])


async def test_nothing_is_connected_to_where_one_url_is_not_permitted() -> None:
    async with host(said(PNG)) as (origin, heads):
        with pytest.raises(PictureNotFetched, match="not in picture_hosts"):
            await fetcher(origin).fetch([f"{origin}/a.png", "http://127.0.0.1:1/a.png"])
    assert heads == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1",
     "64:ff9b::7f00:1"],
)  # fmt: skip
async def test_a_named_host_that_leads_to_a_private_address_is_not_connected_to(
    network: Network, address: str
) -> None:
    network.answers = [[address]]
    with pytest.raises(PictureNotFetched, match="while fetching"):
        await fetcher("images.example").fetch(["https://images.example/a.png"])
    assert network.connected == []


async def test_of_several_addresses_only_public_ones_are_tried(network: Network) -> None:
    network.answers = [["10.0.0.1", "93.184.216.34", "::1"]]
    with pytest.raises(PictureNotFetched):
        await fetcher("images.example").fetch(["https://images.example/a.png"])
    assert network.connected == [("93.184.216.34", 443)]


async def test_a_name_that_leads_elsewhere_the_second_time_is_looked_up_once(
    network: Network,
) -> None:
    """DNS rebinding: the address that was checked is the one that is connected to."""
    network.answers = [["93.184.216.34"], ["127.0.0.1"]]
    with pytest.raises(PictureNotFetched):
        await fetcher("images.example").fetch(["https://images.example/a.png"])
    assert network.looked_up == ["images.example"]
    assert network.connected == [("93.184.216.34", 443)]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_the_host_has_to_prove_its_name(tmp_path: Path, network: Network) -> None:
    """The certificate is checked for the host's name, although an address is connected to."""
    chain, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await said(PNG)(writer)
        writer.close()

    network.answers = [["93.184.216.34"]]
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        network.leads_to["93.184.216.34"] = server.sockets[0].getsockname()[1]
        for name, trusted in ((NAME, True), ("other.example", True), (NAME, False)):
            fetching = PictureFetcher(
                hosts=parse_hosts([name]),
                max_bytes=10**6,
                seconds=5,
                tls=open_tls(str(chain)) if trusted else None,
            ).fetch([f"https://{name}/a.png"])
            if (name, trusted) == (NAME, True):
                assert await fetching == [PNG]
            else:
                with pytest.raises(PictureNotFetched, match="Certificate"):
                    await fetching
    (head,) = heads
    assert f"\r\nhost: {NAME}\r\n".encode() in head.lower()


async def test_another_origin_is_not_connected_to() -> None:
    async with host(said(PNG)) as (origin, heads):
        with pytest.raises(PictureNotFetched, match="not in picture_hosts"):
            await fetcher("http://127.0.0.1:1").fetch([f"{origin}/a.png"])
    assert heads == []


@given(st.text(alphabet="imagesxample.:/@?#\\[]%;& \t0179", max_size=30), st.booleans())
def test_what_is_checked_is_what_is_connected_to(text: str, of_origin: bool) -> None:
    """The check and the HTTP client read the same host and port in any URL."""
    hosts = parse_hosts(["images.example", "http://127.0.0.1:9000"])
    url = ("http://127.0.0.1:9000" if of_origin else "https://images.example") + text
    try:
        public_only = hosts.check(url)
    except ValueError:
        return
    read = URL(url, encoded=True)
    expected = ("https", "images.example", 443) if public_only else ("http", "127.0.0.1", 9000)
    assert (read.scheme, read.host, read.port) == expected
