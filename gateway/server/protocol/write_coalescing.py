"""Sends the head of an answer together with its body: one system call, one packet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SMALL_BYTES = 16_384


class WriteCoalescing:
    """The transport of one answer. A small write waits for the next one, at most until the event
    loop's next iteration.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._close = close
        self._closed = False
        self._waiting = b""

    def write(self, data: bytes) -> None:
        if self.is_closing():
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
        """Write the waiting bytes."""
        if self._waiting and not self._transport.is_closing():
            self._transport.write(self._waiting)
        self._waiting = b""

    def is_closing(self) -> bool:
        return self._closed or self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        self._closed = True
        self._close()
