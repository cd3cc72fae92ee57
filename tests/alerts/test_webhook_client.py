"""Webhooks over real sockets: signed, bounded, and never led elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import socket
import time
from collections.abc import AsyncIterator

import pytest

from gateway.alerts.undelivered import Undelivered
from gateway.alerts.webhook_client import WebhookClient
from tests.support.receiver import receiving

SECRET = "whsec-0123456789"
NOW_MS = 1_795_608_000_500
MESSAGE = {"text": "Half of it – über 50 % – is spent.", "percent": 50}


@pytest.fixture
async def webhook() -> AsyncIterator[WebhookClient]:
    made = WebhookClient(secret=SECRET, timeout_seconds=1.0)
    yield made
    await made.close()


async def post(webhook: WebhookClient, url: str) -> None:
    await webhook.post(url, MESSAGE, delivery="wrn_1", now_ms=NOW_MS)


async def test_a_message_arrives_as_json_with_when_it_was_sent(webhook: WebhookClient) -> None:
    with receiving() as receiver:
        await post(webhook, receiver.url)
    (got,) = receiver.posts
    assert got.message == {**MESSAGE, "sent_at": "2026-11-25T12:00:00Z"}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-gateway-timestamp"] == str(NOW_MS // 1000)
    assert got.headers["x-gateway-delivery"] == "wrn_1"


async def test_the_signature_is_the_hmac_of_the_bytes_that_arrived(webhook: WebhookClient) -> None:
    with receiving() as receiver:
        await post(webhook, receiver.url)
    (got,) = receiver.posts
    proof = hmac.new(SECRET.encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-gateway-signature"] == f"sha256={proof}"


async def test_without_a_secret_nothing_pretends_to_be_signed() -> None:
    webhook = WebhookClient()
    with receiving() as receiver:
        await post(webhook, receiver.url)
    await webhook.close()
    assert "x-gateway-signature" not in receiver.posts[0].headers


@pytest.mark.parametrize("status", [301, 400, 404, 410, 429, 500, 503])
async def test_an_answer_other_than_2xx_is_not_a_delivery(
    webhook: WebhookClient, status: int
) -> None:
    with receiving(status) as receiver, pytest.raises(Undelivered, match=str(status)):
        await post(webhook, receiver.url)


async def test_a_redirect_is_not_followed(webhook: WebhookClient) -> None:
    with (
        receiving() as elsewhere,
        receiving(307, headers={"location": elsewhere.url}) as receiver,
        pytest.raises(Undelivered),
    ):
        await post(webhook, receiver.url)
    assert elsewhere.posts == []


async def test_a_silent_receiver_costs_a_bounded_time(webhook: WebhookClient) -> None:
    with receiving() as receiver:
        receiver.silent.set()
        started = time.monotonic()
        with pytest.raises(Undelivered, match="in time"):
            await post(webhook, receiver.url)
    assert 0.9 < time.monotonic() - started < 3.0


@contextlib.asynccontextmanager
async def speaking(head: bytes, more: bytes, every_seconds: float) -> AsyncIterator[str]:
    """A server that says `head`, then `more` again and again; gives its URL."""
    talks: list[asyncio.Task[None]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while True:
                writer.write(more)
                await writer.drain()
                await asyncio.sleep(every_seconds)
        writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks)
        await asyncio.sleep(0)


async def test_a_receiver_that_dribbles_is_cut_off_all_the_same(webhook: WebhookClient) -> None:
    async with speaking(b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n", 0.1) as url:
        started = time.monotonic()
        with pytest.raises(Undelivered, match="in time"):
            await post(webhook, url)
        assert time.monotonic() - started < 3.0


async def test_an_endless_answer_is_not_read(webhook: WebhookClient) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n"
    async with speaking(head, b"x" * 65536, 0.0) as url:
        await post(webhook, url)  # the first use opens the client, which takes its time
        started = time.monotonic()
        await post(webhook, url)
        assert time.monotonic() - started < 0.9


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/", "http://nowhere.invalid/", "no"])
async def test_where_nobody_listens_nothing_is_delivered(
    webhook: WebhookClient, address: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = address.format(port=unused.getsockname()[1])
        with pytest.raises(Undelivered):
            await post(webhook, url)


async def test_what_went_wrong_is_told_without_the_address(webhook: WebhookClient) -> None:
    with receiving(500) as receiver, pytest.raises(Undelivered) as told:
        await post(webhook, receiver.url)
    assert "secret-path" not in str(told.value)


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    made = WebhookClient()
    with receiving() as receiver:
        await post(made, receiver.url)
    await made.close()
    assert len(receiver.posts) == 1


async def test_a_proxy_that_is_set_is_used() -> None:
    with receiving() as proxy:
        made = WebhookClient(proxy=f"http://127.0.0.1:{proxy.server_address[1]}")
        await post(made, "http://chat.example/hooks/1")
        await made.close()
    assert proxy.posts[0].path == "http://chat.example/hooks/1"
