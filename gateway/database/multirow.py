"""Many rows in few statements, from a handful of distinct texts.

Engines keep prepared statements by their text, and a text per number of rows would hardly
be met again. Up to 8 rows go in at once, more by powers of two: 13 are 8 + 5, and 40 narrow
ones 32 + 8.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence

from gateway.database.database import Row, Transaction, Value

_MOST_VALUES = 240
"""In one statement: SQLite looks named parameters up one by one, and above some 250 of them
a row costs more in a larger statement than in its own (measured)."""


@functools.lru_cache(1_000)
def placeholders(count: int, first: int = 1) -> str:
    """`($1, $2, …)`, from `first` on."""
    return "(" + ", ".join(f"${number}" for number in range(first, first + count)) + ")"


def portions(names: Iterable[str]) -> list[list[str]]:
    """Names, each once and none empty, as many at a time as one statement takes well."""
    wanted = [name for name in dict.fromkeys(names) if name]
    return [wanted[start : start + 200] for start in range(0, len(wanted), 200)]


async def insert_rows(
    tx: Transaction, head: str, rows: Sequence[Sequence[Value]], tail: str = ""
) -> list[Row]:
    """Run `head VALUES (…), (…) tail` over all rows, in order; gives what it returns."""
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
    """How many of so many rows go in next."""
    return count if count <= 8 else 1 << (count.bit_length() - 1)
