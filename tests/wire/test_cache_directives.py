"""Directives as they are written down, and read again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.cache_directives import Directives, parse

FLAG = st.booleans()
AGE = st.none() | st.integers(0, 999_999_999)


@given(st.builds(Directives, FLAG, FLAG, FLAG, AGE))
def test_what_is_written_of_directives_reads_as_the_same(directives: Directives) -> None:
    assert parse(directives.text, "") == directives


def test_their_text_is_one_form_of_whatever_was_sent() -> None:
    assert parse("No-Cache,  x=1, MAX-AGE=007", "v", "1").text == "no-cache, max-age=7"
    assert parse("", "").text == ""
