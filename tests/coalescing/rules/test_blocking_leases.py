"""Which lease blocks the purchase of an edit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.coalescing.rules.blocking_leases import blocking_elsewhere, blocking_lease
from gateway.coalescing.rules.coalescing_key import CoalescingKey
from gateway.coalescing.rules.lease import FlightFailure, Lease, LeaseStatus, status_of

NOW = 1_800_000_000_000
EDIT = CoalescingKey("k")
FRESH = CoalescingKey("k", fresh=True, past_failures=True)
PLAIN_FRESH = CoalescingKey("k", fresh=True)
"""With a plain `no-cache` that `obey_cache_control` obeys."""
FAILED = FlightFailure("upstream_failed", 502, "broke")
REFUSED = FlightFailure("upstream_refused", 400, "no", "{}")

IN_FLIGHT = Lease("k", "r1", "p1", "q1", NOW - 1_000, NOW + 60_000)
FINISHED = replace(IN_FLIGHT, ended_ms=NOW - 10, until_ms=NOW + 5_000)
BROKE = replace(FINISHED, failure=FAILED)
NO = replace(FINISHED, failure=REFUSED)


def in_way(
    coalescing_key: CoalescingKey,
    *leases: Lease,
    owner: str = "p2",
    ignored_ids: tuple[str, ...] = (),
) -> LeaseStatus | None:
    found = blocking_lease(
        coalescing_key, leases, owner_id=owner, ignored_ids=ignored_ids, now_ms=NOW
    )
    return found and found[1]


def fresh(lease: Lease) -> Lease:
    return replace(lease, key="fresh:k")


@pytest.mark.parametrize(
    ("coalescing_key", "lease", "meant"),
    [
        (EDIT, IN_FLIGHT, LeaseStatus.IN_FLIGHT),
        (EDIT, FINISHED, LeaseStatus.FINISHED),
        (EDIT, BROKE, LeaseStatus.FAILED),
        (EDIT, NO, LeaseStatus.FAILED),
        (EDIT, fresh(IN_FLIGHT), LeaseStatus.IN_FLIGHT),
        (EDIT, fresh(FINISHED), None),
        (EDIT, fresh(BROKE), None),
        (FRESH, fresh(IN_FLIGHT), LeaseStatus.IN_FLIGHT),
        (FRESH, fresh(FINISHED), None),
        (FRESH, fresh(BROKE), None),
        (PLAIN_FRESH, BROKE, LeaseStatus.FAILED),
        (PLAIN_FRESH, fresh(BROKE), LeaseStatus.FAILED),
        (PLAIN_FRESH, IN_FLIGHT, None),
        (PLAIN_FRESH, FINISHED, None),
        (replace(FRESH, retry=True), fresh(FINISHED), LeaseStatus.FINISHED),
        (replace(FRESH, retry=True), fresh(BROKE), LeaseStatus.FAILED),
        (replace(EDIT, shared=False), IN_FLIGHT, None),
        (replace(EDIT, shared=False), FINISHED, None),
        (replace(EDIT, shared=False), BROKE, LeaseStatus.FAILED),
        (replace(EDIT, shared=False, recalls_refusals=False), BROKE, LeaseStatus.FAILED),
        (replace(EDIT, shared=False, recalls_refusals=False), NO, None),
        (replace(FRESH, shared=False, recalls_refusals=False), BROKE, None),
    ],
)
def test_what_a_lease_means_to_who_asks(
    coalescing_key: CoalescingKey, lease: Lease, meant: LeaseStatus
) -> None:
    assert in_way(coalescing_key, lease) is meant


def test_a_refusal_stands_in_the_way_of_who_sends_the_same_beside_alone() -> None:
    of_ann = replace(NO, failure=replace(REFUSED, extra_digest="ann"))
    broke = replace(BROKE, failure=replace(FAILED, extra_digest="ann"))

    assert in_way(replace(EDIT, extra_digest="ann"), of_ann) is LeaseStatus.FAILED
    assert in_way(replace(EDIT, extra_digest="bob"), of_ann) is None
    assert in_way(EDIT, of_ann) is None
    assert in_way(replace(EDIT, extra_digest="bob"), broke) is LeaseStatus.FAILED


@pytest.mark.parametrize("lease", [IN_FLIGHT, FINISHED, BROKE])
def test_a_lease_that_has_run_out_means_nothing(lease: Lease) -> None:
    over = replace(lease, until_ms=NOW)

    assert status_of(over, NOW) is LeaseStatus.EXPIRED
    assert in_way(EDIT, over) is None


def test_a_flight_that_was_waited_for_in_vain_is_in_nobodys_way() -> None:
    assert in_way(EDIT, IN_FLIGHT, ignored_ids=("r1",)) is None
    assert in_way(EDIT, FINISHED, ignored_ids=("r1",)) is None


def test_a_process_is_not_stopped_by_leftovers_of_its_own_but_by_what_it_remembers() -> None:
    assert in_way(EDIT, IN_FLIGHT, owner="p1") is None
    assert in_way(EDIT, FINISHED, owner="p1") is None
    assert in_way(EDIT, BROKE, owner="p1") is LeaseStatus.FAILED


ELSEWHERE = replace(EDIT, key="here", other_keys=("k",))
EQUIVALENT = replace(ELSEWHERE, equivalent=True)
FRESH_THERE = replace(EQUIVALENT, fresh=True, past_failures=True)


@pytest.mark.parametrize(
    ("coalescing_key", "lease", "meant"),
    [
        (ELSEWHERE, IN_FLIGHT, None),
        (ELSEWHERE, FINISHED, None),
        (ELSEWHERE, BROKE, LeaseStatus.FAILED),
        (ELSEWHERE, NO, LeaseStatus.FAILED),
        (replace(ELSEWHERE, past_failures=True), BROKE, None),
        (replace(ELSEWHERE, past_failures=True, retry=True), BROKE, LeaseStatus.FAILED),
        (EQUIVALENT, IN_FLIGHT, LeaseStatus.IN_FLIGHT),
        (EQUIVALENT, fresh(IN_FLIGHT), LeaseStatus.IN_FLIGHT),
        (EQUIVALENT, FINISHED, LeaseStatus.FINISHED),
        (EQUIVALENT, replace(FINISHED, owner_id="p2"), None),
        (EQUIVALENT, fresh(FINISHED), None),
        (EQUIVALENT, replace(BROKE, until_ms=NOW), None),
        (replace(EQUIVALENT, shared=False), IN_FLIGHT, None),
        (FRESH_THERE, IN_FLIGHT, None),
        (FRESH_THERE, fresh(IN_FLIGHT), LeaseStatus.IN_FLIGHT),
        (FRESH_THERE, BROKE, None),
    ],
)
def test_what_a_lease_at_another_target_means(
    coalescing_key: CoalescingKey, lease: Lease, meant: LeaseStatus | None
) -> None:
    found = blocking_elsewhere(coalescing_key, [lease], owner_id="p2", ignored_ids=(), now_ms=NOW)
    assert (found and found[1]) is meant
    ignored = blocking_elsewhere(
        coalescing_key, [lease], owner_id="p2", ignored_ids=("r1",), now_ms=NOW
    )
    assert ignored is None
