"""Request bodies as clients send them, and as they must not be sent."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from blake3 import blake3
from hypothesis import event, given, settings

from gateway.cache.rules.fingerprint import Sharing, fingerprint
from gateway.model.edit import AdapterFacts, Edit
from gateway.model.errors import Refusal
from gateway.uploads.reader import read_edit
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.spool import Spool, SpoolMemory
from gateway.uploads.uploaded_file import digest
from gateway.wire.multipart_writer import encode
from tests.support.bodies import (
    BOUNDARY,
    EarlyChecks,
    FormPart,
    arriving,
    data_url,
    document,
    driven,
    file,
    form,
    form_type,
    png,
    read,
    text,
    usual,
)
from tests.support.hostile import EMPTY_SEGMENT, FRAME, GIF, HUGE, JPEG, ROUTES, SIZES, requests


def refused(body: bytes, content_type: str | None = None, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(body, content_type, **options)
    return caught.value


def refused_form(*parts: FormPart, **options: Any) -> Refusal:
    return refused(form([*usual(), *parts]), **options)


# --- what is taken ----------------------------------------------------------------------


def test_an_edit_is_read_whole_and_in_order() -> None:
    image = png(os.urandom(200_000))
    body = form([*usual(image, JPEG, size="1024x1024"), file("mask", png(b"m"))])
    spool = Spool()
    edit = read(body, spool=spool, sizes=(1_000, 65_536, 3))
    assert edit.model == "deepshi-image-1"
    assert edit.fields[2] == ("size", "1024x1024")
    assert [u.field for u in edit.uploads] == ["image[]", "image[]", "mask"]
    assert [u.media_type for u in edit.uploads] == ["image/png", "image/jpeg", "image/png"]
    assert [spool.read(u.offset, u.size) for u in edit.uploads] == [image, JPEG, png(b"m")]
    assert edit.uploads[0].digest == blake3(image).hexdigest()
    assert edit.body_bytes == len(body)
    assert len(edit.references) == 2


async def test_a_large_upload_goes_through_the_file_unharmed(tmp_path: Path) -> None:
    images = [png(os.urandom(3 << 20)), png(os.urandom(100)), png(os.urandom(2 << 20))]
    spool = Spool(SpoolMemory(1 << 20), str(tmp_path))
    edit = await read_edit(
        arriving(form(usual(*images)), (65_536, 1_000_000)),
        form_type(),
        route="edits",
        limits=UploadLimits(),
        spool=spool,
        checks=EarlyChecks(),
    )
    kept = [hashlib.sha256(spool.read(u.offset, u.size)).digest() for u in edit.uploads]
    assert kept == [hashlib.sha256(image).digest() for image in images]
    assert [u.digest for u in edit.uploads] == [digest(image) for image in images]
    spool.close()


async def test_a_large_data_url_goes_through_the_file_unharmed(tmp_path: Path) -> None:
    images = [png(os.urandom(2 << 20)), png(os.urandom(1 << 20))]
    spool = Spool(SpoolMemory(1 << 20), str(tmp_path))
    body = document(model="m", prompt="p", images=[{"image_url": data_url(i)} for i in images])
    edit = await read_edit(
        arriving(body, (65_536, 1_000_000)),
        "application/json",
        route="edits",
        limits=UploadLimits(),
        spool=spool,
        checks=EarlyChecks(),
    )
    assert [u.digest for u in edit.uploads] == [digest(image) for image in images]
    kept = [spool.read(u.offset, u.size) for u in edit.uploads]
    assert kept == images
    spool.close()


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_a_form_that_httpx_wrote_is_the_same_edit(name: str) -> None:
    request = httpx.Request(
        "POST",
        "http://gateway.test/v1/images/edits",
        data={"model": "deepshi-image-1", "prompt": "make it grey", "n": 1},
        files=[(name, ('größe "x".png', png(b"1"), "image/png"))],
    )
    edit = read(request.read(), request.headers["content-type"])
    ours = read(form(usual(png(b"1"), n="1")))
    assert address(edit) == address(ours)


def address(edit: Edit) -> str:
    return fingerprint(edit, Sharing("s", "u"), digest=digest, facts=AdapterFacts()).key


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1_000_000])
def test_how_the_body_is_cut_into_chunks_does_not_matter(size: int) -> None:
    tricky = png(b"\r\n--" + BOUNDARY[:-1].encode() + b"\r\n\r\r\n-" * 5)
    spool = Spool()
    edit = read(form(usual(tricky)), spool=spool, sizes=(size,))
    assert spool.read(edit.uploads[0].offset, edit.uploads[0].size) == tricky


def test_image_and_image_list_together_are_all_references_in_order() -> None:
    names = ["image", "image[]", "image", "image[7]"]
    parts = [file(name, png(name.encode() + bytes([at]))) for at, name in enumerate(names)]
    edit = read(form([text("model", "m"), text("prompt", "p"), *parts]))
    assert [u.field for u in edit.references] == names


def test_the_prompt_is_exact() -> None:
    prompt = "  zwei\r\nZeilen, \t and 絵 \x00 "
    assert dict(read(form(usual(prompt=prompt))).fields)["prompt"] == prompt


def test_lists_may_repeat_and_unknown_fields_are_kept() -> None:
    edit = read(form([*usual(), text("tags[]", "b"), text("tags[]", "a"), text("svg[model]", "x")]))
    assert edit.fields[2:] == (("tags[]", "b"), ("tags[]", "a"), ("svg[model]", "x"))


@pytest.mark.parametrize("name", ["image", "mask", "other"])
def test_a_file_input_left_empty_is_as_if_it_were_not_there(name: str) -> None:
    empty = FormPart(name, b"", "", "application/octet-stream")
    edit = read(form([empty, *usual(), empty]))
    assert replace(edit, body_bytes=0) == replace(read(form(usual())), body_bytes=0)


def test_a_picture_without_a_file_name_is_still_a_picture() -> None:
    parts = [text("model", "m"), text("prompt", "p"), FormPart("image", png(b"x"))]
    assert read(form(parts)).uploads[0].media_type == "image/png"
    assert read(form([*parts, FormPart("markup", png(b"y"), "", "image/png")])).uploads[1].size


def test_other_files_travel_with_the_type_that_their_bytes_show() -> None:
    edit = read(form([*usual(), file("markup", JPEG), file("extra", b"\x01\x02")]))
    assert [u.media_type for u in edit.uploads[1:]] == ["image/jpeg", "application/octet-stream"]


def test_names_keep_their_umlauts_and_file_names_are_forgotten() -> None:
    edit = read(form([*usual(), text("größe", "1"), file("extra", b"x", 'a%22\\b"; x="/etc')]))
    assert edit.fields[-1] == ("größe", "1")
    assert "etc" not in repr(edit)


def test_a_generation_may_be_a_form_too() -> None:
    edit = read(
        form([text("model", "m"), text("prompt", "p"), text("n", "2")]), route="generations"
    )
    assert (edit.n, edit.document, edit.uploads) == (2, b"", ())


def test_what_follows_the_closing_boundary_is_ignored_but_counted() -> None:
    body = form(usual()) + b"\r\nepilogue" * 100
    assert read(body).body_bytes == len(body)
    assert refused(body, limits=UploadLimits(max_body_bytes=len(body) - 1)).code == "body_too_large"


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model", "prompt"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_field_is_named(name: str, empty: bool) -> None:
    parts = [part for part in usual() if part.name != name]
    refusal = refused(form([*parts, text(name, "")] if empty else parts))
    assert (refusal.code, refusal.param) == ("missing_field", name)


def test_a_missing_image_is_named() -> None:
    refusal = refused(form(usual()[:2]))
    assert (refusal.code, refusal.param) == ("missing_field", "image")


@pytest.mark.parametrize("name", ["model", "prompt", "n", "mask", "unknown"])
def test_a_field_given_twice_is_refused(name: str) -> None:
    part = file(name, png()) if name == "mask" else text(name, "1")
    refusal = refused_form(part, part)
    assert (refusal.code, refusal.param) == ("duplicate_field", name)


@pytest.mark.parametrize("second", ["mask", "mask[]", "mask[0]"])
def test_there_is_one_mask_whatever_it_is_called(second: str) -> None:
    edit = read(form([*usual(), file("mask[]", png(b"m"))]))
    assert [u.field for u in edit.uploads] == ["image[]", "mask"]
    assert refused_form(file("mask[]", png()), file(second, png())).code == "duplicate_field"


@pytest.mark.parametrize("name", ["image", "image[]", "images", "mask", "image_url"])
def test_a_generation_in_a_form_takes_no_pictures(name: str) -> None:
    parts = [text("model", "m"), text("prompt", "p"), file(name, png())]
    assert refused(form(parts), route="generations").code == "unsupported_image_source"


@pytest.mark.parametrize("name", ["images[]", "image_urls[]", "image_url"])
def test_pictures_of_an_edit_go_by_no_other_name(name: str) -> None:
    assert refused_form(file(name, png())).code == "unsupported_image_source"


@pytest.mark.parametrize("written", [b'"n\\"', b'"a\\"b"'])
def test_a_name_that_could_end_its_own_quotes_is_refused(written: bytes) -> None:
    body = raw(b"Content-Disposition: form-data; name=" + written)
    assert refused(body).code in {"invalid_field", "invalid_multipart"}


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(EMPTY_SEGMENT * 20_000, id="too many segments"),
        pytest.param(bytes(2_000_000), id="too many stray bytes"),
        pytest.param(b"\xff\xd8", id="another start"),
    ],
)
def test_a_jpeg_that_hides_its_size_is_refused(before: bytes) -> None:
    bomb = b"\xff\xd8" + EMPTY_SEGMENT + before + FRAME.replace(b"\x00\x08", b"\xff\xff")
    assert refused(form(usual(bomb + bytes(100)))).code == "invalid_image"


@pytest.mark.parametrize(
    "before", [b"\x00", b"\xff" * 1_001, b"\xff\xe0\x00\x00", EMPTY_SEGMENT * 1_001]
)
def test_a_huge_jpeg_is_refused_whatever_stands_before_its_frame(before: bytes) -> None:
    bomb = b"\xff\xd8" + EMPTY_SEGMENT + before + FRAME.replace(b"\x00\x08", b"\xff\xff")
    assert refused(form(usual(bomb + bytes(100)))).code == "image_too_large"


def test_a_jpeg_cannot_hide_its_size_behind_a_marker_without_a_length() -> None:
    large = FRAME.replace(b"\x00\x08", b"\xff\xff")
    bomb = b"\xff\xd8\xff\x01" + large + bytes(0xFFC0 - len(large)) + FRAME + bytes(100)
    assert refused(form(usual(bomb))).code == "image_too_large"


def test_a_text_and_a_file_of_one_name_are_two() -> None:
    assert refused_form(text("x", "1"), file("x", b"1")).code == "duplicate_field"


@pytest.mark.parametrize("name", ["image", "image[]", "mask"])
@pytest.mark.parametrize("value", ["https://example.test/x.png", "file-123", '{"file_id":"x"}'])
def test_an_address_or_file_id_is_refused(name: str, value: str) -> None:
    refusal = refused_form(text(name, value))
    assert (refusal.code, refusal.param) == ("unsupported_image_source", name)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (GIF, "a GIF"),
        (b"", "empty"),
        (b"hello", "text"),
        (b"\x01" * 100, "format is unknown"),
        (b"<svg xmlns='x'>" + b" " * 90, "an SVG"),
    ],
)
def test_what_is_no_picture_is_refused_saying_which_and_why(content: bytes, seen: str) -> None:
    refusal = refused(form(usual(png(), content)))
    assert (refusal.code, refusal.param) == ("invalid_image", "image[]")
    assert "`image[]` (2nd)" in refusal.message
    assert seen in refusal.message


def test_a_mask_must_be_a_picture_too() -> None:
    assert refused_form(file("mask", b"%PDF-1.7" + bytes(90))).param == "mask"


def test_a_file_that_is_no_picture_is_refused_by_its_first_bytes() -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        yield form(usual(GIF))[:-60]
        while True:
            pulled += 1
            yield bytes(65_536)

    reading = read_edit(
        endless(),
        form_type(),
        route="edits",
        limits=UploadLimits(),
        spool=Spool(),
        checks=EarlyChecks(),
    )
    with pytest.raises(Refusal, match="invalid_image"):
        driven(reading)
    assert pulled == 0


def test_a_picture_that_says_it_is_huge_is_refused() -> None:
    refusal = refused(form(usual(png(), HUGE)))
    assert (refusal.code, refusal.param) == ("image_too_large", "image[]")
    assert "40000" in refusal.message


def test_a_huge_jpeg_behind_long_metadata_is_refused(tmp_path: Path) -> None:
    filler = b"\xff\xe1\xff\xff" + bytes(65_533)
    frame = b"\xff\xc0\x00\x11\x08" + b"\xff\xff" * 2 + bytes(50)
    assert refused(form(usual(b"\xff\xd8" + filler * 20 + frame))).code == "image_too_large"


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (UploadLimits(max_body_bytes=5_000), "body_too_large"),
        (UploadLimits(max_image_bytes=9_999), "image_too_large"),
        (UploadLimits(max_field_bytes=99), "invalid_field"),
        (UploadLimits(max_fields=3), "invalid_field"),
        (UploadLimits(max_parts=4), "invalid_field"),
        (UploadLimits(max_name_bytes=5), "invalid_field"),
        (UploadLimits(max_header_bytes=60), "invalid_multipart"),
    ],
)
def test_every_bound_holds(limits: UploadLimits, code: str) -> None:
    body = form(usual(png(bytes(10_000)), style="x" * 100, long_name="v"))
    assert read(body).model
    assert refused(body, limits=limits).code == code


def test_a_hundred_thousand_empty_parts_are_refused_at_once() -> None:
    body = form(FormPart(f"f{at}", b"") for at in range(100_000))
    refusal = refused(body)
    assert "fields" in refusal.message


def test_endless_headers_are_refused() -> None:
    body = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'.encode() + b"x" * 1_000_000
    assert refused(body).code == "invalid_multipart"


def test_text_that_is_not_utf8_is_refused_by_name() -> None:
    refusal = refused_form(FormPart("style", b"\xff\xfe"))
    assert (refusal.code, refusal.param) == ("invalid_field", "style")


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("ISO-8859-1", "latin-1"),
        ('"utf-16"', "utf-16"),
        ("UTF-16LE", "utf-16-le"),
        ("Shift_JIS", "shift_jis"),
        ("windows-1252", "cp1252"),
        ("us-ascii", "ascii"),
    ],
)
def test_the_charset_of_a_text_part_is_honoured(charset: str, codec: str) -> None:
    prompt = {"shift_jis": "灰色に", "ascii": "grey"}.get(codec, "grün")
    part = FormPart("prompt", prompt.encode(codec), None, f"text/plain; charset={charset}")
    edit = read(form([text("model", "m"), part, file("image", png())]))
    assert dict(edit.fields)["prompt"] == prompt
    assert prompt.encode() in spoken(edit)


@pytest.mark.parametrize("charset", ["utf-7", "zip", "idna", "unicode_escape", "no-such", "x" * 99])
def test_another_charset_is_refused_by_the_fields_name(charset: str) -> None:
    part = FormPart("style", b"grey", None, f"text/plain; charset={charset}")
    refusal = refused_form(part)
    assert (refusal.code, refusal.param) == ("invalid_field", "style")
    assert "charset" in refusal.message


@pytest.mark.parametrize(("name", "value"), [("n", "2"), ("size", "64x64"), ("seed", "7")])
@pytest.mark.parametrize("media_type", ["application/octet-stream", "text/plain", "image/png"])
@pytest.mark.parametrize("file_name", [None, ""])
def test_a_text_field_with_a_media_type_is_text(
    name: str, value: str, media_type: str, file_name: str | None
) -> None:
    if (name, media_type) == ("seed", "image/png"):
        media_type = "application/octet-stream"  # of an unknown field, a picture is a file
    edit = read(form([*usual(), FormPart(name, value.encode(), file_name, media_type)]))
    assert dict(edit.fields)[name] == value
    assert len(edit.uploads) == 1


@pytest.mark.parametrize("name", ["model", "prompt", "n", "size", "user", "stream"])
def test_a_text_field_with_a_file_name_was_sent_as_a_file(name: str) -> None:
    parts = [each for each in usual() if each.name != name]
    refusal = refused(form([*parts, FormPart(name, b"1", "blob", "application/octet-stream")]))
    assert (refusal.code, refusal.param) == ("invalid_field", name)
    assert "was sent as a file" in refusal.message


def test_the_accepted_formats_are_a_setting() -> None:
    limits = UploadLimits(picture_formats=("gif", "png"))
    gif = b"GIF89a" + b"\x08\x00\x08\x00" + bytes(60)
    edit = read(form(usual(gif, png())), limits=limits)
    assert [upload.media_type for upload in edit.uploads] == ["image/gif", "image/png"]
    assert "Send GIF or PNG." in refused(form(usual(JPEG)), limits=limits).message
    assert "Send PNG, JPEG or WEBP." in refused(form(usual(gif))).message
    huge = gif.replace(b"\x08\x00\x08\x00", b"\xff\xff\xff\xff")
    assert refused(form(usual(huge)), limits=limits).code == "image_too_large"


@pytest.mark.parametrize("value", ["0", "one", "1.5"])
def test_n_that_is_no_positive_whole_number_is_refused(value: str) -> None:
    assert refused_form(text("n", value)).param == "n"


def spoken(edit: Edit) -> bytes:
    """The framing and the fields of an edit as they go upstream."""
    segments = encode(edit, BOUNDARY, AdapterFacts()).segments
    return b"".join(segment for segment in segments if isinstance(segment, bytes))


def raw(head: bytes, content: bytes = b"x") -> bytes:
    """A form whose last part has this head."""
    closing = b"--" + BOUNDARY.encode() + b"--\r\n"
    start = form(usual()).removesuffix(closing) + b"--" + BOUNDARY.encode() + b"\r\n"
    return start + head + b"\r\n\r\n" + content + b"\r\n" + closing


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not a form at all", id="no boundary"),
        pytest.param(form(usual())[:-4], id="without its closing boundary"),
        pytest.param(form(usual())[:200], id="truncated"),
        pytest.param(form(usual(), "another"), id="of another boundary"),
        pytest.param(form(usual()).replace(b"\r\n", b"\n"), id="LF line ends"),
        pytest.param(raw(b"Content-Type: text/plain"), id="a part without a disposition"),
        pytest.param(raw(b"Content-Disposition: attachment; name=x"), id="another disposition"),
        pytest.param(raw(b"Content-Disposition: form-data"), id="a part without a name"),
        pytest.param(raw(b'Content-Disposition: form-data; name="\xff"'), id="a name not UTF-8"),
        pytest.param(raw(b'Content-Disposition: form-data; name="a\nX: y"'), id="LF in a name"),
        pytest.param(raw(b'Content-Disposition: form-data; name="a\x00"'), id="NUL in a name"),
        pytest.param(
            raw(
                b'Content-Disposition: form-data; name="a"\r\n'
                b"Content-Disposition: form-data; name=b"
            ),
            id="two dispositions",
        ),
        pytest.param(
            raw(b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64'),
            id="a transfer encoding",
        ),
        pytest.param(
            raw(
                b'Content-Disposition: form-data; name="a"\r\n'
                b"Content-Type: multipart/mixed; boundary=b"
            ),
            id="nested multipart",
        ),
        pytest.param(
            raw(b'Content-Disposition: form-data; name="a"\r\nBad Header: x'), id="a bad header"
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 65_536])
def test_broken_multipart_is_refused(body: bytes, size: int) -> None:
    assert refused(body, sizes=(size,)).code == "invalid_multipart"


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_without_a_boundary_is_refused(content_type: str) -> None:
    assert refused(form(usual()), content_type).code == "invalid_multipart"


def test_a_boundary_beyond_reason_is_refused() -> None:
    assert refused(b"", form_type("b" * 5_000)).code == "invalid_multipart"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(content_type: str) -> None:
    assert refused(b"x", content_type).code == "unsupported_media_type"


def test_no_refusal_repeats_what_a_field_says() -> None:
    """Prompts and pictures are in no error text."""
    refusals = [
        refused_form(text("n", "SECRET")),
        refused_form(text("image", "https://SECRET.test")),
        refused_form(FormPart("style", b"SECRET\xff")),
        refused_form(text("style", "SECRET" * 100_000)),
        refused_form(file("mask", b"SECRET" * 20)),
        refused(document(model="m", prompt="SECRET", images=["SECRET"]), "application/json"),
        refused(b'{"prompt": "SECRET', "application/json"),
        refused(b'{"prompt": SECRET}', "application/json"),
    ]
    assert not any("SECRET" in str(refusal) for refusal in refusals)


# --- the gatekeeper ---------------------------------------------------------------------------


def test_the_gatekeeper_hears_of_model_and_references_as_they_come() -> None:
    gate = EarlyChecks()
    read(form(usual(png(b"1"), png(b"2"))), gate=gate)
    assert gate.heard == [("model", "deepshi-image-1"), ("reference", 1), ("reference", 2)]


def test_a_model_that_comes_last_has_the_references_counted_again() -> None:
    gate = EarlyChecks()
    read(form([file("image", png()), text("prompt", "p"), text("model", "m")]), gate=gate)
    assert gate.heard == [("reference", 1), ("model", "m"), ("reference", 1)]


class Strict(EarlyChecks):
    """Takes one reference."""

    def reference_seen(self, count: int) -> None:
        if count > 1:
            raise Refusal("too_many_reference_images", "one is enough")


def test_one_reference_too_many_is_refused_at_its_head() -> None:
    body = form(usual(png(b"1"), png(b"2" * 1_000)))
    second = body.index(b"2" * 1_000)
    refusal = refused(body[: second - len(png())], gate=Strict())
    assert refusal.code == "too_many_reference_images"


def test_one_reference_too_many_is_refused_in_json_too() -> None:
    body = document(model="m", prompt="p", images=[data_url(png(b"1")), data_url(png(b"2"))])
    assert refused(body, "application/json", gate=Strict()).code == "too_many_reference_images"


# --- whatever comes ---------------------------------------------------------------------------


def read_or_refused(body: bytes, content_type: str, **options: Any) -> Edit | Refusal:
    try:
        return read(body, content_type, **options)
    except Refusal as refusal:
        return refusal


def check_that_it_is_an_edit_or_a_refusal(
    body: bytes, content_type: str, sizes: list[int], route: Any
) -> None:
    limits = UploadLimits(
        max_body_bytes=100_000, max_image_bytes=8_000, max_parts=6, max_field_bytes=200
    )
    came = read_or_refused(body, content_type, route=route, sizes=sizes, limits=limits)
    event(type(came).__name__)
    if isinstance(came, Refusal):
        assert 400 <= came.status < 500
        return
    assert came.model
    assert address(came) == address(read(body, content_type, route=route, limits=limits))
    encoded = encode(came, BOUNDARY, AdapterFacts())
    assert encoded.content_length > 0


@settings(max_examples=200)
@given(requests(), SIZES, ROUTES)
def test_whatever_comes_is_an_edit_or_a_refusal(
    request: tuple[bytes, str], sizes: list[int], route: Any
) -> None:
    check_that_it_is_an_edit_or_a_refusal(*request, sizes, route)


@pytest.mark.long
@settings(max_examples=100_000)
@given(requests(), SIZES, ROUTES)
def test_a_hundred_thousand_times_whatever_comes_is_an_edit_or_a_refusal(
    request: tuple[bytes, str], sizes: list[int], route: Any
) -> None:
    check_that_it_is_an_edit_or_a_refusal(*request, sizes, route)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"\r\n--a" * 500_000, form_type("a"), id="nothing but boundaries"),
        pytest.param(
            form(usual(), "a")[:-7] + b"\r\n--ax" * 500_000, form_type("a"), id="near boundaries"
        ),
        pytest.param(
            b'{"a": "data:image/png;base64,' + rb"\/" * 1_000_000, "application/json", id="escapes"
        ),
        pytest.param(b'{"a": "' + rb"\"" * 500_000, "application/json", id="escaped quotes"),
        pytest.param(b'["",' * 250_000, "application/json", id="strings"),
        pytest.param(b"[" * 1_000_000, "application/json", id="brackets"),
    ],
)
def test_hostile_megabytes_are_dealt_with_in_proportion(body: bytes, content_type: str) -> None:
    """Two megabytes take less than a second here; work that grows faster than they would not."""
    started = time.perf_counter()
    assert refused(body, content_type).status < 500
    assert time.perf_counter() - started < 10
