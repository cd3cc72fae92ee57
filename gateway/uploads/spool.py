"""The spool: the uploaded bytes of one request, in memory or in an unnamed temporary file."""

from __future__ import annotations

import asyncio
import bisect
import errno
import os
import tempfile
import threading
from collections.abc import AsyncGenerator, Sequence
from typing import IO, Self

from gateway.model.errors import Refusal

BLOCK_BYTES = 1 << 20
CHUNK_BYTES = 256 * 1024
SMALL_BYTES = 16 * 1024
"""Smaller pieces are joined: an object for each would take more memory than its bytes."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

Buffer = bytes | bytearray | memoryview


class SpoolMemory:
    """The memory that the spools of a process share; beyond it they spill to files."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.taken_bytes = 0


class Spool:
    """The append-only bytes of one request, written by one task and then read by any number.

    `append` does no I/O: the writer awaits `spill` whenever `full` is true. Pieces are kept, not
    copied: their buffers must not change. The file has no name, so no exit of the process leaves
    it behind. A spool may have several holders: `share` adds one, and the last `close` frees it.
    """

    def __init__(self, memory: SpoolMemory | None = None, folder: str | None = None) -> None:
        self._memory = memory or SpoolMemory(4 << 20)
        self._folder = folder
        self._pieces: list[Buffer] = []
        self._starts: list[int] = []
        """The offset of each piece, counted from the end of the file."""
        self._tail_bytes = 0
        self._file: IO[bytes] | None = None
        self._file_bytes = 0
        self._holders = 1
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove one holder; others keep the spool."""
        self.close()

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self._file_bytes + self._tail_bytes

    @property
    def in_memory(self) -> int:
        """Bytes held in memory."""
        return self._tail_bytes

    @property
    def full(self) -> bool:
        """True if the writer must spill."""
        memory = self._memory
        worth_writing = BLOCK_BYTES if self._file_bytes else min(BLOCK_BYTES, memory.max_bytes)
        return self._tail_bytes >= worth_writing and memory.taken_bytes >= memory.max_bytes

    @property
    def closed(self) -> bool:
        return self._holders <= 0

    def append(self, piece: bytes | memoryview) -> None:
        """Append bytes. Raises ValueError once closed."""
        if self.closed:
            raise ValueError("this spool is closed")
        size = len(piece)
        last = self._pieces[-1] if self._pieces else None
        if size >= SMALL_BYTES:
            self._add(piece)
        elif isinstance(last, bytearray) and len(last) < CHUNK_BYTES:
            last += piece
        else:
            self._add(bytearray(piece))
        self._tail_bytes += size
        self._memory.taken_bytes += size

    def _add(self, piece: Buffer) -> None:
        self._pieces.append(piece)
        self._starts.append(self._tail_bytes)

    async def spill(self) -> None:
        """Write the bytes in memory to the file, off the loop. Raises `storage_full`."""
        size = self._tail_bytes
        await asyncio.to_thread(self._write, self._pieces)
        if not self.closed:
            self._file_bytes += size
            self._free_memory()

    def _free_memory(self) -> None:
        self._memory.taken_bytes -= self._tail_bytes
        self._pieces, self._starts, self._tail_bytes = [], [], 0

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on; blocks if they are in the file."""
        if self.closed:
            raise ValueError("this spool is closed")
        in_file = max(0, min(size, self._file_bytes - offset))
        data = self._read_file(offset, in_file) if in_file else b""
        start = max(0, offset - self._file_bytes)
        end = start + size - in_file
        views = []
        while start < end and (view := self._view(start, end - start)):
            views.append(view)
            start += len(view)
        return b"".join([data, *views])

    def _view(self, start: int, size: int) -> memoryview:
        """At most `size` bytes of one piece in memory, from `start` on."""
        if self.closed:
            raise ValueError("this spool is closed")
        at = bisect.bisect_right(self._starts, start) - 1
        if at < 0:
            return memoryview(b"")
        start -= self._starts[at]
        return memoryview(self._pieces[at])[start : start + size]

    async def chunks(
        self, offset: int, size: int, chunk_bytes: int = BLOCK_BYTES
    ) -> AsyncGenerator[bytes | memoryview, None]:
        """The bytes of a range, in order: read from the file off the loop, from memory uncopied."""
        end = offset + size
        while offset < end:
            wanted = min(chunk_bytes, end - offset)
            chunk: bytes | memoryview
            if offset < self._file_bytes:
                chunk = await asyncio.to_thread(self.read, offset, wanted)
            else:
                chunk = self._view(offset - self._file_bytes, wanted)
            if not chunk:
                raise EOFError("the spool ends before the range does")
            offset += len(chunk)
            yield chunk

    def share(self) -> None:
        """Add a holder, which must call `close` too."""
        if self.closed:
            raise ValueError("this spool is closed")
        self._holders += 1

    def close(self) -> None:
        """Remove a holder; the last one frees memory and file. Never blocks."""
        self._holders -= 1
        if self.closed:
            self._free_memory()
            self._release()

    def _release(self) -> None:
        """Close the file, or leave that to the thread that is using it."""
        if self._lock.acquire(blocking=False):
            if self._file:
                self._file.close()
            self._lock.release()

    def _write(self, pieces: Sequence[Buffer]) -> None:
        try:
            with self._lock:
                self._write_all(pieces)
        except OSError as error:
            why = "has no room left" if error.errno in _FULL else "could not be written to"
            raise Refusal(
                "storage_full",
                f"The gateway's folder for uploads {why}. Try again later, or send fewer or "
                "smaller images.",
                retry_after_seconds=10,
            ) from error
        finally:
            if self.closed:
                self._release()

    def _write_all(self, pieces: Sequence[Buffer]) -> None:
        if self._file is None:
            if self._folder is not None:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
            # Closed by `_release`, possibly in another thread.
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115
        offset = self._file_bytes
        for piece in pieces:
            left = memoryview(piece)
            while left:
                written = os.pwrite(self._file.fileno(), left, offset)
                left, offset = left[written:], offset + written

    def _read_file(self, offset: int, size: int) -> bytes:
        try:
            with self._lock:
                if self._file is None:
                    raise ValueError("this spool has no file")
                data = os.pread(self._file.fileno(), size, offset)
                if len(data) < size:
                    raise EOFError("the spool's file is shorter than its contents")
                return data
        finally:
            if self.closed:
                self._release()
