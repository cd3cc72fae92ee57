"""`Retry-After` in every form that is met."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.rules.retry_after import retry_after_seconds

NOW = 1_795_651_200.0  # Thu, 26 Nov 2026 00:00:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 26 Nov 2026 00:00:12 GMT"}, 12.0),
        ({"retry-after": "Thu, 26 Nov 2026 02:00:12 +0200"}, 12.0),
        ({"retry-after": "Thursday, 26-Nov-26 00:00:12 GMT"}, 12.0),
        ({"retry-after": "Thu Nov 26 00:00:12 2026"}, 12.0),
        ({"retry-after": "Wed, 25 Nov 2026 23:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 32 Nov 2026 00:00:12 GMT"}, None),
        ({"retry-after": "Thu, 26 Nov 99999999999999999999 00:00:12 GMT"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


def test_a_date_is_reckoned_from_the_answer_s_own_where_there_is_one() -> None:
    headers = {
        "date": "Thu, 26 Nov 2026 10:00:00 GMT",
        "retry-after": "Thu, 26 Nov 2026 10:00:05 GMT",
    }
    assert retry_after_seconds(headers, NOW) == 5.0


@given(st.text(), st.text())
def test_nothing_that_is_sent_is_a_fault_of_ours(said: str, date: str) -> None:
    found = retry_after_seconds({"retry-after": said, "date": date}, NOW)
    assert found is None or found >= 0
