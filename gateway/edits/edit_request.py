"""A request: as it arrives, once it is admitted, as an edit that was read; and its reply."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from gateway.coalescing.broadcast import Broadcast
from gateway.coalescing.rules.coalescing_key import CoalescingKey
from gateway.edits.presentation import Presentation
from gateway.edits.quotation import Quotation
from gateway.model.caller import Caller
from gateway.model.edit import Edit, Fingerprint, Route
from gateway.uploads.spool import Spool
from gateway.upstream.rules.routing import Target
from gateway.wire.cache_directives import Directives
from gateway.wire.cache_status import CacheStatus


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a picture, before its headers are made."""

    body: bytes
    cache: CacheStatus | None
    """None if the outcome is not known yet."""
    age_seconds: int | None = None
    status: int = 200
    content_type: str = "application/json"
    linked: bool = False
    """Its pictures are to become links whenever it is given."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request whose body has not been read, and the ways to answer it.

    `headers` have lower-case names; `chunks` yields the body and may be started once;
    `gone` returns when the client has left, and is only called after the body is read.
    `begin` sends the head of a stream and `send` a piece of it; its reply is the last piece.
    `answer` sends a whole answer, or a stream's last piece, and returns when the client has
    received it. `tell` sends a quote instead. `accept` promises an answer later, and gives the
    request that goes on without its client.
    """

    route: Route
    headers: Mapping[str, str]
    address: str
    """The client's IP address."""
    chunks: Callable[[], AsyncIterator[bytes]]
    gone: Callable[[], Awaitable[None]]
    begin: Callable[[Reply], Awaitable[None]]
    send: Callable[[bytes], Awaitable[None]]
    answer: Callable[[Reply], Awaitable[None]]
    tell: Callable[[Quotation], Awaitable[None]]
    accept: Callable[[], Awaitable[Incoming]] | None = None
    waits: bool = True
    """Has its client still to be answered? Then it waits for a limited time."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request whose body may be read."""

    caller: Caller
    directives: Directives
    content_type: str
    dry_run: bool = False
    """Only a quote is wanted."""
    answers_later: bool = False
    """An answer later is preferred."""


@dataclass(frozen=True, slots=True)
class EditRequest:
    """One request for an edit at one target, as every stage after `fingerprint` takes it.

    `edit` names the model as the target's upstream does. `fallbacks` are the same request at the
    further targets, in order; `other_keys` the fingerprints at all targets but this one.
    """

    request_id: str
    caller: Caller
    edit: Edit
    spool: Spool
    fingerprint: Fingerprint
    directives: Directives
    target: Target
    asked_model: str = ""
    other_keys: tuple[str, ...] = ()
    equivalent: bool = False
    """A result of any target is one of all."""
    fallbacks: tuple[EditRequest, ...] = ()
    presentation: Presentation = Presentation.BASE64
    coalescing_key: CoalescingKey = field(init=False)
    previous_keys: Callable[[], tuple[str, ...]] = tuple
    """The keys of the same edit in the previous version's fingerprint."""
    broadcast: Broadcast = field(default_factory=Broadcast)
    """Receives the events of the upstream call, if this request makes one."""
    flight_stages: dict[str, float] = field(default_factory=dict)
    """The seconds of each stage of the flight, if this request leads one."""

    def __post_init__(self) -> None:
        key = CoalescingKey.of(
            self.fingerprint, self.directives, self.other_keys, equivalent=self.equivalent
        )
        object.__setattr__(self, "coalescing_key", key)

    @property
    def at_targets(self) -> tuple[EditRequest, ...]:
        """The request at each target, in the order in which they are tried."""
        return (self, *self.fallbacks)

    def with_fallbacks(self, fallbacks: Iterable[EditRequest]) -> EditRequest:
        """With the same request at the further targets, as one flight with this one."""
        moving_along = (
            replace(each, broadcast=self.broadcast, flight_stages=self.flight_stages)
            for each in fallbacks
        )
        return replace(self, fallbacks=tuple(moving_along))

    @property
    def result_keys(self) -> tuple[str, ...]:
        """The fingerprints of the results that may answer the request at this target."""
        own = self.fingerprint.key
        return (own, *self.other_keys) if self.equivalent else (own,)
