"""What the same request would meet, and that "safe" never means paying twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.rules.entry import Entry
from gateway.coalescing.rules.coalescing_key import FRESH
from gateway.coalescing.rules.lease import FlightFailure, Lease
from gateway.model.edit import Fingerprint
from gateway.model.errors import KINDS, Retry
from gateway.queries.rules.retry_forecast import (
    EndedRequest,
    Obtainable,
    RetryForecast,
    RetryOutcome,
    forecast_retry,
)
from gateway.wire.cache_directives import Directives

NOW = 1_800_000_000_000
EDIT = Fingerprint("k", extra_digest="a")
PLAIN, NO_CACHE, NO_STORE = (
    Directives(),
    Directives(no_cache=True, past_failures=True),
    Directives(no_store=True),
)
ENTRY = Entry("k", "t", "key", "m", 1, NOW - 9_000, NOW + 60_000, "d", 1, "c", "req", "up")
BROKE = FlightFailure("upstream_failed", 502, "broke", extra_digest="a")
NO = FlightFailure("upstream_refused", 400, "no", "{}", extra_digest="a")
IN_FLIGHT = Lease("k", "r1", "p1", "q1", NOW - 1_000, NOW + 60_000)
FINISHED = replace(IN_FLIGHT, ended_ms=NOW - 10, until_ms=NOW + 5_000)
FAILED = replace(IN_FLIGHT, ended_ms=NOW - 10, until_ms=NOW + 1_001, failure=BROKE)
DENIED = replace(FAILED, failure=NO)

STORED = Obtainable(stored=ENTRY)
UP = Obtainable(leases=[IN_FLIGHT])
FRESH_UP = Obtainable(leases=[replace(IN_FLIGHT, key=FRESH + "k")])
NOTHING = Obtainable()
DONE = EndedRequest("", EDIT, PLAIN, paid=True)
FREE = replace(DONE, paid=False)
NOT_YET = EndedRequest("invalid_image", None, PLAIN, paid=False)
ALONE = replace(DONE, fingerprint=Fingerprint("k", "generations-off", "a"))


@pytest.mark.parametrize(
    ("ended", "obtainable", "would", "safe"),
    [
        (DONE, STORED, RetryOutcome.HIT, True),
        (DONE, UP, RetryOutcome.JOIN, True),
        (DONE, FRESH_UP, RetryOutcome.JOIN, True),
        (DONE, Obtainable(leases=[FINISHED]), RetryOutcome.JOIN, True),
        (DONE, Obtainable(in_flight=True), RetryOutcome.JOIN, True),
        (DONE, Obtainable(leases=[IN_FLIGHT], silent=["r1"]), RetryOutcome.BUY, False),
        (DONE, Obtainable(leases=[FINISHED], owner_id="p1"), RetryOutcome.BUY, False),
        (DONE, NOTHING, RetryOutcome.BUY, False),
        (FREE, NOTHING, RetryOutcome.BUY, True),
        (DONE, Obtainable(kept=True), RetryOutcome.SAME_ANSWER, True),
        (replace(DONE, code="upstream_failed"), NOTHING, RetryOutcome.BUY, False),
        (replace(FREE, code="upstream_busy"), NOTHING, RetryOutcome.BUY, True),
        (replace(FREE, code="client_gone"), NOTHING, RetryOutcome.BUY, True),
        # What was asked of the cache is asked of it again.
        (replace(DONE, directives=NO_CACHE), STORED, RetryOutcome.BUY, False),
        (replace(DONE, directives=NO_CACHE), UP, RetryOutcome.BUY, False),
        (replace(DONE, directives=NO_CACHE), FRESH_UP, RetryOutcome.JOIN, True),
        (replace(DONE, directives=NO_CACHE), Obtainable(leases=[FAILED]), RetryOutcome.BUY, False),
        (replace(DONE, directives=NO_STORE), STORED, RetryOutcome.BUY, False),
        (replace(DONE, directives=NO_STORE), UP, RetryOutcome.BUY, False),
        (replace(DONE, directives=NO_STORE), Obtainable(leases=[DENIED]), RetryOutcome.BUY, False),
        (replace(DONE, directives=Directives(max_age_seconds=9)), STORED, RetryOutcome.BUY, False),
        (replace(DONE, directives=Directives(max_age_seconds=10)), STORED, RetryOutcome.HIT, True),
        (replace(FREE, directives=Directives(only_if_cached=True)), UP, RetryOutcome.REFUSED, True),
        (replace(FREE, directives=Directives(only_if_cached=True)), STORED, RetryOutcome.HIT, True),
        # What may not be stored is nobody else's.
        (ALONE, STORED, RetryOutcome.BUY, False),
        (ALONE, UP, RetryOutcome.BUY, False),
        (ALONE, Obtainable(in_flight=True), RetryOutcome.JOIN, True),
        # Refusals.
        (NOT_YET, NOTHING, RetryOutcome.REFUSED, True),
        (replace(NOT_YET, code="rate_limit_exceeded"), NOTHING, RetryOutcome.BUY, True),
        (replace(NOT_YET, code="upload_timeout"), NOTHING, RetryOutcome.BUY, True),
        (replace(FREE, code="insufficient_quota"), NOTHING, RetryOutcome.REFUSED, True),
        (replace(FREE, code="insufficient_quota"), STORED, RetryOutcome.HIT, True),
        (replace(FREE, code="budget_held"), NOTHING, RetryOutcome.BUY, True),
    ],
)
def test_the_same_request_meets(
    ended: EndedRequest, obtainable: Obtainable, would: RetryOutcome, safe: bool
) -> None:
    assert forecast_retry(ended, obtainable, NOW) == RetryForecast(would, safe)


@pytest.mark.parametrize("directives", [PLAIN, NO_STORE])
def test_a_remembered_failure_says_for_how_many_seconds(directives: Directives) -> None:
    ended = replace(DONE, code="upstream_failed", directives=directives)
    found = forecast_retry(ended, Obtainable(leases=[FAILED]), NOW)
    assert found == RetryForecast(RetryOutcome.SAME_ERROR, safe=True, seconds=2)
    assert (
        forecast_retry(ended, Obtainable(leases=[FAILED]), FAILED.until_ms).outcome
        is RetryOutcome.BUY
    )


def test_a_refusal_is_remembered_for_who_sends_the_same_beside_alone() -> None:
    obtainable = Obtainable(leases=[DENIED])
    other = replace(DONE, fingerprint=Fingerprint("k", extra_digest="b"))
    assert forecast_retry(DONE, obtainable, NOW).outcome is RetryOutcome.SAME_ERROR
    assert forecast_retry(other, obtainable, NOW).outcome is RetryOutcome.BUY


def test_an_entry_that_has_expired_is_no_hit() -> None:
    assert forecast_retry(DONE, STORED, ENTRY.expires_ms).outcome is RetryOutcome.BUY


DIRECTIVES = st.builds(
    Directives, st.booleans(), st.booleans(), st.booleans(), st.none() | st.integers(0, 20)
)
FAILURES = st.sampled_from([None, BROKE, NO])
LEASES = st.builds(
    Lease,
    st.sampled_from(["k", FRESH + "k"]),
    st.sampled_from(["r1", "r2"]),
    st.just("p1"),
    st.just("q1"),
    st.just(NOW - 1_000),
    st.integers(NOW - 10, NOW + 10_000),
    st.none() | st.just(NOW - 5),
    FAILURES,
)
ENDED = st.builds(
    EndedRequest,
    st.sampled_from(["", "client_gone", *KINDS]),
    st.none() | st.builds(Fingerprint, st.just("k"), st.none() | st.just("why"), st.just("a")),
    DIRECTIVES,
    st.booleans(),
)
AROUND = st.builds(
    Obtainable,
    st.none() | st.just(ENTRY),
    st.lists(LEASES, max_size=2),
    st.sets(st.sampled_from(["r1", "r2"])),
    st.sampled_from(["", "p1"]),
    st.booleans(),
    st.booleans(),
)


@given(ENDED, AROUND)
def test_only_a_purchase_of_what_may_be_paid_for_already_is_not_safe(
    ended: EndedRequest, obtainable: Obtainable
) -> None:
    found = forecast_retry(ended, obtainable, NOW)
    assert found.safe is not (found.outcome is RetryOutcome.BUY and ended.paid)
    assert (found.seconds is not None) == (found.outcome is RetryOutcome.SAME_ERROR)
    assert found.seconds is None or found.seconds > 0


@given(ENDED, AROUND)
def test_what_never_asked_for_an_edit_meets_nothing_of_it(
    ended: EndedRequest, obtainable: Obtainable
) -> None:
    nowhere = replace(obtainable, kept=False)
    found = forecast_retry(replace(ended, fingerprint=None), nowhere, NOW).outcome
    assert found in (RetryOutcome.REFUSED, RetryOutcome.BUY)


@given(st.sampled_from(sorted(KINDS)))
def test_what_may_be_tried_again_is_never_said_to_be_refused_again(code: str) -> None:
    found = forecast_retry(replace(NOT_YET, code=code), NOTHING, NOW).outcome
    assert found is RetryOutcome.BUY or KINDS[code].retry is Retry.NO
