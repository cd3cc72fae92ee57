"""A statement's file: CSV, JSON or JSON lines, read as fields by name, line by line."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

MOST_JSON_BYTES = 256 * 2**20
MOST_CELL = 100_000
MOST_LINE = 1_000_000
_SHOWN_NAMES = 30
_DELIMITERS = ",;\t|"
_OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff")

Fields = Mapping[str, object]


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


def read(path: Path, needed: Iterable[str]) -> Iterator[tuple[int, Fields]]:
    """The lines with their numbers. CSV is read line by line, JSON as a whole.

    `needed` are required columns. Amounts in JSON are Decimals. Raises Unreadable.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        if not head:
            raise Unreadable("is empty: a statement has at least its columns' names")
        if head.startswith(_OTHER_ENCODINGS):
            raise Unreadable("is not UTF-8: save it as “CSV UTF-8”")
        if head[:1] in b"[{":
            yield from _json(path, needed)
        else:
            with path.open(encoding="utf-8-sig", newline="") as text:
                yield from _csv(text, needed)
    except OSError as error:
        raise Unreadable(f"can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 (byte {error.start:,}): save it as “CSV UTF-8”") from None


def _csv(text: io.TextIOBase, needed: Iterable[str]) -> Iterator[tuple[int, Fields]]:
    header = next(_lines(text))
    delimiter = max(_DELIMITERS, key=header.count)
    text.seek(0)
    csv.field_size_limit(MOST_CELL)
    reader = csv.DictReader(_lines(text), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        _check_columns(names, needed)
        reader.fieldnames = names
        for row in reader:
            if None in row or None in row.values():
                raise Unreadable(
                    f"line {reader.line_num} has not as many cells as the first, {len(names)}"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num} is no CSV: {error}") from None


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
                "in [statement]"
            )


def _shown(name: str) -> str:
    """The name as safe text for a terminal: control characters are escaped."""
    return name if name.isprintable() else repr(name)


def _json(path: Path, needed: Iterable[str]) -> Iterator[tuple[int, Fields]]:
    if path.stat().st_size > MOST_JSON_BYTES:
        raise Unreadable(f"has more than {MOST_JSON_BYTES:,} bytes of JSON: take CSV, or a part")
    text = path.read_text(encoding="utf-8-sig")
    try:
        rows = _rows(text)
    except RecursionError:
        raise Unreadable("is JSON that is nested too deep") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise Unreadable(f"line {number} is no JSON object")
        _check_columns(list(row), needed)
        yield number, row


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
        lists = [value for value in document.values() if isinstance(value, list)]
        if len(lists) == 1:
            return list(lists[0])
        return [document]
    return list(document)
