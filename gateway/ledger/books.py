"""Closing a month, and taking a batch back: several transactions each, and safe to run again.

Edits and their money go on between two of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import tzinfo

from gateway.accounts.tables.audit import Author
from gateway.database.database import Database
from gateway.ledger.tables import close_month
from gateway.ledger.tables.close_month import Closing
from gateway.ledger.tables.undo import UndoPlan, undo_part


async def close(
    database: Database, period: str, by: Author, zone: tzinfo, *, with_estimates: bool = False
) -> Closing:
    """Close a month and add it up. Raises NotClosable, and ValueError if it is no month."""
    freeze = functools.partial(close_month.freeze, with_estimates=with_estimates)
    frozen = await database.write(lambda tx: freeze(tx, period, by, zone))
    if frozen.contents is not None:
        return frozen
    contents = await database.read(lambda tx: close_month.contents_of(tx, frozen))
    await database.write(lambda tx: close_month.seal(tx, period, contents))
    return replace(frozen, contents=contents)


async def take_back(
    database: Database,
    plan: UndoPlan,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """Book the counter-rows of a plan. Raises NotUndoable."""
    done = 0
    while count := await database.write(lambda tx: undo_part(tx, plan.batch)):
        done += count
        on_progress(done, plan.rows)
