"""Ids: one of a kind, and in the order in which they were made."""

from __future__ import annotations

import re
import time

from gateway.database.ids import new_id


def test_ids_are_one_of_a_kind_and_of_one_form() -> None:
    made = [new_id("req_") for _ in range(10_000)]

    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", each) for each in made)


def test_what_is_made_later_sorts_behind() -> None:
    first = new_id("req_")
    made_ms = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == made_ms:
        pass

    assert first < new_id("req_")
