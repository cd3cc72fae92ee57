"""Reading from a connection into one buffer, so that what has come is copied once, by the parser.

A protocol of the usual kind is given each read as new bytes; of an upload that is a copy of
everything, into memory that is asked for and given back at every read.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

READ_BYTES = 1 << 20


class Reader(Protocol):
    """Who is told what happens on a connection."""

    def data_received(self, data: memoryview) -> None: ...

    def eof_received(self) -> bool | None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...


class Receiver(asyncio.BufferedProtocol):
    """Stands between a transport and its reader.

    All connections of an event loop may share a buffer: the reader is done with what it is
    given when it returns.
    """

    def __init__(self, reader: Reader, buffer: bytearray) -> None:
        self._buffer = memoryview(buffer)
        self._reader = reader
        self.eof_received = reader.eof_received  # type: ignore[method-assign]
        self.pause_writing = reader.pause_writing  # type: ignore[method-assign]
        self.resume_writing = reader.resume_writing  # type: ignore[method-assign]
        self.connection_lost = reader.connection_lost  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._reader.data_received(self._buffer[:nbytes])
