"""Opening a folder's index, and setting a damaged one aside; by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway.cache.disk.body_files import make_private_folder
from gateway.cache.disk.index import INDEX, Index

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def open_index(folder: Path, busy_seconds: float) -> tuple[Index, bool]:
    """A connection to the folder's index, which is created if missing, replaced if damaged.

    True if it was damaged: it is renamed, and its body files become orphans.
    """
    if os.path.expandvars(folder) != str(folder):
        raise OSError(errno.EINVAL, "diskcache would expand a part of this name", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    make_private_folder(folder)
    with _locked(folder):
        try:
            return Index(folder, busy_seconds), False
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
        _rename(folder)
        return Index(folder, busy_seconds), True


def set_aside(folder: Path, index: Index) -> bool:
    """Rename a damaged index; False if another thread or process has done so already."""
    with _locked(folder):
        if not index.in_place:
            return False
        _rename(folder)
        return True


def _rename(folder: Path) -> None:
    (folder / INDEX).replace(folder / f"{INDEX}.damaged")
    for suffix in ("-wal", "-shm"):
        (folder / (INDEX + suffix)).unlink(missing_ok=True)


def is_corrupt(error: BaseException) -> bool:
    """Does SQLite report that the index itself is damaged?"""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, between threads and processes."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
