"""JSON requests as the forms that they stand for."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.model.edit import Edit
from gateway.model.errors import Refusal
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.uploaded_file import digest
from tests.support.bodies import data_url, document, png, read
from tests.support.hostile import JPEG

IMAGE = {"image_url": data_url(png(b"1"))}
LARGE = png(b"L" * 20_000)


def edit(**members: Any) -> Edit:
    members = {"model": "m", "prompt": "p", "images": [IMAGE], **members}
    return read(document(**members), "application/json")


def refused(body: bytes, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(body, "application/json", **options)
    return caught.value


def refused_edit(**members: Any) -> Refusal:
    return refused(document(**{"model": "m", "prompt": "p", "images": [IMAGE], **members}))


def test_members_become_the_fields_of_a_form() -> None:
    read_edit = edit(
        n=1.0,
        width=1024,
        ratio=768.50,
        stream=True,
        nothing=None,
        svg={"model": "x", "reasoning": {"effort": "low"}},
        tags=["b", "a"],
    )
    assert read_edit.fields == (
        ("model", "m"),
        ("prompt", "p"),
        ("n", "1"),
        ("width", "1024"),
        ("ratio", "768.5"),
        ("stream", "true"),
        ("svg[model]", "x"),
        ("svg[reasoning][effort]", "low"),
        ("tags[]", "b"),
        ("tags[]", "a"),
    )
    assert read_edit.n == 1
    assert read_edit.document == b""


def test_pictures_become_files_in_order() -> None:
    images = [{"image_url": data_url(LARGE)}, IMAGE, data_url(LARGE + b"2")]
    read_edit = edit(images=images, mask={"image_url": data_url(LARGE + b"3")})
    assert [u.field for u in read_edit.uploads] == ["image[]"] * 3 + ["mask"]
    assert [u.size for u in read_edit.uploads] == [
        len(LARGE),
        len(png(b"1")),
        len(LARGE) + 1,
        len(LARGE) + 1,
    ]
    assert {u.media_type for u in read_edit.uploads} == {"image/png"}


def test_the_true_type_is_what_the_bytes_say() -> None:
    lying = {"image_url": data_url(png(), "image/webp")}
    assert edit(images=[lying]).uploads[0].media_type == "image/png"


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_a_bare_image_is_taken_too(name: str) -> None:
    assert len(edit(**{"images": None, name: data_url(LARGE)}).references) == 1


@pytest.mark.parametrize(
    "source",
    [
        {"image_url": "https://example.test/x.png"},
        {"file_id": "file-123"},
        {"file_id": "file-123", "image_url": data_url(png())},
        "file-123",
        "",
    ],
)
@pytest.mark.parametrize("name", ["images", "mask"])
def test_addresses_and_file_ids_are_refused(name: str, source: Any) -> None:
    value = [source] if name == "images" else source
    refusal = refused_edit(**{name: value})
    assert (refusal.code, refusal.param) == ("unsupported_image_source", name)


@pytest.mark.parametrize("source", [{}, 5, True, ["x"], {"image_url": 5}])
def test_a_picture_of_another_shape_is_refused(source: Any) -> None:
    assert refused_edit(images=[source]).code == "invalid_field"


def test_a_data_url_that_is_no_picture_is_refused_saying_which() -> None:
    gif = data_url(b"GIF89a" + bytes(6_000), "image/gif")
    refusal = refused_edit(images=[IMAGE, {"image_url": gif}])
    assert refusal.code == "invalid_image"
    assert "a GIF" in refusal.message
    assert refused_edit(images=[{"image_url": "data:image/png;base64,"}]).code == "invalid_image"


def test_a_data_url_elsewhere_is_refused() -> None:
    assert refused_edit(style=data_url(LARGE)).code == "invalid_field"


def test_a_prompt_that_begins_like_a_data_url_is_a_prompt() -> None:
    prompt = "data: " + "a table of numbers " * 1_000
    assert dict(edit(prompt=prompt).fields)["prompt"] == prompt


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "prompt": "p", "model": "m"}',
        b'{"model": "m", "prompt": "p", "svg": {"a": 1, "a": 1}}',
        b'{"model": "m", "prompt": "p", "a": {"b": 1}, "a[b]": 2}',
    ],
)
def test_a_member_given_twice_is_refused(body: bytes) -> None:
    assert refused(body).code == "duplicate_field"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"model": NaN}',
        b'{"n": -Infinity}',
        b"\xff\xfe{}",
        b'{"prompt": "\xff"}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"prompt": "unended',
        b"{" + b'"a":1,' * 60_000 + b"}",
        b"{'model': 'm'}",
        '{"model": "m"}'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("route", ["edits", "generations"])
def test_what_is_no_json_object_is_refused(body: bytes, route: Any) -> None:
    assert refused(body, route=route).code == "invalid_json"


def test_deep_nesting_is_refused() -> None:
    deep = json.loads("[" * 30 + "]" * 30)
    assert refused_edit(style=deep).code == "invalid_field"
    body = b'{"model": "m", "prompt": "p", "x": ' + b"[" * 90 + b"]" * 90 + b"}"
    assert refused(body, route="generations").code == "invalid_field"


@pytest.mark.parametrize("value", ["\ud800", {"a": "\ud800"}])
def test_half_a_character_is_refused(value: Any) -> None:
    assert refused_edit(style=value).code == "invalid_field"


@pytest.mark.parametrize("name", ["", "a\r\nb", "\ud800", "x" * 300])
def test_a_member_whose_name_could_do_harm_is_refused(name: str) -> None:
    assert refused_edit(**{name: "v"}).code == "invalid_field"
    assert refused_edit(**{name: {"a": data_url(LARGE)}}).code == "invalid_field"


def test_text_beyond_the_bound_is_refused_though_pictures_may_be_large() -> None:
    limits = UploadLimits(max_document_bytes=2_000)
    body = document(model="m", prompt="p", images=[{"image_url": data_url(LARGE)}])
    assert read(body, "application/json", limits=limits).uploads[0].size == len(LARGE)
    body = document(model="m", prompt="p" * 3_000, images=[IMAGE])
    assert refused(body, limits=limits).code == "body_too_large"


def test_a_picture_beyond_the_bound_is_refused() -> None:
    body = document(model="m", prompt="p", images=[{"image_url": data_url(LARGE)}])
    assert refused(body, limits=UploadLimits(max_image_bytes=9_999)).code == "image_too_large"
    assert refused(body, limits=UploadLimits(max_data_url_chars=9_999)).code == "image_too_large"


def test_too_many_pictures_are_refused() -> None:
    body = document(model="m", prompt="p", images=[IMAGE] * 65)
    assert refused(body).code == "invalid_field"


def test_bad_base64_is_refused() -> None:
    packed = base64.b64encode(LARGE).decode()
    url = "data:image/png;base64," + packed[:9_000] + "*" + packed[9_001:]
    assert refused_edit(images=[{"image_url": url}]).code == "invalid_image"


def test_items_with_members_are_numbered_so_that_none_runs_into_the_next() -> None:
    def layers(*items: Any) -> list[tuple[str, str]]:
        return [field for field in edit(layers=list(items)).fields if "layers" in field[0]]

    assert layers({"x": 1, "y": 2}, {"x": 3}) == [
        ("layers[0][x]", "1"),
        ("layers[0][y]", "2"),
        ("layers[1][x]", "3"),
    ]
    assert layers({"x": 1}, {"y": 2}) != layers({"x": 1, "y": 2})
    assert layers([1, 2], [3]) != layers([1], [2, 3])
    assert layers(1, 2) == [("layers[]", "1"), ("layers[]", "2")]


@pytest.mark.parametrize("name", ["mask", "mask[]", "mask[0]"])
def test_a_mask_of_any_name_is_the_mask_and_there_is_one(name: str) -> None:
    assert edit(**{name: IMAGE}).uploads[-1].field == "mask"
    if name != "mask":
        assert refused_edit(**{"mask": IMAGE, name: IMAGE}).code == "duplicate_field"
        assert refused_edit(**{name: [IMAGE, IMAGE]}).code == "duplicate_field"


@pytest.mark.parametrize(
    "name", ["image", "images", "image[]", "image_url", "image_urls", "mask", "mask[0]"]
)
def test_a_generation_takes_no_pictures(name: str) -> None:
    for value in ("https://x.test/a.png", ["https://x.test/a.png"], IMAGE):
        body = document(model="m", prompt="p", **{name: value})
        refusal = refused(body, route="generations")
        assert refusal.code == "unsupported_image_source"
        assert refusal.param == name.partition("[")[0]


@pytest.mark.parametrize("name", ["image_url", "image_urls", "images[0]"])
def test_an_edit_takes_no_pictures_under_other_names(name: str) -> None:
    assert refused_edit(**{name: "https://x.test/a.png"}).code == "unsupported_image_source"


def test_a_generation_goes_on_with_everything_that_was_written() -> None:
    body = (
        b'{ "prompt":"p\\u00fc", "model":"m", "n": 2.0, "style": {"b": [1.50], "a": 1}, "x": null }'
    )
    made = read(body, "application/json", route="generations")
    assert made.document == (
        b'{"model":"m","n":2,"prompt":"p\\u00fc","style":{"b":[1.50],"a":1},"x":null}'
    )
    assert dict(made.fields) == {
        "model": "m", "prompt": "pü", "n": "2", "style": '{"b":[1.50],"a":1}'
    }  # fmt: skip
    assert made.n == 2


@pytest.mark.parametrize("name", ["model", "prompt"])
@pytest.mark.parametrize("value", [{}, {"text": "p"}, [], ["p"], 42, 1.0, True])
def test_a_generation_whose_model_or_prompt_is_no_text_is_refused(name: str, value: Any) -> None:
    body = document(**{"model": "m", "prompt": "p", name: value})
    refusal = refused(body, route="generations")
    assert (refusal.code, refusal.param) == ("invalid_field", name)


@pytest.mark.parametrize("size", [60, 9_000])
@pytest.mark.parametrize("escaped", [False, True])
def test_a_picture_may_be_plain_base64(size: int, escaped: bool) -> None:
    for content in (png(bytes(size)), JPEG + bytes(size)):
        packed = base64.b64encode(content).decode()
        for value in (packed, {"image_url": packed}, [packed]):
            body = document(model="m", prompt="p", image=value, mask={"image_url": packed})
            if escaped:
                body = body.replace(b"/", b"\\/")
            edit = read(body, "application/json", sizes=(5, 4_096))
            assert [upload.digest for upload in edit.uploads] == [digest(content)] * 2
