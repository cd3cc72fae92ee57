"""What is known of a model's price at an upstream, besides what its pictures have cost.

A price is known once a cost was seen lately, or a person confirmed it. A cost far above the
price stops the model until a person confirms it.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.tables.audit import Author, append
from gateway.database.database import Transaction
from gateway.ledger.tables.ledger_rows import LARGEST_NANOS
from gateway.ledger.tables.picture_costs import seen_since
from gateway.model.money import usd

MOST_UNCOSTED = 3
"""After so many answers without a cost, calls no longer wait for the price to be known."""

_READ = (
    "SELECT confirmed_nanos, uncosted_answers, stopped_nanos FROM prices "
    "WHERE upstream = $1 AND model = $2"
)
_SEEN = (
    "SELECT MAX(max_nanos) AS nanos FROM picture_costs WHERE model = $2 AND day >= $3 "
    "AND upstream IN ('', $1)"
)
_PUT = (
    "INSERT INTO prices (upstream, model, {0}) VALUES ($1, $2, {1}) "
    "ON CONFLICT (upstream, model) DO UPDATE SET {2}"
)
_STOP = _PUT.format(
    "stopped_nanos, stopped_ms, stopped_team",
    "$3, $4, $5",
    "stopped_nanos = excluded.stopped_nanos, stopped_ms = excluded.stopped_ms, "
    "stopped_team = excluded.stopped_team",
)
_COUNT = _PUT.format(
    "uncosted_answers",
    "$3",
    "uncosted_answers = prices.uncosted_answers + excluded.uncosted_answers",
)
_CONFIRM = _PUT.format(
    "confirmed_nanos",
    "$3",
    "confirmed_nanos = excluded.confirmed_nanos, stopped_nanos = NULL, stopped_ms = NULL",
)


class NoPrice(Exception):
    """Nothing is known of the price, so that a person must state it."""

    def __init__(self, upstream: str, model: str) -> None:
        super().__init__(
            f"No picture of {model!r} at {upstream!r} has stated a cost: give the price"
        )


@dataclass(frozen=True, slots=True)
class PriceStatus:
    """`stopped_nanos` is what a picture cost when the model was stopped; None: it is not."""

    confirmed_nanos: int | None = None
    uncosted_answers: int = 0
    stopped_nanos: int | None = None


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A model that is stopped, or whose price is confirmed."""

    upstream: str
    model: str
    confirmed_nanos: int | None
    stopped_nanos: int | None
    stopped_ms: int | None

    @property
    def name(self) -> str:
        return f"{self.upstream}/{self.model}"


async def list_prices(tx: Transaction) -> list[ListedPrice]:
    """In the order of their names."""
    rows = await tx.fetch(
        "SELECT upstream, model, confirmed_nanos, stopped_nanos, stopped_ms FROM prices "
        "WHERE confirmed_nanos IS NOT NULL OR stopped_ms IS NOT NULL"
    )
    return sorted((ListedPrice(**row) for row in rows), key=lambda each: each.name)


async def status_of(tx: Transaction, upstream: str, model: str) -> PriceStatus:
    rows = await tx.fetch(_READ, upstream, model)
    return PriceStatus(**rows[0]) if rows else PriceStatus()


async def is_known(tx: Transaction, upstream: str, model: str, since_day: str) -> bool:
    """May calls of the model be made side by side?"""
    status = await status_of(tx, upstream, model)
    if status.confirmed_nanos is not None or status.uncosted_answers >= MOST_UNCOSTED:
        return True
    return await _highest_seen(tx, upstream, model, since_day) is not None


async def _highest_seen(tx: Transaction, upstream: str, model: str, since_day: str) -> int | None:
    """The highest cost of a picture of any quality and size since that day."""
    seen: int | None = (await tx.fetch(_SEEN, upstream, model, since_day))[0]["nanos"]
    return seen


async def count_uncosted(tx: Transaction, upstream: str, model: str, answers: int = 1) -> bool:
    """Count answers that stated no cost. True if they now are enough not to wait for one."""
    before = (await status_of(tx, upstream, model)).uncosted_answers
    if before >= MOST_UNCOSTED:
        return False
    await tx.fetch(_COUNT, upstream, model, answers)
    return before + answers >= MOST_UNCOSTED


async def stop(
    tx: Transaction, upstream: str, model: str, nanos: int, now_ms: int, team: str
) -> None:
    """Make no more calls of the model, because a picture of it cost this team so much."""
    await tx.fetch(_STOP, upstream, model, min(nanos, LARGEST_NANOS), now_ms, team)


async def confirm(
    tx: Transaction, upstream: str, model: str, nanos: int | None, *, today: str, by: Author
) -> int:
    """Confirm the price of one picture, and allow calls again. Returns the price.

    Without `nanos` it is what the picture cost that stopped the model, or else the highest cost
    seen, or else the price confirmed before. Raises NoPrice and ValueError.
    """
    if nanos is not None and not 0 <= nanos <= LARGEST_NANOS:
        raise ValueError(f"a price of ${usd(nanos)} cannot be reserved")
    before = await status_of(tx, upstream, model)
    if nanos is None:
        nanos = before.stopped_nanos
    if nanos is None:
        nanos = await _highest_seen(tx, upstream, model, seen_since(today))
    if nanos is None:
        nanos = before.confirmed_nanos
    if nanos is None:
        raise NoPrice(upstream, model)
    await tx.fetch(_CONFIRM, upstream, model, nanos)
    old = {"price_usd": before.confirmed_nanos, "stopped_at_usd": before.stopped_nanos}
    known = {name: usd(value) for name, value in old.items() if value is not None}
    await append(tx, by, "prices.confirm", f"{upstream}/{model}", known, {"price_usd": usd(nanos)})
    return nanos


async def count_stopped(tx: Transaction) -> int:
    """The number of models that are stopped."""
    rows = await tx.fetch("SELECT COUNT(*) AS stopped FROM prices WHERE stopped_ms IS NOT NULL")
    stopped: int = rows[0]["stopped"]
    return stopped
