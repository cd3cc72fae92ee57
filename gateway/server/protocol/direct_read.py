"""Reading from a connection so that what has come of an upload is copied once, by the system.

A protocol of the usual kind is given each read as new bytes, which its parser copies again. Here
heads are read into a small buffer that all connections share, and a body whose length is known
straight into the bytes that the application is given.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
from typing import Protocol

from gateway.server.protocol.uninitialised_bytes import blank

READ_BYTES = 1 << 20
HEAD_BYTES = 8192
"""So much is read where a head is awaited: what comes of a body with it is copied with it."""


class Reader(Protocol):
    """Who is told what happens on a connection."""

    in_head: bool
    """What comes next is a head's, or its rest."""
    coming_bytes: int
    """Of a body whose length is known, what is still to come; else 0."""

    @property
    def untaken_bytes(self) -> int:
        """Of the body, what has come and nobody has taken."""
        ...

    def take_back(self) -> bytes:
        """Those bytes; they are to come again, before what has come since."""
        ...

    def body_received(self, body: bytes, new_bytes: int) -> None:
        """Some of a body whose length is known; the last `new_bytes` of it are new."""
        ...

    def data_received(self, data: memoryview) -> None: ...

    def eof_received(self) -> bool | None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...


class Receiver(asyncio.BufferedProtocol):
    """Stands between a transport and its reader.

    All connections of an event loop may share a buffer: the reader is done with what it is
    given of it when it returns. The bytes of a body are its own.
    """

    def __init__(self, reader: Reader, transport: asyncio.Transport, buffer: bytearray) -> None:
        self._fileno = transport.get_extra_info("socket").fileno()
        self._buffer = memoryview(buffer)
        self._head_buffer = self._buffer[:HEAD_BYTES]
        self._reader = reader
        self._body = b""
        self._room: memoryview | None = None
        self._before = 0
        """So much at the room's beginning is for what has come before."""
        self.eof_received = reader.eof_received  # type: ignore[method-assign]
        self.pause_writing = reader.pause_writing  # type: ignore[method-assign]
        self.resume_writing = reader.resume_writing  # type: ignore[method-assign]
        self.connection_lost = reader.connection_lost  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        self._room = None  # if nothing came into the last one
        reader = self._reader
        coming = reader.coming_bytes
        if not coming:
            return self._head_buffer if reader.in_head else self._buffer
        self._before = reader.untaken_bytes
        size = min(coming, queued_bytes(self._fileno, termios.FIONREAD), READ_BYTES - self._before)
        if size < HEAD_BYTES:
            return self._buffer[:coming]
        self._body, self._room = blank(self._before + size)
        return self._room[self._before :]

    def buffer_updated(self, nbytes: int) -> None:
        reader, room = self._reader, self._room
        if room is not None:
            body, self._body, self._room = self._body, b"", None
            if self._before:
                room[: self._before] = reader.take_back()
            whole = self._before + nbytes
            reader.body_received(body if whole == len(body) else body[:whole], nbytes)
        elif reader.coming_bytes:
            reader.body_received(bytes(self._buffer[:nbytes]), nbytes)
        else:
            reader.data_received(self._buffer[:nbytes])


def queued_bytes(fileno: int, which: int) -> int:
    """What the system holds of a connection, by `FIONREAD` or `TIOCOUTQ`; 0 where it does not tell.

    That can be read at once, or that the other side has not acknowledged.
    """
    found = array.array("i", [0])
    try:
        fcntl.ioctl(fileno, which, found)
    except OSError:
        return 0
    return found[0]
