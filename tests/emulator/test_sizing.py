from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.emulator.refusals import Refused
from gateway.emulator.sizing import LARGEST_SIDE, asked_size


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, None),
        ({"size": "auto", "aspect_ratio": "auto"}, None),
        ({"size": "1024X768"}, (1024, 768)),
        ({"image_size": "2k", "aspect_ratio": "3:2"}, (2048, 1365)),
        ({"resolution": "4K", "aspect_ratio": "9:16"}, (2304, 4096)),
        ({"width": "10", "height": "20", "size": "64x64"}, (10, 20)),
        ({"size": "64x64", "aspect_ratio": "16:9"}, (64, 64)),
    ],
)
def test_the_fields_name_a_size(fields: dict[str, str], size: tuple[int, int] | None) -> None:
    assert asked_size(fields) == size


NUMBERS = st.integers(min_value=0, max_value=99_999).map(str)
VALUES = st.one_of(
    st.sampled_from(["auto", "1K", "4k", ""]),
    NUMBERS,
    st.tuples(NUMBERS, st.sampled_from("x:"), NUMBERS).map("".join),
    st.text(max_size=8),
)
NAMES = st.sampled_from(["width", "height", "size", "image_size", "resolution", "aspect_ratio"])


@given(st.dictionaries(NAMES, VALUES))
def test_any_fields_give_a_drawable_size_or_a_refusal(fields: dict[str, str]) -> None:
    try:
        size = asked_size(fields)
    except Refused:
        return
    assert size is None or all(1 <= side <= LARGEST_SIDE for side in size)
