"""Reservations: check and hold before a call, settle or void after it.

A reservation is resolved exactly once, by the transaction that deletes its row. Everything is
booked in the day on which the reservation was made, on the organisation, the team, the key, and
the end user of both, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows
from gateway.ledger.rules.budget import (
    EndUserMissing,
    TooManyInFlight,
    spendable,
    verdict,
)
from gateway.ledger.tables.balances import BalanceChange, accounts_of, balances_of, book
from gateway.ledger.tables.booking import book_calls, call_row, release_of
from gateway.ledger.tables.corrections import settle_late
from gateway.ledger.tables.ledger_rows import LARGEST_NANOS, RESERVATION_COLUMNS, OpenReservation
from gateway.ledger.tables.rollups import tags_text
from gateway.model.caller import Caller
from gateway.model.reservation import Balance, Reservation, Settled, Settlement
from gateway.model.windows import day_of, window
from gateway.pricing.rules.ceilings import Quote, per_image

MOST_IMAGES = 1_000

_COLUMNS = ", ".join(RESERVATION_COLUMNS)
_HOLD = f"INSERT INTO reservations ({_COLUMNS})"
_TAKE = f"DELETE FROM reservations WHERE id = $1 RETURNING {_COLUMNS}"


@dataclass(frozen=True, slots=True)
class Granted:
    """A reservation, and the amount that is spendable with it in place."""

    reservation: Reservation
    remaining_nanos: int | None
    """The least over all levels; None if no level has a budget."""


async def check(
    tx: Transaction, quote: Quote, *, ceiling_nanos: int, now_ms: int, zone: tzinfo
) -> None:
    """Raise what `hold` would raise now. Holds nothing."""
    caller, day = quote.caller, day_of(now_ms, zone)
    balances = [
        replace(
            balance,
            held_nanos=balance.held_nanos + ceiling_nanos,
            images_held=balance.images_held + quote.images,
        )
        for balance in await balances_of(tx, caller.accounts, day, zone, end_user=caller.end_user)
    ]
    _check(balances, ceiling_nanos, quote.images, day, zone)


async def hold(
    tx: Transaction,
    quote: Quote,
    *,
    ceiling_nanos: int,
    reservation_id: str,
    owner_id: str,
    now_ms: int,
    zone: tzinfo,
) -> Granted:
    """Hold a call's ceiling and images on every level, or raise and hold nothing.

    Limits and pauses are those in the state now, not the caller's. `owner_id` is the process
    that will resolve the reservation. Raises OverBudget, SpendingPaused, TooManyInFlight,
    EndUserMissing, UnknownAccount, DayClosed, and ValueError for an impossible ceiling or number
    of images.
    """
    caller, images = quote.caller, quote.images
    if not 0 <= ceiling_nanos <= LARGEST_NANOS or not 0 <= images <= MOST_IMAGES:
        raise ValueError(f"cannot hold {ceiling_nanos} nano-dollars for {images} images")
    day = day_of(now_ms, zone)
    reservation = Reservation(
        reservation_id, day, ceiling_nanos, images, now_ms, quote.call.price_key, quote.price_nanos
    )
    await insert(tx, quote, reservation, owner_id)
    balances = await balances_of(
        tx, caller.accounts, day, zone, booked=True, end_user=caller.end_user
    )
    _check(balances, ceiling_nanos, images, day, zone)
    await _check_in_flight(tx, caller, balances)
    return Granted(reservation, spendable(balances))


async def insert(tx: Transaction, quote: Quote, held: Reservation, owner_id: str) -> None:
    """Add a reservation to its table and to the balances, whatever the limits are."""
    caller, call = quote.caller, quote.call
    row = (
        held.id, held.day, call.request_id, caller.team, caller.key_id, call.model, call.route,
        call.fingerprint, call.references, call.body_bytes, caller.owner, caller.cost_centre,
        tags_text(caller.tags), call.upstream, call.quality, call.size, call.asked_model,
        call.upstream_model, caller.end_user, held.made_ms, owner_id, held.ceiling_nanos,
        held.images,
    )  # fmt: skip
    await insert_rows(tx, _HOLD, [row])
    change = BalanceChange(
        *(caller.team, caller.key_id, held.day),
        held_nanos=held.ceiling_nanos,
        images_held=held.images,
        picture_nanos=per_image(held.ceiling_nanos, max(1, held.images)),
        end_user=caller.end_user,
    )
    await book(tx, [change])


async def _check_in_flight(tx: Transaction, caller: Caller, balances: Sequence[Balance]) -> None:
    """Count the open reservations, this one included; `book` has locked the accounts."""
    for balance in balances:
        account = balance.account
        limit = account.limits.max_in_flight
        if limit is None:
            continue
        of_level = {"team": ("team = $1", caller.team), "key": ("key_id = $1", caller.key_id)}
        where, *values = of_level.get(account.level, ("1 = 1",))
        rows = await tx.fetch(f"SELECT COUNT(*) AS calls FROM reservations WHERE {where}", *values)
        if rows[0]["calls"] > limit:
            raise TooManyInFlight(account)


def _check(
    balances: Sequence[Balance], ceiling_nanos: int, images: int, day: str, zone: tzinfo
) -> None:
    levels = {balance.account.level for balance in balances}
    for balance in balances:
        if balance.account.limits.limit_end_users and "user" not in levels:
            raise EndUserMissing(balance.account)
    resets_ms = window("day", day, zone).resets_ms or 0
    if refusal := verdict(balances, ceiling_nanos, images, day_resets_ms=resets_ms):
        raise refusal


async def settle(
    tx: Transaction, reservation_id: str, settlement: Settlement, *, now_ms: int, zone: tzinfo
) -> Settled:
    """Book the cost of a call and release the money held for it.

    An unknown cost is booked at the ceiling, as an estimate; a cost above the ceiling in full.
    If the reservation was resolved before, an estimate is corrected by a cost that is known now
    and nothing else changes: to settle twice is to settle once. Raises UnknownReservation if
    nothing was ever held under this id, or it was voided.
    """
    held = await take(tx, reservation_id)
    if held is None:
        return await settle_late(tx, reservation_id, settlement, now_ms=now_ms, zone=zone)
    row = await call_row(tx, held, settlement, now_ms)
    await book_calls(tx, [(held, row)])
    accounts, day = accounts_of(held.team, held.key_id), day_of(now_ms, zone)
    balances = await balances_of(tx, accounts, day, zone, end_user=held.end_user)
    return Settled(
        reservation_id=held.id,
        cost_nanos=row.cost_nanos,
        cost_kind=row.cost_kind,
        overrun_nanos=max(0, row.cost_nanos - held.ceiling_nanos),
        remaining_nanos=spendable(balances),
    )


async def void(tx: Transaction, reservation_id: str) -> bool:
    """Release the money of a call that was not charged, without a ledger row.

    False, and nothing changed, if it was resolved already or never held.
    """
    held = await take(tx, reservation_id)
    if held is None:
        return False
    await book(tx, [release_of(held)])
    return True


async def take(tx: Transaction, reservation_id: str) -> OpenReservation | None:
    """Delete a reservation, so that this transaction alone resolves it."""
    rows = await tx.fetch(_TAKE, reservation_id)
    return OpenReservation(**rows[0]) if rows else None
