"""The index of the disk's results: rows of a diskcache, and the files that they name.

diskcache gives the tables, their counters and a connection per thread. Its own reads and
writes are not used: a read that keeps access times takes a write lock, a write keeps its
bound only roughly, and neither says why it failed. Here a read only reads, and a write is
one short transaction. A body is written before its row and removed after it: a crash leaves
a file that no row names, never a row without its whole file.

A header lies in the column `tag`, so that listing headers reads no bodies. Every method
blocks, and raises sqlite3.Error or OSError.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import diskcache

from gateway.cache.disk.files import BodyFiles, Written
from gateway.cache.disk.generation_counters import GenerationCounters

INLINE_BELOW_BYTES = 16_384
"""Smaller bodies lie in the index: measured, a file's read is as fast from here on."""
INDEX = "cache.db"
MARKS = "marks"
_SETTINGS: Mapping[str, object] = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "statistics": 0,
    "disk_min_file_size": INLINE_BELOW_BYTES,
    "sqlite_auto_vacuum": 2,
    "sqlite_cache_size": -1024,
    "sqlite_journal_size_limit": 16_777_216,
    "sqlite_mmap_size": 0,  # a mapped index that someone truncates would kill the process
    "sqlite_synchronous": 1,
    "sqlite_trusted_schema": 0,
}
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS Cache_access_time ON Cache (access_time)",
    "CREATE INDEX IF NOT EXISTS Cache_store_time ON Cache (store_time)",
    "CREATE INDEX IF NOT EXISTS Cache_filename ON Cache (filename) WHERE filename IS NOT NULL",
)
_COLUMNS = (
    "rowid, CAST(key AS BLOB), CAST(tag AS BLOB), CAST(mode AS INTEGER), CAST(filename AS BLOB)"
)
"""As bytes: of a damaged row, text may be no text, and could not be read at all."""
_UPSERT = """
INSERT INTO Cache (key, raw, store_time, expire_time, access_time, tag, size, mode, filename, value)
VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key, raw) DO UPDATE SET
    store_time = excluded.store_time, expire_time = excluded.expire_time,
    access_time = excluded.access_time, tag = excluded.tag, size = excluded.size,
    mode = excluded.mode, filename = excluded.filename, value = excluded.value
"""
_DELETE_SAME = """
DELETE FROM Cache
WHERE rowid = ? AND CAST(filename AS BLOB) IS ? AND CAST(tag AS BLOB) IS ?
"""


class Row(NamedTuple):
    """An entry as the index has it: nothing in it is to be trusted before it is decoded."""

    rowid: int
    key: object
    header: object
    mode: object
    filename: object
    value: object = None


class Moments(NamedTuple):
    """When an entry was stored, runs out, and was last used, in unix seconds."""

    stored: float
    expires: float
    used: float


