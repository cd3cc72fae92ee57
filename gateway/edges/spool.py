"""The bytes of one request's files: in memory while few, then in a file without a name."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import threading
from collections.abc import AsyncIterator
from typing import IO

from gateway.errors import Refusal

BLOCK_BYTES = 1 << 20
CHUNK_BYTES = 256 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Spool:
    """Append-only bytes of one request; written by one task, read by any once it is whole.

    `append` never does I/O: a writer awaits `spill` whenever `full` says so. The file has no
    name, so nothing is left behind however the process ends. Several may hold a spool:
    `share` once for each further holder, and the last `close` frees it.
    """

    def __init__(self, memory_bytes: int = 4 << 20, folder: str | None = None) -> None:
        self._memory_bytes = memory_bytes
        self._folder = folder
        self._tail = bytearray()
        self._file: IO[bytes] | None = None
        self._file_bytes = 0
        self._holders = 1
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self._file_bytes + len(self._tail)

    @property
    def full(self) -> bool:
        """Is more in memory than should be?"""
        return len(self._tail) >= (BLOCK_BYTES if self._file_bytes else self._memory_bytes)

    @property
    def closed(self) -> bool:
        return self._holders <= 0

    def append(self, piece: bytes | memoryview) -> None:
        """Keep some more bytes. Raises ValueError once closed."""
        if self.closed:
            raise ValueError("this spool is closed")
        self._tail += piece

    async def spill(self) -> None:
        """Write what is in memory to the file, off the loop. Raises `storage_full`."""
        block = self._tail
        await asyncio.to_thread(self._write, block)
        self._file_bytes += len(block)
        self._tail = bytearray()

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on; blocks where they lie in the file."""
        if self.closed:
            raise ValueError("this spool is closed")
        in_file = max(0, min(size, self._file_bytes - offset))
        data = self._read_file(offset, in_file) if in_file else b""
        start = max(0, offset - self._file_bytes)
        return data + bytes(memoryview(self._tail)[start : start + size - in_file])

    async def chunks(
        self, offset: int, size: int, chunk_bytes: int = CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """The bytes of a range, in order; what lies in the file is read off the loop."""
        end = offset + size
        while offset < end:
            wanted = min(chunk_bytes, end - offset)
            if offset < self._file_bytes:
                chunk = await asyncio.to_thread(self.read, offset, wanted)
            else:
                chunk = self.read(offset, wanted)
            if not chunk:
                raise EOFError("the spool ends before the range does")
            offset += len(chunk)
            yield chunk

    def share(self) -> None:
        """One more holder, who will call `close` too."""
        if self.closed:
            raise ValueError("this spool is closed")
        self._holders += 1

    def close(self) -> None:
        """One holder less; the last one frees memory and file. Never blocks."""
        self._holders -= 1
        if self.closed:
            self._tail = bytearray()
            self._release()

    def _release(self) -> None:
        """Close the file, unless a thread is at it: then that thread does on its way out."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._file:
                self._file.close()
        finally:
            self._lock.release()

    def _write(self, block: bytearray) -> None:
        try:
            with self._lock:
                self._write_all(block)
        except OSError as error:
            room = "has no room left" if error.errno in _FULL else "could not be written to"
            raise Refusal(
                "storage_full",
                f"The gateway's folder for uploads {room}. Try again later, or send fewer or "
                "smaller images.",
                retry_after_seconds=10,
            ) from error
        finally:
            if self.closed:
                self._release()

    def _write_all(self, block: bytearray) -> None:
        if self._file is None:
            if self._folder is not None:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
            # Closed by whoever releases the spool, which may be another thread.
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115
        view, written = memoryview(block), 0
        while written < len(block):
            written += os.pwrite(self._file.fileno(), view[written:], self._file_bytes + written)

    def _read_file(self, offset: int, size: int) -> bytes:
        try:
            with self._lock:
                if self._file is None:
                    raise ValueError("this spool has no file")
                pieces = bytearray()
                while len(pieces) < size:
                    piece = os.pread(self._file.fileno(), size - len(pieces), offset + len(pieces))
                    if not piece:
                        raise EOFError("the spool's file is shorter than what was written")
                    pieces += piece
                return bytes(pieces)
        finally:
            if self.closed:
                self._release()
