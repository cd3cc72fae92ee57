"""An edit that was read: who asks for it, and how its result may be cached and shared."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.coalescing.broadcast import Broadcast
from gateway.coalescing.rules.joining import CoalescingKey
from gateway.model.caller import Caller
from gateway.model.edit import Edit, Fingerprint
from gateway.uploads.spool import Spool
from gateway.wire.cache_directives import Directives


@dataclass(frozen=True, slots=True)
class EditRequest:
    """One request for an edit, as every stage after `fingerprint` takes it."""

    request_id: str
    caller: Caller
    edit: Edit
    spool: Spool
    fingerprint: Fingerprint
    directives: Directives
    coalescing_key: CoalescingKey = field(init=False)
    broadcast: Broadcast = field(default_factory=Broadcast)
    """Receives the events of the upstream call, if this request makes one."""
    flight_stages: dict[str, float] = field(default_factory=dict)
    """The seconds of each stage of the flight, if this request leads one."""

    def __post_init__(self) -> None:
        key = CoalescingKey.of(self.fingerprint, self.directives)
        object.__setattr__(self, "coalescing_key", key)
