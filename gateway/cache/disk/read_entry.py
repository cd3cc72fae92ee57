"""Reading an entry back: header, body, and whether the body is what was stored."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from blake3 import blake3

from gateway.cache.disk.files import Version
from gateway.cache.disk.index import Index, Row
from gateway.cache.result_store import Stored
from gateway.cache.rules.entry import DamagedEntry, decode, may_serve
from gateway.model.entry import Entry

REMEMBERED_FILES = 50_000


@dataclass(frozen=True, slots=True)
class Damage:
    """A row that can't be served, to be deleted."""

    row: Row


class Seen:
    """Which files this process has checked against their digests, and in which version."""

    def __init__(self, limit: int = REMEMBERED_FILES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._versions: dict[object, int] = {}  # hashes: a fifth of the memory

    def knows(self, filename: object, version: Version) -> bool:
        return self._versions.get(filename) == hash(version)

    def remember(self, filename: object, version: Version) -> None:
        with self._lock:
            if len(self._versions) >= self._limit:
                self._versions.pop(next(iter(self._versions)))
            self._versions[filename] = hash(version)


def look(index: Index, seen: Seen | None, key: str, now_ms: int) -> Stored | Damage | None:
    """The entry under a key, if there is one that may be served.

    An entry that is replaced while it is being read loses its file: then it is looked up
    anew, and only a row that still names a lost file is damaged. Raises as `Index` does.
    """
    row = index.find(key)
    while row is not None:
        try:
            entry = entry_of(row)
            if not may_serve(entry, now_ms):
                return None
            return Stored(entry, body_of(index, seen, row, entry))
        except DamagedEntry:
            return Damage(row)
        except FileNotFoundError:
            again = index.find(key)
            if again is not None and again.filename == row.filename:
                return Damage(row)
            row = again
    return None


def entry_of(row: Row) -> Entry:
    """A row's header. Raises DamagedEntry."""
    entry = decode(row.header)
    if entry.key.encode() != row.key:
        raise DamagedEntry("the header is another entry's")
    return entry


def body_of(index: Index, seen: Seen | None, row: Row, entry: Entry) -> bytes:
    """A row's body. Raises DamagedEntry, OSError.

    The digest is checked on the first read of a file, and again when the file has changed;
    always where the body lies in the index, which is small, and where `seen` is None.
    """
    body, version = index.files.load(row.mode, row.filename, row.value, entry.body_bytes)
    if seen and version and seen.knows(row.filename, version):
        return body
    if blake3(body).hexdigest() != entry.body_digest:
        raise DamagedEntry("the body is not what was stored")
    if seen and version:
        seen.remember(row.filename, version)
    return body
