"""Statements for many rows, with few distinct SQL texts.

Engines cache prepared statements by their text. Up to 8 rows are inserted at once, more rows by
powers of two: 13 rows as 8 + 5, 40 narrow rows as 32 + 8.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence

from gateway.database.database import Row, Transaction, Value

_MOST_VALUES = 240
"""In one statement. With more than about 250, SQLite needs more time per row (measured)."""
_MOST_NAMES = 200


@functools.lru_cache(1_000)
def placeholders(count: int, first: int = 1) -> str:
    """`($1, $2, …)`, starting at `first`."""
    return "(" + ", ".join(f"${number}" for number in range(first, first + count)) + ")"


async def fetch_named(tx: Transaction, sql: str, names: Iterable[str], *first: Value) -> list[Row]:
    """The rows of a query with `IN {names}`, for any number of names; empty names are left out.

    `first` are the values of the parameters before the names.
    """
    wanted = [name for name in dict.fromkeys(names) if name]
    rows: list[Row] = []
    for start in range(0, len(wanted), _MOST_NAMES):
        part = wanted[start : start + _MOST_NAMES]
        marks = placeholders(len(part), 1 + len(first))
        rows += await tx.fetch(sql.replace("{names}", marks), *first, *part)
    return rows


async def insert_rows(
    tx: Transaction, head: str, rows: Sequence[Sequence[Value]], tail: str = ""
) -> list[Row]:
    """Run `head VALUES (…), (…) tail` for all rows, in order. Returns the rows of `RETURNING`."""
    returned: list[Row] = []
    done = 0
    while done < len(rows):
        width = len(rows[done])
        size = _portion(min(len(rows) - done, max(1, _MOST_VALUES // width)))
        part = rows[done : done + size]
        values = itertools.chain.from_iterable(part)
        returned.extend(await tx.fetch(_insert(head, width, size, tail), *values))
        done += size
    return returned


@functools.lru_cache(1_000)
def _insert(head: str, width: int, size: int, tail: str) -> str:
    tuples = ", ".join(placeholders(width, 1 + width * index) for index in range(size))
    return f"{head} VALUES {tuples} {tail}"


def _portion(count: int) -> int:
    """The number of rows in the next statement, of `count` that are left."""
    return count if count <= 8 else 1 << (count.bit_length() - 1)
