"""Generations of keys: how the processes of one machine notice that a result was replaced.

A file of slots beside the index. A process that replaces or deletes an entry writes a new random
value into the slot of its key. A process that holds a copy in memory compares the slot with the
value from before it read the copy. Keys that share a slot only cost each other a disk read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from zlib import crc32

SLOTS = 4_096
GENERATION_BYTES = 8
_NO_WAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Linux reports if the file system would have to wait; other systems lack the flag."""


class GenerationCounters:
    """The file of generations in a folder of results."""

    def __init__(self, path: Path) -> None:
        """Open the file, or create it. Blocks; raises OSError."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._file, 0o600)  # whatever the umask left of it
        if os.fstat(self._file).st_size < SLOTS * GENERATION_BYTES:
            os.ftruncate(self._file, SLOTS * GENERATION_BYTES)
        self._flags = self._flags_of_reads()

    def read(self, key: str) -> bytes:
        """The generation of a key; empty if it cannot be read without waiting for the disk."""
        generation = bytearray(GENERATION_BYTES)
        try:
            read = os.preadv(self._file, [generation], _offset(key.encode()), self._flags)
        except OSError:
            return b""
        return bytes(generation) if read == GENERATION_BYTES else b""

    def change(self, key: bytes) -> None:
        """Start a new generation: the entry was replaced or deleted. Blocks; raises OSError."""
        os.pwrite(self._file, secrets.token_bytes(GENERATION_BYTES), _offset(key))

    def _flags_of_reads(self) -> int:
        """None for a file system in memory: it knows no waiting, and refuses the flag."""
        try:
            os.preadv(self._file, [bytearray(GENERATION_BYTES)], 0, _NO_WAIT)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return 0
        return _NO_WAIT

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._file)


def _offset(key: bytes) -> int:
    return crc32(key) % SLOTS * GENERATION_BYTES
