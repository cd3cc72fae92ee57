"""A file that is sent while it is written: a thread writes it, and the event loop sends it.

A client that reads slowly then holds a file, not a transaction.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

PIECE_BYTES = 256 * 1024
LOOK_SECONDS = 0.05


class Abandoned(Exception):
    """The reader has left: nothing more is to be written."""


class GrowingFile:
    """A temporary file of text: one thread writes and ends it, another reads it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+b", buffering=0)  # noqa: SIM115 - `end` closes it
        self._reader = os.dup(self._file.fileno())
        self._abandoned = False
        self.begun = False

    def write(self, text: str) -> None:
        """Append a piece. Raises Abandoned."""
        if self._abandoned:
            raise Abandoned
        self.begun = True
        left = memoryview(text.encode())
        while left:
            left = left[self._file.write(left) :]

    def end(self) -> None:
        """Nothing more is written."""
        self._file.close()

    async def pieces(self, work: Coroutine[Any, Any, None]) -> AsyncGenerator[bytes, None]:
        """What `work` writes, until it ends. Raises what it raises."""
        writing, offset = asyncio.ensure_future(work), 0
        try:
            while True:
                ended = writing.done()
                piece = os.pread(self._reader, PIECE_BYTES, offset)  # out of the page cache
                offset += len(piece)
                if piece:
                    yield piece
                elif ended:
                    await writing
                    return
                else:
                    await asyncio.wait({writing}, timeout=LOOK_SECONDS)
        finally:
            self._abandoned = True
            os.close(self._reader)
