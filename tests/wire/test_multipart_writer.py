"""The body that goes upstream, read back by Starlette's own form parser."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser

from gateway.model.edit import AdapterFacts, Edit, Upload
from gateway.wire.multipart_writer import EncodedBody, SpoolRange, encode

BOUNDARY = "0123456789abcdef0123456789abcdef"
SPOOL = bytes(range(256)) * 4


def body_of(encoded: EncodedBody) -> bytes:
    pieces = []
    for segment in encoded.segments:
        if not isinstance(segment, bytes):
            assert isinstance(segment, SpoolRange)  # nothing of a form is base64
            segment = SPOOL[segment.offset : segment.offset + segment.size]
        pieces.append(segment)
    return b"".join(pieces)


async def parsed(
    encoded: EncodedBody,
) -> list[tuple[str, str | tuple[str | None, str | None, bytes]]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body_of(encoded)

    headers = Headers({"content-type": encoded.content_type})
    form = await MultiPartParser(headers, stream(), max_fields=1000, max_files=1000).parse()
    items: list[tuple[str, str | tuple[str | None, str | None, bytes]]] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            items.append((name, (value.filename, value.content_type, await value.read())))
        else:
            items.append((name, value))
    await form.close()
    return items


def edit(fields: tuple[tuple[str, str], ...], uploads: tuple[Upload, ...] = ()) -> Edit:
    return Edit("edits", "m", fields, uploads)


async def test_every_field_and_file_arrives_those_of_one_name_in_their_order() -> None:
    sent = edit(
        (
            ("model", "m"),
            ("prompt", "grün\n--" + "x"),
            ("unknown", ""),
            ("t[]", "b"),
            ("t[]", "a"),
        ),
        (
            Upload("image[]", "d1", 0, 256, "image/png"),
            Upload("image[]", "d2", 300, 10, "image/jpeg"),
            Upload("markup", "d4", 5, 1, "application/octet-stream"),
            Upload("mask", "d3", 256, 0, "image/webp"),
        ),
    )
    assert await parsed(encode(sent, BOUNDARY, AdapterFacts())) == [
        *sent.fields[:2],
        ("t[]", "b"),
        ("t[]", "a"),
        ("unknown", ""),
        ("image[]", ("image-1.png", "image/png", SPOOL[:256])),
        ("image[]", ("image-2.jpg", "image/jpeg", SPOOL[300:310])),
        ("mask", ("mask.webp", "image/webp", b"")),
        ("markup", ("file.bin", "application/octet-stream", SPOOL[5:6])),
    ]


async def test_known_numbers_and_booleans_go_out_as_they_are_hashed() -> None:
    sent = edit((("n", "1.0"), ("seed", "1.0"), ("stream", "TRUE"), ("width", "64.0")))
    assert await parsed(encode(sent, BOUNDARY, AdapterFacts())) == [
        ("n", "1"),
        ("seed", "1.0"),
        ("stream", "true"),
        ("width", "64"),
    ]


async def test_references_go_out_under_one_name_unless_their_numbers_say_another_order() -> None:
    def named(*names: str) -> Edit:
        return edit((), tuple(Upload(name, "d", 0, 1, "image/png") for name in names))

    async def sent(*names: str) -> list[str]:
        return [name for name, _ in await parsed(encode(named(*names), BOUNDARY, AdapterFacts()))]

    assert await sent("image", "image[]", "image") == ["image[]"] * 3
    assert await sent("image[0]", "image[1]") == ["image[]"] * 2
    assert await sent("image[1]", "image[0]") == ["image[1]", "image[0]"]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(max_size=50)), max_size=5))
def test_the_declared_length_is_the_bodys(fields: list[tuple[str, str]]) -> None:
    sent = edit(tuple(fields), (Upload("image", "d", 3, 100, "image/png"),))
    encoded = encode(sent, BOUNDARY, AdapterFacts())
    assert len(body_of(encoded)) == encoded.content_length


async def test_a_name_cannot_add_headers_or_parts() -> None:
    name = f'x"; filename="evil"\r\nX-Evil: 1\r\n\r\n--{BOUNDARY}--\r\n'
    items = await parsed(encode(edit(((name, "v"), ("after", "w"))), BOUNDARY, AdapterFacts()))
    assert [value for _, value in items] == ["w", "v"]
    assert "\r" not in items[1][0]
    assert items[0][0] == "after"
