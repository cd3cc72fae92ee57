"""What the same request would meet, and that "safe" never means paying twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.coalescing.rules.joining import FRESH
from gateway.coalescing.rules.lease import FlightFailure, Lease
from gateway.model.edit import Fingerprint
from gateway.model.entry import Entry
from gateway.model.errors import KINDS, Retry
from gateway.queries.rules.retry_forecast import (
    FlightEnded,
    RetryForecast,
    Surroundings,
    Would,
    outlook,
)
from gateway.wire.cache_directives import Directives

NOW = 1_800_000_000_000
EDIT = Fingerprint("k", extra_digest="a")
PLAIN, NO_CACHE, NO_STORE = Directives(), Directives(no_cache=True), Directives(no_store=True)
ENTRY = Entry("k", "t", "key", "m", 1, NOW - 9_000, NOW + 60_000, "d", 1, "c", "req", "up")
BROKE = FlightFailure("upstream_failed", 502, "broke", extra_digest="a")
NO = FlightFailure("upstream_refused", 400, "no", "{}", extra_digest="a")
IN_FLIGHT = Lease("k", "r1", "p1", "q1", NOW - 1_000, NOW + 60_000)
FINISHED = replace(IN_FLIGHT, ended_ms=NOW - 10, until_ms=NOW + 5_000)
FAILED = replace(IN_FLIGHT, ended_ms=NOW - 10, until_ms=NOW + 1_001, failure=BROKE)
DENIED = replace(FAILED, failure=NO)

STORED = Surroundings(stored=ENTRY)
UP = Surroundings(leases=[IN_FLIGHT])
FRESH_UP = Surroundings(leases=[replace(IN_FLIGHT, key=FRESH + "k")])
NOTHING = Surroundings()
DONE = FlightEnded("", EDIT, PLAIN, paid=True)
FREE = replace(DONE, paid=False)
NOT_YET = FlightEnded("invalid_image", None, PLAIN, paid=False)
ALONE = replace(DONE, fingerprint=Fingerprint("k", "generations-off", "a"))


@pytest.mark.parametrize(
    ("ended", "around", "would", "safe"),
    [
        (DONE, STORED, Would.HIT, True),
        (DONE, UP, Would.JOIN, True),
        (DONE, FRESH_UP, Would.JOIN, True),
        (DONE, Surroundings(leases=[FINISHED]), Would.JOIN, True),
        (DONE, Surroundings(in_flight=True), Would.JOIN, True),
        (DONE, Surroundings(leases=[IN_FLIGHT], silent=["r1"]), Would.BUY, False),
        (DONE, Surroundings(leases=[FINISHED], owner_id="p1"), Would.BUY, False),
        (DONE, NOTHING, Would.BUY, False),
        (FREE, NOTHING, Would.BUY, True),
        (DONE, Surroundings(kept=True), Would.SAME_ANSWER, True),
        (replace(DONE, code="upstream_failed"), NOTHING, Would.BUY, False),
        (replace(FREE, code="upstream_busy"), NOTHING, Would.BUY, True),
        (replace(FREE, code="client_gone"), NOTHING, Would.BUY, True),
        # What was asked of the cache is asked of it again.
        (replace(DONE, directives=NO_CACHE), STORED, Would.BUY, False),
        (replace(DONE, directives=NO_CACHE), UP, Would.BUY, False),
        (replace(DONE, directives=NO_CACHE), FRESH_UP, Would.JOIN, True),
        (replace(DONE, directives=NO_CACHE), Surroundings(leases=[FAILED]), Would.BUY, False),
        (replace(DONE, directives=NO_STORE), STORED, Would.BUY, False),
        (replace(DONE, directives=NO_STORE), UP, Would.BUY, False),
        (replace(DONE, directives=NO_STORE), Surroundings(leases=[DENIED]), Would.BUY, False),
        (replace(DONE, directives=Directives(max_age_seconds=9)), STORED, Would.BUY, False),
        (replace(DONE, directives=Directives(max_age_seconds=10)), STORED, Would.HIT, True),
        (replace(FREE, directives=Directives(only_if_cached=True)), UP, Would.REFUSED, True),
        (replace(FREE, directives=Directives(only_if_cached=True)), STORED, Would.HIT, True),
        # What may not be stored is nobody else's.
        (ALONE, STORED, Would.BUY, False),
        (ALONE, UP, Would.BUY, False),
        (ALONE, Surroundings(in_flight=True), Would.JOIN, True),
        # Refusals.
        (NOT_YET, NOTHING, Would.REFUSED, True),
        (replace(NOT_YET, code="rate_limit_exceeded"), NOTHING, Would.BUY, True),
        (replace(NOT_YET, code="upload_timeout"), NOTHING, Would.BUY, True),
        (replace(FREE, code="insufficient_quota"), NOTHING, Would.REFUSED, True),
        (replace(FREE, code="insufficient_quota"), STORED, Would.HIT, True),
        (replace(FREE, code="budget_held"), NOTHING, Would.BUY, True),
    ],
)
def test_the_same_request_meets(
    ended: FlightEnded, around: Surroundings, would: Would, safe: bool
) -> None:
    assert outlook(ended, around, NOW) == RetryForecast(would, safe)


@pytest.mark.parametrize("directives", [PLAIN, NO_STORE])
def test_a_remembered_failure_says_for_how_many_seconds(directives: Directives) -> None:
    ended = replace(DONE, code="upstream_failed", directives=directives)
    found = outlook(ended, Surroundings(leases=[FAILED]), NOW)
    assert found == RetryForecast(Would.SAME_ERROR, safe=True, seconds=2)
    assert outlook(ended, Surroundings(leases=[FAILED]), FAILED.until_ms).would is Would.BUY


def test_a_refusal_is_remembered_for_who_sends_the_same_beside_alone() -> None:
    around = Surroundings(leases=[DENIED])
    other = replace(DONE, fingerprint=Fingerprint("k", extra_digest="b"))
    assert outlook(DONE, around, NOW).would is Would.SAME_ERROR
    assert outlook(other, around, NOW).would is Would.BUY


def test_an_entry_that_has_expired_is_no_hit() -> None:
    assert outlook(DONE, STORED, ENTRY.expires_ms).would is Would.BUY


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
    FlightEnded,
    st.sampled_from(["", "client_gone", *KINDS]),
    st.none() | st.builds(Fingerprint, st.just("k"), st.none() | st.just("why"), st.just("a")),
    DIRECTIVES,
    st.booleans(),
)
AROUND = st.builds(
    Surroundings,
    st.none() | st.just(ENTRY),
    st.lists(LEASES, max_size=2),
    st.sets(st.sampled_from(["r1", "r2"])),
    st.sampled_from(["", "p1"]),
    st.booleans(),
    st.booleans(),
)


@given(ENDED, AROUND)
def test_only_a_purchase_of_what_may_be_paid_for_already_is_not_safe(
    ended: FlightEnded, around: Surroundings
) -> None:
    found = outlook(ended, around, NOW)
    assert found.safe is not (found.would is Would.BUY and ended.paid)
    assert (found.seconds is not None) == (found.would is Would.SAME_ERROR)
    assert found.seconds is None or found.seconds > 0


@given(ENDED, AROUND)
def test_what_never_asked_for_an_edit_meets_nothing_of_it(
    ended: FlightEnded, around: Surroundings
) -> None:
    nowhere = replace(around, kept=False)
    found = outlook(replace(ended, fingerprint=None), nowhere, NOW).would
    assert found in (Would.REFUSED, Would.BUY)


@given(st.sampled_from(sorted(KINDS)))
def test_what_may_be_tried_again_is_never_said_to_be_refused_again(code: str) -> None:
    found = outlook(replace(NOT_YET, code=code), NOTHING, NOW).would
    assert found is Would.BUY or KINDS[code].retry is Retry.NO
