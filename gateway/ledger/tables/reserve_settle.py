"""Money: reserve before a call, settle or void after it, each in one transaction.

A reservation is resolved exactly once, by whoever deletes its row. All of it is booked in
the day the reservation was made in, on the organisation, the team and the key alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows
from gateway.ledger.rules.budget import spendable, verdict
from gateway.ledger.tables.balances import Move, accounts_of, balances_of, book
from gateway.ledger.tables.booking import (
    LARGEST_NANOS,
    RESERVATION_COLUMNS,
    OpenReservation,
    book_calls,
    call_row,
)
from gateway.ledger.tables.correct import settle_late
from gateway.ledger.tables.rollups import tags_text
from gateway.model.caller import Caller
from gateway.model.reservation import Balance, CallFacts, Reservation, Settled, Settlement
from gateway.model.windows import day_of, window

MOST_IMAGES = 1_000

_COLUMNS = ", ".join(RESERVATION_COLUMNS)
_HOLD = f"INSERT INTO reservations ({_COLUMNS})"
_TAKE = f"DELETE FROM reservations WHERE id = $1 RETURNING {_COLUMNS}"


@dataclass(frozen=True, slots=True)
class Granted:
    """A reservation, and how its accounts stand with it."""

    reservation: Reservation
    balances: tuple[Balance, ...]
    remaining_nanos: int | None
    """Spendable now, the least over all levels; None where no level has a budget."""


async def reserve(
    tx: Transaction,
    caller: Caller,
    facts: CallFacts,
    *,
    reservation_id: str,
    ceiling_nanos: int,
    images: int,
    owner_id: str,
    now_ms: int,
    zone: tzinfo,
) -> Granted:
    """Hold a call's ceiling and images on every level, or raise and hold nothing.

    Limits and pauses are those in the state at this moment, not the caller's. `owner_id` is
    the process that will resolve it. Raises OverBudget, SpendingPaused, UnknownAccount,
    DayClosed, and ValueError for a ceiling or a number of images that makes no sense.
    """
    if not 0 <= ceiling_nanos <= LARGEST_NANOS or not 0 <= images <= MOST_IMAGES:
        raise ValueError(f"cannot hold {ceiling_nanos} nano-dollars for {images} images")
    day = day_of(now_ms, zone)
    await insert_rows(
        tx,
        _HOLD,
        [
            (
                reservation_id, day, now_ms, owner_id, ceiling_nanos, images, facts.request_id,
                caller.team, caller.key_id, facts.model, facts.route, facts.fingerprint,
                facts.references, facts.body_bytes, caller.owner, caller.cost_centre,
                tags_text(caller.tags),
            )
        ],
    )  # fmt: skip
    hold = Move(caller.team, caller.key_id, day, held_nanos=ceiling_nanos, images_held=images)
    await book(tx, [hold])
    balances = await balances_of(tx, caller.accounts, day, zone, booked=True)
    _check(balances, ceiling_nanos, images, day, zone)
    reservation = Reservation(reservation_id, day, ceiling_nanos, images, now_ms)
    return Granted(reservation, tuple(balances), spendable(balances))


async def afford(
    tx: Transaction,
    caller: Caller,
    *,
    ceiling_nanos: int,
    images: int,
    now_ms: int,
    zone: tzinfo,
) -> None:
    """Raise what `reserve` would, as things stand now, and hold nothing either way."""
    day = day_of(now_ms, zone)
    standing = await balances_of(tx, caller.accounts, day, zone)
    asked = [
        replace(
            balance,
            held_nanos=balance.held_nanos + ceiling_nanos,
            images_held=balance.images_held + images,
        )
        for balance in standing
    ]
    _check(asked, ceiling_nanos, images, day, zone)


def _check(
    asked: Sequence[Balance], ceiling_nanos: int, images: int, day: str, zone: tzinfo
) -> None:
    resets_ms = window("day", day, zone).resets_ms or 0
    if refusal := verdict(asked, ceiling_nanos, images, day_resets_ms=resets_ms):
        raise refusal


async def settle(
    tx: Transaction, reservation_id: str, settlement: Settlement, *, now_ms: int, zone: tzinfo
) -> Settled:
    """Book what a call cost, and release what was held for it.

    An unknown cost is the ceiling, estimated; a cost above the ceiling is booked in full.
    Where the reservation was resolved before, an estimate is corrected by what is known now,
    and anything else is left as it is: to settle twice is to settle once. Raises
    UnknownReservation where nothing was ever held under this id, or it was voided.
    """
    held = await take(tx, reservation_id)
    if held is None:
        return await settle_late(tx, reservation_id, settlement, now_ms=now_ms, zone=zone)
    row = call_row(held, settlement, now_ms)
    await book_calls(tx, [(held, row)])
    accounts = accounts_of(held.team, held.key_id)
    balances = await balances_of(tx, accounts, day_of(now_ms, zone), zone)
    return Settled(
        reservation_id=held.id,
        cost_nanos=row.cost_nanos,
        estimated=bool(row.estimated),
        overrun_nanos=max(0, row.cost_nanos - held.ceiling_nanos),
        remaining_nanos=spendable(balances),
    )


async def void(tx: Transaction, reservation_id: str) -> bool:
    """Release what was held for a call that provably was not charged; no ledger row.

    False, and nothing changed, where it was resolved already or never held.
    """
    held = await take(tx, reservation_id)
    if held is None:
        return False
    release = Move(
        held.team,
        held.key_id,
        held.day,
        held_nanos=-held.ceiling_nanos,
        images_held=-held.images,
    )
    await book(tx, [release])
    return True


async def take(tx: Transaction, reservation_id: str) -> OpenReservation | None:
    """Take a reservation out of the state, for this transaction alone to resolve."""
    rows = await tx.fetch(_TAKE, reservation_id)
    return OpenReservation(**rows[0]) if rows else None


async def highest_cost(tx: Transaction, model: str, since_day: str) -> int | None:
    """The most that one picture of this model is known to have cost since that day."""
    rows = await tx.fetch(
        "SELECT MAX(max_nanos) AS seen FROM model_costs WHERE model = $1 AND day >= $2",
        model,
        since_day,
    )
    seen: int | None = rows[0]["seen"]
    return seen
