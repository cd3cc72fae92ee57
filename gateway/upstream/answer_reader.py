"""Reads an answer's body within its bound: whole, or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

import aiohttp

from gateway.upstream.call import Answer, Attempt, Listener
from gateway.upstream.rules.retry_after import retry_after_seconds
from gateway.wire import events
from gateway.wire.events import Event, EventParser

_TAIL_SECONDS = 0.1


async def read_answer(
    response: aiohttp.ClientResponse,
    attempt: Attempt,
    *,
    max_bytes: int,
    listener: Listener | None,
    now_unix: float,
) -> Answer:
    """The complete answer; with a `listener`, a stream's events are reported as they arrive.

    Raises Broken for one that is too large or ends early, and aiohttp's errors.
    """
    if response.status < 200:
        raise attempt.broken("failed", "the upstream switches to another protocol")
    last, went_wrong = None, False
    async with aclosing(_bounded(response, max_bytes, attempt)) as chunks:
        if listener and _is_stream(response):
            last, went_wrong = await _last_event(chunks, listener, max_bytes, attempt)
            body = last.data
            await _read_tail(chunks)
        else:
            body = b"".join([chunk async for chunk in chunks])
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(
        status=response.status,
        content_type=headers.get("content-type", ""),
        body=body,
        request_id=attempt.request_id,
        retry_after_seconds=retry_after_seconds(headers, now_unix),
        credential=attempt.credential,
        last=last,
        went_wrong=went_wrong,
    )


def _is_stream(response: aiohttp.ClientResponse) -> bool:
    """Is the answer a stream of events? An error never is, whatever its content type."""
    return response.status == 200 and response.content_type == events.CONTENT_TYPE


async def _bounded(
    response: aiohttp.ClientResponse, max_bytes: int, attempt: Attempt
) -> AsyncGenerator[bytes, None]:
    """The body's bytes as they arrive. Raises Broken beyond `max_bytes`."""
    if (response.content_length or 0) > max_bytes:
        raise attempt.broken("too_large", f"the answer announces more than {max_bytes} bytes")
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise attempt.broken("too_large", f"the answer is larger than {max_bytes} bytes")
        yield chunk


async def _last_event(
    chunks: AsyncIterator[bytes], listener: Listener, max_bytes: int, attempt: Attempt
) -> tuple[Event, bool]:
    """The event that ends a stream, and whether it is an error.

    Raises Broken where the stream ends without one.
    """
    parser = EventParser(max_bytes)
    listener.open()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            kind = events.kind_of(event)
            if kind in ("completed", "error"):
                return event, kind == "error"
            if kind:
                listener.publish(event)
    raise attempt.broken("failed", "the stream ended without a completed event")


async def _read_tail(chunks: AsyncIterator[bytes]) -> None:
    """Read the rest of a stream, so that it ends in order and its connection may be kept.

    The answer is complete already: a failure here changes nothing.
    """
    with suppress(Exception):
        async with asyncio.timeout(_TAIL_SECONDS):
            async for _ in chunks:
                pass
