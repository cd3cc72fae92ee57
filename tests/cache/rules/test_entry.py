import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.rules.entry import (
    DamagedEntry,
    Entry,
    body_offset,
    decode,
    encode,
    may_serve,
    pack_head,
    unpack_head,
)
from tests.support.results import NOW_MS, PLAIN, entry_of

ENTRIES = st.builds(Entry)


@given(ENTRIES)
def test_an_entry_reads_back_as_it_was(entry: Entry) -> None:
    assert decode(encode(entry)) == entry


@given(ENTRIES, st.binary(max_size=50))
def test_an_object_reads_back_as_entry_and_body(entry: Entry, body: bytes) -> None:
    content = pack_head(entry) + body
    assert unpack_head(content) == entry
    assert content[body_offset(content[:8]) :] == body


@given(ENTRIES, st.data())
def test_an_object_cut_within_its_head_is_damaged(entry: Entry, data: st.DataObject) -> None:
    head = pack_head(entry)
    with pytest.raises(DamagedEntry):
        unpack_head(head[: data.draw(st.integers(0, len(head) - 1))])


@given(st.binary() | st.text() | st.none() | st.integers())
def test_anything_else_is_damaged_and_raises_nothing_else(text: object) -> None:
    with pytest.raises(DamagedEntry):
        decode(text)


@given(st.binary())
def test_any_other_object_is_damaged_and_raises_nothing_else(content: bytes) -> None:
    with pytest.raises(DamagedEntry):
        unpack_head(content)


@given(ENTRIES, st.sampled_from(list(Entry.__dataclass_fields__)), st.data())
def test_a_field_of_the_wrong_kind_is_damaged(
    entry: Entry, field: str, data: st.DataObject
) -> None:
    facts = json.loads(encode(entry))
    wrong = [True, 1.5, {}, [1], "1" if isinstance(facts[field], int) else 1]
    if field == "cost_nanos":
        wrong[-1] = "0.01"
    facts[field] = data.draw(st.sampled_from(wrong))
    with pytest.raises(DamagedEntry):
        decode(json.dumps(facts))


def test_a_deeply_nested_header_is_damaged() -> None:
    with pytest.raises(DamagedEntry):
        decode("[" * 100_000)


def test_a_newer_gateways_extra_fields_are_passed_over() -> None:
    facts = {**json.loads(encode(PLAIN)), "thumbnail": "x"}
    assert decode(json.dumps(facts)) == PLAIN


def test_another_format_is_damaged() -> None:
    with pytest.raises(DamagedEntry):
        decode(json.dumps({**json.loads(encode(PLAIN)), "format": 2}))


def test_a_header_is_one_line_of_ascii() -> None:
    text = encode(replace(PLAIN, model="mödel\n\ud800"))
    assert text.isascii()
    assert "\n" not in text


@pytest.mark.parametrize(
    ("age_ms", "max_age_seconds", "served"),
    [
        (0, None, True),
        (86_399_999, None, True),
        (86_400_000, None, False),
        (0, 0, False),
        (59_999, 60, True),
        (60_000, 60, False),
        (-5_000, 1, True),  # made by a machine whose clock is ahead
    ],
)
def test_an_entry_serves_until_it_expires_and_while_it_is_young_enough(
    age_ms: int, max_age_seconds: int | None, served: bool
) -> None:
    assert may_serve(entry_of(b""), NOW_MS + age_ms, max_age_seconds) is served
