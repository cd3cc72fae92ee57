"""Writing to a connection so that the head of an answer leaves together with its body.

A server writes them one after the other; each would be a call to the system of its own, a packet
of its own, and a client woken twice.
"""

from __future__ import annotations

import asyncio

SMALL_BYTES = 16_384


class WriteCoalescing:
    """A transport as the writer of one answer sees it.

    A small piece waits for the next one, at most until what the event loop has in hand is done.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting = b""

    def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            self._waiting = b""
        elif self._waiting:
            both, self._waiting = (self._waiting, data), b""
            self._transport.writelines(both)
        elif len(data) < SMALL_BYTES:
            self._waiting = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting and not self._transport.is_closing():
            self._transport.write(self._waiting)
        self._waiting = b""

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        self._transport.close()
