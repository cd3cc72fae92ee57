"""A request's body on its way into a connection."""

from __future__ import annotations

import asyncio

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload as AiohttpPayload

from gateway.upstream.call import Payload


class RequestBody(AiohttpPayload):
    """Writes the chunks of a `Payload`, exactly as many bytes as it has announced.

    aiohttp writes in a task of its own, so that an answer is read even if it arrives before the
    whole body has left.
    """

    def __init__(self, payload: Payload, *, silence_seconds: float) -> None:
        super().__init__(payload.chunks, content_type=payload.content_type)
        self._size = payload.length
        self._payload = payload
        self._silence_seconds = silence_seconds
        self._transport: asyncio.WriteTransport | None = None
        self._writing: asyncio.Task[None] | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a body that is streamed has no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Raises TimeoutError if the upstream takes no byte for too long."""
        self._writing = asyncio.current_task()
        self._transport = getattr(writer, "transport", None)
        left = self._payload.length
        async for chunk in self._payload.chunks:
            left -= len(chunk)
            if left < 0:
                break
            async with asyncio.timeout(self._silence_seconds):
                await writer.write(chunk)
        if left:
            raise ValueError("the body does not have its announced length")

    def abort(self) -> None:
        """Close the connection at once; bytes that wait to be sent are dropped."""
        if self._transport:
            self._transport.abort()

    async def stop(self) -> None:
        """Stop reading the chunks; a connection that has not taken all of them is closed."""
        if self._writing and not self._writing.done():
            self.abort()
            self._writing.cancel()
            await asyncio.wait({self._writing})
        await self._payload.chunks.aclose()
