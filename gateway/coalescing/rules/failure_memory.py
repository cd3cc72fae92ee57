"""Failures that are remembered, so that the same edit does not run into them at a price.

A call that may have been charged is not made again for a while (the client can't know, and its
library would retry it); a refusal that the upstream would only repeat is given from memory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from gateway.coalescing.rules.lease import FlightFailure, Lease, is_refusal
from gateway.model.errors import KINDS, Refusal
from gateway.wire.answer import upstream_error

AMBIGUOUS = frozenset({"upstream_failed", "upstream_timeout"})
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
    """A failure and for how long it is given instead of a call, in unix milliseconds."""

    refusal: Refusal
    since_ms: int
    until_ms: int

    @property
    def detail(self) -> str:
        """Its name in `Cache-Status`."""
        return "remembered-refusal" if is_refusal(self.refusal.code) else "remembered-failure"


def memory_seconds(
    refusal: Refusal,
    cost_nanos: int | None,
    *,
    failure_seconds: float,
    refusal_seconds: float,
    stores: bool = True,
) -> float:
    """For how long a failed call is remembered; 0 is not at all.

    `cost_nanos` is what was charged for it, None where that is unknown. With `stores` false
    (`no-store`) no answer is kept, a refusal neither; but a charge is not risked twice.
    """
    if is_refusal(refusal.code) and _is_of_the_edit(refusal):
        if cost_nanos is None:
            return failure_seconds
        return refusal_seconds if stores else 0.0
    if refusal.code in AMBIGUOUS and cost_nanos != 0:
        return failure_seconds
    return 0.0


def _is_of_the_edit(refusal: Refusal) -> bool:
    """Would the upstream refuse the same edit again? A content policy's no, a bad parameter."""
    if refusal.status not in REFUSING_STATUSES or refusal.body is None:
        return False
    error = upstream_error(refusal.body)
    return error is not None and not {error.code, error.type} & _OF_THE_ACCOUNT


def failure_of(refusal: Refusal, extra_digest: str = "") -> FlightFailure:
    """A refusal in the form in which other processes are told of it."""
    return FlightFailure(
        code=refusal.code,
        status=refusal.status,
        message=refusal.message[:_MOST_MESSAGE_CHARS],
        body=_text(refusal.body or b""),
        extra_digest=extra_digest,
    )


def refusal_of(failure: FlightFailure) -> Refusal:
    """The refusal that another process told of."""
    return Refusal(
        failure.code if failure.code in KINDS else "upstream_failed",  # of a newer gateway
        failure.message,
        status_override=failure.status,
        body=failure.body.encode() or None,
        source="upstream",
    )


def remembered_of(lease: Lease) -> Remembered | None:
    """What a lease remembers, if its flight failed."""
    if lease.failure is None or lease.ended_ms is None:
        return None
    return Remembered(refusal_of(lease.failure), lease.ended_ms, lease.until_ms)


def _text(body: bytes) -> str:
    """The body as text that every engine takes; empty where it is too large or none."""
    if len(body) > _MOST_BODY_BYTES or b"\0" in body:
        return ""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def size_of(refusal: Refusal) -> int:
    """About as many bytes as it takes to keep a refusal."""
    return _OBJECT_BYTES + len(refusal.message) + len(refusal.body or b"")


class FailureMemory:
    """What one process remembers, by fingerprint; the state tells the others.

    A refusal answers everything that was sent, so it is remembered per `extra_digest`. A failure
    that may have been charged is remembered for every request for the edit.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._by_key: OrderedDict[tuple[str, str | None], Remembered] = OrderedDict()

    @property
    def kept_bytes(self) -> int:
        """About as many bytes as everything takes that is remembered."""
        return self._bytes

    def keep(self, key: str, remembered: Remembered, extra_digest: str = "") -> None:
        """Remember a failure; an error body that is too large to keep is left out."""
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
        """What is remembered of this edit, unless that was too long ago."""
        for name in ((key, None), (key, extra_digest)):
            found = self._by_key.get(name)
            if found and found.until_ms > now_ms:
                return found
            self._drop(name)
        return None

    def forget(self, key: str, extra_digest: str = "") -> None:
        """It has been bought after all."""
        self._drop((key, None))
        self._drop((key, extra_digest))

    def _drop(self, name: tuple[str, str | None]) -> None:
        if dropped := self._by_key.pop(name, None):
            self._bytes -= size_of(dropped.refusal)
