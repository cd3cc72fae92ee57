"""The rows of `ledger` and `reservations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Literal

from gateway.database.database import Transaction
from gateway.database.multirow import insert_rows
from gateway.ledger.tables import rollups

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
_INSERT = f"INSERT INTO ledger ({LEDGER_SELECT})"
_IF_NEW = "ON CONFLICT (id) DO NOTHING RETURNING id"


async def insert_ledger_rows(tx: Transaction, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Insert rows in the order of their ids; returns those that the ledger did not have."""
    ordered = sorted(rows, key=attrgetter("id"))
    added = await insert_rows(tx, _INSERT, [_values(row) for row in ordered], _IF_NEW)
    ids = {row["id"] for row in added}
    return [row for row in ordered if row.id in ids]
