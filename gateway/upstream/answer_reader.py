"""Reads an answer's body within its bound: whole, or as a stream of events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress

import aiohttp

from gateway.upstream.call import Answer, Attempt, Broken, Listener
from gateway.upstream.rules.refusals import account_code
from gateway.upstream.rules.retry_after import retry_after_seconds
from gateway.wire import events
from gateway.wire.events import Event, EventParser

_TAIL_SECONDS = 0.1
_MOST_ERROR_BYTES = 1 << 20
_MOST_EVENTS = 10_000
_MANY_LINES = 200
_SLICE_BYTES = 2_048
"""The bytes of a chunk of many lines that are read before the event loop has its turn."""

ToOpenAIError = Callable[[int, bytes], tuple[int, bytes]]


def _as_it_is(status: int, body: bytes) -> tuple[int, bytes]:
    return status, body


async def read_answer(
    response: aiohttp.ClientResponse,
    attempt: Attempt,
    *,
    client_request_id: str,
    max_bytes: int,
    listener: Listener | None,
    now_unix: float,
    to_openai_error: ToOpenAIError = _as_it_is,
) -> Answer:
    """The complete answer; with a `listener`, a stream's events are reported as they arrive.

    Nothing is decoded, and only `identity` is asked for. Of an answer that is not a 200 the status
    decides, so its body may be missing. Raises Broken for a 200 that is encoded, too large or ends
    early, and aiohttp's errors.
    """
    if response.status < 200:
        raise attempt.broken("failed", "the upstream switches to another protocol")
    echoed = response.headers.get("x-client-request-id", client_request_id)
    if echoed != client_request_id:
        raise attempt.broken("failed", "the answer is that of another request")
    encoded = is_encoded(response)
    if response.status == 200 and encoded:
        raise attempt.broken("encoded", "the answer has a content encoding")
    last, went_wrong = None, False
    if response.status != 200:
        max_bytes = 0 if encoded else min(max_bytes, _MOST_ERROR_BYTES)
    async with aclosing(_bounded(response, max_bytes, attempt)) as chunks:
        if listener and _is_stream(response):
            last, went_wrong = await _last_event(chunks, listener, max_bytes, attempt)
            body = last.data
            await _read_tail(chunks)
        else:
            try:
                body = b"".join([chunk async for chunk in chunks])
            except Broken:
                if response.status == 200:
                    raise
                body = b""
    headers = {name.lower(): value for name, value in response.headers.items()}
    status, body = (200, body) if response.status == 200 else to_openai_error(response.status, body)
    return Answer(
        status=status,
        content_type=headers.get("content-type", ""),
        body=body,
        request_id=attempt.request_id,
        retry_after_seconds=retry_after_seconds(headers, now_unix),
        credential=attempt.credential,
        location=redirect_target(response),
        account_code=account_code(status, body),
        last=last,
        went_wrong=went_wrong,
    )


def is_encoded(response: aiohttp.ClientResponse) -> bool:
    """Has the answer a content encoding, though none was asked for?"""
    encodings = response.headers.getall("content-encoding", [])
    return any(name.strip().lower() not in ("", "identity") for name in encodings)


def redirect_target(response: aiohttp.ClientResponse) -> str:
    """The address that a redirect names, without its query, which may hold a secret; or ""."""
    if not 300 <= response.status < 400:
        return ""
    address = re.split(r"[?#]", response.headers.get("location", ""))[0]
    return re.sub(r"[^\x21-\x7e]|(?<=//)[^/]*@", "", address)[:200]


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
    parser, count = EventParser(max_bytes), 0
    listener.open()
    async for chunk in _slices(chunks):
        for event in parser.feed(chunk):
            count += 1
            if count > _MOST_EVENTS:
                raise attempt.broken("too_large", f"the stream has more than {_MOST_EVENTS} events")
            kind = events.kind_of(event)
            if kind in ("completed", "error"):
                return event, kind == "error"
            if kind:
                listener.publish(event)
    raise attempt.broken("failed", "the stream ended without a completed event")


async def _slices(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks; one of many lines in pieces, so that reading it does not block the event loop."""
    async for chunk in chunks:
        if chunk.count(b"\n") + chunk.count(b"\r") < _MANY_LINES:
            yield chunk
            continue
        for start in range(0, len(chunk), _SLICE_BYTES):
            yield chunk[start : start + _SLICE_BYTES]
            await asyncio.sleep(0)


async def _read_tail(chunks: AsyncIterator[bytes]) -> None:
    """Read the rest of a stream, so that it ends in order and its connection may be kept.

    The answer is complete already: a failure here changes nothing.
    """
    with suppress(Exception):
        async with asyncio.timeout(_TAIL_SECONDS):
            async for _ in chunks:
                pass
