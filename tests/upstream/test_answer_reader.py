"""Bounds of what is taken from an upstream: encodings, bytes, events, and time on the loop."""

from __future__ import annotations

import asyncio
import gc
import gzip
import time

import pytest

from gateway.model.edit import AdapterFacts
from gateway.upstream.adapters import ADAPTERS
from gateway.upstream.call import Broken, Unsent
from gateway.upstream.client import MAX_CATALOGUE_BYTES, CatalogueUnavailable
from gateway.upstream.rules.catalogue_parser import parse
from tests.upstream.test_client import PATH, Heard, peer, upstream_at
from tests.upstream.test_connections import BODY, Scripted, answer, small


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "Deflate", "br", "identity, gzip", "x"])
async def test_only_identity_is_asked_for_and_another_encoding_is_not_decoded(
    encoding: str,
) -> None:
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    scripted = Scripted(answer(bomb, b"content-encoding: " + encoding.encode()))
    async with peer(scripted) as url, upstream_at(url) as upstream:
        with pytest.raises(Broken) as caught:
            await upstream.send(PATH, small(), request_id="r")

    assert caught.value.why == "encoded"
    assert b"\r\naccept-encoding: identity\r\n" in scripted.heads[0].lower()


@pytest.mark.parametrize("header", [b"content-encoding: gzip", b"x: y"])
async def test_the_status_of_a_refusal_counts_even_if_its_body_is_not_taken(header: bytes) -> None:
    sent = answer(bytes(2_000_000), header).replace(b"200 OK", b"429 Busy")
    async with peer(Scripted(sent)) as url, upstream_at(url) as upstream:
        found = await upstream.send(PATH, small(), request_id="r")

    assert (found.status, found.body) == (429, b"")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (answer(b" " * (MAX_CATALOGUE_BYTES + 1)), "larger than"),
        (answer(gzip.compress(b"{}", mtime=0), b"content-encoding: gzip"), "content encoding"),
    ],
)
async def test_a_list_of_models_is_bounded(sent: bytes, said: str) -> None:
    async with peer(Scripted(sent)) as url, upstream_at(url) as upstream:
        with pytest.raises(CatalogueUnavailable, match=said):
            await upstream.models()


async def test_a_list_of_too_many_values_is_left_unparsed_for_its_reader() -> None:
    sent = b"[" + b"1," * 300_000 + b"1]"
    gemini = ADAPTERS["gemini"](AdapterFacts())
    async with peer(Scripted(answer(sent))) as url, upstream_at(url, adapter=gemini) as upstream:
        listed = await upstream.models()
    with pytest.raises(ValueError, match="too many values"):
        parse(listed)


async def test_a_redirect_is_not_followed_and_its_target_is_named_without_secrets() -> None:
    location = b"location: https://me:pw@other.example/v2?key=secret#x"
    sent = answer(b"", location).replace(b"200 OK", b"307 Go")
    async with peer(Scripted(sent, sent)) as url, upstream_at(url, keep_alive=True) as upstream:
        found = await upstream.send(PATH, small(), request_id="r")
        with pytest.raises(CatalogueUnavailable) as caught:
            await upstream.models()

    assert (found.status, found.location) == (307, "https://other.example/v2")
    assert str(caught.value) == (
        "GET /models answered 307, a redirect to https://other.example/v2; correct its base_url"
    )


@pytest.mark.parametrize(
    ("auth", "line"),
    [
        ("bearer", b"authorization: bearer sk-1"),
        ("header:Api-Key", b"api-key: sk-1"),
        ("none", None),
    ],
)
async def test_the_key_is_sent_as_the_setting_says(auth: str, line: bytes | None) -> None:
    scripted = Scripted(answer(), answer(b"{}"))
    async with (
        peer(scripted) as url,
        upstream_at(url, key="sk-1", auth=auth, keep_alive=True) as upstream,
    ):
        await upstream.send(PATH, small(), request_id="r")
        await upstream.models()

    assert len(scripted.heads) == 2
    for head in scripted.heads:
        with_key = [found for found in head.lower().split(b"\r\n") if b"sk-1" in found]
        assert with_key == ([line] if line else [])


@pytest.mark.parametrize("line", [b"data:{}\n\n", b"data:\n", b":\n", b"\n", b"id:\r"])
async def test_a_stream_of_tiny_lines_leaves_the_event_loop_its_turns(line: bytes) -> None:
    """Measured in CPU time of this thread, so that a busy machine makes no difference."""
    sent = answer(line * (300_000 // len(line)), b"content-type: text/event-stream")
    longest, turns, going = 0.0, 0, True

    async def measure() -> None:
        nonlocal longest, turns
        while going:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest, turns = max(longest, time.thread_time() - before), turns + 1

    gc.collect()
    gc.freeze()  # or a collection of all that the tests have left would be measured
    async with peer(Scripted(sent, close=True)) as url, upstream_at(url) as upstream:
        measuring = asyncio.create_task(measure())
        with pytest.raises(Broken):
            await upstream.send(PATH, small(), request_id="r", listener=Heard())
        going = False
        await measuring
    gc.unfreeze()

    assert turns > 9
    assert longest < 0.05


class SecondAnswer(Scripted):
    """Sends another answer a moment after the first one of each connection."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        writer.write(answer(b"%d" % number))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(answer(b"of another team"))
        await reader.read()


async def test_a_kept_connection_with_unread_bytes_is_not_used_again() -> None:
    scripted = SecondAnswer()
    async with peer(scripted) as url, upstream_at(url, keep_alive=True) as upstream:
        assert (await upstream.send(PATH, small(), request_id="r")).body == b"1"
        await asyncio.sleep(0.15)
        with pytest.raises(Unsent):
            await upstream.send(PATH, small(), request_id="r")
        assert (await upstream.send(PATH, small(), request_id="r")).body == b"2"

    assert scripted.connections == 2


async def test_an_answer_to_another_request_is_refused_by_its_echoed_id() -> None:
    sent = (answer(BODY, b"x-client-request-id: r"), answer(BODY, b"x-client-request-id: q"))
    async with peer(Scripted(*sent)) as url, upstream_at(url, keep_alive=True) as upstream:
        assert (await upstream.send(PATH, small(), request_id="r")).body == BODY
        with pytest.raises(Broken, match="another request"):
            await upstream.send(PATH, small(), request_id="r")
