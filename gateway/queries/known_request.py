"""One request, from this process's memory and from the state: is it running, is it paid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.ledger.tables.usage import UsageRow
from gateway.model.edit import Fingerprint
from gateway.queries.tables.request_history import RequestHistory
from gateway.wire.cache_directives import Directives, parse

State = Literal["running", "lost", "ended"]


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """What this process and the state know of a request.

    `row` is None where a crash lost it, or its process has not written it yet. `answering`: this
    process is still answering it. `in_flight`: it leads a flight of this process.
    """

    row: UsageRow | None
    history: RequestHistory
    answering: bool = False
    in_flight: bool = False

    def state(self, *, silent_since_ms: int, joinable: bool) -> State:
        """`joinable`: the same request would join a call that is in flight."""
        if self.answering or self.in_flight or (joinable and self._left_early):
            return "running"
        held = [each.heartbeat_ms or 0 for each in self.history.held]
        if any(beat_ms >= silent_since_ms for beat_ms in held):
            return "running"
        return "lost" if held else "ended"

    @property
    def _left_early(self) -> bool:
        """Did its client leave, or was it told to retry, before its flight ended?"""
        return self.row is not None and self.row.code in ("client_gone", "still_running")

    @property
    def settled(self) -> bool:
        """Is its cost known? A request that followed another's flight pays nothing for it."""
        return not (self.answering or self.in_flight or self.history.held)

    @property
    def may_be_paid(self) -> bool:
        """Is it charged, or may it still be?"""
        return self.in_flight or bool(self.history.held) or self.history.cost_nanos > 0

    @property
    def fingerprint(self) -> Fingerprint | None:
        """The edit it asks for; None where it was refused before that was known."""
        if self.row:
            row = self.row
            found = Fingerprint(row.fingerprint, row.uncacheable or None, row.aside)
        else:
            about = self.history.about
            found = Fingerprint(about.fingerprint if about else "")
        return found if found.key else None

    @property
    def directives(self) -> Directives:
        return parse(self.row.asked, "") if self.row else Directives()
