"""What a file looks like by its first bytes."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image

from gateway.uploads.rules.picture_sniffer import Read, SegmentBudget, dimensions, look


def drawn(format_name: str, size: tuple[int, int] = (37, 21), **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, format_name, **options)
    return out.getvalue()


SEGMENT = b"\xff\xfe\x00\x02"
JPEG = drawn("JPEG")


@pytest.mark.parametrize("before", [
    pytest.param(SEGMENT * 5_000, id="many segments"),
    pytest.param(b"\xff" * 5_000, id="fill bytes"),
    pytest.param(b"\xff\x00" * 5_000, id="escaped fill bytes"),
    pytest.param(SEGMENT + b"stray" + b"\xff\x00" + SEGMENT, id="stray bytes"),
    pytest.param(SEGMENT + bytes(100_000), id="stray zeros"),
    pytest.param(b"\xff\xfe\x00\x00", id="a segment shorter than its length"),
    pytest.param(b"\xff\xfe\xff\xff" + bytes(0xFFFD), id="a long segment"),
])  # fmt: skip
def test_a_jpeg_that_pillow_decodes_has_its_dimensions(before: bytes) -> None:
    data = JPEG[:20] + before + JPEG[20:]
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert dimensions_of(data) == picture.size == (37, 21)


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\x00", b"\x00", SEGMENT])
def test_a_hostile_jpeg_costs_little(filling: bytes) -> None:
    data = JPEG[:20] + filling * (20_000_000 // len(filling))
    started = time.process_time()
    assert dimensions_of(data) is None
    assert time.process_time() - started < 1


@pytest.mark.parametrize("format_name", ["GIF", "BMP", "AVIF"])
def test_the_dimensions_of_other_formats(format_name: str) -> None:
    assert dimensions_of(drawn(format_name)) == (37, 21)


def test_the_oldest_bitmaps_have_sides_of_two_bytes() -> None:
    header = b"\x0c\0\0\0" + b"\x0a\0\x14\0" + b"\x01\0\x18\0"
    data = b"BM" + (26 + 640).to_bytes(4, "little") + bytes(4) + b"\x1a\0\0\0" + header + bytes(640)
    assert dimensions_of(data) == Image.open(io.BytesIO(data)).size == (10, 20)


def test_the_segments_of_all_files_of_a_request_are_bounded() -> None:
    data, budget = JPEG[:20] + SEGMENT * 3_000 + JPEG[20:], SegmentBudget()
    read: Read = lambda offset, size: data[offset : offset + size]  # noqa: E731
    found = [dimensions("image/jpeg", read, budget) for _ in range(4)]

    assert found == [(37, 21), (37, 21), None, None]


def test_the_dimensions_of_a_heic_are_those_of_its_largest_part() -> None:
    sizes = [(512, 512), (4032, 3024), (320, 240)]
    parts = (b"ispe" + bytes(4) + w.to_bytes(4, "big") + h.to_bytes(4, "big") for w, h in sizes)
    assert dimensions_of(b"\0\0\0\x18ftypheic" + bytes(60) + b"".join(parts)) == (4032, 3024)


def dimensions_of(data: bytes) -> tuple[int, int] | None:
    kind = look(data[:64])
    assert kind is not None
    read: Read = lambda offset, size: data[offset : offset + size]  # noqa: E731
    return dimensions(kind.media_type, read, SegmentBudget())


@pytest.mark.parametrize(
    ("format_name", "media_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("ICO", "image/x-icon"),
        ("PDF", "application/pdf"),
    ],
)
def test_a_real_file_is_known_by_its_first_bytes(format_name: str, media_type: str) -> None:
    kind = look(drawn(format_name)[:64])
    assert kind is not None
    assert kind.media_type == media_type


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x00\x00\x18ftypheic", "a HEIC"),
        (b"\x00\x00\x00\x1cftypavif", "an AVIF"),
        (b"\x00\x00\x00\x20ftypisom", "a video"),
        (b"  <svg xmlns=", "an SVG"),
        (b"<!DOCTYPE html><p>", "an HTML page"),
        (b'{"error": 1}', "JSON"),
        (b"file-abc123", "text"),
        (b"BMW is a maker of cars", "text"),
    ],
)
def test_what_is_no_picture_is_named(head: bytes, name: str) -> None:
    kind = look(head)
    assert kind is not None
    assert kind.name == name


def test_unknown_bytes_look_like_nothing() -> None:
    assert look(b"\x01\x02\x03\x04") is None
    assert look(b"") is None


@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"icc_profile": b"p" * 150_000}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"}),
    ],
)
def test_dimensions_are_those_in_the_header(format_name: str, options: dict[str, object]) -> None:
    assert dimensions_of(drawn(format_name, (1234, 567), **options)) == (1234, 567)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
def test_a_cut_header_has_no_dimensions(format_name: str) -> None:
    assert dimensions_of(drawn(format_name)[:15]) is None


def test_a_jpeg_of_endless_segments_is_given_up() -> None:
    reads = []

    def read(offset: int, size: int) -> bytes:
        reads.append(offset)
        return b"\xff\xe0\x00\x02\xff\xe0\x00\x02\xff"

    assert dimensions("image/jpeg", read, SegmentBudget()) is None
    assert len(reads) <= 8_192
