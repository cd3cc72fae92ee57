"""One thread's SQLite connection: opens it, and translates its errors."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.database.database import CommitUnknown, Conflict, Row, StateUnavailable, Value

_UNIQUE = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
}

_REASONS = {
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_BUSY: "it is locked by another process",
    sqlite3.SQLITE_IOERR: "its disk fails",
    sqlite3.SQLITE_CANTOPEN: "its file can't be opened",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file is damaged",
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PARAMETER = re.compile(r"\$(\d+)")


def _primary(error: sqlite3.Error) -> int:
    """The error's primary result code, such as SQLITE_BUSY for SQLITE_BUSY_SNAPSHOT."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def _translated(error: sqlite3.Error, path: Path) -> Exception:
    """The state's exception for an error of SQLite; programming errors stay unchanged."""
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(str(error)) if error.sqlite_errorcode in _UNIQUE else error
    if isinstance(error, sqlite3.ProgrammingError) or "syntax error" in str(error):
        return error
    return _unavailable(error, path)


def _unavailable(error: Exception, path: Path) -> StateUnavailable:
    reason = _REASONS.get(_primary(error), "") if isinstance(error, sqlite3.Error) else ""
    detail = str(error)
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
        reason = detail = "its folder is read-only"  # SQLite says that it can't open the file
    return StateUnavailable(f"the state's database {path} cannot be used: {detail}", reason)


@functools.lru_cache(1_000)
def _numbered(sql: str) -> str:
    """Replace `$1`, which SQLite looks up as a name, by the numbered parameter `?1`."""
    return _PARAMETER.sub(r"?\1", sql)


def create(path: Path) -> None:
    """Create an empty database file of mode 0600 in a folder of 0700, if there is none.

    SQLite gives its log and index files the permissions of the database file. An existing file is
    never opened: closing any descriptor of it would release every lock that this process's
    connections hold on it, and another process could then delete the log.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def log_of(path: Path) -> Path:
    """The write-ahead log of a database file."""
    return path.with_name(path.name + "-wal")


@dataclass(slots=True)
class OpenedFile:
    """The database file that the connections of this process have open.

    `inode` and `log_inode` are those of the file and of its write-ahead log when it was opened
    last. Each discovery of damage counts up `damages`; connections opened before it are closed.
    """

    path: Path
    inode: tuple[int, int] | None = None
    log_inode: tuple[int, int] | None = None
    damages: int = 0

    @property
    def log(self) -> Path:
        return log_of(self.path)

    def check_log(self) -> None:
        """Refuse a file put in place of another whose log is still there.

        SQLite would write that log's pages into the new file.
        """
        replaced = self.inode is not None and _inode(self.path) != self.inode
        if replaced and self.log_inode is not None and _inode(self.log) == self.log_inode:
            raise StateUnavailable(
                f"the state's database {self.path} was replaced, and the log of the old file is "
                f"still there: delete {self.log} and the file ending in -shm beside it",
                "its file was replaced",
            )

    def opened(self) -> None:
        self.inode, self.log_inode = _inode(self.path), _inode(self.log)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class SqliteConnection:
    """One thread's connection: opened at first use, and again after a failure.

    Also if the file at the path has become another one; a missing file is never created here.
    """

    def __init__(self, file: OpenedFile, busy_seconds: float, *, read_only: bool) -> None:
        self._file, self._path = file, file.path
        self._inode: tuple[int, int] | None = None
        self._damages = 0
        self._busy_seconds = busy_seconds
        self._read_only = read_only
        self._open: sqlite3.Connection | None = None
        self._broken = False

    def begin(self, statement: str) -> None:
        try:
            if self._inode != _inode(self._path) or self._damages != self._file.damages:
                self.close()
            if self._open is None:
                self._open = self._connect()
            self._open.execute(statement)
        except StateUnavailable:
            self.close()
            raise
        except (sqlite3.Error, OSError) as error:
            self.close()
            if _inode(self._path) is None:
                text = f"the state's database {self._path} cannot be used: there is no such file"
                raise StateUnavailable(text, "its file was deleted") from error
            raise _unavailable(error, self._path) from error

    def execute(self, statement: str) -> None:
        """A statement without values or rows, such as those of savepoints."""
        self.fetch(statement, ())

    @property
    def holds(self) -> bool:
        """True if the transaction is still open and no failure has broken it."""
        return self._open is not None and self._open.in_transaction and not self._broken

    def fetch(self, sql: str, values: Sequence[Value]) -> Sequence[Row]:
        try:
            cursor = self._in_use().execute(_numbered(sql), values)
            # A RETURNING that is not fetched to its end keeps its statement and lock open.
            rows = cursor.fetchall()
            names = [column[0] for column in cursor.description] if rows else ()
            return [dict(zip(names, row, strict=True)) for row in rows]
        except sqlite3.Error as error:
            translated = _translated(error, self._path)
            self._broken |= isinstance(translated, StateUnavailable)
            if _primary(error) in _DAMAGED and self._damages == self._file.damages:
                self._file.damages += 1  # no connection goes on with what it remembers of the file
            raise translated from error

    def commit(self) -> None:
        try:
            self._in_use().execute("COMMIT")
        except sqlite3.Error as error:
            self._broken = True
            # After a failed fsync, recovery may still find the commit in the log.
            if _primary(error) == sqlite3.SQLITE_IOERR:
                raise CommitUnknown(f"{self._path}: {error}") from error
            raise _translated(error, self._path) from error

    def roll_back(self) -> None:
        if self._open is None:
            return
        try:
            if self._open.in_transaction:
                self._open.execute("ROLLBACK")
        except sqlite3.Error:
            self._broken = True  # closing it rolls back as well
        if self._broken:
            self.close()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open, self._broken = None, False

    def _in_use(self) -> sqlite3.Connection:
        if self._open is None:
            raise RuntimeError("a transaction is used outside its operation")
        return self._open

    def _connect(self) -> sqlite3.Connection:
        self._inode, self._damages = _inode(self._path), self._file.damages
        self._file.check_log()
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw", uri=True, isolation_level=None, cached_statements=500
        )
        try:
            connection.execute(f"PRAGMA busy_timeout = {int(self._busy_seconds * 1000)}")
            self._write_ahead(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute(f"PRAGMA query_only = {int(self._read_only)}")
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
            self._file.opened()
        except BaseException:
            connection.close()
            raise
        return connection

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        """Switch a new file to WAL; SQLite does not wait for another process that does the same."""
        give_up = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
            except sqlite3.OperationalError as error:
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(random.uniform(0.0005, 0.003))
            else:
                return
