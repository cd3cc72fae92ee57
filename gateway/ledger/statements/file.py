"""A statement's file: CSV, JSON or JSON lines, read as fields by name, line by line.

JSON may be nested: an object in a line gives fields such as `amount.value`, and each object of a
list in a line is a line of its own, with the fields around it.
"""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

from gateway.ledger.rules.statement_formats import Encoding

MOST_CELL = 100_000
MOST_LINE = 1_000_000
_SHOWN_NAMES = 30
_DELIMITERS = ",;\t|"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_CODECS: Mapping[Encoding, str] = {
    "utf-8": "utf-8-sig",
    "utf-16": "utf-16",
    "windows-1252": "windows-1252",
}
_MOST_LEVELS = 5
_MOST_MEMBERS = 300
"""Of an object in JSON: each line in it has a copy of the fields around it."""

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class FileBounds:
    """The largest file that is read: its bytes, those of JSON, and its lines."""

    file_bytes: int = 1024 * 2**20
    json_bytes: int = 256 * 2**20
    lines: int = 1_000_000


LARGEST_FILE = FileBounds()


class Unreadable(Exception):
    """The file is not a statement; the message says why, and what to do."""


def digest_of(path: Path) -> str:
    """The SHA-256 of the file. Raises Unreadable."""
    try:
        with path.open("rb") as file:
            digest = sha256()
            while part := file.read(2**20):
                digest.update(part)
            return digest.hexdigest()
    except OSError as error:
        raise Unreadable(f"can't be read: {error.strerror}") from None


def read(
    path: Path,
    needed: Iterable[str],
    *,
    encoding: Encoding = "utf-8",
    title_lines: int = 0,
    bounds: FileBounds = LARGEST_FILE,
) -> Iterator[tuple[int, Fields]]:
    """The lines with their numbers. CSV is read line by line, JSON as a whole.

    `needed` are required columns. Amounts in JSON are Decimals. Raises Unreadable.
    """
    try:
        size = path.stat().st_size
        if size > bounds.file_bytes:
            raise Unreadable(f"has more than {bounds.file_bytes:,} bytes: take a part")
        with path.open("rb") as file:
            head = file.read(4096)
        if head.startswith(_UTF_16) and encoding != "utf-16":
            raise Unreadable("is not UTF-8 but UTF-16: give --encoding utf-16")
        with path.open(encoding=_CODECS[encoding], newline="") as text:
            start = text.read(4096).lstrip()
            if not start:
                raise Unreadable("is empty: a statement has at least its columns' names")
            text.seek(0)
            if start[0] in "[{":
                if size > bounds.json_bytes:
                    raise Unreadable(
                        f"has more than {bounds.json_bytes:,} bytes of JSON: take CSV, or a part"
                    )
                yield from _json(text, needed)
            else:
                yield from _csv(text, needed, title_lines)
    except OSError as error:
        raise Unreadable(f"can't be read: {error.strerror}") from None
    except UnicodeError as error:
        where = f" (byte {error.start:,})" if isinstance(error, UnicodeDecodeError) else ""
        others = ", ".join(name for name in _CODECS if name != encoding)
        raise Unreadable(
            f"is not {encoding.upper()}{where}: give --encoding, which may be {others}"
        ) from None


def _csv(
    text: io.TextIOBase, needed: Iterable[str], title_lines: int
) -> Iterator[tuple[int, Fields]]:
    lines = _lines(text)
    for _ in range(title_lines):
        next(lines, None)
    header = next(lines, "")
    delimiter = max(_DELIMITERS, key=header.count)
    csv.field_size_limit(MOST_CELL)
    rest = itertools.chain([header], lines)
    reader = csv.DictReader(rest, delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        _check_columns(names, needed)
        reader.fieldnames = names
        for row in reader:
            number = title_lines + reader.line_num
            if None in row or None in row.values():
                raise Unreadable(
                    f"line {number} has not as many cells as its columns' names, {len(names)}"
                )
            if any(row.values()):
                yield number, row
    except csv.Error as error:
        raise Unreadable(f"line {title_lines + reader.line_num} is no CSV: {error}") from None


def _lines(text: io.TextIOBase) -> Iterator[str]:
    number = 0
    while line := text.readline(MOST_LINE + 1):
        number += 1
        if len(line) > MOST_LINE:
            raise Unreadable(f"line {number} is longer than {MOST_LINE:,} characters")
        yield line


def _check_columns(names: list[str], needed: Iterable[str]) -> None:
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise Unreadable(f"has two columns {twice!r}")
    for name in needed:
        if name not in names:
            shown = names[:_SHOWN_NAMES]
            near = difflib.get_close_matches(name, shown, n=1, cutoff=0.5)
            hint = f"is it {near[0]!r}? " if near else f"it has {', '.join(map(_shown, shown))}. "
            raise Unreadable(
                f"has no column {name!r}: {hint}Say what the statement calls it by --column, or "
                "in [statement]; say how many lines come before the columns' names by --title-lines"
            )


def _shown(name: str) -> str:
    """The name as safe text for a terminal: control characters are escaped."""
    return name if name.isprintable() else repr(name)


def _json(text: io.TextIOBase, needed: Iterable[str]) -> Iterator[tuple[int, Fields]]:
    try:
        rows = _rows(text.read())
    except RecursionError:
        raise Unreadable("is JSON that is nested too deep") from None
    number = 0
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise Unreadable(f"line {place} is no JSON object")
        for fields in _expanded(row):
            number += 1
            _check_columns(list(fields), needed)
            yield number, fields


def _rows(text: str) -> list[object]:
    """A list, an object that holds one, or an object on each line."""
    try:
        document = json.loads(text, parse_float=Decimal)
    except ValueError as whole:
        try:
            return [
                json.loads(line, parse_float=Decimal) for line in text.splitlines() if line.strip()
            ]
        except ValueError:
            raise Unreadable(f"is no JSON: {whole}") from None
    if isinstance(document, dict):
        if document.get("has_more") is True:
            raise Unreadable("is one page of several (has_more): get the others too")
        lists = [value for value in document.values() if isinstance(value, list)]
        if len(lists) == 1:
            return list(lists[0])
        return [document]
    return list(document)


def _expanded(row: Mapping[str, object], level: int = 1) -> Iterator[Fields]:
    """The lines of an object: itself, or one for each object of the list in it."""
    if level > _MOST_LEVELS:
        raise Unreadable("is JSON that is nested too deep")
    _check_members(len(row))
    own: dict[str, object] = {}
    inner: list[object] | None = None
    for name, value in row.items():
        if isinstance(value, dict):
            own |= {f"{name}.{part}": found for part, found in value.items()}
        elif isinstance(value, list) and all(isinstance(each, dict) for each in value):
            inner = value if inner is None else [*inner, *value]
        else:
            own[name] = value
    _check_members(len(own))
    if inner is None:
        yield own
        return
    for each in inner:
        for found in _expanded(each, level + 1):  # type: ignore[arg-type]
            yield {**own, **found}


def _check_members(number: int) -> None:
    if number > _MOST_MEMBERS:
        raise Unreadable(
            f"has a JSON object of {number:,} members: a line has at most {_MOST_MEMBERS}"
        )
