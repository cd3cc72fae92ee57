"""A backup of the state as a file: JSON lines, compressed by gzip, complete or absent.

The first line is the header, `{"backup": "image-edit-gateway", "format": 1, "schema": 7}`. Each of
the next has some rows of one table, `{"table": …, "columns": […], "rows": [[…], …]}`. The last
proves completeness by the number of rows of each table: `{"end": {"ledger": 1234, …}}`.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from gateway.database.copying import Backup, CopiedTable, IncompleteBackup

KIND = "image-edit-gateway"
FORMAT = 1
_UNREADABLE = (
    *(EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError),
    *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
)


class BackupWriter:
    """Writes a backup to a file beside `path`, which `finish` replaces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._out: TextIO | None = None

    def begin(self, schema: int) -> None:
        self.close()
        # The backup has digests of keys and all budgets: only its owner may read it. An existing
        # file may belong to another user, or be readable by others.
        self._partial.unlink(missing_ok=True)
        os.close(os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._out = gzip.open(self._partial, "wt", 5, encoding="utf-8")  # noqa: SIM115
        self._line({"backup": KIND, "format": FORMAT, "schema": schema})

    def add(self, part: CopiedTable) -> None:
        self._line({"table": part.table, "columns": part.columns, "rows": part.rows})

    def finish(self, rows: Mapping[str, int]) -> None:
        self._line({"end": rows})
        self.close()
        with self._partial.open("rb") as written:
            os.fsync(written.fileno())
        self._partial.replace(self._path)

    def close(self) -> None:
        if self._out is not None:
            self._out.close()
        self._out = None

    def give_up(self) -> None:
        """Delete the incomplete file."""
        self.close()
        self._partial.unlink(missing_ok=True)

    def _line(self, document: Mapping[str, object]) -> None:
        if self._out is None:
            raise RuntimeError("a backup begins with its schema")
        self._out.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")


def open_backup(path: Path) -> Backup:
    """A backup to restore. Raises IncompleteBackup, also while its parts are read; OSError."""
    with _reading(path) as lines:
        head = next(lines, {})
        if head.get("backup") != KIND or head.get("format") != FORMAT:
            raise IncompleteBackup(f"{path} is not a backup of a gateway's state")
        schema = int(head["schema"])
    ends: list[dict[str, int]] = []

    def parts() -> Iterator[CopiedTable]:
        ends.clear()
        with _reading(path) as lines:
            next(lines)
            for line in lines:
                if "end" in line:
                    ends.append(line["end"])
                else:
                    yield _part(line)

    def rows() -> dict[str, int]:
        if len(ends) != 1:
            raise IncompleteBackup(f"{path} is incomplete: it ends before its last line")
        return ends[0]

    return Backup(schema, parts, rows)


def _part(line: Mapping[str, Any]) -> CopiedTable:
    """Raises ValueError if the line has no rows of a table, or values other than text and int."""
    table, columns, rows = line["table"], line["columns"], line["rows"]
    names = [table, *columns]
    if not columns or not all(isinstance(name, str) for name in names):
        raise ValueError("a table or a column has no name")
    for row in rows:
        if not isinstance(row, list) or len(row) != len(columns):
            raise ValueError(f"a row of {table} does not have one value for each column")
        if not all(value is None or type(value) in (str, int) for value in row):
            raise ValueError(f"a row of {table} has a value that is neither text nor an integer")
    return CopiedTable(table, columns, rows)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Iterator[dict[str, Any]]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield (json.loads(line) for line in file)
    except _UNREADABLE as error:
        raise IncompleteBackup(f"{path} is damaged, or no backup: {error}") from error
