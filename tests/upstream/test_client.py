"""One attempt at the upstream, plain or streamed: what came back, what may have been charged."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import load
from gateway.upstream.call import Answer, Broken, Payload, Unsent
from gateway.upstream.client import UpstreamClient
from gateway.wire.events import Event, kind_of
from tests.support.serving import PHOTOGRAPH
from tests.support.upstreams import recording_upstream
from tests.support.waiting import let_go

PATH = "/images/edits"
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Heard:
    """A listener that writes down what it heard and when."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seconds: list[float] = []
        self.began_after: float | None = None
        self._started = time.monotonic()

    def open(self) -> None:
        self.began_after = time.monotonic() - self._started

    def publish(self, event: Event) -> None:
        self.events.append(event)
        self.seconds.append(time.monotonic() - self._started)


@asynccontextmanager
async def upstream_at(
    base_url: str, key: str = "sk-emulator", **more: Any
) -> AsyncIterator[UpstreamClient]:
    settings: dict[str, Any] = {
        "timeout_seconds": 10.0,
        "read_timeout_seconds": 10.0,
        "connect_timeout_seconds": 2.0,
        "max_answer_bytes": 10_000_000,
        **more,
    }
    upstream = UpstreamClient(base_url=base_url, api_keys=[key], **settings)
    try:
        yield upstream
    finally:
        await upstream.close()


@asynccontextmanager
async def peer(serve: Peer) -> AsyncIterator[str]:
    """Whatever `serve` makes of a connection, as an upstream's base URL."""
    ends = set[asyncio.Task[Any]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        ends.add(task)
        await serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await asyncio.gather(*ends)


def payload(**fields: str) -> Payload:
    """An edit as multipart."""
    data = {"model": "deepshi-image-1", "prompt": "make it grey", **fields}
    request = httpx.Request("POST", "http://x", data=data, files={"image": ("a.jpg", PHOTOGRAPH)})
    body = request.read()
    return Payload(request.headers["content-type"], len(body), pieces(body))


async def pieces(*chunks: bytes) -> AsyncGenerator[bytes | memoryview, None]:
    for chunk in chunks:
        yield chunk


async def edit(emulator: EmulatorServer, **more: Any) -> Answer:
    async with upstream_at(emulator.base_url, **more) as upstream:
        return await upstream.send(PATH, payload(), request_id="req_1")


async def stream(
    emulator: EmulatorServer, heard: Heard, partial_images: int = 0, **more: Any
) -> Answer:
    async with upstream_at(emulator.base_url, **more) as upstream:
        asked = payload(stream="true", partial_images=str(partial_images))
        return await upstream.send(PATH, asked, request_id="req_1", listener=heard)


# --- plain ----------------------------------------------------------------------------


async def test_an_answer_comes_whole_with_what_is_known_of_it(emulator: EmulatorServer) -> None:
    answer = await edit(emulator)

    (billed,) = emulator.statement()
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.body)["data"][0]["b64_json"]
    assert answer.request_id == billed["request_id"]
    assert billed["client_request_id"] == "req_1"
    assert answer.credential == "…ator"
    assert answer.last is None


async def test_an_error_is_an_answer(emulator: EmulatorServer) -> None:
    emulator.order({"status": 429, "retry_after": 7})
    answer = await edit(emulator)

    assert (answer.status, answer.retry_after_seconds) == (429, 7.0)
    assert json.loads(answer.body)["error"]["code"] == "emulated_failure"


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with upstream_at(f"http://127.0.0.1:{port}/v1") as upstream:
        with pytest.raises(Unsent):
            await upstream.send(PATH, payload(), request_id="req_1")


async def test_where_no_connection_comes_about_nothing_was_sent(emulator: EmulatorServer) -> None:
    async with upstream_at(emulator.base_url.replace("http:", "https:")) as upstream:
        with pytest.raises(Unsent):
            await upstream.send(PATH, payload(), request_id="req_1")


