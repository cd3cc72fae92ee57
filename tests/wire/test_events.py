"""Events of a stream: read in any pieces, told apart, and made of plain answers."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.answer import read_answer
from gateway.wire.events import (
    HEARTBEAT,
    Event,
    EventParser,
    TooLarge,
    completed_events,
    error_event,
    kind_of,
    plain_body,
)

PICTURE = "iVBORw0KGgo" + base64.b64encode(os.urandom(3_000)).decode()
COMPLETED = {
    "type": "image_edit.completed",
    "b64_json": PICTURE,
    "created_at": 1782595538,
    "size": "64x64",
    "quality": "high",
    "background": "opaque",
    "output_format": "png",
    "usage": {"cost": {"total_cost": 0.01}},
}
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
TEXT = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=12)


def completed(**changes: Any) -> Event:
    document = {**COMPLETED, **changes}
    given = {name: value for name, value in document.items() if value is not None}
    return Event("image_edit.completed", json.dumps(given).encode())


def parsed(stream: bytes, sizes: list[int] | None = None, most: int = 10_000) -> list[Event]:
    """The events of a stream that comes in pieces of these sizes, over and over."""
    parser, found, position, turn = EventParser(most), list[Event](), 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)] if sizes else len(stream)
        found += parser.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    return found


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Streams of fields, comments and blank lines, with every kind of line end."""
    fields = st.builds(
        lambda name, colon, value: (name + colon + value).encode(),
        st.sampled_from(["data", "event", "id", "retry", "", "dat", "\ufeffdata"]),
        st.sampled_from([":", ": ", ":  ", ""]),
        TEXT,
    )
    lines = draw(st.lists(st.one_of(fields, st.just(b"")), max_size=20))
    return b"".join(line + draw(LINE_ENDS) for line in lines)


@given(streams(), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_stream_gives_the_same_events_in_whatever_pieces_it_comes(
    stream: bytes, sizes: list[int]
) -> None:
    assert parsed(stream, sizes) == parsed(stream)


@given(
    st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3)), max_size=5),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    LINE_ENDS,
)
def test_what_is_written_is_read_back(
    told: list[tuple[str, list[str]]], sizes: list[int], line_end: bytes
) -> None:
    events = [Event(name, "\n".join(lines).encode()) for name, lines in told if any(lines)]
    stream = b": hello\n\n".join((b"", *(event.encode() for event in events)))
    assert parsed(stream.replace(b"\n", line_end), sizes) == events


def test_names_data_comments_and_unknown_fields_are_told_apart() -> None:
    stream = (
        b"\xef\xbb\xbf: hello\n\nevent: a\nid: 7\ndata: one\ndata:two\ndata\nretry: 5\n\n"
        b"event: nothing\n\ndata:  b\n\n"
    )
    assert parsed(stream) == [Event("a", b"one\ntwo\n"), Event("", b" b")]


def test_an_event_that_the_stream_breaks_off_in_is_none() -> None:
    assert parsed(b"data: a\n\ndata: b\n") == [Event("", b"a")]


def test_an_event_comes_with_its_blank_line_and_not_with_the_next_one() -> None:
    parser = EventParser(100)
    assert parser.feed(b"data: a\r\n\r") == [Event("", b"a")]
    assert parser.feed(b"\n: more\r\n\r\n") == []


def test_heartbeats_are_no_events() -> None:
    assert parsed(HEARTBEAT * 3) == []


@pytest.mark.parametrize("unit", [b"data: 1234567\n", b"x", b": comment without an end"])
def test_an_event_is_bounded_however_it_grows(unit: bytes) -> None:
    with pytest.raises(TooLarge):
        parsed(unit * 100, [7], most=50)


def test_many_events_comments_and_names_are_not_taken_for_one_large_event() -> None:
    stream = b"event: name\n: comment\ndata: 1234567\n\n" * 100
    assert len(parsed(stream, most=60)) == 100


def test_a_large_event_in_many_pieces_is_read_in_no_time() -> None:
    stream = b"data: " + b"A" * 16_000_000 + b"\n\n"
    started = time.perf_counter()
    events = parsed(stream, [65_536], most=20_000_000)
    assert time.perf_counter() - started < 0.5
    assert len(events[0].data) == 16_000_000


