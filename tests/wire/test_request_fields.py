"""What is known of fields."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.tables import reserve_settle
from gateway.model.edit import Upload
from gateway.model.errors import Refusal
from gateway.wire.request_fields import (
    MOST_IMAGES,
    canonical,
    check_name,
    edit_of,
    images_asked,
    is_streaming,
    may_repeat,
    number_text,
)

PICTURE = Upload("image", "d" * 64, 0, 1, "image/png")
PLAIN = (("model", "m"), ("prompt", "p"))


@pytest.mark.parametrize("text", ["1", "1.0", "1e0", "1.00", "10e-1", "0.1e1"])
def test_all_spellings_of_a_number_are_one(text: str) -> None:
    assert canonical("n", text) == "1"


@pytest.mark.parametrize("text", ["", " 1", "one", "1e999999999", "0x1", "١", "NaN", "1" * 50])
def test_what_is_no_plain_number_stays_as_it_is(text: str) -> None:
    assert canonical("width", text) == text


def test_an_unknown_field_is_exact_text() -> None:
    assert canonical("seed", "1.0") == "1.0"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12)))
def test_a_canonical_number_is_the_same_number(number: Decimal) -> None:
    text = number_text(format(number, "f"))
    assert Decimal(text) == number
    assert number_text(text) == text


@pytest.mark.parametrize(("text", "n"), [("1", 1), ("4.0", 4), ("1e1", 10)])
def test_n_is_a_whole_number(text: str, n: int) -> None:
    assert images_asked(text) == n


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "many", "²"])
def test_n_that_is_no_positive_whole_number_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        images_asked(text)
    assert (refused.value.code, refused.value.param) == ("invalid_field", "n")


@pytest.mark.parametrize("text", ["1001", "1e30", "99999999"])
def test_more_pictures_than_can_be_booked_are_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        images_asked(text)
    assert (refused.value.code, refused.value.facts) == ("unsupported_n", {"limit": 1_000})
    assert images_asked("1000") == reserve_settle.MOST_IMAGES == MOST_IMAGES


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("stream", text) for text in ("yes", "on", "2", "null", " true")),
        *(("partial_images", text) for text in ("4", "-1", "1.5", "many", "10")),
    ],
)
def test_how_a_stream_is_wanted_must_be_plain(name: str, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        edit_of("generations", (*PLAIN, (name, text)))
    assert (refused.value.code, refused.value.param) == ("invalid_field", name)


@pytest.mark.parametrize(
    "name", ["", "a\\", 'a"b', "a\r\nb", "a\x00", "a\u200b", "x" * 257, "\ud800"]
)
def test_a_name_that_could_do_harm_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="invalid_field"):
        check_name(name, 256)


def test_only_lists_and_references_may_repeat() -> None:
    assert all(map(may_repeat, ("image", "image[]", "image[0]", "tags[]", "a[][b]")))
    assert not any(map(may_repeat, ("prompt", "mask", "images", "a[b]")))


@pytest.mark.parametrize("missing", ["model", "prompt"])
def test_a_required_field_that_is_empty_is_missing(missing: str) -> None:
    fields = tuple((name, "" if name == missing else text) for name, text in PLAIN)
    with pytest.raises(Refusal) as refused:
        edit_of("edits", fields, (PICTURE,))
    assert (refused.value.code, refused.value.param) == ("missing_field", missing)


def test_an_edit_needs_a_picture_and_a_generation_none() -> None:
    with pytest.raises(Refusal) as refused:
        edit_of("edits", PLAIN)
    assert (refused.value.code, refused.value.param) == ("missing_field", "image")
    assert edit_of("generations", PLAIN).model == "m"


def test_a_mask_alone_is_no_reference() -> None:
    with pytest.raises(Refusal, match="missing_field"):
        edit_of("edits", PLAIN, (Upload("mask", "d", 0, 1, "image/png"),))


@pytest.mark.parametrize(("text", "streaming"), [("true", True), ("True", True), ("false", False)])
def test_streaming_is_asked_for_by_name(text: str, streaming: bool) -> None:
    assert is_streaming(edit_of("generations", (*PLAIN, ("stream", text)))) is streaming


@pytest.mark.parametrize("name", [
    "n[]", "[n]", "n]", "N", "n ", " n", "n[0]", "n.x", "ｎ", "model[]", "Model", "PROMPT",
    "prompt[a]", "Size",
    "output-format", "output format", "response_format[]", "Image", "image ",
    "output.format", "outputFormat", "output[format", "imageUrl", "safety-identifier", "n_",
    "IMAGE[]", "image.0", "image[0", "Mask", "mask.x", "Images", "Image_URL[]",
])  # fmt: skip
def test_a_name_that_can_be_read_as_a_known_field_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_name(name, 256)
    assert (refused.value.code, refused.value.param) == ("invalid_field", name)


@pytest.mark.parametrize("name", [
    "n", "image", "image[]", "image[0]", "mask", "mask[]", "layers[][n]", "nest[n]", "seed", "Seed",
    "tags[]", "new", "style[name]", "us[er]", "images_per_row", "image_size[width]", "aspect_ratio",
    "resolution", "user_id",
])  # fmt: skip
def test_other_names_stay(name: str) -> None:
    check_name(name, 256)


@pytest.mark.parametrize("name", ["n", "stream", "partial_images"])
def test_an_empty_number_or_boolean_is_unset(name: str) -> None:
    edit = edit_of("edits", (*PLAIN, (name, "")), (PICTURE,))
    assert edit.n == 1
    assert not is_streaming(edit)
