"""JSON text without its long strings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.json_cutter import Cutter, LongString, Number, compact, plain_parse, write

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def cut(
    text: bytes, sizes: list[int], longest: int = 6, prefix: bytes = b""
) -> tuple[Cutter, list[bytes]]:
    cutter, strings = Cutter(longest=longest, prefixes=(prefix,)), list[bytes]()
    position, turn = 0, 0
    while position < len(text):
        size = sizes[turn % len(sizes)]
        for piece in cutter.feed(text[position : position + size]):
            strings[piece.index :] = [b"".join(strings[piece.index :]) + bytes(piece.data)]
        position, turn = position + size, turn + 1
    return cutter, strings


@given(JSON, st.booleans(), st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_cutting_and_filling_gives_the_same_document(
    value: Any, escaped: bool, sizes: list[int]
) -> None:
    text = json.dumps([value], ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    cutter, strings = cut(text, sizes)
    if any(len(name) > 6 for name in names_in(value)):
        return
    try:
        tree = cutter.parse()
    except UnicodeDecodeError:  # a lone surrogate is no UTF-8
        return
    assert json.loads(b"".join(write(tree, strings))) == [value]


def names_in(value: Any) -> list[bytes]:
    if isinstance(value, dict):
        inner = [name for member in value.values() for name in names_in(member)]
        return [json.dumps(name).encode() for name in value] + inner
    return [name for item in value for name in names_in(item)] if isinstance(value, list) else []


def test_only_long_strings_are_cut() -> None:
    cutter, strings = cut(b'{"a": "123456", "b": "1234567"}', [1000])
    assert cutter.parse() == {"a": "123456", "b": LongString(0)}
    assert strings == [b"1234567"]


def test_only_strings_with_the_prefix_are_cut() -> None:
    cutter, strings = cut(b'["data:123456", "another long one"]', [3], prefix=b"data:")
    assert cutter.parse() == [LongString(0), "another long one"]
    assert strings == [b"data:123456"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_an_escaped_quote_does_not_end_a_string(size: int) -> None:
    text = rb'["ab\"cdefg\\", "\\\\\"\\\\xyz\\"]'
    cutter, strings = cut(text, [size])
    assert json.loads(b"".join(write(cutter.parse(), strings))) == json.loads(text)
    assert len(strings) == 2


def test_numbers_stay_as_they_were_written() -> None:
    assert compact(plain_parse(b"[0.010, 1E5, 123456789012345678901234567890, -0]")) == (
        "[0.010,1E5,123456789012345678901234567890,-0]"
    )


def test_a_number_of_a_million_digits_is_no_trouble() -> None:
    assert plain_parse(b"9" * 1_000_000) == Number("9" * 1_000_000)


def test_numbers_that_look_like_a_hole_are_numbers() -> None:
    text = b'[0e-00000, 0e-000000, "long enough to cut", "e-0000000"]'
    cutter, strings = cut(text, [1000])
    assert cutter.parse() == [Number("0e-00000"), Number("0e-000000"), LongString(0), LongString(1)]
    assert len(strings) == 2


@pytest.mark.parametrize(
    "text",
    [b'[1"long enough"]', b'["long enough"2]', b'["long enough""long enough"]', b'["long eno', b""],
)
def test_broken_text_does_not_become_whole_by_cutting(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        cut(text, [1000])[0].parse()


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(ValueError, match="deep"):
        plain_parse(b"[" * 1_000_000)
    with pytest.raises(ValueError, match="deep"):
        compact(plain_parse(b"[" * 80 + b"]" * 80))


def test_a_run_of_escaped_quotes_takes_time_in_proportion() -> None:
    """Quadratic work here would take minutes."""
    cutter, strings = cut(b'["' + rb"\"" * 200_000 + b'"]', [65_536])
    assert cutter.parse() == [LongString(0)]
    assert len(strings[0]) == 400_000