@pytest.mark.parametrize("route", ["image_edit", "image_generation"])
@pytest.mark.parametrize(
    ("end", "kind"), [("partial_image", "partial"), ("completed", "completed")]
)
def test_an_event_is_known_by_its_type_or_else_by_its_name(route: str, end: str, kind: str) -> None:
    told = json.dumps({"type": f"{route}.{end}", "b64_json": PICTURE}).encode()
    assert kind_of(Event("", told)) == kind
    assert kind_of(Event("something", told)) == kind
    assert kind_of(Event(f"{route}.{end}", b'{"b64_json": "x"}')) == kind


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("", '{"error": {"message": "no"}}', "error"),
        ("error", '{"message": "no"}', "error"),
        ("", '{"type": "error", "message": "no"}', "error"),
        ("image_edit.completed", '{"error": {"message": "no"}}', "error"),
        ("", '{"type": "image_edit.queued"}', "other"),
        ("image_edit.completed", '{"error": null}', "completed"),
        ("image_edit.completed", '{"b64_json": "iVBOR', "completed"),
        ("image_edit.partial_image", '{"b64_json": "iVBOR', None),
        ("", "[DONE]", None),
        ("", "[1]", None),
        ("", "hello", None),
    ],
)
def test_errors_unknown_and_unreadable_events_are_told_apart(
    name: str, data: str, kind: str | None
) -> None:
    assert kind_of(Event(name, data.encode())) == kind


def test_a_completed_event_becomes_the_plain_answer() -> None:
    body = plain_body(completed(), "deepshi-image-1")
    assert json.loads(body) == {
        "created": 1782595538,
        "model": "deepshi-image-1",
        "data": [{"b64_json": PICTURE, "index": 0}],
        "size": "64x64",
        "quality": "high",
        "background": "opaque",
        "output_format": "png",
        "usage": {"cost": {"total_cost": 0.01}},
    }
    answered = read_answer(body, "usage.cost.total_cost")
    assert (answered.valid, answered.pictures, answered.cost_nanos) == (True, 1, 10_000_000)


def test_what_only_this_upstream_tells_stays_in_the_plain_answer() -> None:
    event = completed(revised_prompt="grey", model="theirs", seed=7)
    document = json.loads(plain_body(event, "asked"))
    assert document["data"][0]["revised_prompt"] == "grey"
    assert (document["model"], document["seed"]) == ("theirs", 7)


def test_a_whole_answer_within_a_completed_event_stays_one() -> None:
    event = completed(b64_json=None, data=[{"b64_json": "x"}, {"b64_json": "y"}])
    assert json.loads(plain_body(event, "m"))["data"] == [{"b64_json": "x"}, {"b64_json": "y"}]


def test_a_completed_event_without_a_picture_is_no_valid_answer() -> None:
    assert not read_answer(plain_body(completed(b64_json=None), "m"), "usage.cost").valid


@pytest.mark.parametrize("data", [b"{", b"[]", b'"text"'])
def test_a_completed_event_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        plain_body(Event("image_edit.completed", data), "m")


def test_a_plain_answer_becomes_a_completed_event() -> None:
    plain = {
        "created": 5,
        "model": "deepshi-image-1",
        "size": "1024x1024",
        "data": [{"b64_json": PICTURE, "index": 0, "revised_prompt": "grey"}],
        "usage": {"cost": {"total_cost": 0, "saved_cost": 0.01}},
    }
    (event,) = parsed(completed_events(json.dumps(plain).encode(), "edits"))
    assert event.name == "image_edit.completed"
    assert kind_of(event) == "completed"
    assert json.loads(event.data) == {
        "type": "image_edit.completed",
        "b64_json": PICTURE,
        "revised_prompt": "grey",
        "created_at": 5,
        "model": "deepshi-image-1",
        "size": "1024x1024",
        "quality": "auto",
        "background": "auto",
        "output_format": "png",
        "usage": {"cost": {"total_cost": 0, "saved_cost": 0.01}},
    }


def test_there_and_back_says_the_same() -> None:
    event = completed(model="m")
    (again,) = parsed(completed_events(plain_body(event, "m"), "edits"))
    assert json.loads(again.data) == json.loads(event.data)


def test_a_generation_s_event_is_named_as_one() -> None:
    stream = completed_events(b'{"data": [{"b64_json": "/9j/4AAQ"}]}', "generations")
    (event,) = parsed(stream)
    assert event.name == json.loads(event.data)["type"] == "image_generation.completed"
    assert json.loads(event.data)["output_format"] == "jpeg"


def test_several_pictures_are_several_events_and_cost_once() -> None:
    body = b'{"data": [{"b64_json": "x"}, {"url": "y"}], "usage": {"cost": 1}}'
    first, second = (json.loads(event.data) for event in parsed(completed_events(body, "edits")))
    assert (first["b64_json"], second["url"]) == ("x", "y")
    assert "usage" not in first
    assert second["usage"] == {"cost": 1}


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"data": []}', b'{"data": [1]}', b"{}"])
def test_an_answer_without_pictures_makes_no_event(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        completed_events(body, "edits")


def test_an_error_event_is_unnamed_and_known_again() -> None:
    stream = error_event(b'{"error": {\n"message": "no"}}')
    assert stream.startswith(b"data: ")
    (event,) = parsed(stream)
    assert kind_of(event) == "error"
    assert json.loads(event.data) == {"error": {"message": "no"}}
