"""The index of results on disk: one connection to the SQLite file in the folder.

diskcache makes the folder and its tables, and can open them at any time. The gateway reads and
writes the rows by SQL of its own; ARCHITECTURE.md says why.

A read takes no write lock, and a write is one short transaction. A body is written before its row
and removed after it: a crash leaves a file without a row, never a row without its whole file. The
entry is in the column `tag`, so listing entries reads no bodies. Every method blocks, and raises
sqlite3.Error or OSError.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import diskcache

from gateway.cache.disk.body_files import BodyFiles
from gateway.cache.disk.generation_counters import GenerationCounters
from gateway.cache.rules.entry import Entry, encode

INDEX = "cache.db"
GENERATIONS = "marks"
_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "sqlite_auto_vacuum": 2,
    "sqlite_cache_size": -1024,
    "sqlite_journal_size_limit": 16_777_216,
    "sqlite_mmap_size": 0,
    "sqlite_synchronous": 1,
}
"""No memory map: truncating a mapped file kills the processes that map it."""
_PRAGMAS = "".join(
    f"PRAGMA {name.removeprefix('sqlite_')} = {value};"
    for name, value in _SETTINGS.items()
    if name.startswith("sqlite_")
)
_INDEXES = """
CREATE INDEX IF NOT EXISTS Cache_access_time ON Cache (access_time);
CREATE INDEX IF NOT EXISTS Cache_store_time ON Cache (store_time);
CREATE INDEX IF NOT EXISTS Cache_filename ON Cache (filename) WHERE filename IS NOT NULL;
"""
_SELECT = (
    "SELECT rowid, CAST(key AS BLOB), CAST(tag AS BLOB), CAST(mode AS INTEGER),"
    " CAST(filename AS BLOB), size + ifnull(length(value), 0) + ifnull(length(tag), 0)"
)
"""Text as bytes: a damaged row may hold invalid UTF-8, which could not be read as text."""
_UPSERT = """
INSERT INTO Cache (key, raw, store_time, expire_time, access_time, tag, size, mode, filename, value)
VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key, raw) DO UPDATE SET
    store_time = excluded.store_time, expire_time = excluded.expire_time,
    access_time = excluded.access_time, tag = excluded.tag, size = excluded.size,
    mode = excluded.mode, filename = excluded.filename, value = excluded.value
