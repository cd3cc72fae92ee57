"""Opening a folder's index, and putting a damaged one aside: by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway.cache.disk.files import make_private_folder
from gateway.cache.disk.index import INDEX, Index

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def open_index(folder: Path, busy_seconds: float) -> tuple[Index, bool]:
    """The folder's index, made where there is none, or made anew where it is damaged.

    True where it was damaged: it is renamed, and the files that it knew will be swept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    make_private_folder(folder)
    with _alone(folder):
        try:
            return Index(folder, busy_seconds), False
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
        _rename(folder)
        return Index(folder, busy_seconds), True


def set_aside(folder: Path, index: Index) -> None:
    """Take a damaged index out of use, unless another process has done so already."""
    with _alone(folder):
        if index.in_place:
            _rename(folder)


def _rename(folder: Path) -> None:
    (folder / INDEX).replace(folder / f"{INDEX}.damaged")
    for suffix in ("-wal", "-shm"):
        (folder / (INDEX + suffix)).unlink(missing_ok=True)


def is_corrupt(error: BaseException) -> bool:
    """Does SQLite say that the index itself is damaged?"""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: opening and setting aside are done by one process at a time."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
