"""Failures that are remembered, so that the same edit does not pay for them again.

A call that may have been charged is not repeated for a while: the client cannot know, and its
library would retry. A refusal that the upstream would only repeat is given from memory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from gateway.coalescing.rules.coalescing_key import is_refusal
from gateway.coalescing.rules.lease import FlightFailure, Lease
from gateway.model.errors import KINDS, Refusal
from gateway.wire.answer import upstream_error

AMBIGUOUS = frozenset({"upstream_failed", "upstream_timeout", "upstream_account"})
"""Codes of failures that may have been charged; refused accounts only by odd settings."""
REFUSING_STATUSES = frozenset({400, 422})
_OF_THE_ACCOUNT = frozenset(
    {"billing_hard_limit_reached", "insufficient_quota", "rate_limit_exceeded", "server_error"}
)
"""Codes and types that some providers put into a 400 though the edit is not at fault."""

MOST_REMEMBERED = 10_000
MOST_BYTES = 8 * 2**20
_OBJECT_BYTES = 500
_MOST_MESSAGE_CHARS = 1_000
_MOST_BODY_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Remembered:
    """A failure that is given instead of a call, in this span of time."""

    refusal: Refusal
    since_ms: int
    until_ms: int

    @property
    def detail(self) -> str:
        """Its name in `Cache-Status`."""
        return "remembered-refusal" if is_refusal(self.refusal.code) else "remembered-failure"


@dataclass(frozen=True, slots=True)
class MemoryTimes:
    """How long failures are remembered."""

    failure_seconds: float
    refusal_seconds: float

    def seconds_for(
        self, refusal: Refusal, cost_nanos: int | None, *, keeps_refusals: bool = True
    ) -> float:
        """The time for one failed call; 0 is not at all.

        `cost_nanos` is what was charged for it, None if that is unknown. A refusal is an answer,
        which `no-store` does not keep; but a charge is not risked twice.
        """
        if is_refusal(refusal.code) and _is_of_the_edit(refusal):
            if cost_nanos is None:
                return self.failure_seconds
            return self.refusal_seconds if keeps_refusals else 0.0
        if refusal.code in AMBIGUOUS and cost_nanos != 0:
            return self.failure_seconds
        return 0.0


def _is_of_the_edit(refusal: Refusal) -> bool:
    """Would the upstream refuse the same edit again, for its content or a bad parameter?"""
    if refusal.status not in REFUSING_STATUSES or refusal.body is None:
        return False
    error = upstream_error(refusal.body)
    return error is not None and not {error.code, error.type} & _OF_THE_ACCOUNT


def failure_of(refusal: Refusal, extra_digest: str = "") -> FlightFailure:
    """A refusal as stored for other processes."""
    return FlightFailure(
        code=refusal.code,
        status=refusal.status,
        message=refusal.message[:_MOST_MESSAGE_CHARS],
        body=_text(refusal.body or b""),
        extra_digest=extra_digest,
    )


def refusal_of(failure: FlightFailure) -> Refusal:
    """The refusal that another process has stored."""
    return Refusal(
        failure.code if failure.code in KINDS else "upstream_failed",  # of a newer gateway
        failure.message,
        status_override=failure.status,
        body=failure.body.encode() or None,
        source="upstream",
    )


def remembered_of(lease: Lease) -> Remembered | None:
    """The remembered failure of a lease, if its flight failed."""
    if lease.failure is None or lease.ended_ms is None:
        return None
    return Remembered(refusal_of(lease.failure), lease.ended_ms, lease.until_ms)


def _text(body: bytes) -> str:
    """The body as text that every engine accepts; empty if it is too large or not text."""
    if len(body) > _MOST_BODY_BYTES or b"\0" in body:
        return ""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def size_of(refusal: Refusal) -> int:
    """About the memory that a refusal takes."""
    return _OBJECT_BYTES + len(refusal.message) + len(refusal.body or b"")


class FailureMemory:
    """The failures that this process remembers, by fingerprint. Others read them in the state.

    A refusal answers everything that was sent, so it is remembered per `extra_digest`. A failure
    that may have been charged is remembered for every request for the edit.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._by_key: OrderedDict[tuple[str, str | None], Remembered] = OrderedDict()

    @property
    def kept_bytes(self) -> int:
        """About the memory that all failures take."""
        return self._bytes

    def keep(self, key: str, remembered: Remembered, extra_digest: str = "") -> None:
        """Remember a failure, without its error body if that is too large."""
        refusal = remembered.refusal
        if len(refusal.body or b"") > _MOST_BODY_BYTES:
            remembered = replace(remembered, refusal=replace(refusal, body=None))
        name = (key, extra_digest if is_refusal(refusal.code) else None)
        self._drop(name)
        self._by_key[name] = remembered
        self._bytes += size_of(remembered.refusal)
        while len(self._by_key) > MOST_REMEMBERED or self._bytes > self._most_bytes:
            self._drop(next(iter(self._by_key)))

    def recall(self, key: str, now_ms: int, extra_digest: str = "") -> Remembered | None:
        """The remembered failure of this edit, if it has not expired."""
        for name in ((key, None), (key, extra_digest)):
            found = self._by_key.get(name)
            if found and found.until_ms > now_ms:
                return found
            self._drop(name)
        return None

    def forget(self, key: str, extra_digest: str = "") -> None:
        """The edit was bought."""
        self._drop((key, None))
        self._drop((key, extra_digest))

    def _drop(self, name: tuple[str, str | None]) -> None:
        if dropped := self._by_key.pop(name, None):
            self._bytes -= size_of(dropped.refusal)
