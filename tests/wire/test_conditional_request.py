"""Conditional requests and ranges, by the words of RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.conditional_request import (
    ByteRange,
    RangeNotSatisfiable,
    byte_range,
    status_of_conditions,
)

ETAG, SIZE = '"tag"', 100


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=10-19", ByteRange(10, 20)),
        ("Bytes= 10-19 ", ByteRange(10, 20)),
        ("bytes=90-", ByteRange(90, 100)),
        ("bytes=90-1000", ByteRange(90, 100)),
        ("bytes=-1", ByteRange(99, 100)),
        ("bytes=-1000", ByteRange(0, 100)),
        ("bytes=0-" + "9" * 300, ByteRange(0, 100)),
    ],
)
def test_a_single_range_is_cut_to_what_there_is(text: str, wanted: ByteRange) -> None:
    assert byte_range({"range": text}, ETAG, SIZE) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "bytes=0-1,3-4", "bytes=0-1, bytes=3-4",
     "lines=0-1", "0-1", "bytes=0-" + "9" * 5_000, "bytes=-1-2", "bytes=\u0661-"],
)  # fmt: skip
def test_what_is_no_single_range_of_bytes_is_ignored(text: str) -> None:
    assert byte_range({"range": text}, ETAG, SIZE) is None


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999-"])
def test_a_range_of_nothing_is_not_satisfiable(text: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        byte_range({"range": text}, ETAG, SIZE)


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_the_pieces_of_any_range_are_those_of_python(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    try:
        found = byte_range({"range": f"bytes={first}-{last}"}, ETAG, size)
    except RangeNotSatisfiable:
        assert first >= size
        return
    if first > last:
        assert found is None
    else:
        assert found
        assert content[found.start : found.stop] == content[first : last + 1]


@pytest.mark.parametrize("given", ['"other"', f"W/{ETAG}", "Sun, 29 Nov 2026 12:00:00 GMT", ""])
def test_a_range_of_another_representation_is_ignored(given: str) -> None:
    headers = {"range": "bytes=0-1"}
    assert byte_range({**headers, "if-range": given}, ETAG, SIZE) is None
    assert byte_range({**headers, "if-range": ETAG}, ETAG, SIZE) == ByteRange(0, 2)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if-none-match": ETAG}, 304),
        ({"if-none-match": f'"a", W/{ETAG}'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"a"'}, 200),
        ({"if-none-match": "tag"}, 200),
        ({"if-match": ETAG}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f"W/{ETAG}"}, 412),
        ({"if-match": '"a"'}, 412),
        ({"if-match": '"a"', "if-none-match": ETAG}, 412),
        ({"if-match": ETAG, "if-none-match": ETAG}, 304),
    ],
)
def test_conditions_are_decided_in_their_order(headers: dict[str, str], status: int) -> None:
    assert status_of_conditions(headers, ETAG) == status