async def test_a_connection_that_does_not_come_about_in_time_has_sent_nothing() -> None:
    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        peer(say_nothing) as url,
        upstream_at(url.replace("http:", "https:"), connect_timeout_seconds=0.3) as upstream,
    ):
        with pytest.raises(Unsent):
            await upstream.send(PATH, payload(), request_id="req_1")


@pytest.mark.parametrize(
    "knob", ["reset_before_read", "reset_after_read", "truncate", "reset_mid_answer"]
)
async def test_a_connection_that_breaks_after_sending_may_have_been_charged(
    emulator: EmulatorServer, knob: str
) -> None:
    emulator.order({knob: True})
    with pytest.raises(Broken) as caught:
        await edit(emulator)

    assert caught.value.why == "failed"
    assert caught.value.credential == "…ator"


async def test_an_upstream_that_does_not_answer_is_given_up_in_time(
    emulator: EmulatorServer,
) -> None:
    emulator.order({"hang": True})
    started = time.monotonic()
    with pytest.raises(Broken) as caught:
        await edit(emulator, timeout_seconds=0.5)

    assert caught.value.why == "timeout"
    assert time.monotonic() - started < 2


async def test_an_answer_that_trickles_is_given_up_in_time_and_known_by_its_id(
    emulator: EmulatorServer,
) -> None:
    emulator.order({"slow_body": 20})
    with pytest.raises(Broken) as caught:
        await edit(emulator, timeout_seconds=1.5)

    assert caught.value.why == "timeout"
    assert caught.value.request_id == emulator.statement()[0]["request_id"]


async def test_silence_is_given_up_before_the_whole_is(emulator: EmulatorServer) -> None:
    emulator.order({"hang": True})
    started = time.monotonic()
    with pytest.raises(Broken) as caught:
        await edit(emulator, timeout_seconds=60.0, read_timeout_seconds=0.5)

    assert caught.value.why == "timeout"
    assert time.monotonic() - started < 10


async def test_an_answer_that_keeps_coming_may_take_longer_than_one_silence(
    emulator: EmulatorServer,
) -> None:
    emulator.order({"slow_body": 4.0})
    answer = await edit(emulator, timeout_seconds=60.0, read_timeout_seconds=2.0)

    assert json.loads(answer.body)["data"]


async def test_an_edit_of_150_seconds_is_waited_for(emulator: EmulatorServer) -> None:
    """In a hundredth of the time, by the gateway's own settings."""
    ours, started = load(environment={}).upstream, time.monotonic()
    emulator.order({"latency_seconds": 1.5})
    answer = await edit(
        emulator,
        timeout_seconds=ours.timeout_seconds / 100,
        read_timeout_seconds=ours.read_timeout_seconds / 100,
    )

    assert answer.status == 200
    assert time.monotonic() - started >= 1.5
    assert min(ours.timeout_seconds, ours.read_timeout_seconds) >= 2 * 150


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux shows a socket's timers")
async def test_a_silent_connection_is_kept_alive(emulator: EmulatorServer) -> None:
    emulator.order({"hang": True})
    port = httpx.URL(emulator.base_url).port
    async with upstream_at(emulator.base_url) as upstream:
        call = asyncio.create_task(upstream.send(PATH, payload(), request_id="req_1"))
        async with asyncio.timeout(10):
            while "keepalive" not in (timers := timers_to(port)):
                await asyncio.sleep(0.05)
        await asyncio.to_thread(let_go, emulator)
        await call

    assert timers.count("keepalive") == 1


