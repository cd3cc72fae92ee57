"""Receives the body of an upload straight into the bytes that the application gets.

An ordinary protocol gets each read as new bytes, which its parser copies again. Here heads are
read into a small buffer that all connections share, and bodies of known length into their own.
"""

from __future__ import annotations

import asyncio
import termios
from typing import TYPE_CHECKING

from gateway.server.protocol.slow_client import queued_bytes
from gateway.server.protocol.uninitialised_bytes import uninitialised

if TYPE_CHECKING:
    from gateway.server.protocol.connection import ClientConnection

READ_BYTES = 1 << 20
CHUNKED_READ_BYTES = 1 << 17
HEAD_BYTES = 8192
"""The size of a read that may contain a head; a body's bytes in it are copied."""


class Receiver(asyncio.BufferedProtocol):
    """The protocol between a transport and a connection.

    All connections of an event loop may share `buffer`, as `data_received` uses up its argument
    before it returns. The bytes of a body are the application's.
    """

    def __init__(
        self, reader: ClientConnection, transport: asyncio.Transport, buffer: bytearray
    ) -> None:
        self._fileno = transport.get_extra_info("socket").fileno()
        self._buffer = memoryview(buffer)
        self._head_buffer = self._buffer[:HEAD_BYTES]
        self._chunk_buffer = self._buffer[:CHUNKED_READ_BYTES]
        self._reader = reader
        self._body = b""
        self._target: memoryview | None = None
        """Where `_body` is written."""
        self._before = 0
        """How many bytes at its beginning are for earlier, unread bytes."""
        self.eof_received = reader.eof_received  # type: ignore[method-assign]
        self.pause_writing = reader.pause_writing  # type: ignore[method-assign]
        self.resume_writing = reader.resume_writing  # type: ignore[method-assign]
        self.connection_lost = reader.connection_lost  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        self._target = None  # unused if the last read brought nothing
        reader = self._reader
        missing = reader.missing_bytes
        if not missing:
            return self._head_buffer if reader.in_head else self._chunk_buffer
        self._before = reader.unread_bytes
        size = min(missing, queued_bytes(self._fileno, termios.FIONREAD), READ_BYTES - self._before)
        if size < HEAD_BYTES:
            return self._buffer[:missing]
        self._body, self._target = uninitialised(self._before + size)
        return self._target[self._before :]

    def buffer_updated(self, nbytes: int) -> None:
        reader, target = self._reader, self._target
        if target is not None:
            body, self._body, self._target = self._body, b"", None
            if self._before:
                target[: self._before] = reader.take_back()
            whole = self._before + nbytes
            reader.body_received(body if whole == len(body) else body[:whole], nbytes)
        elif reader.missing_bytes:
            reader.body_received(bytes(self._buffer[:nbytes]), nbytes)
        else:
            reader.data_received(self._buffer[:nbytes])
