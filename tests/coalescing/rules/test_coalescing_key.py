"""Which flights a request may join, and which leases it reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.coalescing.rules.coalescing_key import CoalescingKey

EDIT = CoalescingKey("k")
FRESH = CoalescingKey("k", fresh=True, past_failures=True)
PLAIN_FRESH = CoalescingKey("k", fresh=True)
"""With a plain `no-cache` that `obey_cache_control` obeys."""
ELSEWHERE = replace(EDIT, key="here", other_keys=("k",))
EQUIVALENT = replace(ELSEWHERE, equivalent=True)
FRESH_THERE = replace(EQUIVALENT, fresh=True, past_failures=True)


def test_an_edit_that_nobody_shares_watches_for_failures_alone() -> None:
    assert EDIT.watched_keys == ("k", "fresh:k")
    assert FRESH.watched_keys == ("fresh:k",)
    assert PLAIN_FRESH.watched_keys == ("fresh:k", "k")
    assert replace(EDIT, shared=False).watched_keys == ("k",)


@pytest.mark.parametrize(
    ("coalescing_key", "names", "names_of_a_retry"),
    [
        (EDIT, ["k", "fresh:k"], ["k", "fresh:k"]),
        (FRESH, ["fresh:k"], ["fresh:k"]),
        (replace(EDIT, shared=False), [], ["alone:key_1:k"]),
    ],
)
def test_an_unshared_flight_is_joined_by_a_retry_alone(
    coalescing_key: CoalescingKey, names: list[str], names_of_a_retry: list[str]
) -> None:
    assert coalescing_key.joinable_flights("key_1", retry=False) == names
    assert coalescing_key.joinable_flights("key_1", retry=True) == names_of_a_retry


# --- other targets --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coalescing_key", "keys"),
    [
        (EDIT, ()),
        (ELSEWHERE, ("k",)),
        (EQUIVALENT, ("k", "fresh:k")),
        (FRESH_THERE, ("fresh:k",)),
        (replace(FRESH_THERE, retry=True), ("k", "fresh:k")),
    ],
)
def test_which_leases_at_other_targets_are_read(
    coalescing_key: CoalescingKey, keys: tuple[str, ...]
) -> None:
    assert coalescing_key.keys_elsewhere == keys
