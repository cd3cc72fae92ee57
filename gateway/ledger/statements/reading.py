"""Reads a statement: its lines in dollars, as far as they are of our service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.ledger.rules.statement_lines import (
    BadLine,
    StatementLine,
    StatementOptions,
    counts,
    is_total,
    line_nanos,
    parse_line,
)
from gateway.ledger.statements.file import LARGEST_FILE, FileBounds, Unreadable, digest_of, read
from gateway.model.money import usd

FIRST_LINES = 5
SHOWN_FAULTS = 10
ROUNDED_NANOS = 10_000_000
"""A total may be rounded to cents."""


class BadLines(Exception):
    """Lines that can't be read: the first of them, one to a line of the message."""


@dataclass(frozen=True, slots=True)
class FirstLine:
    """One of the first lines: its time and amount as they are written, and as they were read."""

    time: str
    cost: str
    line: StatementLine


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as it was read. `left_out` counts lines that the filters leave out."""

    digest: str
    lines: tuple[StatementLine, ...]
    first: tuple[FirstLine, ...]
    left_out: int

    @property
    def total_nanos(self) -> int:
        return sum(line.cost_nanos for line in self.lines)


def read_statement(
    path: Path, options: StatementOptions, bounds: FileBounds = LARGEST_FILE
) -> Statement:
    """Raises Unreadable, and BadLines."""
    reader = _Reader(options, bounds.lines)
    columns = options.columns
    for number, fields in read(
        path,
        (columns.time, columns.cost, *options.filters),
        encoding=options.encoding,
        title_lines=options.title_lines,
        bounds=bounds,
    ):
        reader.add(number, fields)
    return reader.statement(digest_of(path))


class _Reader:
    def __init__(self, options: StatementOptions, most_lines: int) -> None:
        self.options, self.most_lines = options, most_lines
        self.lines: list[StatementLine] = []
        self.first: list[FirstLine] = []
        self.faults: list[str] = []
        self.left_out = 0
        self.left_out_nanos: int | None = 0
        self.total: tuple[int, int] | None = None

    def add(self, number: int, fields: Mapping[str, object]) -> None:
        columns = self.options.columns
        try:
            if is_total(fields, columns):
                self.total = number, line_nanos(number, fields, self.options)
            elif counts(fields, self.options.filters):
                line = parse_line(number, fields, self.options)
                self.lines.append(line)
                if len(self.first) < FIRST_LINES:
                    time, cost = (str(fields[name]) for name in (columns.time, columns.cost))
                    self.first.append(FirstLine(time, cost, line))
            else:
                self._leave_out(number, fields)
        except BadLine as error:
            self.faults.append(str(error))
        if len(self.lines) + len(self.faults) + self.left_out > self.most_lines:
            raise Unreadable(f"has more than {self.most_lines:,} lines: reconcile it in parts")

    def _leave_out(self, number: int, fields: Mapping[str, object]) -> None:
        self.left_out += 1
        try:
            nanos = line_nanos(number, fields, self.options)
        except BadLine:  # of another service: the total can't be checked
            self.left_out_nanos = None
        else:
            if self.left_out_nanos is not None:
                self.left_out_nanos += nanos

    def statement(self, digest: str) -> Statement:
        if self.faults:
            shown, more = self.faults[:SHOWN_FAULTS], len(self.faults) - SHOWN_FAULTS
            shown += [f"{more} more lines can't be read"] if more > 0 else []
            raise BadLines("\n".join(shown))
        self._check_rates()
        found = Statement(digest, tuple(self.lines), tuple(self.first), self.left_out)
        self._check_total(found)
        return found

    def _check_rates(self) -> None:
        used = {line.currency for line in self.lines}
        for currency in self.options.rates:
            if self.lines and currency not in used:
                raise Unreadable(
                    f"has no amount in {currency}, for which there is a --rate: name the column of "
                    "the currency by --column currency=NAME"
                )

    def _check_total(self, found: Statement) -> None:
        if self.total is None or self.left_out_nanos is None:
            return
        number, said = self.total
        added = found.total_nanos + self.left_out_nanos
        if abs(said - added) >= ROUNDED_NANOS:
            raise Unreadable(
                f"is not whole: its lines add up to ${usd(added)}, and line {number} says that the "
                f"total is ${usd(said)}"
            )
