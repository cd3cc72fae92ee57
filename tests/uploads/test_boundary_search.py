"""The search for a boundary finds what Python does, at a fraction of the time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from stringzilla import find

WORD = b"\r\n--ab"
PIECES = st.sampled_from([b"\r", b"\n", b"-", b"--", b"a", WORD, WORD[:-1], b"\0" * 20_000])


@given(st.lists(PIECES, max_size=12), st.integers(0, 70_000))
def test_it_finds_the_first_place_from_a_start_on(pieces: list[bytes], start: int) -> None:
    data = b"".join(pieces)
    start = min(start, len(data))

    assert find(data, WORD, start) == data.find(WORD, start)


def test_what_lies_at_the_very_end_is_found_and_what_is_cut_off_is_not() -> None:
    long = bytes(100_000)

    assert find(long + WORD, WORD, 0) == len(long)
    assert find(long + WORD[:-1], WORD, 0) == -1
    assert find(WORD + long, WORD, 1) == -1
