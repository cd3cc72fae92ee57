"""The rows of `ledger` and `reservations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from typing import Any, Literal

from gateway.database.database import Transaction, Value
from gateway.database.multirow import insert_rows
from gateway.ledger.tables import rollups
from gateway.model.reservation import CostKind, PriceKey, Settlement
from gateway.model.token_usage import NO_TOKENS, TOKEN_KINDS, TokenUsage

LARGEST_NANOS = 10**15
"""A million dollars, the maximum of one call: no sum can overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """The columns that `reservations` and `ledger` share. `tags` is canonical JSON text.

    `asked_model` and `upstream_model` are as in `CallFacts`, `end_user` as in `Caller`.
    """

    id: str
    day: str
    request_id: str
    team: str
    key_id: str
    model: str
    route: str
    fingerprint: str = ""
    reference_images: int = 0
    body_bytes: int = 0
    owner: str
    cost_centre: str
    tags: str
    upstream: str = ""
    quality: str = ""
    size: str = ""
    asked_model: str = ""
    upstream_model: str = ""
    end_user: str = ""

    @property
    def price_key(self) -> PriceKey:
        return PriceKey(self.upstream, self.model, self.quality, self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReservation(CallRecord):
    """A row of `reservations`: money held for a call, and the facts of the call."""

    made_ms: int
    owner_id: str
    ceiling_nanos: int
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow(CallRecord):
    """A row of `ledger`: one upstream call, the correction of one, or an adjustment.

    A call's `id` is its reservation's. A correction's `corrects` is the id of its call, and
    its `cost_nanos` and `images` are differences. An adjustment is a line of the upstream's
    bill without a call, such as a credit note; `route` is then its type, and what was booked on it
    since `corrects` it. `n` is the number of images requested, `images`
    the number of paid images. `late_for` is the day that the row concerns, if that day was
    closed and the row is booked in the first open day instead. `computed_nanos` is what the tokens
    cost by the price table of `price_version`, where they are counted and have a price. `batch` is
    the batch that booked it, `undoes` the row that it takes back. `budget_day` is the
    day in whose budgets it counts, if that is not `day`.
    """

    kind: Literal["call", "correction", "adjustment"]
    corrects: str | None = None
    at_ms: int
    upstream_request_id: str
    credential: str
    answer_bytes: int = 0
    status: int | None
    n: int
    images: int
    cost_nanos: int
    estimated: int = 0
    late_for: str | None = None
    cost_kind: CostKind = "stated"
    computed_nanos: int | None = None
    price_version: str = ""
    text_in: int = 0
    image_in: int = 0
    cached_text_in: int = 0
    cached_image_in: int = 0
    text_out: int = 0
    image_out: int = 0
    batch: str = ""
    undoes: str = ""
    budget_day: str | None = None

    @property
    def tokens(self) -> TokenUsage:
        return TokenUsage(**{kind: getattr(self, kind) for kind in TOKEN_KINDS})

    @property
    def about(self) -> str:
        """The day that the row concerns."""
        return self.late_for or self.day

    @property
    def dimensions(self) -> rollups.Dimensions:
        """The key of the roll-up that the row's money is added to."""
        return rollups.Dimensions(
            *(self.team, self.key_id, self.model, self.owner, self.cost_centre, self.tags),
            end_user=self.end_user,
        )


def token_columns(settlement: Settlement) -> dict[str, Any]:
    """The columns of a row that say what the tokens of its call were, and what they cost."""
    return {
        **asdict(settlement.usage or NO_TOKENS),
        "computed_nanos": settlement.computed_nanos,
        "price_version": settlement.price_version,
    }


CALL_COLUMNS = tuple(column.name for column in fields(CallRecord))
RESERVATION_COLUMNS = tuple(column.name for column in fields(OpenReservation))
LEDGER_COLUMNS = tuple(column.name for column in fields(LedgerRow))


def standing(row: str) -> str:
    """SQL of a row that corrects a call; its sum is the number of corrections not taken back."""
    undoes = f"{row}.undoes"
    return f"CASE WHEN {undoes} = '' THEN 1 WHEN {undoes} = {row}.corrects THEN 0 ELSE -1 END"


STILL_ESTIMATED = (
    "l.estimated = 1 AND "
    f"COALESCE((SELECT SUM({standing('c')}) FROM ledger c WHERE c.corrects = l.id), 0) = 0"
)
"""Holds for a call `l` without a standing correction: a correction makes its cost known."""

_SELECT = f"SELECT {', '.join(LEDGER_COLUMNS)} FROM ledger l"
_values = attrgetter(*LEDGER_COLUMNS)
_INSERT = f"INSERT INTO ledger ({', '.join(LEDGER_COLUMNS)})"
_IF_NEW = "ON CONFLICT (id) DO NOTHING RETURNING id"


async def select_ledger_rows(tx: Transaction, rest: str, *values: Value) -> list[LedgerRow]:
    """The rows of a query; `rest` begins with WHERE, and calls the ledger `l`."""
    return [LedgerRow(**row) for row in await tx.fetch(f"{_SELECT} {rest}", *values)]


async def insert_ledger_rows(tx: Transaction, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Insert rows in the order of their ids. Returns the rows that were new."""
    ordered = sorted(rows, key=attrgetter("id"))
    added = await insert_rows(tx, _INSERT, [_values(row) for row in ordered], _IF_NEW)
    ids = {row["id"] for row in added}
    return [row for row in ordered if row.id in ids]
