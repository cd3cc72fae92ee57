"""What the same request would meet if it were sent again now, and whether that is safe.

Safe means that what may have been charged already is not paid for a second time. Which
lease blocks a purchase is decided by the same rule as for a real one: `blocking_lease`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.cache.rules.entry import may_serve
from gateway.coalescing.rules.joining import CoalescingKey, blocking_lease
from gateway.coalescing.rules.lease import Lease, LeaseStatus
from gateway.model import errors
from gateway.model.edit import Fingerprint
from gateway.model.entry import Entry
from gateway.model.errors import KINDS, Retry
from gateway.wire.cache_directives import Directives


class Would(StrEnum):
    """What it would meet."""

    HIT = "hit"
    """The picture is stored."""
    JOIN = "join"
    """Its flight, or another of the same edit, is in the air, or has just landed elsewhere."""
    SAME_ANSWER = "same_answer"
    """What this request brought is kept for whoever was told to ask again."""
    SAME_ERROR = "same_error"
    """A failure that is remembered is given instead of a call."""
    REFUSED = "refused"
    """It is refused for what it asks, or for a limit, until one of them is changed."""
    BUY = "buy"


@dataclass(frozen=True, slots=True)
class RetryForecast:
    """`seconds` is for how long the same error is given."""

    would: Would
    safe: bool
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class FlightEnded:
    """A request as it ended, or stands.

    `code` is that of its refusal; `fingerprint` None where it never came to be known what it asks
    for. `paid` where something was charged for it, or may be: what is held counts.
    """

    code: str
    fingerprint: Fingerprint | None
    directives: Directives
    paid: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What there is of the same edit now.

    `in_flight` and `kept`: this process was asked to wait, and told its client to ask again; it
    still flies, or has landed and is kept for that. `silent` are leases whose process is gone;
    those of `owner_id`, this one, are known from `in_flight`.
    """

    stored: Entry | None = None
    leases: Sequence[Lease] = ()
    silent: Collection[str] = ()
    owner_id: str = ""
    in_flight: bool = False
    kept: bool = False


def outlook(ended: FlightEnded, around: Surroundings, now_ms: int) -> RetryForecast:
    """What the same request would meet now, in the order in which it would meet it."""
    if around.kept:
        return RetryForecast(Would.SAME_ANSWER, safe=True)
    if ended.fingerprint and (found := _found(ended.fingerprint, ended.directives, around, now_ms)):
        return found
    if _is_refused_again(ended.code):
        return RetryForecast(Would.REFUSED, safe=True)
    return RetryForecast(Would.BUY, safe=not ended.paid)


def _found(
    fingerprint: Fingerprint, directives: Directives, around: Surroundings, now_ms: int
) -> RetryForecast | None:
    """What there is instead of a purchase; None where there is nothing."""
    looks = directives.may_look and not fingerprint.uncacheable
    age = directives.max_age_seconds
    if looks and around.stored and may_serve(around.stored, now_ms, age):
        return RetryForecast(Would.HIT, safe=True)
    if directives.only_if_cached:
        return RetryForecast(Would.REFUSED, safe=True)
    if around.in_flight:
        return RetryForecast(Would.JOIN, safe=True)
    coalescing_key = CoalescingKey.of(fingerprint, directives)
    leases = [lease for lease in around.leases if lease.key in coalescing_key.watched_keys]
    in_way = blocking_lease(
        coalescing_key, leases, owner_id=around.owner_id, ignored_ids=around.silent, now_ms=now_ms
    )
    if in_way is None:
        return None
    lease, status = in_way
    if status is LeaseStatus.FAILED:
        return RetryForecast(
            Would.SAME_ERROR, safe=True, seconds=-(-(lease.until_ms - now_ms) // 1000)
        )
    return RetryForecast(Would.JOIN, safe=True)


def _is_refused_again(code: str) -> bool:
    """Does the refusal lie in the request or in a limit, rather than in the moment?"""
    kind = KINDS.get(code)
    if kind is None or kind.retry is not Retry.NO or code in _OF_THE_MOMENT:
        return False
    return kind.type in _OF_THE_REQUEST


_OF_THE_REQUEST = frozenset({errors.INVALID, errors.PERMISSION, errors.QUOTA})
_OF_THE_MOMENT = frozenset({"upload_timeout", "not_cached"})
