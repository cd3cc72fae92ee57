"""Marks of change: how the processes of one machine see that a result is no longer what it was.

A file of slots beside the index. Whoever replaces or deletes an entry writes something new into
the slot of its key; who holds a copy in memory compares the slot with what it read before it
made the copy. Keys that share a slot only cost each other a read of the disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from zlib import crc32

SLOTS = 4_096
MARK_BYTES = 8
_NO_WAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Linux tells at once where the file system would have to wait; others have no word for it."""


class GenerationCounters:
    """The file of marks in a folder of results."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Blocks; raises OSError."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._file, 0o600)  # whatever the umask left of it
        if os.fstat(self._file).st_size < SLOTS * MARK_BYTES:
            os.ftruncate(self._file, SLOTS * MARK_BYTES)

    def read(self, key: str) -> bytes:
        """The mark of a key now; empty where it can't be told at once. Never waits for the disk."""
        mark = bytearray(MARK_BYTES)
        try:
            read = os.preadv(self._file, [mark], _offset(key.encode()), _NO_WAIT)
        except OSError:
            return b""
        return bytes(mark) if read == MARK_BYTES else b""

    def change(self, key: bytes) -> None:
        """The entry under this key is another one from now on, or none. Blocks; raises OSError."""
        os.pwrite(self._file, secrets.token_bytes(MARK_BYTES), _offset(key))

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._file)


def _offset(key: bytes) -> int:
    return crc32(key) % SLOTS * MARK_BYTES