"""
_DELETE_UNCHANGED = """
DELETE FROM Cache
WHERE rowid = ? AND CAST(filename AS BLOB) IS ? AND CAST(tag AS BLOB) IS ?
"""


class IndexRow(NamedTuple):
    """A row as the index holds it: untrusted until it is decoded."""

    rowid: int
    key: object
    header: object
    mode: object
    filename: object
    bytes: int
    value: object = None


class Index:
    """A connection to the index of a folder, for one thread at a time."""

    def __init__(self, folder: Path, busy_seconds: float) -> None:
        """Raises sqlite3.DatabaseError if the index is unreadable."""
        self._file = folder / INDEX
        # SQLite gives its log the permissions of the database file. An existing file is not
        # opened here: closing it would drop the locks of this process's other connections.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._file.chmod(0o600)
        self.files = BodyFiles(folder)
        self.generations = GenerationCounters(folder / GENERATIONS)
        self._connection = sqlite3.connect(
            self._file, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        self._sql = self._connection.execute
        try:
            if not self._sql(
                "SELECT 1 FROM sqlite_master WHERE name = 'Cache_filename'"
            ).fetchone():
                diskcache.Cache(str(folder), timeout=busy_seconds, **_SETTINGS).close()
                self._connection.executescript(_INDEXES)
            self._connection.executescript(_PRAGMAS + "PRAGMA trusted_schema = 0;")
            self._page_bytes = self._pragma("page_size")
            self._inode = self._file.stat().st_ino
        except BaseException:
            self.close()
            raise

    @property
    def in_place(self) -> bool:
        """Is this still the folder's index? False once the file was deleted or replaced."""
        try:
            return self._file.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    @property
    def in_transaction(self) -> bool:
        """True if a transaction could not be rolled back: the connection is to be closed."""
        return self._connection.in_transaction

    def find(self, key: str) -> IndexRow | None:
        select = f"{_SELECT}, CAST(value AS BLOB) FROM Cache WHERE key = ? AND raw = 1"
        row = self._sql(select, (key,)).fetchone()
        return IndexRow(*row) if row else None

    def list_after(self, rowid: int, limit: int) -> list[IndexRow]:
        """The next rows in the order of their ids, without bodies."""
        return self._rows("WHERE rowid > ? ORDER BY rowid LIMIT ?", rowid, limit)

    def expired(self, now: float, limit: int) -> list[IndexRow]:
        return self._rows("WHERE expire_time <= ? ORDER BY expire_time LIMIT ?", now, limit)

    def least_recently_used(self, limit: int) -> list[IndexRow]:
        return self._rows("ORDER BY access_time LIMIT ?", limit)

    def insert(self, entry: Entry, body: bytes, used: float) -> None:
        """Store a result, in place of any under its key; `used` is the time of last use."""
        header = encode(entry).encode("ascii")
        times = (entry.created_ms / 1000, entry.expires_ms / 1000, used)
        location = self.files.write(body)
        try:
            with self._transaction():
                old = self._sql(
                    "SELECT CAST(filename AS BLOB) FROM Cache WHERE key = ? AND raw = 1",
                    (entry.key,),
                ).fetchall()
                self._sql(_UPSERT, (entry.key, *times, header, *location))
        except BaseException:
            self._unlink([location.filename])
            raise
        if old:
            self.generations.change(entry.key.encode())
        self._unlink(filename for (filename,) in old)

    def remove(self, rows: Iterable[IndexRow]) -> list[IndexRow]:
        """Delete the rows that are unchanged since they were read; returns those deleted."""
        removed: list[IndexRow] = []
        with self._transaction():
            for row in rows:
                if self._sql(_DELETE_UNCHANGED, (row.rowid, row.filename, row.header)).rowcount:
                    removed.append(row)
        for row in removed:
            if isinstance(row.key, bytes):
                self.generations.change(row.key)
        self._unlink(row.filename for row in removed)
        return removed

    def record_uses(self, uses: Iterable[tuple[str, float]]) -> None:
        """Write times of last use, in unix seconds."""
        update = "UPDATE Cache SET access_time = ?2 WHERE key = ?1 AND raw = 1 AND access_time < ?2"
        with self._transaction():
            for use in uses:
                self._sql(update, use)

    def used_bytes(self) -> int:
        """Bytes of the body files and of the used pages of the index."""
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return self._total("size") + pages * self._page_bytes

    def count(self) -> int:
        return self._total("count")

    def oldest(self) -> float | None:
        """Storage time of the oldest entry, in unix seconds."""
        oldest = self._sql("SELECT min(store_time) FROM Cache").fetchone()[0]
        return oldest if isinstance(oldest, float) else None

    def shrink(self, pages: int) -> bool:
        """Return unused pages to the file system; False if there are fewer than `pages`."""
        spare = self._pragma("freelist_count") >= pages
        if spare:
            # `execute` steps this pragma once, and each step frees one page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({int(pages)})")
        return spare

    def remove_orphans(self, folder: str, unix_seconds: float) -> int:
        """Remove files of a sub-folder that were written before then and have no row."""
        known = "SELECT 1 FROM Cache WHERE filename = ?"
        old = self.files.older_than(folder, unix_seconds)
        orphans = [name for name in old if not self._sql(known, (name,)).fetchone()]
        self._unlink(orphans)
        return len(orphans)

    def close(self) -> None:
        self._connection.close()

    def _rows(self, condition: str, *values: float) -> list[IndexRow]:
        return [IndexRow(*row) for row in self._sql(f"{_SELECT} FROM Cache {condition}", values)]

    def _unlink(self, filenames: Iterable[object]) -> None:
        """Remove body files; a file that cannot be removed now becomes an orphan."""
        for filename in filenames:
            with contextlib.suppress(OSError):
                self.files.remove(filename)

    def _total(self, key: str) -> int:
        row: Sequence[object] | None = self._sql(
            "SELECT value FROM Settings WHERE key = ?", (key,)
        ).fetchone()
        if row is None or not isinstance(row[0], int):
            raise sqlite3.DataError(f"the index has lost its {key}")
        return row[0]

    def _pragma(self, name: str) -> int:
        return int(self._sql(f"PRAGMA {name}").fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql("BEGIN IMMEDIATE")
        try:
            yield
            self._sql("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself rolls back on a full disk
                self._sql("ROLLBACK")
            raise
