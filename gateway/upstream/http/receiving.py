"""An answer's body as it comes: within bounds, whole or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

import httpx

from gateway.upstream.http.attempt import Attempt, Listener
from gateway.wire import events
from gateway.wire.events import Event, EventParser

_TAIL_SECONDS = 0.1


def is_stream(response: httpx.Response) -> bool:
    """Is it a stream of events? An error is none, whatever it calls itself."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return response.status_code == 200 and kind == events.CONTENT_TYPE


async def bounded(
    response: httpx.Response, max_bytes: int, attempt: Attempt
) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Raises Broken beyond `max_bytes`.

    No chunk size is asked for: httpx would hold back what does not fill one.
    """
    said = response.headers.get("content-length", "")
    if said.isdecimal() and int(said) > max_bytes:
        raise attempt.broken("too_large", f"the answer says it is larger than {max_bytes} bytes")
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > max_bytes:
            raise attempt.broken("too_large", f"the answer is larger than {max_bytes} bytes")
        yield chunk


async def last_event(
    chunks: AsyncIterator[bytes], listener: Listener, max_bytes: int, attempt: Attempt
) -> tuple[Event, bool]:
    """Hear a stream out: its last event, and True where that is an error.

    Raises Broken where it ends without saying how it went.
    """
    parser = EventParser(max_bytes)
    listener.began()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            kind = events.kind_of(event)
            if kind in ("completed", "error"):
                return event, kind == "error"
            if kind:
                listener.take(event)
    raise attempt.broken("failed", "the stream ended without a completed event")


async def read_tail(chunks: AsyncIterator[bytes]) -> None:
    """Read what follows the last event, so that the connection can be used again.

    Usually it is there already. The answer is complete: whatever goes wrong here, it stays so.
    """
    with suppress(Exception):
        async with asyncio.timeout(_TAIL_SECONDS):
            async for _ in chunks:
                pass
