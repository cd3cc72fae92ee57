"""A forecast: what the same request would get if it were sent again now, and whether that is safe.

Safe means that nothing which may have been charged is paid for a second time. A purchase is
forecast by the rule that also decides it: `blocking_lease`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.cache.rules.entry import Entry, may_serve
from gateway.coalescing.rules.blocking_leases import blocking_lease
from gateway.coalescing.rules.coalescing_key import CoalescingKey
from gateway.coalescing.rules.lease import Lease, LeaseStatus
from gateway.model import errors
from gateway.model.edit import Fingerprint
from gateway.model.errors import KINDS, Retry
from gateway.wire.cache_directives import Directives


class RetryOutcome(StrEnum):
    """What the same request would get."""

    HIT = "hit"
    """The stored picture."""
    JOIN = "join"
    """A flight of the same edit that is running, or has just ended in another process."""
    SAME_ANSWER = "same_answer"
    """This request's own answer, kept because its client was told to retry."""
    SAME_ERROR = "same_error"
    """A remembered failure instead of a call."""
    REFUSED = "refused"
    """A refusal, until the request or a limit is changed."""
    BUY = "buy"


@dataclass(frozen=True, slots=True)
class RetryForecast:
    """`seconds` is how long the same error is given."""

    outcome: RetryOutcome
    safe: bool
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """A request as it ended, or as it is now.

    `code` is that of its refusal; `fingerprint` None where it was refused before its edit was
    known. `paid`: something was charged for it, is held, or may still be charged.
    """

    code: str
    fingerprint: Fingerprint | None
    directives: Directives
    paid: bool


@dataclass(frozen=True, slots=True)
class Obtainable:
    """What exists of the same edit now.

    `in_flight` and `kept`: a flight of this process that the request would join, and a result
    that this process keeps for it. `silent` are leases whose process is gone; those of
    `owner_id`, this process, are covered by `in_flight`.
    """

    stored: Entry | None = None
    leases: Sequence[Lease] = ()
    silent: Collection[str] = ()
    owner_id: str = ""
    in_flight: bool = False
    kept: bool = False


def forecast_retry(ended: EndedRequest, obtainable: Obtainable, now_ms: int) -> RetryForecast:
    """What the same request would get now, checked in the order of the pipeline."""
    if obtainable.kept:
        return RetryForecast(RetryOutcome.SAME_ANSWER, safe=True)
    if ended.fingerprint and (
        found := _without_buying(ended.fingerprint, ended.directives, obtainable, now_ms)
    ):
        return found
    if _is_refused_again(ended.code):
        return RetryForecast(RetryOutcome.REFUSED, safe=True)
    return RetryForecast(RetryOutcome.BUY, safe=not ended.paid)


def _without_buying(
    fingerprint: Fingerprint, directives: Directives, obtainable: Obtainable, now_ms: int
) -> RetryForecast | None:
    """What the request would get instead of a purchase; None where it would buy."""
    looks = directives.may_look and not fingerprint.uncacheable
    max_age = directives.max_age_seconds
    if looks and obtainable.stored and may_serve(obtainable.stored, now_ms, max_age):
        return RetryForecast(RetryOutcome.HIT, safe=True)
    if directives.only_if_cached:
        return RetryForecast(RetryOutcome.REFUSED, safe=True)
    if obtainable.in_flight:
        return RetryForecast(RetryOutcome.JOIN, safe=True)
    coalescing_key = CoalescingKey.of(fingerprint, directives)
    blocking = blocking_lease(
        coalescing_key,
        [lease for lease in obtainable.leases if lease.key in coalescing_key.watched_keys],
        owner_id=obtainable.owner_id,
        ignored_ids=obtainable.silent,
        now_ms=now_ms,
    )
    if blocking is None:
        return None
    lease, status = blocking
    if status is LeaseStatus.FAILED:
        seconds = -(-(lease.until_ms - now_ms) // 1000)
        return RetryForecast(RetryOutcome.SAME_ERROR, safe=True, seconds=seconds)
    return RetryForecast(RetryOutcome.JOIN, safe=True)


def _is_refused_again(code: str) -> bool:
    """Does the refusal depend on the request or on a limit, and not on the moment?"""
    kind = KINDS.get(code)
    if kind is None or kind.retry is not Retry.NO or code in _OF_THE_MOMENT:
        return False
    return kind.type in _OF_THE_REQUEST


_OF_THE_REQUEST = frozenset({errors.INVALID, errors.PERMISSION, errors.QUOTA})
_OF_THE_MOMENT = frozenset({"upload_timeout", "not_cached"})