def timers_to(port: int | None) -> list[str]:
    """The timers of this machine's open connections to a port of its own."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, there, state, _, timer, *_ = line.split()
        if int(there.partition(":")[2], 16) == port and state == "01":
            found.append({"00": "none", "02": "keepalive"}.get(timer[:2], "other"))
    return found


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (b"retry-after: 7", 7.0),
        (b"date: Thu, 26 Nov 2026 00:00:00 GMT\r\nretry-after: Thu, 26 Nov 2026 00:00:09 GMT", 9.0),
        (b"retry-after: soon", None),
    ],
)
async def test_how_long_the_upstream_asks_to_be_left_alone(
    headers: bytes, seconds: float | None
) -> None:
    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(b"HTTP/1.1 429 Busy\r\ncontent-length: 2\r\n" + headers + b"\r\n\r\n{}")
        await writer.drain()
        await reader.read()

    async with peer(busy) as url, upstream_at(url) as upstream:
        answer = await upstream.send(PATH, payload(), request_id="req_1")
        assert answer.retry_after_seconds == seconds
        rest = upstream.backoff_seconds

    assert answer.status == 429
    assert rest == pytest.approx(1.0 if seconds is None else seconds, abs=0.9)


async def test_an_answer_beyond_the_bound_is_not_taken(emulator: EmulatorServer) -> None:
    with pytest.raises(Broken) as caught:
        await edit(emulator, max_answer_bytes=1_000)

    assert caught.value.why == "too_large"
    assert caught.value.request_id == emulator.statement()[0]["request_id"]


async def test_a_body_shorter_than_it_said_may_have_been_carried_out(
    emulator: EmulatorServer,
) -> None:
    async with upstream_at(emulator.base_url) as upstream:
        with pytest.raises(Broken):
            await upstream.send(
                PATH, Payload("text/plain", 100, pieces(b"short")), request_id="req_1"
            )


# --- streamed -------------------------------------------------------------------------


async def test_events_are_heard_as_they_come_and_the_last_is_the_answer(
    emulator: EmulatorServer,
) -> None:
    emulator.order({"latency_seconds": 0.8})
    heard = Heard()
    started = time.monotonic()
    answer = await stream(emulator, heard, partial_images=3)
    seconds = time.monotonic() - started

    assert [kind_of(event) for event in heard.events] == ["partial"] * 3
    indexes = [json.loads(event.data)["partial_image_index"] for event in heard.events]
    assert indexes == [0, 1, 2]
    assert heard.seconds[0] < seconds - 0.5
    assert heard.seconds == sorted(heard.seconds)
    assert heard.began_after is not None
    assert heard.began_after <= heard.seconds[0]
    assert answer.last
    assert kind_of(answer.last) == "completed"
    assert answer.body == answer.last.data
    assert json.loads(answer.body)["usage"]["cost"] == {"total_cost": 0.01}
    assert answer.request_id == emulator.statement()[0]["request_id"]


async def test_an_error_before_the_stream_is_a_plain_answer(emulator: EmulatorServer) -> None:
    heard = Heard()
    async with upstream_at(emulator.base_url) as upstream:
        asked = payload(stream="true", prompt="something forbidden")
        answer = await upstream.send(PATH, asked, request_id="req_1", listener=heard)

    assert (answer.status, answer.last) == (400, None)
    assert json.loads(answer.body)["error"]["code"] == "content_policy_violation"
    assert heard.began_after is None


async def test_an_upstream_that_does_not_stream_answers_plainly() -> None:
    heard = Heard()
    with recording_upstream() as recording:
        async with upstream_at(recording.url) as upstream:
            asked = payload(stream="true")
            answer = await upstream.send(PATH, asked, request_id="req_1", listener=heard)

    assert answer.last is None
    assert json.loads(answer.body)["data"]
    assert (heard.began_after, heard.events) == (None, [])


async def test_an_error_event_ends_the_stream(emulator: EmulatorServer) -> None:
    emulator.order({"stream_error": True})
    heard = Heard()
    answer = await stream(emulator, heard, partial_images=1)

    assert len(heard.events) == 1
    assert answer.last
    assert kind_of(answer.last) == "error"
    assert answer.status == 200


@pytest.mark.parametrize("knob", ["truncate_stream", "truncate", "reset_mid_answer"])
async def test_a_stream_that_ends_without_its_last_event_may_have_been_charged(
    emulator: EmulatorServer, knob: str
) -> None:
    emulator.order({knob: True})
    heard = Heard()
    with pytest.raises(Broken) as caught:
        await stream(emulator, heard, partial_images=1)

    assert caught.value.why == "failed"
    assert caught.value.request_id == emulator.statement()[0]["request_id"]
    assert len(heard.events) == 1


@pytest.mark.parametrize("knob", [{"hang": True}, {"slow_body": 20}])
async def test_a_stream_that_does_not_end_is_given_up_in_time(
    emulator: EmulatorServer, knob: dict[str, object]
) -> None:
    emulator.order(knob)
    started = time.monotonic()
    with pytest.raises(Broken) as caught:
        await stream(emulator, Heard(), timeout_seconds=1.0)

    assert caught.value.why == "timeout"
    assert time.monotonic() - started < 3


async def test_a_stream_beyond_the_bound_is_not_taken(emulator: EmulatorServer) -> None:
    with pytest.raises(Broken) as caught:
        await stream(emulator, Heard(), partial_images=3, max_answer_bytes=20_000)

    assert caught.value.why == "too_large"


class Streamer:
    """An upstream by hand: what it streams after its head, and how many connections it saw."""

    def __init__(self, body: bytes, *, ends: bool) -> None:
        self.connections = 0
        self._body, self._ends = body, ends

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await _head(reader):
            length = next(
                line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n"
                b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(self._body), self._body)
            )
            await writer.drain()
            if not self._ends:
                await reader.read()
                break
            await asyncio.sleep(0.02)
            writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):  # the client has closed it
        return b""


COMPLETED = b'data: {"type": "image_edit.completed", "b64_json": "x"}\n\n'


async def test_what_comes_after_the_last_event_is_read_so_that_the_connection_serves_again() -> (
    None
):
    streamer, heard = Streamer(COMPLETED, ends=True), Heard()
    async with peer(streamer) as url, upstream_at(url, keep_alive=True) as upstream:
        for _ in range(3):
            answer = await upstream.send(
                PATH, payload(stream="true"), request_id="r", listener=heard
            )
            assert answer.last == Event("", COMPLETED[6:-2])

    assert streamer.connections == 1
    assert heard.events == []


async def test_a_connection_that_was_idle_is_not_used_again() -> None:
    """Its server may be closing it just now."""
    streamer = Streamer(COMPLETED, ends=True)
    async with (
        peer(streamer) as url,
        upstream_at(url, keep_alive=True, idle_seconds=0.05) as upstream,
    ):
        for _ in range(2):
            await upstream.send(PATH, payload(stream="true"), request_id="r", listener=Heard())
            await asyncio.sleep(0.15)

    assert streamer.connections == 2


async def test_a_proxy_that_gives_no_tunnel_has_been_sent_nothing() -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await _head(reader))
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with (
        peer(refuse) as url,
        upstream_at("https://upstream.invalid/v1", proxy=url.removesuffix("/v1")) as upstream,
    ):
        with pytest.raises(Unsent):
            await upstream.send(PATH, payload(), request_id="req_1")

    assert asked[0].startswith(b"CONNECT upstream.invalid:443 ")


async def test_an_upstream_that_keeps_the_stream_open_delays_nobody() -> None:
    started = time.monotonic()
    async with peer(Streamer(COMPLETED, ends=False)) as url, upstream_at(url) as upstream:
        answer = await upstream.send(PATH, payload(stream="true"), request_id="r", listener=Heard())

    assert answer.last
    assert time.monotonic() - started < 5


async def test_unknown_events_are_heard_and_unreadable_ones_and_comments_are_not() -> None:
    other = b'event: image_edit.queued\ndata: {"place": 3}\n\n'
    body = b": hello\n\n" + other + b"data: what?\n\n" + COMPLETED
    heard = Heard()
    async with peer(Streamer(body, ends=True)) as url, upstream_at(url) as upstream:
        await upstream.send(PATH, payload(stream="true"), request_id="r", listener=heard)

    assert heard.events == [Event("image_edit.queued", b'{"place": 3}')]
