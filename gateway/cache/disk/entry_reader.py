"""Reading an entry from disk, and checking that its body is the one that was stored."""

from __future__ import annotations

import threading

from blake3 import blake3

from gateway.cache.disk.body_files import FileVersion
from gateway.cache.disk.index import Index, IndexRow
from gateway.cache.result_store import Stored
from gateway.cache.rules.entry import DamagedEntry, Entry, decode, may_serve

REMEMBERED_FILES = 50_000


class VerifiedFiles:
    """Files whose digest this process has checked, each with the version it checked."""

    def __init__(self, limit: int = REMEMBERED_FILES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._versions: dict[object, int] = {}  # hashes take a fifth of the memory

    def contains(self, filename: object, version: FileVersion) -> bool:
        return self._versions.get(filename) == hash(version)

    def add(self, filename: object, version: FileVersion) -> None:
        with self._lock:
            if len(self._versions) >= self._limit:
                self._versions.pop(next(iter(self._versions)))
            self._versions[filename] = hash(version)


def read_result(
    index: Index, verified: VerifiedFiles | None, key: str, now_ms: int
) -> Stored | IndexRow | None:
    """The result under a key, None if there is none to serve, or its row if it is damaged.

    An entry that is replaced during the read loses its file: then it is read again, and only a
    row that still names the lost file is damaged. Raises as `Index` does.
    """
    row = index.find(key)
    while row is not None:
        try:
            entry = decode_row(row)
            if not may_serve(entry, now_ms):
                return None
            return Stored(entry, _read_body(index, verified, row, entry))
        except DamagedEntry:
            return row
        except FileNotFoundError:
            again = index.find(key)
            if again is not None and again.filename == row.filename:
                return row
            row = again
    return None


def decode_row(row: IndexRow) -> Entry:
    """The entry of a row. Raises DamagedEntry."""
    entry = decode(row.header)
    if entry.key.encode() != row.key:
        raise DamagedEntry("the header belongs to another entry")
    return entry


def _read_body(index: Index, verified: VerifiedFiles | None, row: IndexRow, entry: Entry) -> bytes:
    """The body of a row. Raises DamagedEntry, OSError.

    The digest is checked on the first read of a file and whenever the file has changed. It is
    always checked for small bodies in the index, and if `verified` is None.
    """
    body, version = index.files.read(row.mode, row.filename, row.value, entry.body_bytes)
    if verified and version and verified.contains(row.filename, version):
        return body
    if blake3(body).hexdigest() != entry.body_digest:
        raise DamagedEntry("the body differs from the one stored")
    if verified and version:
        verified.add(row.filename, version)
    return body
