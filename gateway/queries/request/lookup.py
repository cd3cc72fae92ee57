"""What is known of one request: what this process remembers of it, and what the state says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.ledger.tables.usage import UsageRow
from gateway.model.edit import Fingerprint
from gateway.queries.tables.request_history import Remains
from gateway.wire.cache_directives import Directives, parse

State = Literal["running", "lost", "ended"]


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What this process and the state know of a request.

    `row` is None where a crash lost it, or its process has not written it yet. `answering`: its
    answer is being made here; `flying`: so is its picture, for whoever it may be.
    """

    row: UsageRow | None
    remains: Remains
    answering: bool = False
    flying: bool = False

    def state(self, *, silent_since_ms: int, joinable: bool) -> State:
        """`joinable`: the same request would join a call that is in the air."""
        if self.answering or self.flying or (joinable and self._left_early):
            return "running"
        held = [each.heartbeat_ms or 0 for each in self.remains.held]
        if any(beat >= silent_since_ms for beat in held):
            return "running"
        return "lost" if held else "ended"

    @property
    def _left_early(self) -> bool:
        """Did its client leave, or was it sent away, before its flight had landed?"""
        return self.row is not None and self.row.code in ("client_gone", "still_running")

    @property
    def settled(self) -> bool:
        """Is it known what it cost? Who only followed a flight pays nothing for it."""
        return not (self.answering or self.flying or self.remains.held)

    @property
    def may_be_paid(self) -> bool:
        """Is something charged for it, or may that come?"""
        return self.flying or bool(self.remains.held) or self.remains.cost_nanos > 0

    @property
    def fingerprint(self) -> Fingerprint | None:
        """What it asks for; None where it never came to be known."""
        if self.row:
            row = self.row
            found = Fingerprint(row.fingerprint, row.uncacheable or None, row.aside)
        else:
            about = self.remains.about
            found = Fingerprint(about.fingerprint if about else "")
        return found if found.key else None

    @property
    def directives(self) -> Directives:
        return parse(self.row.asked, "") if self.row else Directives()
