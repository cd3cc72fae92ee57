"""One request by its id: its usage row, its booked calls, its open reservations.

Only for the key that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway.cache.tables import kept_answers
from gateway.cache.tables.kept_answers import AcceptedRequest
from gateway.coalescing.rules.coalescing_key import FRESH
from gateway.coalescing.rules.lease import Lease
from gateway.coalescing.tables import leases
from gateway.database.database import Transaction
from gateway.ledger.tables.corrections import BookedCall, booked_of_request
from gateway.ledger.tables.ledger_rows import LedgerRow, OpenReservation
from gateway.ledger.tables.unresolved_reservations import (
    UnresolvedReservation,
    unresolved_of_request,
)
from gateway.ledger.tables.usage import UsageRow, find
from gateway.model.edit import Fingerprint
from gateway.model.reservation import COST_KINDS, CostKind
from gateway.wire.cache_directives import Directives, from_text

State = Literal["running", "lost", "ended"]


@dataclass(frozen=True, slots=True)
class RequestHistory:
    """What the state, and this process's memory, know of a request.

    `row` is None until its batch is written, and where a crash lost it; `booked` are its
    upstream calls, `held` its open reservations. `leases` are all leases of its edit.
    `answering`: this process is still answering it. `in_flight`: it leads a flight of this one.
    `accepted`: it is asynchronous.
    """

    row: UsageRow | None
    booked: Sequence[BookedCall]
    held: Sequence[UnresolvedReservation]
    leases: Sequence[Lease] = ()
    answering: bool = False
    in_flight: bool = False
    accepted: AcceptedRequest | None = None

    @property
    def about(self) -> UsageRow | LedgerRow | OpenReservation | None:
        """A row that names its edit; None where nothing is known of the request."""
        if self.row:
            return self.row
        if self.booked:
            return self.booked[0].call
        return self.held[0].held if self.held else None

    def state(self, *, silent_since_ms: int, joinable: bool) -> State:
        """`joinable`: the same request would join a call that is in flight."""
        if self.accepted and self.accepted.answer is None:
            return "lost" if self.accepted.is_lost(silent_since_ms) else "running"
        left_early = self.row is not None and self.row.code in ("client_gone", "still_running")
        if self.answering or self.in_flight or (joinable and left_early):
            return "running"
        held = [each.heartbeat_ms or 0 for each in self.held]
        if any(beat_ms >= silent_since_ms for beat_ms in held):
            return "running"
        return "lost" if held else "ended"

    @property
    def settled(self) -> bool:
        """Is its cost known? A request that followed another's flight pays nothing for it."""
        running = self.accepted is not None and self.accepted.answer is None
        return not (self.answering or self.in_flight or self.held or (running and not self.booked))

    @property
    def may_be_paid(self) -> bool:
        """Is it charged, or may it still be?"""
        return self.in_flight or bool(self.held) or self.cost_nanos > 0

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The edit it asks for; None where it was refused before that was known."""
        if (row := self.row) and row.fingerprint:
            return Fingerprint(row.fingerprint, row.uncacheable or None, row.aside)
        key = "" if row else self.about.fingerprint if self.about else ""
        return Fingerprint(key) if key else None

    @property
    def directives(self) -> Directives:
        return from_text(self.row.asked) if self.row else Directives()

    @property
    def cost_nanos(self) -> int:
        """The cost booked so far, corrections and estimates included."""
        return sum(each.cost_nanos for each in self.booked)

    @property
    def held_nanos(self) -> int:
        return sum(each.held.ceiling_nanos for each in self.held)

    @property
    def estimated(self) -> bool:
        """Is part of its cost a ceiling instead of the charge?"""
        return any(each.estimate for each in self.booked)

    @property
    def cost_kind(self) -> CostKind | None:
        """How its cost is known, by the least certain of its calls; None where none is booked."""
        kinds = {each.cost_kind for each in self.booked}
        return next((kind for kind in reversed(COST_KINDS) if kind in kinds), None)

    @property
    def upstream_request_id(self) -> str:
        """The upstream's id of the last call that has one."""
        rows = [row for each in self.booked for row in (each.call, *each.corrections)]
        return next((row.upstream_request_id for row in rows[::-1] if row.upstream_request_id), "")

    @property
    def upstream(self) -> str:
        """The upstream of the last call."""
        return self.booked[-1].call.upstream if self.booked else ""


async def history_of(
    tx: Transaction, request_id: str, key_id: str, fingerprint: str = ""
) -> RequestHistory:
    """Everything of a request; `fingerprint` comes from a row that is not written yet, if any."""
    row = await find(tx, request_id, key_id)
    booked = await booked_of_request(tx, request_id, key_id)
    history = RequestHistory(
        row,
        booked,
        await unresolved_of_request(tx, request_id, key_id),
        accepted=await kept_answers.find(tx, request_id, key_id),
    )
    key = fingerprint or (history.about.fingerprint if history.about else "")
    return replace(history, leases=await leases.read(tx, [key, FRESH + key])) if key else history
