"""Booking: ledger rows and everything that must agree with them, in one transaction.

The order is the same everywhere, so that no two transactions wait for each other: the
reservation, the ledger's rows, roll-ups, models' costs, and last the balances, whose
organisation row everybody wants and nobody should hold for long. What is booked in one
transaction is therefore booked at once, not row by row. `amending` books corrections alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Literal

from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows
from gateway.ledger.tables import rollups
from gateway.ledger.tables.balances import Move, book
from gateway.ledger.tables.seen_costs import raise_cost
from gateway.model.reservation import Settlement
from gateway.pricing.rules.prices import per_image

LARGEST_NANOS = 10**15
"""A million dollars: no call is held or booked at more, so that no sum can overflow."""


@dataclass(frozen=True, slots=True)
class OpenReservation:
    """A row of `reservations`: money held for a call, and what is known of the call."""

    id: str
    day: str
    made_ms: int
    owner_id: str
    ceiling_nanos: int
    images: int
    request_id: str
    team: str
    key_id: str
    model: str
    route: str
    fingerprint: str
    reference_images: int
    body_bytes: int
    owner: str
    cost_centre: str
    tags: str


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row of `ledger`: one upstream call, the correction of one, or an adjustment.

    A call's `id` is its reservation's. A correction's `corrects` is the id of its call, and
    its `cost_nanos` and `images` are differences. An adjustment is a line of the upstream's
    bill that is no call, such as a credit note. `n` counts the pictures asked for, `images`
    those that count as paid. `tags` is canonical JSON text. `late_for` is the day that the row
    is about, where that was closed and the row is booked in the first open day instead.
    """

    id: str
    kind: Literal["call", "correction", "adjustment"]
    corrects: str | None
    at_ms: int
    day: str
    request_id: str
    upstream_request_id: str
    credential: str
    team: str
    key_id: str
    model: str
    route: str
    fingerprint: str
    reference_images: int
    body_bytes: int
    answer_bytes: int
    status: int | None
    n: int
    images: int
    cost_nanos: int
    estimated: int
    owner: str
    cost_centre: str
    tags: str
    late_for: str | None = None

    @property
    def dimensions(self) -> rollups.Dimensions:
        """Where the row's money is added up."""
        return rollups.Dimensions(
            self.team, self.key_id, self.model, self.owner, self.cost_centre, self.tags
        )


RESERVATION_COLUMNS = tuple(column.name for column in fields(OpenReservation))
LEDGER_COLUMNS = tuple(column.name for column in fields(LedgerRow))
LEDGER_SELECT = ", ".join(LEDGER_COLUMNS)

_values = attrgetter(*LEDGER_COLUMNS)
_LEDGER = f"INSERT INTO ledger ({LEDGER_SELECT})"
_NEW = "ON CONFLICT (id) DO NOTHING RETURNING id"


def known_cost(settlement: Settlement) -> int | None:
    """The settlement's cost, or None where it is unknown or can't be true."""
    cost = settlement.cost_nanos
    return cost if cost is not None and 0 <= cost <= LARGEST_NANOS else None


def paid_images(cost_nanos: int, status: int | None, n: int) -> int:
    """How many pictures count as paid: none where nothing was charged and nothing came."""
    came = status is not None and 200 <= status < 300
    return n if cost_nanos > 0 or came else 0


def call_row(held: OpenReservation, settlement: Settlement, now_ms: int) -> LedgerRow:
    """The ledger's row of a call: at its cost, or at the ceiling, estimated, where unknown."""
    known = known_cost(settlement)
    cost = held.ceiling_nanos if known is None else known
    return LedgerRow(
        id=held.id,
        kind="call",
        corrects=None,
        at_ms=now_ms,
        day=held.day,
        request_id=held.request_id,
        upstream_request_id=settlement.upstream_request_id,
        credential=settlement.credential,
        team=held.team,
        key_id=held.key_id,
        model=held.model,
        route=held.route,
        fingerprint=held.fingerprint,
        reference_images=held.reference_images,
        body_bytes=held.body_bytes,
        answer_bytes=settlement.answer_bytes,
        status=settlement.status,
        n=held.images,
        images=held.images if known is None else paid_images(cost, settlement.status, held.images),
        cost_nanos=cost,
        estimated=int(known is None),
        owner=held.owner,
        cost_centre=held.cost_centre,
        tags=held.tags,
    )


async def book_calls(tx: Transaction, closed: Sequence[tuple[OpenReservation, LedgerRow]]) -> None:
    """Book calls whose reservations this transaction has taken out."""
    rows = [row for _, row in closed]
    await insert_rows(tx, _LEDGER, [_values(row) for row in rows])
    await rollups.add(tx, [(row.day, row.dimensions, _sums_of_call(row)) for row in rows])
    for row in rows:
        if not row.estimated and row.n:
            await raise_cost(tx, row.model, row.day, per_image(row.cost_nanos, row.n))
    await book(tx, [_move(held, row) for held, row in closed])


async def add_rows(tx: Transaction, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Add rows to the ledger, in the order of their ids; gives those that it did not have."""
    ordered = sorted(rows, key=attrgetter("id"))
    added = await insert_rows(tx, _LEDGER, [_values(row) for row in ordered], _NEW)
    ids = {row["id"] for row in added}
    return [row for row in ordered if row.id in ids]


def _sums_of_call(row: LedgerRow) -> rollups.Sums:
    return rollups.Sums(
        paid_calls=int(row.cost_nanos > 0),
        spent_nanos=row.cost_nanos,
        estimated_calls=row.estimated,
        estimated_nanos=row.cost_nanos if row.estimated else 0,
    )


def _move(held: OpenReservation, row: LedgerRow) -> Move:
    return Move(
        team=held.team,
        key_id=held.key_id,
        day=held.day,
        spent_nanos=row.cost_nanos,
        held_nanos=-held.ceiling_nanos,
        images=row.images,
        images_held=-held.images,
    )
