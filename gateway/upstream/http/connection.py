"""One HTTP/1.1 connection to the upstream: a call at a time, its answer read as it comes.

What makes it quick: an answer of megabytes is read into its place at once, and a call costs some
dozen Python calls.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterable, Callable
from typing import cast

from gateway.upstream.http.reception import Incomplete, Reception

READ_BYTES = 1 << 18


class Connection(asyncio.BufferedProtocol):
    """Between a socket and the receptions of its answers.

    `buffer` is what is read into; connections of one event loop may share it. `lost` is told
    when it has ended.
    """

    def __init__(self, buffer: memoryview, lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._reception: Reception | None = None
        self._placing = False
        self._sent = False
        """Is the whole of the request written?"""
        self._drained: asyncio.Future[None] | None = None
        self._moved = 0.0
        """When a byte came or went, by the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._poll = select.poll()

    # --- the transport's side ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from it
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        place = self._reception.room() if self._reception else None
        self._placing = place is not None
        return self._buffer if place is None else place

    def buffer_updated(self, nbytes: int) -> None:
        self._moved = self._loop.time()
        reception = self._reception
        if reception is None:
            self.abort()  # nobody has asked for it
        elif self._placing:
            reception.placed(nbytes)
        else:
            reception.take(self._buffer[:nbytes])
        if reception and reception.begun.done():
            self._drain()  # whoever writes need not go on

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._transport = None
        self._lost(self)

    def _ended(self, error: Exception | None) -> None:
        if self._reception:
            self._reception.closed(error)
        self._drain()

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        self._moved = self._loop.time()
        self._drain()

    def _drain(self) -> None:
        drained, self._drained = self._drained, None
        if drained and not drained.done():
            drained.set_result(None)

    # --- the caller's side ------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """May it be used again? Not where something has come unasked, such as its end."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._poll.poll(0)

    def close_after(self, seconds: float) -> None:
        """Be closed unless it is used within so long."""
        self._timer = self._loop.call_later(seconds, self.abort)

    def abort(self) -> None:
        """End it now, whatever is under way."""
        if self._transport:
            self._transport.abort()

    def begin(self, reception: Reception, silence_seconds: float) -> None:
        """An exchange; every one has an `end`. It fails where no byte moves for so long."""
        if self._timer:
            self._timer.cancel()
        self._reception, self._moved = reception, self._loop.time()
        self._sent = False
        self._watch(reception, silence_seconds)

    async def send(self, head: bytes, body: AsyncIterable[bytes | memoryview], length: int) -> None:
        """Write a request, up to where its answer is there before all of it has left.

        Raises Incomplete for a body that is not `length` bytes long.
        """
        self._write(head)
        left = length
        async for chunk in body:
            left -= len(chunk)
            if left < 0:
                break
            if self._drained:
                await self._drained
            if self._reception is None or self._reception.begun.done():
                return
            self._write(chunk)
        if left:
            raise Incomplete("the body is not as long as its head says")
        self._sent = True

    def end(self, reception: Reception) -> bool:
        """The exchange is over. True where another may follow, else the connection is closed."""
        if self._reception is not reception:
            return False  # it has ended before
        if self._timer:
            self._timer.cancel()
        self._reception, self._timer = None, None
        reception.leave()
        reusable = reception.reusable and reception.over and self._sent and self._flushed
        if not reusable:
            self.abort()
        return reusable

    def _watch(self, reception: Reception, seconds: float) -> None:
        quiet = self._loop.time() - self._moved
        if quiet >= seconds:
            reception.fail(TimeoutError("nothing was heard"))
            self._drain()
        else:
            self._timer = self._loop.call_later(seconds - quiet, self._watch, reception, seconds)

    @property
    def _flushed(self) -> bool:
        return self._transport is not None and not self._transport.get_write_buffer_size()

    def _write(self, data: bytes | memoryview) -> None:
        if self._transport is None:
            raise Incomplete("the connection was closed")
        self._transport.write(data)