class Index:
    """One process's way into a folder of results, which any number of processes may share."""

    def __init__(self, folder: Path, busy_seconds: float) -> None:
        """Raises sqlite3.DatabaseError where the index can't be read."""
        self._file = folder / INDEX
        # SQLite gives its log the permissions of the database's own file. One that is there
        # is never opened: to close it would drop the locks of this process's connections.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._file.chmod(0o600)
        self._cache = diskcache.Cache(
            str(folder), timeout=busy_seconds, disk=BodyFiles, **_SETTINGS
        )
        self.files: BodyFiles = self._cache.disk
        for statement in _INDEXES:
            self._sql(statement)
        self._page_bytes = self._pragma("page_size")
        self._identity = self._file.stat().st_ino
        self.marks = GenerationCounters(folder / MARKS)

    @property
    def in_place(self) -> bool:
        """Is this still the folder's index? Not after someone deleted or replaced it."""
        try:
            return self._file.stat().st_ino == self._identity
        except FileNotFoundError:
            return False

    def find(self, key: str) -> Row | None:
        rows = self._sql(
            f"SELECT {_COLUMNS}, CAST(value AS BLOB) FROM Cache WHERE key = ? AND raw = 1",  # noqa: S608
            (key,),
        ).fetchall()
        return Row(*rows[0]) if rows else None

    def after(self, rowid: int, limit: int) -> list[Row]:
        """The next rows, in the order of their ids, without bodies."""
        select = f"SELECT {_COLUMNS} FROM Cache WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608
        return [Row(*row) for row in self._sql(select, (rowid, limit))]

    def insert(self, key: str, header: bytes, written: Written, moments: Moments) -> None:
        """Keep a body that has been written under its key, in place of any other."""
        try:
            with self._transaction() as sql:
                old = sql(
                    "SELECT CAST(filename AS BLOB) FROM Cache WHERE key = ? AND raw = 1", (key,)
                ).fetchall()
                sql(_UPSERT, (key, *moments, header, *written))
        except BaseException:
            self._unlink([written.filename])
            raise
        if old:
            self.marks.change(key.encode())
        self._unlink(filename for (filename,) in old)

    def remove(self, rows: Sequence[Row]) -> int:
        """Delete rows, unless they hold something else by now; how many were deleted."""
        gone: list[Row] = []
        with self._transaction() as sql:
            for row in rows:
                if sql(_DELETE_SAME, (row.rowid, row.filename, row.header)).rowcount:
                    gone.append(row)
        for row in gone:
            if isinstance(row.key, bytes):
                self.marks.change(row.key)
        self._unlink(row.filename for row in gone)
        return len(gone)

    def touch(self, used: Iterable[tuple[str, float]]) -> None:
        """Note when entries were last used, in unix seconds."""
        update = "UPDATE Cache SET access_time = ?2 WHERE key = ?1 AND raw = 1 AND access_time < ?2"
        with self._transaction() as sql:
            for key, moment in used:
                sql(update, (key, moment))

    def expire(self, now: float, limit: int) -> int:
        """Delete up to `limit` entries that have run out; how many those were."""
        select = (
            "SELECT rowid, CAST(filename AS BLOB), 0 FROM Cache"
            " WHERE expire_time <= ? ORDER BY expire_time LIMIT ?"
        )
        return self._drop(select, (now, limit), 1)

    def evict(self, needed_bytes: int, limit: int) -> int:
        """Delete what was used least recently until `needed_bytes` are free, or `limit` are."""
        select = (
            "SELECT rowid, CAST(filename AS BLOB),"
            " size + ifnull(length(value), 0) + ifnull(length(tag), 0)"
            " FROM Cache ORDER BY access_time LIMIT ?"
        )
        return self._drop(select, (limit,), needed_bytes)

    def used_bytes(self) -> int:
        """Bytes of the bodies' files and of the index's pages in use."""
        return self._setting("size") + self._index_bytes()

    def count(self) -> int:
        return self._setting("count")

    def oldest(self) -> float | None:
        """When the oldest entry was stored, in unix seconds."""
        oldest = self._sql("SELECT min(store_time) FROM Cache").fetchone()[0]
        return oldest if isinstance(oldest, float) else None

    def shrink(self, pages: int) -> bool:
        """Give so many unused pages of the index back to the file system, if it has them."""
        spare = self._pragma("freelist_count") >= pages
        if spare:
            # A plain execute steps this pragma once, and each step frees one page.
            self._cache._con.executescript(f"PRAGMA incremental_vacuum({int(pages)})")
        return spare

    def sweep(self, folder: str, unix_seconds: float) -> int:
        """Remove a sub-folder's files from before a moment that no row names; how many."""
        known = "SELECT 1 FROM Cache WHERE filename = ?"
        old = self.files.older_than(folder, unix_seconds)
        orphans = [name for name in old if not self._sql(known, (name,)).fetchall()]
        self._unlink(orphans)
        return len(orphans)

    def close(self) -> None:
        """Close the calling thread's connection."""
        self._cache.close()

    def _drop(self, select: str, values: tuple[object, ...], needed_bytes: int) -> int:
        gone: list[tuple[int, object]] = []
        freed = 0
        with self._transaction() as sql:
            for rowid, filename, size in sql(select, values).fetchall():
                if freed >= needed_bytes:
                    break
                sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))
                gone.append((rowid, filename))
                freed += size
        self._unlink(filename for _, filename in gone)
        return len(gone)

    def _unlink(self, filenames: Iterable[object]) -> None:
        """Files of rows that are gone; one that can't be removed now is left to the sweep."""
        for filename in filenames:
            with contextlib.suppress(OSError):
                self.files.remove(filename)

    def _setting(self, key: str) -> int:
        rows = self._sql("SELECT value FROM Settings WHERE key = ?", (key,)).fetchall()
        if not rows or not isinstance(rows[0][0], int):
            raise sqlite3.DataError(f"the index has lost its {key}")
        return int(rows[0][0])

    def _index_bytes(self) -> int:
        used_pages = self._pragma("page_count") - self._pragma("freelist_count")
        return used_pages * self._page_bytes

    def _pragma(self, name: str) -> int:
        return int(self._sql(f"PRAGMA {name}").fetchone()[0])

    def _sql(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run on this thread's connection; diskcache has no public name for it."""
        cursor: sqlite3.Cursor = self._cache._sql(statement, values)
        return cursor

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        """One write transaction. diskcache's own loses why a transaction failed."""
        self._sql("BEGIN IMMEDIATE")
        try:
            yield self._sql
            self._sql("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """SQLite may have done it already, where the disk is full; closing does it too."""
        try:
            if self._cache._con.in_transaction:
                self._sql("ROLLBACK")
        except sqlite3.Error:
            self._cache.close()
