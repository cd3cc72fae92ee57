"""What a file looks like by its first bytes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from gateway.uploads.rules.picture_sniffer import dimensions, look


def drawn(format_name: str, size: tuple[int, int] = (37, 21), **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, format_name, **options)
    return out.getvalue()


def dimensions_of(data: bytes) -> tuple[int, int] | None:
    kind = look(data[:64])
    assert kind is not None
    return dimensions(kind.media_type, lambda offset, size: data[offset : offset + size])


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

    assert dimensions("image/jpeg", read) is None
    assert len(reads) <= 1_000
